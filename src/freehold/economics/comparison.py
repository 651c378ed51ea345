"""The answer to rent or own, and the record that is kept of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from freehold import __version__
from freehold.economics.catalogue import catalogue_version
from freehold.economics.montecarlo import number

if TYPE_CHECKING:
    from datetime import date

    from freehold.economics.costverdict import CostVerdict
    from freehold.economics.montecarlo import Interval
    from freehold.economics.options import OptionName, Question
    from freehold.economics.sensitivity import Bar, Change
    from freehold.economics.simple import Simple
    from freehold.economics.waiting import Waiting
    from freehold.economics.waterfall import Step

SCHEMA = "freehold.breakeven/1"


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
    npv: Interval | None = None
    """Present value of this option instead of what is rented today; None: that has no known price, or is this."""
    probability_cheapest: float | None = None
    """Share of the draws in which no option costs less."""
    probability_cheaper_than_rent: float | None = None
    replicas: int | None = None
    """Of the own model at this volume, typical values; None: it takes no part."""
    load: float | None = None
    """Share of what these replicas can answer that the busiest hour asks of them, typical values."""
    breakeven: Interval | None = None
    """Queries per month from which this way to own costs less than what is rented today; None: it is rented, no
    volume pays in half of the draws, or nothing can be compared."""
    probability_beats_renting: float | None = None
    """Share of the draws in which this way to own costs less than all that is rented; None for what is rented."""
    premium_usd: float = 0.0
    """Of `usd_per_month` what the customer values it at beside its cost, typical value: no bill contains it."""
    compared_usd_per_month: Interval | None = None
    """The month less that premium: what verdict and break-even rest on."""

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
            "npv_usd": None if self.npv is None else self.npv.as_record(),
            "probability_cheapest": number(self.probability_cheapest),
            "probability_cheaper_than_rent": number(self.probability_cheaper_than_rent),
            "replicas": self.replicas,
            "load": number(self.load),
            "breakeven_queries_per_month": _interval(self.breakeven),
            "probability_beats_renting": number(self.probability_beats_renting),
            "premium_usd_per_month": number(self.premium_usd),
            "compared_usd_per_month": _interval(self.compared_usd_per_month),
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
    always_distribution: Interval | None = None
    """The same over the draws."""
    escalated_share: Interval | None = None
    """Share of today's queries that could be sent to the rented model before owning stops to pay, from 0 to 1. None:
    there is no such share."""
    escalated_share_reason: str | None = None
    """Why there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Answer to one question, with everything needed to repeat it."""

    asked: Question
    verdict: CostVerdict
    options: tuple[Option, ...]
    probability_own_is_cheapest: float | None
    """Owning in the way that was asked for, against every rented option of known price."""
    breakeven: Breakeven
    steps: tuple[Step, ...]
    bars: tuple[Bar, ...]
    would_change: tuple[Change, ...]
    waiting: Waiting | None
    simple: Simple | None
    npv: Interval | None
    npv_closed_form_usd: float | None
    payback_months: int | None
    payback: Interval | None
    """Over the draws; None where none can be told, an end None: not within the horizon."""
    not_considered: tuple[tuple[str, str], ...]
    """Option and why."""
    seed: int
    draws: int

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """The result as JSON values; equal inputs and seeds give equal bytes."""
        found, premium = self.breakeven, self.asked.assumptions["sovereignty_usd_per_month"]
        growth = self.asked.assumptions["volume_growth_per_year"]
        return {
            "schema": SCHEMA,
            "verdict": self.verdict.verdict,
            "verdict_rule": self.verdict.rule,
            "verdict_option": self.verdict.option,
            "own_option": self.asked.way,
            "queries_per_month": number(self.asked.workload.queries_per_month),
            "volume_growth_per_year": number(growth.typical),
            "options": [option.as_record() for option in self.options],
            "not_considered": [{"name": name, "reason": reason} for name, reason in self.not_considered],
            "probability_own_is_cheapest": number(self.probability_own_is_cheapest),
            "breakeven_queries_per_month": _interval(found.distribution),
            "breakeven_reason": found.reason,
            "reason": found.reason,
            "breakeven_always_queries_per_month": _interval(found.always_distribution),
            "breakeven_closed_form": {"first": number(found.first), "always": number(found.always)},
            "breakeven_escalated_share": _interval(found.escalated_share),
            "breakeven_escalated_share_reason": found.escalated_share_reason,
            "sovereignty_usd_per_month": number(premium.typical),
            "simple": None if self.simple is None else self.simple.as_record(),
            "waterfall": [step.as_record() for step in self.steps],
            "sensitivity": [bar.as_record() for bar in self.bars],
            "would_change": [change.as_record() for change in self.would_change],
            "npv_usd": number(self.npv_closed_form_usd),
            "npv_usd_interval": _interval(self.npv),
            "payback_months": self.payback_months,
            "payback_months_interval": _interval(self.payback),
            "waiting": None if self.waiting is None else self.waiting.as_record(),
            "assumptions": [assumption.as_record() for assumption in self.asked.telling] + _price_rows(self.asked),
            "inputs": _inputs_record(self.asked),
            "draws": self.draws,
            "seed": self.seed,
            "versions": {"freehold": __version__, "prices": catalogue_version(), "numpy": np.__version__},
        }


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Monthly cost of each option at one volume; None where a price or a plan is missing."""

    queries_per_month: float
    rent_usd_p50: float | None
    own_usd: Interval | None
    hosted_usd_p50: float | None
    tuned_usd_p50: float | None = None
    bought_usd_p50: float | None = None


@dataclass(frozen=True, slots=True)
class Stair:
    """One step of owning at typical values: from its volume on this many replicas run."""

    queries_per_month: float
    replicas: int
    own_usd: float
    own_usd_at_end: float
    """Just before the next replica, at the end of the axis for the last step."""
    ends_at: float


def _interval(spread: Interval | None) -> dict[str, float | None] | None:
    return None if spread is None else spread.as_record()


def _day(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def _price_rows(asked: Question) -> list[dict[str, Any]]:  # Any: JSON
    """The prices, listed like the other numbers; an assumption where the catalogue leaves something open."""
    named = {"rent": asked.rent, "rent-open": asked.hosted, "rent-tuned": asked.tuned}
    return [
        {
            "name": f"price of {name}",
            "value": f"{price.input_usd_per_mtok} in, {price.output_usd_per_mtok} out",
            "unit": "USD per million tokens",
            "source": "; ".join(
                [f"{price.model} on {price.as_of}: {price.catalogue}, {price.source}", *price.assumptions]
            ),
            "is_assumption": bool(price.assumptions),
        }
        for name, price in named.items()
        if price is not None
    ]


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
            "rental_as_of": _day(plan.rental.as_of),
            "purchase_as_of": None if plan.purchase is None else _day(plan.purchase.as_of),
            "sources": [plan.model.source, plan.hardware.source],
        }
    return {
        "workload": asked.workload.as_record(),
        "rent": None if asked.rent is None else asked.rent.as_record(),
        "hosted": None if asked.hosted is None else asked.hosted.as_record(),
        "tuned": None if asked.tuned is None else asked.tuned.as_record(),
        "own": own,
    }
