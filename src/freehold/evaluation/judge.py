"""The rules of the verdict, from measured quality and cost to one of six words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from freehold.evaluation.planning import cases_before_looking

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from freehold.evaluation.contender import ContenderKind
    from freehold.evaluation.policy import Cost, OptionName, Policy
    from freehold.evaluation.result import Comparison, Evaluation

Verdict = Literal["own", "hybrid", "rent-open", "rent-tuned", "stay-renting", "undecided"]
NextMeasurement = Literal[
    "own-model",  # no own model was measured: tune one
    "rented-answers",  # record what the rented model says to the test cases
    "more-test-cases",  # the quality interval reaches over the margin
    "price",  # what an option costs is unknown
    "cost-inputs",  # costs are known, but too vaguely to say which is lower
    "better-model",  # cost speaks for owning, quality does not: a better own model is what is missing
]
Option = Literal["own", "hybrid", "rent-open", "rent-tuned"]
Quality = Literal["good", "bad", "open"]
CostStanding = Literal["cheaper", "dearer", "open", "unknown"]

_KINDS: Mapping[Option, ContenderKind] = {
    "own": "own",
    "rent-open": "hosted-open",
    "rent-tuned": "rent-tuned",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """Something that could replace renting as it is now."""

    option: Option
    comparison: Comparison
    """With the rented model."""
    quality: Quality
    cost: CostStanding
    chance_cheaper: float | None

    @property
    def is_proven(self) -> bool:
        """Good enough and cheaper, both with the certainty that was asked for."""
        return self.quality == "good" and self.cost == "cheaper"

    @property
    def is_possible(self) -> bool:
        """Nothing rules it out yet."""
        return self.quality != "bad" and self.cost != "dearer"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementDetail:
    """How much of the next measurement is needed. None where that does not apply or cannot be said."""

    subject: OptionName
    """The option that it is about."""
    cases: int | None = None
    """Paired test cases to have in all."""
    cases_now: int | None = None
    prices: tuple[str, ...] = ()
    """What has no price."""
    gap_points: float | None = None
    """Points of the score that the own model must gain to be shown good enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict with what it rests on."""

    verdict: Verdict
    alternatives: tuple[Alternative, ...]
    chosen: Alternative | None = None
    next_measurement: NextMeasurement | None = None
    detail: MeasurementDetail | None = None


def judge(evaluation: Evaluation, cost: Cost, policy: Policy) -> Judgement:
    """Apply the rules, in this order.

    1. Nothing to compare (no own model, no rented answers, too few cases): undecided.
    2. Something is shown to be good enough and cheaper than renting: that; of several the one with the lowest
       median cost.
    3. Something may still be both: undecided, and what would settle it.
    4. Else: stay-renting.
    """
    alternatives = _alternatives(evaluation, cost, policy)
    missing = _missing_measurement(evaluation, alternatives, policy)
    if missing is not None:
        return missing
    proven = [each for each in alternatives if each.is_proven]
    if proven:
        chosen = min(proven, key=lambda each: _median(cost, each.option))
        return _owning_might_suffice(chosen, alternatives)
    for each in alternatives:
        if each.is_possible:
            return _undecided(each, cost, alternatives)
    own = next((each for each in alternatives if each.option == "own"), None)
    if own is not None and own.cost != "dearer":
        detail = MeasurementDetail(subject="own", cases_now=own.comparison.n, gap_points=gap_points(own.comparison))
        return Judgement(
            verdict="stay-renting", alternatives=alternatives, next_measurement="better-model", detail=detail
        )
    return Judgement(verdict="stay-renting", alternatives=alternatives)


def gap_points(comparison: Comparison) -> float:
    """Points that the lower limit lies below the margin; negative when it lies above."""
    return -(comparison.ci_low + comparison.margin) * 100


def _median(cost: Cost, option: OptionName) -> float:
    known = cost.usd_per_month(option)
    assert known is not None  # what is proven cheaper has a cost
    return known.p50


def _alternatives(evaluation: Evaluation, cost: Cost, policy: Policy) -> tuple[Alternative, ...]:
    """What was measured against the rented model, owning first."""
    rented = evaluation.of_kind("rented")
    found: list[Alternative] = []
    if not rented:
        return ()
    for option, kind in _KINDS.items():
        for contender in evaluation.of_kind(kind)[:1]:
            comparison = evaluation.comparison(contender.name, rented[0].name)
            if comparison is not None:
                found.append(_alternative(option, comparison, cost, policy))
        if option == "own" and evaluation.cascade is not None and 0 < evaluation.cascade.escalated_share < 1:
            found.append(_alternative("hybrid", evaluation.cascade.comparison, cost, policy))
    return tuple(found)


def _alternative(option: Option, comparison: Comparison, cost: Cost, policy: Policy) -> Alternative:
    quality: Quality = "open"
    if comparison.n >= policy.min_test_cases:
        if comparison.non_inferior:
            quality = "good"
        elif comparison.ci_high < -comparison.margin:
            quality = "bad"
    chance = cost.chance_cheaper_than_rent(option)
    standing: CostStanding = "open"
    if chance is None:
        standing = "unknown"
    elif chance >= policy.cost_certainty:
        standing = "cheaper"
    elif chance <= 1 - policy.cost_certainty:
        standing = "dearer"
    return Alternative(option=option, comparison=comparison, quality=quality, cost=standing, chance_cheaper=chance)


def _missing_measurement(
    evaluation: Evaluation, alternatives: Sequence[Alternative], policy: Policy
) -> Judgement | None:
    """Undecided for want of something to compare; None when nothing is wanting."""
    own = evaluation.of_kind("own")
    if not own:
        return Judgement(
            verdict="undecided",
            alternatives=tuple(alternatives),
            next_measurement="own-model",
            detail=MeasurementDetail(subject="own"),
        )
    compared = next((each.comparison for each in alternatives if each.option == "own"), None)
    planned = cases_before_looking(own[0].value, margin=evaluation.margin, confidence=evaluation.confidence)
    if compared is None:
        detail = MeasurementDetail(subject="rent", cases=planned, cases_now=0)
        return Judgement(verdict="undecided", alternatives=(), next_measurement="rented-answers", detail=detail)
    if compared.n < policy.min_test_cases:
        needed = compared.cases_needed if compared.cases_needed is not None else planned
        detail = MeasurementDetail(subject="own", cases=max(needed, policy.min_test_cases), cases_now=compared.n)
        # Enough cases may be there and only the rented model's answers to them be wanting.
        wanting: NextMeasurement = "more-test-cases" if evaluation.n < policy.min_test_cases else "rented-answers"
        return Judgement(verdict="undecided", alternatives=tuple(alternatives), next_measurement=wanting, detail=detail)
    return None


def _owning_might_suffice(chosen: Alternative, alternatives: tuple[Alternative, ...]) -> Judgement:
    """The chosen alternative; with a hybrid, what would show that owning alone is enough."""
    own = alternatives[0]
    detail = None
    if chosen.option == "hybrid" and own.quality == "open" and own.comparison.cases_needed is not None:
        detail = MeasurementDetail(subject="own", cases=own.comparison.cases_needed, cases_now=own.comparison.n)
    return Judgement(
        verdict=chosen.option,
        alternatives=alternatives,
        chosen=chosen,
        next_measurement=None if detail is None else "more-test-cases",
        detail=detail,
    )


def _undecided(possible: Alternative, cost: Cost, alternatives: tuple[Alternative, ...]) -> Judgement:
    """What would settle whether the first possible alternative is good enough and cheaper."""
    comparison, option = possible.comparison, possible.option
    if possible.cost == "unknown":
        wanting: NextMeasurement = "price"
        unknown = tuple(name for name in ("rent", option) if cost.usd_per_month(name) is None)
        detail = MeasurementDetail(subject=option, prices=unknown)
    elif possible.quality == "good":
        wanting, detail = "cost-inputs", MeasurementDetail(subject=option)
    else:
        wanting = "better-model" if comparison.cases_needed is None else "more-test-cases"
        detail = MeasurementDetail(
            subject=option,
            cases=comparison.cases_needed,
            cases_now=comparison.n,
            gap_points=gap_points(comparison),
        )
    return Judgement(verdict="undecided", alternatives=alternatives, next_measurement=wanting, detail=detail)
