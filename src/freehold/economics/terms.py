"""A monthly cost as a line with a staircase, for single numbers and for whole arrays of draws, and where two meet.

Every amount is a level payment: what the option costs over the horizon, discounted and spread evenly over its
months. With no drift and no set-up this is the plain monthly bill.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.economics.montecarlo import FloatArray

ROUNDING = 1e-9
"""A replica counts as full up to this share, so that a volume of exactly k replicas needs k and not k + 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostLine:
    """A monthly cost as a function of the volume: fixed, plus a staircase of replicas, plus per query."""

    fixed: Mapping[str, FloatArray]
    """USD per month."""
    per_query: Mapping[str, FloatArray]
    """USD per query."""
    per_replica: Mapping[str, FloatArray] = field(default_factory=dict)
    """USD per month and replica."""
    replica_queries: FloatArray = field(default_factory=lambda: np.array([np.inf]))
    """Queries per month that one replica carries."""
    replicas_minimum: FloatArray = field(default_factory=lambda: np.zeros(1))
    credit: FloatArray = field(default_factory=lambda: np.zeros(1))
    """USD per month that the customer values this option at beside its cost. It is no money: comparisons subtract
    it, bills do not."""

    def replicas(self, volume: float | FloatArray) -> FloatArray:
        """Whole replicas that carry a volume; none where nobody runs any."""
        return np.maximum(self.replicas_minimum, np.ceil(volume / self.replica_queries * (1.0 - ROUNDING)))

    def terms(self, volume: float | FloatArray) -> dict[str, FloatArray]:
        """USD per month of every term at a volume."""
        replicas = self.replicas(volume)
        return {
            **{name: replicas * usd for name, usd in self.per_replica.items()},
            **self.fixed,
            **{name: volume * usd for name, usd in self.per_query.items()},
        }

    def total(self, volume: float | FloatArray) -> FloatArray:
        """USD per month at a volume."""
        staircase = self.replicas(volume) * total_of(self.per_replica)
        return staircase + total_of(self.fixed) + volume * total_of(self.per_query)

    def compared(self, volume: float | FloatArray) -> FloatArray:
        """The same less the credit: what comparisons rest on."""
        return self.total(volume) - self.credit


@dataclass(frozen=True, slots=True)
class Crossings:
    """Where a staircase meets the straight line of renting; infinite where it never does."""

    first: FloatArray
    """Smallest volume at which owning costs no more."""
    always: FloatArray
    """From here on owning never costs more again; between the two it may, just after a new replica."""


def crossings(own: CostLine, rented: CostLine) -> Crossings:
    """Break-even volumes of a staircase, solved on each step and not by search.

    With k replicas of cost s carrying c queries each, owning costs F + s k + v N on ((k-1) c, k c], renting
    G + p N; only F - G, here F, matters. They meet at N = (F + s k)/(p - v), which lies on that step once
    k (c (p - v) - s) >= F. The step begins below the rent once (k - 1) c (p - v) >= F + s k. Where a replica
    costs more than it saves, no volume pays. Where owning costs less from the first query on, the volume is 0.
    """
    fixed = total_of(own.fixed) - own.credit - total_of(rented.fixed) + rented.credit
    step = total_of(own.per_replica)
    saved = total_of(rented.per_query) - total_of(own.per_query)
    fixed, step, saved, capacity, least = np.broadcast_arrays(
        fixed, step, saved, own.replica_queries, own.replicas_minimum
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        margin = capacity * saved - step
        pays = (saved > 0.0) & (margin > 0.0)
        first_step = np.maximum(least, np.ceil(fixed / margin * (1.0 - ROUNDING)))
        sure_step = np.where(np.isinf(capacity), least, np.ceil((fixed + capacity * saved) / margin * (1.0 - ROUNDING)))
        last_crossing = np.maximum(first_step, sure_step - 1.0)
        first = np.where(pays, np.maximum(0.0, (fixed + step * first_step) / saved), np.inf)
        always = np.where(pays, np.maximum(0.0, (fixed + step * last_crossing) / saved), np.inf)
    return Crossings(first=first, always=always)


def total_of(terms: Mapping[str, FloatArray]) -> FloatArray:
    """Sum of the terms, in the order in which they stand."""
    total = np.zeros(1)
    for usd in terms.values():
        total = total + usd
    return total
