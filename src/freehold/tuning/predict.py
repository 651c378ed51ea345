"""A base model, with or without an adapter, that answers conversations on this machine."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file

from freehold.core.chat import Answer, Usage
from freehold.core.errors import InputError
from freehold.tuning.adapter import CONFIG, WEIGHTS
from freehold.tuning.decode import greedy
from freehold.tuning.decoder import Decoder, processor
from freehold.tuning.labels import LabelTree, label_probabilities
from freehold.tuning.tokens import Tokens, shared_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from freehold.core.chat import Constraint, Message
    from freehold.core.progress import Progress
    from freehold.tuning.bases import BaseModel

BATCH_ROWS, BATCH_TOKENS = 64, 4096
"""A batch holds at most so many rows, and so many prompt tokens beyond the shared ones."""


class LocalModel:
    """A `ChatModel` in this process. Labels are scored, everything else is decoded greedily."""

    def __init__(
        self,
        base: BaseModel,
        adapter: Path | None = None,
        *,
        name: str | None = None,
        threads: int | None = None,
    ) -> None:
        """Load the base and merge the adapter's folder into its weights; or the whole model that a folder holds.

        Raises:
            InputError: a folder is not what it should be.
        """
        self._name = name or base.name
        self._threads = threads
        self._tokens = Tokens(base.folder)
        is_whole = adapter is not None and (adapter / "config.json").exists()
        self._decoder = Decoder(adapter if adapter is not None and is_whole else base.folder)
        if adapter is not None and not is_whole:
            merge_adapter(self._decoder, adapter)

    @property
    def name(self) -> str:
        """Name under which results are shown."""
        return self._name

    def answer(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        constraint: Constraint,
        max_output_tokens: int,
        progress: Progress,
    ) -> list[Answer]:
        """Answer each conversation, in order.

        With labels, the answer is the most likely one and its confidence the label's probability.
        Otherwise confidence is the probability of the decoded text. A JSON schema is not enforced here: the tuned
        model has learned it, and what it gets wrong should be seen.
        """
        prompts = [self._tokens.prompt(conversation) for conversation in conversations]
        if constraint.labels is not None:
            labels = constraint.labels
            found = self._choose(prompts, labels, progress)
            return [self._label_answer(prompt, labels, row) for prompt, row in zip(prompts, found, strict=True)]
        return self._decode(prompts, max_output_tokens, progress)

    def label_probabilities(
        self, conversations: Sequence[Sequence[Message]], *, labels: Sequence[str], progress: Progress
    ) -> list[dict[str, float]]:
        """Probability of each label for each conversation, when nothing but these labels may be answered."""
        prompts = [self._tokens.prompt(conversation) for conversation in conversations]
        found = self._choose(prompts, labels, progress)
        return [dict(zip(labels, row, strict=True)) for row in found]

    def _choose(self, prompts: Sequence[Sequence[int]], labels: Sequence[str], progress: Progress) -> list[list[float]]:
        """Probabilities of the labels for each prompt."""
        if len(set(labels)) < len(labels) or not labels:
            raise InputError(f"Labels must be distinct and at least one; there are {len(labels)}.")
        tree = LabelTree([self._tokens.answer(label) for label in labels])
        found: list[list[float]] = [[] for _ in prompts]
        for batch, shared in self._batches(prompts, progress):
            rows = label_probabilities(self._decoder, tree, [prompts[row] for row in batch], shared)
            for row, probabilities in zip(batch, rows, strict=True):
                found[row] = probabilities
        return found

    def _label_answer(self, prompt: Sequence[int], labels: Sequence[str], probabilities: Sequence[float]) -> Answer:
        best = max(range(len(labels)), key=lambda label: probabilities[label])
        usage = Usage(input_tokens=len(prompt), output_tokens=len(self._tokens.answer(labels[best])))
        return Answer(text=labels[best], confidence=min(1.0, probabilities[best]), usage=usage)

    def _decode(self, prompts: Sequence[Sequence[int]], limit: int, progress: Progress) -> list[Answer]:
        """Greedy answers, in order."""
        answers = [Answer(text="")] * len(prompts)
        for batch, shared in self._batches(prompts, progress):
            chosen = [prompts[row] for row in batch]
            rows = greedy(self._decoder, chosen, shared, end=self._tokens.end, limit=limit)
            for row, decoded in zip(batch, rows, strict=True):
                generated = len(decoded.tokens) + decoded.ended
                answers[row] = Answer(
                    text=self._tokens.text(decoded.tokens),
                    confidence=min(1.0, math.exp(decoded.log_probability)),
                    usage=Usage(input_tokens=len(prompts[row]), output_tokens=generated),
                )
        return answers

    def _batches(self, prompts: Sequence[Sequence[int]], progress: Progress) -> Iterator[tuple[list[int], int]]:
        """Rows of about equal length, and how many tokens all prompts share; computes as this model should."""
        longest = max((len(prompt) for prompt in prompts), default=0)
        limit = min(self._decoder.longest, self._decoder.window or self._decoder.longest)
        if longest >= limit:
            raise InputError(f"A prompt has {longest} tokens; {self.name} reads fewer than {limit}.")
        order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
        shared = shared_prefix(prompts) if prompts else 0
        progress.start(f"Asking {self.name}", len(order))
        with processor(threads=self._threads, products="float32"), torch.inference_mode():
            while order:
                own = max(1, len(prompts[order[0]]) - shared)
                size = min(BATCH_ROWS, max(1, BATCH_TOKENS // own))
                batch, order = order[:size], order[size:]
                yield batch, shared
                progress.update(len(batch))
        progress.finish()


def merge_adapter(decoder: Decoder, folder: Path) -> None:
    """Add a LoRA adapter's product to the weights it adapts.

    Raises:
        InputError: the folder is no plain LoRA adapter, or one for another model.
    """
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        weights = load_file(folder / WEIGHTS)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} holds no adapter ({CONFIG} and {WEIGHTS}): {error}") from error
    odd = [
        key for key in ("use_dora", "use_rslora", "fan_in_fan_out", "rank_pattern", "alpha_pattern") if config.get(key)
    ]
    if config.get("peft_type") != "LORA" or config.get("bias", "none") != "none" or odd:
        raise InputError(f"{folder / CONFIG}: only plain LoRA is read here; found {odd or config.get('peft_type')}.")
    modules = dict(decoder.model.named_modules())
    scale = config["lora_alpha"] / config["r"]
    for name, down in weights.items():
        if name.endswith(".lora_B.weight"):
            continue
        target = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        up = weights[name.replace(".lora_A.", ".lora_B.")]
        module = modules.get(target)
        if not isinstance(module, torch.nn.Linear) or module.weight.shape != (up.shape[0], down.shape[1]):
            raise InputError(f"{folder / WEIGHTS}: {target} does not fit the base model.")
        module.weight.data.addmm_(up.float(), down.float(), alpha=scale)
