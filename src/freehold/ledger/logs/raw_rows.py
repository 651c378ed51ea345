"""Rows of a log as the file has them, each with its place, before anything is known about what they mean."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from freehold.core.errors import InputError
from freehold.ledger.logs import text
from freehold.ledger.logs.json_values import json_values
from freehold.ledger.logs.text import Block, TooLong, blocks, table_blocks
from freehold.ledger.logs.values import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from freehold.ledger.logs.container import LogFile
    from freehold.ledger.logs.text import Readable

_PARQUET_ROWS = 2_000
_DEEPEST = 200
"""Nested deeper, a row is no log's: and whoever writes it down again would run out of stack."""


NOT_UTF_8 = "not UTF-8 text"
"""The reason for which a row is rejected that is written in another encoding begins so."""


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row as the file has it."""

    line: int
    values: dict[str, Any]  # Any: nothing has been checked yet


@dataclass(frozen=True, slots=True)
class Rejected:
    """One row that could not be used."""

    file: str
    line: int
    reason: str

    def as_dict(self) -> dict[str, str | int]:
        """As `import --json` lists it."""
        return {"file": self.file, "line": self.line, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Blank:
    """A line with nothing on it."""

    line: int


Row = RawRow | Rejected | Blank


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows of a log, to be read in one of two ways."""

    rows: Callable[[], Iterator[Row]]
    """One by one."""
    table: Callable[[], pa.Table | None] = lambda: None
    """All at once: a row for each line, so that numbers of lines hold; None: that cannot be."""
    line: int = 0
    """Of the first row of the table."""
    is_text: bool = False
    """Whether every cell of the table is text."""


def line_pieces(name: str, stream: Readable) -> Iterator[Piece]:
    """Of JSON Lines."""
    for block in blocks(stream):
        match block:
            case TooLong(line):
                yield Piece(lambda line=line: iter([_too_long(name, line)]))  # type: ignore[misc]  # bound now
            case Block(line, data):
                yield Piece(
                    lambda line=line, data=data: _json_lines(name, line, data),  # type: ignore[misc]
                    lambda data=data: _json_table(data),  # type: ignore[misc]
                    line,
                )


def value_pieces(name: str, stream: Readable, *, depth: int) -> Iterator[Piece]:
    """Of JSON documents; the number of a row stands for its line."""

    def rows() -> Iterator[Row]:
        for number, value in enumerate(json_values(name, stream, depth=depth), start=1):
            if value is None:
                yield _too_long(name, number)
            else:
                yield from parsed(name, number, value)

    yield Piece(rows)


def table_pieces(name: str, stream: Readable, *, delimiter: str) -> Iterator[Piece]:
    """Of a table in text, whose first line names the columns. Cells stay text; empty ones are absent."""
    header: list[str] = []
    for block in table_blocks(stream, delimiter):
        if isinstance(block, TooLong):
            raise InputError(
                f"{name}, line {block.line}: a row that is longer than {text.MAX_ROW_BYTES:,} bytes, perhaps as a "
                "quotation mark opens a cell and is never closed. Nothing of the file was imported."
            )
        line, data = block.line, block.data
        if not header:
            reader = csv.reader(io.StringIO(data.decode("utf-8", "replace"), newline=""), delimiter=delimiter)
            header = next(reader, [])
            line += reader.line_num
            data = _after(data, reader.line_num)
        if data:
            yield _table_piece(name, line, data, header, delimiter)


def parquet_pieces(file: LogFile) -> Iterator[Piece]:
    """Of a Parquet file; the number of a row stands for its line."""

    def rows() -> Iterator[Row]:
        number = 0
        try:
            with pq.ParquetFile(file.path) as opened:
                for batch in opened.iter_batches(_PARQUET_ROWS):
                    for values in batch.to_pylist():
                        number += 1
                        yield RawRow(number, values)
        except (pa.ArrowException, OSError) as error:
            said = str(error).splitlines()[0]
            raise InputError(f"{file.name}: no whole Parquet file ({said}). Fetch it again.") from error

    yield Piece(rows)


def parsed(name: str, number: int, value: bytes) -> Iterator[Row]:
    """The row that a piece of JSON is, or the rows that it wraps."""
    row = _parsed(name, number, value)
    inside = _inside(row.values) if isinstance(row, RawRow) else None
    if inside is None:
        yield row
    else:
        yield from (RawRow(number, each) for each in inside)


def _parsed(name: str, number: int, value: bytes) -> RawRow | Rejected:
    try:
        row = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        row = _leniently_parsed(name, number, value)
    if isinstance(row, Rejected):
        return row
    if not isinstance(row, dict):
        return Rejected(name, number, f"a row must be a JSON object, this is {_json_type(row)}")
    if value.count(b"{") + value.count(b"[") > _DEEPEST and _is_deep(row):
        return Rejected(name, number, "not usable: JSON nested too deep")
    return RawRow(number, row)


def _leniently_parsed(name: str, number: int, value: bytes) -> Any:  # Any: JSON, or what is wrong with it
    """What Python's own parser makes of it: NaN is one of its numbers, and it says where a fault is."""
    try:
        row = json.loads(value.decode("utf-8"))
        # Halves of surrogate pairs are no characters, and could not be written down again.
        return json.loads(clean(json.dumps(row, ensure_ascii=False))) if b"\\u" in value else row
    except UnicodeDecodeError as error:
        reason = f"{NOT_UTF_8}: {error.reason} at byte {error.start + 1} of the line (see --encoding)"
    except json.JSONDecodeError as error:
        reason = f"not JSON: {error.msg} at column {error.colno}"
    except RecursionError:
        reason = "not usable: JSON nested too deep"
    except ValueError:
        reason = "not usable: a number with thousands of digits"
    return Rejected(name, number, reason)


def _inside(values: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The rows of a page of a list, such as the ones that an API gives; None: it is none."""
    rows = values.get("data")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return None
    is_page = values.get("object") in {"list", "page"} or values.keys() <= {"data", "meta", "error"}
    return rows if is_page else None


def _json_lines(name: str, first: int, data: bytes) -> Iterator[Row]:
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, start=first):
        if len(line) > text.MAX_ROW_BYTES:
            yield _too_long(name, number)
        elif line.strip():
            yield from parsed(name, number, line)
        else:
            yield Blank(number)


def _json_table(data: bytes) -> pa.Table | None:
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    options = pyarrow.json.ReadOptions(use_threads=False, block_size=len(data) + 1)
    try:
        table = pyarrow.json.read_json(pa.BufferReader(data), options)
    except (pa.ArrowException, UnicodeDecodeError):
        return None
    return table if len(table) == lines else None


def _table_piece(name: str, line: int, data: bytes, header: list[str], delimiter: str) -> Piece:
    return Piece(
        lambda: _table_rows(name, line, data, header, delimiter),
        lambda: _text_table(data, header, delimiter),
        line,
        is_text=True,
    )


def _table_rows(name: str, first: int, data: bytes, header: list[str], delimiter: str) -> Iterator[Row]:
    # Bytes that are no UTF-8 become half surrogates, by which their row is known; the others stay readable.
    stream = io.StringIO(data.decode("utf-8", "surrogateescape"), newline="")
    reader = csv.reader(stream, delimiter=delimiter, strict=True)
    while True:
        begin = first + reader.line_num
        try:
            some = list(islice(reader, 1))
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise InputError(
                    f"{name}, line {begin}: a quotation mark opens a cell that is never closed, as in a file that is "
                    "cut off. Nothing of the file was imported."
                ) from error
            yield Rejected(name, first + reader.line_num - 1, f"not CSV: {error}")
            continue
        if not some:
            return
        line, cells = first + reader.line_num - 1, some[0]
        if not cells:
            yield Blank(line)
        elif len(cells) != len(header):
            yield Rejected(name, line, f"not the {len(header)} columns of the header")
        elif any("\udc80" <= character <= "\udcff" for cell in cells if not cell.isascii() for character in cell):
            yield Rejected(name, line, f"{NOT_UTF_8} (see --encoding)")
        else:
            named = zip(header, cells, strict=True)
            yield RawRow(line, {column: cell for column, cell in named if cell != ""})


def _text_table(data: bytes, header: list[str], delimiter: str) -> pa.Table | None:
    if len(set(header)) < len(header):
        return None
    has_breaks = b'"' in data
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(data),
            pyarrow.csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=header),
            pyarrow.csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=has_breaks, ignore_empty_lines=False, double_quote=True
            ),
            pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()), null_values=[""], strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )  # fmt: skip
    except (pa.ArrowException, UnicodeDecodeError):
        return None
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    return table if len(table) == lines or has_breaks else None


def _after(data: bytes, lines: int) -> bytes:
    place = 0
    for _ in range(lines):
        place = data.find(b"\n", place) + 1
        if not place:
            return b""
    return data[place:]


def _is_deep(value: object) -> bool:
    """Whether something is nested deeper than may be; without recursion."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _too_long(name: str, line: int) -> Rejected:
    return Rejected(name, line, f"longer than {text.MAX_ROW_BYTES:,} bytes")


def _json_type(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
