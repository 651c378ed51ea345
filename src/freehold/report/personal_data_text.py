"""Kinds of personal data per task, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.report.numbers import count
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MOST_TASKS = 20


def personal_data_text(tasks: Sequence[Mapping[str, Any]]) -> str:  # Any: JSON
    """A line per task in which some was found, with the sample that it was found in."""
    looked = [task["personal_data"] for task in tasks if task["personal_data"] is not None]
    found = [one for one in looked if one["calls_with_any"]]
    if not looked:
        return ""
    if not found:
        calls = count(sum(one["sampled_calls"] for one in looked))
        return f"Personal data: none found in {calls} calls; names of people are not looked for."
    lines = [f"  {visible(one['task'])}: {_kinds(one)} ({_sample(one)})" for one in found[:_MOST_TASKS]]
    more = [f"  … and in {len(found) - _MOST_TASKS} further tasks"] if len(found) > _MOST_TASKS else []
    head = "Personal data, share of the calls that hold it (names of people are not looked for):"
    return "\n".join([head, *lines, *more])


def _kinds(one: Mapping[str, Any]) -> str:  # Any: JSON
    return ", ".join(_kind(kind) for kind in one["kinds"])


def _kind(kind: Mapping[str, Any]) -> str:  # Any: JSON
    share = f"{kind['kind']} {kind['share']:.1%}"
    return share if kind["low"] == kind["high"] else f"{share} ({kind['low']:.1%} to {kind['high']:.1%})"


def _sample(one: Mapping[str, Any]) -> str:  # Any: JSON
    calls = count(one["sampled_calls"])
    at_least = "; long ones in part, so at least" if one["cut_calls"] else ""
    return f"{'all ' if one['stopped_by'] is None else 'sample of '}{calls} calls{at_least}"
