"""Opens what a log is packed in: gzip, Zstandard, bzip2, xz or a zip archive, known by its first bytes.

A few kilobytes may unpack to terabytes. Nothing is unpacked into memory or onto the disk, and what unpacks to
many times its size is refused. Files in an archive may be packed once more, as buckets keep them, but archives within
archives are refused: they are how such bombs are built.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import zipfile
import zlib
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, TYPE_CHECKING, cast

import pyarrow as pa

from freehold.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_TIMES = 500
"""Logs shrink to a tenth or a fiftieth; what unpacks to more times its size than this is no log."""
_LEAST_SUSPICIOUS_BYTES = 256 << 20
_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"PAR1", "parquet"),
)
_NOT_INSIDE = frozenset({"zip", "parquet"})
_MOST_MEMBERS = 100_000
_LEAST_READ = 1 << 12
_DAMAGES = (
    EOFError,
    OSError,
    ValueError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    struct.error,
    pa.ArrowException,
)
"""What unpacking raises where a file is not what it should be."""


@dataclass(frozen=True, slots=True)
class LogFile:
    """A log to be read: a file, or a member of an archive."""

    path: Path
    member: str | None = None
    is_named: bool = False
    """By the user; otherwise it stood in a folder or archive, where other files may be too."""

    @property
    def name(self) -> str:
        """As messages show it."""
        return str(self.path) if self.member is None else f"{self.path}!{self.member}"

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        try:
            if self.member is None:
                return self.path.stat().st_size
            return _archive_of(self.path).getinfo(self.member).compress_size
        except (*_DAMAGES, KeyError):
            return 0  # it has gone since it was found; reading it will say so


def packing_of(head: bytes) -> str | None:
    """What the first bytes of a file say it is; None: it is not packed."""
    return next((name for magic, name in _MAGIC if head.startswith(magic)), None)


def members_of(path: Path) -> list[LogFile]:
    """The files inside of a zip archive, in order; what is hidden is passed over.

    Raises:
        InputError: it is damaged, encrypted, or built to unpack to far more than it can hold.
    """
    try:
        members = _archive_of(path).infolist()
        inside = [info for info in members if not info.is_dir() and not _is_hidden(info.filename)]
    except (*_DAMAGES, NotImplementedError) as error:
        raise InputError(f"{path}: no whole zip archive ({error}). Fetch it again.") from error
    if len(inside) > _MOST_MEMBERS:
        raise InputError(f"{path}: {len(inside):,} files in one archive. Unpack it and name the folder.")
    if any(info.flag_bits & 0x1 for info in inside):
        raise InputError(f"{path}: the archive is encrypted. Unpack it and name the folder.")
    _check(str(path), sum(info.file_size for info in inside), path.stat().st_size)
    return [LogFile(path, info.filename) for info in sorted(inside, key=lambda info: info.filename)]


class Unpacked:
    """The bytes of a log without its packing, from front to back."""

    def __init__(self, name: str, stream: IO[bytes], raw: IO[bytes] | None, size: int) -> None:
        """`raw` is the packed stream, if it can tell how far it was read; `size` all of its bytes."""
        self._name = name
        self._stream = stream
        self._raw = raw
        self._size = size
        self._given = 0

    def read(self, count: int) -> bytes:
        """The next bytes; fewer at the end, none after it.

        Raises:
            InputError: the file is damaged or cut off, or unpacks to far more than its size.
        """
        try:
            data = self._stream.read(self._no_more_than(count))
        except _DAMAGES as error:
            said = str(error) or type(error).__name__
            raise InputError(
                f"{self._name}: the file is cut off or broken ({said}). Nothing of it was imported: fetch it again."
            ) from error
        self._given += len(data)
        if self._raw is not self._stream:
            _check(self._name, self._given, self.position)
        return bytes(data)

    def _no_more_than(self, count: int) -> int:
        """Less than was asked for of a small file: room is made for all that is asked for."""
        if self._raw is not self._stream:
            return count
        return min(count, max(_LEAST_READ, self._size - self._given + 1))

    @property
    def position(self) -> int:
        """How many bytes of the file on the disk have been read."""
        if self._raw is None:
            return min(self._size, self._given)
        return self._raw.tell()


@contextmanager
def opened(file: LogFile) -> Iterator[Unpacked]:
    """The bytes inside of a log file, whatever it is packed in.

    Raises:
        InputError: it cannot be opened, or is packed twice.
    """
    with ExitStack() as stack:
        try:
            unpacked = _member(file, stack) if file.member is not None else _whole(file, stack)
        except (*_DAMAGES, KeyError, NotImplementedError, RuntimeError) as error:
            said = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise InputError(f"{file.name}: cannot be read ({said}).") from error
        yield unpacked


def _member(file: LogFile, stack: ExitStack) -> Unpacked:
    assert file.member is not None
    archive = _archive_of(file.path)
    inner = stack.enter_context(archive.open(file.member))
    packing = packing_of(inner.read(8))
    inner.seek(0)
    if packing in _NOT_INSIDE:
        raise InputError(f"{file.name}: {packing} inside of an archive. Unpack the outer one and name what is in it.")
    stream = inner if packing is None else stack.enter_context(_unpacking(packing, inner))
    return Unpacked(file.name, stream, None, archive.getinfo(file.member).compress_size)


def _whole(file: LogFile, stack: ExitStack) -> Unpacked:
    raw: IO[bytes] = stack.enter_context(file.path.open("rb"))
    packing = packing_of(raw.read(8))
    raw.seek(0)
    stream = raw if packing is None else stack.enter_context(_unpacking(packing, raw))
    return Unpacked(file.name, stream, raw, file.size)


def _archive_of(path: Path) -> zipfile.ZipFile:
    """An archive that is open. Its list of members is read once, however many of them are."""
    state = path.stat()
    return _archive(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1)
def _archive(path: Path, _changed_ns: int, _size: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)  # closed when it is let go


def _unpacking(packing: str, raw: IO[bytes]) -> IO[bytes]:
    match packing:
        case "gzip":
            return cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
        case "bzip2":
            return cast("IO[bytes]", bz2.BZ2File(raw))
        case "xz":
            return cast("IO[bytes]", lzma.LZMAFile(raw))
        case "zstd":
            return cast("IO[bytes]", pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd"))
        case _:
            return raw  # a zip archive is opened by its members, Parquet by its own reader


def _check(name: str, unpacked: int, packed: int) -> None:
    if unpacked > max(_LEAST_SUSPICIOUS_BYTES, MOST_TIMES * packed):
        raise InputError(
            f"{name}: unpacks to more than {MOST_TIMES} times its size, as archives do that are made to fill a disk. "
            "If it is a log, unpack it and import what is in it."
        )


def _is_hidden(member: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in member.split("/"))
