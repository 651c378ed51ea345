"""Keeps the ledger small and lawful: bodies and rows go when their time is over, small files become large ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from zlib import crc32

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from freehold.ledger.columns import SCHEMA
from freehold.ledger.index import UNDATED, set_fact
from freehold.ledger.ingest import CALLS, Ingested, ingest
from freehold.ledger.publish import READERS, changing, locked, stage, swap
from freehold.ledger.purged import Purged
from freehold.ledger.rollup import add_sums, sums_of
from freehold.ledger.stored import adopt_unknown_files, cool_down, ids_of, parquet_files, read_rows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    from freehold.core.progress import Progress
    from freehold.ledger.index import Index
    from freehold.ledger.policy import Policy

_SMALL_BYTES = 32 << 20
_MOST_UNPACKED_BYTES = 96 << 20
"""Of the rows of one merged file; in memory they are there three times."""
_BODIES = ("request", "response")
_LET_GO = "let_go"
"""Check of the day, the rules and the files for which all that was out of date has been let go."""


@dataclass(slots=True)
class Kept:
    """What upkeep did."""

    ingested: Ingested
    bodies_removed: int = 0
    rows_removed: int = 0
    files_before: int = 0
    files_after: int = 0
    was_busy: bool = False
    """Somebody was reading, so no file was replaced this time."""


def keep_up(
    events: Path,
    *,
    policy: Policy,
    hot_days: int = 30,
    fewest_files: int = 8,
    today: date | None = None,
    wait: bool = False,
    progress: Progress | None = None,
) -> Kept:
    """Ingest, let go what is out of date, and merge small files. For a gateway's housekeeping and `ledger compact`.

    Args:
        events: Holds `segments` and `calls`.
        policy: How long bodies and rows of each task stay. Rows without a date stay for ever.
        hot_days: Days that the index of calls reaches back.
        fewest_files: Small files of a day that are worth merging.
        today: UTC; None: by the clock.
        wait: Wait until nobody reads; otherwise nothing is replaced while somebody does.
        progress: Told of ingested rows.
    """
    today = today or datetime.now(UTC).date()
    calls = events / CALLS
    kept = Kept(ingest(events, policy=policy, progress=progress))
    if not calls.is_dir():
        return kept
    with changing(calls) as index:
        adopt_unknown_files(calls, index)
        kept.files_before = kept.files_after = len(parquet_files(calls))
        with locked(calls, READERS, wait=wait) as nobody_reads:
            if nobody_reads:
                _let_go(calls, index, policy, today, kept)
                for day, names in _small_files(calls):
                    if len(names) >= fewest_files:
                        _merge(calls, index, day, names)
                kept.files_after = len(parquet_files(calls))
        kept.was_busy = not nobody_reads
        cool_down(index, hot_days=hot_days, today=today)
    return kept


def _let_go(calls: Path, index: Index, policy: Policy, today: date, kept: Kept) -> None:
    rules = [policy.default, *policy.tasks.values()]
    terms = [days for rule in rules for days in (rule.bodies_days, rule.rows_days) if days is not None]
    if not terms:
        return
    first = (today - timedelta(days=min(terms))).isoformat()

    def old_files() -> list[tuple[str, str]]:
        return [file for file in parquet_files(calls) if file[0] != UNDATED and file[0] < first]

    def state() -> int:
        return crc32(repr((today, policy, old_files())).encode())

    # Whether a body is left can only be told from the bodies: they are not read again for the same day and rules.
    if index.fact(_LET_GO) == state():
        return
    for day, name in old_files():
        age_days = (today - date.fromisoformat(day)).days
        tasks = read_rows(calls, day, name, ["task"]).column("task").unique().to_pylist()
        of = {task: policy.of(task) for task in tasks}
        no_rows = {task for task, rule in of.items() if rule.rows_days is not None and age_days > rule.rows_days}
        no_bodies = {task for task, rule in of.items() if rule.bodies_days is not None and age_days > rule.bodies_days}
        if no_rows or (no_bodies and _has_bodies(calls, day, name, no_bodies)):
            _rewrite(calls, index, (day, name), no_rows=no_rows, no_bodies=no_bodies, kept=kept)
    set_fact(index.connection, _LET_GO, state())


def _has_bodies(calls: Path, day: str, name: str, tasks: set[str]) -> bool:
    rows = read_rows(calls, day, name, ["task", *_BODIES])
    rows = rows.filter(pc.is_in(rows.column("task"), pa.array(sorted(tasks))))
    return any(rows.column(body).null_count < len(rows) for body in _BODIES)


def _rewrite(
    calls: Path, index: Index, file: tuple[str, str], *, no_rows: set[str], no_bodies: set[str], kept: Kept
) -> None:
    """Replace a file by one without what has to go; sums of rows that go are kept as those of removed rows."""
    rows = read_rows(calls, *file)
    is_gone = pc.is_in(rows.column("task"), pa.array(sorted(no_rows), pa.string()))
    gone, rest = rows.filter(is_gone), rows.filter(pc.invert(is_gone))
    loses_body = pc.is_in(rest.column("task"), pa.array(sorted(no_bodies), pa.string()))
    had_body = pc.or_(pc.is_valid(rest.column("request")), pc.is_valid(rest.column("response")))
    kept.bodies_removed += pc.sum(pc.and_(loses_body, had_body)).as_py() or 0
    kept.rows_removed += len(gone)
    for body in _BODIES:
        column = pc.if_else(loses_body, pa.scalar(None, pa.string()), rest.column(body))
        rest = rest.set_column(rest.schema.get_field_index(body), SCHEMA.field(body), column)
    if len(gone):  # or their log would bring them back, to be counted twice
        Purged(calls).note(ids_of(gone), "aged", gone.column("request_id").to_pylist())
    staged = [stage(calls, file[0], rest)] if len(rest) else []
    with duckdb.connect(config={"threads": 1}) as summing:
        sums = sums_of(summing, gone, file[0]) if len(gone) else None

    def note(connection: sqlite3.Connection) -> None:
        if sums is not None:
            add_sums(connection, sums, sign=-1)
            add_sums(connection, sums, is_retired=True)

    swap(calls, index, staged, removed=[file], also=note)


def _small_files(calls: Path) -> Iterator[tuple[str, list[str]]]:
    """Days, and their small files in groups that fit into memory."""
    by_day: dict[str, list[str]] = {}
    for day, name in parquet_files(calls):
        by_day.setdefault(day, []).append(name)
    for day, names in by_day.items():
        group: list[str] = []
        unpacked = 0
        for name in names:
            path = calls / f"day={day}" / name
            if path.stat().st_size >= _SMALL_BYTES:
                continue
            metadata = pq.read_metadata(path)
            size = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
            if group and unpacked + size > _MOST_UNPACKED_BYTES:
                yield day, group
                group, unpacked = [], 0
            group.append(name)
            unpacked += size
        if len(group) > 1:
            yield day, group


def _merge(calls: Path, index: Index, day: str, names: list[str]) -> None:
    rows = pa.concat_tables(read_rows(calls, day, name) for name in names)
    swap(calls, index, [stage(calls, day, rows)], removed=[(day, name) for name in names])
