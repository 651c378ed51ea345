"""What llama.cpp must know of a byte-level BPE tokenizer, read from a Hugging Face folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gguf import TokenType

from freehold.core.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from gguf import GGUFWriter

_LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2_PATTERN = _LLAMA3_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}")


@dataclass(frozen=True, slots=True)
class BpeTokenizer:
    """A tokenizer in GGUF's words."""

    cut: str
    """Name of the rule that cuts text before merging, as llama.cpp calls it."""
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...]
    special_ids: dict[str, int]
    """`bos`, `eos`, `unk` and `pad`, as far as they exist."""
    chat_template: str

    def write_to(self, writer: GGUFWriter) -> None:
        """Add everything to the header of a GGUF file."""
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(self.cut)
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        writer.add_token_merges(self.merges)
        if "bos" in self.special_ids:
            writer.add_bos_token_id(self.special_ids["bos"])
        writer.add_eos_token_id(self.special_ids["eos"])
        if "unk" in self.special_ids:
            writer.add_unk_token_id(self.special_ids["unk"])
        if "pad" in self.special_ids:
            writer.add_pad_token_id(self.special_ids["pad"])
        # The chat template writes the first token itself where a model wants one.
        writer.add_add_bos_token(False)
        writer.add_add_space_prefix(False)
        writer.add_chat_template(self.chat_template)


def read_bpe_tokenizer(folder: Path, vocabulary_size: int) -> BpeTokenizer:
    """Read `tokenizer.json`, its settings and the chat template of a model folder.

    Args:
        folder: A Hugging Face model folder.
        vocabulary_size: Rows of the embedding; ids without a token become unused ones.

    Raises:
        InputError: the tokenizer is of another sort, or has no chat template.
    """
    file = folder / "tokenizer.json"
    tokenizer = read_json(file)
    settings = read_json(folder / "tokenizer_config.json")
    model = tokenizer["model"]
    if model["type"] != "BPE" or model.get("byte_fallback"):
        raise _unsupported(
            file, f"its model is {model['type']!r}{' with byte fallback' * bool(model.get('byte_fallback'))}"
        )
    if tokenizer.get("normalizer") is not None:
        raise _unsupported(file, f"it normalises text ({tokenizer['normalizer'].get('type')!r})")
    tokens, types = _vocabulary(tokenizer, vocabulary_size, file)
    ids = {token: index for index, token in enumerate(tokens)}
    special_ids = {
        short: ids[text]
        for short in ("bos", "eos", "unk", "pad")
        if (text := _token_text(settings.get(f"{short}_token"))) in ids
    }
    if "eos" not in special_ids:
        raise InputError(f"{folder / 'tokenizer_config.json'}: eos_token is missing, so no answer would ever end.")
    return BpeTokenizer(
        cut=_cut_name(tokenizer, file),
        tokens=tokens,
        types=types,
        merges=tuple(merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]),
        special_ids=special_ids,
        chat_template=_chat_template(folder, settings),
    )


def read_json(file: Path) -> dict[str, Any]:  # Any: files of other tools
    """One JSON object.

    Raises:
        InputError: the file is missing or is no JSON object.
    """
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise InputError(f"{file} is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise InputError(f"{file} holds {type(value).__name__}; a JSON object is expected.")
    return value


def _vocabulary(tokenizer: dict[str, Any], size: int, file: Path) -> tuple[tuple[str, ...], tuple[int, ...]]:
    by_id = {index: token for token, index in tokenizer["model"]["vocab"].items()}
    types = dict.fromkeys(by_id, TokenType.NORMAL)
    for added in tokenizer.get("added_tokens", ()):
        by_id[added["id"]] = added["content"]
        types[added["id"]] = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
    if max(by_id) >= size:
        raise InputError(
            f"{file} has token {max(by_id)}, but the model has only {size} embeddings: they belong to different models."
        )
    tokens = tuple(by_id.get(index, f"[PAD{index}]") for index in range(size))
    return tokens, tuple(int(types.get(index, TokenType.UNUSED)) for index in range(size))


def _token_text(value: Any) -> str | None:  # Any: a string, an object with "content", or nothing
    text: str | None = value["content"] if isinstance(value, dict) else value
    return text


def _cut_name(tokenizer: dict[str, Any], file: Path) -> str:
    rule = tokenizer.get("pre_tokenizer") or {}
    steps = rule.get("pretokenizers", [rule])
    ignores_merges = bool(tokenizer["model"].get("ignore_merges"))
    match steps:
        case [{"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}] if not ignores_merges:
            return "gpt-2"
        case [
            {"type": "Digits", "individual_digits": True},
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
        ] if not ignores_merges:
            return "smollm"
        case [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
        ]:
            if pattern == _LLAMA3_PATTERN and ignores_merges:
                return "llama-bpe"
            if pattern == _QWEN2_PATTERN and not ignores_merges:
                return "qwen2"
    raise _unsupported(file, "it cuts text by a rule that is not known here")


def _chat_template(folder: Path, settings: dict[str, Any]) -> str:
    file = folder / "chat_template.jinja"
    template = file.read_text(encoding="utf-8") if file.is_file() else settings.get("chat_template")
    if not isinstance(template, str):
        raise InputError(f"{folder} has no chat template (chat_template.jinja). Choose an instruction-tuned base.")
    return template


def _unsupported(file: Path, found: str) -> InputError:
    return InputError(
        f"{file}: {found}. The GGUF export knows byte-level BPE cut as in GPT-2, SmolLM, Llama 3 and Qwen 2; "
        "put the base's own GGUF beside it as base.gguf instead."
    )
