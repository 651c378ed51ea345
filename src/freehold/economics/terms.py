"""Monthly terms of renting and of owning, written once for single numbers and for whole arrays of draws.

Every amount is a level payment: what the option costs over the horizon, discounted and spread evenly over its
months. With no drift and no set-up this is the plain monthly bill.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from freehold.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.economics.montecarlo import FloatArray
    from freehold.economics.prices import Price
    from freehold.economics.workload import Workload

MTOK = 1e6
SECONDS_PER_HOUR = 3600.0
MONTHS_PER_YEAR = 12.0

ROUNDING = 1e-9
"""A replica counts as full up to this share, so that a volume of exactly k replicas needs k and not k + 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostLine:
    """A monthly cost as a function of the volume: fixed, plus a staircase of replicas, plus per query."""

    fixed: Mapping[str, FloatArray]
    """USD per month."""
    per_replica: Mapping[str, FloatArray]
    """USD per month and replica."""
    per_query: Mapping[str, FloatArray]
    """USD per query."""
    replica_queries: FloatArray
    """Queries per month that one replica carries."""
    replicas_minimum: FloatArray

    def replicas(self, volume: float) -> FloatArray:
        """Whole replicas that carry a volume."""
        return np.maximum(self.replicas_minimum, np.ceil(volume / self.replica_queries * (1.0 - ROUNDING)))

    def terms(self, volume: float) -> dict[str, FloatArray]:
        """USD per month of every term at a volume."""
        replicas = self.replicas(volume)
        return {
            **{name: replicas * usd for name, usd in self.per_replica.items()},
            **self.fixed,
            **{name: volume * usd for name, usd in self.per_query.items()},
        }

    def total(self, volume: float) -> FloatArray:
        """USD per month at a volume."""
        return total_of(self.terms(volume))


@dataclass(frozen=True, slots=True)
class Crossings:
    """Where a staircase meets the straight line of renting; infinite where it never does."""

    first: FloatArray
    """Smallest volume at which owning costs no more."""
    always: FloatArray
    """From here on owning never costs more again; between the two it may, just after a new replica."""


def crossings(own: CostLine, rent_usd_per_query: FloatArray) -> Crossings:
    """Break-even volumes of a staircase, solved on each step and not by search.

    With k replicas of cost s carrying c queries each, owning costs F + s k + v N on ((k-1) c, k c], renting
    p N. They meet at N = (F + s k)/(p - v), which lies on that step once k (c (p - v) - s) >= F. The step
    begins below the rent once (k - 1) c (p - v) >= F + s k. Where a replica costs more than it saves, no
    volume pays.
    """
    fixed, step = total_of(own.fixed), total_of(own.per_replica)
    saved = rent_usd_per_query - total_of(own.per_query)
    fixed, step, saved, capacity, least = np.broadcast_arrays(
        fixed, step, saved, own.replica_queries, own.replicas_minimum
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        margin = capacity * saved - step
        pays = (saved > 0.0) & (margin > 0.0)
        first_step = np.maximum(least, np.ceil(fixed / margin * (1.0 - ROUNDING)))
        sure_step = np.ceil((fixed + capacity * saved) / margin * (1.0 - ROUNDING))
        last_crossing = np.maximum(first_step, sure_step - 1.0)
        first = np.where(pays, (fixed + step * first_step) / saved, np.inf)
        always = np.where(pays, (fixed + step * last_crossing) / saved, np.inf)
    return Crossings(first=first, always=always)


def rented_usd_per_query(workload: Workload, price: Price, values: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Terms of one rented query at the mean call: billed money (Decimal) becomes simulated (float).

    The tier follows from the mean input; a log that is priced call by call knows better.

    Raises:
        InputError: the catalogue has no output rate, so that an answer has no price.
    """
    rates = price.rates_for(workload.input_tokens)
    if rates.output_usd_per_mtok is None:
        raise InputError(
            f"{price.model}: {price.catalogue} has no price for its output; choose a model that writes text."
        )
    given = float(rates.input_usd_per_mtok)
    read = given if rates.cache_read_usd_per_mtok is None else float(rates.cache_read_usd_per_mtok)
    written = given if rates.cache_write_usd_per_mtok is None else float(rates.cache_write_usd_per_mtok)
    plain_share = 1.0 - workload.cached - workload.cache_write_share
    factor = (1.0 - workload.batchable_share * values["batch_discount"]) * _level(values["rent_drift_per_year"], values)
    mtok_in, mtok_out = workload.input_tokens / MTOK, workload.output_tokens / MTOK
    return {
        "input tokens": mtok_in * plain_share * given * factor,
        "cached input tokens": mtok_in * workload.cached * read * factor,
        "cache writes": mtok_in * workload.cache_write_share * written * factor,
        "output tokens": mtok_out * float(rates.output_usd_per_mtok) * factor,
    }


def own_cost(requests_per_s: float, devices: int, values: Mapping[str, FloatArray]) -> CostLine:
    """What owning costs, given the requests per second that one saturated replica answers."""
    hours = values["hours_per_month"]
    device_usd = values["gpu_usd_per_hour"] * hours * devices * _level(values["gpu_drift_per_year"], values)
    day_usd = _people_usd_per_year(values) / values["working_days_per_year"]
    run_usd = values["training_hours"] * values["gpu_usd_per_hour"] * devices + values["evaluation_usd"]
    turn_usd = run_usd + values["days_per_retraining"] * day_usd
    turn_usd = turn_usd + values["labels_per_retraining"] * values["usd_per_label"]
    sustained = requests_per_s * values["capacity_error"] * values["planned_load"] / values["peak_to_mean"]
    return CostLine(
        fixed={
            "people": values["fte"] * _people_usd_per_year(values) / MONTHS_PER_YEAR,
            "retraining": values["retrainings_per_year"] / MONTHS_PER_YEAR * turn_usd,
            "set-up": setup_usd(devices, values) / annuity_months(values),
        },
        per_replica={
            "machines": device_usd,
            "storage, egress, idle images": device_usd * (values["overhead_factor"] - 1.0),
        },
        per_query={"errors": np.maximum(0.0, values["error_difference"]) * values["usd_per_error"]},
        replica_queries=sustained * SECONDS_PER_HOUR * hours,
        replicas_minimum=values["replicas_minimum"],
    )


def hybrid_cost(own: CostLine, rent_usd_per_query: FloatArray, values: Mapping[str, FloatArray]) -> CostLine:
    """Owning plus the rented answers of the escalated share: the own model reads every query first."""
    share = values["escalated_share"]
    errors = own.per_query["errors"] * (1.0 - share)
    return CostLine(
        fixed=own.fixed,
        per_replica=own.per_replica,
        per_query={"errors": errors, "escalated queries": share * rent_usd_per_query},
        replica_queries=own.replica_queries,
        replicas_minimum=own.replicas_minimum,
    )


def setup_usd(devices: int, values: Mapping[str, FloatArray]) -> FloatArray:
    """Spent once, before the first query: engineers' days and the training runs until one is good."""
    day_usd = _people_usd_per_year(values) / values["working_days_per_year"]
    run_usd = values["training_hours"] * values["gpu_usd_per_hour"] * devices + values["evaluation_usd"]
    return values["setup_days"] * day_usd + values["first_trainings"] * run_usd


def annuity_months(values: Mapping[str, FloatArray]) -> FloatArray:
    """Present value of one dollar a month over the horizon, the first one today."""
    return _geometric_sum(-np.log1p(values["discount_rate_per_year"]) / MONTHS_PER_YEAR, values["horizon_months"])


def total_of(terms: Mapping[str, FloatArray]) -> FloatArray:
    """Sum of the terms, in the order in which they stand."""
    total = np.zeros(1)
    for usd in terms.values():
        total = total + usd
    return total


def _people_usd_per_year(values: Mapping[str, FloatArray]) -> FloatArray:
    return values["salary_usd_per_year"] * (1.0 + values["salary_overhead"])


def _level(drift_per_year: FloatArray, values: Mapping[str, FloatArray]) -> FloatArray:
    """Level payment per dollar of a price that moves by `drift_per_year` every year; 1 without drift."""
    log_growth = np.log1p(drift_per_year) - np.log1p(values["discount_rate_per_year"])
    return _geometric_sum(log_growth / MONTHS_PER_YEAR, values["horizon_months"]) / annuity_months(values)


def _geometric_sum(log_ratio: FloatArray, months: FloatArray) -> FloatArray:
    """Sum of exp(log_ratio · t) for t = 0 … months - 1."""
    flat = np.abs(log_ratio) < 1e-12
    safe = np.where(flat, 1.0, log_ratio)
    return np.where(flat, months, np.expm1(safe * months) / np.expm1(safe))
