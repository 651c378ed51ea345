"""Which assumption matters most, and how far one alone would have to move to change the answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from freehold.economics.montecarlo import number, percentiles
from freehold.economics.options import lines
from freehold.economics.terms import crossings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.economics.montecarlo import FloatArray, Interval
    from freehold.economics.options import Question
    from freehold.economics.scenario import Assumption

GRID = 257
"""Values tried at once between two limits, and again between two neighbours."""

REFINEMENTS = 4

SOLVED: Mapping[str, tuple[float, float]] = {
    "gpu_usd_per_hour": (0.001, 1_000.0),
    "rent_price_factor": (0.001, 1_000.0),
    "fte": (0.0, 1_000.0),
    "overhead_factor": (1.0, 100.0),
    "peak_to_mean": (1.0, 10_000.0),
    "retrainings_per_year": (0.0, 1_000.0),
    "setup_days": (0.0, 100_000.0),
    "rent_drift_per_year": (-0.99, 2.0),
    "volume_growth_per_year": (-0.99, 10.0),
    "error_difference": (-1.0, 1.0),
    "sovereignty_usd_per_month": (0.0, 1e9),
}
"""Numbers that are solved for, and between which limits."""

VOLUME = "queries_per_month"
VOLUME_LIMITS = (1.0, 1e11)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar of the tornado: everything at typical values, one number at its 5th and at its 95th percentile."""

    name: str
    unit: str
    low: float
    high: float
    breakeven: tuple[float | None, float | None]
    """Queries per month; None: no volume pays."""
    saved_usd_per_month: tuple[float, float]
    """Renting minus owning at today's volume."""

    @property
    def decides(self) -> bool:
        """Whether the cheaper side at today's volume depends on this number alone."""
        low, high = self.saved_usd_per_month
        return (low > 0.0) != (high > 0.0)

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """The bar as the record lists it."""
        saved = self.saved_usd_per_month
        return {
            "name": self.name,
            "unit": self.unit,
            "low": number(self.low),
            "high": number(self.high),
            "breakeven_queries_per_month_at_low": number(self.breakeven[0]),
            "breakeven_queries_per_month_at_high": number(self.breakeven[1]),
            "saved_usd_per_month_at_low": number(saved[0]),
            "saved_usd_per_month_at_high": number(saved[1]),
            "swing_usd_per_month": number(abs(saved[1] - saved[0])),
            "decides": self.decides,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A single number that would make owning and renting cost the same, all others at typical values."""

    name: str
    unit: str
    now: float
    needed: float | None
    """None: no value within its limits does it."""
    direction: Literal["at least", "at most"]
    """On which side of `needed` the cheaper option is another one than now."""
    limits: tuple[float, float]

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """The change as the record lists it; `reason` where there is none."""
        low, high = self.limits
        return {
            "name": self.name,
            "unit": self.unit,
            "now": number(self.now),
            "needed": number(self.needed),
            "direction": None if self.needed is None else self.direction,
            "reason": f"no value from {low:g} to {high:g} does it" if self.needed is None else None,
        }


def tornado(asked: Question, typical: Mapping[str, FloatArray], drawn: Mapping[str, FloatArray]) -> tuple[Bar, ...]:
    """One bar for each number that is not certain, the most important one first.

    Ranked by how far the break-even moves (by ratio; never paying is farthest), then by the money at today's volume.
    """
    moved = [each for each in asked.telling if each.shape != "fixed"]
    ends = {each.name: percentiles(drawn[each.name]) for each in moved}
    rows = 2 * len(moved)
    values: dict[str, FloatArray] = {name: np.repeat(array, rows) for name, array in typical.items()}
    for index, each in enumerate(moved):
        values[each.name][2 * index : 2 * index + 2] = ends[each.name].p5, ends[each.name].p95
    found = lines(asked, values)
    if found.own is None or not found.rented or not moved:
        return ()
    volume = asked.workload.queries_per_month
    first = np.broadcast_to(crossings(found.own, found.rented[0]).first, rows)
    saved = np.broadcast_to(found.rented[0].compared(volume) - found.own.compared(volume), rows)
    bars = [_bar(each, ends[each.name], first[2 * i :], saved[2 * i :]) for i, each in enumerate(moved)]
    return tuple(sorted((bar for bar in bars if _moves(bar)), key=_importance, reverse=True))


def changes(asked: Question, typical: Mapping[str, FloatArray]) -> tuple[Change, ...]:
    """How far today's volume, or one number alone, would have to move to turn the answer at typical values.

    The answer is owning in the way that was asked for against the cheapest way to rent. Every root within
    the limits is searched on a grid and refined; the one nearest to today's value is given.
    """
    found = lines(asked, typical)
    if found.own is None or not found.rented:
        return ()
    names = [name for name in SOLVED if name in asked.assumptions]
    solved = [_solve(asked, typical, name, SOLVED[name]) for name in names]
    return (_solve(asked, typical, VOLUME, VOLUME_LIMITS), *solved)


def _bar(each: Assumption, ends: Interval, first: FloatArray, saved: FloatArray) -> Bar:
    low, high = ends.p5, ends.p95
    assert low is not None
    assert high is not None
    return Bar(
        name=each.name,
        unit=each.unit,
        low=low,
        high=high,
        breakeven=(percentiles(first[:1]).p50, percentiles(first[1:2]).p50),
        saved_usd_per_month=(float(saved[0]), float(saved[1])),
    )


def _moves(bar: Bar) -> bool:
    return bar.breakeven[0] != bar.breakeven[1] or bar.saved_usd_per_month[0] != bar.saved_usd_per_month[1]


def _importance(bar: Bar) -> tuple[float, float, str]:
    low, high = bar.breakeven
    if low is None or high is None:
        ratio = 0.0 if low is high else math.inf
    else:
        ratio = abs(math.log(max(high, 1.0) / max(low, 1.0)))
    return ratio, abs(bar.saved_usd_per_month[1] - bar.saved_usd_per_month[0]), bar.name


def _solve(asked: Question, typical: Mapping[str, FloatArray], name: str, limits: tuple[float, float]) -> Change:
    now = asked.workload.queries_per_month if name == VOLUME else float(typical[name][0])
    unit = "queries/month" if name == VOLUME else asked.assumptions[name].unit
    spacing = _spaced(*limits)
    saved = _saved(asked, typical, name, spacing)
    turns = np.flatnonzero((saved[:-1] > 0.0) != (saved[1:] > 0.0))
    at_now = float(_saved(asked, typical, name, np.array([now]))[0])
    roots = [_refine(asked, typical, name, spacing[turn], spacing[turn + 1]) for turn in turns]
    needed = min(roots, key=lambda root: abs(root - now), default=None)
    rises = needed is not None and (needed > now or (needed == now and at_now <= 0.0))
    return Change(
        name=name, unit=unit, now=now, needed=needed, direction="at least" if rises else "at most", limits=limits
    )


def _spaced(low: float, high: float) -> FloatArray:
    """Grid between two limits: by ratio where both are positive, else dense around zero."""
    if low > 0.0:
        return np.geomspace(low, high, GRID)
    away = np.geomspace(1e-6, max(high, -low), GRID)
    below = -away[::-1][away[::-1] <= -low] if low < 0.0 else np.empty(0)
    return np.unique(np.concatenate([[low], below, [0.0], away[away <= high]]))


def _refine(asked: Question, typical: Mapping[str, FloatArray], name: str, low: float, high: float) -> float:
    """Where the saving turns between two neighbours of the grid."""
    for _ in range(REFINEMENTS):
        spacing = np.linspace(low, high, GRID)
        saved = _saved(asked, typical, name, spacing)
        turn = int(np.flatnonzero((saved[:-1] > 0.0) != (saved[1:] > 0.0))[0])
        low, high = float(spacing[turn]), float(spacing[turn + 1])
    return (low + high) / 2.0


def _saved(asked: Question, typical: Mapping[str, FloatArray], name: str, tried: FloatArray) -> FloatArray:
    """Cheapest rent minus owning, [tried], USD per month."""
    is_volume = name == VOLUME
    found = lines(asked, typical if is_volume else {**typical, name: tried})
    volume = tried if is_volume else asked.workload.queries_per_month
    assert found.own is not None
    rented = np.min([np.broadcast_to(line.compared(volume), tried.shape) for line in found.rented], axis=0)
    return np.asarray(np.broadcast_to(rented - found.own.compared(volume), tried.shape))
