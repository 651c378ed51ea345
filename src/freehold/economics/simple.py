"""The arithmetic of articles: one replica of rented devices at its list price against list prices of tokens.

Nothing else is counted: no people, no peaks, no spare replica, no set-up. It stands beside the whole model so that
everybody sees what it leaves out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from freehold.economics.claims.words import amount_words
from freehold.economics.montecarlo import number
from freehold.economics.options import lines
from freehold.economics.terms import crossings, total_of
from freehold.economics.waterfall import NEUTRAL

if TYPE_CHECKING:
    from freehold.economics.options import Question

UNLIMITED = 1e30
"""Requests per second of the one replica that this arithmetic never fills."""

SIMPLE = "simple arithmetic: left out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Simple:
    """One machine over one price."""

    own_usd_per_month: float
    rent_usd_per_query: float
    breakeven_queries_per_month: float
    arithmetic: str
    """The same in one line."""

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """The result as the record holds it."""
        return {
            "own_usd_per_month": number(self.own_usd_per_month),
            "rent_usd_per_query": number(self.rent_usd_per_query),
            "breakeven_queries_per_month": number(self.breakeven_queries_per_month),
            "arithmetic": self.arithmetic,
        }


def simple(asked: Question) -> Simple | None:
    """The arithmetic for a question; None where no plan or no rented price is there, or tokens cost nothing."""
    bare = simplified(asked)
    values = {name: np.array([each.closed_form]) for name, each in bare.assumptions.items()}
    found = lines(bare, values)
    if found.own is None or bare.own is None or not found.rented:
        return None
    own = float(found.own.total(1.0)[0])
    query = float(total_of(found.rented[0].per_query)[0])
    volume = float(crossings(found.own, found.rented[0]).first[0])
    if not np.isfinite(volume):
        return None
    hourly, hours = (bare.assumptions[name].typical for name in ("gpu_usd_per_hour", "hours_per_month"))
    return Simple(
        own_usd_per_month=own,
        rent_usd_per_query=query,
        breakeven_queries_per_month=volume,
        arithmetic=(
            f"${hourly:g}/h × {hours:g} h × {bare.own.devices} = ${own:,.2f} a month; "
            f"${own:,.2f} / {amount_words(query, 'USD')} a query = {volume:,.0f} queries a month"
        ),
    )


def simplified(asked: Question) -> Question:
    """The question with all that articles leave out set to what says nothing."""
    plain = replace(asked.workload, cached_share=0.0, cache_write_share=0.0, batchable_share=0.0, peak_to_mean=None)
    left_out = {**NEUTRAL, "escalated_share": 0.0, "purchase_usd": 0.0}
    assumptions = {
        name: replace(each, low=value, typical=value, high=value, shape="fixed", source=SIMPLE, is_assumption=False)
        if (value := left_out.get(name)) is not None
        else replace(each, low=each.typical, high=each.typical, shape="fixed")
        for name, each in asked.assumptions.items()
    }
    unlimited = None if asked.capacity is None else replace(asked.capacity, requests_per_s=UNLIMITED)
    return replace(asked, workload=plain, assumptions=assumptions, capacity=unlimited, tuned=None, way="own")
