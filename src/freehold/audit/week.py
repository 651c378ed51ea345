"""The rhythm of a whole log: calls and cost by hour of the week, and cost by day and task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from freehold.audit.task_audit import WEEKDAYS

if TYPE_CHECKING:
    from decimal import Decimal

    import duckdb

    from freehold.audit.cube import Scale


@dataclass(frozen=True, slots=True)
class Week:
    """By day of the week (Monday first) and hour of the day, UTC."""

    calls: tuple[tuple[int, ...], ...]
    cost_usd: tuple[tuple[Decimal | None, ...], ...]
    """Of the calls whose cost is known; None: of none."""
    without_hour: int = 0
    """Calls of which the day is known and no hour: they are in no cell."""

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """Weekday -> 24 numbers."""
        return {
            "calls": dict(zip(WEEKDAYS, map(list, self.calls), strict=True)),
            "cost_usd": dict(
                zip(
                    WEEKDAYS,
                    ([None if usd is None else float(usd) for usd in day] for day in self.cost_usd),
                    strict=True,
                )
            ),
            "calls_without_hour": self.without_hour,
        }


def week_of(connection: duckdb.DuckDBPyConnection, scale: Scale) -> Week:
    """The week of all rented calls that have a time."""
    calls = [[0] * 24 for _ in WEEKDAYS]
    cost: list[list[Decimal | None]] = [[None] * 24 for _ in WEEKDAYS]
    found = connection.execute("""
        select isodow(hour) - 1, hour(hour), sum(calls), sum(units) from cube
        where standing = 'rented' and hour is not null group by all
    """).fetchall()
    for day, hour, count, units in found:
        calls[day][hour] = int(count)
        cost[day][hour] = scale.usd(units)
    ((without,),) = connection.execute("""
        select coalesce(sum(calls), 0) from cube where standing = 'rented' and hour is null and year(day) > 1
    """).fetchall()
    return Week(tuple(map(tuple, calls)), tuple(map(tuple, cost)), int(without))
