"""What the workspace knows of its tasks, for the audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from freehold.audit.examine import Known
from freehold.state.schema import TASKS

if TYPE_CHECKING:
    from sqlalchemy import Engine


def known_tasks(engine: Engine) -> dict[str, Known]:
    """Kind and labels of every task that is defined."""
    with engine.connect() as connection:
        rows = connection.execute(select(TASKS.c.name, TASKS.c.kind, TASKS.c.labels)).all()
    return {name: Known(kind=kind, labels=tuple(labels or ())) for name, kind, labels in rows}
