"""Owning as an investment: what the set-up earns back, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from freehold.economics.options import lines
from freehold.economics.terms import annuity_months, setup_usd, total_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.economics.montecarlo import FloatArray
    from freehold.economics.options import Question

MACHINES = ("machines", "storage, egress, idle images")


def npv_usd(asked: Question, values: Mapping[str, FloatArray]) -> FloatArray | None:
    """Present value of owning instead of renting over the horizon, set-up included.

    The level payments of both sides differ by x a month; x times the annuity is the net present value.
    """
    found = lines(asked, values)
    if found.own is None or not found.rented:
        return None
    volume = asked.workload.queries_per_month
    saved = volume * total_of(found.rented[0]) - found.own.total(volume)
    return saved * annuity_months(values)


def payback_months(asked: Question, typical: Mapping[str, FloatArray]) -> int | None:
    """First month by whose end the savings, not discounted, have returned the set-up, at typical values.

    None: not within the horizon, or nothing to compare.
    """
    still = {**typical, "rent_drift_per_year": np.zeros(1), "gpu_drift_per_year": np.zeros(1)}
    found = lines(asked, still)
    if found.own is None or asked.own is None or not found.rented:
        return None
    volume = asked.workload.queries_per_month
    own_terms = {name: float(usd[0]) for name, usd in found.own.terms(volume).items() if name != "set-up"}
    machines = sum(own_terms.pop(name) for name in MACHINES)
    months = np.arange(int(typical["horizon_months"][0]))
    rent = volume * float(total_of(found.rented[0])[0]) * _growth(typical["rent_drift_per_year"], months)
    own = machines * _growth(typical["gpu_drift_per_year"], months) + sum(own_terms.values())
    balance = np.cumsum(rent - own) - float(setup_usd(asked.own.devices, typical)[0])
    returned = np.flatnonzero(balance >= 0.0)
    return int(returned[0]) + 1 if returned.size else None


def _growth(drift_per_year: FloatArray, months: np.ndarray[tuple[int], np.dtype[np.int64]]) -> FloatArray:
    return np.asarray((1.0 + float(drift_per_year[0])) ** (months / 12.0))
