"""Tokens of a call, read from the body that a provider answered with.

Each kind of API counts in its own words. Some count cached input inside the input and some beside it, some count
reasoning inside the output and some beside it. What comes out here is one form (`core.chat.Usage`): all input
with its cached part, all output with its reasoning part. Where an API leaves the choice open, the body's own
total decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from freehold.core.chat import Usage, with_reasoning
from freehold.core.errors import InputError

Dialect = Literal["openai-chat", "openai-responses", "anthropic", "gemini", "bedrock", "cohere", "ollama"]

Body = Mapping[str, Any]  # Any: JSON of somebody else

MOST_TOKENS = 10**12
"""More in one call is a fault of whoever wrote the body."""

MODALITIES = {"AUDIO": "audio", "IMAGE": "image", "DOCUMENT": "image", "VIDEO": "video"}
"""Gemini bills the pages of a document as images."""

ANTHROPIC_WORDS = frozenset({"cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a body says of its call."""

    dialect: Dialect
    usage: Usage
    finer: tuple[tuple[str, int], ...] = ()
    """Parts of the tokens that may have a rate of their own, and searches; each above zero."""
    tariff: str = "list"
    """list, batch, flex, priority; anything else is the provider's own word for a tariff unknown to us."""
    apart: tuple[tuple[str | None, Recorded], ...] = ()
    """Steps that are billed beside the call: model (None: the call's own) and tokens."""


def usage_of(body: Body, *, dialect: Dialect | None = None) -> Usage | None:
    """Tokens of a recorded body, or None if it holds no counts. `dialect` overrides what the body looks like.

    Raises:
        InputError: a count is no whole number from zero up, or the counts contradict each other.
    """
    found = recorded(body, dialect=dialect)
    return None if found is None else found.usage


def recorded(body: Body, *, dialect: Dialect | None = None) -> Recorded | None:
    """Everything that a body says of its call (see `usage_of`)."""
    holder = _holder(body)
    spoken = dialect or dialect_of(holder)
    if spoken is None:
        return None
    found = _READERS[spoken](holder)
    if found is None:
        return None
    _check(found)
    return found


def dialect_of(body: Body) -> Dialect | None:
    """In whose words a body counts; None: it holds no counts."""
    if _inner(body, "usageMetadata"):
        return "gemini"
    if _inner(body, "meta", "billed_units"):
        return "cohere"
    usage = _inner(body, "usage")
    signs: tuple[tuple[Dialect, bool], ...] = (
        ("bedrock", bool(usage.keys() & {"inputTokens", "outputTokens"})),
        ("cohere", bool(usage.keys() & {"billed_units", "tokens"})),
        ("openai-chat", bool(usage.keys() & {"prompt_tokens", "completion_tokens"})),
        ("anthropic", "input_tokens" in usage and bool(usage.keys() & ANTHROPIC_WORDS)),
        ("openai-responses", bool(usage.keys() & {"input_tokens", "output_tokens"})),
        ("ollama", bool(body.keys() & {"prompt_eval_count", "eval_count"})),
    )
    return next((dialect for dialect, is_spoken in signs if is_spoken), None)


def model_in(body: Body) -> str | None:
    """The model that a body names as the one that answered."""
    holder = _holder(body)
    named = holder.get("model") or holder.get("modelVersion")
    return named if isinstance(named, str) and named.strip() else None


def _holder(body: Body) -> Body:
    """The object that has the counts: the body, what an event of a stream wraps, or bare counts."""
    for wrapper in ("response", "message", "result"):
        inner = _inner(body, wrapper)
        if _inner(inner, "usage") or _inner(inner, "usageMetadata"):
            return {**body, **inner}
    if dialect_of(body) is None and dialect_of({"usage": body}) is not None:
        return {"usage": body}
    if dialect_of(body) is None and dialect_of({"usageMetadata": body}) is not None and "promptTokenCount" in body:
        return {"usageMetadata": body}
    return body


def _openai_chat(body: Body) -> Recorded | None:
    usage = _inner(body, "usage")
    given, made = _inner(usage, "prompt_tokens_details"), _inner(usage, "completion_tokens_details")
    inside, total = _count(usage, "prompt_tokens"), _count(usage, "total_tokens")
    output = _count(usage, "completion_tokens")
    reasoning = _first(_count(made, "reasoning_tokens"), _count(usage, "reasoning_tokens"))
    if output is None and inside is not None and total == inside:
        output = 0  # an embedding: nothing was written
    read = _first(
        _count(given, "cached_tokens"),
        _count(usage, "cached_tokens"),
        _count(usage, "prompt_cache_hit_tokens"),
        _count(usage, "num_cached_tokens"),
        _count(usage, "cached_prompt_text_tokens"),
    )
    return Recorded(
        dialect="openai-chat",
        usage=Usage(inside, with_reasoning(inside, output, reasoning, total), read,
                    _count(given, "cache_write_tokens"), reasoning),
        finer=_finer(
            input_audio_tokens=_count(given, "audio_tokens"),
            output_audio_tokens=_count(made, "audio_tokens"),
            output_image_tokens=_count(made, "image_tokens"),
        ),
        tariff=tariff_word(body.get("service_tier") or usage.get("service_tier")),
    )  # fmt: skip


def _openai_responses(body: Body) -> Recorded | None:
    usage = _inner(body, "usage")
    given = _inner(usage, "input_tokens_details") or _inner(usage, "input_token_details")
    made = _inner(usage, "output_tokens_details") or _inner(usage, "output_token_details")
    inside, total = _count(usage, "input_tokens"), _count(usage, "total_tokens")
    reasoning = _first(_count(made, "reasoning_tokens"), _count(usage, "reasoning_tokens"))
    read = _first(_count(given, "cached_tokens"), _count(usage, "cache_read_tokens"))
    written = _first(_count(given, "cache_write_tokens"), _count(usage, "cache_write_tokens"))
    cached = _inner(given, "cached_tokens_details")
    return Recorded(
        dialect="openai-responses",
        usage=Usage(inside, with_reasoning(inside, _count(usage, "output_tokens"), reasoning, total),
                    read, written, reasoning),
        finer=_finer(
            input_audio_tokens=_count(given, "audio_tokens"),
            input_image_tokens=_count(given, "image_tokens"),
            cache_audio_read_tokens=_count(cached, "audio_tokens"),
            cache_image_read_tokens=_count(cached, "image_tokens"),
            output_audio_tokens=_count(made, "audio_tokens"),
            output_image_tokens=_count(made, "image_tokens"),
        ),
        tariff=tariff_word(body.get("service_tier") or usage.get("service_tier")),
    )  # fmt: skip


def _anthropic(body: Body) -> Recorded | None:
    found = _anthropic_step(_inner(body, "usage"))
    steps = [step for step in _list(_inner(body, "usage"), "iterations") if step.get("type") not in {None, "message"}]
    apart = tuple((step.get("model") or None, _anthropic_step(step)) for step in steps)
    return Recorded(dialect="anthropic", usage=found.usage, finer=found.finer, tariff=found.tariff, apart=apart)


def _anthropic_step(usage: Body) -> Recorded:
    """Anthropic counts cached and written input beside the rest; `input_tokens` is what was neither."""
    read, written = _count(usage, "cache_read_input_tokens"), _count(usage, "cache_creation_input_tokens")
    plain = _count(usage, "input_tokens")
    return Recorded(
        dialect="anthropic",
        usage=Usage(
            None if plain is None else plain + (read or 0) + (written or 0),
            _count(usage, "output_tokens"),
            read,
            written,
            _count(_inner(usage, "output_tokens_details"), "thinking_tokens"),
        ),
        finer=_finer(
            cache_write_1h_tokens=_count(_inner(usage, "cache_creation"), "ephemeral_1h_input_tokens"),
            web_searches=_count(_inner(usage, "server_tool_use"), "web_search_requests"),
        ),
        tariff=tariff_word(usage.get("service_tier")),
    )


def _gemini(body: Body) -> Recorded | None:
    """Zero counts are left out of the JSON; thoughts and tool prompts stand beside the rest."""
    usage = _inner(body, "usageMetadata")
    thoughts, tools = _count(usage, "thoughtsTokenCount"), _count(usage, "toolUsePromptTokenCount") or 0
    inside = _count(usage, "promptTokenCount")
    if inside is None and "totalTokenCount" not in usage and "candidatesTokenCount" not in usage:
        return None
    parts: dict[str, int] = {}
    for key, name in (
        ("promptTokensDetails", "input_{}_tokens"),
        ("toolUsePromptTokensDetails", "input_{}_tokens"),
        ("cacheTokensDetails", "cache_{}_read_tokens"),
        ("candidatesTokensDetails", "output_{}_tokens"),
    ):
        for part in _list(usage, key):
            kind = MODALITIES.get(str(part.get("modality")))
            if kind is not None:
                field = name.format(kind)
                parts[field] = parts.get(field, 0) + (_count(part, "tokenCount") or 0)
    return Recorded(
        dialect="gemini",
        usage=Usage(
            (inside or 0) + tools,
            (_count(usage, "candidatesTokenCount") or 0) + (thoughts or 0),
            _count(usage, "cachedContentTokenCount"),
            None,
            thoughts,
        ),
        finer=_finer(**parts),
        tariff=tariff_word(usage.get("serviceTier") or usage.get("trafficType")),
    )


def _bedrock(body: Body) -> Recorded | None:
    usage = _inner(body, "usage")
    read, written = _count(usage, "cacheReadInputTokens"), _count(usage, "cacheWriteInputTokens")
    plain = _count(usage, "inputTokens")
    hours = [_count(part, "inputTokens") or 0 for part in _list(usage, "cacheDetails") if part.get("ttl") == "1h"]
    return Recorded(
        dialect="bedrock",
        usage=Usage(
            None if plain is None else plain + (read or 0) + (written or 0),
            _count(usage, "outputTokens"),
            read,
            written,
        ),
        finer=_finer(cache_write_1h_tokens=sum(hours)),
        tariff=tariff_word(_inner(body, "serviceTier").get("type")),
    )


def _cohere(body: Body) -> Recorded | None:
    """What is billed, which is less than what was read: Cohere does not bill its own preamble."""
    billed = _inner(body, "usage", "billed_units") or _inner(body, "meta", "billed_units")
    billed = billed or _inner(body, "usage", "tokens")
    is_embedding = "output_tokens" not in billed and not _inner(body, "usage")
    output = 0 if is_embedding else _count(billed, "output_tokens")
    finer = _finer(input_image_tokens=_count(billed, "image_tokens"))
    return Recorded(dialect="cohere", usage=Usage(_count(billed, "input_tokens"), output), finer=finer)


def _ollama(body: Body) -> Recorded | None:
    return Recorded(dialect="ollama", usage=Usage(_count(body, "prompt_eval_count"), _count(body, "eval_count")))


_READERS = {
    "openai-chat": _openai_chat,
    "openai-responses": _openai_responses,
    "anthropic": _anthropic,
    "gemini": _gemini,
    "bedrock": _bedrock,
    "cohere": _cohere,
    "ollama": _ollama,
}

_TARIFF_WORDS = {
    "default": "list",
    "auto": "list",
    "standard": "list",
    "on_demand": "list",
    "traffic_type_unspecified": "list",
    "service_tier_unspecified": "list",
    "on_demand_flex": "flex",
    "on_demand_priority": "priority",
}


def tariff_word(word: object) -> str:
    """The tariff that the provider says it billed under; without a word it is the list."""
    if not isinstance(word, str) or not word:
        return "list"
    return _TARIFF_WORDS.get(word.lower(), word.lower())


def _check(found: Recorded) -> None:
    """Parts must fit into their whole."""
    usage, finer = found.usage, dict(found.finer)
    read, written = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
    if usage.input_tokens is not None and read + written > usage.input_tokens:
        raise InputError(f"cached input ({read} read, {written} written) exceeds the input ({usage.input_tokens})")
    if usage.output_tokens is not None and (usage.reasoning_tokens or 0) > usage.output_tokens:
        raise InputError(f"reasoning ({usage.reasoning_tokens}) exceeds the output ({usage.output_tokens})")
    if finer.get("cache_write_1h_tokens", 0) > written:
        raise InputError("what was cached for an hour exceeds what was cached at all")
    for _, step in found.apart:
        _check(step)


def _finer(**counts: int | None) -> tuple[tuple[str, int], ...]:
    return tuple((name, count) for name, count in counts.items() if count)


def _inner(body: object, *path: str) -> Body:
    """The object at a path; what is absent or no object is empty."""
    for step in path:
        body = body.get(step) if isinstance(body, Mapping) else None
    return body if isinstance(body, Mapping) else {}


def _list(body: Body, key: str) -> list[Body]:
    value = body.get(key)
    return [part for part in value if isinstance(part, Mapping)] if isinstance(value, list) else []


def _first(*counts: int | None) -> int | None:
    return next((count for count in counts if count is not None), None)


def _count(body: Body, key: str) -> int | None:
    value = body.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or value % 1:  # noqa: PLR0124
        raise InputError(f"{key} is {str(value)[:40]!r}; it must be a whole number from 0 up")
    if not 0 <= value <= MOST_TOKENS:
        raise InputError(f"{key} is {'below 0' if value < 0 else f'above {MOST_TOKENS:,}'}")
    return int(value)
