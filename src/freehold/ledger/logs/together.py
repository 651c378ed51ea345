"""Small files appear in the ledger together: a change costs the same whether it holds one row or ten thousand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from freehold.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from freehold.ledger.logs.change import Change
    from freehold.ledger.logs.imported import Tally
    from freehold.ledger.logs.take import Taking

MOST_ROWS = 10_000
MOST_BYTES = 16 << 20
"""Files with more of either are a change of their own, and so are as many small ones as reach it."""
_MOST_TABLES = 500
"""More than so many are made one: a table of one row takes as much memory as one of a hundred."""


class Together:
    """Files that were read whole and wait for their change, in the order in which they were read."""

    def __init__(
        self, change: Callable[[], Change], count: Callable[[Tally], None], refuse: Callable[[str, InputError], None]
    ) -> None:
        """None waits yet.

        Args:
            change: Makes a new one.
            count: Told what became of the rows of files that have appeared.
            refuse: Told of a file of which nothing was imported.
        """
        self._change = change
        self._count = count
        self._refuse = refuse
        self._waiting: list[tuple[Taking, int]] = []
        self._ready: list[pa.Table] = []
        self._rows = self._bytes = self._words = 0

    def join(self, file: Taking) -> None:
        """Let a file that was read whole appear: now, or with those that come after it.

        Words about calls that stand in no earlier file are rejected, whatever appears together: so no call follows
        after a word in the same change.
        """
        if file.ready and self._words:
            self.settle()
        self._waiting.append((file, sum(map(len, file.ready))))
        self._words += file.waiting.words
        self._rows += max(1, file.ready_rows)
        self._bytes += file.ready_bytes + file.waiting.size
        self._ready += file.ready
        file.ready = []
        if len(self._ready) >= _MOST_TABLES:
            self._ready = [pa.concat_tables(self._ready).combine_chunks()]
        if self._rows >= MOST_ROWS or self._bytes >= MOST_BYTES:
            self.settle()

    def settle(self) -> None:
        """Let all files that wait appear."""
        waiting, self._waiting = self._waiting, []
        ready, self._ready = self._ready, []
        self._rows = self._bytes = self._words = 0
        files = [file for file, _ in waiting]
        rows = pa.concat_tables(ready).combine_chunks() if ready else None
        try:
            self._commit(files, rows)
        except InputError as error:
            if len(files) == 1:
                self._refuse(files[0].entry.file, error)
            else:
                self._one_by_one(waiting, rows)
        finally:
            for file in files:
                file.close()

    def _one_by_one(self, waiting: Sequence[tuple[Taking, int]], rows: pa.Table | None) -> None:
        """Find those whose fault it is that their change could not be made."""
        first = 0
        for file, count in waiting:
            try:
                self._commit([file], rows.slice(first, count) if rows is not None and count else None)
            except InputError as error:
                self._refuse(file.entry.file, error)
            first += count

    def _commit(self, files: Sequence[Taking], rows: pa.Table | None) -> None:
        if not files:
            return
        change = self._change()
        try:
            if rows is not None:
                change.add(rows)
            change.commit(file.waiting for file in files)
        finally:
            change.close()
        for file in files:
            self._count(file.tally)
        self._count(change.tally)
