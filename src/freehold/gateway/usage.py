"""Tokens of a call, as the provider counted them: read out of an answer, whole or streamed.

What counts as what is the ledger's rule (`answer_facts`); here the counts are only found.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from freehold.core.chat import Usage
from freehold.gateway.sse import data_of
from freehold.ledger.answer_facts import facts_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from freehold.ledger.records import Dialect


class _Answer(msgspec.Struct):
    usage: object = None


class _Event(msgspec.Struct):
    usage: object = None
    message: object = None
    response: object = None


_ANSWER = msgspec.json.Decoder(_Answer)
_EVENT = msgspec.json.Decoder(_Event)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_LAST_USAGE = re.compile(rb'"usage"\s*:\s*(\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})')
TAIL_BYTES = 4096
"""Bytes at the end of an answer that are looked at when it is too large to be read as a whole."""


def usage_of_answer(body: bytes, dialect: Dialect) -> Usage | None:
    """Tokens told in a whole answer; None if it tells none or is no such JSON."""
    try:
        usage = _ANSWER.decode(body).usage
    except _UNREADABLE:
        return None
    return _usage(usage, dialect) if isinstance(usage, dict) else None


def usage_of_tail(tail: bytes, dialect: Dialect) -> Usage | None:
    """Tokens told near the end of an answer: embeddings tell them after their vectors."""
    found = _LAST_USAGE.findall(tail)
    return usage_of_answer(b'{"usage":' + found[-1] + b"}", dialect) if found else None


def usage_of_events(events: Sequence[bytes], dialect: Dialect) -> Usage | None:
    """Tokens told in the events of a stream; what a later event tells counts."""
    told: dict[str, Any] = {}  # Any: JSON
    for event in events:
        try:
            read = _EVENT.decode(data_of(event))
        except _UNREADABLE:
            continue
        for place in (read.usage, _inner(read.message), _inner(read.response)):
            if isinstance(place, dict):
                told.update((name, value) for name, value in place.items() if value is not None)
    return _usage(told, dialect) if told else None


def _inner(value: object) -> object:
    return value.get("usage") if isinstance(value, dict) else None


def _usage(counts: Mapping[str, Any], dialect: Dialect) -> Usage:  # Any: JSON
    facts = facts_of(dialect, {"usage": counts})
    return Usage(
        input_tokens=facts.input_tokens,
        output_tokens=facts.output_tokens,
        cache_read_tokens=facts.cache_read_tokens,
        cache_write_tokens=facts.cache_write_tokens,
        reasoning_tokens=facts.reasoning_tokens,
    )
