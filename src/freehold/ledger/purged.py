"""Remembers which calls were purged, so that no log, segment or dataset brings them back.

A file of its own beside the index: the index may be made anew from the Parquet files, this cannot. An id is noted
before its row goes, so that a purge that dies midway leaves nothing that could come back; done again, it goes on.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from freehold.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

PURGED_FILE = "_purged.db"
Part = Literal["row", "bodies"]
"""What of a call went. A row takes its bodies along."""
_TABLE = "create table if not exists purged (id blob primary key, has_row integer not null) without rowid"
_CHUNK = 500


class Purged:
    """The purged calls of one ledger. Costs a look at a file name where there are none."""

    def __init__(self, calls: Path) -> None:
        """`calls` is the folder of the ledger's Parquet files."""
        self._path = calls / PURGED_FILE

    @property
    def are_some(self) -> bool:
        """Anything was ever purged."""
        return self._path.exists()

    def among(self, ids: Collection[bytes], part: Part = "row") -> set[bytes]:
        """Which of these calls have been purged: their rows, or at least their bodies.

        Raises:
            InputError: the list is damaged.
        """
        if not ids or not self._path.exists():
            return set()
        wanted, found = list(ids), set[bytes]()
        with self._open() as connection:
            for start in range(0, len(wanted), _CHUNK):
                chunk = wanted[start : start + _CHUNK]
                marks = ",".join("?" * len(chunk))
                query = f"select id from purged where id in ({marks}) and has_row <= ?"  # noqa: S608 (question marks)
                found.update(row[0] for row in connection.execute(query, [*chunk, 0 if part == "row" else 1]))
        return found

    def note(self, ids: Iterable[bytes], part: Part) -> None:
        """Note calls on the disk; a row that was purged stays so."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        has_row = int(part == "bodies")
        with self._open() as connection, connection:
            connection.execute(_TABLE)
            connection.executemany(
                "insert into purged values (?, ?) on conflict (id) do update set has_row = min(has_row, ?)",
                ((one, has_row, has_row) for one in ids),
            )

    def counts(self) -> dict[Part, int]:
        """How many rows were purged, and of how many calls the bodies alone."""
        if not self._path.exists():
            return {"row": 0, "bodies": 0}
        with self._open() as connection:
            found = dict(connection.execute("select has_row, count(*) from purged group by has_row").fetchall())
        return {"row": found.get(0, 0), "bodies": found.get(1, 0)}

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path, timeout=60)
        try:
            connection.execute("pragma synchronous = full")
            yield connection
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and "full" in str(error):
                raise OSError(28, "No space left on device", str(self._path)) from error
            raise InputError(
                f"{self._path}: the list of purged calls cannot be read ({error}). Without it purged calls could come "
                "back with a log. Restore it from a backup; moved away, the ledger forgets what was purged."
            ) from error
        finally:
            connection.close()
