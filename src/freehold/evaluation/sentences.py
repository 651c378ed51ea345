"""The verdict's reasons in plain sentences. Numbers are rounded for reading; the inputs hold them whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freehold.evaluation.intervals import bonferroni
from freehold.evaluation.judge import gap_points

if TYPE_CHECKING:
    from freehold.evaluation.judge import Alternative, Judgement
    from freehold.evaluation.policy import Cost, Policy, Quantiles
    from freehold.evaluation.result import Comparison, Evaluation

_NAMES = {
    "own": "Owning",
    "hybrid": "Owning with escalation",
    "rent-open": "Renting an open model",
    "rent-tuned": "Renting a tuned model",
    "rent": "Renting",
}


def reasons_of(judgement: Judgement, evaluation: Evaluation, cost: Cost, policy: Policy) -> tuple[str, ...]:
    """Why the verdict is what it is, the measured numbers first."""
    sentences = []
    for each in judgement.alternatives:
        sentences.append(_quality(each, evaluation, policy))
        sentences.append(_cost(each, cost, policy))
    sentences.append(_conclusion(judgement))
    return tuple(sentences)


def _quality(alternative: Alternative, evaluation: Evaluation, policy: Policy) -> str:
    comparison = alternative.comparison
    level = bonferroni(evaluation.confidence, evaluation.tasks_compared)
    finding = {
        "good": "it is good enough",
        "bad": "it is worse by more than the margin",
        "open": "the cases do not settle whether it is good enough",
    }[alternative.quality]
    if comparison.n < policy.min_test_cases:
        finding = f"at least {policy.min_test_cases} cases are needed to judge"
    who = comparison.candidate
    if alternative.option == "hybrid" and evaluation.cascade is not None:
        who = f"{evaluation.cascade.own} with {_percent(evaluation.cascade.escalated_share)} of cases escalated"
    return (
        f"Quality: on the same {comparison.n} cases {who} differs from {comparison.against} by "
        f"{_signed(comparison.difference)} points ({level * 100:g} % interval {_signed(comparison.ci_low)} "
        f"to {_signed(comparison.ci_high)}, margin {comparison.margin * 100:g}): {finding}."
    )


def _cost(alternative: Alternative, cost: Cost, policy: Policy) -> str:
    rent, other = cost.usd_per_month("rent"), cost.usd_per_month(alternative.option)
    start = f"Cost: at {cost.queries_per_month:,.0f} queries a month "
    if rent is None or other is None or alternative.chance_cheaper is None:
        unknown = [name for name, known in (("rent", rent), (alternative.option, other)) if known is None]
        why = f" ({cost.breakeven_reason.rstrip('.')})" if cost.breakeven_reason else ""
        return start + f"it is not known what {' and '.join(_NAMES[name].lower() for name in unknown)} costs{why}."
    finding = {
        "cheaper": "it is cheaper",
        "dearer": "it is dearer",
        "open": "it is not settled which is cheaper",
        "unknown": "",
    }[alternative.cost]
    return (
        f"{start}{_NAMES[alternative.option].lower()} costs {_dollars(other)} and renting {_dollars(rent)}; "
        f"it is the cheaper with probability {_percent(alternative.chance_cheaper)} "
        f"({_percent(policy.cost_certainty)} is asked for): {finding}."
    )


def _conclusion(judgement: Judgement) -> str:  # noqa: PLR0911 -- one sentence per outcome
    if judgement.chosen is not None:
        return f"{_NAMES[judgement.chosen.option]} is good enough and the cheapest of what is proven."
    if judgement.verdict == "stay-renting":
        return "Nothing that was measured is both good enough and cheaper than renting."
    detail = judgement.detail
    assert detail is not None  # undecided always says what is missing
    match judgement.next_measurement:
        case "own-model":
            return "No own model was measured; tune one and evaluate it."
        case "rented-answers":
            return (
                f"The rented model's answers are known for {detail.cases_now or 0} test cases; plan for "
                f"about {detail.cases:,} to compare with."
            )
        case "price":
            return f"A cost is unknown, so nothing can be compared with it: {', '.join(detail.prices)}."
        case "cost-inputs":
            return f"{_NAMES[detail.subject]} is good enough, but the costs are known too vaguely to choose."
        case "better-model":
            return "The difference lies so near to the margin that no practical number of cases settles it."
        case _:
            return f"About {detail.cases:,} cases would probably settle the quality; there are {detail.cases_now:,}."


def changes_of(judgement: Judgement, cost: Cost, policy: Policy) -> tuple[str, ...]:
    """What it would take to change the verdict: quality, cases, volume, certainty."""
    changes = []
    for each in judgement.alternatives:
        gap, name = gap_points(each.comparison), _NAMES[each.option]
        if each.quality == "good":
            changes.append(f"Quality: {name.lower()} stops being good enough if it loses {_points(-gap)} points.")
        elif gap > 0:
            changes.append(f"Quality: {name.lower()} would be shown good enough with {_points(gap)} points more.")
        if each.quality == "open" and each.comparison.cases_needed is not None:
            changes.append(
                f"Cases: about {each.comparison.cases_needed:,} would probably settle the quality of "
                f"{name.lower()}; there are {each.comparison.n:,}."
            )
    if judgement.next_measurement == "rented-answers" and judgement.detail is not None:
        changes.append(f"Answers: record the rented model's answers to about {judgement.detail.cases:,} test cases.")
    changes.append(_volume(cost))
    if any(each.cost == "open" for each in judgement.alternatives):
        changes.append(
            "Cost: narrower prices and assumptions; one option must be cheaper in "
            f"{_percent(policy.cost_certainty)} of the draws."
        )
    return tuple(changes)


def _volume(cost: Cost) -> str:
    breakeven = cost.breakeven_queries_per_month
    if breakeven is None or breakeven.p50 is None:
        reason = cost.breakeven_reason or "no volume is known from which owning pays"
        return f"Volume: {reason.rstrip('.')}."
    low, high = ("no bound" if limit is None else f"{limit:,.0f}" for limit in (breakeven.p5, breakeven.p95))
    return (
        f"Volume: owning pays from about {breakeven.p50:,.0f} queries a month (5 to 95 %: {low} to {high}); "
        f"the verdict is for {cost.queries_per_month:,.0f}."
    )


def notes_of(evaluation: Evaluation) -> tuple[str, ...]:
    """Findings beside the verdict: the strongest trivial baseline, the untuned base, what weakens it all."""
    notes = []
    own = evaluation.of_kind("own")
    baselines = sorted(evaluation.of_kind("baseline"), key=lambda each: -each.value)
    if own and baselines:
        comparison = evaluation.comparison(own[0].name, baselines[0].name)
        if comparison is not None:
            notes.append(_against_baseline(comparison))
    for base in evaluation.of_kind("base")[:1] if own else ():
        comparison = evaluation.comparison(own[0].name, base.name)
        if comparison is not None:
            notes.append(
                f"Tuning moved the score by {_signed(comparison.difference)} points against {base.name} "
                f"({_signed(comparison.ci_low)} to {_signed(comparison.ci_high)})."
            )
    if evaluation.cascade_note is not None:
        notes.append(evaluation.cascade_note)
    return (*notes, *evaluation.notes, *evaluation.warnings)


def _against_baseline(comparison: Comparison) -> str:
    """What the strongest baseline says about the need for a language model."""
    numbers = (
        f"own minus baseline is {_signed(comparison.difference)} points ({_signed(comparison.ci_low)} to "
        f"{_signed(comparison.ci_high)}, {comparison.n} cases)"
    )
    name = comparison.against
    if comparison.ci_high < 0:
        return f"The baseline '{name}' beats the own model: {numbers}. Owning a language model is not needed here."
    if comparison.ci_high < comparison.margin:
        return (
            f"The baseline '{name}' equals the own model within the margin: {numbers}. Owning a language "
            "model is not needed here."
        )
    if comparison.ci_low <= 0:
        return (
            f"The baseline '{name}' cannot be told apart from the own model: {numbers}. Nothing shows yet "
            "that a language model is needed here."
        )
    return f"The own model beats the strongest baseline '{name}': {numbers}."


def _signed(share: float) -> str:
    return f"{share * 100:+.1f}".replace("-", "−")


def _points(points: float) -> str:
    return f"{points:.1f}"


def _percent(share: float) -> str:
    return f"{share * 100:.1f}".removesuffix(".0") + " %"


def _dollars(cost: Quantiles) -> str:
    return f"{_usd(cost.p50)} (5 to 95 %: {_usd(cost.p5)} to {_usd(cost.p95)})"


def _usd(amount: float) -> str:
    """Cents, or below one cent four significant digits; a saving has its sign before the dollar."""
    size = abs(amount)
    text = f"{size:,.2f}" if size >= 0.01 or size == 0 else f"{size:.4g}"
    return f"{'−' if amount < 0 else ''}${text}"
