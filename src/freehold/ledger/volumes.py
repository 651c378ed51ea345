"""Keeps what is known of calls by their sums alone: buckets of a provider's usage API, windows of a published trace.

They lie beside the calls, as Parquet files by day, and are never mixed with them: one row is many calls.
"""

from __future__ import annotations

import json
import os
import secrets
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import fields
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from freehold.core.errors import InputError
from freehold.ledger.identifiers import call_ids
from freehold.ledger.index import UNDATED
from freehold.ledger.logs.format import Volume
from freehold.ledger.overlaps import Overlaps
from freehold.ledger.publish import CHANGERS, locked
from freehold.ledger.purged import Purged
from freehold.ledger.store import Appended
from freehold.ledger.stored import ids_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from freehold.ledger.purge import Chosen

VOLUMES = "volumes"
"""Name of their folder, beside that of the calls."""
_PLAN = "_plan.json"
_BATCH_ROWS = 20_000
_USD = pa.decimal128(28, 12)
_TYPES: dict[str, pa.DataType] = {
    "started_at": pa.timestamp("us", tz="UTC"),
    "window_s": pa.float64(),
    "billed_usd": _USD,
    **dict.fromkeys(
        (
            "calls",
            "input_tokens",
            "cache_read_tokens",
            "cache_write_tokens",
            "output_tokens",
            "reasoning_tokens",
        ),
        pa.int64(),
    ),
}
SCHEMA = pa.schema([("id", pa.string())] + [(one.name, _TYPES.get(one.name, pa.string())) for one in fields(Volume)])


class Volumes:
    """The volumes of one workspace."""

    def __init__(self, folder: Path) -> None:
        """`folder` holds one folder per day; it need not exist yet."""
        self._folder = folder

    @property
    def folder(self) -> Path:
        """Where the files lie."""
        return self._folder

    def append(self, volumes: Iterable[Volume], *, is_dry: bool = False) -> Appended:
        """Add the volumes whose `source_id` is not there yet: all of them or, if the process dies, none.

        Args:
            volumes: In any order.
            is_dry: Only tell what would become of them.
        """
        new = total = 0
        with self._changing(is_dry=is_dry):
            seen: dict[str, set[str]] = {}
            kept_out = told_otherwise = 0
            overlaps = Overlaps(self._folder)
            staged: list[tuple[str, str]] = []
            for batch in _batches(volumes):
                total += len(batch)
                by_day: dict[str, list[int]] = defaultdict(list)
                rows = table_of(batch)
                gone = self._purged(rows.column("id").to_pylist())
                for place, (identifier, one) in enumerate(zip(rows.column("id").to_pylist(), batch, strict=True)):
                    day = UNDATED if one.started_at is None else one.started_at.date().isoformat()
                    known = seen.setdefault(day, set()) if day in seen else seen.setdefault(day, self._ids(day))
                    if identifier in gone:
                        kept_out += identifier not in known
                        known.add(identifier)
                    elif identifier not in known and overlaps.is_told_otherwise(one):
                        told_otherwise += 1
                    elif identifier not in known:
                        known.add(identifier)
                        by_day[day].append(place)
                for day, places in by_day.items():
                    new += len(places)
                    if not is_dry:
                        staged.append((day, self._stage(rows.take(places))))
            if staged:
                self._publish(staged)
        duplicates = total - new - kept_out - told_otherwise
        return Appended(new=new, duplicates=duplicates, purged=kept_out, told_otherwise=told_otherwise)

    @contextmanager
    def _changing(self, *, is_dry: bool) -> Iterator[None]:
        """Be the one who changes the volumes; a dry run makes nothing where there is nothing."""
        if is_dry and not self._folder.is_dir():
            yield
            return
        with locked(self._folder, CHANGERS):
            self._settle()
            yield

    def purge(self, chosen: Chosen, *, dry_run: bool = False) -> int:
        """Take rows out for good; gives how many. File by file: after a death, the same again does the rest."""
        removed = 0
        if not self._folder.is_dir():
            return 0
        with locked(self._folder, CHANGERS):
            self._settle()
            for path in sorted(self._folder.glob("day=*/*.parquet")):
                with _opened(path) as file:
                    rows = _of_today(file.read())
                nobody = pa.nulls(len(rows), pa.string())
                mask = chosen.mask(rows.append_column("subject", nobody).append_column("key_name", nobody))
                gone = rows.filter(mask)
                removed += len(gone)
                if not len(gone) or dry_run:
                    continue
                Purged(self._folder).note(ids_of(gone), "row")
                rest = rows.filter(pc.invert(mask))
                if len(rest):
                    (self._folder / "_staged" / self._stage(rest)).replace(path)
                else:
                    path.unlink()
                _sync(path.parent)
        return removed

    def rename(self, names: Mapping[str, str]) -> int:
        """Let rows follow their tasks (old name -> new name); gives how many. May be done any number of times."""
        changed = 0
        if not self._folder.is_dir():
            return 0
        old, new = pa.array(list(names), pa.string()), pa.array(list(names.values()), pa.string())
        with locked(self._folder, CHANGERS):
            self._settle()
            for path in sorted(self._folder.glob("day=*/*.parquet")):
                with _opened(path) as file:
                    rows = _of_today(file.read())
                tasks = rows.column("task").combine_chunks()
                places = pc.index_in(tasks, value_set=old, skip_nulls=True)
                if places.null_count == len(places):
                    continue
                changed += len(places) - places.null_count
                renamed = rows.set_column(
                    SCHEMA.get_field_index("task"), SCHEMA.field("task"), pc.coalesce(new.take(places), tasks)
                )
                (self._folder / "_staged" / self._stage(renamed)).replace(path)
                _sync(path.parent)
        return changed

    def _purged(self, identifiers: list[str]) -> set[str]:
        """Those that a purge has taken out."""
        by_id = {UUID(one).bytes: one for one in identifiers}
        return {by_id[one] for one in Purged(self._folder).among(by_id.keys())}

    def read(self) -> Iterator[pa.RecordBatch]:
        """All rows, by day."""
        if not self._folder.is_dir():
            return
        with locked(self._folder, CHANGERS):
            self._settle()
        for path in sorted(self._folder.glob("day=*/*.parquet")):
            with _opened(path) as file:
                for batch in file.iter_batches():
                    yield from _of_today(pa.Table.from_batches([batch])).to_batches()

    def _ids(self, day: str) -> set[str]:
        found: set[str] = set()
        for path in (self._folder / f"day={day}").glob("*.parquet"):
            with _opened(path) as file:
                found.update(file.read(columns=["id"]).column("id").to_pylist())
        return found

    def _stage(self, rows: pa.Table) -> str:
        (self._folder / "_staged").mkdir(exist_ok=True)
        name = f"{secrets.token_hex(8)}.parquet"
        path = self._folder / "_staged" / name
        pq.write_table(rows, path, compression="zstd", write_page_checksum=True)
        _sync(path)
        return name

    def _publish(self, staged: list[tuple[str, str]]) -> None:
        """From the moment that the plan has its name, the change has happened."""
        plan = self._folder / f"{_PLAN}.writing"
        plan.write_text(json.dumps(staged), encoding="utf-8")
        _sync(plan)
        plan.replace(self._folder / _PLAN)
        _sync(self._folder)
        self._settle()

    def _settle(self) -> None:
        """Do what a plan says that is there, perhaps of a process that died, and clear what has no plan."""
        plan = self._folder / _PLAN
        if plan.exists():
            for day, name in json.loads(plan.read_text(encoding="utf-8")):
                place = self._folder / f"day={day}"
                place.mkdir(exist_ok=True)
                source = self._folder / "_staged" / name
                if source.exists():
                    source.replace(place / name)
                    _sync(place)
            plan.unlink()
            _sync(self._folder)
        for litter in (self._folder / "_staged").glob("*"):
            litter.unlink()


def table_of(volumes: Sequence[Volume]) -> pa.Table:
    """Rows of the store, in the order given; the id of each follows from its `source_id`."""
    columns: dict[str, list[object]] = {
        one.name: [getattr(each, one.name) for each in volumes] for one in fields(Volume)
    }
    columns["billed_usd"] = [
        None if each.billed_usd is None else each.billed_usd.quantize(Decimal("1e-12")) for each in volumes
    ]
    unknown = np.full(len(volumes), -1, dtype=np.int64)
    columns["id"] = call_ids(unknown, [each.source_id.encode("utf-8", "replace") for each in volumes]).to_pylist()
    return pa.table(columns, schema=SCHEMA)


def _batches(volumes: Iterable[Volume]) -> Iterator[list[Volume]]:
    batch: list[Volume] = []
    for each in volumes:
        batch.append(each)
        if len(batch) == _BATCH_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


def _of_today(rows: pa.Table) -> pa.Table:
    """Rows with all columns; those that an earlier version did not have are unknown."""
    for column in SCHEMA:
        if column.name not in rows.column_names:
            rows = rows.append_column(column, pa.nulls(len(rows), column.type))
    return rows.select(SCHEMA.names).cast(SCHEMA)


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path} is damaged ({type(error).__name__}). Move it away and import its log again: "
            "volumes that are there already are not doubled."
        ) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
