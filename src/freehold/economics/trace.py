"""Calls as they arrived: when, how long their prompts were, and how long their answers.

Volumes that are known by window of time alone become calls under a stated assumption of lengths.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from freehold.core.errors import InputError

if TYPE_CHECKING:
    from freehold.economics.montecarlo import FloatArray

HOURS_PER_MONTH = 730.0
MOST_TOKENS = 10_000_000
"""A longer prompt or answer is a mistake in the file."""
LONGEST_S = 366 * 86_400.0
MOST_CALLS = 20_000_000
"""More do not fit into the memory of a small machine."""
LARGEST_CV = 10.0
"""Burstier windows are spread as if they had this coefficient of variation: beyond, the calls of a window coincide."""

MOST_TIMES = 1e6
"""Traffic is made denser or thinner by this factor at most."""

_ORDER, _LENGTHS, _THINNING = 0, 1, 2

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Calls by rising arrival.

    Raises:
        InputError: no calls, arrays of different lengths, or a value that no call can have; the first such call is
            named by its position from 1.
    """

    t_s: FloatArray
    """Arrivals in seconds, from any beginning."""
    input_tokens: IntArray
    output_tokens: IntArray
    duration_s: float | None = None
    """Time that the trace covers; None: from the first arrival to the last."""
    cached_tokens: IntArray | None = None
    """Of each prompt, what a cache holds already; None: nobody knows, so nothing is."""

    def __post_init__(self) -> None:
        sizes = {len(self.t_s), len(self.input_tokens), len(self.output_tokens)}
        sizes |= set() if self.cached_tokens is None else {len(self.cached_tokens)}
        if len(sizes) > 1 or 0 in sizes:
            raise InputError(f"A trace needs at least one call and as many lengths as arrivals, not {sorted(sizes)}.")
        if not np.isfinite(self.t_s).all():
            raise InputError(f"Call {_first(~np.isfinite(self.t_s))}: the time of arrival is not a finite number.")
        if (np.diff(self.t_s) < 0).any():
            late = _first(np.diff(self.t_s) < 0) + 1
            raise InputError(f"Call {late} arrived before the one above it; sort the calls.")
        if self.span_s > LONGEST_S or not self.span_s >= float(self.t_s[-1] - self.t_s[0]):
            span = f"{self.span_s:,.0f}" if self.span_s < 1e15 else f"{self.span_s:.3g}"
            raise InputError(
                f"The trace covers {span} s; it must cover its arrivals, and no more than a year. "
                "Are the times in milliseconds?"
            )
        for name, tokens in (("input_tokens", self.input_tokens), ("output_tokens", self.output_tokens)):
            wrong = (tokens < 1) | (tokens > MOST_TOKENS)
            if wrong.any():
                raise InputError(f"Call {_first(wrong)}: {name} must be between 1 and {MOST_TOKENS:,}.")
        if self.cached_tokens is not None:
            wrong = (self.cached_tokens < 0) | (self.cached_tokens > self.input_tokens)
            if wrong.any():
                raise InputError(f"Call {_first(wrong)}: cached_tokens must be between 0 and its input_tokens.")

    @property
    def calls(self) -> int:
        """How many."""
        return len(self.t_s)

    @property
    def span_s(self) -> float:
        """Seconds that the trace covers."""
        return float(self.t_s[-1] - self.t_s[0]) if self.duration_s is None else self.duration_s

    @property
    def cached_share(self) -> float | None:
        """Share of all prompt tokens that a cache holds; None: nobody knows."""
        return None if self.cached_tokens is None else float(self.cached_tokens.sum() / self.input_tokens.sum())

    @property
    def requests_per_s(self) -> float | None:
        """Mean rate; None when all calls arrived at one moment."""
        return self.calls / self.span_s if self.span_s > 0 else None

    @property
    def calls_per_month(self) -> float | None:
        """Volume of 730 hours at the mean rate; None when the trace covers no time."""
        rate = self.requests_per_s
        return None if rate is None else rate * 3600.0 * HOURS_PER_MONTH

    def peak_to_mean(self, window_s: float = 60.0) -> float | None:
        """Calls of the busiest window over those of the mean one; windows begin with the first arrival.

        None when the trace covers less than one window. Below ten calls a window, the busiest is chance.
        """
        if not self.span_s >= window_s > 0:
            return None
        _, counts = np.unique(((self.t_s - self.t_s[0]) // window_s).astype(np.int64), return_counts=True)
        return float(counts.max() * self.span_s / (window_s * self.calls))

    def with_cached_share(self, share: float) -> Trace:
        """The same calls, of each prompt this share (rounded down to whole tokens) in the cache.

        Raises:
            InputError: it is no share.
        """
        if not 0.0 <= share <= 1.0:
            raise InputError(f"The share of a prompt that a cache holds must be from 0 to 1, not {share!r}.")
        return replace(self, cached_tokens=np.floor(share * self.input_tokens).astype(np.int64))

    def times(self, factor: float) -> Trace:
        """The same calls, arriving `factor` times as fast.

        Raises:
            InputError: the factor is not a positive number.
        """
        if not 1.0 / MOST_TIMES <= factor <= MOST_TIMES:
            raise InputError(
                f"Traffic can be multiplied by a positive number up to {MOST_TIMES:,.0f} or divided by one, "
                f"not multiplied by {factor!r}."
            )
        # From 0 on: beside seconds since 1970 what is left of a second would be lost.
        return replace(self, t_s=(self.t_s - self.t_s[0]) / factor, duration_s=self.span_s / factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Volumes:
    """Calls counted by client and window of time. Rows may stand in any order."""

    t_s: FloatArray
    """Beginning of each window."""
    requests: IntArray
    window_s: float
    cv: FloatArray | None = None
    """Coefficient of variation of the gaps between arrivals; None: 1, arrivals that know nothing of each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Pairs of prompt and answer lengths to draw from, each equally likely; one pair gives every call that length."""

    input_tokens: IntArray
    output_tokens: IntArray


def spread(volumes: Volumes, lengths: Lengths, *, seed: int, kept: float = 1.0) -> Trace:
    """Calls of windowed volumes: gaps from a gamma distribution, stretched to fill each window exactly.

    With a coefficient of variation of 1 these are the arrivals of a Poisson process whose count is known.

    Args:
        volumes: Calls by window.
        lengths: What prompt and answer lengths are drawn from.
        seed: Of the gaps, the lengths and the thinning; each has a stream of its own.
        kept: Probability with which each call is kept, for a customer of that share of the traffic.

    Raises:
        InputError: no call or too many are left.
    """
    requests = volumes.requests
    if kept < 1.0:
        requests = np.random.default_rng([seed, _THINNING]).binomial(requests, kept)
    total = int(requests.sum())
    if not 0 < total <= MOST_CALLS:
        raise InputError(
            f"The windows hold {total:,} calls; between 1 and {MOST_CALLS:,} can be replayed. "
            "Choose clients with --client, or a share of the calls with --share."
        )
    t_s = np.sort(_arrivals(volumes, requests, seed), kind="stable")
    row = np.random.default_rng([seed, _LENGTHS]).integers(len(lengths.input_tokens), size=total)
    covered = float(volumes.t_s.max() + volumes.window_s - volumes.t_s.min())
    return Trace(
        t_s=t_s,
        input_tokens=lengths.input_tokens[row],
        output_tokens=lengths.output_tokens[row],
        duration_s=covered,
    )


def _arrivals(volumes: Volumes, requests: IntArray, seed: int) -> FloatArray:
    """Arrivals of all windows, by window. A window of k calls has k + 1 gaps, the last one to its end."""
    filled = requests > 0
    counts, starts = requests[filled], volumes.t_s[filled]
    cv = np.ones(len(counts)) if volumes.cv is None else np.clip(volumes.cv[filled], 0.01, LARGEST_CV)
    gaps = np.random.default_rng([seed, _ORDER]).gamma(np.repeat(1.0 / cv**2, counts + 1))
    last = np.cumsum(counts + 1) - 1
    first = last - counts
    totals = np.add.reduceat(gaps, first)
    gaps /= np.repeat(np.where(totals > 0.0, totals, 1.0), counts + 1)
    sums = np.cumsum(gaps)
    within = sums - np.repeat(sums[first] - gaps[first], counts + 1)
    inside = np.clip(np.delete(within, last), 0.0, 1.0)
    return np.asarray(np.repeat(starts, counts) + volumes.window_s * inside)


def _first(wrong: NDArray[np.bool_]) -> int:
    """Position of the first true entry, from 1."""
    return int(np.argmax(wrong)) + 1
