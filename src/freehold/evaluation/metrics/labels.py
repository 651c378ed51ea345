"""Answers that are one label of a closed set."""

from __future__ import annotations

from dataclasses import dataclass

from freehold.evaluation.metrics.score import NOT_A_LABEL, Metric, Score


@dataclass(frozen=True, slots=True)
class LabelScorer:
    """1 when the answer is the label, spaces around it aside; else 0."""

    labels: frozenset[str]
    metric: Metric = "accuracy"
    is_binary: bool = True

    def is_target(self, target: str) -> bool:
        """A label that is not blank."""
        return bool(target.strip())

    def score(self, target: str, answer: str, *, asked: str = "", confidence: float | None = None) -> Score:
        """Compare exactly."""
        right, given = target.strip(), answer.strip()
        is_valid = given in self.labels
        if given == right:
            return Score(value=1.0, is_valid=is_valid, is_exact=True)
        confusion = (right, given if is_valid else NOT_A_LABEL)
        return Score(value=0.0, is_valid=is_valid, is_exact=False, confusion=confusion)
