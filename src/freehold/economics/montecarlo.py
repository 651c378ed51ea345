"""Draws of the assumptions: a table of arrays, one entry per draw, and what is read off the results.

Each assumption has a stream of its own, made from the seed and its name. So the draws of one number stay when
another is added, fixed or moved: two comparisons with one seed differ by what was changed alone.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.economics.scenario import Assumption

FloatArray = NDArray[np.float64]

Z95 = 1.6448536269514722
"""95th percentile of the standard normal distribution."""

SIGNIFICANT_DIGITS = 12
"""A record keeps these; what a processor's vector unit does to the last bits stays out of it."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Percentiles of a distribution. None: beyond all bounds, because no finite number is reached."""

    p5: float | None
    p50: float | None
    p95: float | None

    def as_record(self) -> dict[str, float | None]:
        """Under the names p5, p50 and p95."""
        return {"p5": number(self.p5), "p50": number(self.p50), "p95": number(self.p95)}


def typical(assumptions: Mapping[str, Assumption]) -> dict[str, FloatArray]:
    """One draw, [1], in which every assumption has the value of the closed form: the typical one, as a rule."""
    return {name: np.array([assumption.closed_form]) for name, assumption in assumptions.items()}


def draw(assumptions: Mapping[str, Assumption], *, seed: int, draws: int) -> dict[str, FloatArray]:
    """Arrays [draws] of every assumption; a fixed one is [1] and broadcasts."""
    return {name: _draw_one(assumption, seed, draws) for name, assumption in assumptions.items()}


def percentiles(values: FloatArray) -> Interval:
    """5th, 50th and 95th percentile, each a value that was drawn, so that infinities do not spread."""
    p5, p50, p95 = np.percentile(values, [5, 50, 95], method="inverted_cdf").tolist()
    return Interval(_finite(p5), _finite(p50), _finite(p95))


def posterior_ends(mean: float, low: float, high: float, *, confidence: float) -> tuple[float, float, float]:
    """5th percentile, mean and 95th of a difference of shares whose interval of some confidence was measured.

    The interval is taken for normal on either side of its mean, and cut at -1 and 1.
    """
    narrower = Z95 / float(ndtri(0.5 + confidence / 2.0))
    ends = (mean - (mean - low) * narrower, mean, mean + (high - mean) * narrower)
    low, mean, high = (min(1.0, max(-1.0, end)) for end in ends)
    return min(low, mean), mean, max(mean, high)


def number(value: float | None) -> float | None:
    """A float as records keep it: twelve significant digits."""
    return None if value is None else float(f"{value:.{SIGNIFICANT_DIGITS}g}")


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _draw_one(assumption: Assumption, seed: int, draws: int) -> FloatArray:
    low, middle, high = assumption.low, assumption.typical, assumption.high
    if assumption.shape == "fixed":
        return np.array([middle])
    uniform = np.random.default_rng([seed, zlib.crc32(assumption.name.encode())]).random(draws)
    if assumption.shape == "lognormal":
        spread = np.log(high / low) / (2.0 * Z95)
        return np.asarray(middle * np.exp(spread * ndtri(uniform)))
    if assumption.shape == "posterior":
        return np.asarray(middle + (high - low) / (2.0 * Z95) * ndtri(uniform))
    values = _triangular(uniform, low, middle, high)
    return np.round(values) if assumption.shape == "whole" else values


def _triangular(uniform: FloatArray, low: float, middle: float, high: float) -> FloatArray:
    """Inverse of the cumulative triangular distribution, so that one uniform number gives one value."""
    width = high - low
    rising = low + np.sqrt(uniform * width * (middle - low))
    falling = high - np.sqrt((1.0 - uniform) * width * (high - middle))
    return np.where(uniform < (middle - low) / width, rising, falling)
