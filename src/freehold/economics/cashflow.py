"""Owning as an investment: what the set-up earns back, month by month, and what the whole is worth today."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from freehold.economics.labour import own_setup_usd
from freehold.economics.levels import MONTHS_PER_YEAR, RENT_DRIFTS, annuity_months, mean_volume, rent_growth_per_year
from freehold.economics.options import lines
from freehold.economics.owning import MACHINE_TERMS, TOKEN_TERMS
from freehold.economics.terms import total_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.economics.montecarlo import FloatArray
    from freehold.economics.options import Question

DRAWS_AT_ONCE = 4096
"""Draws whose months are laid out together: what fits into a processor's cache."""


@dataclass(frozen=True, slots=True)
class CashFlow:
    """What owning in the way that was asked for saves against the first rented option, [draws]."""

    npv_usd: FloatArray
    """Present value over the horizon, set-up included, the premium for sovereignty counted as saved."""
    payback_months: FloatArray
    """First month by whose end the savings, not discounted, have returned the set-up; infinite: not in time."""


def npv_usd(asked: Question, values: Mapping[str, FloatArray]) -> FloatArray | None:
    """Present value of owning instead of renting over the horizon, set-up included.

    The level payments of both sides differ by x a month; x times the annuity is the net present value.
    """
    found = lines(asked, values)
    if found.own is None or not found.rented:
        return None
    volume = asked.workload.queries_per_month
    saved = found.rented[0].compared(volume) - found.own.compared(volume)
    return saved * annuity_months(values)


def cash_flow(asked: Question, values: Mapping[str, FloatArray]) -> CashFlow | None:
    """The same month by month, draw by draw: each price at the level that it has reached by then."""
    draws = max(array.shape[0] for array in values.values())
    parts = []
    for start in range(0, draws, DRAWS_AT_ONCE):
        part = {name: _rows(array, start) for name, array in values.items()}
        flow = _flow(asked, part, rows=min(DRAWS_AT_ONCE, draws - start))
        if flow is None:
            return None
        parts.append(flow)
    return CashFlow(
        npv_usd=np.concatenate([part.npv_usd for part in parts]),
        payback_months=np.concatenate([part.payback_months for part in parts]),
    )


def payback_months(asked: Question, typical: Mapping[str, FloatArray]) -> int | None:
    """Payback at typical values. None: not within the horizon, or nothing to compare."""
    flow = cash_flow(asked, typical)
    if flow is None or np.isinf(flow.payback_months[0]):
        return None
    return int(flow.payback_months[0])


def _rows(array: FloatArray, start: int) -> FloatArray:
    return array if array.shape[0] == 1 else array[start : start + DRAWS_AT_ONCE]


def _flow(asked: Question, values: Mapping[str, FloatArray], *, rows: int) -> CashFlow | None:
    """Flows [draws, months] of some draws, and what they come to."""
    still = {name: np.zeros(1) for name in (*RENT_DRIFTS, "gpu_drift_per_year")}
    found = lines(asked, {**values, **still})
    if found.own is None or asked.own is None or not found.rented:
        return None
    volume = asked.workload.queries_per_month
    rented = found.rented[0]
    months = np.arange(int(values["horizon_months"].max()))
    counts = months < values["horizon_months"][:, None]
    own = found.own.terms(volume)
    setup_usd = own_setup_usd(asked.own.devices, values)
    del own["set-up"]
    machines = total_of({name: own.pop(name) for name in MACHINE_TERMS if name in own})
    tokens = volume * total_of(rented.per_query) - total_of(
        {name: own.pop(name) for name in TOKEN_TERMS if name in own}
    )
    errors = own.pop("errors")
    steady = total_of(rented.fixed) - total_of(own) + found.own.credit
    # Terms of a query are those of the horizon's mean volume; from there back to today's, and on month by month.
    more = _growth(values["volume_growth_per_year"], months) / _column(mean_volume(values))
    saved = (_column(tokens) * _growth(rent_growth_per_year(values), months) - _column(errors)) * more
    saved = saved - _column(machines) * _growth(values["gpu_drift_per_year"], months) + _column(steady)
    saved = np.broadcast_to(saved * counts, (rows, months.size))
    discount = _growth(1.0 / (1.0 + values["discount_rate_per_year"]) - 1.0, months)
    balance = np.cumsum(saved, axis=1) >= _column(setup_usd)
    payback = np.where(balance.any(axis=1), balance.argmax(axis=1) + 1.0, np.inf)
    return CashFlow(npv_usd=(saved * discount).sum(axis=1) - setup_usd, payback_months=payback)


def _growth(per_year: FloatArray, months: np.ndarray[tuple[int], np.dtype[np.int64]]) -> FloatArray:
    """(1 + g)^(t/12), [draws, months]."""
    return np.asarray(np.exp(np.log1p(per_year)[:, None] * (months / MONTHS_PER_YEAR)))


def _column(values: FloatArray) -> FloatArray:
    return values[:, None]
