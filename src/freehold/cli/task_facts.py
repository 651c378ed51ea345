"""What the workspace knows of its tasks, for the audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freehold.audit.examine import Known
from freehold.tasks.store import load_tasks

if TYPE_CHECKING:
    from sqlalchemy import Engine


def known_tasks(engine: Engine) -> dict[str, Known]:
    """Kind and labels of every task that is defined."""
    return {
        name: Known(kind=facts.kind, confidence=facts.kind_confidence, labels=facts.labels)
        for name, facts in load_tasks(engine).items()
    }
