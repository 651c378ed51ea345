"""A curated example and the dataset it stands in: written by `datasets`, read by tuning and evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

    from freehold.core.chat import Message
    from freehold.core.task import Provenance, Split, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One case: the conversation an own model sees, and the answer it should give."""

    id: str
    """Id of the call it came from."""
    messages: tuple[Message, ...]
    """The own prompt as system message, then the user's turns, personal data masked."""
    target: str
    split: Split
    provenance: Provenance
    group: str
    """Near-duplicates share a group, and a group stands on one side only."""
    started_at: datetime | None = None
    rented_output: str | None = None
    """Recorded answer of the rented model, as it was given (masked alike)."""
    rented_model: str | None = None
    own_output: str | None = None
    """What an own model answered to this call, masked alike; None if none did."""
    weight: float = 1.0
    """How much the example counts beside others when it trains."""

    @property
    def rejected(self) -> str | None:
        """The answer that a human replaced by the target; None if no answer was corrected."""
        given = self.rented_output if self.own_output is None else self.own_output
        is_corrected = self.provenance == "human-corrected" and given is not None and given.strip() != self.target
        return given if is_corrected else None

    def as_dict(self) -> dict[str, Any]:  # Any: a line of JSONL
        """The line that stands in the dataset's file; own output and weight only where they say something."""
        line: dict[str, Any] = {  # Any: as above
            "id": self.id,
            "messages": [message.as_dict() for message in self.messages],
            "target": self.target,
            "split": self.split,
            "provenance": self.provenance,
            "group": self.group,
            "started_at": None if self.started_at is None else self.started_at.isoformat(),
            "rented_output": self.rented_output,
            "rented_model": self.rented_model,
        }
        if self.own_output is not None:
            line["own_output"] = self.own_output
        if self.weight != 1.0:
            line["weight"] = self.weight
        return line


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One immutable version of a task's examples on disk."""

    id: str
    """`<task>-<12 hex digits of the content hash>`."""
    task: Task
    folder: Path
    """Holds train.jsonl, validation.jsonl, test.jsonl, excluded.jsonl, manifest.json and what `datasets` adds."""
    rows: Mapping[Split, int]
    excluded: Mapping[str, int]
    """Reason -> rows left out."""
    sha256: str
