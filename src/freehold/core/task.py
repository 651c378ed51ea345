"""A task: one kind of narrow work that a model is asked for again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from freehold.core.chat import Constraint

if TYPE_CHECKING:
    from collections.abc import Mapping

TaskKind = Literal["classification", "extraction", "text"]
Split = Literal["train", "validation", "test"]
Provenance = Literal["human-corrected", "human-labelled", "human-accepted", "rented-output", "own-output"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is asked, what may be answered, and how an own model is prompted for it."""

    name: str
    kind: TaskKind
    labels: tuple[str, ...] = ()
    """The closed set of answers of a classification, sorted."""
    json_schema: Mapping[str, Any] | None = None  # Any: JSON Schema is open by nature
    """Fields of an extraction."""
    own_prompt: str
    """Short system message of the own model. It lists no labels: tuning has taught them."""

    @property
    def constraint(self) -> Constraint:
        """What an answer to this task may look like."""
        match self.kind:
            case "classification":
                return Constraint(labels=self.labels)
            case "extraction":
                return Constraint(json_schema=self.json_schema)
            case "text":
                return Constraint()
