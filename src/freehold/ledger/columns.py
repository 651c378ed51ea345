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
