"""What an answer says of itself: its id, its model, its tokens, and why it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from freehold.core.chat import with_reasoning

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.ledger.records import Dialect

MOST_TOKENS = 1_000_000_000
"""A count above this is a provider's mistake, and is not believed."""
LONGEST_TEXT = 1_000
"""Characters of an id, a model or a reason that are kept."""


class AnswerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """None means that the answer does not say."""

    model_served: str | None = None
    completion_id: str | None = None
    service_tier: str | None = None
    finish_reason: str | None = None
    error_type: str | None = None
    input_tokens: int | None = None
    """All input, cached and written included."""
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None


def facts_of(dialect: Dialect | None, body: Mapping[str, Any]) -> AnswerFacts:  # Any: JSON
    """The facts of a whole answer, streamed or not."""
    usage = _inner(body, "usage")
    tokens = _anthropic_tokens(usage) if _is_anthropic(dialect, body) else _openai_tokens(usage)
    return AnswerFacts(
        model_served=_text(body, "model"),
        completion_id=_text(body, "id"),
        service_tier=_text(body, "service_tier") or _text(usage, "service_tier"),
        finish_reason=_finish_reason(body),
        error_type=error_of(body),
        **tokens,
    )


def error_of(body: Mapping[str, Any]) -> str | None:  # Any: JSON
    """What kind of error an answer tells of; None: of none."""
    error = _inner(body, "error")
    return None if not error else _text(error, "type") or _text(error, "code") or "error"


def _is_anthropic(dialect: Dialect | None, body: Mapping[str, Any]) -> bool:
    return dialect == "anthropic" or (dialect is None and body.get("type") == "message")


def _openai_tokens(usage: Mapping[str, Any]) -> dict[str, int | None]:
    """Chat, completions, embeddings (`prompt_tokens`) and responses (`input_tokens`)."""
    given = _inner(usage, "prompt_tokens_details") or _inner(usage, "input_tokens_details")
    made = _inner(usage, "completion_tokens_details") or _inner(usage, "output_tokens_details")
    inside = _count(usage, "prompt_tokens", "input_tokens")
    output = _count(usage, "completion_tokens", "output_tokens")
    reasoning, total = _count(made, "reasoning_tokens"), _count(usage, "total_tokens")
    if output is None and inside is not None and total == inside:
        output = 0  # an embedding writes nothing
    return {
        "input_tokens": inside,
        "cache_read_tokens": _count(given, "cached_tokens"),
        "cache_write_tokens": _count(given, "cache_write_tokens"),
        "output_tokens": with_reasoning(inside, output, reasoning, total),
        "reasoning_tokens": reasoning,
    }


def _anthropic_tokens(usage: Mapping[str, Any]) -> dict[str, int | None]:
    """Its `input_tokens` are only those that were neither read from a cache nor written to one."""
    read, written = _count(usage, "cache_read_input_tokens"), _count(usage, "cache_creation_input_tokens")
    plain = _count(usage, "input_tokens")
    return {
        "input_tokens": None if plain is None else plain + (read or 0) + (written or 0),
        "cache_read_tokens": read,
        "cache_write_tokens": written,
        "output_tokens": _count(usage, "output_tokens"),
        "reasoning_tokens": None,
    }


def _finish_reason(body: Mapping[str, Any]) -> str | None:
    choices = body.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return _text(choices[0], "finish_reason")
    if body.get("object") == "response":
        return _text(_inner(body, "incomplete_details"), "reason") or _text(body, "status")
    return _text(body, "stop_reason")


def _inner(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def _text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    if not isinstance(value, str):
        return None
    return value.encode("utf-8", "replace").decode()[:LONGEST_TEXT] or None


def _count(body: Mapping[str, Any], *names: str) -> int | None:
    """The first of several counts that is a whole number from 0 up."""
    for name in names:
        value = body.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS:
            return int(value) if value == int(value) else None
    return None
