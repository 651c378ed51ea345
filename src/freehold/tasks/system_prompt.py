"""The system message of a request and what its user asks first, in whichever of the APIs' shapes it comes."""

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
    prompt: msgspec.Raw = _ABSENT


class _Turn(msgspec.Struct):
    role: str | None = None
    content: msgspec.Raw = _ABSENT


class _Part(msgspec.Struct):
    text: str | None = None


_BODY = msgspec.json.Decoder(_Body)
_TURNS = msgspec.json.Decoder(list[_Turn] | None)
_CONTENT = msgspec.json.Decoder(str | list[_Part] | None)
_STRING = msgspec.json.Decoder(str)


def prompt_of(body: bytes) -> tuple[str | None, str | None]:
    """The text of the system message and that of the first user's; None for what is not there."""
    try:
        read = _BODY.decode(body)
    except _UNREADABLE:
        return None, None
    messages, input_of_responses = _of_turns(read.messages), _of_turns(read.input)
    systems = (_text(read.system), _text(read.instructions), messages[0], input_of_responses[0])
    asked = (messages[1], input_of_responses[1], _string(read.input), _string(read.prompt))
    return next((text for text in systems if text), None), next((text for text in asked if text), None)


def _of_turns(turns: msgspec.Raw) -> tuple[str | None, str | None]:
    """Of the first turn of the system, and of the first one of the user."""
    if turns is _ABSENT:
        return None, None
    try:
        read = _TURNS.decode(turns) or ()
    except _UNREADABLE:
        return None, None
    system = next((_text(turn.content) for turn in read if turn.role in _ROLES), None)
    asked = next((_text(turn.content) for turn in read if turn.role == "user"), None)
    return system, asked


def _string(content: msgspec.Raw) -> str | None:
    """Text alone: a list is turns or tokens."""
    if content is _ABSENT:
        return None
    try:
        return _STRING.decode(content)
    except _UNREADABLE:
        return None


def _text(content: msgspec.Raw) -> str | None:
    if content is _ABSENT:
        return None
    try:
        read = _CONTENT.decode(content)
    except _UNREADABLE:
        return None
    return _joined(read) if isinstance(read, list) else read


def _joined(parts: Iterable[_Part]) -> str:
    return "\n".join(part.text for part in parts if part.text)
