"""Calls that repeat a failed one: the log says so, or the same was asked again soon after."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from freehold.audit.cube import cost_units

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    import duckdb

    from freehold.audit.cube import Scale
    from freehold.audit.task_audit import TaskAudit

WITHIN_MINUTES = 10
"""After a failed call: longer than clients wait between their attempts, and shorter than a person takes."""


@dataclass(frozen=True, slots=True)
class _Repeated:
    """Of the calls of a task whose prompt is known."""

    failed: int
    retries: int
    usd: Decimal | None


def with_retries(
    connection: duckdb.DuckDBPyConnection, tasks: Sequence[TaskAudit], scale: Scale
) -> tuple[TaskAudit, ...]:
    """The tasks with the retries that their prompts tell; `questions.note_questions` must have been called.

    None where calls failed, and the log says neither what was tried again nor what was asked.
    """
    found = {
        task: _Repeated(int(failed), int(retries), scale.usd(units))
        for task, failed, retries, units in connection.execute(_ASKED_AGAIN).fetchall()
    }
    return tuple(_with(task, found.get(task.task, _Repeated(0, 0, None))) for task in tasks)


def _with(task: TaskAudit, repeated: _Repeated) -> TaskAudit:
    said = task.retries or 0
    if not (task.errors and not said and not repeated.failed):
        usd = [each for each in (task.retries_usd, repeated.usd if repeated.retries else None) if each is not None]
        return replace(
            task,
            retries=said + repeated.retries,
            inferred_retries=repeated.retries,
            retries_usd=sum(usd[1:], usd[0]) if usd else None,
        )
    return replace(task, retries=None)


_ASKED_AGAIN = f"""
    with tried as (
        select c.task, c.is_error, c.is_retry, {cost_units("c", "r")} as units,
            coalesce(lag(c.is_error) over asked and c.moment - lag(c.moment) over asked
                <= interval {WITHIN_MINUTES} minutes, false) as follows
        from asked_rows c left join rates r using (served, asked, provider, tier, day, bucket)
        where c.standing = 'rented' and c.moment is not null
        window asked as (partition by c.task, c.words order by c.moment, c.id)
    )
    select task, count(*) filter (is_error), count(*) filter (follows and not is_retry),
        sum(units) filter (follows and not is_retry)
    from tried group by task
"""  # noqa: S608 (names and a number of our own)
