"""Two contenders on the same cases: how far apart, how surely, and whether the candidate is good enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from freehold.evaluation.intervals import bonferroni, difference_interval
from freehold.evaluation.planning import cases_to_decide
from freehold.evaluation.result import Comparison

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What was fixed before looking at any answer."""

    is_binary: bool
    """Scores are 0 or 1: exact score intervals instead of the bootstrap."""
    margin: float
    confidence: float
    tasks_compared: int
    """Tasks that are judged together; their comparisons share the allowed error."""
    seed: int


def compare(candidate: str, against: str, differences: Sequence[float], basis: Basis) -> Comparison:
    """Judge paired differences (candidate minus the other one, at least one case)."""
    confidence = bonferroni(basis.confidence, basis.tasks_compared)
    interval = difference_interval(differences, is_binary=basis.is_binary, confidence=confidence, seed=basis.seed)
    return Comparison(
        candidate=candidate,
        against=against,
        difference=sum(differences) / len(differences),
        ci_low=interval.low,
        ci_high=interval.high,
        margin=basis.margin,
        non_inferior=interval.low > -basis.margin,
        n=len(differences),
        wins=sum(difference > 0 for difference in differences),
        losses=sum(difference < 0 for difference in differences),
        cases_needed=cases_to_decide(differences, margin=basis.margin, confidence=confidence),
    )
