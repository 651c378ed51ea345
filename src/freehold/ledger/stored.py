"""Which calls the Parquet files hold already, and files that came or went without the index knowing."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from freehold.core.errors import InputError
from freehold.ledger.columns import SCHEMA
from freehold.ledger.index import HOT_FROM, UNDATED, set_fact
from freehold.ledger.publish import StagedFile, checksum_of, forget_files, remember_file
from freehold.ledger.rollup import add_sums, sums_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from freehold.ledger.index import Index


def parquet_files(calls: Path) -> list[tuple[str, str]]:
    """Day and name of every file of the ledger, in order."""
    return sorted((path.parent.name.removeprefix("day="), path.name) for path in calls.glob("day=*/*.parquet"))


def read_rows(calls: Path, day: str, name: str, columns: Collection[str] | None = None) -> pa.Table:
    """Rows of one file; columns that an older version did not know are NULL.

    Raises:
        InputError: the file is damaged.
    """
    path = calls / f"day={day}" / name
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            wanted = SCHEMA.names if columns is None else list(columns)
            found = file.read(columns=[column for column in wanted if column in file.schema_arrow.names])
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path} is damaged ({type(error).__name__}). Move it away, run freehold ledger repair, "
            "and import its log again: rows that are there already are not doubled."
        ) from error
    empty = pa.schema([SCHEMA.field(column) for column in wanted]).empty_table()
    return pa.concat_tables([empty, found], promote_options="default").select(wanted)


def ids_of(rows: pa.Table) -> list[bytes]:
    """Ids of rows as sixteen bytes each."""
    return [UUID(text).bytes for text in rows.column("id").to_pylist()]


def ids_already_stored(calls: Path, index: Index, wanted: Iterable[tuple[bytes, datetime | None]]) -> set[bytes]:
    """Which of these calls (id, moment) the ledger holds: the index says so, or for older days the files."""
    hot_from = index.fact(HOT_FROM)
    old_days: dict[date, set[bytes]] = {}
    hot: list[bytes] = []
    for call_id, moment in wanted:
        if moment is None or moment.date().toordinal() >= hot_from:
            hot.append(call_id)
        else:
            old_days.setdefault(moment.date(), set()).add(call_id)
    found = index.known(hot)
    if len(found) < len(hot):
        found |= set(hot) & _ids_not_indexed(calls, index)
    for day, ids in old_days.items():
        found |= ids & _ids_of_day(calls, day.isoformat())
    return found


def adopt_unknown_files(calls: Path, index: Index) -> None:
    """Index files that the index does not know (of an older version, or put there by hand); forget those that went.

    The sums of files that went cannot be told apart any more: then all sums are made anew from the files.
    """
    there = set(parquet_files(calls))
    known = {(row[0], row[1]) for row in index.connection.execute("select day, name from files")}
    gone, new = known - there, sorted(there - known)
    if not gone and not new:
        return
    with index.transaction() as connection, duckdb.connect(config={"threads": 1}) as summing:
        forget_files(connection, gone)
        if gone:
            connection.execute("delete from rollup where is_retired = 0")
        for day, name in sorted(there) if gone else new:
            rows = read_rows(calls, day, name)
            add_sums(connection, sums_of(summing, rows, day))
            if (day, name) not in known:
                path = calls / f"day={day}" / name
                file = StagedFile(name, day, name, path.stat().st_size, checksum_of(path), len(rows), ids_of(rows))
                remember_file(connection, file, is_indexed=index.is_hot(day))


def cool_down(index: Index, *, hot_days: int, today: date | None = None) -> int:
    """Take calls that are older than so many days out of the index; their files know them. Gives how many files."""
    first = (today or datetime.now(UTC).date()) - timedelta(days=hot_days)
    if first.toordinal() <= index.fact(HOT_FROM):
        return 0
    with index.transaction() as connection:
        set_fact(connection, HOT_FROM, first.toordinal())
        cold = "is_indexed and day <> ? and day < ?"
        parameters = (UNDATED, first.isoformat())
        connection.execute(
            f"delete from calls where file in (select id from files where {cold})",  # noqa: S608 (a constant)
            parameters,
        )
        return connection.execute(f"update files set is_indexed = 0 where {cold}", parameters).rowcount  # noqa: S608


def _ids_not_indexed(calls: Path, index: Index) -> set[bytes]:
    """Ids of hot days that only the files know, as they came in a large import."""
    files = index.connection.execute("select day, name from files where not is_indexed").fetchall()
    hot = [(day, name) for day, name in files if index.is_hot(day)]
    return {call_id for day, name in hot for call_id in ids_of(read_rows(calls, day, name, ["id"]))}


def _ids_of_day(calls: Path, day: str) -> set[bytes]:
    return {
        call_id
        for path in calls.glob(f"day={day}/*.parquet")
        for call_id in ids_of(read_rows(calls, day, path.name, ["id"]))
    }
