"""Looks through everything that the ledger holds, changes nothing, and says what is damaged."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import nullcontext
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import duckdb

from freehold.core.errors import InputError
from freehold.ledger.index import INDEX_FILE, Index
from freehold.ledger.ingest import CALLS, SEGMENTS
from freehold.ledger.publish import checksum_of, reading
from freehold.ledger.rollup import DIMENSIONS, MEASURES, stored_sums, sums_of
from freehold.ledger.stored import ids_of, parquet_files, read_rows
from freehold.ledger.verify_segments import Finding, Verified, verify_segments

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa


def verify(events: Path) -> Verified:
    """Check every frame, every page of every file, and that index and sums say what the files say.

    Writers, ingesters and upkeep may go on meanwhile: what they change is no damage.
    """
    found = Verified()
    calls = events / CALLS
    index = _open_index(calls, found) if calls.is_dir() else None
    try:
        verify_segments(events / SEGMENTS, index, found)
        if calls.is_dir():
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


def _verify_files(calls: Path, index: Index | None, found: Verified) -> None:
    """Files day by day; with an index, as it was at one moment, it is compared with them."""
    noted: set[tuple[str, str]] = set()
    if index is not None:
        index.connection.execute("begin")
        noted = _files_in(index)
    there = parquet_files(calls)  # of what was noted, and of what came since
    try:
        new = set() if index is None else _came_since(calls, set(there) - noted)
        files = [file for file in there if file not in new]
        sums, has_unreadable = _verify_rows(calls, index, files, found)
        if index is None:
            return
        missing = noted - set(files) - _still_to_be_moved(index)
        for day, name in sorted(missing):
            found.damaged.append(Finding(place=f"{CALLS}/day={day}/{name}", reason="the file is missing"))
        _add(sums, stored_sums(index.connection, removed=False).to_pylist(), -1)
        if any(sums.values()) and not has_unreadable and noted == set(files):
            place = f"{CALLS}/{INDEX_FILE}"
            found.damaged.append(Finding(place=place, reason="the daily sums are not those of the files"))
    finally:
        if index is not None:
            index.connection.execute("rollback")


def _verify_rows(
    calls: Path, index: Index | None, files: list[tuple[str, str]], found: Verified
) -> tuple[Counter[tuple[Any, str]], bool]:
    """The sums of the files' rows, and whether a file could not be read."""
    sums: Counter[tuple[Any, str]] = Counter()
    has_unreadable, twice = False, 0
    with duckdb.connect(config={"threads": 1}) as summing:
        for day, of_day in groupby(files, key=itemgetter(0)):
            seen: set[bytes] = set()
            for _, name in of_day:
                found.files += 1
                rows = read_if_sound(calls, index, day, name)
                if isinstance(rows, str):
                    has_unreadable = True
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
    return sums, has_unreadable


def _files_in(index: Index) -> set[tuple[str, str]]:
    return {(row[0], row[1]) for row in index.connection.execute("select day, name from files")}


def _came_since(calls: Path, files: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of the files that an ingester has added a moment ago: the index knows them by now."""
    if not files:
        return set()
    index = Index(calls)
    try:
        return files & _files_in(index)
    finally:
        index.close()


def _still_to_be_moved(index: Index) -> set[tuple[str, str]]:
    """Files of a change that is noted, whose last step somebody is taking just now."""
    plans = [json.loads(row[0]) for row in index.connection.execute("select plan from changes")]
    return {(day, name) for plan in plans for _, day, name in plan["moved"]}


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
