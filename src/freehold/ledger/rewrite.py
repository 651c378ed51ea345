"""Changes rows that are in the ledger already: takes some out, or gives columns other values.

File by file, each one whole or not at all (`publish.py`); index and daily sums follow in the same change. A rewrite
that dies midway has changed some files and not the others. Done again it goes on with those, so a change must be one
that does nothing the second time.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from freehold.core.progress import Silent
from freehold.ledger.columns import SCHEMA
from freehold.ledger.publish import READERS, changing, locked, stage, swap
from freehold.ledger.rollup import add_sums, replace_retired_sums, sums_of
from freehold.ledger.stored import adopt_unknown_files, parquet_files, read_rows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection
    from pathlib import Path

    from freehold.core.progress import Progress
    from freehold.ledger.index import Index

    Change = Callable[[pa.Table], pa.Table]
    """Rows of one file, with all columns, to the rows that take their place: the same ids or fewer."""
    Concerns = Callable[[pa.Table], bool]


@dataclass(slots=True)
class Rewritten:
    """What a rewrite did."""

    rows_changed: int = 0
    """Rows that are still there, in files that were replaced, and differ from what they were."""
    rows_removed: int = 0
    files: int = 0
    """That were replaced."""


def rewrite(
    calls: Path,
    change: Change,
    *,
    days: Collection[str] | None = None,
    concerns: Concerns | None = None,
    columns: Collection[str] = ("id", "task"),
    keeps_sums: bool = True,
    change_retired: Change | None = None,
    progress: Progress | None = None,
) -> Rewritten:
    """Let every file of the ledger be changed by a function of its rows. Waits until nobody reads.

    Args:
        calls: Folder of the Parquet files.
        change: Gives the rows that take the place of a file's rows. It may drop rows and change every column but `id`
            and `started_at`; what it gives back unchanged is not written.
        days: Only these, `YYYY-MM-DD` or undated; None: all.
        concerns: Tells from a few columns whether a file has to be looked at whole; None: every file is.
        columns: What `concerns` is shown.
        keeps_sums: The daily sums go on counting rows that are dropped, apart from the others, so that what was spent
            stays known; False: their counts go too.
        change_retired: Changes the sums of rows that were dropped earlier, columns as in `rollup.SUMS`. For a task
            that gets another name.
        progress: Told of files.

    Raises:
        InputError: a file of the ledger is damaged.
        ValueError: the change gave rows that it was not given.
    """
    done, progress = Rewritten(), progress or Silent()
    if not calls.is_dir():
        return done
    with changing(calls) as index:
        adopt_unknown_files(calls, index)
        files = [file for file in parquet_files(calls) if days is None or file[0] in days]
        progress.start("rewrite", len(files))
        with ExitStack() as stack:
            for file in files:
                progress.update(1)
                if concerns is not None and not concerns(read_rows(calls, *file, columns)):
                    continue
                before = read_rows(calls, *file)
                after = _checked(before, change(before))
                if after.equals(before):
                    continue
                if not done.files:
                    stack.enter_context(locked(calls, READERS))
                _replace(calls, index, file, before, after, keeps_sums=keeps_sums)
                done.files += 1
                done.rows_removed += len(before) - len(after)
                done.rows_changed += _changed(before, after)
        if change_retired is not None:
            with index.transaction() as connection:
                replace_retired_sums(connection, change_retired, days)
        progress.finish()
    return done


def _checked(before: pa.Table, after: pa.Table) -> pa.Table:
    """What a change gave, as a table of the ledger; a row of another call, day or time would be lost for the index."""
    after = after.select(SCHEMA.names).cast(SCHEMA)
    moments = dict(zip(before.column("id").to_pylist(), before.column("started_at").to_pylist(), strict=True))
    ids = after.column("id").to_pylist()
    if len(set(ids)) != len(ids):
        raise ValueError("a change of the ledger gave a row twice")
    for call_id, moment in zip(ids, after.column("started_at").to_pylist(), strict=True):
        if call_id not in moments or moments[call_id] != moment:
            raise ValueError("a change of the ledger gave a row that it was not given, or moved one in time")
    return after


def _changed(before: pa.Table, after: pa.Table) -> int:
    """Rows that are there in both and are not the same."""
    if len(before) != len(after):
        before = before.filter(pc.is_in(before.column("id"), after.column("id").combine_chunks()))
    before, after = before.sort_by("id"), after.sort_by("id")
    differs = pa.array([False]).take(pa.array([0] * len(after), pa.int64()))
    for name in SCHEMA.names:
        old, new = before.column(name).combine_chunks(), after.column(name).combine_chunks()
        same = pc.or_(pc.fill_null(pc.equal(old, new), False), pc.and_(pc.is_null(old), pc.is_null(new)))
        differs = pc.or_(differs, pc.invert(same))
    return pc.sum(differs).as_py() or 0


def _replace(
    calls: Path, index: Index, file: tuple[str, str], before: pa.Table, after: pa.Table, *, keeps_sums: bool
) -> None:
    """Put a file with the new rows in the place of one, and mend the sums."""
    day = file[0]
    staged = [stage(calls, day, after)] if len(after) else []
    is_gone = pc.invert(pc.is_in(before.column("id"), after.column("id").combine_chunks()))
    gone = before.filter(is_gone)
    with duckdb.connect(config={"threads": 1}) as summing:
        old, new = sums_of(summing, before, day), sums_of(summing, after, day)
        retired = sums_of(summing, gone, day) if len(gone) and keeps_sums else None

    def note(connection: sqlite3.Connection) -> None:
        add_sums(connection, old, sign=-1)
        add_sums(connection, new)
        if retired is not None:
            add_sums(connection, retired, is_retired=True)

    swap(calls, index, staged, removed=[file], also=note)
