"""Tokens of a call in Freehold's words, whichever words a log counts in.

Freehold's input is all input, what was read from a cache and written to one included (as OpenAI counts it); its output
is all output, reasoning included. Others count some of it beside the rest.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from freehold.core.chat import Usage, with_reasoning
from freehold.ledger.answer_facts import MOST_TOKENS
from freehold.ledger.logs.formats._fields import Values, inner

if TYPE_CHECKING:
    from collections.abc import Mapping

NOBODY_COUNTED = Usage()
_ANTHROPIC = frozenset({"cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation"})


def usage_of(body: Values) -> Usage:
    """What an answer says of its tokens: OpenAI's two APIs, LiteLLM's form of them, Anthropic, Bedrock, Gemini."""
    if inner(body, "usageMetadata"):
        return _gemini(inner(body, "usageMetadata"))
    usage = inner(body, "usage")
    return counted(usage, is_message=body.get("type") == "message") if usage else NOBODY_COUNTED


def counted(usage: Values, *, is_message: bool = False) -> Usage:
    """What the object says that holds the counts of an answer; `is_message`: the answer is one of Anthropic's."""
    meant = _meant(tuple(usage))
    if meant.is_bedrock:
        return beside(
            Usage(
                input_tokens=_count(usage, "inputTokens"),
                output_tokens=_count(usage, "outputTokens"),
                cache_read_tokens=_count(usage, "cacheReadInputTokens"),
                cache_write_tokens=_count(usage, "cacheWriteInputTokens"),
            )
        )
    is_anthropic = (is_message or meant.is_anthropic) and "prompt_tokens" not in usage
    return beside(_counts(usage, meant)) if is_anthropic else inside(_counts(usage, meant))


def inside(usage: Usage) -> Usage:
    """Counts of a log that includes cached tokens in the input.

    Some writers do so for one provider and not for another: where the cached part would be more than the whole, it was
    counted beside it.
    """
    cached = (usage.cache_read_tokens or 0) + (usage.cache_write_tokens or 0)
    return beside(usage) if usage.input_tokens is not None and cached > usage.input_tokens else usage


def beside(usage: Usage) -> Usage:
    """Counts of a log that has cached tokens beside the input, as Anthropic does."""
    if usage.input_tokens is None:
        return usage
    cached = (usage.cache_read_tokens or 0) + (usage.cache_write_tokens or 0)
    return replace(usage, input_tokens=usage.input_tokens + cached)


def whole(usage: Usage) -> Usage:
    """Counts of which no part is larger than its whole."""
    made = with_reasoning(None, usage.output_tokens, usage.reasoning_tokens, None)
    return inside(usage if made == usage.output_tokens else replace(usage, output_tokens=made))


def completed(usage: Usage, other: Usage) -> Usage:
    """The first counts; what they do not say is taken from the second.

    Input and its cached parts are taken from one place, as two may not mean the same by them.
    """
    has_input = usage.input_tokens is not None
    given = usage if has_input else other
    read = usage.cache_read_tokens if usage.cache_read_tokens is not None else other.cache_read_tokens
    written = usage.cache_write_tokens if usage.cache_write_tokens is not None else other.cache_write_tokens
    fits = given.input_tokens is None or (read or 0) + (written or 0) <= given.input_tokens
    return Usage(
        input_tokens=given.input_tokens,
        cache_read_tokens=read if fits else given.cache_read_tokens,
        cache_write_tokens=written if fits else given.cache_write_tokens,
        output_tokens=usage.output_tokens if usage.output_tokens is not None else other.output_tokens,
        reasoning_tokens=usage.reasoning_tokens if usage.reasoning_tokens is not None else other.reasoning_tokens,
    )


class _Meant(NamedTuple):
    """Which of the names that we know an object with counts has."""

    is_bedrock: bool
    is_anthropic: bool
    given: tuple[str, ...]
    made: tuple[str, ...]
    given_details: tuple[str, ...]
    made_details: tuple[str, ...]
    read: tuple[str, ...]
    written: tuple[str, ...]
    written_by_age: tuple[str, ...]
    reasoned: tuple[str, ...]


@lru_cache(maxsize=1024)
def _meant(names: tuple[str, ...]) -> _Meant:
    def among(*known: str) -> tuple[str, ...]:
        return tuple(name for name in known if name in names)

    return _Meant(
        is_bedrock=bool(among("inputTokens", "outputTokens")),
        is_anthropic=not _ANTHROPIC.isdisjoint(names),
        given=among("prompt_tokens", "input_tokens"),
        made=among("completion_tokens", "output_tokens"),
        given_details=among("prompt_tokens_details", "input_tokens_details"),
        made_details=among("completion_tokens_details", "output_tokens_details"),
        read=among("cache_read_input_tokens", "prompt_cache_hit_tokens"),
        written=among("cache_creation_input_tokens"),
        written_by_age=among("cache_creation"),
        reasoned=among("reasoning_tokens"),
    )


def _counts(usage: Values, meant: _Meant) -> Usage:
    given, made = _details(usage, meant.given_details), _details(usage, meant.made_details)
    given_tokens, output = _count(usage, *meant.given), _count(usage, *meant.made)
    total = _count(usage, "total_tokens")
    if output is None and given_tokens is not None and total == given_tokens:
        output = 0  # an embedding writes nothing
    read, written, reasoned = _count(usage, *meant.read), _count(usage, *meant.written), _count(usage, *meant.reasoned)
    if given:
        read = _either(_count(given, "cached_tokens", "cache_read_tokens"), read)
        written = _either(_count(given, "cache_write_tokens", "cache_creation_tokens"), written)
    if by_age := _details(usage, meant.written_by_age):
        ages = [found for name in by_age if (found := _count(by_age, name)) is not None]
        written = _either(written, sum(ages) if ages else None)
    if made:
        reasoned = _either(_count(made, "reasoning_tokens"), reasoned)
    return Usage(
        input_tokens=given_tokens,
        output_tokens=with_reasoning(given_tokens, output, reasoned, total),
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=reasoned,
    )


def _details(usage: Values, names: tuple[str, ...]) -> dict[str, Any]:  # Any: JSON
    """The first of some objects that holds anything."""
    for name in names:
        if found := inner(usage, name):
            return found
    return {}


def _gemini(usage: Mapping[str, Any]) -> Usage:  # Any: JSON
    """Thoughts stand beside the candidates; what was cached is part of the prompt."""
    written, thoughts = _count(usage, "candidatesTokenCount"), _count(usage, "thoughtsTokenCount")
    return inside(
        Usage(
            input_tokens=_count(usage, "promptTokenCount"),
            output_tokens=None if written is None and thoughts is None else (written or 0) + (thoughts or 0),
            cache_read_tokens=_count(usage, "cachedContentTokenCount"),
            reasoning_tokens=thoughts,
        )
    )


def _either(one: int | None, other: int | None) -> int | None:
    """The larger: a writer that knows two words for a thing may leave one of them at 0."""
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def _count(values: Values, *names: str) -> int | None:
    """The first of several counts that is a whole number from 0 up; an answer's mistake is no fault of the row."""
    for name in names:
        value = values.get(name)
        if value is None:
            continue
        if value.__class__ is int and 0 <= value <= MOST_TOKENS:
            return value
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS:
            return int(value) if value == int(value) else None
    return None
