"""Writes the segments of one worker: records reach the kernel when `commit` is called, and the disk a moment later.

Whoever lets bytes leave that a record must precede calls `commit` before, once for all records of that moment.
What has been handed to the kernel survives `kill -9` of the worker. What is on the disk survives the loss of power:
a thread brings it there every 20 ms (durability "process"), or before `durable` returns ("power").
Nothing is dropped: while the disk is full or slow, records wait in memory, `room` is False and `durable` waits.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import threading
import time
from typing import TYPE_CHECKING, Literal

from freehold.core.errors import FreeholdError
from freehold.ledger.frames import HEADER_BYTES, NO_CALL, Kind, header_of
from freehold.ledger.records import encode
from freehold.ledger.segment_files import (
    LIVE,
    Progress,
    lack_of_space,
    make_private,
    open_live,
    pack_progress,
    segment_path,
    sync_folder,
    write_all,
)
from freehold.ledger.waiting import MANY_BYTES, GrowingBody, Waiters, WaitingFrames

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from freehold.ledger.records import CloseRecord, OpenRecord

Durability = Literal["process", "power"]

# As plain numbers: members of an enumeration are looked up, hashed and packed by Python code.
_OPEN, _REQUEST, _RESPONSE, _CLOSE = (int(kind) for kind in (Kind.OPEN, Kind.REQUEST, Kind.RESPONSE, Kind.CLOSE))
_log = logging.getLogger(__name__)
MIB = 1 << 20
_SYNC_EVERY_S = 0.020
_RETRY_EVERY_S = 0.1
_LOOK_EVERY_S = 2.0  # at the disk's free space and at what the ingester has left over


class LedgerFull(FreeholdError):
    """A call was to begin while there is no room to record it."""


class SegmentWriter:
    """The ledger's pen of one worker process. All methods may be called from the event loop's thread."""

    def __init__(
        self,
        folder: Path,
        *,
        worker: str,
        durability: Durability = "process",
        max_segment_bytes: int = 64 * MIB,
        max_segment_age_s: float = 300.0,
        max_unsynced_bytes: int = 256 * MIB,
        max_waiting_bytes: int = 64 * MIB,
        max_backlog_bytes: int | None = None,
        min_free_bytes: int = 256 * MIB,
        on_trouble: Callable[[str], None] | None = None,
    ) -> None:
        """Begin a new life of a worker.

        Args:
            folder: Holds a folder per life of each worker (`Workspace.segments`).
            worker: Name of the worker; what is no letter, digit, `-` or `_` is replaced.
            durability: See above.
            max_segment_bytes: A new segment is begun beyond this,
            max_segment_age_s: or after this time, so that raw bodies do not lie about for long.
            max_unsynced_bytes: No room while this much has not reached the disk.
            max_waiting_bytes: Nor while this much waits in memory for the disk to have space again,
            max_backlog_bytes: all workers' segments hold more than this (None: no limit),
            min_free_bytes: or the disk has less than this left.
            on_trouble: Told in one sentence what is wrong, once each time it begins or changes.

        Raises:
            OSError: the folder cannot be written.
        """
        self._root = folder
        self._durability = durability
        self._max_segment_bytes = max_segment_bytes
        self._max_segment_age_s = max_segment_age_s
        self._max_unsynced_bytes = max_unsynced_bytes
        self._max_waiting_bytes = max_waiting_bytes
        self._max_backlog_bytes = max_backlog_bytes
        self._min_free_bytes = min_free_bytes
        self._on_trouble = on_trouble
        self._salt = int.from_bytes(os.urandom(4))
        name = re.sub(r"[^A-Za-z0-9_-]", "-", worker)[:64] or "worker"
        # Out of sight until it is locked: an ingester would take it for a dead worker's.
        self.folder = folder / f".{name}.{self._salt:08x}.new"
        make_private(folder)
        self.folder.mkdir()
        self._live_descriptor, self._live = open_live(self.folder / LIVE)

        self._waiting = WaitingFrames()
        self._lock = self._waiting.lock
        self._sequence = 1
        self._number = self._named = 0
        self._descriptor = -1
        self._offset = 0
        self._written = self._synced = 0  # bytes of this life
        self._finished: list[int] = []  # descriptors of full segments, still to be synced and closed
        self._begun_at = time.monotonic()
        self._trouble: str | None = None
        self._disk_trouble: str | None = None
        self._is_stuck = False
        self.has_promised = False
        """Something waits for `commit`."""
        self._is_behind = False
        """The kernel did not take the records when it was last asked to."""
        self._waiters = Waiters()
        self._sealed = False
        self._rotate()
        self.folder = self.folder.rename(folder / f"{name}.{self._salt:08x}")
        self._look_at_disk()
        self._thread = threading.Thread(target=self._keep_durable, name=f"ledger-{name}", daemon=True)
        self._thread.start()

    def opened(self, call_id: bytes, head: OpenRecord, body: bytes = b"") -> None:
        """Record that a call begins, and as much of its request as there is. Before it is forwarded.

        Raises:
            LedgerFull: there is no room; nothing was recorded.
        """
        if not self.room:
            raise LedgerFull(self.trouble or "The ledger's disk is behind.")
        with self._lock:
            self._waiting.add(_OPEN, call_id, encode(head))
            if body:
                self._waiting.add_body(_REQUEST, call_id, body)
            self._promise()

    def request_of(self, call_id: bytes) -> GrowingBody:
        """Takes further pieces of the request as they pass. Of a call that is killed the last 20 ms may be missing."""
        return GrowingBody(self._waiting, _REQUEST, call_id, self._flush)

    def response_of(self, call_id: bytes) -> GrowingBody:
        """Takes the pieces of the answer as they pass, likewise."""
        return GrowingBody(self._waiting, _RESPONSE, call_id, self._flush)

    def closed(self, call_id: bytes, tail: CloseRecord, body: bytes = b"") -> None:
        """Record the rest of the answer and that the call has ended. Before its last byte leaves."""
        with self._lock:
            if body:
                self._waiting.add_body(_RESPONSE, call_id, body)
            self._waiting.add(_CLOSE, call_id, encode(tail))
            self._promise()

    def commit(self) -> bool:
        """Hand to the kernel what `opened` and `closed` have recorded; False if it cannot take it, and it waits on."""
        if self._is_behind:
            return False  # the thread tries again and again
        if self.has_promised:
            with self._lock:
                self._flush()
        return not self._is_behind

    async def durable(self) -> None:
        """Wait until all that was recorded so far is as safe as `durability` says.

        With "process" that is `commit`'s work, unless the disk is full: then it waits until there is space.
        """
        if self.is_durable:
            return
        with self._lock:
            safe = self._waiters.add(self._written + self._waiting.size)
        self._waiting.tell()
        await safe

    @property
    def is_durable(self) -> bool:
        """All that was recorded is as safe as `durability` says, or `commit` makes it so: no need for `durable`."""
        if self._durability == "process":
            return not self._is_behind
        return not self._waiting.size and self._synced >= self._written

    @property
    def room(self) -> bool:
        """There is room for a further call. While there is none, a gateway takes no new ones and reads slower."""
        return self._waiting.has_room

    @property
    def trouble(self) -> str | None:
        """What is wrong with the disk."""
        return self._trouble or self._disk_trouble

    async def wait_for_room(self) -> None:
        """Wait until there is room. For the pieces of calls that are under way; new calls are better refused."""
        while not self.room:
            await asyncio.sleep(_SYNC_EVERY_S)

    def seal(self) -> None:
        """Finish this life in order: the last segment is sealed, synced and closed. Calls that are open stay so.

        Raises:
            LedgerFull: the disk is full, and records that waited in memory are lost.
        """
        with self._lock:
            if self._sealed:
                return
            self._sealed = True
        self._waiting.tell()
        self._thread.join()
        with self._lock:
            self._waiting.add(Kind.SEAL, NO_CALL, b"")
            self._flush()
            unwritten = max(0, len(self._waiting) - 1)
        for descriptor in (*self._finished, self._descriptor):
            os.fdatasync(descriptor)
            os.close(descriptor)
        self._live.close()
        os.close(self._live_descriptor)  # gives up the lock
        if unwritten:
            raise LedgerFull(f"{unwritten} records could not be written: {self.trouble}")

    def _promise(self) -> None:
        """What was added goes with the next commit, or with the thread if nothing more leaves for this call."""
        self.has_promised = True
        if self._waiting.size > MANY_BYTES and self.room:
            self._flush()
        self._waiting.tell()

    def _flush(self) -> None:
        """Hand what waits to the kernel; if the disk is full it goes on waiting."""
        if not self._waiting.size:
            return
        try:
            write_all(self._descriptor, self._waiting.numbered(self._sequence, self._salt), self._offset)
        except OSError as error:
            self._is_behind = True
            self._say(f"The ledger's segment cannot be written ({error.strerror}). Calls wait until it can.")
            self._take_back(error)
            return
        self._is_behind = self.has_promised = False
        self._offset += self._waiting.size
        self._written += self._waiting.size
        self._sequence += len(self._waiting)
        self._waiting.clear()
        pack_progress(self._live, Progress(self._number, self._offset, self._sequence), self._salt)
        self._say(None)
        if self._offset >= self._max_segment_bytes:
            self._rotate_if_possible()
        self._waiting.tell()

    def _take_back(self, error: OSError) -> None:
        """Cut off what a failed write left behind. A file that cannot even be cut is left alone for a new one."""
        self._waiting.tell()
        try:
            os.ftruncate(self._descriptor, self._offset)
        except OSError:
            _log.exception("a segment cannot be truncated after %s", error)
            self._rotate_if_possible()

    def _rotate_if_possible(self) -> None:
        try:
            self._rotate()
        except OSError as error:
            if not self._is_stuck:
                self._tell(f"A new segment of the ledger cannot be begun ({error.strerror}). The old one is used on.")
            self._is_stuck = True
        else:
            self._is_stuck = False

    def _rotate(self) -> None:
        """Begin a new segment; the old one is sealed, and synced and closed by the thread."""
        number, is_first = self._number + 1, self._descriptor < 0
        path = segment_path(self.folder, number)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        seal = b"" if is_first else header_of(Kind.SEAL, NO_CALL, b"", self._sequence, self._salt)
        sequence = self._sequence + bool(seal)
        start = header_of(Kind.START, NO_CALL, b"", sequence, self._salt)
        try:
            write_all(descriptor, [start], 0)
            if seal:
                write_all(self._descriptor, [seal], self._offset)
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        if not is_first:
            self._finished.append(self._descriptor)
        self._number, self._descriptor, self._offset, self._sequence = number, descriptor, len(start), sequence + 1
        self._written += len(start) + len(seal)
        self._begun_at = time.monotonic()
        pack_progress(self._live, Progress(number, self._offset, self._sequence), self._salt)

    def _keep_durable(self) -> None:
        """The thread: brings to the disk what the kernel has, and retries what the disk refused."""
        looked_at = time.monotonic()
        while True:
            self._waiting.told.wait(_LOOK_EVERY_S)
            if self._durability == "process" and self._waiting.is_told and not self._sealed:
                time.sleep(_SYNC_EVERY_S)  # what is written meanwhile shares the sync
            self._waiting.told.clear()
            with self._lock:
                self._waiting.is_told = False
                self._flush()
                if self._offset > HEADER_BYTES and time.monotonic() - self._begun_at > self._max_segment_age_s:
                    self._rotate_if_possible()
                # Descriptors are closed by this thread alone, so that these stay what they are.
                written, open_ones = self._written, [*self._finished, self._descriptor]
            is_safe = self._synced >= written or self._sync(open_ones, written)
            self._waiters.release(self._synced if self._durability == "power" else self._written)
            if time.monotonic() - looked_at >= _LOOK_EVERY_S:
                looked_at = time.monotonic()
                self._look_at_disk()
            if self._sealed:
                return
            if self._waiting.size or not is_safe:
                time.sleep(_RETRY_EVERY_S)
                self._waiting.tell()

    def _sync(self, descriptors: list[int], written: int) -> bool:
        """Bring to the disk what was written up to a moment; False if that failed."""
        try:
            self._sync_names()
            for descriptor in descriptors:
                os.fdatasync(descriptor)
        except OSError as error:
            # What the kernel held may be gone; saying so is all that can be done. A new file is a new chance.
            self._say(f"The ledger's segment cannot be synced ({error.strerror}): look at the disk.")
            with self._lock:
                self._rotate_if_possible()
            return False
        self._synced = written
        if self._waiting.size:
            self._note_room()
        else:
            self._say(None)
        self._close_finished(descriptors[:-1])
        return True

    def _sync_names(self) -> None:
        """A new file is found again after a loss of power only if its folder has reached the disk."""
        number = self._number
        if number != self._named:
            for folder in (self.folder, self._root):
                sync_folder(folder)
            self._named = number

    def _close_finished(self, descriptors: list[int]) -> None:
        with self._lock:
            self._finished = [one for one in self._finished if one not in descriptors]
        for descriptor in descriptors:
            os.close(descriptor)

    def _look_at_disk(self) -> None:
        """Note whether there is space."""
        trouble = lack_of_space(self._root, self._min_free_bytes, self._max_backlog_bytes)
        if trouble and not self._disk_trouble:
            self._tell(trouble)
        self._disk_trouble = trouble
        self._note_room()

    def _say(self, trouble: str | None) -> None:
        """Note what is wrong, or that nothing is; tell it once."""
        if trouble is not None and trouble != self._trouble:
            self._tell(trouble)
        self._trouble = trouble
        self._note_room()

    def _note_room(self) -> None:
        """To be called when one of these has changed."""
        self._waiting.has_room = (
            self._trouble is None
            and self._disk_trouble is None
            and self._waiting.size <= self._max_waiting_bytes
            and self._written - self._synced <= self._max_unsynced_bytes
        )

    def _tell(self, trouble: str) -> None:
        _log.error("%s", trouble)
        if self._on_trouble is not None:
            self._on_trouble(trouble)
