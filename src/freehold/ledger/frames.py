"""Frames: how records lie one after the other in a segment, and how they are found again in a damaged one.

A frame is a header of 41 bytes and a payload. All numbers are little-endian.

    magic 4 | check of the header 4 | check of the payload 4 | length 4 | sequence 8 | kind 1 | call id 16

Both checks are CRC-32 and start from the writer's salt, a random number. What a client wrote into a body can
therefore not pass for a frame when a reader has lost its place and looks for the next one. The header has a check of
its own, so a flipped bit in a payload costs that payload only. Sequence numbers rise by one over all segments of a
writer: a gap says how many records are missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from mmap import mmap

MAGIC = b"\xfe\xf7\xffF"
"""Its first three bytes never occur in UTF-8."""
LONGEST_PAYLOAD = 1 << 20
"""Bytes; longer bodies are cut into several frames."""
NO_CALL = bytes(16)

_FRONT = Struct("<4sI")
_REST = Struct("<IIQB16s")
_CHECK = Struct("<I")
HEADER_BYTES = _FRONT.size + _REST.size
_pack_front, _pack_rest = _FRONT.pack, _REST.pack


class Kind(IntEnum):
    """What a frame carries."""

    START = 0
    """First frame of a segment."""
    OPEN = 1
    REQUEST = 2
    RESPONSE = 3
    CLOSE = 4
    SEAL = 5
    """Last frame of a segment that was finished in order."""


_KINDS = frozenset(int(kind) for kind in Kind)


class Frame(msgspec.Struct, frozen=True):
    """A whole frame of a segment: `segment[payload_start:end]` is its payload."""

    kind: int
    call_id: bytes
    sequence: int
    start: int
    payload_start: int
    end: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes that are no frame, or a jump of the sequence between two frames."""

    start: int
    end: int
    lost: int
    """Records that are missing, as the sequence has it; 0 at the end of the data, where nothing follows that tells."""


def header_of(kind: int, call_id: bytes, payload: bytes | bytearray, sequence: int, salt: int) -> bytes:
    """The 41 bytes that stand before a payload."""
    rest = _pack_rest(crc32(payload, salt), len(payload), sequence, kind, call_id)
    return _pack_front(MAGIC, crc32(rest, salt)) + rest


def frames_in(
    data: bytes | mmap, *, salt: int, start: int = 0, end: int | None = None, sequence: int | None = None
) -> Iterator[Frame | Gap]:
    """Frames of a segment in order, with a gap for whatever is not one.

    After damage the next whole frame is looked for, so that what was written before and after it is kept.
    Takes time linear in the length of the data, whatever the data are.

    Args:
        data: The segment.
        salt: The writer's.
        start: Where to begin: 0, or the end of a frame.
        end: Where to stop; None: at the end of the data.
        sequence: Number that the first frame must bear; None: any.
    """
    with memoryview(data) as view:
        end = len(view) if end is None else min(end, len(view))
        position, damaged_from = start, -1
        while position + HEADER_BYTES <= end:
            found = _frame_at(view, position, end, salt)
            if (
                found is None
                or (sequence is not None and found.sequence < sequence)
                or not _is_whole(view, found, salt)
            ):
                damaged_from = position if damaged_from < 0 else damaged_from
                # A right header tells where the next frame is, even if its payload is damaged.
                position = _next_magic(data, position + 1, end) if found is None else found.end
                continue
            lost = 0 if sequence is None else found.sequence - sequence
            if damaged_from >= 0 or lost:
                yield Gap(position if damaged_from < 0 else damaged_from, position, lost)
                damaged_from = -1
            yield found
            sequence, position = found.sequence + 1, found.end
        if damaged_from >= 0 or position < end:
            yield Gap(position if damaged_from < 0 else damaged_from, end, 0)


def _frame_at(view: memoryview, position: int, end: int, salt: int) -> Frame | None:
    """The frame whose header begins here; None if there is none, or if it reaches beyond the end."""
    magic, check = _FRONT.unpack_from(view, position)
    if magic != MAGIC or crc32(view[position + _FRONT.size : position + HEADER_BYTES], salt) != check:
        return None
    _, length, sequence, kind, call_id = _REST.unpack_from(view, position + _FRONT.size)
    payload_start = position + HEADER_BYTES
    if length > LONGEST_PAYLOAD or kind not in _KINDS or payload_start + length > end:
        return None
    return Frame(kind, call_id, sequence, position, payload_start, payload_start + length)


def _is_whole(view: memoryview, frame: Frame, salt: int) -> bool:
    (check,) = _CHECK.unpack_from(view, frame.start + _FRONT.size)
    return bool(crc32(view[frame.payload_start : frame.end], salt) == check)


def _next_magic(data: bytes | mmap, position: int, end: int) -> int:
    """Where the next header may begin; `end` if nowhere."""
    found = data.find(MAGIC, position, end)
    return end if found < 0 else found
