"""Reads what one worker wrote: which calls have ended, which are open, and what is missing.

Only the places of a call's frames are kept in memory, so that a body of any size, or a call of any length, costs
little until its row is made.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from freehold.ledger.frames import Frame, Gap, Kind, frames_in
from freehold.ledger.records import CloseRecord, OpenRecord, decode_close, decode_open
from freehold.ledger.rows import Attempt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from freehold.ledger.segment_files import Segment, WriterFolder

# As plain numbers: an enumeration's members are looked up anew each time.
_OPEN, _REQUEST, _CLOSE = int(Kind.OPEN), int(Kind.REQUEST), int(Kind.CLOSE)
_BEFORE_CLOSE = frozenset((_OPEN, _REQUEST, int(Kind.RESPONSE)))
Place = tuple[int, int, int, int]
"""Kind, number of the segment, start and end of the payload."""


class Position(msgspec.Struct, frozen=True):
    """How far a worker's segments have been read."""

    segment: int = 0
    offset: int = 0
    sequence: int | None = None
    """Of the next frame; None: of the first one, whatever it is."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of a segment that could not be read."""

    place: str
    """Folder and name of the segment."""
    start: int
    end: int
    lost: int
    """Records that are missing."""
    reason: str


@dataclass(slots=True)
class Scan:
    """The state of reading one worker's segments; `read` takes it further."""

    folder: WriterFolder
    position: Position = field(default_factory=Position)
    open_calls: dict[bytes, list[Place]] = field(default_factory=dict)
    damages: list[Damage] = field(default_factory=list)
    """Found since the caller last emptied the list."""
    is_finished: bool = False
    """The worker is dead and all it wrote was read."""
    committed: Position | None = None
    """What the index says."""
    _maps: dict[int, mmap.mmap] = field(default_factory=dict)

    def read(self) -> Iterator[Attempt]:
        """Calls that have ended, in the order of their ends; those that a dead worker left open come last.

        After each one, `position`, `open_calls` and `damages` tell exactly what has been read so far.
        """
        is_alive = self.folder.is_alive()
        progress = self.folder.progress()
        if is_alive and progress is None:
            return  # it is writing its progress just now, or has not begun
        try:
            for segment in self.folder.segments():
                if segment.number < self.position.segment:
                    continue
                end = None
                if is_alive and progress is not None and segment.number >= progress.number:
                    if segment.number > progress.number:
                        break  # begun a moment ago
                    end = progress.offset
                yield from self._segment(segment, end, is_alive=is_alive)
            if not is_alive:
                self._note_what_was_promised()
                for call_id in list(self.open_calls):
                    yield self._attempt(call_id, self.open_calls.pop(call_id))
                self.is_finished = True
        finally:
            self.close()

    @property
    def has_moved(self) -> bool:
        """There is something that the index does not say yet."""
        return self.is_finished or bool(self.damages) or self.position != self.committed

    def pinned(self) -> set[int]:
        """Numbers of segments that are still needed."""
        return {self.position.segment} | {place[1] for places in self.open_calls.values() for place in places}

    def close(self) -> None:
        """Let go of the files."""
        for data in self._maps.values():
            data.close()
        self._maps.clear()

    def _segment(self, segment: Segment, end: int | None, *, is_alive: bool) -> Iterator[Attempt]:
        if segment.number != self.position.segment:
            self.position = Position(segment.number, 0, 1 if segment.number == 1 else self.position.sequence)
        data = self._map(segment.number)
        if data is None:
            return
        for item in frames_in(
            data, salt=self.folder.salt, start=self.position.offset, end=end, sequence=self.position.sequence
        ):
            if isinstance(item, Gap):
                self._note(segment, item, is_alive=is_alive)
                continue
            self.position = Position(segment.number, item.end, item.sequence + 1)
            if item.kind == _CLOSE:
                places = self.open_calls.pop(item.call_id, [])
                yield self._attempt(item.call_id, [*places, _place(segment, item)])
            elif item.kind in _BEFORE_CLOSE:
                self.open_calls.setdefault(item.call_id, []).append(_place(segment, item))
        if end is None:
            self.position = Position(segment.number, len(data), self.position.sequence)

    def _note(self, segment: Segment, gap: Gap, *, is_alive: bool) -> None:
        """Damage; but not the piece of a record that a worker was writing when it died: nobody was told of it."""
        progress = None if is_alive else self.folder.progress()
        is_torn = progress is not None and (progress.number, progress.offset) <= (segment.number, gap.start)
        if is_torn and gap.lost == 0:
            return
        reason = "records are missing" if gap.start == gap.end else "bytes are damaged"
        # Where nothing follows that could tell how many were lost, whatever stood there was one at least.
        is_end = segment == self.folder.segments()[-1]
        lost = gap.lost or int(progress is None and not is_alive and is_end)
        place = f"{self.folder.name}/{segment.path.name}"
        self.damages.append(Damage(place, gap.start, gap.end, lost, reason))

    def _note_what_was_promised(self) -> None:
        """A dead worker's last word says how many records there must be: the end of a file may be missing."""
        progress, segments = self.folder.progress(), self.folder.segments()
        if progress is None:
            return
        lost = progress.sequence - (self.position.sequence or 1)
        if lost > 0:
            last = f"{progress.number:08d}.seg" if not segments else segments[-1].path.name
            size = self.position.offset
            self.damages.append(Damage(f"{self.folder.name}/{last}", size, size, lost, "the end is missing"))

    def _attempt(self, call_id: bytes, places: list[Place]) -> Attempt:
        head, tail = None, None
        requests: list[bytes] = []
        responses: list[bytes] = []
        for kind, number, start, end in places:
            data = self._map(number)
            payload = b"" if data is None else data[start:end]
            if kind == _OPEN:
                head = _decoded_open(payload)
            elif kind == _CLOSE:
                tail = _decoded_close(payload)
            else:
                (requests if kind == _REQUEST else responses).append(payload)
        return Attempt(call_id, head, tail, b"".join(requests), b"".join(responses))

    def _map(self, number: int) -> mmap.mmap | None:
        """A segment's bytes; None if it is empty or gone."""
        if number not in self._maps:
            for other in self._maps.keys() - {self.position.segment}:
                self._maps.pop(other).close()  # what was looked at counts as memory of this process
            path = self.folder.path / f"{number:08d}.seg"
            try:
                with path.open("rb") as file:
                    self._maps[number] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (FileNotFoundError, ValueError):
                return None
        return self._maps[number]


def _place(segment: Segment, frame: Frame) -> Place:
    return (frame.kind, segment.number, frame.payload_start, frame.end)


def _decoded_open(payload: bytes) -> OpenRecord | None:
    try:
        return decode_open(payload)
    except msgspec.MsgspecError:
        return None


def _decoded_close(payload: bytes) -> CloseRecord | None:
    try:
        return decode_close(payload)
    except msgspec.MsgspecError:
        return None
