"""How a conversation becomes tokens: the one rule that training and prediction share.

The prompt is what the chat template writes up to the place where the assistant begins to speak; the answer is
tokenised on its own and closed with the end-of-turn token. That is what a server does that applies the same template
and then generates, so a tuned model meets the same tokens there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from transformers import AutoTokenizer
from transformers.utils import logging

from freehold.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

    from freehold.core.chat import Message
    from freehold.core.dataset import Example

logging.disable_progress_bar()


@dataclass(frozen=True, slots=True)
class Encoded:
    """One example as tokens."""

    prompt: tuple[int, ...]
    """Ends where the assistant begins to speak."""
    answer: tuple[int, ...]
    """Ends with the end-of-turn token."""

    def __len__(self) -> int:
        """Tokens of both."""
        return len(self.prompt) + len(self.answer)


class Tokens:
    """The tokenizer and chat template of one base model."""

    def __init__(self, folder: Path) -> None:
        """Load them from a Hugging Face folder.

        Raises:
            InputError: there is no tokenizer, or it has no chat template or end-of-turn token.
        """
        try:
            self._tokenizer = cast(
                "PreTrainedTokenizerBase", AutoTokenizer.from_pretrained(folder, local_files_only=True)
            )
        except (OSError, ValueError) as error:
            reason = (str(error).splitlines() or [""])[0].rstrip(": ")
            raise InputError(
                f"{folder} holds no tokenizer that transformers can read ({reason}). A base brings tokenizer.json and "
                "tokenizer_config.json of its own; put them there."
            ) from error
        if not self._tokenizer.chat_template:
            raise InputError(
                f"The tokenizer in {folder} has no chat template; Freehold needs a chat model. Take the base's "
                "instruct version, or put its chat_template.jinja there."
            )
        if self._tokenizer.eos_token_id is None:
            raise InputError(f"The tokenizer in {folder} names no end-of-turn token (eos_token).")
        self.end = cast("int", self._tokenizer.eos_token_id)

    def prompt(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Tokens up to the place where the assistant begins to speak.

        A conversation without a system message gets an empty one, so that no template adds words of its own.
        """
        turns = [message.as_dict() for message in messages]
        if not turns or turns[0]["role"] != "system":
            turns.insert(0, {"role": "system", "content": ""})
        text = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def answer(self, text: str) -> tuple[int, ...]:
        """Tokens of an answer, closed with the end-of-turn token."""
        return (*self._tokenizer(text, add_special_tokens=False)["input_ids"], self.end)

    def example(self, example: Example) -> Encoded:
        """One training example as tokens."""
        return Encoded(self.prompt(example.messages), self.answer(example.target))

    def text(self, tokens: Sequence[int]) -> str:
        """The words of generated tokens."""
        return cast("str", self._tokenizer.decode(list(tokens), skip_special_tokens=True))


def shared_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with; at least one token of each stays its own."""
    shortest = min(len(prompt) for prompt in prompts)
    first = prompts[0]
    for place in range(shortest - 1):
        if any(prompt[place] != first[place] for prompt in prompts):
            return place
    return shortest - 1
