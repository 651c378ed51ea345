"""Adds many rows to the ledger as one change: all of them or, whenever the process dies, none.

Rows are written as they come, where nobody sees them, and appear together when all of them are there. So an import that
is killed, or finds its file cut off in the middle, leaves nothing behind. Memory does not grow with the number of rows.
"""

from __future__ import annotations

import secrets
import shutil
from collections import defaultdict
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from freehold.core.errors import InputError
from freehold.ledger.columns import SCHEMA
from freehold.ledger.counts import Counts
from freehold.ledger.identifiers import fingerprints_of
from freehold.ledger.index import UNDATED
from freehold.ledger.publish import STAGED, StagedFile, changing, locked, stage, swap
from freehold.ledger.purged import Purged
from freehold.ledger.rollup import add_sums, sums_of
from freehold.ledger.stored import adopt_unknown_files
from freehold.ledger.stored_marks import StoredMarks

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_IMPORTS = "_imports"
_LOCK = "_importing"
_MOST_BUFFERED_BYTES = 96 << 20
_MOST_INDEXED = 100_000
"""The calls of a larger import are found in their files: the index would grow by fifty bytes for each of them."""
_DAY_US = 86_400_000_000
_EPOCH = date(1970, 1, 1).toordinal()


@contextmanager
def importing(folder: Path) -> Iterator[Path]:
    """Be the one who imports; gives a folder for what is unfinished, which is empty and goes at the end.

    Raises:
        InputError: another process imports into this ledger.
    """
    with locked(folder, _LOCK, wait=False) as is_mine:
        if not is_mine:
            raise InputError(f"{folder}: another import is under way. Start this one again when it is done.")
        shutil.rmtree(folder / _IMPORTS, ignore_errors=True)
        place = folder / _IMPORTS / secrets.token_hex(4)
        place.mkdir(parents=True)
        try:
            yield place
        finally:
            shutil.rmtree(folder / _IMPORTS, ignore_errors=True)


class Bulk:
    """Rows on their way into the ledger. Made anew for each change; for the holder of `importing`."""

    def __init__(self, folder: Path, place: Path, *, is_dry: bool = False, stored: StoredMarks | None = None) -> None:
        """Nothing waits yet.

        Args:
            folder: Of the ledger.
            place: What `importing` gave.
            is_dry: Nothing is written.
            stored: What is known of the ledger since an earlier bulk of the same import.
        """
        self._folder = folder
        self.place = place / secrets.token_hex(4)
        """Folder for what else is unfinished; it goes with the bulk."""
        self.place.mkdir()
        self._is_dry = is_dry
        self._stored = stored or StoredMarks(folder, self.place)
        self._seen = self._stored.seen_dry if is_dry else Counts(self.place)
        self._waiting: dict[str, list[pa.Table]] = defaultdict(list)
        self._waiting_bytes: dict[str, int] = defaultdict(int)
        self._staged: list[StagedFile] = []
        self._sums: list[pa.Table] = []
        self._summing: duckdb.DuckDBPyConnection | None = None
        self._rows = 0
        self._purged = Purged(folder)
        self.purged = 0
        """Rows that were purged once and are left out."""

    def add(self, rows: pa.Table) -> int:
        """Take rows with the ledger's columns; gives how many of them neither the ledger nor the bulk has."""
        if not len(rows):
            return 0
        marks = fingerprints_of(rows.column("id"))
        moments = rows.column("started_at")
        days_us = pc.fill_null(moments.cast(pa.int64()), -1).to_numpy()
        days = np.where(days_us < 0, -1, days_us // _DAY_US)
        is_new = np.ones(len(rows), dtype=np.bool_)
        for number in np.unique(days):
            of_day = days == number
            is_new[of_day] = ~_isin(marks[of_day], self._stored.of(_day_name(int(number))))
        is_new &= self._seen.add(marks) == 0
        is_new &= ~self._were_purged(rows, is_new)
        for number in np.unique(days[is_new]) if not self._is_dry else ():
            self._wait(_day_name(int(number)), rows.filter(pa.array((days == number) & is_new)))
        self._flush(_MOST_BUFFERED_BYTES)
        new = int(is_new.sum())
        self._rows += new
        return new

    def commit(self) -> None:
        """Let all rows appear."""
        self._flush(0)
        if not self._staged:
            return
        is_indexed = self._rows <= _MOST_INDEXED
        with changing(self._folder) as index:
            adopt_unknown_files(self._folder, index)
            (self._folder / STAGED).mkdir(exist_ok=True)
            for file in self._staged:
                (self.place / file.staged).replace(self._folder / STAGED / file.staged)
                if not is_indexed:
                    file.ids.clear()

            def note(connection: sqlite3.Connection) -> None:
                for day in sorted({file.day for file in self._staged}):
                    of_day = [one for one in self._sums if one.column("day")[0].as_py() == day]
                    add_sums(connection, pa.concat_tables(of_day))

            swap(self._folder, index, self._staged, removed=[], also=note)

    def close(self) -> None:
        """Forget what has not been committed."""
        if self._summing is not None:
            self._summing.close()
            self._summing = None
        shutil.rmtree(self.place, ignore_errors=True)

    def _were_purged(self, rows: pa.Table, is_new: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which of the new rows were let go on purpose."""
        were = np.zeros(len(rows), dtype=np.bool_)
        if not self._purged.are_some or not is_new.any():
            return were
        ids = [bytes.fromhex(text.replace("-", "")) for text in rows.column("id").to_pylist()]
        gone = self._purged.among({one for one, new in zip(ids, is_new, strict=True) if new})
        were[:] = [one in gone for one in ids]
        self.purged += int((were & is_new).sum())
        return were

    def _wait(self, day: str, rows: pa.Table) -> None:
        self._waiting[day].append(rows)
        self._waiting_bytes[day] += rows.nbytes

    def _flush(self, most_bytes: int) -> None:
        """Write the fullest days until what waits is half of what may."""
        if sum(self._waiting_bytes.values()) < max(1, most_bytes):
            return
        for day in sorted(self._waiting, key=lambda day: -self._waiting_bytes[day]):
            if sum(self._waiting_bytes.values()) <= most_bytes // 2:
                break
            rows = pa.concat_tables(self._waiting.pop(day))
            del self._waiting_bytes[day]
            self._staged.append(
                stage(self._folder, day, rows, place=self.place, is_indexed=self._rows <= _MOST_INDEXED)
            )
            self._summing = self._summing or duckdb.connect(config={"threads": 1})
            self._sums.append(sums_of(self._summing, rows, day))


def _isin(marks: NDArray[np.uint64], known: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether each is among the known ones, which are sorted."""
    if not len(known) or not len(marks):
        return np.zeros(len(marks), dtype=np.bool_)
    places = np.minimum(np.searchsorted(known, marks), len(known) - 1)
    found: NDArray[np.bool_] = known[places] == marks
    return found


def _day_name(number: int) -> str:
    return UNDATED if number < 0 else date.fromordinal(_EPOCH + number).isoformat()


def empty_columns(rows: int, **known: pa.Array) -> pa.Table:
    """Rows of the ledger of which only these columns are known."""
    columns = [known.get(column.name) for column in SCHEMA]
    filled = [pa.nulls(rows, field.type) if one is None else one for field, one in zip(SCHEMA, columns, strict=True)]
    return pa.table(filled, schema=SCHEMA)
