"""What an answer tells of itself, whole or streamed: tokens as the provider counted them, its id, its model, its end.

What counts as what is the ledger's rule (`answer_facts`); here it is only found, so that a call keeps its tokens also
where its bodies are not recorded.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from freehold.gateway.sse import data_of
from freehold.ledger.answer_facts import AnswerFacts, facts_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from freehold.ledger.records import Dialect


class _Choice(msgspec.Struct):
    finish_reason: object = None
    index: object = None


class _Answer(msgspec.Struct):
    """An answer without its content, which is skipped and not decoded."""

    id: object = None
    kind: object = msgspec.field(default=None, name="object")
    model: object = None
    status: object = None
    service_tier: object = None
    stop_reason: object = None
    incomplete_details: object = None
    usage: object = None
    choices: list[_Choice] | None = None


class _Event(_Answer):
    message: _Answer | None = None
    response: _Answer | None = None
    delta: dict[str, msgspec.Raw] | str | None = None


class _UsageAlone(msgspec.Struct):
    usage: object = None


_ANSWER = msgspec.json.Decoder(_Answer)
_EVENT = msgspec.json.Decoder(_Event)
_USAGE_ALONE = msgspec.json.Decoder(_UsageAlone)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_LAST_USAGE = re.compile(rb'"usage"\s*:\s*(\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})')
_NAMES = tuple(
    (field.name, field.encode_name)
    for field in msgspec.structs.fields(_Answer)
    if field.name not in {"choices", "usage"}
)
TAIL_BYTES = 4096
"""Bytes at the end of an answer that are looked at when it is too large to be read as a whole."""


def facts_of_answer(body: bytes, dialect: Dialect) -> AnswerFacts | None:
    """What a whole answer tells; None if it is no such JSON."""
    told: dict[str, Any] = {}  # Any: JSON
    try:
        _take(told, _ANSWER.decode(body))
    except _UNREADABLE:
        try:
            told["usage"] = _USAGE_ALONE.decode(body).usage  # something else in it is not as it should be
        except _UNREADABLE:
            return None
    return facts_of(dialect, told)


def facts_of_tail(tail: bytes, dialect: Dialect) -> AnswerFacts | None:
    """What stands near the end of an answer: embeddings tell their tokens after their vectors."""
    found = _LAST_USAGE.findall(tail)
    return facts_of_answer(b'{"usage":' + found[-1] + b"}", dialect) if found else None


def facts_of_events(events: Iterable[bytes], dialect: Dialect) -> AnswerFacts | None:
    """What events of a stream tell, a later one before an earlier one; None if they tell nothing."""
    told: dict[str, Any] = {}  # Any: JSON
    for event in events:
        try:
            read = _EVENT.decode(data_of(event))
        except _UNREADABLE:
            continue
        for place in (read, read.message, read.response):
            if place is not None:
                _take(told, place)
        if isinstance(read.delta, dict) and "stop_reason" in read.delta:
            told["stop_reason"] = msgspec.json.decode(read.delta["stop_reason"])
    return facts_of(dialect, told) if told else None


def _take(told: dict[str, Any], read: _Answer) -> None:  # Any: JSON
    """Add what an answer or an event tells; of several choices the first one counts."""
    for field, name in _NAMES:
        value = getattr(read, field)
        if value is not None:
            told[name] = value
    if isinstance(read.usage, dict):
        usage = told.setdefault("usage", {})
        usage.update((name, value) for name, value in read.usage.items() if value is not None)
    for choice in read.choices or ():
        if choice.index in {0, None} and choice.finish_reason is not None:
            told["choices"] = [{"finish_reason": choice.finish_reason}]
            break
