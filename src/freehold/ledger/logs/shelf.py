"""What waits for its other half during an import, on the disk."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TABLE = "create table waiting (space text, key text, value blob, primary key (space, key)) without rowid"

_MOST_FRESH = 4_096
"""So many things, and things of at most so many bytes, are in memory before they are written together."""


class DiskShelf:
    """Obeys `format.Shelf`. It is gone when it is closed, or when the process dies."""

    def __init__(self, folder: Path) -> None:
        """`folder` is where the workspace is: what waits may be customers' text."""
        path = folder / "shelf.db"
        self._connection = sqlite3.connect(path, isolation_level=None)
        for statement in ("pragma journal_mode = off", "pragma synchronous = off", _TABLE):
            self._connection.execute(statement)
        path.unlink()
        self._fresh: dict[tuple[str, str], bytes] = {}
        self._spaces: set[str] = set()

    def put(self, space: str, key: str, value: bytes) -> None:
        """Lay something down; under a key that is taken it replaces what lay there."""
        self._fresh[space, key] = value
        if len(self._fresh) >= _MOST_FRESH or len(value) > _MOST_FRESH:
            self._write()

    def take(self, space: str, key: str) -> bytes | None:
        """Take it away again; None if nothing lies there."""
        found = self.look(space, key)
        if found is not None:
            self._fresh.pop((space, key), None)
            self._connection.execute("delete from waiting where space = ? and key = ?", (space, key))
        return found

    def look(self, space: str, key: str) -> bytes | None:
        """What lies there, which stays."""
        fresh = self._fresh.get((space, key))
        if fresh is not None or space not in self._spaces:
            return fresh
        query = "select value from waiting where space = ? and key = ?"
        row = self._connection.execute(query, (space, key)).fetchone()
        return None if row is None else bytes(row[0])

    def left(self, space: str) -> Iterator[tuple[str, bytes]]:
        """All that nobody took, by key."""
        self._write()
        query = "select key, value from waiting where space = ? order by key"
        for key, value in self._connection.execute(query, (space,)):
            yield key, bytes(value)

    def _write(self) -> None:
        """Lay on the disk what was laid down last."""
        self._spaces |= {space for space, _ in self._fresh}
        rows = [(space, key, value) for (space, key), value in self._fresh.items()]
        self._connection.execute("begin")
        self._connection.executemany("insert or replace into waiting values (?, ?, ?)", rows)
        self._connection.execute("commit")
        self._fresh = {}

    def close(self) -> None:
        """Throw everything away."""
        self._connection.close()
