"""The server's side of HTTP/1.1: connections of clients on httptools' parser, with nothing between them and the calls.

A request is one object, from its first byte to the last byte of its answer. Limits on what a client may send, and how
slowly, are kept here; what a request means is not known here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httptools

from freehold.gateway.http.outbox import Outbox
from freehold.gateway.http.request import HIGH_WATER_BYTES, ClientRequest

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

_LINGER_S = 2.0
"""What a client still sends after its answer is passed over so long: a reset would take the answer from it."""
_LOOK_EVERY_S = 0.5
_FAULT = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"
_FAULT_BODY = b'{"error":{"message":"%s","type":"invalid_request_error","param":null,"code":"%s"}}'
_TOO_LARGE = (b"431 Request Header Fields Too Large", b"The headers are too large.", b"headers_too_large")
_BUSY = (b"503 Service Unavailable", b"There are too many connections. Try again.", b"overloaded")
_NO_HTTP = (b"400 Bad Request", b"This is no request of HTTP/1.1.", b"bad_http")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What clients may do."""

    head_bytes: int = 64 * 1024
    """Most bytes of a request's line and headers together."""
    headers: int = 200
    head_s: float = 20.0
    """Longest time from a connection's first byte, or its opening, to the end of a request's headers."""
    keep_alive_s: float = 75.0
    """A connection without a request is closed after this time."""
    connections: int | None = None
    """Open at once; None: as many as the system allows."""


class HttpServer:
    """All connections of one worker."""

    def __init__(
        self,
        serve: Callable[[ClientRequest], Awaitable[None]],
        limits: HttpLimits | None = None,
        *,
        outbox: Outbox | None = None,
    ) -> None:
        """Serve nobody yet.

        Args:
            serve: Answers one request; it runs as a task, which is cancelled when the client leaves.
            limits: On what clients send.
            outbox: Through which all answers leave.
        """
        self.serve = serve
        self.limits = limits or HttpLimits()
        self.outbox = outbox or Outbox()
        self.connections: set[ClientConnection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.is_stopping = False
        self._hurry = asyncio.Event()

    async def start(self, listener: socket.socket) -> None:
        """Accept connections from now on. Call it in a running loop, once."""
        self.loop = asyncio.get_running_loop()
        self._listening = await self.loop.create_server(lambda: ClientConnection(self), sock=listener, backlog=2048)
        self._timer = self.loop.call_later(_LOOK_EVERY_S, self._look_at_clock)

    def hurry(self) -> None:
        """Do not wait for calls that are under way when `stop` is called, or was."""
        self._hurry.set()

    async def stop(self, drain_s: float) -> None:
        """Accept no more, wait so long at most for calls that are under way, and end the rest."""
        self.is_stopping = True
        self._listening.close()
        for connection in [*self.connections]:
            connection.end_when_idle()
        hurry = asyncio.ensure_future(self._hurry.wait())
        over = asyncio.ensure_future(self._all_over())
        await asyncio.wait((hurry, over), timeout=drain_s, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        over.cancel()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(hurry, over, *self.tasks, return_exceptions=True)
        for connection in [*self.connections]:
            connection.abort()
        self._timer.cancel()
        while self.connections:
            await asyncio.sleep(0)  # the loop tells each of them that it is closed

    async def _all_over(self) -> None:
        while self.tasks:
            await asyncio.wait(self.tasks)
        while self.connections:  # their last bytes are on the way
            await asyncio.sleep(0.01)

    def _look_at_clock(self) -> None:
        now = self.loop.time()
        for connection in [*self.connections]:
            connection.look_at_clock(now)
        self._timer = self.loop.call_later(_LOOK_EVERY_S, self._look_at_clock)


class ClientConnection(asyncio.Protocol):
    """One connection. It answers one request at a time; those that come before that wait in order."""

    def __init__(self, server: HttpServer) -> None:
        """Of `server`."""
        self._server = server
        self._limits = server.limits
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[ClientRequest] = deque()
        """Requests whose heads are whole, the one that is being answered first."""
        self._incoming: ClientRequest | None = None
        """The one whose bytes come now."""
        self._head_bytes = 0
        self._reads_head = True
        self._is_reading = True
        self._is_deaf = False
        """Whatever comes is passed over."""
        self._is_lingering = False
        self._is_too_large = False
        self._has_served = False
        self._since = server.loop.time()
        """On the loop's clock: began to wait for a request, or for the rest of its head."""
        self.transport: asyncio.Transport
        self.is_closed = False
        self._drained: asyncio.Future[None] | None = None
        """There while the client reads slower than it is answered."""

    def send(self, data: bytes, *, may_wait: bool) -> None:
        """Let bytes leave, at once or with those for others.

        Pieces of a stream go at once: they are many, and whether the client keeps up shows when they have left.
        """
        outbox = self._server.outbox
        if may_wait:
            outbox.put(self.transport, data)
        else:
            outbox.send(self.transport, data)

    def tell(self, data: bytes) -> None:
        """Let bytes leave that belong to no call on record."""
        self._server.outbox.tell(self.transport, data)

    def end_when_idle(self) -> None:
        """Close after the answer that is under way, or at once."""
        if not self._queue:
            self._close()

    def _close(self) -> None:
        """Close when all that was sent has left."""
        self._server.outbox.end(self.transport, self.transport.close)

    def abort(self) -> None:
        """Close at once."""
        self.transport.abort()

    def look_at_clock(self, now: float) -> None:
        """Close if the client took too long."""
        if self._is_lingering:
            limit_s = _LINGER_S
        elif self._queue:
            return
        else:
            is_head = self._head_bytes > 0 or not self._has_served
            limit_s = self._limits.head_s if is_head else self._limits.keep_alive_s
        if now - self._since > limit_s:
            self.transport.abort()  # not close: that would wait for a client that does not read

    @property
    def is_slow(self) -> bool:
        """More waits for the client than it has read."""
        return self._drained is not None

    async def drained(self) -> None:
        """Return when the client has caught up, or left."""
        if self._drained is not None:
            await asyncio.shield(self._drained)

    def wants_body(self) -> None:
        """The bytes that have come were taken; read on."""
        if not self._is_reading and len(self._queue) <= 1:
            self._is_reading = True
            self.transport.resume_reading()

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        self.transport = transport  # type: ignore[assignment]  # a stream's transport; uvloop's has no such base
        connections = self._server.connections
        connections.add(self)
        if self._limits.connections is not None and len(connections) > self._limits.connections:
            self._refuse(_BUSY)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client left, or was left. What is being answered is stopped."""
        self.is_closed = True
        self._server.connections.discard(self)
        self.resume_writing()
        for request in self._queue:
            if request.task is not None and not request.is_answered:
                request.has_left = True
                request.task.add_done_callback(self._server.tasks.discard)  # it may never have begun
                request.task.cancel()

    def pause_writing(self) -> None:
        """The client reads slower than it is answered."""
        self._drained = self._server.loop.create_future()

    def resume_writing(self) -> None:
        """The client has caught up."""
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        if self._is_deaf:
            return
        if self._reads_head:
            if self._head_bytes == 0:
                self._since = self._server.loop.time()
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._is_deaf = True  # nothing is upgraded here: this request is the last one
        except httptools.HttpParserError:
            self._refuse(_TOO_LARGE if self._is_too_large else _NO_HTTP)
            return
        if self._reads_head and self._head_bytes > self._limits.head_bytes:
            self._refuse(_TOO_LARGE)
            return
        queue = self._queue
        if queue:
            first = queue[0]
            if first.task is None:
                self._start(first)
            if self._is_reading and (len(queue) > 1 or first.waiting_bytes > HIGH_WATER_BYTES):
                self._is_reading = False
                self.transport.pause_reading()

    # What the parser tells.

    def on_message_begin(self) -> None:
        """A request begins."""
        self._incoming = ClientRequest(self)
        self._reads_head = True

    def on_url(self, url: bytes) -> None:
        """A piece of its target."""
        assert self._incoming is not None
        self._incoming.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header. Trailers come after the head, and are left out as HTTP allows."""
        if self._reads_head:
            assert self._incoming is not None
            self._incoming.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head of a request is whole."""
        request = self._incoming
        assert request is not None
        self._reads_head = False
        size = len(request.target) + sum([len(name) + len(value) for name, value in request.headers])
        if len(request.headers) > self._limits.headers or size > self._limits.head_bytes:
            self._is_too_large = True
            raise ValueError("too large")  # the parser stops
        parser = self._parser
        version = parser.get_http_version()
        if version not in {"1.1", "1.0"} or [name for name, _ in request.headers].count(b"host") > 1:
            raise ValueError("no HTTP/1.1, or for two hosts")
        request.begins(
            parser.get_method().decode("ascii"),
            is_old=version == "1.0",
            keeps_alive=parser.should_keep_alive() and not parser.should_upgrade(),
        )
        self._queue.append(request)

    def on_body(self, body: bytes) -> None:
        """A piece of its body."""
        assert self._incoming is not None
        self._incoming.receives(body)

    def on_message_complete(self) -> None:
        """A request is whole; the next byte begins another one."""
        assert self._incoming is not None
        self._incoming.ends()
        self._reads_head = True
        self._head_bytes = 0

    # The turns of requests.

    def _start(self, request: ClientRequest) -> None:
        task = request.task = self._server.loop.create_task(self._serve(request))
        self._server.tasks.add(task)

    async def _serve(self, request: ClientRequest) -> None:
        try:
            await self._server.serve(request)
        finally:
            assert request.task is not None
            self._server.tasks.discard(request.task)
            if not self.is_closed:
                self._end(request)

    def _end(self, request: ClientRequest) -> None:
        """The request is over: the next one, or the end of the connection."""
        if self._is_lingering:
            return
        self._queue.popleft()
        self._has_served = True
        self._since = self._server.loop.time()
        if not request.is_answered:
            self._close()  # the missing end of an answer that has begun tells the rest
        elif not request.is_read:
            self._linger()
        elif not request.keeps_alive or self._server.is_stopping:
            self._close()
        elif self._queue:
            self._start(self._queue[0])
        else:
            self.wants_body()

    def _linger(self) -> None:
        """The client has its answer before it has sent its request: let it read before the connection is closed."""
        self._is_deaf = self._is_lingering = True
        self._since = self._server.loop.time()
        if self.transport.can_write_eof():
            self._server.outbox.end(self.transport, self.transport.write_eof)
        if not self._is_reading:
            self._is_reading = True
            self.transport.resume_reading()

    def _refuse(self, fault: tuple[bytes, bytes, bytes]) -> None:
        """Answer what is no request when its turn comes, or not at all, and close."""
        self._is_deaf = True
        if self._queue and not self._queue[-1].is_read:  # its head was good, its body is not
            broken = self._queue.pop()
            if broken.task is not None:
                if broken.has_begun:
                    self.transport.abort()
                    return
                broken.has_left = True
                broken.task.cancel()
        if self._queue:
            self._queue[-1].keeps_alive = False
            if self._queue[0].task is None:
                self._start(self._queue[0])
            return
        status, message, code = fault
        body = _FAULT_BODY % (message, code)
        self.tell(_FAULT % (status, len(body), body))
        self._linger()
