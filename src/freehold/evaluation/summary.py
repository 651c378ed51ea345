"""From scores case by case to results and comparisons; pure, so it can be done again from a record."""

from __future__ import annotations

from dataclasses import dataclass
from math import isclose
from typing import TYPE_CHECKING

from freehold.core.errors import InputError
from freehold.evaluation.cascade import PairedCase, Threshold, apply_threshold
from freehold.evaluation.compare import Basis, compare
from freehold.evaluation.intervals import score_interval
from freehold.evaluation.result import Result

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from freehold.core.chat import Answer
    from freehold.evaluation.contender import ContenderKind
    from freehold.evaluation.metrics.score import Score
    from freehold.evaluation.result import Cases, Comparison, Evaluation

_CANDIDATES = ("own", "rent-tuned", "hosted-open")
_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class ScoredAnswers:
    """One contender's answers and their scores, by example id."""

    name: str
    kind: ContenderKind
    answers: Mapping[str, Answer]
    scores: Mapping[str, Score]

    @property
    def states_confidence(self) -> bool:
        """Some answer comes with a confidence."""
        return any(answer.confidence is not None for answer in self.answers.values())

    def value_of(self, example_id: str) -> float | None:
        """Score of one case; None when it was not answered."""
        score = self.scores.get(example_id)
        return None if score is None else score.value

    def confidence_of(self, example_id: str) -> float | None:
        """Confidence of one answer; None when it was not answered or nothing was stated."""
        answer = self.answers.get(example_id)
        return None if answer is None else answer.confidence


def summarise(scored: ScoredAnswers, basis: Basis) -> Result:
    """Mean score with its interval, and how the answers look.

    Raises:
        InputError: the contender answered no case.
    """
    scores = list(scored.scores.values())
    if not scores:
        raise InputError(
            f"Contender {scored.name!r} has no answer to any test case. Its recorded answers must carry "
            "the ids of the test cases; record some, or leave it out."
        )
    n = len(scores)
    values = [score.value for score in scores]
    interval = score_interval(values, is_binary=basis.is_binary, confidence=basis.confidence, seed=basis.seed)
    usages = [answer.usage for answer in scored.answers.values()]
    return Result(
        name=scored.name,
        kind=scored.kind,
        value=sum(values) / n,
        ci_low=interval.low,
        ci_high=interval.high,
        n=n,
        invalid_share=sum(not score.is_valid for score in scores) / n,
        exact_share=sum(score.is_exact for score in scores) / n,
        mean_input_tokens=_mean([usage.input_tokens for usage in usages]),
        mean_output_tokens=_mean([usage.output_tokens for usage in usages]),
    )


def _mean(counts: Sequence[int | None]) -> float | None:
    known = [count for count in counts if count is not None]
    return sum(known) / len(known) if len(known) == len(counts) else None


def compare_all(kinds: Mapping[str, ContenderKind], cases: Cases, basis: Basis) -> tuple[Comparison, ...]:
    """Every candidate against the rented model, and the own model against the base and the baselines.

    Only cases that both answered count; two contenders without such a case are not compared.
    """
    pairs = [
        (candidate, against)
        for candidate, kind in kinds.items()
        for against, other in kinds.items()
        if (kind in _CANDIDATES and other == "rented") or (kind == "own" and other in ("base", "baseline"))
    ]
    compared = []
    for candidate, against in pairs:
        differences = [
            ours - theirs
            for ours, theirs in zip(cases.scores[candidate], cases.scores[against], strict=True)
            if ours is not None and theirs is not None
        ]
        if differences:
            compared.append(compare(candidate, against, differences, basis))
    return tuple(compared)


def paired_cases(cases: Cases, own: str, rented: str) -> list[PairedCase]:
    """Cases with both scores and the own model's confidence."""
    confidences = cases.confidences.get(own, (None,) * len(cases.ids))
    return [
        PairedCase(ours, theirs, confidence)
        for ours, theirs, confidence in zip(cases.scores[own], cases.scores[rented], confidences, strict=True)
        if ours is not None and theirs is not None and confidence is not None
    ]


def statistics_fault(evaluation: Evaluation) -> str | None:
    """Which number of the record does not follow from its scores case by case; None when all do.

    Equal means to nine digits: another version of numpy may add up in another order.
    """
    basis = Basis(
        is_binary=evaluation.metric == "accuracy",
        margin=evaluation.margin,
        confidence=evaluation.confidence,
        tasks_compared=evaluation.tasks_compared,
        seed=evaluation.seed,
    )
    for result in evaluation.contenders:
        scores = [score for score in evaluation.cases.scores.get(result.name, ()) if score is not None]
        if len(scores) != result.n or not scores or not _is_near(result.value, sum(scores) / len(scores)):
            return f"the score of {result.name!r}"
        interval = score_interval(scores, is_binary=basis.is_binary, confidence=basis.confidence, seed=basis.seed)
        if not (_is_near(result.ci_low, interval.low) and _is_near(result.ci_high, interval.high)):
            return f"the interval of {result.name!r}"
    kinds = {result.name: result.kind for result in evaluation.contenders}
    again = compare_all(kinds, evaluation.cases, basis)
    if len(again) != len(evaluation.comparisons) or not all(map(_is_same, evaluation.comparisons, again)):
        return "a comparison"
    return _cascade_fault(evaluation, basis)


def _cascade_fault(evaluation: Evaluation, basis: Basis) -> str | None:
    stored = evaluation.cascade
    if stored is None:
        return None
    if not {stored.own, stored.against} <= set(evaluation.cases.scores):
        return "the cascade"
    again = apply_threshold(
        Threshold(stored.threshold, stored.rule),
        own=stored.own,
        rented=stored.against,
        validation_n=stored.validation_n,
        validation_escalated_share=stored.validation_escalated_share,
        test=paired_cases(evaluation.cases, stored.own, stored.against),
        basis=basis,
    )
    is_same = (
        _is_same(stored.comparison, again.comparison)
        and _is_near(stored.escalated_share, again.escalated_share)
        and all(
            map(
                _is_near,
                (stored.value, stored.ci_low, stored.ci_high),
                (again.value, again.ci_low, again.ci_high),
            )
        )
    )
    return None if is_same else "the cascade"


def _is_near(stored: float, again: float) -> bool:
    return isclose(stored, again, rel_tol=0.0, abs_tol=_TOLERANCE)


def _is_same(stored: Comparison, again: Comparison) -> bool:
    return (
        (stored.candidate, stored.against, stored.non_inferior, stored.n, stored.wins, stored.losses)
        == (again.candidate, again.against, again.non_inferior, again.n, again.wins, again.losses)
        and _is_near(stored.difference, again.difference)
        and _is_near(stored.ci_low, again.ci_low)
        and _is_near(stored.ci_high, again.ci_high)
        and stored.margin == again.margin
    )
