"""Which scorer judges a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from freehold.evaluation.metrics.fields import FieldScorer
from freehold.evaluation.metrics.labels import LabelScorer
from freehold.evaluation.metrics.texts import ChrfScorer

if TYPE_CHECKING:
    from freehold.core.task import Task
    from freehold.evaluation.metrics.score import Scorer


def scorer_of(task: Task) -> Scorer:
    """The scorer for the kind of `task`."""
    match task.kind:
        case "classification":
            return LabelScorer(labels=frozenset(task.labels))
        case "extraction":
            return FieldScorer(schema=task.json_schema)
        case "text":
            return ChrfScorer()
    assert_never(task.kind)
