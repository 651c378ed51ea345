"""One connection to a provider: HTTP/1.1 on httptools' parser, with nothing around it.

It is written for what a proxy does: the request is ready before it is sent, the answer's bytes go on as they come,
and how an answer ended is known exactly. A general client costs three times the gateway's own CPU here
(docs/decisions/0013-gateway.md).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httptools

from freehold.gateway.http.headers import by_name
from freehold.gateway.http.upstream import UpstreamFailure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from freehold.gateway.http.headers import Headers
    from freehold.gateway.http.outbox import Outbox
    from freehold.gateway.http.upstream import FailureKind

_HEAD_BYTES = 256 * 1024
"""Most bytes of an answer's head."""
_HIGH_WATER_BYTES = 256 * 1024
"""Bytes that wait for the client before no more are read from the provider."""
_NO_BODY = frozenset((204, 304))


class Connection(asyncio.Protocol):
    """Carries one exchange after the other. Bytes that belong to none end it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, outbox: Outbox, *, idle_timeout_s: float) -> None:
        """`idle_timeout_s`: longest silence while an answer is awaited."""
        self._loop = loop
        self._outbox = outbox
        self._idle_timeout_s = idle_timeout_s
        self._transport: asyncio.Transport
        self._chunks: list[bytes] = []
        self.on_body = self._chunks.append  # what the parser tells of a body, without a call of Python between
        self._parser = httptools.HttpResponseParser(self)
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._take: Callable[[bytes], bool] | None = None
        self._wants_pause = False
        self._error: Exception | None = None
        """What `_take` raised."""
        self._is_paused = False
        self.is_open = False
        self.is_lost = False
        """The loop has let go of it."""
        self.idle_since = 0.0
        """On the loop's clock; while it waits in the pool."""
        self.exchanges = 0
        self._begin_exchange("GET")
        self._complete()

    def _begin_exchange(self, method: str) -> None:
        self.status = 0
        self.headers: Headers = []
        self.named: dict[bytes, bytes] = {}
        self.is_complete = False
        self.failure: UpstreamFailure | None = None
        self._chunks.clear()
        self._whole_chunks = -1
        self._waiting_bytes = 0
        self._head_bytes = 0
        self._has_head = False
        self._ends_with_connection = False
        self._is_head_request = method == "HEAD"
        self._is_sent = False
        self._keeps_alive = True
        self._heard_at = 0.0

    async def send(
        self,
        method: str,
        head: bytes,
        body: bytes | AsyncIterator[bytes] | None,
        *,
        deadline: float,
        may_wait: bool = False,
    ) -> None:
        """Send a request and wait for the head of its answer.

        Args:
            method: Of the request.
            head: Request line and headers, with the empty line.
            body: After the head.
            deadline: Of the whole answer, on the loop's clock.
            may_wait: It may leave with other requests, at the end of this turn.

        Raises:
            UpstreamFailure: no answer came.
        """
        self._begin_exchange(method)
        self.exchanges += 1
        self._deadline = deadline
        self._heard_at = self._loop.time()
        self._set_timer(min(deadline, self._heard_at + self._idle_timeout_s))
        if body is None or isinstance(body, bytes):
            request = head + body if body else head
            if may_wait:
                self._outbox.put(self._transport, request)
            else:
                self._outbox.send(self._transport, request)
            self._is_sent = True
        else:
            self._outbox.send(self._transport, head)
            await self._send_pieces(body)
        while not self._has_head:
            if self.failure is not None:
                raise self.failure
            await self._wait()

    async def _send_pieces(self, body: AsyncIterator[bytes]) -> None:
        async for piece in body:
            await self._can_write.wait()
            if self._has_head or self.failure is not None:
                self._keeps_alive = False  # it answered, or left, without waiting for the rest
                return
            self._heard_at = self._loop.time()
            self._outbox.send(self._transport, piece)
        self._is_sent = True

    async def read(self) -> bytes:
        """The next bytes of the answer's body; empty at its end.

        Raises:
            UpstreamFailure: the body breaks off.
        """
        while not self._chunks:
            if self.is_complete:
                return b""
            if self.failure is not None:
                raise self.failure
            await self._wait()
        return self.taken()

    def taken(self) -> bytes:
        """The bytes of the body that have come since they were last taken."""
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._waiting_bytes = 0
        if self._is_paused:
            self._is_paused = False
            self._heard_at = self._loop.time()  # the silence was ours
            self._transport.resume_reading()
        return data

    async def pump(self, take: Callable[[bytes], bool]) -> bool:
        """Hand the body over as it comes: as `Answer.pump`."""
        if self._chunks and not take(self.taken()):
            return False
        self._take, self._wants_pause, self._error = take, False, None
        try:
            while not (self.is_complete or self._wants_pause):
                if self.failure is not None:
                    raise self.failure
                await self._wait()
                if self._error is not None:
                    raise self._error
        finally:
            self._take = None
        return self.is_complete and not self._chunks and not self._wants_pause

    @property
    def is_reusable(self) -> bool:
        """Another request may be sent on it."""
        return self.is_open and self.is_complete and self._keeps_alive and self._is_sent

    def close(self) -> None:
        """End the connection at once."""
        self._stop_timer()
        self.is_open = False
        self._transport.abort()

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, kind: FailureKind) -> None:
        if self.failure is None and not self.is_complete:
            is_silent = self._head_bytes == 0
            self.failure = UpstreamFailure(
                kind,
                is_unsent=not self._is_sent and is_silent,
                is_stale=kind == "upstream_closed" and is_silent and self.exchanges > 1,
            )
        self._can_write.set()
        self.close()
        self._wake()

    def _set_timer(self, due: float) -> None:
        """One timer goes on through all exchanges, and is set anew only where it would come too late."""
        if self._timer is None or self._timer_due > due:
            self._stop_timer()
            self._timer_due = due
            self._timer = self._loop.call_at(due, self._look_at_clock)

    def _look_at_clock(self) -> None:
        self._timer = None
        if self.is_complete:
            return
        now = self._loop.time()
        silent_until = now + self._idle_timeout_s if self._is_paused else self._heard_at + self._idle_timeout_s
        due = min(self._deadline, silent_until)
        if now >= due:
            self._fail("upstream_timeout")
        else:
            self._set_timer(due)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The provider is there."""
        self._transport = transport  # type: ignore[assignment]  # a stream's transport; uvloop's has no such base
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:
        """The provider left. That is the end of an answer that said nothing of its length."""
        self.is_open = False
        self.is_lost = True
        self._stop_timer()
        if self._has_head and self._ends_with_connection and exc is None and self.failure is None:
            self._complete()
        if not self.is_complete:
            self._fail("upstream_closed")
        self._can_write.set()
        self._wake()

    def pause_writing(self) -> None:
        """The provider reads slower than the request is sent."""
        self._can_write.clear()

    def resume_writing(self) -> None:
        """The provider has caught up."""
        self._can_write.set()

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer, or bytes that nobody asked for."""
        if self.is_complete or self.failure is not None:
            self.close()
            return
        self._heard_at = self._loop.time()
        if not self._has_head:
            self._head_bytes += len(data)
        self._waiting_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if self.is_complete:
                del self._chunks[self._whole_chunks :]
                self.close()
                self._wake()
            else:
                self._fail("upstream_protocol")
            return
        if not self._has_head and self._head_bytes > _HEAD_BYTES:
            self._fail("upstream_protocol")
        elif self._waiting_bytes > _HIGH_WATER_BYTES and not self._is_paused and not self.is_complete:
            self._is_paused = True
            self._transport.pause_reading()
        if self.is_complete:
            del self._chunks[self._whole_chunks :]  # of an answer that nobody asked for
        if self._take is not None and self._chunks:
            self._hand_over(self._take)
        else:
            self._wake()

    def _hand_over(self, take: Callable[[bytes], bool]) -> None:
        try:
            goes_on = take(self.taken())
        except Exception as error:
            self._error, goes_on = error, False
        if not goes_on:
            self._take, self._wants_pause = None, True
        if not goes_on or self.is_complete:
            self._wake()

    # What the parser tells.

    def on_message_begin(self) -> None:
        """An answer begins; a second one to the same request does not count."""
        if self.is_complete:
            self._keeps_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header. Trailers come after the head, and are left out as HTTP allows."""
        if not self._has_head and not self.is_complete:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is whole."""
        if self.is_complete:
            return
        self.status = self._parser.get_status_code()
        if self.status < 200:
            return
        names = self.named = by_name(self.headers)
        self._has_head = True
        self._ends_with_connection = not (
            b"content-length" in names or b"transfer-encoding" in names or self.status in _NO_BODY
        )
        if self._is_head_request:
            self._keeps_alive = False  # the parser would wait for the body that the length announces
            self._complete()

    def on_message_complete(self) -> None:
        """The answer is whole, unless it was only a word on the way to it."""
        if self.is_complete:
            return
        if not self._has_head:
            self.headers = []  # of 100 Continue or 103 Early Hints
            self._head_bytes = 1
            return
        self._keeps_alive = self._keeps_alive and self._parser.should_keep_alive()
        self._complete()

    def _complete(self) -> None:
        self.is_complete = True
        self._whole_chunks = len(self._chunks)
