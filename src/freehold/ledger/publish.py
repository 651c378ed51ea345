"""How the ledger changes: all of a change or nothing of it, whenever the process dies.

1. The new Parquet files are written to `_staged/` and synced. Dead there, they are litter.
2. One transaction of the index notes the change, with all that follows from it: rows, sums, how far segments were read.
   From here on the change has happened.
3. The files are moved to their days, files that they replace are removed, and the note is deleted. Whoever comes next
   after a death does this step again: it may be done any number of times.

One process changes the ledger at a time (`_lock`). Readers hold `_readers` together; files are removed only while
nobody reads. Other tools that read the folder on their own may see a replaced file and its successor for a moment.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from zlib import crc32

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from freehold.ledger.columns import SCHEMA
from freehold.ledger.index import INDEX_FILE, Index
from freehold.ledger.rollup import add_sums, sums_of
from freehold.ledger.segment_files import make_private

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

STAGED = "_staged"
CHANGERS, READERS = "_lock", "_readers"
"""Names of the locks."""
_ROW_GROUP = 20_000


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A new file that nobody sees yet."""

    staged: str
    day: str
    name: str
    size: int
    """Bytes."""
    checksum: int
    """CRC-32 of the file: pages have checks of their own, the rest of a Parquet file has none."""
    rows: int
    ids: list[bytes] = field(repr=False)
    """Of its rows, in order; empty if the index is not to hold them."""


@contextmanager
def locked(folder: Path, name: str, *, shared: bool = False, wait: bool = True) -> Iterator[bool]:
    """Hold one of the folder's locks; gives False if it was not to be waited for and is taken."""
    make_private(folder)
    descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)


@contextmanager
def changing(folder: Path) -> Iterator[Index]:
    """Be the one who changes the ledger. What an earlier process left half done is finished or cleared first."""
    with locked(folder, CHANGERS):
        index = Index(folder)
        try:
            settle(folder, index)
            for litter in (folder / STAGED).glob("*"):
                litter.unlink()
            yield index
        finally:
            index.close()


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Read a ledger that nobody takes files from meanwhile."""
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        yield  # of a ledger that cannot be changed nobody takes anything
        return
    settle_if_needed(folder)
    with locked(folder, READERS, shared=True):
        yield


def stage(folder: Path, day: str, rows: pa.Table, *, place: Path | None = None, is_indexed: bool = True) -> StagedFile:
    """Write a file of one day's rows, by time, where nobody sees it yet.

    Args:
        folder: Of the ledger.
        day: Of the rows.
        rows: With the ledger's columns.
        place: Another folder than the one that is cleared after a death.
        is_indexed: Whether the index may hold the rows.
    """
    rows = rows.sort_by([("started_at", "ascending"), ("id", "ascending")])
    staged = place or folder / STAGED
    staged.mkdir(parents=True, exist_ok=True)
    name = f"{secrets.token_hex(8)}.parquet"
    path = staged / name
    try:
        pq.write_table(rows, path, compression="zstd", row_group_size=_ROW_GROUP, write_page_checksum=True)
        _sync(path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    ids = [bytes.fromhex(text.replace("-", "")) for text in rows.column("id").to_pylist()] if is_indexed else []
    return StagedFile(name, day, name, path.stat().st_size, checksum_of(path), len(rows), ids)


def checksum_of(path: Path) -> int:
    """CRC-32 of a whole file."""
    checksum = 0
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            checksum = crc32(piece, checksum)
    return checksum


def publish(
    folder: Path,
    index: Index,
    by_day: Mapping[str, pa.Table],
    *,
    also: Callable[[sqlite3.Connection], None] = lambda _connection: None,
) -> None:
    """Add rows to the ledger, whose ids it does not hold; `also` is done in the same transaction."""
    staged = [stage(folder, day, rows.select(SCHEMA.names)) for day, rows in sorted(by_day.items()) if len(rows)]
    sums = []
    if staged:
        with duckdb.connect(config={"threads": 1}) as summing:
            sums = [sums_of(summing, rows, day) for day, rows in by_day.items() if len(rows)]

    def note(connection: sqlite3.Connection) -> None:
        for one in sums:
            add_sums(connection, one)
        also(connection)

    swap(folder, index, staged, removed=[], also=note)


def swap(
    folder: Path,
    index: Index,
    staged: list[StagedFile],
    *,
    removed: list[tuple[str, str]],
    also: Callable[[sqlite3.Connection], None] = lambda _connection: None,
) -> None:
    """Let staged files take their place, and files that they replace (day, name) go.

    While files are removed the caller holds `_readers` alone.
    """
    plan = {"moved": [[one.staged, one.day, one.name] for one in staged], "removed": removed}
    change = secrets.token_hex(8)
    with index.transaction() as connection:
        connection.execute("insert into changes values (?, ?)", (change, json.dumps(plan)))
        for one in staged:
            remember_file(connection, one, is_indexed=len(one.ids) == one.rows and index.is_hot(one.day))
        forget_files(connection, removed)
        also(connection)
    settle(folder, index)


def remember_file(connection: sqlite3.Connection, file: StagedFile, *, is_indexed: bool) -> None:
    """Note a file and, unless it is of a day that has cooled down, where its rows are."""
    number = connection.execute(
        "insert into files (day, name, rows, bytes, checksum, is_indexed) values (?, ?, ?, ?, ?, ?)",
        (file.day, file.name, file.rows, file.size, file.checksum, is_indexed),
    ).lastrowid
    if is_indexed:
        connection.executemany(
            "insert or replace into calls values (?, ?, ?)",
            ((call_id, number, row) for row, call_id in enumerate(file.ids)),
        )


def forget_files(connection: sqlite3.Connection, files: Collection[tuple[str, str]]) -> None:
    """Take files out of the index, and those of their rows that stand nowhere else."""
    if not files:
        return
    find = "select id from files where day = ? and name = ?"
    numbers = [row[0] for file in files for row in connection.execute(find, file)]
    marks = ",".join(map(str, numbers))
    connection.execute(f"delete from calls where file in ({marks})")  # noqa: S608 (numbers)
    connection.execute(f"delete from files where id in ({marks})")  # noqa: S608 (numbers)


def settle_if_needed(folder: Path) -> None:
    """Finish what a process that died had noted; while another one is at it, wait only if files are to go."""
    if not (folder / INDEX_FILE).exists():
        return
    index = Index(folder)
    try:
        plans = [row[0] for row in index.connection.execute("select plan from changes")]
    finally:
        index.close()
    if not plans:
        return
    removes = any(json.loads(plan)["removed"] for plan in plans)
    with locked(folder, CHANGERS, wait=removes) as is_mine:
        if is_mine:
            index = Index(folder)
            try:
                settle(folder, index)
            finally:
                index.close()


def settle(folder: Path, index: Index) -> None:
    """Do the last step of every change that was noted. For the holder of `_lock`."""
    for change, text in index.connection.execute("select id, plan from changes").fetchall():
        plan = json.loads(text)
        for staged, day, name in plan["moved"]:
            place = folder / f"day={day}"
            place.mkdir(exist_ok=True)
            source = folder / STAGED / staged
            if source.exists():
                source.replace(place / name)
                _sync(place)
        for day, name in plan["removed"]:
            place = folder / f"day={day}"
            (place / name).unlink(missing_ok=True)
            if place.is_dir() and not any(place.iterdir()):
                place.rmdir()
        _sync(folder)
        index.connection.execute("delete from changes where id = ?", (change,))


def _sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
