"""The ledger's index: which file and row a call is in, daily sums, and how far the segments have been read.

One SQLite file beside the Parquet files. All of it but the sums of removed rows can be made again from them
(`ledger repair`). A change of the ledger is one transaction here: see `publish.py`.
"""

from __future__ import annotations

import errno
import sqlite3
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING

from freehold.core.errors import InputError
from freehold.ledger.segment_files import make_private

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

INDEX_FILE = "_index.db"
HOT_FROM = "hot_from"
"""Ordinal of the first day whose calls the index holds; undated ones it always holds."""
IS_FIRST = "is_first"
"""1: no index was before this one, so that every segment of which it does not know has not been read."""
UNDATED = "undated"
_VERSION = 1
_BUSY_TIMEOUT_S = 60

_TABLES = """
create table files (
    id integer primary key, day text not null, name text not null, rows integer not null, bytes integer not null,
    checksum integer not null, is_indexed integer not null, unique (day, name)
);
create table calls (id blob primary key, file integer not null, row integer not null) without rowid;
create table rollup (
    day text not null, is_retired integer not null, sums blob not null, primary key (day, is_retired)
) without rowid;
create table writers (
    name text primary key, segment integer not null, position integer not null, sequence integer,
    is_finished integer not null
) without rowid;
create table open_calls (
    id blob not null, writer text not null, frames blob not null, primary key (id, writer)
) without rowid;
create table damages (
    place text not null, start integer not null, stop integer not null, lost integer not null, reason text not null,
    is_acknowledged integer not null default 0, primary key (place, start)
) without rowid;
create table changes (id text primary key, plan text not null) without rowid;
create table facts (name text primary key, value) without rowid;
"""


class Index:
    """An open index. Not for use by several threads."""

    def __init__(self, folder: Path) -> None:
        """Open the index in the folder of the Parquet files, or make an empty one.

        Raises:
            InputError: it is damaged, or of a newer version.
        """
        make_private(folder)
        self.path = folder / INDEX_FILE
        self.connection = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self.connection.close()
            raise InputError(f"{self.path}: {error}. Make it anew with: freehold ledger repair") from error
        except InputError:
            self.connection.close()
            raise

    def _prepare(self) -> None:
        run = self.connection.execute
        run("pragma journal_mode = wal")
        # A commit must be on the disk before the segments it was made from are removed.
        run("pragma synchronous = full")
        # Sums name tasks: what a purge has them forget is overwritten.
        run("pragma secure_delete = on")
        if run("pragma user_version").fetchone()[0] == 0:
            with self.transaction():
                if run("pragma user_version").fetchone()[0] == 0:
                    for statement in _TABLES.split(";"):
                        run(statement)
                    set_fact(self.connection, IS_FIRST, int(not any(self.path.parent.glob("day=*/*.parquet"))))
                    run(f"pragma user_version = {_VERSION}")
        version = run("pragma user_version").fetchone()[0]
        if version != _VERSION:
            raise InputError(
                f"{self.path} is of version {version}, this Freehold knows {_VERSION}: install a newer one."
            )

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing."""
        try:
            self.connection.execute("begin immediate")
            yield self.connection
            self.connection.execute("commit")
        except BaseException as error:
            if self.connection.in_transaction:
                self.connection.execute("rollback")
            if isinstance(error, sqlite3.OperationalError) and "full" in str(error):
                raise OSError(errno.ENOSPC, "No space left on device", str(self.path)) from error
            raise

    def close(self) -> None:
        """Give the file back."""
        self.connection.close()

    def known(self, ids: Iterable[bytes]) -> set[bytes]:
        """Which of these calls the index holds."""
        wanted = list(ids)
        found: set[bytes] = set()
        for start in range(0, len(wanted), 500):
            part = wanted[start : start + 500]
            marks = ",".join("?" * len(part))
            query = f"select id from calls where id in ({marks})"  # noqa: S608 (question marks)
            found.update(row[0] for row in self.connection.execute(query, part))
        return found

    def place_of(self, call_id: bytes) -> tuple[str, int] | None:
        """`day=…/name` of the file that holds a call, and its row in it; None if the index does not have it."""
        row = self.connection.execute(
            "select f.day, f.name, c.row from calls c join files f on f.id = c.file where c.id = ?", (call_id,)
        ).fetchone()
        return None if row is None else (f"day={row[0]}/{row[1]}", row[2])

    def is_hot(self, day: str) -> bool:
        """The index holds the calls of this day; those of older ones are found in their files."""
        return day == UNDATED or date.fromisoformat(day).toordinal() >= self.fact(HOT_FROM)

    def fact(self, name: str, default: int = 0) -> int:
        """A number that is kept by name."""
        row = self.connection.execute("select value from facts where name = ?", (name,)).fetchone()
        return default if row is None else int(row[0])


def set_fact(connection: sqlite3.Connection, name: str, value: int) -> None:
    """Keep a number by name."""
    connection.execute("insert or replace into facts values (?, ?)", (name, value))
