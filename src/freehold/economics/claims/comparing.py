"""Stated against recomputed: how far apart, and whether that is within the tolerance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from freehold.economics.claims.claim import Number, Range, Stated

Targets = tuple[float | None, ...]
"""What each recomputed end should be, by rising result; None: that end is free."""

_SLACK = 1e-12
"""Relative room for rounding, so that a claim exactly at its tolerance is within it."""


def ends_of(value: Number) -> Range:
    """Both ends; a single number is its own range."""
    return value if isinstance(value, tuple) else (value, value)


def collapsed(values: tuple[float, ...]) -> Number:
    """A range, or a single number when its ends are the same."""
    low, high = min(values), max(values)
    return low if low == high else (low, high)


def is_close(stated: float, recomputed: float, tolerance: float) -> bool:
    """Whether the stated number lies within a relative distance of the recomputed one."""
    return abs(stated - recomputed) <= (tolerance + _SLACK) * abs(recomputed)


def ratio_of(stated: Number, recomputed: Number, *, paired: bool) -> Number | None:
    """Stated over recomputed; None where a recomputed end is zero.

    Two ranges whose ends belong together give the ratio of the end that is further off. Otherwise it is the range
    of all quotients.
    """
    (low, high), (least, most) = ends_of(stated), ends_of(recomputed)
    if least == 0 or most == 0:
        return None
    if paired and isinstance(stated, tuple) and isinstance(recomputed, tuple):
        return max((low / least, high / most), key=_distance)
    return collapsed((low / most, high / least))


def agrees(stated: Number, recomputed: Number, *, tolerance: float, paired: bool) -> bool:
    """Whether a stated number can stand: ends that belong together are all close, otherwise the ranges touch."""
    (low, high), (least, most) = ends_of(stated), ends_of(recomputed)
    if paired and isinstance(stated, tuple) == isinstance(recomputed, tuple):
        return is_close(low, least, tolerance) and is_close(high, most, tolerance)
    room = tolerance + _SLACK
    return low <= most + room * abs(most) and high >= least - room * abs(least)


def keeps_bound(stated: Stated, bound: float, recomputed: Number, tolerance: float) -> bool:
    """Whether all of the recomputed range keeps a bound that the text gives."""
    least, most = ends_of(recomputed)
    room = (tolerance + _SLACK) * abs(bound)
    return most <= bound + room if stated.bound == "at_most" else least >= bound - room


def targets_of(stated: Number, recomputed: tuple[float, ...]) -> Targets:
    """What each recomputed end should be; a lone number needs to reach the nearer end of a stated range only."""
    low, high = ends_of(stated)
    return (low, high) if len(recomputed) == 2 else (min(max(recomputed[0], low), high),)


def worst_end(targets: Targets, recomputed: tuple[float, ...]) -> int:
    """Position of the recomputed end from which to look for what would make the claim true.

    Of ends that belong together it is the one further off. Where both should be the same number it is the nearer one,
    which the claim reaches first.
    """
    distances = {
        place: _distance(_quotient(target, recomputed[place]))
        for place, target in enumerate(targets)
        if target is not None
    }
    is_one_number = len(set(targets)) == 1
    return (min if is_one_number else max)(distances, key=lambda place: distances[place])


def _quotient(stated: float, recomputed: float) -> float:
    return stated / recomputed if recomputed else math.inf


def _distance(ratio: float) -> float:
    return abs(math.log(ratio)) if 0 < ratio < math.inf else math.inf
