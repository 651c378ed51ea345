"""Finds the logs that were named and reads their rows, known by what they hold and not by what they are called."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from freehold.core.errors import InputError
from freehold.ledger.logs.container import LogFile, Unpacked, members_of, opened, packing_of
from freehold.ledger.logs.postgres import SCHEMES, Database, OpenTable, open_table
from freehold.ledger.logs.raw_rows import (
    Blank,
    Piece,
    RawRow,
    Rejected,
    line_pieces,
    parquet_pieces,
    table_pieces,
    value_pieces,
)
from freehold.ledger.logs.shape import HEAD_BYTES, Shape, shape_of
from freehold.ledger.logs.text import Utf8

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from freehold.ledger.logs.text import Readable

KINDS = (
    "JSON Lines, a JSON document, a CSV table or a Parquet file, plain or packed with gzip, Zstandard, bzip2, xz or zip"
)


@dataclass(slots=True)
class Found:
    """What stood under the paths that were named."""

    logs: list[LogFile | Database] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    """Files inside of folders and archives that are no logs."""


def find_logs(paths: Sequence[str | Path]) -> Found:
    """The logs that were named, and those inside the folders and archives that were named, in order.

    What is hidden inside a folder, such as the data of a workspace, is passed over.

    Raises:
        InputError: a path does not exist, is no log, or holds none.
    """
    found = Found()
    for named in paths:
        if str(named).startswith(SCHEMES):
            found.logs.append(Database(str(named)))
            continue
        path = Path(named)
        before = len(found.logs)
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts):
                    _add(found, file, is_named=False)
            if len(found.logs) == before:
                raise InputError(f"{path}: no log in this folder. A log is {KINDS}.")
        elif path.exists():
            _add(found, path, is_named=True)
        else:
            raise InputError(f"{path}: there is no such file or folder.")
    return found


def _add(found: Found, path: Path, *, is_named: bool) -> None:
    try:
        with path.open("rb") as file:
            packing = packing_of(file.read(8))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error
    if packing == "zip":
        members = [member for member in members_of(path) if _is_log(member, found)]
        if is_named and not members:
            raise InputError(f"{path}: no log in this archive. A log is {KINDS}.")
        found.logs += members
    elif is_named or _is_log(LogFile(path), found):
        found.logs.append(LogFile(path, is_named=is_named))


def _is_log(file: LogFile, found: Found) -> bool:
    try:
        with opened(file) as stream:
            head = stream.read(HEAD_BYTES)
    except InputError:
        return True  # it is refused with the reason when it is to be read, and the others are imported
    is_log = packing_of(head) == "parquet" or shape_of(Utf8(file.name, _Peeked(head)).read(HEAD_BYTES)) is not None
    if not is_log:
        found.others.append(file.name)
    return is_log


class _Peeked:
    """A stream of which the beginning was read already."""

    def __init__(self, head: bytes, rest: Readable | None = None) -> None:
        self._head = head
        self._rest = rest

    def read(self, count: int) -> bytes:
        if self._head:
            data, self._head = self._head[:count], self._head[count:]
            return data
        return b"" if self._rest is None else self._rest.read(count)


def _head_of(stream: Readable) -> bytes:
    head = b""
    while len(head) < HEAD_BYTES and (data := stream.read(HEAD_BYTES)):
        head += data
    return head


@dataclass(frozen=True, slots=True)
class Log:
    """A log that is open."""

    file: LogFile
    shape: Shape | None
    """None: a Parquet file."""
    head: bytes
    """As UTF-8; of a Parquet file nothing."""
    _stream: Readable
    _unpacked: Unpacked

    @property
    def position(self) -> int:
        """How many bytes of the file on the disk have been read."""
        return self._unpacked.position

    def pieces(self) -> Iterator[Piece]:
        """All of its rows, many at a time. May be asked once."""
        if self.shape is None:
            return parquet_pieces(self.file)
        match self.shape.kind:
            case "json-lines":
                return line_pieces(self.file.name, self._stream)
            case "json-values":
                return value_pieces(self.file.name, self._stream, depth=self.shape.depth)
            case "table":
                return table_pieces(self.file.name, self._stream, delimiter=self.shape.delimiter)


@contextmanager
def open_log(file: LogFile | Database, *, encoding: str | None = None) -> Iterator[Log | OpenTable]:
    """A log, ready to be read.

    Args:
        file: As `find_logs` gives it.
        encoding: Of its text, if the user says; None: UTF-8, or as its first bytes say.

    Raises:
        InputError: it cannot be read, or is no log.
    """
    if isinstance(file, Database):
        with open_table(file) as table:
            yield table
        return
    with opened(file) as unpacked:
        start = unpacked.read(4)
        if packing_of(start) == "parquet":
            if file.member is not None or packing_of(_first_bytes(file.path)) != "parquet":
                raise InputError(f"{file.name}: a Parquet file that is packed. Unpack it and import it.")
            yield Log(file, None, b"", unpacked, unpacked)
            return
        text = Utf8(file.name, _Peeked(start, unpacked), encoding)
        head = _head_of(text)
        shape = shape_of(head) if head.strip() else Shape("json-lines")
        if shape is None:
            raise InputError(f"{file.name}: no log that can be read. A log is {KINDS}.")
        yield Log(file, shape, head, _Peeked(head, text), unpacked)


def read_log(file: Path | LogFile | Database, *, encoding: str | None = None) -> Iterator[RawRow | Rejected | Blank]:
    """Rows of a log, one after another, in bounded memory.

    Raises:
        InputError: the file cannot be read, is no log, or is cut off where no single row can be blamed.
    """
    with open_log(LogFile(file) if isinstance(file, Path) else file, encoding=encoding) as log:
        for piece in log.pieces():
            yield from piece.rows()


def first_rows(file: LogFile | Database, count: int, *, encoding: str | None = None) -> list[RawRow | Rejected | Blank]:
    """The first rows of a log; fewer than asked for if they are long."""
    rows = read_log(file, encoding=encoding)
    try:
        return list(islice(rows, count))
    finally:
        rows.close()  # type: ignore[attr-defined]  # a generator; it holds the file open


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(8)
