"""Records that a worker has not handed to the kernel yet. Pieces of one body that wait together become one frame."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

from freehold.ledger.frames import HEADER_BYTES, LONGEST_PAYLOAD, header_of

if TYPE_CHECKING:
    from collections.abc import Callable

MANY_BYTES = 64 * 1024
"""More than this is not left waiting."""


class WaitingFrames:
    """In the order in which they are to be written; they are numbered then. Whoever touches them holds `lock`."""

    __slots__ = ("_frames", "_growing", "has_room", "is_told", "lock", "size", "told")

    def __init__(self) -> None:
        """Nothing waits."""
        self.lock = threading.Lock()
        self.told = threading.Event()
        """Set when there is work for whoever empties this."""
        self.is_told = False
        """As `told`, for those who would set it often."""
        self.has_room = True
        """More may come. Whoever empties this says so."""
        self.size = 0
        """Bytes of all frames, headers included; 0: nothing waits."""
        self._frames: list[tuple[int, bytes, bytes | bytearray]] = []
        self._growing: list[GrowingBody] = []

    def __len__(self) -> int:
        """How many frames."""
        return len(self._frames)

    def tell(self) -> None:
        """Wake whoever empties this."""
        if not self.is_told:
            self.is_told = True
            self.told.set()

    def add(self, kind: int, call_id: bytes, payload: bytes | bytearray) -> None:
        """A frame of its own."""
        self._frames.append((kind, call_id, payload))
        self.size += HEADER_BYTES + len(payload)

    def add_body(self, kind: int, call_id: bytes, body: bytes) -> None:
        """A body, or its rest, in as many frames as it takes. If more follows all the same, it grows anew."""
        for start in range(0, len(body), LONGEST_PAYLOAD):
            self.add(kind, call_id, body[start : start + LONGEST_PAYLOAD])

    def add_growing(self, kind: int, call_id: bytes, body: GrowingBody) -> bytearray:
        """A frame that takes further pieces until it is written."""
        frame = bytearray()
        self.add(kind, call_id, frame)
        self._growing.append(body)
        return frame

    def numbered(self, sequence: int, salt: int) -> list[bytes | bytearray]:
        """Headers and payloads, the first of which bears this number."""
        pieces: list[bytes | bytearray] = []
        for number, (kind, call_id, payload) in enumerate(self._frames, sequence):
            pieces.append(header_of(kind, call_id, payload, number, salt))
            pieces.append(payload)
        return pieces

    def clear(self) -> None:
        """All has been written."""
        for body in self._growing:
            body.frame = None
        self._growing.clear()
        self._frames.clear()
        self.size = 0


class Waiters:
    """Those who wait until all bytes up to a place are safe, on loops of any thread."""

    def __init__(self) -> None:
        """Nobody waits."""
        self._lock = threading.Lock()
        self._waiters: list[tuple[int, asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def add(self, place: int) -> asyncio.Future[None]:
        """Give what is done when all bytes up to `place` are safe. To be called in a running loop."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._lock:
            self._waiters.append((place, loop, future))
        return future

    def release(self, safe: int) -> None:
        """All bytes up to `safe` are."""
        with self._lock:
            ready = [waiter for waiter in self._waiters if waiter[0] <= safe]
            self._waiters = [waiter for waiter in self._waiters if waiter[0] > safe]
        for _, loop, future in ready:
            with contextlib.suppress(RuntimeError):  # that loop is closed
                loop.call_soon_threadsafe(_resolve, future)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class GrowingBody:
    """A body that is recorded as it passes. An event of a stream costs less than a frame of its own would."""

    __slots__ = ("_call_id", "_flush", "_kind", "_waiting", "frame")

    def __init__(self, waiting: WaitingFrames, kind: int, call_id: bytes, flush: Callable[[], None]) -> None:
        """Of a call; `flush` is called, with the lock held, when much waits."""
        self._waiting = waiting
        self._kind = kind
        self._call_id = call_id
        self._flush = flush
        self.frame: bytearray | None = None
        """The last frame, which takes further pieces; None: it has been written."""

    def add(self, piece: bytes) -> bool:
        """Record the next piece; True: there is room for more, False: wait for it."""
        waiting = self._waiting
        with waiting.lock:
            frame = self.frame
            if frame is None or len(frame) + len(piece) > LONGEST_PAYLOAD:
                if len(piece) > LONGEST_PAYLOAD:
                    waiting.add_body(self._kind, self._call_id, piece)
                    piece = b""
                frame = self.frame = waiting.add_growing(self._kind, self._call_id, self)
            frame += piece
            waiting.size += len(piece)
            if waiting.size > MANY_BYTES and waiting.has_room:
                self._flush()
        if not waiting.is_told:
            waiting.tell()
        return waiting.has_room
