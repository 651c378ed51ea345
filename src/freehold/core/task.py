"""A task: one kind of narrow work that a model is asked for again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from freehold.core.chat import Constraint

if TYPE_CHECKING:
    from collections.abc import Mapping

TaskKind = Literal["classification", "extraction", "text"]
"""What an answer is held to: a closed set of labels, a JSON object of a schema, or any text."""
WorkKind = Literal["classification", "screening", "extraction", "ner", "summarisation", "chat", "code", "other"]
"""What kind of work a task is. What its answers are held to follows from it and from the answers: see `TaskKind`."""
WORK_KINDS: tuple[WorkKind, ...] = get_args(WorkKind)
Split = Literal["train", "validation", "test"]
Provenance = Literal["human-corrected", "human-labelled", "human-accepted", "rented-output", "own-output"]


LONGEST_NAME = 100
"""Characters of a task's name: files and folders are named after it."""


def fault_of_name(name: str) -> str | None:
    """What is wrong with the name of a task; None if nothing is."""
    if not name.strip() or name != name.strip():
        return "is empty or begins or ends with a blank"
    if len(name.encode("utf-8", "replace")) > LONGEST_NAME:
        return f"is longer than {LONGEST_NAME} bytes"
    if name.startswith(".") or "/" in name or not name.isprintable():
        return "begins with a dot, or holds '/' or a character that cannot be printed"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is asked, what may be answered, and how an own model is prompted for it."""

    name: str
    kind: TaskKind
    labels: tuple[str, ...] = ()
    """The closed set of answers of a classification, sorted."""
    json_schema: Mapping[str, Any] | None = None  # Any: JSON Schema is open by nature
    """Fields of an extraction."""
    work: WorkKind | None = None
    """What kind of work it is; None: what `kind` says of it."""
    own_prompt: str
    """Short system message of the own model. It lists no labels: tuning has taught them."""

    @property
    def work_kind(self) -> WorkKind:
        """What kind of work it is, for people."""
        return self.work or work_of(self.kind)

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


def work_of(kind: TaskKind) -> WorkKind:
    """The kind of work of a task of which only its answers' form is known."""
    return "other" if kind == "text" else kind
