"""A workload from recorded calls: how many, how long, how uneven, and how many beyond a price tier."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from freehold.core.errors import InputError
from freehold.economics.workload import CallGroup, Workload

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from freehold.economics.montecarlo import FloatArray

    Tokens = FloatArray | NDArray[np.int64]

SECONDS_PER_HOUR = 3600.0
HOURS_PER_MONTH = 730.0

LEAST_HOURS_FOR_A_PEAK = 24.0
"""A shorter record says nothing about nights and weekends; the assumption on peaks is then used."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What recorded calls say about a month."""

    workload: Workload
    calls: int
    hours: float
    """From the first call to the end of the record."""
    hours_with_calls_share: float
    """Share of whole hours with a call in them: the least that scale-to-zero would be on."""


def traffic(
    t_s: FloatArray,
    input_tokens: Tokens,
    output_tokens: Tokens,
    *,
    duration_s: float | None = None,
    cached_share: float | None = None,
    thresholds: Iterable[int] = (),
    queries_per_month: float | None = None,
) -> Traffic:
    """A month of calls like these, each array [calls], `t_s` rising seconds.

    `duration_s` is what the record covers; None: from its first call to one mean gap after its last. `cached_share`
    is the share of input tokens that was read from a cache, None: unknown. The record is
    stretched to 730 hours, or to `queries_per_month`. Calls are grouped by the `thresholds` of input
    tokens at which a price changes, so that tiers are paid call by call and not on the mean.

    Raises:
        InputError: fewer than two calls, or all at the same moment.
    """
    if t_s.size < 2 or not t_s[-1] > t_s[0]:
        raise InputError("The trace holds no two calls at different times; a month cannot be told from it.")
    # n calls span n - 1 gaps; one more closes the record, so that its rate is calls over its whole length.
    seconds = float(t_s[-1] - t_s[0]) * t_s.size / (t_s.size - 1) if duration_s is None else duration_s
    hours = seconds / SECONDS_PER_HOUR
    by_hour = np.bincount(((t_s - t_s[0]) // SECONDS_PER_HOUR).astype(np.int64), minlength=max(1, math.ceil(hours)))
    volume = t_s.size / hours * HOURS_PER_MONTH if queries_per_month is None else queries_per_month
    peak = float(by_hour.max() / by_hour.mean()) if hours >= LEAST_HOURS_FOR_A_PEAK else None
    workload = Workload(
        queries_per_month=volume,
        input_tokens=float(input_tokens.mean()),
        output_tokens=float(output_tokens.mean()),
        cached_share=cached_share,
        peak_to_mean=peak,
        groups=_groups(input_tokens, output_tokens, sorted(set(thresholds))),
    )
    return Traffic(workload, int(t_s.size), hours, float((by_hour > 0).mean()))


def _groups(input_tokens: Tokens, output_tokens: Tokens, thresholds: list[int]) -> tuple[CallGroup, ...]:
    """One group per tier that holds a call; none where all calls pay the same rates."""
    tier = np.searchsorted(np.asarray(thresholds), input_tokens, side="left")
    if not thresholds or np.all(tier == tier[0]):
        return ()
    return tuple(
        CallGroup(
            share=float((tier == each).mean()),
            input_tokens=float(input_tokens[tier == each].mean()),
            output_tokens=float(output_tokens[tier == each].mean()),
        )
        for each in np.unique(tier)
    )
