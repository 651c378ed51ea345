"""Finds the logs that were named and reads their rows, known by what they hold and not by what they are called."""

from __future__ import annotations

import csv
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from freehold.core.errors import InputError
from freehold.ledger.logs.container import LogFile, Unpacked, members_of, opened, packing_of
from freehold.ledger.logs.imported import Refused
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
from freehold.ledger.logs.text import Utf8, encoding_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from freehold.ledger.logs.text import Readable

KINDS = (
    "JSON Lines, a JSON document, a CSV table or a Parquet file, plain or packed with gzip, Zstandard, bzip2, xz or zip"
)

_TELLING_BYTES = 512
"""So many tell how a file is packed and encoded."""


@dataclass(slots=True)
class Found:
    """What stood under the paths that were named."""

    logs: list[LogFile | Database] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    """Files inside of folders and archives that are no logs."""
    refused: list[Refused] = field(default_factory=list)
    """Files and folders that cannot be opened, and archives that are damaged."""


def find_logs(paths: Sequence[str | Path], *, encoding: str | None = None) -> Found:
    """The logs that were named, and those inside the folders and archives that were named, in order.

    What is hidden inside a folder, such as the data of a workspace, is passed over. What cannot be read is refused and
    does not keep the others from being found.

    Args:
        paths: Files, folders and addresses of databases.
        encoding: Of their text, if the user says.

    Raises:
        InputError: a path does not exist, is no log, or holds none.
    """
    found = Found()
    for named in paths:
        if str(named).startswith(SCHEMES):
            found.logs.append(Database(str(named)))
            continue
        path = Path(named)
        before = len(found.logs) + len(found.refused)
        if path.is_dir():
            for file in _files_of(path, found):
                _add(found, file, encoding, is_named=False)
            if len(found.logs) + len(found.refused) == before:
                raise InputError(f"{path}: no log in this folder. A log is {KINDS}.")
        elif path.is_file():
            _add(found, path, encoding, is_named=True)
        elif path.exists():
            raise InputError(f"{path}: no file, but a pipe or a device. Write what comes out of it into a file first.")
        else:
            raise InputError(f"{path}: there is no such file or folder.")
    return found


def _files_of(folder: Path, found: Found) -> list[Path]:
    """The files inside of a folder that are not hidden, in order; what hides more of them is noted."""

    def cannot_be_listed(error: OSError) -> None:
        found.refused.append(Refused(str(error.filename), f"{error.filename}: cannot be read ({error.strerror})."))

    files: list[Path] = []
    for inside, folders, names in os.walk(folder, onerror=cannot_be_listed):
        place = Path(inside)
        folders[:] = [name for name in folders if not name.startswith(".")]
        found.others += [str(place / name) for name in sorted(folders) if (place / name).is_symlink()]
        files += [place / name for name in names if not name.startswith(".")]
    return sorted(files)


def _add(found: Found, path: Path, encoding: str | None, *, is_named: bool) -> None:
    if not path.is_file() and not path.is_symlink():
        found.others.append(str(path))  # a socket, or a pipe that nobody may ever write into
        return
    try:
        with path.open("rb") as file:
            packing = packing_of(file.read(8))
        inside = members_of(path) if packing == "zip" else []
    except OSError as error:
        found.refused.append(Refused(str(path), f"{path}: cannot be read ({error.strerror or error})."))
        return
    except InputError as error:
        found.refused.append(Refused(str(path), str(error)))
        return
    if packing == "zip":
        members = [member for member in inside if _is_log(member, found, encoding)]
        if is_named and not members:
            raise InputError(f"{path}: no log in this archive. A log is {KINDS}.")
        found.logs += members
    elif is_named or _is_log(LogFile(path), found, encoding):
        found.logs.append(LogFile(path, is_named=is_named))


def _is_log(file: LogFile, found: Found, encoding: str | None) -> bool:
    try:
        with opened(file) as stream:
            head = stream.read(HEAD_BYTES)
        is_log = packing_of(head) == "parquet" or shape_of(_text_at(file, head, encoding)) is not None
    except InputError:
        return True  # it is refused with the reason when it is to be read, and the others are imported
    if not is_log:
        found.others.append(file.name)
    return is_log


def _text_at(file: LogFile, head: bytes, encoding: str | None) -> bytes:
    """How the text of a file begins, as UTF-8; what is no text in its encoding gives no error here."""
    try:
        return Utf8(file.name, _Peeked(head), encoding).read(HEAD_BYTES)
    except InputError:
        return head.decode(encoding or encoding_of(head) or "utf-8", "replace").encode("utf-8", "replace")


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


def _head_of(stream: Readable, size: int = HEAD_BYTES) -> bytes:
    head = b""
    while len(head) < size and (data := stream.read(size)):
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
        start = _head_of(unpacked, _TELLING_BYTES)
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


def header_of(file: LogFile | Database, *, encoding: str | None = None) -> list[str]:
    """The names of the columns of a table; [] of what is none, or cannot be opened."""
    try:
        with open_log(file, encoding=encoding) as log:
            if not isinstance(log, Log) or log.shape is None or log.shape.kind != "table":
                return []
            first = log.head.lstrip().split(b"\n", 1)[0].decode("utf-8", "replace").strip("\r")
            return next(csv.reader([first], delimiter=log.shape.delimiter), [])
    except InputError:
        return []


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(8)
