"""Looks through segments that nobody has ingested yet: what is damaged, and what is missing.

What was read and removed already is known from the index; so is damage that was found and counted then.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from freehold.ledger.frames import Gap, frames_in
from freehold.ledger.index import IS_FIRST
from freehold.ledger.ingest import CALLS, SEGMENTS
from freehold.ledger.scan import Position
from freehold.ledger.segment_files import writer_folders

if TYPE_CHECKING:
    from pathlib import Path

    from freehold.ledger.index import Index
    from freehold.ledger.segment_files import Progress, Segment, WriterFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not as it must be."""

    place: str
    """File, below the ledger's folder."""
    reason: str
    offset: int | None = None
    lost: int | None = None
    """Records or rows that are missing; None: not known."""

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """As `ledger verify --json` lists it."""
        return {"file": self.place, "reason": self.reason, "offset": self.offset, "lost": self.lost}


@dataclass(slots=True)
class Verified:
    """What was looked at and what was found."""

    damaged: list[Finding] = field(default_factory=list)
    segments: int = 0
    files: int = 0
    rows: int = 0

    @property
    def ok(self) -> bool:
        """Nothing is damaged, and no earlier loss is waiting for `repair` to take note of it."""
        return not self.damaged


def verify_segments(segments: Path, index: Index | None, found: Verified) -> None:
    """Check every frame of every worker; `index` says what an ingester has done with them."""
    # Where an index was lost, segments may have been read and removed of which nobody knows any more.
    is_first = not any((segments.parent / CALLS).glob("day=*/*.parquet")) if index is None else index.fact(IS_FIRST)
    for folder in writer_folders(segments):
        _Look(folder, index, found, starts_at=1 if is_first else None).through()


class _Look:
    """At what one worker has written."""

    def __init__(self, folder: WriterFolder, index: Index | None, found: Verified, *, starts_at: int | None) -> None:
        self._folder = folder
        self._found = found
        self._is_alive = folder.is_alive()
        self._progress = folder.progress()
        self._segments = folder.segments()
        # After the list: what is no longer in it was read before.
        self._read, self._is_finished = _position(folder, index)
        self._known = _known_damage(folder, index)
        self._sequence = self._read.sequence if self._read else starts_at

    def through(self) -> None:
        """All segments in order."""
        if self._is_finished or (self._is_alive and self._progress is None):
            return  # its folder is about to go; or it is writing its progress just now
        previous = 0
        for segment in self._segments:
            self._sequence = self._expected(previous, segment)
            self._look_at(segment)
            previous = segment.number
        if not self._is_alive and self._progress is not None and self._folder.path.exists():
            lost = self._progress.sequence - (self._progress.sequence if self._sequence is None else self._sequence)
            if lost > 0:
                self._note(f"{SEGMENTS}/{self._folder.name}", "the end is missing", None, lost)

    def _expected(self, previous: int, segment: Segment) -> int | None:
        """Number of the segment's first record; None: any, as what stood before it was read and removed."""
        if segment.number == 1:
            return 1
        if segment.number == previous + 1:
            return self._sequence
        if self._read is None:
            return self._sequence
        if segment.number <= self._read.segment:
            return None
        return self._read.sequence if previous < self._read.segment else self._sequence

    def _look_at(self, segment: Segment) -> None:
        try:
            with segment.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                self._found.segments += 1
                end, number = self._end(segment), segment.number
                for item in frames_in(data, salt=self._folder.salt, end=end, sequence=self._sequence):
                    if not isinstance(item, Gap):
                        self._sequence = item.sequence + 1
                    elif (
                        not _is_torn(self._progress, number, item)
                        and (segment.path.name, item.start) not in self._known
                    ):
                        reason = "bytes are damaged" if item.end > item.start else "records are missing"
                        place = f"{SEGMENTS}/{self._folder.name}/{segment.path.name}"
                        self._note(place, reason, item.start, item.lost or None)
        except FileNotFoundError:
            self._sequence = None  # an ingester has read it since
        except ValueError:
            self._found.segments += 1  # it is empty

    def _end(self, segment: Segment) -> int | None:
        """Behind it nothing was promised yet."""
        progress = self._progress
        if not self._is_alive or progress is None or segment.number < progress.number:
            return None
        return progress.offset if segment.number == progress.number else 0

    def _note(self, place: str, reason: str, offset: int | None, lost: int | None) -> None:
        self._found.damaged.append(Finding(place=place, reason=reason, offset=offset, lost=lost))


def _position(folder: WriterFolder, index: Index | None) -> tuple[Position | None, bool]:
    """How far a worker's segments were read, and whether to their end."""
    if index is None:
        return None, False
    query = "select segment, position, sequence, is_finished from writers where name = ?"
    row = index.connection.execute(query, (folder.name,)).fetchone()
    return (None, False) if row is None else (Position(*row[:3]), bool(row[3]))


def _known_damage(folder: WriterFolder, index: Index | None) -> set[tuple[str, int]]:
    """Segment and place of damage that was counted when it was read."""
    if index is None:
        return set()
    rows = index.connection.execute("select place, start from damages").fetchall()
    places = ((place.partition("/"), start) for place, start in rows)
    return {(parts[2], start) for parts, start in places if parts[0] == folder.name}


def _is_torn(progress: Progress | None, number: int, gap: Gap) -> bool:
    """The piece of a record that was being written when its worker died; nobody was told that it was there."""
    return gap.lost == 0 and progress is not None and (progress.number, progress.offset) <= (number, gap.start)
