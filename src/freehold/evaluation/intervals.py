"""Intervals of scores and of paired differences: Wilson, Tango and the bootstrap.

Which one is used where, and what was rejected: docs/decisions/0005-verdict.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtrit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RESAMPLES = 5_000
_FEW_DIFFERING = 10
_CHUNK_VALUES = 4_000_000
_BISECTIONS = 100


@dataclass(frozen=True, slots=True)
class Interval:
    """A lower and an upper confidence limit."""

    low: float
    high: float


def z_two_sided(confidence: float) -> float:
    """Normal quantile that leaves (1 - confidence) / 2 above it: 1.96 for 0.95."""
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def bonferroni(confidence: float, comparisons: int) -> float:
    """Confidence of each of several intervals such that all hold at once with `confidence`."""
    return 1 - (1 - confidence) / comparisons


def wilson(successes: float, n: int, confidence: float) -> Interval:
    """Score interval of a proportion.

    Source: E. B. Wilson, Probable inference, JASA 22 (1927).
    """
    z = z_two_sided(confidence)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(0.0 if successes == 0 else centre - half, 1.0 if successes == n else centre + half)


def tango(wins: int, losses: int, n: int, confidence: float) -> Interval:
    """Score interval of the difference of two proportions that were measured on the same `n` cases.

    `wins` are the cases that only the candidate got right, `losses` those that only the other one did.
    The limits are the differences at which the score statistic equals plus and minus the normal quantile.

    Source: T. Tango, Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design, Statistics in Medicine 17 (1998).
    """
    z = z_two_sided(confidence)
    observed = (wins - losses) / n
    low, high = -1.0, observed
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _score_statistic(wins, losses, n, middle) > z else (low, middle)
    lower = low
    low, high = observed, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if _score_statistic(wins, losses, n, middle) < -z else (middle, high)
    return Interval(lower, high)


def _score_statistic(wins: int, losses: int, n: int, difference: float) -> float:
    """Standardised distance of what was seen from a supposed true difference."""
    # The most likely share of losses under that difference: the larger root of a quadratic.
    b = -wins - losses + (2 * n - wins + losses) * difference
    c = -losses * difference * (1 - difference)
    share = (sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
    distance = wins - losses - n * difference
    variance = n * (2 * share + difference * (1 - difference))
    if variance <= 0:
        return 0.0 if distance == 0 else inf if distance > 0 else -inf
    return float(distance / sqrt(variance))


def bootstrap_mean(
    values: NDArray[np.float64], *, confidence: float, seed: int, lowest: float, highest: float
) -> Interval:
    """Expanded percentile bootstrap interval of a mean of values in [lowest, highest].

    Plain percentiles are too narrow for few cases; the tail is moved out by what separates Student's t and
    the unbiased variance from the normal and the biased one.

    When fewer than ten values differ from the commonest one, resampling can hardly see anything else. The
    interval then reaches at least z²/(n + z²) from the mean, which is how far Wilson's and Tango's intervals
    reach when nothing differs.

    Source: T. Hesterberg, What teachers should know about the bootstrap, The American Statistician 69 (2015).
    """
    n, mean = len(values), float(values.mean())
    low = high = mean
    if n > 1 and values.min() < values.max():
        tail = NormalDist().cdf(sqrt(n / (n - 1)) * float(stdtrit(n - 1, (1 - confidence) / 2)))
        means = resampled_means(values, resamples=RESAMPLES, seed=seed)
        low, high = (float(limit) for limit in np.quantile(means, [tail, 1 - tail]))
    _, counts = np.unique(values, return_counts=True)
    if n - int(counts.max()) < _FEW_DIFFERING:
        z = z_two_sided(confidence)
        reach = z * z / (n + z * z)
        low, high = min(low, mean - reach), max(high, mean + reach)
    return Interval(max(lowest, low), min(highest, high))


def resampled_means(values: NDArray[np.float64], *, resamples: int, seed: int) -> NDArray[np.float64]:
    """Means of samples drawn with replacement, each as large as `values`."""
    rng = np.random.default_rng(seed)
    n = len(values)
    rows = max(1, _CHUNK_VALUES // n)  # bounds the memory of one block of draws
    blocks = [
        values[rng.integers(0, n, size=(min(rows, resamples - start), n))].mean(axis=1)
        for start in range(0, resamples, rows)
    ]
    return np.concatenate(blocks)


def score_interval(scores: Sequence[float], *, is_binary: bool, confidence: float, seed: int) -> Interval:
    """Interval of a mean score in [0, 1]."""
    if is_binary:
        return wilson(sum(scores), len(scores), confidence)
    values = np.asarray(scores, dtype=np.float64)
    return bootstrap_mean(values, confidence=confidence, seed=seed, lowest=0.0, highest=1.0)


def difference_interval(differences: Sequence[float], *, is_binary: bool, confidence: float, seed: int) -> Interval:
    """Interval of the mean of paired differences (candidate minus the other one, case by case)."""
    if is_binary:
        wins, losses = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
        return tango(wins, losses, len(differences), confidence)
    values = np.asarray(differences, dtype=np.float64)
    return bootstrap_mean(values, confidence=confidence, seed=seed, lowest=-1.0, highest=1.0)
