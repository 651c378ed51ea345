"""The four ways to answer a workload, as cost lines over one table of values."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from freehold.economics.capacity import Capacity, capacity
from freehold.economics.montecarlo import Z95
from freehold.economics.scenario import Assumption
from freehold.economics.terms import CostLine, hybrid_cost, own_cost, rented_usd_per_query, total_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.economics.montecarlo import FloatArray
    from freehold.economics.prices import Price
    from freehold.economics.scenario import OwnPlan, Scenario
    from freehold.economics.workload import Workload

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Cost of each option as a function of the volume; None where it is unknown or not considered."""

    rent: Mapping[str, FloatArray] | None
    """USD per query by term."""
    hosted: Mapping[str, FloatArray] | None
    own: CostLine | None
    hybrid: CostLine | None

    @property
    def rented(self) -> list[Mapping[str, FloatArray]]:
        """The rented options whose price is known, the one that is paid today first."""
        return [line for line in (self.rent, self.hosted) if line is not None]


def question(workload: Workload, rent: Price | None, scenario: Scenario, hosted: Price | None) -> Question:
    """Join traffic, prices and assumptions; the plan's capacity follows from the length of a call.

    Raises:
        InputError: the plan's model does not fit its machines or the calls its context.
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
    return Question(
        workload=workload,
        rent=rent,
        hosted=hosted,
        own=scenario.own,
        capacity=delivered,
        assumptions=assumptions,
    )


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
    rent = None if asked.rent is None else rented_usd_per_query(asked.workload, asked.rent, values)
    hosted = None if asked.hosted is None else rented_usd_per_query(asked.workload, asked.hosted, values)
    own = None
    if asked.own is not None and asked.capacity is not None:
        own = own_cost(asked.capacity.requests_per_s, asked.own.devices, values)
    hybrid = None
    if own is not None and rent is not None and asked.assumptions["escalated_share"].high > 0.0:
        hybrid = hybrid_cost(own, total_of(rent), values)
    return Lines(rent=rent, hosted=hosted, own=own, hybrid=hybrid)


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
