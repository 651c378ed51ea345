"""Draws calls from the ledger: the same ones every time, in bounded memory, however many there are."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import msgspec

from freehold.ledger.publish import reading
from freehold.tasks.evidence import Evidence, evidence_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_BATCH = 1_000
_DIGITS = 12
"""Of a call's id, the last ones: they are random, so a share of the calls is that share of their range."""
_SPARE = 1.05
_MOST_TOGETHER = 20_000
"""Calls of several tasks that are in memory at once."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One call, as discovery sees it."""

    id: str
    task: str
    evidence: Evidence


def counts(calls: Path) -> dict[str, int]:
    """Calls per task that have a request to be read."""
    if not any(calls.glob("day=*/*.parquet")):
        return {}
    with reading(calls), _connected() as connection:
        query = f"select task, count(request) from {_source(calls)} group by task order by task"  # noqa: S608 (our path)
        return dict(connection.sql(query).fetchall())


def sample(calls: Path, limits: Mapping[str, int]) -> list[Seen]:
    """About so many calls of each task, all if there are no more; by id."""
    return _drawn(calls, limits, counts(calls))


def samples(calls: Path, tasks: Sequence[str], limit: int) -> Iterator[tuple[str, list[Seen]]]:
    """About so many calls of each task, one task after the other: small ones are read together, in one pass."""
    there = counts(calls) if tasks else {}
    together: list[str] = []
    rows = 0
    for task in tasks:
        number = min(limit, there.get(task, 0))
        if rows + number > _MOST_TOGETHER:
            yield from _by_task(calls, together, limit, there)
            together, rows = [], 0
        together.append(task)
        rows += number
    yield from _by_task(calls, together, limit, there)


def _by_task(
    calls: Path, tasks: Sequence[str], limit: int, there: Mapping[str, int]
) -> Iterator[tuple[str, list[Seen]]]:
    found: defaultdict[str, list[Seen]] = defaultdict(list)
    for one in _drawn(calls, dict.fromkeys(tasks, limit), there):
        found[one.task].append(one)
    yield from ((task, found.pop(task, [])) for task in tasks)


def _drawn(calls: Path, limits: Mapping[str, int], there: Mapping[str, int]) -> list[Seen]:
    bounds = {task: _bound(limit, there[task]) for task, limit in limits.items() if there.get(task) and limit > 0}
    if not bounds:
        return []
    names = sorted(bounds)
    wanted = "join (select unnest(?) as task, unnest(?) as bound) using (task)"
    below = "request is not null and right(replace(id, '-', ''), 12) < bound"
    found = list(_seen(calls, f"{wanted} where {below}", [names, [bounds[task] for task in names]]))
    found.sort(key=lambda one: (one.task, one.id[-_DIGITS:], one.id))
    kept: dict[str, int] = {}
    result = []
    for one in found:
        kept[one.task] = kept.get(one.task, 0) + 1
        if kept[one.task] <= limits[one.task]:
            result.append(one)
    return result


def stream(calls: Path, task: str) -> Iterator[Seen]:
    """All calls of a task that have a request. To be consumed whole before the ledger changes."""
    if not any(calls.glob("day=*/*.parquet")):
        return
    yield from _seen(calls, "where request is not null and task = ?", [task])


def ids_of_task(calls: Path, task: str) -> set[str]:
    """Ids of all calls of a task."""
    if not any(calls.glob("day=*/*.parquet")):
        return set()
    with reading(calls), _connected() as connection:
        query = f"select id from {_source(calls)} where task = ?"  # noqa: S608 (our path)
        return {row[0] for row in connection.sql(query, params=[task]).fetchall()}


def _bound(limit: int, number: int) -> str:
    """Ids whose last digits are below it are about that many of the calls."""
    if number <= limit:
        return "g"  # above every digit
    return f"{min(int(_SPARE * limit / number * 16**_DIGITS), 16**_DIGITS - 1):0{_DIGITS}x}"


def _seen(calls: Path, condition: str, parameters: list[Any]) -> Iterator[Seen]:
    with reading(calls), _connected() as connection:
        query = f"select id, task, request, response from {_source(calls)} {condition}"  # noqa: S608 (ours)
        for batch in connection.sql(query, params=parameters).to_arrow_reader(_BATCH):
            for row in batch.to_pylist():
                yield Seen(row["id"], row["task"], evidence_of(_object(row["request"]), _object(row["response"])))


def _object(text: str | None) -> dict[str, Any] | None:  # Any: JSON of somebody else's making
    if text is None:
        return None
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _source(calls: Path) -> str:
    pattern = str(calls / "day=*" / "*.parquet").replace("'", "''")
    return f"read_parquet('{pattern}', union_by_name = true, hive_partitioning = false)"


def _connected() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 2, "memory_limit": "1GB"})
