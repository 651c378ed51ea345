"""Bytes that leave together at the end of a turn of the event loop, after the records of that turn.

Sending wakes whoever waits for the bytes, which costs more than all else that sending does, and nothing if they are
awake. So what a turn has to say to many is said at once. Under little load a turn is over at once, too. The records
of the turn are handed to the kernel in one piece before any byte leaves that depends on one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

_RETRY_EVERY_S = 0.05


class Record(Protocol):
    """Where calls are recorded."""

    @property
    def has_promised(self) -> bool:
        """Something waits for `commit`."""
        ...

    def commit(self) -> bool:
        """Put all on record that was promised; False: it cannot be now, and waits on."""
        ...


class _NoRecord:
    has_promised = False

    def commit(self) -> bool:
        return True


class Outbox:
    """Of one event loop. What leaves through it leaves in order, per transport."""

    __slots__ = ("_ends", "_loop", "_record", "_waiting")

    def __init__(self, record: Record | None = None) -> None:
        """`record`: before bytes leave, all that was promised to be on it is; while that cannot be, they wait."""
        self._record = record or _NoRecord()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[asyncio.Transport, bytes] = {}
        self._ends: dict[asyncio.Transport, Callable[[], None]] = {}

    def put(self, transport: asyncio.Transport, data: bytes) -> None:
        """Let bytes leave at the end of this turn."""
        waiting = self._waiting
        if not waiting:
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
            self._loop.call_soon(self._send)
        held = waiting.get(transport)
        waiting[transport] = data if held is None else held + data

    def send(self, transport: asyncio.Transport, data: bytes) -> None:
        """Let bytes leave at once."""
        if self._waiting and transport in self._waiting:
            data = self._waiting.pop(transport) + data
        record = self._record
        if not record.has_promised or record.commit():
            transport.write(data)
        else:
            self.put(transport, data)

    def tell(self, transport: asyncio.Transport, data: bytes) -> None:
        """Let bytes leave at once that depend on no record: there may be none to be had."""
        if transport in self._waiting:
            self._waiting[transport] += data
        else:
            transport.write(data)

    def end(self, transport: asyncio.Transport, then: Callable[[], None]) -> None:
        """Let what waits for this transport leave, and then do this, which closes it."""
        data = self._waiting.get(transport)
        if data is None:
            then()
        elif self._record.commit():
            del self._waiting[transport]
            transport.write(data)
            then()
        else:
            self._ends[transport] = then

    def _send(self) -> None:
        if not self._record.commit():
            assert self._loop is not None
            self._loop.call_later(_RETRY_EVERY_S, self._send)
            return
        waiting, self._waiting = self._waiting, {}
        for transport, data in waiting.items():
            if not transport.is_closing():
                transport.write(data)
        if self._ends:
            ends, self._ends = self._ends, {}
            for transport, then in ends.items():
                if not transport.is_closing():
                    then()
