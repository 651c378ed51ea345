"""Answers that are free text: how near they come to the human's words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from freehold.evaluation.metrics.score import LONGEST_ANSWER, Metric, Score

_CHRF_ORDER = 6
_CHRF_BETA = 2.0


@dataclass(frozen=True, slots=True)
class ChrfScorer:
    """Character n-gram F-score of texts.

    Source: M. Popović, chrF: character n-gram F-score for automatic MT evaluation, WMT 2015.
    """

    metric: Metric = "chrf"
    is_binary: bool = False

    def is_target(self, target: str) -> bool:
        """Some text."""
        return bool(target.strip())

    def score(self, target: str, answer: str, *, asked: str = "", confidence: float | None = None) -> Score:
        """Compare n-grams of one to six characters, white space left out."""
        right, given = "".join(target.split()), "".join(answer.split())
        is_valid = bool(given) and len(answer) <= LONGEST_ANSWER
        value = _chrf(right, given) if is_valid else 0.0
        return Score(value=value, is_valid=is_valid, is_exact=is_valid and target.strip() == answer.strip())


def _chrf(right: str, given: str) -> float:
    precisions, recalls = [], []
    for order in range(1, _CHRF_ORDER + 1):
        of_right = Counter(right[i : i + order] for i in range(len(right) - order + 1))
        of_given = Counter(given[i : i + order] for i in range(len(given) - order + 1))
        if of_right and of_given:
            common = (of_right & of_given).total()
            precisions.append(common / of_given.total())
            recalls.append(common / of_right.total())
    if not precisions:
        return 0.0
    precision, recall = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    if precision + recall == 0:
        return 0.0
    squared = _CHRF_BETA**2
    return (1 + squared) * precision * recall / (squared * precision + recall)
