"""Answers that are a JSON object with the fields of a schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from freehold.evaluation.metrics.json_answers import first_object, is_missing, is_same_value
from freehold.evaluation.metrics.schema import obeys
from freehold.evaluation.metrics.score import Metric, Score

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class FieldScorer:
    """Share of fields that are right: the schema's, the target's, and any other that the answer invents."""

    schema: Mapping[str, Any] | None  # Any: JSON Schema is open by nature
    metric: Metric = "field_accuracy"
    is_binary: bool = False

    def is_target(self, target: str) -> bool:
        """A JSON object."""
        return first_object(target) is not None

    def score(self, target: str, answer: str, *, asked: str = "", confidence: float | None = None) -> Score:
        """Compare field by field; null, an empty string and a missing field are the same."""
        right, given = first_object(target) or {}, first_object(answer)
        if given is None:
            return Score(value=0.0, is_valid=False, is_exact=False, wrong_fields=tuple(sorted(self._fields(right))))
        fields = self._fields(right) | {name for name, value in given.items() if not is_missing(value)}
        wrong = tuple(sorted(name for name in fields if not is_same_value(right.get(name), given.get(name))))
        return Score(
            value=1 - len(wrong) / len(fields) if fields else 1.0,
            is_valid=obeys(given, self.schema),
            is_exact=not wrong,
            wrong_fields=wrong,
        )

    def _fields(self, right: Mapping[str, Any]) -> set[str]:  # Any: JSON
        return {*(self.schema or {}).get("properties", {}), *right}
