"""Writes the ledger's rows into one file: one per attempt, with the fields of `core.call.Call`."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any, Literal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from freehold.core.errors import InputError
from freehold.ledger.columns import BODIES, COLUMNS, SCHEMA, rows_of_files
from freehold.ledger.ingest import CALLS
from freehold.ledger.publish import reading
from freehold.ledger.stored import parquet_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from freehold.core.progress import Progress

ExportFormat = Literal["jsonl", "parquet"]
_BATCH_ROWS = 2_000


def export(
    events: Path,
    out: Path,
    *,
    form: ExportFormat,
    task: str | None = None,
    since: str | None = None,
    until: str | None = None,
    with_bodies: bool = True,
    progress: Progress,
) -> int:
    """Write the rows by time, undated ones last; the file appears when it is whole. Gives the number of rows.

    Args:
        events: Holds `calls`.
        out: The file; one that is there is replaced.
        form: In JSON Lines bodies are objects and moments ISO 8601; in Parquet bodies are JSON text.
        task: This one alone.
        since: First day, UTC, `YYYY-MM-DD`; undated rows are left out then.
        until: Last day.
        with_bodies: Otherwise `request` and `response` are null.
        progress: Told of rows.

    Raises:
        InputError: the folder of the file does not exist, or one of the ledger's files is damaged.
    """
    if out.is_dir() or not out.parent.is_dir():
        raise InputError(f"{out}: no file can be written there. Name a file in a folder that exists.")
    unfinished = out.with_name(f".{out.name}.{secrets.token_hex(4)}.writing")
    progress.start("export", None)
    rows = 0
    try:
        with reading(events / CALLS):
            batches = _batches(events / CALLS, task, since, until, with_bodies=with_bodies)
            write = _write_parquet if form == "parquet" else _write_jsonl
            for count in write(batches, unfinished):
                rows += count
                progress.update(count)
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)
        progress.finish()
    return rows


def _batches(
    calls: Path, task: str | None, since: str | None, until: str | None, *, with_bodies: bool
) -> Iterator[pa.RecordBatch]:
    """Rows day by day, so that sorting never holds more than a day."""
    for day in sorted({day for day, _ in parquet_files(calls)}, key=lambda day: (not day[0].isdigit(), day)):
        if (since is not None and (day < since or not day[0].isdigit())) or (
            until is not None and (day > until or not day[0].isdigit())
        ):
            continue
        source = rows_of_files(str(calls / f"day={day}" / "*.parquet"))
        names = [name if with_bodies or name not in BODIES else f"null::varchar as {name}" for name in COLUMNS]
        query = f"""
            select {", ".join(names)} from {source}
            where ? is null or task = ? order by started_at nulls last, id
        """  # noqa: S608 (a path and names of our own)
        with duckdb.connect(config={"threads": 2}) as connection:
            connection.execute("set enable_progress_bar = false")  # it prints into the result
            connection.execute("set timezone = 'UTC'")
            try:
                found = connection.sql(query, params=[task, task])
                for batch in found.to_arrow_reader(_BATCH_ROWS):
                    yield batch.cast(SCHEMA) if batch.schema != SCHEMA else batch
            except duckdb.Error as error:
                raise InputError(
                    f"day={day}: a file of the ledger is damaged. See which one with: freehold ledger verify"
                ) from error


def _write_jsonl(batches: Iterator[pa.RecordBatch], path: Path) -> Iterator[int]:
    with path.open("w", encoding="utf-8") as file:
        for batch in batches:
            file.writelines(_line(row) for row in batch.to_pylist())
            yield batch.num_rows


def _line(row: dict[str, Any]) -> str:  # Any: one value per column
    if row["started_at"] is not None:
        row["started_at"] = row["started_at"].isoformat()
    # A body is JSON text already. Written as it is, its numbers and its order stay what they were.
    bodies = {name: row.pop(name) for name in BODIES}
    text = json.dumps(row, ensure_ascii=False, separators=(", ", ": "))
    ends = "".join(f', "{name}": {_on_one_line(body)}' for name, body in bodies.items())
    return f"{text[:-1]}{ends}}}\n"


def _on_one_line(body: str | None) -> str:
    """A line of JSON Lines holds no line break: outside of strings it means nothing, inside it is escaped."""
    return "null" if body is None else body.replace("\n", " ").replace("\r", " ")


def _write_parquet(batches: Iterator[pa.RecordBatch], path: Path) -> Iterator[int]:
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as file:
        for batch in batches:
            file.write_batch(batch)
            yield batch.num_rows
