"""Tokens of a generation as Langfuse keeps them: under whatever names its SDKs and its users gave them.

Langfuse adds prices up over all names, so it takes cached tokens out of `input` and reasoning tokens out of `output`,
where it knows how. Users' own counts may have them inside. The total tells which it is; without one, they are beside.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

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


class _Meant(NamedTuple):
    """What the names of a generation's counts mean."""

    given: tuple[str, ...]
    made: tuple[str, ...]
    total: tuple[str, ...]
    others: tuple[str, ...]
    asked: tuple[str, ...]
    """Parts of the input; those that differ in case alone are one, of which the last is meant."""
    said: tuple[str, ...]
    read: tuple[str, ...]
    written: tuple[str, ...]
    reasoned: tuple[str, ...]


@lru_cache(maxsize=1024)
def _meant(names: tuple[str, ...]) -> _Meant:
    others = tuple(name for name in names if name not in _WHOLE)
    parts = {name.lower(): name for name in others}
    asked = [each for each in parts if any(word in each for word in ("input", "prompt", "cache"))]
    said = [
        each
        for each in parts
        if each not in asked and any(word in each for word in ("output", "completion", "reasoning", "thought"))
    ]
    cached = [each for each in asked if "cache" in each]
    written = [each for each in cached if "creation" in each or "write" in each]

    def as_given(some: list[str]) -> tuple[str, ...]:
        return tuple(parts[each] for each in some)

    return _Meant(
        given=tuple(name for name in _INPUT if name in names),
        made=tuple(name for name in _OUTPUT if name in names),
        total=tuple(name for name in _TOTAL if name in names),
        others=others,
        asked=as_given(asked),
        said=as_given(said),
        read=as_given([each for each in cached if each not in written]),
        written=as_given(written),
        reasoned=as_given([each for each in said if "reasoning" in each or "thought" in each]),
    )


def _of_details(details: Values) -> Usage:
    meant = _meant(tuple(details))
    given, made, total = count(details, *meant.given), count(details, *meant.made), count(details, *meant.total)
    if made is None and total is not None and total == given:
        made = 0  # an embedding writes nothing
    parts = {name: count(details, name) or 0 for name in meant.others}
    is_inside = total is not None and total == (given or 0) + (made or 0)
    usage = Usage(
        input_tokens=given if is_inside else _with(given, parts, meant.asked),
        output_tokens=made if is_inside else _with(made, parts, meant.said),
        cache_read_tokens=_with(None, parts, meant.read),
        cache_write_tokens=_with(None, parts, meant.written),
        reasoning_tokens=_with(None, parts, meant.reasoned),
    )
    return _usage.inside(usage) if is_inside else usage  # what is zero is as well inside as beside


def _with(whole: int | None, parts: dict[str, int], names: tuple[str, ...]) -> int | None:
    """A count and these parts; None if nothing of it is known."""
    if not names:
        return whole
    return (whole or 0) + sum([parts[name] for name in names])
