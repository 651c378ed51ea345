"""Makes the ledger sound again: what can be read is kept, what cannot is counted and put aside."""

from __future__ import annotations

import secrets
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from freehold.core.errors import InputError
from freehold.ledger.columns import SCHEMA
from freehold.ledger.index import INDEX_FILE, Index
from freehold.ledger.ingest import CALLS, Ingested, ingest
from freehold.ledger.publish import CHANGERS, READERS, changing, locked, stage, swap
from freehold.ledger.segment_files import make_private
from freehold.ledger.stored import adopt_unknown_files, parquet_files, read_rows
from freehold.ledger.verify import read_if_sound, verify

if TYPE_CHECKING:
    from pathlib import Path

    from freehold.ledger.policy import Policy
    from freehold.ledger.verify_segments import Finding

_ASIDE = "_damaged"


@dataclass(slots=True)
class Repaired:
    """What was done."""

    found: list[Finding] = field(default_factory=list)
    """What was damaged before."""
    ingested: Ingested = field(default_factory=Ingested)
    files_put_aside: list[str] = field(default_factory=list)
    rows_saved: int = 0
    """Of files that were damaged."""
    rows_lost: int | None = 0
    """None: nobody knows how many the damaged files held."""


def repair(events: Path, *, policy: Policy) -> Repaired:
    """Put damaged files aside, save their readable rows, make index and sums anew, and ingest what segments hold.

    Whatever was found missing is taken note of: `verify` is content afterwards, and `stats` goes on counting it.
    """
    result = Repaired(found=verify(events).damaged)
    calls = events / CALLS
    make_private(calls)
    _put_broken_index_aside(calls, result)
    with changing(calls) as index, locked(calls, READERS):
        for day, name in parquet_files(calls):
            if isinstance(read_if_sound(calls, index, day, name), str):
                _save_rows(calls, index, day, name, result)
        with index.transaction() as connection:
            for table in ("files", "calls"):
                connection.execute(f"delete from {table}")  # noqa: S608 (names of our own)
            connection.execute("delete from rollup where is_retired = 0")
        _drop_doubles(calls, index)
        adopt_unknown_files(calls, index)
    result.ingested = ingest(events, policy=policy)
    with changing(calls) as index, index.transaction() as connection:
        connection.execute("update damages set is_acknowledged = 1")
    return result


def _put_broken_index_aside(calls: Path, result: Repaired) -> None:
    """An index that SQLite cannot read is replaced by an empty one; segments are then read again from their start."""
    try:
        index = Index(calls)
    except InputError as error:
        if not isinstance(error.__cause__, sqlite3.DatabaseError):
            raise  # it is of a newer version, and sound
        is_broken = True
    else:
        try:
            is_broken = index.connection.execute("pragma quick_check").fetchone()[0] != "ok"
        except sqlite3.DatabaseError:
            is_broken = True
        finally:
            index.close()
    if is_broken:
        with locked(calls, CHANGERS):
            for suffix in ("", "-wal", "-shm"):
                path = calls / f"{INDEX_FILE}{suffix}"
                if path.exists():
                    path.rename(_aside(calls, path.name))
        result.files_put_aside.append(f"{CALLS}/{INDEX_FILE}")


def _save_rows(calls: Path, index: Index, day: str, name: str, result: Repaired) -> None:
    """Put a damaged file aside, and in its place one with the rows of its readable parts."""
    path = calls / f"day={day}" / name
    parts: list[pa.Table] = []
    rows: int | None = None
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            rows = file.metadata.num_rows
            for group in range(file.num_row_groups):
                try:
                    parts.append(file.read_row_group(group).select(SCHEMA.names))
                except (pa.ArrowException, OSError, KeyError):
                    continue
    except (pa.ArrowException, OSError):
        parts = []
    if rows is None:
        known = index.connection.execute("select rows from files where day = ? and name = ?", (day, name)).fetchone()
        rows = None if known is None else known[0]
    saved = sum(map(len, parts))
    lost = None if rows is None else rows - saved
    staged = [stage(calls, day, pa.concat_tables(parts).cast(SCHEMA))] if saved else []
    # A second name of the same file: the first one goes when the change is true.
    _aside(calls, f"{day}-{name}").hardlink_to(path)

    def note(connection: sqlite3.Connection) -> None:
        connection.execute(
            "insert or ignore into damages (place, start, stop, lost, reason) values (?, 0, 0, ?, ?)",
            (f"day={day}/{name}", lost or 0, "the Parquet file could not be read"),
        )

    swap(calls, index, staged, removed=[(day, name)], also=note)
    result.files_put_aside.append(f"{CALLS}/day={day}/{name}")
    result.rows_saved += saved
    result.rows_lost = None if result.rows_lost is None or lost is None else result.rows_lost + lost


def _drop_doubles(calls: Path, index: Index) -> None:
    """Leave each call once, should files have been copied into the ledger by hand."""
    seen: dict[str, set[str]] = {}
    for day, name in parquet_files(calls):
        of_day = seen.setdefault(day, set())
        if len(seen) > 1:
            seen = {day: of_day}
        rows = read_rows(calls, day, name)
        ids = rows.column("id").to_pylist()
        first: list[bool] = []
        for call_id in ids:
            first.append(call_id not in of_day)
            of_day.add(call_id)
        if not all(first):
            rest = rows.filter(pa.array(first))
            staged = [stage(calls, day, rest)] if len(rest) else []
            swap(calls, index, staged, removed=[(day, name)])
            with index.transaction() as connection:
                connection.execute("delete from files")
                connection.execute("delete from calls")


def _aside(calls: Path, name: str) -> Path:
    folder = calls / _ASIDE
    folder.mkdir(exist_ok=True)
    return folder / f"{name}.{secrets.token_hex(4)}"
