"""What owning would be worth to one task, by the cost model that `breakeven` uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from freehold.core.errors import InputError
from freehold.economics.breakeven import compare
from freehold.economics.plans import default_scenario

if TYPE_CHECKING:
    from freehold.audit.task_audit import TaskAudit
    from freehold.economics.prices import Price
    from freehold.economics.scenario import OwnPlan

DRAWS = 2_000
"""Enough to rank by; `breakeven` draws ten times as many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnCase:
    """Owning against renting, in US dollars a month: medians of the draws."""

    plan: str
    rent_usd: float
    own_usd: float
    probability: float
    """Share of the draws in which owning costs less."""
    breakeven: tuple[float | None, float | None, float | None]
    """Calls a month from which owning pays: 5th percentile, median, 95th."""

    @property
    def saved_usd(self) -> float:
        """What owning saves a month; below zero: what it costs."""
        return self.rent_usd - self.own_usd

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """As the audit lists it."""
        low, middle, high = self.breakeven
        return {
            "plan": self.plan,
            "rent_usd_per_month": self.rent_usd,
            "own_usd_per_month": self.own_usd,
            "saved_usd_per_month": self.saved_usd,
            "probability": self.probability,
            "breakeven_calls_per_month": {"p5": low, "p50": middle, "p95": high},
        }


def own_case(task: TaskAudit, rent: Price | None, plan: OwnPlan, *, seed: int = 0) -> OwnCase | str:
    """The case of one task, or the reason why there is none.

    Of owned and bought devices the cheaper way counts. Owning costs what it costs whether the model is good enough or
    not: that is for an evaluation to say.
    """
    try:
        workload = task.workload()
        if workload is None:
            return "Whether owning pays is unknown: the log does not tell how many tokens its calls have, or when."
        if rent is None:
            return "Whether owning pays is unknown: what is rented has no known price."
        record = compare(workload, rent, default_scenario(plan), seed=seed, draws=DRAWS).as_record()
    except InputError as error:
        return f"Whether owning pays was not computed: {error}"
    rented = next(each for each in record["options"] if each["name"] == "rent")["usd_per_month"]
    ways = [each for each in record["options"] if each["name"] in {"own", "own-bought"} and each["usd_per_month"]]
    if not rented or not ways:
        return "Whether owning pays is unknown: a price is missing."
    best = min(ways, key=lambda each: each["usd_per_month"]["p50"])
    ends = best["breakeven_queries_per_month"] or {}
    return OwnCase(
        plan=best["label"],
        rent_usd=rented["p50"],
        own_usd=best["usd_per_month"]["p50"],
        probability=best["probability_beats_renting"] or 0.0,
        breakeven=(ends.get("p5"), ends.get("p50"), ends.get("p95")),
    )
