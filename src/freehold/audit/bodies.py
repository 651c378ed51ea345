"""What was asked and answered, read a few calls at a time: prompts may be long, and a ledger holds many.

DuckDB holds two thousand values of a column at once in every thread; of prompts of a megabyte that is more memory than
an audit has. Parquet's own reader holds as few as it is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from freehold.ledger.columns import BODIES, SCHEMA
from freehold.ledger.store import refuse_damaged
from freehold.ledger.stored import parquet_files

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import date
    from pathlib import Path

AT_ONCE = 64
"""Calls whose bodies are in memory together."""


@dataclass(frozen=True, slots=True)
class Group:
    """Calls that are stored together, a body among them."""

    path: Path
    number: int


def groups_with_bodies(calls: Path, since: date | None = None, until: date | None = None) -> Iterator[Group]:
    """Parts of the ledger that hold a body, day by day; the files' own statistics tell.

    With either day, calls without a time are left out.

    Raises:
        InputError: a file of the ledger is damaged.
    """
    for day, name in parquet_files(calls):
        if (since or until) and not (day[0].isdigit() and str(since or "") <= day <= str(until or "9999")):
            continue
        path = calls / f"day={day}" / name
        try:
            metadata = pq.read_metadata(path)
        except (pa.ArrowException, OSError) as error:
            refuse_damaged(calls, error)
            raise
        names = metadata.schema.to_arrow_schema().names
        for number in range(metadata.num_row_groups):
            columns = [metadata.row_group(number).column(names.index(body)) for body in BODIES if body in names]
            stats = [column.statistics for column in columns]
            if any(one is None or not one.has_null_count or one.null_count < column.num_values
                   for one, column in zip(stats, columns, strict=True)):  # fmt: skip
                yield Group(path, number)


def rows_of(group: Group, columns: Sequence[str], *, at_once: int = AT_ONCE) -> Iterator[pa.RecordBatch]:
    """The calls of a group in their order; a column that an older version did not know is null."""
    with pq.ParquetFile(group.path, pre_buffer=False) as file:
        there = [name for name in columns if name in file.schema_arrow.names]
        for batch in file.iter_batches(at_once, row_groups=[group.number], columns=there, use_threads=False):
            yield _with_all(batch, columns)


def all_rows(
    source: Path | pa.Table | None, columns: Sequence[str], *, since: date | None = None, until: date | None = None
) -> Iterator[pa.RecordBatch]:
    """The calls that may have a body, a few at a time; of a table all of them."""
    if source is None:
        return
    if isinstance(source, pa.Table):
        there = [name for name in columns if name in source.column_names]
        for batch in source.select(there).to_batches(max_chunksize=AT_ONCE):
            yield _with_all(batch, columns)
        return
    for group in groups_with_bodies(source, since, until):
        yield from rows_of(group, columns)


def bodies_of(source: Path | pa.Table | None, ids: Collection[str]) -> Iterator[tuple[str, str | None, str | None]]:
    """Id, request and response of some calls, in the order of the ledger."""
    wanted = pa.array(sorted(ids), pa.string())
    if not len(wanted) or source is None:
        return
    columns = ("id", *BODIES)
    if isinstance(source, pa.Table):
        found = all_rows(source, columns)
    else:
        found = (
            batch for group in groups_with_bodies(source) if _has(group, wanted) for batch in rows_of(group, columns)
        )
    for batch in found:
        chosen = batch.filter(pc.is_in(batch.column("id"), wanted))
        yield from zip(*(chosen.column(name).to_pylist() for name in columns), strict=True)


def _has(group: Group, wanted: pa.Array) -> bool:
    """A call of the group is wanted: ids are short, and bodies are only read then."""
    with pq.ParquetFile(group.path) as file:
        ids = file.read_row_group(group.number, columns=["id"]).column("id")
    return bool(pc.any(pc.is_in(ids, wanted)).as_py())


def _with_all(batch: pa.RecordBatch, columns: Sequence[str]) -> pa.RecordBatch:
    arrays = [
        batch.column(name) if name in batch.schema.names else pa.nulls(len(batch), SCHEMA.field(name).type)
        for name in columns
    ]
    return pa.RecordBatch.from_arrays(arrays, names=list(columns))
