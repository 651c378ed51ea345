"""A fleet that follows the traffic: the fewest replicas of each hour, each hour replayed for itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from freehold.core.errors import InputError
from freehold.economics.montecarlo import number
from freehold.economics.sizing import fewest_replicas

if TYPE_CHECKING:
    from freehold.economics.service import Goals, Server
    from freehold.economics.simulation import Dispatch
    from freehold.economics.trace import Trace

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """One hour of a trace; the last one may be shorter."""

    t_s: float
    """Beginning, from the first arrival."""
    calls: int
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ByHour:
    """Replicas hour by hour."""

    hours: tuple[Hour, ...]
    replica_hours: float
    """Paid for, the last hour as far as the trace covers it."""

    def usd_per_1000_calls(self, usd_per_device_hour: float, *, devices: int) -> float:
        """Rent of the replicas of each hour, for a thousand calls."""
        calls = sum(hour.calls for hour in self.hours)
        return self.replica_hours * devices * usd_per_device_hour * 1000.0 / calls

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """As `simulate --by-hour --json` shows it, its cost apart."""
        return {
            "replica_hours": number(self.replica_hours),
            "most_replicas": max(hour.replicas for hour in self.hours),
            "hours": [{"t_s": number(hour.t_s), "calls": hour.calls, "replicas": hour.replicas} for hour in self.hours],
        }


def replicas_by_hour(
    trace: Trace, server: Server, goals: Goals, *, fixed: int, dispatch: Dispatch = "least-loaded"
) -> ByHour:
    """The fewest replicas for the calls of each hour, never fewer than one.

    Where 95 of 100 calls of each hour are on time, so are those of the whole. Every hour begins with idle replicas, and
    starting one takes no time; an hour whose few calls no number serves in time gets the `fixed` number of the trace.

    Raises:
        InputError: the trace covers no more than an hour; or see `simulation.simulate`.
    """
    if trace.span_s <= HOUR_S:
        raise InputError(f"The trace covers {trace.span_s:,.0f} s; replicas by hour need more than an hour.")
    edges = np.arange(0.0, trace.span_s, HOUR_S)
    at = np.searchsorted(trace.t_s - trace.t_s[0], [*edges, np.inf])
    hours: list[Hour] = []
    paid = 0.0
    for begin_s, first, last in zip(edges.tolist(), at[:-1].tolist(), at[1:].tolist(), strict=True):
        needed = 1
        if last > first:
            calls = replace(
                trace,
                t_s=trace.t_s[first:last],
                input_tokens=trace.input_tokens[first:last],
                output_tokens=trace.output_tokens[first:last],
                cached_tokens=None if trace.cached_tokens is None else trace.cached_tokens[first:last],
                duration_s=None,
            )
            near = hours[-1].replicas if hours else 1
            needed = fewest_replicas(calls, server, goals, dispatch=dispatch, near=near).replicas or fixed
        hours.append(Hour(t_s=begin_s, calls=last - first, replicas=needed))
        paid += needed * min(1.0, (trace.span_s - begin_s) / HOUR_S)
    return ByHour(hours=tuple(hours), replica_hours=paid)
