"""Brings what segments hold into the Parquet files: each call exactly once, whenever this process dies.

A batch of rows, and how far the segments have been read for it, become true in one change (`publish.py`). A segment is
removed once all its calls are in files that have reached the disk, so that raw bodies do not outlive their masking.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from freehold.core.progress import Silent
from freehold.ledger.columns import SCHEMA
from freehold.ledger.index import IS_FIRST, UNDATED
from freehold.ledger.policy import KEEP_ALL
from freehold.ledger.publish import changing, publish
from freehold.ledger.purged import Purged
from freehold.ledger.rows import NEVER_CLOSED, row_of
from freehold.ledger.scan import Place, Position, Scan
from freehold.ledger.segment_files import writer_folders
from freehold.ledger.stored import adopt_unknown_files, ids_already_stored

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from freehold.core.progress import Progress
    from freehold.ledger.index import Index
    from freehold.ledger.policy import Policy
    from freehold.ledger.rows import Row

SEGMENTS, CALLS = "segments", "calls"
_BATCH_ROWS = 4_000
_BATCH_BYTES = 16 << 20
"""Of text; making Parquet of it takes several times as much memory."""
_PLACES = msgspec.msgpack.Decoder(list[Place])


@dataclass(slots=True)
class Ingested:
    """What one pass over the segments did."""

    calls: int = 0
    """New rows."""
    duplicates: int = 0
    """Calls whose rows were there already."""
    purged: int = 0
    """Calls that were purged, and were not taken in again."""
    never_closed: int = 0
    """New rows of calls whose worker died."""
    open_calls: int = 0
    """Calls that are under way at this moment."""
    lost_records: int = 0
    """Newly found to be missing."""
    segments_removed: int = 0


@dataclass(slots=True)
class _Batch:
    """Rows that are not in the ledger yet, and the workers they are from."""

    rows: dict[bytes, Row] = field(default_factory=dict)
    size: int = 0
    scans: dict[str, Scan] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        return len(self.rows) >= _BATCH_ROWS or self.size >= _BATCH_BYTES


def ingest(events: Path, *, policy: Policy = KEEP_ALL, progress: Progress | None = None) -> Ingested:
    """Bring all that can be read now into the ledger. Beside running writers, or after their death; again, or anew.

    Two processes that ingest at once take turns. Calls that are under way wait for a later pass; those of a worker
    that died get a row without an end (`error_type` never_closed).

    Args:
        events: Holds `segments` and `calls`.
        policy: What is kept of the bodies.
        progress: Told of rows.

    Raises:
        InputError: the index is damaged.
        OSError: the disk is full; what was committed until then stays, and the next pass goes on from there.
    """
    result, progress = Ingested(), progress or Silent()
    segments, calls = events / SEGMENTS, events / CALLS
    if not segments.is_dir() and not calls.is_dir():
        return result
    with changing(calls) as index:
        adopt_unknown_files(calls, index)
        _forget_absent_writers(segments, index)
        progress.start("ingest", None)
        batch = _Batch()
        for folder in writer_folders(segments):
            scan = _resume(Scan(folder), index)
            if scan.is_finished:
                continue  # committed, and its folder is about to be removed
            batch.scans[folder.name] = scan
            for attempt in scan.read():
                row = batch.rows.setdefault(attempt.call_id, row_of(attempt, policy))
                batch.size += len(row["request"] or "") + len(row["response"] or "")
                if batch.is_full:
                    _commit(calls, index, batch, result)
                    progress.update(len(batch.rows))
                    batch = _Batch(scans={folder.name: scan})
            result.open_calls += len(scan.open_calls)
        _commit(calls, index, batch, result)
        progress.update(len(batch.rows))
        progress.finish()
        result.segments_removed = _remove_what_was_read(segments, index)
    return result


def table_of_rows(rows: list[Row]) -> pa.Table:
    """Rows with bodies as JSON text, as a table of the ledger."""
    columns: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in SCHEMA.names}
    return pa.table(columns, schema=SCHEMA)


def _resume(scan: Scan, index: Index) -> Scan:
    """Set a scan to where the last pass committed it."""
    run = index.connection.execute
    name = scan.folder.name
    found = run("select segment, position, sequence, is_finished from writers where name = ?", (name,)).fetchone()
    if found is None:
        scan.position = Position(sequence=1 if index.fact(IS_FIRST) else None)
    else:
        scan.position = Position(*found[:3])
        scan.is_finished = bool(found[3])
        for call_id, frames in run("select id, frames from open_calls where writer = ?", (name,)):
            scan.open_calls[call_id] = _PLACES.decode(frames)
    scan.committed = scan.position
    return scan


def _commit(calls: Path, index: Index, batch: _Batch, result: Ingested) -> None:
    """Make a batch true: its rows, and how far its workers' segments have been read."""
    known = ids_already_stored(calls, index, [(row_id, row["started_at"]) for row_id, row in batch.rows.items()])
    gone = Purged(calls).among(batch.rows.keys() - known)
    by_day: dict[str, list[Row]] = defaultdict(list)
    for call_id, row in batch.rows.items():
        if call_id not in known and call_id not in gone:
            day = UNDATED if row["started_at"] is None else row["started_at"].date().isoformat()
            by_day[day].append(row)
    new = [row for rows in by_day.values() for row in rows]
    if not batch.rows and not any(scan.has_moved for scan in batch.scans.values()):
        return

    def note(connection: sqlite3.Connection) -> None:
        for scan in batch.scans.values():
            _note_position(connection, scan)

    publish(calls, index, {day: table_of_rows(rows) for day, rows in by_day.items()}, also=note)
    result.calls += len(new)
    result.duplicates += len(known)
    result.purged += len(gone)
    result.never_closed += sum(row["error_type"] == NEVER_CLOSED for row in new)
    for scan in batch.scans.values():
        result.lost_records += sum(damage.lost for damage in scan.damages)
        scan.damages.clear()
        scan.committed = scan.position


def _note_position(connection: sqlite3.Connection, scan: Scan) -> None:
    name, position = scan.folder.name, scan.position
    connection.execute(
        "insert or replace into writers values (?, ?, ?, ?, ?)",
        (name, position.segment, position.offset, position.sequence, scan.is_finished),
    )
    connection.execute("delete from open_calls where writer = ?", (name,))
    connection.executemany(
        "insert into open_calls values (?, ?, ?)",
        [(call_id, name, msgspec.msgpack.encode(places)) for call_id, places in scan.open_calls.items()],
    )
    connection.executemany(
        "insert into damages (place, start, stop, lost, reason) values (?, ?, ?, ?, ?) "
        "on conflict (place, start) do update set stop = excluded.stop, lost = max(lost, excluded.lost), "
        "is_acknowledged = is_acknowledged and excluded.lost <= lost",
        [(one.place, one.start, one.end, one.lost, one.reason) for one in scan.damages],
    )


def _remove_what_was_read(segments: Path, index: Index) -> int:
    """Remove segments of which nothing is needed any more; the rows they gave are on the disk."""
    removed = 0
    for folder in writer_folders(segments):
        scan = _resume(Scan(folder), index)
        if scan.is_finished:
            removed += len(folder.segments())
            # Out of sight first: a folder that is half removed would be taken for a damaged one.
            gone = folder.path.with_name(f".{folder.name}.read")
            folder.path.rename(gone)
            continue
        pinned = scan.pinned()
        for segment in folder.segments():
            if segment.number < scan.position.segment and segment.number not in pinned:
                segment.path.unlink()
                removed += 1
    if segments.is_dir():
        for gone in segments.glob(".*.read"):
            shutil.rmtree(gone)
    return removed


def _forget_absent_writers(segments: Path, index: Index) -> None:
    """Forget how far the segments of workers were read whose folders have been removed since."""
    present = {folder.name for folder in writer_folders(segments)}
    known = [row[0] for row in index.connection.execute("select name from writers")]
    absent = [(name,) for name in known if name not in present]
    if absent:
        with index.transaction() as connection:
            connection.executemany("delete from writers where name = ?", absent)
            connection.executemany("delete from open_calls where writer = ?", absent)
