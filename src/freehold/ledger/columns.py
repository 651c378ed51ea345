"""A call as a row of Parquet, and back."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from freehold.core.call import Call

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_TYPES: dict[str, pa.DataType] = {
    "started_at": pa.timestamp("us", tz="UTC"),
    "confidence": pa.float64(),
    "status": pa.int32(),
    "stream": pa.bool_(),
    "client_closed": pa.bool_(),
    "truncated": pa.bool_(),
    "input_tokens": pa.int64(),
    "cache_read_tokens": pa.int64(),
    "cache_write_tokens": pa.int64(),
    "output_tokens": pa.int64(),
    "reasoning_tokens": pa.int64(),
    "ttft_ms": pa.float64(),
    "duration_ms": pa.float64(),
}
BODIES = ("request", "response")
"""JSON objects as text."""
COLUMNS = tuple(field.name for field in fields(Call))
SCHEMA = pa.schema([(name, _TYPES.get(name, pa.string())) for name in COLUMNS])


LATER = ("truncated", "key_name")
"""Columns that files of older versions do not have."""


def rows_of_files(pattern: str) -> str:
    """SQL for the rows of Parquet files of any version: what an older one does not know is NULL.

    Args:
        pattern: Of their paths; quotation marks are taken care of.
    """
    files = pattern.replace("'", "''")
    later = ", ".join(f"null::{_SQL_TYPES[SCHEMA.field(name).type]} as {name}" for name in LATER)
    return (
        f"(select * from read_parquet('{files}', union_by_name = true, hive_partitioning = false) "  # noqa: S608 (ours)
        f"union all by name select {later} where false)"
    )


_SQL_TYPES = {pa.bool_(): "boolean", pa.string(): "varchar", pa.int64(): "bigint", pa.float64(): "double"}


def table_of(calls: Sequence[Call]) -> pa.Table:
    """Rows of the ledger, in the order given."""
    columns: dict[str, list[Any]] = {name: [getattr(call, name) for call in calls] for name in COLUMNS}
    for name in BODIES:
        columns[name] = [None if body is None else json.dumps(body, ensure_ascii=False) for body in columns[name]]
    return pa.table(columns, schema=SCHEMA)


def calls_of(batch: pa.RecordBatch) -> Iterator[Call]:
    """The calls of one batch of rows."""
    for row in batch.to_pylist():
        for name in BODIES:
            if row[name] is not None:
                row[name] = json.loads(row[name])
        yield Call(**row)
