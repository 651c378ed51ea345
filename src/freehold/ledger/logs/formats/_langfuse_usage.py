"""Tokens of a generation as Langfuse keeps them: under whatever names its SDKs and its users gave them.

Langfuse adds prices up over all names, so it takes cached tokens out of `input` and reasoning tokens out of `output`,
where it knows how. Users' own counts may have them inside. The total tells which it is; without one, they are beside.
"""

from __future__ import annotations

from freehold.core.chat import Usage
from freehold.ledger.logs.formats import _usage
from freehold.ledger.logs.formats._fields import Values, count, inner, mapping_of

_INPUT = ("input", "prompt_tokens", "input_tokens", "promptTokens", "inputTokens", "inputUsage")
_OUTPUT = ("output", "completion_tokens", "output_tokens", "completionTokens", "outputTokens", "outputUsage")
_TOTAL = ("total", "total_tokens", "totalTokens", "totalUsage")
_WHOLE = frozenset({*_INPUT, *_OUTPUT, *_TOTAL})
FIELDS = (*_INPUT[1:], *_OUTPUT[1:])
"""Columns of older exports, which have a count each."""


def usage_of(row: Values) -> Usage:
    """Tokens of a generation.

    Raises:
        BadRow: a count is no whole number.
    """
    details = inner(row, "usage_details") or inner(row, "usageDetails")
    if details:
        return _of_details(details)
    older = mapping_of(row.get("usage"))
    if older and older.get("unit") not in (None, "TOKENS"):
        return Usage()  # characters, seconds, images
    return Usage(
        input_tokens=count(older or row, *_INPUT[1 if not older else 0 :]),
        output_tokens=count(older or row, *_OUTPUT[1 if not older else 0 :]),
    )


def _of_details(details: Values) -> Usage:
    given, made, total = count(details, *_INPUT), count(details, *_OUTPUT), count(details, *_TOTAL)
    if made is None and total is not None and total == given:
        made = 0  # an embedding writes nothing
    parts = {name.lower(): count(details, name) or 0 for name in details if name not in _WHOLE}
    asked = {name: parts[name] for name in parts if any(word in name for word in ("input", "prompt", "cache"))}
    said = {
        name: parts[name]
        for name in parts
        if name not in asked and any(word in name for word in ("output", "completion", "reasoning", "thought"))
    }
    written = {name for name in asked if "cache" in name and ("creation" in name or "write" in name)}
    usage = Usage(
        input_tokens=given,
        output_tokens=made,
        cache_read_tokens=_sum({name: asked[name] for name in asked if "cache" in name and name not in written}),
        cache_write_tokens=_sum({name: asked[name] for name in written}),
        reasoning_tokens=_sum({name: said[name] for name in said if "reasoning" in name or "thought" in name}),
    )
    if total is not None and total == (given or 0) + (made or 0):
        return _usage.inside(usage)  # what is zero is as well inside as beside
    return Usage(
        input_tokens=_with(given, asked),
        output_tokens=_with(made, said),
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        reasoning_tokens=usage.reasoning_tokens,
    )


def _sum(parts: dict[str, int]) -> int | None:
    return sum(parts.values()) if parts else None


def _with(whole: int | None, parts: dict[str, int]) -> int | None:
    """All of one side; None if nothing of it is known."""
    return None if whole is None and not parts else (whole or 0) + sum(parts.values())
