"""Where segments lie, who is writing them, and how far a writer says it has come.

segments/<worker>.<salt>/            one folder per life of a worker
    live                             locked while the worker lives; holds its progress
    00000001.seg, 00000002.seg, …    frames; sequence numbers run on from one to the next
"""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import shutil
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_FOLDER = re.compile(r"(?P<worker>[A-Za-z0-9_-]{1,64})\.(?P<salt>[0-9a-f]{8})")
_SEGMENT = re.compile(r"(?P<number>\d{8})\.seg")
_PROGRESS = Struct("<8sQQQQ")
_MARK = b"FHLIVE01"
LIVE = "live"
_MOST_PIECES = 512
"""Of one pwritev; Linux allows 1,024."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a writer has handed to the kernel whole: nothing behind it was ever promised to anyone."""

    number: int
    """Of the segment."""
    offset: int
    """End of the last whole frame in it, bytes."""
    sequence: int
    """Of the next frame."""


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """One segment file."""

    number: int
    path: Path


@dataclass(frozen=True, slots=True)
class WriterFolder:
    """What one life of a worker has written."""

    path: Path
    worker: str
    salt: int

    @property
    def name(self) -> str:
        """Unique among all lives of all workers."""
        return self.path.name

    def segments(self) -> list[Segment]:
        """Segment files in order; none once an ingester has taken the folder away."""
        found = []
        try:
            for path in self.path.iterdir():
                match = _SEGMENT.fullmatch(path.name)
                if match is not None:
                    found.append(Segment(int(match["number"]), path))
        except FileNotFoundError:
            return []
        return sorted(found)

    def is_alive(self) -> bool:
        """A process holds the folder's lock. Without a live file there is none."""
        try:
            descriptor = os.open(self.path / LIVE, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def progress(self) -> Progress | None:
        """How far the writer had come a moment ago; None if it left no word."""
        try:
            data = (self.path / LIVE).read_bytes()
        except FileNotFoundError:
            return None
        return unpack_progress(data, self.salt)


def pack_progress(live: mmap.mmap, progress: Progress, salt: int) -> None:
    """Note progress in the mapped file: memory that outlives the process."""
    number, offset, sequence = progress.number, progress.offset, progress.sequence
    _PROGRESS.pack_into(live, 0, _MARK, number, offset, sequence, number ^ offset ^ sequence ^ salt)


def unpack_progress(data: bytes, salt: int) -> Progress | None:
    """What was noted; None if the bytes are damaged or were being written just now."""
    if len(data) < _PROGRESS.size:
        return None
    mark, number, offset, sequence, check = _PROGRESS.unpack_from(data)
    if mark != _MARK or number ^ offset ^ sequence ^ salt != check:
        return None
    return Progress(number, offset, sequence)


def segment_path(folder: Path, number: int) -> Path:
    """File of a segment."""
    return folder / f"{number:08d}.seg"


def writer_folders(segments: Path) -> Iterator[WriterFolder]:
    """Every life of every worker that has left something, by name."""
    if not segments.is_dir():
        return
    for path in sorted(segments.iterdir()):
        match = _FOLDER.fullmatch(path.name)
        if match is not None and path.is_dir():
            yield WriterFolder(path, match["worker"], int(match["salt"], 16))


def backlog_bytes(segments: Path) -> int:
    """Size of all segments that are still there."""
    total = 0
    for folder in writer_folders(segments):
        try:
            total += sum(segment.path.stat().st_size for segment in folder.segments())
        except FileNotFoundError:
            continue  # an ingester has just removed it
    return total


def lack_of_space(segments: Path, min_free_bytes: int, max_backlog_bytes: int | None) -> str | None:
    """Why there is no space for further calls, in one sentence; None if there is."""
    free = shutil.disk_usage(segments).free
    if free < min_free_bytes:
        return f"The ledger's disk has {free >> 20} MiB left; {min_free_bytes >> 20} are kept free."
    if max_backlog_bytes is not None and backlog_bytes(segments) > max_backlog_bytes:
        return f"The segments hold more than {max_backlog_bytes >> 20} MiB: the ingester is behind."
    return None


def open_live(path: Path) -> tuple[int, mmap.mmap]:
    """The locked file that shows that a writer lives and how far it has come."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.ftruncate(descriptor, _PROGRESS.size)
    return descriptor, mmap.mmap(descriptor, _PROGRESS.size)


def write_all(descriptor: int, pieces: Sequence[bytes | bytearray], offset: int) -> None:
    """Write pieces one after the other from an offset on.

    Raises:
        OSError: not all could be written; a part may have been.
    """
    if len(pieces) <= _MOST_PIECES and os.pwritev(descriptor, pieces, offset) == sum(map(len, pieces)):
        return  # nearly always
    for first in range(0, len(pieces), _MOST_PIECES):
        group = pieces[first : first + _MOST_PIECES]
        size = sum(map(len, group))
        done = os.pwritev(descriptor, group, offset)
        while done < size:  # a disk that is nearly full takes a part
            rest = b"".join(group)[done:]
            done += os.pwrite(descriptor, rest, offset + done)
        offset += size


def make_private(folder: Path) -> None:
    """Make a folder, if there is none, that its owner alone may look into: what lies in it is other people's text."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def sync_folder(path: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
