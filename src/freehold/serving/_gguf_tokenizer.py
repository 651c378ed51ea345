"""What llama.cpp must know of a tokenizer, read from a Hugging Face folder."""

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


_SPACE = "\u2581"
"""How SentencePiece writes a space."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenizer:
    """A tokenizer in GGUF's words."""

    cut: str | None
    """Name of the rule that cuts text before merging, as llama.cpp calls it; None: pieces of whole text, by score."""
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    """Of each token, where nothing is cut: the pair with the highest is merged first."""
    special_ids: dict[str, int]
    """`bos`, `eos`, `unk` and `pad`, as far as they exist."""
    chat_template: str

    def write_to(self, writer: GGUFWriter) -> None:
        """Add everything to the header of a GGUF file."""
        writer.add_tokenizer_model("llama" if self.cut is None else "gpt2")
        writer.add_tokenizer_pre(self.cut or "default")
        writer.add_token_list(self.tokens)
        writer.add_token_types(self.types)
        if self.cut is None:
            writer.add_token_scores(self.scores)
        else:
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


def read_tokenizer(folder: Path, vocabulary_size: int) -> Tokenizer:
    """Read `tokenizer.json`, its settings and the chat template of a model folder.

    llama.cpp does not compose characters: where `tokenizer.json` asks for NFC, text that is not in that form is cut
    as it stands.

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
    has_pieces = model["type"] == "BPE" and bool(model.get("byte_fallback")) and _is_spaced(tokenizer)
    if model["type"] != "BPE" or (model.get("byte_fallback") and not has_pieces):
        raise _unsupported(
            file, f"its model is {model['type']!r}{' with byte fallback' * bool(model.get('byte_fallback'))}"
        )
    normalizer = tokenizer.get("normalizer")
    if normalizer is not None and normalizer.get("type") != "NFC" and not has_pieces:
        raise _unsupported(file, f"it normalises text ({normalizer.get('type')!r})")
    tokens, types = _vocabulary(tokenizer, vocabulary_size, file)
    ids = {token: index for index, token in enumerate(tokens)}
    special_ids = {
        short: ids[text]
        for short in ("bos", "eos", "unk", "pad")
        if (text := _token_text(settings.get(f"{short}_token"))) in ids
    }
    if "eos" not in special_ids:
        raise InputError(f"{folder / 'tokenizer_config.json'}: eos_token is missing, so no answer would ever end.")
    template = _chat_template(folder, settings)
    merges = [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in model["merges"]]
    if has_pieces:
        types = _piece_types(tokens, types)
        return Tokenizer(
            cut=None,
            tokens=tuple(
                token.replace(_SPACE, " ") if kind == TokenType.USER_DEFINED else token
                for token, kind in zip(tokens, types, strict=True)
            ),
            types=types,
            scores=_scores(tokens, types, merges, file),
            special_ids=special_ids,
            chat_template=template,
        )
    return Tokenizer(
        cut=_cut_name(tokenizer, file),
        tokens=tokens,
        types=types,
        merges=tuple(" ".join(merge) for merge in merges),
        special_ids=special_ids,
        chat_template=template,
    )


def _is_spaced(tokenizer: dict[str, Any]) -> bool:  # Any: JSON
    """Nothing happens to text but that spaces are written visibly, as Gemma's tokenizer does it."""
    normalizer, cut = tokenizer.get("normalizer") or {}, tokenizer.get("pre_tokenizer")
    replaces = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
    # Gemma's file also cuts behind spaces, of which none is left by then.
    is_idle = cut is None or (cut.get("type") == "Split" and cut.get("pattern") == {"String": " "})
    return normalizer == replaces and is_idle


def _piece_types(tokens: tuple[str, ...], types: tuple[int, ...]) -> tuple[int, ...]:
    is_byte = [len(token) == 6 and token.startswith("<0x") and token.endswith(">") for token in tokens]
    return tuple(int(TokenType.BYTE) if byte else kind for byte, kind in zip(is_byte, types, strict=True))


def _scores(
    tokens: tuple[str, ...], types: tuple[int, ...], merges: list[tuple[str, ...]], file: Path
) -> tuple[float, ...]:
    """Scores by which llama.cpp merges in the order of `merges`.

    It merges any two pieces that together are a token, so each such pair must stand among the merges.
    """
    place: dict[str, int] = {}
    for pair in merges:
        place.setdefault("".join(pair), len(place))
    known = {token for token, kind in zip(tokens, types, strict=True) if kind == TokenType.NORMAL}
    pairs = set(merges)
    for token in known:
        for cut in range(1, len(token)):
            pair = token[:cut], token[cut:]
            if pair[0] in known and pair[1] in known and pair not in pairs:
                raise _unsupported(file, f"its merges lack a way to {token!r}, which llama.cpp would take")
    return tuple(-float(place.get(token, 0 if len(token) == 1 else len(place))) for token in tokens)


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
        f"{file}: {found}. The GGUF export knows byte-level BPE cut as in GPT-2, SmolLM, Llama 3 and Qwen 2, "
        "and pieces as in Gemma; put the base's own GGUF beside it as base.gguf instead."
    )
