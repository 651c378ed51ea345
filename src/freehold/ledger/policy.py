"""What is kept of a task's calls, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Bodies = Literal["keep", "mask", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPolicy:
    """Of one task."""

    bodies: Bodies = "keep"
    """mask: personal data is replaced by placeholders before a body enters the Parquet files."""
    sample: float = 1.0
    """Share of calls whose bodies are kept, in [0, 1]; which ones follows from their ids."""
    bodies_days: int | None = None
    """Days after which bodies are removed from their rows; None: never."""
    rows_days: int | None = None
    """Days after which the rows themselves are removed; the rollup keeps their counts. None: never."""

    def keeps_bodies(self, call_id: bytes) -> bool:
        """Whether the bodies of this call are recorded at all. The same call always gets the same answer."""
        if self.bodies == "none":
            return False
        return self.sample >= 1 or int.from_bytes(call_id[-4:]) < self.sample * (1 << 32)


@dataclass(frozen=True, slots=True)
class Policy:
    """Of all tasks."""

    default: TaskPolicy = TaskPolicy()
    tasks: Mapping[str, TaskPolicy] = field(default_factory=dict)

    def of(self, task: str) -> TaskPolicy:
        """The policy of a task: its own, or else everyone's."""
        return self.tasks.get(task, self.default)


KEEP_ALL = Policy()
