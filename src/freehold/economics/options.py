"""The ways to answer a workload, as cost lines over one table of values."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from freehold.core.errors import InputError
from freehold.economics.capacity import Capacity, capacity
from freehold.economics.montecarlo import Z95
from freehold.economics.owning import Replica, bought_line, hybrid_line, own_line
from freehold.economics.renting import rented_line, tuned_line
from freehold.economics.scenario import Assumption
from freehold.economics.terms import total_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.economics.montecarlo import FloatArray
    from freehold.economics.prices import Price
    from freehold.economics.scenario import OwnPlan, OwnWay, Scenario
    from freehold.economics.terms import CostLine
    from freehold.economics.workload import Workload

OptionName = Literal["rent", "rent-open", "rent-tuned", "own", "own-bought", "hybrid"]

RENTED: tuple[OptionName, ...] = ("rent", "rent-open", "rent-tuned")
OWNED: tuple[OptionName, ...] = ("own", "own-bought", "hybrid")

OF_TUNED_ALONE = "tuned_"
OF_BOUGHT_ALONE = frozenset(
    {
        "life_months",
        "residual_share",
        "purchase_usd",
        "watts",
        "usd_per_kwh",
        "pue",
        "usd_per_kw_month",
        "maintenance_per_year",
    }
)
"""Assumptions that say nothing where the option is not considered."""

NO_CACHING = Assumption(
    name="cached_share",
    low=0.0,
    typical=0.0,
    high=0.0,
    unit="share of input tokens",
    source="not measured: the log does not tell",
    is_assumption=True,
    shape="fixed",
)
"""Stands among the assumptions of a workload whose cached share is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Everything a comparison depends on but the seed."""

    workload: Workload
    rent: Price | None
    """None: the price of the rented model is unknown."""
    hosted: Price | None
    """None: no hosted open model is considered."""
    own: OwnPlan | None
    capacity: Capacity | None
    assumptions: Mapping[str, Assumption]
    tuned: Price | None = None
    """None: no rented tuned model is considered."""
    way: OwnWay = "own"
    """The way to own that was asked for."""

    @property
    def buys(self) -> bool:
        """Whether bought devices are considered: somebody knows what one costs."""
        return self.own is not None and self.assumptions["purchase_usd"].typical > 0.0

    @property
    def telling(self) -> list[Assumption]:
        """The assumptions that the considered options depend on."""
        return [each for name, each in self.assumptions.items() if self._tells(name)]

    def _tells(self, name: str) -> bool:
        if name.startswith(OF_TUNED_ALONE):
            return self.tuned is not None
        if name == "cold_start_minutes":
            return self.assumptions["cold_starts_per_month"].high > 0.0
        if name == "days_per_revalidation":
            return self.assumptions["revalidations_per_year"].high > 0.0
        if name == "batch_discount":
            return self.workload.batchable_share > 0.0
        return self.buys or name not in OF_BOUGHT_ALONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Cost of each option as a function of the volume; what is unknown or not considered is not there."""

    by_name: Mapping[OptionName, CostLine]
    way: OwnWay = "own"

    @property
    def own(self) -> CostLine | None:
        """Owning in the way that was asked for: on rented devices unless somebody asked for bought ones."""
        return self.by_name.get(self.way)

    @property
    def rented(self) -> list[CostLine]:
        """The rented options whose price is known, the one that is paid today first."""
        return [self.by_name[name] for name in RENTED if name in self.by_name]


def question(
    workload: Workload,
    rent: Price | None,
    scenario: Scenario,
    hosted: Price | None,
    tuned: Price | None = None,
) -> Question:
    """Join traffic, prices and assumptions; the plan's capacity follows from the length of a call.

    Raises:
        InputError: the plan's model does not fit its machines or the calls its context, or two given numbers
            contradict each other.
    """
    assumptions = dict(scenario.assumptions)
    if workload.peak_to_mean is not None:
        peak = {"peak_to_mean": workload.peak_to_mean}
        assumptions = dict(scenario.with_values(peak, source="measured: hours of the workload").assumptions)
    delivered = None if scenario.own is None else plan_capacity(scenario.own, workload)
    if workload.cached_share is None:
        assumptions[NO_CACHING.name] = NO_CACHING
    if delivered is not None:
        assumptions["capacity_error"] = _spread_of(assumptions["capacity_error"], delivered)
    asked = Question(
        workload=workload,
        rent=rent,
        hosted=hosted,
        tuned=tuned,
        own=scenario.own,
        capacity=delivered,
        assumptions=assumptions,
        way=scenario.way,
    )
    _check(asked)
    return asked


def plan_capacity(plan: OwnPlan, workload: Workload) -> Capacity:
    """What one replica of a plan delivers on calls of this length."""
    return capacity(
        plan.model,
        plan.hardware,
        input_tokens=workload.input_tokens,
        output_tokens=workload.output_tokens,
        gpus=plan.devices,
        precision=plan.precision,
    )


def lines(asked: Question, values: Mapping[str, FloatArray]) -> Lines:
    """Cost lines of all options under these values."""
    found: dict[OptionName, CostLine] = {}
    if asked.rent is not None:
        found["rent"] = rented_line(asked.workload, asked.rent, values, paid_share=values["rent_price_factor"])
    if asked.hosted is not None:
        found["rent-open"] = rented_line(asked.workload, asked.hosted, values, paid_share=np.ones(1))
    if asked.tuned is not None:
        found["rent-tuned"] = tuned_line(asked.workload, asked.tuned, values)
    if asked.own is not None and asked.capacity is not None:
        replica = Replica(asked.capacity.requests_per_s, asked.own.devices)
        rented = next((found[name] for name in RENTED if name in found), None)
        fallback_usd = None if rented is None else total_of(rented.per_query)
        found["own"] = own_line(replica, values, fallback_usd=fallback_usd)
        if asked.buys:
            found["own-bought"] = bought_line(replica, values)
        if "rent" in found and asked.assumptions["escalated_share"].high > 0.0:
            found["hybrid"] = hybrid_line(found[asked.way], total_of(found["rent"].per_query), values)
    return Lines(by_name=found, way=asked.way)


def _check(asked: Question) -> None:
    given = asked.assumptions
    if asked.way == "own-bought" and asked.own is not None and not asked.buys:
        raise InputError(
            f"No purchase price of {asked.own.hardware.name} is known, so owning on bought devices has no cost. "
            "Give purchase_usd and watts of one device, or leave out --own-bought."
        )
    on, peak = given["hours_on_share"], given["peak_to_mean"]
    if on.high < 1.0 and not peak.is_assumption and peak.high * on.high < 1.0 - 1e-9:
        raise InputError(
            f"hours_on_share {on.typical:g} and peak_to_mean {peak.typical:g} contradict each other: who answers a "
            f"month in {100 * on.high:g} % of its hours is at least {1 / on.high:.3g} times as busy in them. "
            "Give a larger one of the two."
        )
    if given["spot_outage_share"].high > 0.0 and asked.own is not None and not (asked.rent or asked.hosted):
        raise InputError(
            "spot_outage_share needs a rented model that answers while spot machines are away, and no price of one "
            "is known. Name one with a price, or leave the share at 0."
        )


def _spread_of(error: Assumption, delivered: Capacity) -> Assumption:
    """The capacity formula's own error, unless somebody measured the plan and fixed it."""
    if error.source != "capacity formula":
        return error
    factor = math.exp(Z95 * delivered.log_sd)
    return replace(
        error,
        low=error.typical / factor,
        high=error.typical * factor,
        shape="lognormal",
        source=f"capacity formula: log standard deviation {delivered.log_sd:g} against measurements",
    )
