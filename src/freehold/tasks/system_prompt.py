"""The system message of a request, in whichever of the APIs' shapes it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

_ROLES = frozenset({"system", "developer"})
_ABSENT = msgspec.Raw(b"null")
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Body(msgspec.Struct):
    """Where a system message may stand: Chat Completions, Anthropic, and twice in Responses."""

    messages: msgspec.Raw = _ABSENT
    system: msgspec.Raw = _ABSENT
    instructions: msgspec.Raw = _ABSENT
    input: msgspec.Raw = _ABSENT


class _Turn(msgspec.Struct):
    role: str | None = None
    content: msgspec.Raw = _ABSENT


class _Part(msgspec.Struct):
    text: str | None = None


_BODY = msgspec.json.Decoder(_Body)
_TURNS = msgspec.json.Decoder(list[_Turn] | None)
_CONTENT = msgspec.json.Decoder(str | list[_Part] | None)


def system_prompt_of(body: bytes) -> str | None:
    """The text of the system message; None if there is none, or the body is no JSON object of these APIs."""
    try:
        read = _BODY.decode(body)
    except _UNREADABLE:
        return None
    told = (_text(read.system), _text(read.instructions), _of_turns(read.messages), _of_turns(read.input))
    return next((text for text in told if text), None)


def _of_turns(turns: msgspec.Raw) -> str | None:
    try:
        read = _TURNS.decode(turns)
    except _UNREADABLE:
        return None
    return next((_text(turn.content) for turn in read or () if turn.role in _ROLES), None)


def _text(content: msgspec.Raw) -> str | None:
    try:
        read = _CONTENT.decode(content)
    except _UNREADABLE:
        return None
    return _joined(read) if isinstance(read, list) else read


def _joined(parts: Iterable[_Part]) -> str:
    return "\n".join(part.text for part in parts if part.text)
