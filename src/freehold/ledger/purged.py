"""Remembers which calls were purged, so that no log, segment or dataset brings them back.

A file of its own beside the index: the index may be made anew from the Parquet files, this cannot. An id is noted
before its row goes, so that a purge that dies midway leaves nothing that could come back; done again, it goes on.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from freehold.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

PURGED_FILE = "_purged.db"
Part = Literal["row", "bodies"]
"""What of a call went. A row takes its bodies along."""
Reason = Literal["row", "bodies", "aged"]
"""Why a call is noted; aged: its row went as its time was over, and datasets keep what was made from it."""
_CODES: dict[Reason, int] = {"aged": -1, "row": 0, "bodies": 1}
_REACH: dict[Part, tuple[int, int]] = {"row": (-1, 0), "bodies": (0, 1)}
_TABLE = "create table if not exists purged (id blob primary key, why integer not null) without rowid"
_NAMES = "create table if not exists named (hash blob primary key) without rowid"
"""Hashes of what clients and logs called the purged rows: a correction may come later and call one so."""
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_CHUNK = 500


def _hash_of(name: str) -> bytes:
    return sha256(name.encode("utf-8", "replace")).digest()[:16]


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
        """Which of these calls must not come back as rows; or which have been purged, if only their bodies.

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
                query = f"select id from purged where id in ({marks}) and why between ? and ?"  # noqa: S608 (question marks)
                found.update(row[0] for row in connection.execute(query, [*chunk, *_REACH[part]]))
        return found

    def named(self, references: Collection[str]) -> set[str]:
        """Which of these ids, the ledger's or those that a client or log gave, are of rows that must not come back.

        Raises:
            InputError: the list is damaged.
        """
        if not references or not self._path.exists():
            return set()
        by_id = {UUID(one).bytes: one for one in references if _UUID.fullmatch(one)}
        found = {by_id[one] for one in self.among(by_id)}
        by_hash = {_hash_of(one): one for one in references}
        with self._open() as connection:
            connection.execute(_NAMES)
            query = "select 1 from named where hash = ?"
            found.update(one for key, one in by_hash.items() if connection.execute(query, [key]).fetchone())
        return found

    def note(self, ids: Iterable[bytes], reason: Reason, names: Iterable[str | None] = ()) -> None:
        """Note calls on the disk; a row that was purged stays so. `names` are what clients or logs called them."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as connection, connection:
            connection.execute(_TABLE)
            connection.executemany(
                "insert into purged values (?, ?) on conflict (id) do update set "
                "why = case when excluded.why = 0 or why + excluded.why = 0 then 0 else why end",
                ((one, _CODES[reason]) for one in ids),
            )
            connection.execute(_NAMES)
            hashes = ((_hash_of(one),) for one in names if one is not None)
            connection.executemany("insert or ignore into named values (?)", hashes)

    def counts(self) -> dict[Reason, int]:
        """How many calls are noted, and why."""
        found: dict[int, int] = {}
        if self._path.exists():
            with self._open() as connection:
                found = dict(connection.execute("select why, count(*) from purged group by why").fetchall())
        return {reason: found.get(code, 0) for reason, code in _CODES.items()}

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
