"""Writes calls to daily Parquet files and reads them back.

A file appears under its final name only when it is whole, so a process that dies leaves no half of one.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from freehold.core.errors import InputError
from freehold.core.identity import content_hash
from freehold.ledger.columns import COLUMNS, SCHEMA, calls_of, table_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from freehold.core.call import Call

_UNDATED = "undated"


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of the calls that were handed over."""

    new: int
    duplicates: int


class Ledger:
    """The calls of one workspace."""

    def __init__(self, folder: Path) -> None:
        """`folder` holds one folder per day; it need not exist yet."""
        self._folder = folder
        self._seen: set[bytes] | None = None

    def append(self, calls: Iterable[Call]) -> Appended:
        """Add the calls whose ids are not there yet.

        Killed midway, whole days are kept; the same calls again complete the rest.
        """
        if self._seen is None:
            self._seen = self._ids()
        fresh: list[Call] = []
        total = 0
        for total, call in enumerate(calls, start=1):  # noqa: B007 (the count outlives the loop)
            key = UUID(call.id).bytes
            if key not in self._seen:
                self._seen.add(key)
                fresh.append(call)
        self._write(fresh)
        return Appended(new=len(fresh), duplicates=total - len(fresh))

    def read(self, task: str | None = None) -> Iterator[Call]:
        """Calls by time, undated ones last; of one task, or all."""
        if not self._has_files():
            return
        query = f"select {', '.join(COLUMNS)} from {self._source()}"  # noqa: S608 (columns are ours)
        parameters = []
        if task is not None:
            query += " where task = ?"
            parameters.append(task)
        reader = self._execute(query + " order by started_at nulls last, id", parameters).to_arrow_reader(2_000)
        for batch in reader:
            yield from calls_of(batch.cast(SCHEMA) if batch.schema != SCHEMA else batch)

    def tasks(self) -> dict[str, int]:
        """Rows per task, by name."""
        if not self._has_files():
            return {}
        query = f"select task, count(*) from {self._source()} group by task order by task"  # noqa: S608
        return dict(self._execute(query, []).fetchall())

    def find(self, references: Iterable[str]) -> Mapping[str, Call]:
        """Calls by their id, or by the id that their client or log gave them; unknown ones are absent.

        Where several calls share a client's id, the latest one is meant.
        """
        wanted = pa.table({"reference": pa.array(sorted(set(references)), pa.string())})
        if not self._has_files() or not len(wanted):
            return {}
        columns = ", ".join(f"c.{name}" for name in COLUMNS)
        relation = self._execute(
            f"select w.reference, {columns} from {self._source()} c "  # noqa: S608 (columns are ours)
            "join wanted w on w.reference = c.id or w.reference = c.request_id "
            "order by c.started_at nulls first, c.id",
            [],
            wanted=wanted,
        )
        found: dict[str, Call] = {}
        for batch in relation.to_arrow_reader(2_000):
            rows = batch.select(COLUMNS)
            found.update(zip(batch.column("reference").to_pylist(), calls_of(rows), strict=True))
        return found

    def _has_files(self) -> bool:
        return any(self._folder.glob("day=*/*.parquet"))

    def _source(self) -> str:
        pattern = str(self._folder / "day=*" / "*.parquet").replace("'", "''")
        return f"read_parquet('{pattern}', union_by_name = true, hive_partitioning = false)"

    def _execute(self, query: str, parameters: Sequence[str], **tables: pa.Table) -> duckdb.DuckDBPyRelation:
        connection = duckdb.connect(config={"threads": 2})
        connection.execute("set timezone = 'UTC'")
        for name, table in tables.items():
            connection.register(name, table)
        try:
            return connection.sql(query, params=parameters)
        except duckdb.Error as error:
            broken = [path for path in sorted(self._folder.glob("day=*/*.parquet")) if not _is_readable(path)]
            if not broken:
                raise
            raise InputError(
                f"{broken[0]} is damaged ({len(broken)} of the ledger's files are). "
                "Move it away and import its log again: rows that are there already are not doubled."
            ) from error

    def _ids(self) -> set[bytes]:
        if not self._has_files():
            return set()
        relation = self._execute(f"select id from {self._source()}", [])  # noqa: S608
        found: set[bytes] = set()
        for batch in relation.to_arrow_reader(100_000):
            found.update(UUID(identifier).bytes for identifier in batch.column(0).to_pylist())
        return found

    def _write(self, calls: Sequence[Call]) -> None:
        by_day: dict[str, list[Call]] = defaultdict(list)
        for call in calls:
            by_day[_UNDATED if call.started_at is None else call.started_at.date().isoformat()].append(call)
        for day, rows in by_day.items():
            rows.sort(key=lambda call: (call.started_at is None, call.started_at or 0, call.id))
            folder = self._folder / f"day={day}"
            folder.mkdir(parents=True, exist_ok=True)
            final = folder / f"{content_hash([call.id for call in rows])[:16]}.parquet"
            unfinished = final.with_suffix(f".{os.getpid()}.writing")
            try:
                pq.write_table(table_of(rows), unfinished, compression="zstd")
                unfinished.replace(final)
            finally:
                unfinished.unlink(missing_ok=True)


def _is_readable(path: Path) -> bool:
    try:
        pq.read_metadata(path)
    except (pa.ArrowInvalid, OSError):
        return False
    return True
