"""How much of one task is asked in a month, and how long a call is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from freehold.core.errors import InputError

LARGEST_VOLUME = 1e11
"""Queries per month; more than any service has, so a larger number is a slip of the keyboard."""

LARGEST_TOKENS = 1e7
"""Tokens of one call; ten times the longest context on the market."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallGroup:
    """Calls of similar length, such as those within one price tier."""

    share: float
    """Of all calls."""
    input_tokens: float
    """Mean of a call of the group."""
    output_tokens: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One month of one task. Shares are of input tokens (cached, cache write) or of calls (batchable)."""

    queries_per_month: float
    input_tokens: float
    """Mean of a call, cached tokens included."""
    output_tokens: float
    """Mean of a call, reasoning tokens included."""
    cached_share: float | None = 0.0
    """Share of input tokens that the provider reads from its cache: measured, never hoped for. None: unknown;
    none is then assumed, and named among the assumptions."""
    cache_write_share: float = 0.0
    batchable_share: float = 0.0
    """Share of calls that can wait for hours."""
    peak_to_mean: float | None = None
    """Busiest hour over mean hour; None: the scenario's assumption is used."""
    groups: tuple[CallGroup, ...] = ()
    """Where lengths differ, tiers of a price are applied to each group, not to the mean. Empty: all are alike."""

    def __post_init__(self) -> None:
        faults = [fault for fault in self._faults() if fault]
        if faults:
            raise InputError("Workload: " + "; ".join(faults) + ".")

    def _faults(self) -> list[str | None]:
        return [
            _outside("queries_per_month", self.queries_per_month, 0.0, LARGEST_VOLUME, above=True),
            _outside("input_tokens", self.input_tokens, 0.0, LARGEST_TOKENS, above=True),
            _outside("output_tokens", self.output_tokens, 0.0, LARGEST_TOKENS, above=True),
            _outside("cached_share", self.cached, 0.0, 1.0),
            _outside("cache_write_share", self.cache_write_share, 0.0, 1.0),
            _outside("batchable_share", self.batchable_share, 0.0, 1.0),
            None if self.peak_to_mean is None else _outside("peak_to_mean", self.peak_to_mean, 1.0, 1e6),
            "cached_share and cache_write_share together exceed 1"
            if self.cached + self.cache_write_share > 1.0
            else None,
        ]

    @property
    def cached(self) -> float:
        """The cached share to compute with."""
        return 0.0 if self.cached_share is None else self.cached_share

    @property
    def call_groups(self) -> tuple[CallGroup, ...]:
        """The groups, or the mean call as the only one."""
        return self.groups or (CallGroup(share=1.0, input_tokens=self.input_tokens, output_tokens=self.output_tokens),)

    def as_record(self) -> dict[str, float | None]:
        """The inputs, under the names of the fields."""
        return {
            "queries_per_month": self.queries_per_month,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cached_share": self.cached_share,
            "cache_write_share": self.cache_write_share,
            "batchable_share": self.batchable_share,
            "peak_to_mean": self.peak_to_mean,
        }


def _outside(name: str, value: float, low: float, high: float, *, above: bool = False) -> str | None:
    """What is wrong with a value that must lie in [low, high], or in (low, high] if `above`."""
    if math.isfinite(value) and low <= value <= high and not (above and value == low):
        return None
    allowed = f"more than {low:g} and at most {high:g}" if above else f"from {low:g} to {high:g}"
    return f"{name} is {value!r}; it must be {allowed}"
