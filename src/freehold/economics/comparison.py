"""The answer to rent or own, and the record that is kept of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from freehold import __version__
from freehold.economics.montecarlo import number
from freehold.economics.prices import catalogue_version

if TYPE_CHECKING:
    from freehold.economics.montecarlo import Interval
    from freehold.economics.options import Question
    from freehold.economics.waterfall import Step

SCHEMA = "freehold.breakeven/1"

OptionName = Literal["rent", "rent-open", "own", "hybrid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One way to answer the workload, and what it costs in a month."""

    name: OptionName
    label: str
    usd_per_month: Interval | None
    """None: a price is unknown, so the cost is."""
    usd_per_query: float | None
    """Median month over its queries."""
    closed_form_usd_per_month: float | None
    """The sum of the terms, all at typical values."""
    terms: tuple[tuple[str, float], ...]
    own_breakeven: Interval | None
    """Queries per month above which owning beats this option; None for owning itself, or if it never does."""
    replicas: int | None = None
    """Of the own model at this volume, typical values; None: it takes no part."""
    load: float | None = None
    """Share of what these replicas can answer that the busiest hour asks of them, typical values."""

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """The option as the record lists it."""
        return {
            "name": self.name,
            "label": self.label,
            "usd_per_month": None if self.usd_per_month is None else self.usd_per_month.as_record(),
            "usd_per_query": number(self.usd_per_query),
            "closed_form_usd_per_month": number(self.closed_form_usd_per_month),
            "terms": [{"name": name, "usd_per_month": number(usd)} for name, usd in self.terms],
            "own_breakeven_queries_per_month": None if self.own_breakeven is None else self.own_breakeven.as_record(),
            "replicas": self.replicas,
            "load": number(self.load),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakeven:
    """Volumes at which owning begins to pay, in queries per month."""

    distribution: Interval | None
    """None where no volume pays in half of the draws or more, or nothing can be compared."""
    reason: str | None
    """Why there is no distribution, or no upper bound."""
    first: float | None
    """Typical values: from here on owning may cost no more than renting."""
    always: float | None
    """Typical values: from here on it always does, however the next replica falls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Answer to one question, with everything needed to repeat it."""

    asked: Question
    options: tuple[Option, ...]
    probability_own_is_cheapest: float | None
    breakeven: Breakeven
    steps: tuple[Step, ...]
    npv: Interval | None
    npv_closed_form_usd: float | None
    payback_months: int | None
    seed: int
    draws: int

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """The result as JSON values; equal inputs and seeds give equal bytes."""
        found = self.breakeven
        return {
            "schema": SCHEMA,
            "queries_per_month": number(self.asked.workload.queries_per_month),
            "options": [option.as_record() for option in self.options],
            "probability_own_is_cheapest": number(self.probability_own_is_cheapest),
            "breakeven_queries_per_month": None if found.distribution is None else found.distribution.as_record(),
            "breakeven_reason": found.reason,
            "breakeven_closed_form": {"first": number(found.first), "always": number(found.always)},
            "waterfall": [step.as_record() for step in self.steps],
            "npv_usd": number(self.npv_closed_form_usd),
            "npv_usd_interval": None if self.npv is None else self.npv.as_record(),
            "payback_months": self.payback_months,
            "assumptions": [assumption.as_record() for assumption in self.asked.assumptions.values()],
            "inputs": _inputs_record(self.asked),
            "draws": self.draws,
            "seed": self.seed,
            "versions": {"freehold": __version__, "prices": catalogue_version()},
        }


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Monthly cost of each option at one volume; None where a price or a plan is missing."""

    queries_per_month: float
    rent_usd_p50: float | None
    own_usd: Interval | None
    hosted_usd_p50: float | None


def _inputs_record(asked: Question) -> dict[str, Any]:  # Any: JSON
    plan, delivered = asked.own, asked.capacity
    own: dict[str, Any] | None = None  # Any: JSON
    if plan is not None and delivered is not None:
        own = {
            "model": plan.model.name,
            "hardware": plan.hardware.name,
            "devices": plan.devices,
            "precision": plan.precision,
            "output_tokens_per_s": number(delivered.output_tokens_per_s),
            "requests_per_s": number(delivered.requests_per_s),
            "bound_by": delivered.bound_by,
            "rental_as_of": plan.rental.as_of.isoformat(),
            "sources": [plan.model.source, plan.hardware.source],
        }
    return {
        "workload": asked.workload.as_record(),
        "rent": None if asked.rent is None else asked.rent.as_record(),
        "hosted": None if asked.hosted is None else asked.hosted.as_record(),
        "own": own,
    }
