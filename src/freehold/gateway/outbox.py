"""Bytes that leave together at the end of a turn of the event loop.

Sending wakes whoever waits for the bytes, which costs more than all else that sending does, and nothing if they are
awake. So what a turn has to say to many is said at once. Under little load a turn is over at once, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


class Outbox:
    """Of one event loop."""

    __slots__ = ("_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing waits."""
        self._loop = loop
        self._waiting: dict[asyncio.Transport, bytes] = {}

    def put(self, transport: asyncio.Transport, data: bytes) -> None:
        """Let bytes leave at the end of this turn, after those that wait for the same transport."""
        waiting = self._waiting
        if not waiting:
            self._loop.call_soon(self._send)
        held = waiting.get(transport)
        waiting[transport] = data if held is None else held + data

    def send_now(self, transport: asyncio.Transport) -> None:
        """Let go of what waits for this transport, which is about to be closed or written to directly."""
        data = self._waiting.pop(transport, None)
        if data is not None:
            transport.write(data)

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for transport, data in waiting.items():
            if not transport.is_closing():
                transport.write(data)
