"""How many cases it takes to decide whether a candidate is non-inferior."""

from __future__ import annotations

from math import ceil
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from freehold.evaluation.intervals import z_two_sided

if TYPE_CHECKING:
    from collections.abc import Sequence

POWER = 0.8
MOST_CASES = 1_000_000
"""More cases than this are no plan."""


def fewest_cases(margin: float, confidence: float) -> int:
    """Cases below which even two identical contenders cannot be shown to lie within `margin`.

    Where nothing differs the interval reaches z²/(n + z²) from zero, so n must exceed z²(1 - margin)/margin.
    With a margin of 0 no number of equal answers shows anything: only a difference does, so none is asked for.
    """
    if margin == 0:
        return 0
    z = z_two_sided(confidence)
    return int(z * z * (1 - margin) / margin) + 1


def cases_to_decide(differences: Sequence[float], *, margin: float, confidence: float) -> int | None:
    """Cases at which the interval would, with 80 % probability, lie on one side of -margin.

    Supposes that the difference and the spread seen so far are the true ones:
    n = (z_confidence + z_power)² · variance / (difference + margin)².

    Returns:
        The count, more than were seen; None when no practical number decides, the difference being too near
        to the margin.
    """
    values = np.asarray(differences, dtype=np.float64)
    seen = len(values)
    variance = max(float(values.var()), 1 / (seen + 2))  # what has not been seen yet is rare, not impossible
    cases = _cases(variance, float(values.mean()) + margin, confidence)
    if cases is None:
        return None
    return max(cases, fewest_cases(margin, confidence), seen + 1)


def cases_before_looking(value: float, *, margin: float, confidence: float) -> int:
    """Cases to plan for before a rival has answered any, from the mean score of the candidate alone.

    Supposes a rival that is as good and errs independently: variance 2 · value · (1 - value), difference 0.
    """
    variance = max(2 * value * (1 - value), 0.01)
    cases = _cases(variance, margin, confidence)
    return max(MOST_CASES if cases is None else cases, fewest_cases(margin, confidence))


def _cases(variance: float, distance: float, confidence: float) -> int | None:
    z = z_two_sided(confidence) + NormalDist().inv_cdf(POWER)
    if z * z * variance > MOST_CASES * distance * distance:
        return None
    return ceil(z * z * variance / (distance * distance))
