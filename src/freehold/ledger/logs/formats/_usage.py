"""Tokens of a call in Freehold's words, whichever words a log counts in.

Freehold's input is all input, what was read from a cache and written to one included (as OpenAI counts it); its output
is all output, reasoning included. Others count some of it beside the rest.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

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
    if not usage:
        return NOBODY_COUNTED
    if usage.keys() & {"inputTokens", "outputTokens"}:
        return beside(
            Usage(
                input_tokens=_count(usage, "inputTokens"),
                output_tokens=_count(usage, "outputTokens"),
                cache_read_tokens=_count(usage, "cacheReadInputTokens"),
                cache_write_tokens=_count(usage, "cacheWriteInputTokens"),
            )
        )
    is_anthropic = body.get("type") == "message" or usage.keys() & _ANTHROPIC
    return beside(_counts(usage)) if is_anthropic and "prompt_tokens" not in usage else inside(_counts(usage))


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


def _counts(usage: Values) -> Usage:
    given = inner(usage, "prompt_tokens_details") or inner(usage, "input_tokens_details")
    made = inner(usage, "completion_tokens_details") or inner(usage, "output_tokens_details")
    written = inner(usage, "cache_creation")
    by_age = [found for name in written if (found := _count(written, name)) is not None]
    given_tokens = _count(usage, "prompt_tokens", "input_tokens")
    output = _count(usage, "completion_tokens", "output_tokens")
    total = _count(usage, "total_tokens")
    if output is None and given_tokens is not None and total == given_tokens:
        output = 0  # an embedding writes nothing
    reasoning = _either(_count(made, "reasoning_tokens"), _count(usage, "reasoning_tokens"))
    return Usage(
        input_tokens=given_tokens,
        output_tokens=with_reasoning(given_tokens, output, reasoning, total),
        cache_read_tokens=_either(
            _count(given, "cached_tokens", "cache_read_tokens"),
            _count(usage, "cache_read_input_tokens", "prompt_cache_hit_tokens"),
        ),
        cache_write_tokens=_either(
            _count(given, "cache_write_tokens", "cache_creation_tokens"),
            _count(usage, "cache_creation_input_tokens"),
            sum(by_age) if by_age else None,
        ),
        reasoning_tokens=reasoning,
    )


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


def _either(*counts: int | None) -> int | None:
    """The largest: a writer that knows two words for a thing may leave one of them at 0."""
    return max((each for each in counts if each is not None), default=None)


def _count(values: Values, *names: str) -> int | None:
    """The first of several counts that is a whole number from 0 up; an answer's mistake is no fault of the row."""
    for name in names:
        value = values.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS:
            return int(value) if value == int(value) else None
    return None
