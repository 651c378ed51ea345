"""The mixture: the own model answers, and cases it is unsure of are escalated to the rented one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from freehold.evaluation.compare import Basis, compare
from freehold.evaluation.intervals import score_interval
from freehold.evaluation.result import CascadeResult

if TYPE_CHECKING:
    from collections.abc import Sequence

ABOVE_ALL = 2.0
"""A threshold that no confidence reaches: all cases are escalated."""
_MOST_THRESHOLDS = 100


@dataclass(frozen=True, slots=True)
class PairedCase:
    """One case that both models answered."""

    own: float
    """Score of the own answer."""
    rented: float
    confidence: float
    """The own model's, in its own answer."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """Cases whose confidence lies below `value` are escalated."""

    value: float
    rule: Literal["non-inferior", "not-below"]


def choose_threshold(validation: Sequence[PairedCase], basis: Basis) -> Threshold:
    """The threshold with the fewest escalations at which the cascade is good enough on `validation`.

    Good enough is to be shown non-inferior there. A validation set too small to show that for any threshold
    is asked for less: a mean score not below the rented model's, which escalating everything always reaches.
    """
    confidences = sorted({case.confidence for case in validation})
    # Escalate none, then those up to the first confidence, up to the second, ..., at last all.
    step = max(1, len(confidences) // _MOST_THRESHOLDS)
    thresholds = [0.0, *confidences[1::step], ABOVE_ALL]
    by_threshold = {value: _differences(validation, value) for value in thresholds}
    for value in thresholds:
        if compare("cascade", "rented", by_threshold[value], basis).non_inferior:
            return Threshold(value, "non-inferior")
    return Threshold(next(value for value in thresholds if sum(by_threshold[value]) >= 0), "not-below")


def run_cascade(
    *, own: str, rented: str, validation: Sequence[PairedCase], test: Sequence[PairedCase], basis: Basis
) -> CascadeResult:
    """Choose the threshold on `validation`, then report on `test` what it does there."""
    threshold = choose_threshold(validation, basis)
    return apply_threshold(
        threshold,
        own=own,
        rented=rented,
        validation_n=len(validation),
        validation_escalated_share=_escalated_share(validation, threshold.value),
        test=test,
        basis=basis,
    )


def apply_threshold(
    threshold: Threshold,
    *,
    own: str,
    rented: str,
    validation_n: int,
    validation_escalated_share: float,
    test: Sequence[PairedCase],
    basis: Basis,
) -> CascadeResult:
    """What the cascade with this threshold does on `test`."""
    scores = [case.rented if case.confidence < threshold.value else case.own for case in test]
    interval = score_interval(scores, is_binary=basis.is_binary, confidence=basis.confidence, seed=basis.seed)
    return CascadeResult(
        own=own,
        against=rented,
        threshold=threshold.value,
        rule=threshold.rule,
        validation_n=validation_n,
        validation_escalated_share=validation_escalated_share,
        escalated_share=_escalated_share(test, threshold.value),
        value=sum(scores) / len(scores),
        ci_low=interval.low,
        ci_high=interval.high,
        comparison=compare("cascade", rented, _differences(test, threshold.value), basis),
    )


def _differences(cases: Sequence[PairedCase], threshold: float) -> list[float]:
    return [0.0 if case.confidence < threshold else case.own - case.rented for case in cases]


def _escalated_share(cases: Sequence[PairedCase], threshold: float) -> float:
    return sum(case.confidence < threshold for case in cases) / len(cases)
