"""Sentences about faulty rows of a file: every line is named, and the first few with what is wrong with them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

MOST_LINES = 1_000
"""So many lines are named; of more there is the number."""
_WITH_REASON = 5

Fault = tuple[int, str]
"""A line from 1, and what is wrong with it."""


def counted(number: int, noun: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def lines_named(lines: Iterable[int]) -> str:
    """`line 4`, `lines 2, 4–9`; after a thousand lines how many more there are."""
    rising = sorted(set(lines))
    shown = rising[:MOST_LINES]
    begins = [0, *(place for place, (one, two) in enumerate(pairwise(shown), start=1) if two != one + 1), len(shown)]
    runs = [(shown[begin], shown[end - 1]) for begin, end in pairwise(begins)]
    words = ", ".join(f"{first}" if first == last else f"{first}–{last}" for first, last in runs)
    more = len(rising) - len(shown)
    return f"line{'' if len(rising) == 1 else 's'} {words}" + (f" and {more:,} more" if more else "")


def broken(path: Path, faults: Sequence[Fault]) -> str:
    """The message about rows that cannot be read: all of their lines, and of the first ones the reason."""
    lines = "" if len(faults) <= _WITH_REASON else f" ({lines_named(line for line, _ in faults)})"
    more = f"; and {len(faults) - _WITH_REASON:,} more" if len(faults) > _WITH_REASON else ""
    reasons = "; ".join(f"line {line}: {reason}" for line, reason in faults[:_WITH_REASON])
    remedy = "Correct or remove " + ("it." if len(faults) == 1 else "them.")
    return f"{path} has {counted(len(faults), 'faulty row')}{lines}. {reasons}{more}. {remedy}"
