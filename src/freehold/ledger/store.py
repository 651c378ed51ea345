"""The ledger as other rooms use it: calls are appended, read by time, and found by their ids.

What is appended stands there whole or not at all: see `publish.py`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING
from uuid import UUID

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from freehold.core.errors import InputError
from freehold.ledger.columns import COLUMNS, SCHEMA, calls_of, rows_of_files, table_of
from freehold.ledger.index import INDEX_FILE, UNDATED, Index
from freehold.ledger.publish import changing, publish, reading
from freehold.ledger.purged import Purged
from freehold.ledger.rewrite import rewrite
from freehold.ledger.rollup import SUMS, retired_sums
from freehold.ledger.stored import adopt_unknown_files, ids_already_stored

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from freehold.core.call import Call
    from freehold.core.progress import Progress
    from freehold.ledger.rewrite import Change, Concerns, Rewritten

_BATCH_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of the calls that were handed over."""

    new: int
    duplicates: int
    purged: int = 0
    """Were purged from the ledger, and were not taken in again."""
    told_otherwise: int = 0
    """Volumes of a time of which volumes of another length tell already; they were left out."""


class Ledger:
    """The calls of one workspace."""

    def __init__(self, folder: Path) -> None:
        """`folder` holds one folder per day; it need not exist yet."""
        self._folder = folder

    @property
    def folder(self) -> Path:
        """Where the files lie."""
        return self._folder

    def append(self, calls: Iterable[Call]) -> Appended:
        """Add the calls whose ids are not there yet.

        Killed midway, whole batches of 20,000 calls are kept; the same calls again complete the rest.
        """
        new = total = kept_out = 0
        purged = Purged(self._folder)
        waiting = iter(calls)
        while batch := list(islice(waiting, _BATCH_ROWS)):
            total += len(batch)
            by_id = {UUID(call.id).bytes: call for call in reversed(batch)}  # of equal ids the first one counts
            with changing(self._folder) as index:
                adopt_unknown_files(self._folder, index)
                moments = [(call_id, call.started_at) for call_id, call in by_id.items()]
                known = ids_already_stored(self._folder, index, moments)
                gone = purged.among(by_id.keys() - known)
                by_day: dict[str, list[Call]] = defaultdict(list)
                for call_id, call in by_id.items():
                    if call_id not in known and call_id not in gone:
                        day = UNDATED if call.started_at is None else call.started_at.date().isoformat()
                        by_day[day].append(call)
                if by_day:
                    publish(self._folder, index, {day: table_of(rows) for day, rows in by_day.items()})
            new += len(by_id) - len(known) - len(gone)
            kept_out += len(gone)
        return Appended(new=new, duplicates=total - new - kept_out, purged=kept_out)

    def rewrite(
        self,
        change: Change,
        *,
        days: Collection[str] | None = None,
        concerns: Concerns | None = None,
        columns: Collection[str] = ("id", "task"),
        keeps_sums: bool = True,
        change_retired: Change | None = None,
        progress: Progress | None = None,
    ) -> Rewritten:
        """Change rows that are there: see `rewrite.rewrite`, which tells what each option is for."""
        return rewrite(
            self._folder,
            change,
            days=days,
            concerns=concerns,
            columns=columns,
            keeps_sums=keeps_sums,
            change_retired=change_retired,
            progress=progress,
        )

    def read(self, task: str | None = None, *, is_answered: bool = False) -> Iterator[Call]:
        """Calls by time, undated ones last; of one task, or all; of those with a kept answer, or all."""
        with reading(self._folder):
            if not self._has_files():
                return
            query = f"select {', '.join(COLUMNS)} from {self._source()}"  # noqa: S608 (columns are ours)
            parameters = []
            if task is not None:
                query += " where task = ?" + (" and response is not null" if is_answered else "")
                parameters.append(task)
            found = self._execute(query + " order by started_at nulls last, id", parameters)
            for batch in found.to_arrow_reader(2_000):
                yield from calls_of(batch.cast(SCHEMA) if batch.schema != SCHEMA else batch)

    def tasks(self) -> dict[str, int]:
        """Rows per task, by name."""
        with reading(self._folder):
            if not self._has_files():
                return {}
            query = f"select task, count(*) from {self._source()} group by task order by task"  # noqa: S608
            return dict(self._execute(query, []).fetchall())

    def retired_sums(self) -> pa.Table:
        """Daily sums of the calls that retention has taken away, as `ledger.rollup` keeps them.

        Raises:
            InputError: the index is damaged.
        """
        if not (self._folder / INDEX_FILE).exists():
            return SUMS.empty_table()
        index = Index(self._folder)
        try:
            return retired_sums(index.connection)
        finally:
            index.close()

    def get(self, call_id: str) -> Call | None:
        """One call by its own id, in milliseconds while its day is hot; None if there is none."""
        try:
            key = UUID(call_id).bytes
        except ValueError:
            return None
        if not (self._folder / INDEX_FILE).exists():
            return self.find([call_id]).get(call_id)
        with reading(self._folder):
            index = Index(self._folder)
            try:
                place = index.place_of(key)
            finally:
                index.close()
            path = None if place is None else self._folder / place[0]
            if place is not None and path is not None and path.exists():
                return _row_of_file(path, place[1])
        return self.find([call_id]).get(call_id)

    def find(self, references: Iterable[str]) -> Mapping[str, Call]:
        """Calls by their id, or by the id that their client or log gave them; unknown ones are absent.

        Where several calls share a client's id, the latest one is meant.
        """
        wanted = pa.table({"reference": pa.array(sorted(set(references)), pa.string())})
        with reading(self._folder):
            return self._find(wanted) if self._has_files() and len(wanted) else {}

    def _find(self, wanted: pa.Table) -> dict[str, Call]:
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
        return rows_of_files(str(self._folder / "day=*" / "*.parquet"))

    def _execute(self, query: str, parameters: Sequence[str], **tables: pa.Table) -> duckdb.DuckDBPyRelation:
        connection = duckdb.connect(config={"threads": 2})
        connection.execute("set timezone = 'UTC'; set enable_progress_bar = false")  # it prints into the result
        for name, table in tables.items():
            connection.register(name, table)
        try:
            return connection.sql(query, params=parameters)
        except duckdb.Error as error:
            refuse_damaged(self._folder, error)
            raise


def refuse_damaged(folder: Path, error: Exception) -> None:
    """Tell which file made a query fail; do nothing if all of them can be read.

    Raises:
        InputError: a file is damaged.
    """
    broken = [path for path in sorted(folder.glob("day=*/*.parquet")) if not _is_readable(path)]
    if broken:
        raise InputError(
            f"{broken[0]} is damaged ({len(broken)} of the ledger's files are). "
            "Move it away and import its log again: rows that are there already are not doubled."
        ) from error


def _row_of_file(path: Path, row: int) -> Call | None:
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            if row < count:
                found = file.read_row_group(group).slice(row, 1)
                rows = pa.concat_tables([SCHEMA.empty_table(), found], promote_options="default").select(SCHEMA.names)
                return next(calls_of(rows.cast(SCHEMA).combine_chunks().to_batches()[0]))
            row -= count
    return None


def _is_readable(path: Path) -> bool:
    try:
        pq.read_metadata(path)
    except (pa.ArrowInvalid, OSError):
        return False
    return True
