"""Looks through everything that the ledger holds, changes nothing, and says what is damaged."""

from __future__ import annotations

import mmap
import sqlite3
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import duckdb

from freehold.core.errors import InputError
from freehold.ledger.frames import Gap, frames_in
from freehold.ledger.index import INDEX_FILE, Index
from freehold.ledger.ingest import CALLS, SEGMENTS
from freehold.ledger.publish import checksum_of, reading
from freehold.ledger.rollup import DIMENSIONS, MEASURES, stored_sums, sums_of
from freehold.ledger.segment_files import writer_folders
from freehold.ledger.stored import ids_of, parquet_files, read_rows

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from freehold.ledger.segment_files import WriterFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not as it must be."""

    place: str
    """File, below the ledger's folder."""
    reason: str
    offset: int | None = None
    lost: int | None = None
    """Records or rows that are missing; None: not known."""

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """As `ledger verify --json` lists it."""
        return {"file": self.place, "reason": self.reason, "offset": self.offset, "lost": self.lost}


@dataclass(slots=True)
class Verified:
    """What was looked at and what was found."""

    damaged: list[Finding] = field(default_factory=list)
    segments: int = 0
    files: int = 0
    rows: int = 0

    @property
    def ok(self) -> bool:
        """Nothing is damaged, and no earlier loss is waiting for `repair` to take note of it."""
        return not self.damaged


def verify(events: Path) -> Verified:
    """Check every frame, every page of every file, and that index and sums say what the files say."""
    found = Verified()
    for folder in writer_folders(events / SEGMENTS):
        _verify_segments(folder, found)
    calls = events / CALLS
    if not calls.is_dir():
        return found
    index = _open_index(calls, found)
    try:
        with nullcontext() if index is None else reading(calls):
            _verify_files(calls, index, found)
    finally:
        if index is not None:
            index.close()
    return found


def _open_index(calls: Path, found: Verified) -> Index | None:
    """The index, if there is one and it is sound; what was lost earlier is told by it."""
    place = f"{CALLS}/{INDEX_FILE}"
    if not (calls / INDEX_FILE).exists():
        return None
    try:
        index = Index(calls)
    except InputError as error:
        found.damaged.append(Finding(place=place, reason=str(error)))
        return None
    run = index.connection.execute
    try:
        faults = [text for (text,) in run("pragma integrity_check") if text != "ok"]
        losses = run("select place, start, lost, reason from damages where not is_acknowledged").fetchall()
    except sqlite3.DatabaseError as error:
        faults, losses = [str(error)], []
    for where, start, lost, reason in losses:
        said = f"{reason}: found when it was read, and counted"
        found.damaged.append(Finding(place=f"{SEGMENTS}/{where}", reason=said, offset=start, lost=lost))
    if faults:
        found.damaged.append(Finding(place=place, reason=f"the index is damaged: {faults[0]}"))
        index.close()
        return None
    return index


def _verify_segments(folder: WriterFolder, found: Verified) -> None:
    is_alive, progress = folder.is_alive(), folder.progress()
    sequence: int | None = None
    for segment in folder.segments():
        found.segments += 1
        sequence = 1 if segment.number == 1 else sequence
        end = None
        if is_alive and progress is not None and segment.number >= progress.number:
            end = progress.offset if segment.number == progress.number else 0
        if not segment.path.stat().st_size:
            continue
        with segment.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for item in frames_in(data, salt=folder.salt, end=end, sequence=sequence):
                if not isinstance(item, Gap):
                    sequence = item.sequence + 1
                elif not _is_torn(folder, segment.number, item):
                    place = f"{SEGMENTS}/{folder.name}/{segment.path.name}"
                    reason = "bytes are damaged" if item.end > item.start else "records are missing"
                    lost = item.lost or None
                    found.damaged.append(Finding(place=place, reason=reason, offset=item.start, lost=lost))
    if not is_alive and progress is not None and sequence is not None and progress.sequence > sequence:
        lost = progress.sequence - sequence
        found.damaged.append(
            Finding(place=f"{SEGMENTS}/{folder.name}", reason="the end is missing", offset=None, lost=lost)
        )


def _is_torn(folder: WriterFolder, number: int, gap: Gap) -> bool:
    """The piece of a record that was being written when its worker died; nobody was told that it was there."""
    progress = folder.progress()
    return gap.lost == 0 and progress is not None and (progress.number, progress.offset) <= (number, gap.start)


def _verify_files(calls: Path, index: Index | None, found: Verified) -> None:
    """Files day by day; with an index, it is compared with them."""
    place = f"{CALLS}/{INDEX_FILE}"
    files = parquet_files(calls)
    sums: Counter[tuple[Any, str]] = Counter()
    unreadable = twice = 0
    with duckdb.connect(config={"threads": 1}) as summing:
        for day, of_day in groupby(files, key=itemgetter(0)):
            seen: set[bytes] = set()
            for _, name in of_day:
                found.files += 1
                rows = read_if_sound(calls, index, day, name)
                if isinstance(rows, str):
                    unreadable += 1
                    found.damaged.append(Finding(place=f"{CALLS}/day={day}/{name}", reason=rows))
                    continue
                found.rows += len(rows)
                ids = ids_of(rows)
                twice += len(ids) - len(set(ids) - seen)
                seen.update(ids)
                if index is not None:
                    _compare_rows(index, day, name, ids, found)
                    _add(sums, sums_of(summing, rows, day).to_pylist(), 1)
    if twice:
        found.damaged.append(Finding(place=CALLS, reason=f"{twice} rows stand twice"))
    if index is None:
        return
    gone = {(row[0], row[1]) for row in index.connection.execute("select day, name from files")} - set(files)
    for day, name in sorted(gone):
        found.damaged.append(Finding(place=f"{CALLS}/day={day}/{name}", reason="the file is missing"))
    _add(sums, stored_sums(index.connection, removed=False).to_pylist(), -1)
    if any(sums.values()) and not unreadable and not gone:
        found.damaged.append(Finding(place=place, reason="the daily sums are not those of the files"))


def read_if_sound(calls: Path, index: Index | None, day: str, name: str) -> pa.Table | str:
    """Rows of a file, or what is wrong with it."""
    known = None
    if index is not None:
        find = "select checksum from files where day = ? and name = ?"
        known = index.connection.execute(find, (day, name)).fetchone()
    if known is not None and known[0] != checksum_of(calls / f"day={day}" / name):
        return "the Parquet file is not what was written"
    try:
        return read_rows(calls, day, name)
    except InputError:
        return "the Parquet file cannot be read"


def _add(sums: Counter[tuple[Any, str]], rows: list[dict[str, Any]], sign: int) -> None:
    for row in rows:
        key = tuple(row[name] for name in DIMENSIONS)
        for name in MEASURES:
            sums[key, name] += sign * row[name]


def _compare_rows(index: Index, day: str, name: str, ids: list[bytes], found: Verified) -> None:
    row = index.connection.execute(
        "select rows, is_indexed from files where day = ? and name = ?", (day, name)
    ).fetchone()
    if row is None or row[0] != len(ids) or (row[1] and index.known(ids) != set(ids)):
        found.damaged.append(
            Finding(place=f"{CALLS}/{INDEX_FILE}", reason=f"day={day}/{name} does not stand in the index as it is")
        )
