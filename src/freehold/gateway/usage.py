"""What an answer tells of itself, whole or streamed: tokens as the provider counted them, its id, its model, its end.

What counts as what is the ledger's rule (`answer_facts`); here it is only found, so that a call keeps its tokens also
where its bodies are not recorded.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from freehold.gateway.http.sse import data_of
from freehold.ledger.answer_facts import LONGEST_TEXT, MOST_TOKENS, AnswerFacts, facts_of

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


_Tokens = Annotated[int, msgspec.Meta(ge=0, le=MOST_TOKENS)]
_Count = _Tokens | None
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_TEXT)] | None


class _Details(msgspec.Struct):
    cached_tokens: _Count = None
    cache_write_tokens: _Count = None
    reasoning_tokens: _Count = None


class _ChatUsage(msgspec.Struct):
    prompt_tokens: _Tokens
    completion_tokens: _Tokens
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens_details: None = None
    output_tokens_details: None = None
    service_tier: _Text = None


class _ChatChoice(msgspec.Struct):
    finish_reason: _Text
    index: Literal[0]


class _Chat(msgspec.Struct):
    """A usual answer of chat or completions: one choice, every member of the documented type."""

    usage: _ChatUsage
    choices: tuple[_ChatChoice]
    id: _Text = None
    model: _Text = None
    service_tier: _Text = None


_CHAT = msgspec.json.Decoder(_Chat)
_CHAT_DIALECTS = frozenset(("openai-chat", "openai-completions"))
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
    if dialect in _CHAT_DIALECTS:
        with suppress(*_UNREADABLE):
            return _facts_of_chat(_CHAT.decode(body))
    told: dict[str, Any] = {}  # Any: JSON
    try:
        _take(told, _ANSWER.decode(body))
    except _UNREADABLE:
        try:
            told["usage"] = _USAGE_ALONE.decode(body).usage  # something else in it is not as it should be
        except _UNREADABLE:
            return None
    return facts_of(dialect, told)


def _facts_of_chat(answer: _Chat) -> AnswerFacts:
    """The same as the general way finds, without asking of everything whether it is there and what it is."""
    usage = answer.usage
    given, made = usage.prompt_tokens_details, usage.completion_tokens_details
    return AnswerFacts(
        model_served=answer.model,
        completion_id=answer.id,
        service_tier=answer.service_tier or usage.service_tier,
        finish_reason=answer.choices[0].finish_reason,
        input_tokens=usage.prompt_tokens,
        cache_read_tokens=None if given is None else given.cached_tokens,
        cache_write_tokens=None if given is None else given.cache_write_tokens,
        output_tokens=usage.completion_tokens,
        reasoning_tokens=None if made is None else made.reasoning_tokens,
    )


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
