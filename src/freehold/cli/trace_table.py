"""Columns of a large trace, read in one go: JSON Lines and CSV with the plain field names and nothing unusual."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import csv, json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_DELIMITERS = (",", ";", "\t")
_BLOCK = 1 << 24


def table_at_once(path: Path, wanted: Sequence[str], numbers: Sequence[str], texts: Sequence[str]) -> pa.Table | None:
    """The columns that the file has of `numbers` and `texts`, a row for each of its lines after any header.

    None: it lacks one of `wanted`, is of another kind, or holds something that only reading row by row can name.
    """
    content = path.read_bytes()
    try:
        match path.suffix.lower():
            case ".jsonl" | ".ndjson":
                table, header = _from_json(content, numbers, texts), 0
            case ".csv":
                table, header = _from_csv(content, numbers, texts), 1
            case _:
                return None
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return None
    lines = content.count(b"\n") + (not content.endswith(b"\n")) - header
    # Empty lines, and breaks inside of cells, would shift the numbers of the lines below.
    return table if len(table) == lines and set(wanted) <= set(table.column_names) else None


def _from_json(content: bytes, numbers: Sequence[str], texts: Sequence[str]) -> pa.Table:
    columns = [*((name, pa.float64()) for name in numbers), *((name, pa.string()) for name in texts)]
    parse = json.ParseOptions(explicit_schema=pa.schema(columns), unexpected_field_behavior="ignore")
    return json.read_json(pa.BufferReader(content), json.ReadOptions(use_threads=False, block_size=_BLOCK), parse)


def _from_csv(content: bytes, numbers: Sequence[str], texts: Sequence[str]) -> pa.Table:
    head = content.partition(b"\n")[0].decode("utf-8-sig").strip("\r")
    delimiter = max(_DELIMITERS, key=head.count)
    names = [name.strip('"') for name in head.split(delimiter)]
    if len(set(names)) < len(names):
        raise pa.ArrowInvalid("columns of one name")
    return csv.read_csv(
        pa.BufferReader(content),
        csv.ReadOptions(use_threads=False, block_size=_BLOCK),
        csv.ParseOptions(delimiter=delimiter, ignore_empty_lines=False),
        csv.ConvertOptions(
            include_columns=[name for name in (*numbers, *texts) if name in names],
            column_types={**dict.fromkeys(numbers, pa.float64()), **dict.fromkeys(texts, pa.string())},
            null_values=[""],
            strings_can_be_null=True,
        ),
    )
