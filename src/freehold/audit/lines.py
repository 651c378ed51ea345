"""What was spent, line by line: one per task, day, model and tier, with its exact cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal

    import duckdb

    from freehold.audit.cube import Scale


@dataclass(frozen=True, slots=True)
class CostLine:
    """Rented calls of one task on one day, of one model at one tier."""

    task: str
    day: str
    """Empty: the log has no time."""
    model: str
    service_tier: str
    calls: int
    errors: int
    priced_calls: int
    input_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    cost_usd: Decimal | None
    """Of the calls whose cost is known; None: of none."""


def cost_lines(connection: duckdb.DuckDBPyConnection, scale: Scale) -> tuple[CostLine, ...]:
    """All lines, by task, day, model and tier; they add up to the audit's totals."""
    found = connection.execute("""
        select task, case when year(day) = 1 then '' else strftime(day, '%Y-%m-%d') end as day,
            coalesce(nullif(served, ''), nullif(asked, ''), 'unknown') as model, tier, sum(calls),
            coalesce(sum(calls) filter (is_error), 0), coalesce(sum(calls) filter (units is not null), 0),
            sum(input_tokens), sum(cache_read_tokens), sum(cache_write_tokens), sum(output_tokens),
            sum(reasoning_tokens), sum(units)
        from cube where standing = 'rented' group by 1, 2, 3, 4 order by 1, 2, 3, 4
    """)
    lines = []
    while rows := found.fetchmany(10_000):
        for task, day, model, tier, calls, errors, priced, *counts, units in rows:
            given, read, written, made, thought = (None if each is None else int(each) for each in counts)
            lines.append(
                CostLine(
                    task=task,
                    day=day,
                    model=model,
                    service_tier=tier,
                    calls=int(calls),
                    errors=int(errors),
                    priced_calls=int(priced),
                    input_tokens=given,
                    cache_read_tokens=read,
                    cache_write_tokens=written,
                    output_tokens=made,
                    reasoning_tokens=thought,
                    cost_usd=scale.usd(units),
                )
            )
    return tuple(lines)
