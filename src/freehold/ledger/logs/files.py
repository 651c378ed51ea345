"""Reads the rows of a log file, whatever format it is in, and says where each one stood."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from dataclasses import dataclass
from itertools import chain
from typing import IO, TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from freehold.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_ROW_BYTES = 16_000_000
"""A longer row is rejected: it would be held in memory whole."""

_BOM = b"\xef\xbb\xbf"
_PARQUET_ROWS = 2_000
_DELIMITERS = (",", ";", "\t")


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


def find_logs(paths: list[Path]) -> list[Path]:
    """The files that were named, and those inside the folders that were named, in order.

    What is hidden inside a folder, such as the data of a workspace, is passed over.

    Raises:
        InputError: a path does not exist or a folder holds no log.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = [file for file in sorted(path.rglob("*")) if _is_log(file, path)]
            if not inside:
                raise InputError(
                    f"{path}: no .jsonl, .json or .csv file (plain or .gz) and no .parquet file in this folder."
                )
            found += inside
        elif path.is_file():
            if _kind_of(path) is None:
                raise InputError(
                    f"{path}: unknown file type. Logs are .jsonl, .ndjson, .json or .csv, plain or .gz, or .parquet."
                )
            found.append(path)
        else:
            raise InputError(f"{path}: there is no such file or folder.")
    return found


def read_log(path: Path) -> Iterator[RawRow | Rejected | Blank]:
    """Rows of a JSON Lines, JSON array or CSV file, plain or gzipped, or of a Parquet file.

    The columns of a CSV file are parted by commas, semicolons or tabs, whichever parts its header into most columns.

    Memory stays bounded, except for a JSON array, which is one value.

    Raises:
        InputError: the file is no text and no Parquet, is cut off inside its compression, or cannot be read.
    """
    if _kind_of(path) == "parquet":
        yield from _parquet_rows(path)
        return
    try:
        with _open(path) as stream:
            match _kind_of(path):
                case "csv":
                    yield from _csv_rows(path, stream)
                case "json":
                    yield from _json_rows(path, stream)
                case _:
                    yield from _json_lines(path, stream)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}). Convert it to UTF-8 first.") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: the compressed file is cut off or broken ({error}). Fetch it again.") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error


def _is_log(file: Path, folder: Path) -> bool:
    is_hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return not is_hidden and file.is_file() and _kind_of(file) is not None


def _kind_of(path: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".parquet":
        return "parquet"
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv"}.get(suffixes[-1] if suffixes else "")


def _open(path: Path) -> IO[bytes]:
    if path.suffix.lower() == ".gz":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    return path.open("rb")


def _json_lines(path: Path, stream: IO[bytes]) -> Iterator[RawRow | Rejected | Blank]:
    number = 0
    while line := stream.readline(MAX_ROW_BYTES):
        number += 1
        if len(line) == MAX_ROW_BYTES and not line.endswith(b"\n"):
            while (rest := stream.readline(MAX_ROW_BYTES)) and not rest.endswith(b"\n"):
                pass
            yield Rejected(str(path), number, f"longer than {MAX_ROW_BYTES:,} bytes")
        elif line.strip():
            yield _parsed(path, number, line.removeprefix(_BOM) if number == 1 else line)
        else:
            yield Blank(number)


def _parsed(path: Path, number: int, line: bytes) -> RawRow | Rejected:
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return Rejected(str(path), number, f"not UTF-8 text: {error.reason} at byte {error.start + 1} of the line")
    except json.JSONDecodeError as error:
        return Rejected(str(path), number, f"not JSON: {error.msg} at column {error.colno}")
    except RecursionError:
        return Rejected(str(path), number, "not usable: JSON nested too deep")
    except ValueError:
        return Rejected(str(path), number, "not usable: a number with thousands of digits")
    if not isinstance(value, dict):
        return Rejected(str(path), number, f"a row must be a JSON object, this is {_json_type(value)}")
    return RawRow(number, value)


def _json_rows(path: Path, stream: IO[bytes]) -> Iterator[RawRow | Rejected | Blank]:
    content = stream.read().removeprefix(_BOM)
    try:
        values = json.loads(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise
    except (ValueError, RecursionError):
        # Several tools name their JSON Lines exports .json.
        for number, line in enumerate(content.splitlines(), start=1):
            yield _parsed(path, number, line) if line.strip() else Blank(number)
        return
    rows = values if isinstance(values, list) else [values]
    for number, value in enumerate(rows, start=1):
        if isinstance(value, dict):
            yield RawRow(number, value)
        else:
            yield Rejected(str(path), number, f"a row must be a JSON object, this is {_json_type(value)}")


def _csv_rows(path: Path, stream: IO[bytes]) -> Iterator[RawRow | Rejected | Blank]:
    # Bytes that are no UTF-8 become half surrogates, by which their row is known; the others stay readable.
    text = (line.decode("utf-8", "surrogateescape").removeprefix("\ufeff") for line in stream)
    first = next(text, "")
    reader = csv.reader(chain([first], text), delimiter=max(_DELIMITERS, key=first.count), strict=True)
    try:
        header = next(reader, [])
        for cells in reader:
            if not cells:
                yield Blank(reader.line_num)
            elif len(cells) != len(header):
                yield Rejected(str(path), reader.line_num, f"not the {len(header)} columns of the header")
            elif any("\udc80" <= character <= "\udcff" for cell in cells for character in cell):
                yield Rejected(str(path), reader.line_num, "not UTF-8 text")
            else:
                named = zip(header, cells, strict=True)
                yield RawRow(reader.line_num, {name: cell for name, cell in named if cell != ""})
    except csv.Error as error:
        yield Rejected(str(path), reader.line_num, f"not CSV: {error}; nothing after it was read")


def _parquet_rows(path: Path) -> Iterator[RawRow]:
    """A row's number stands for its line."""
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_PARQUET_ROWS):
                for values in batch.to_pylist():
                    number += 1
                    yield RawRow(number, values)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: no whole Parquet file ({str(error).splitlines()[0]}). Fetch it again.") from error


def _json_type(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
