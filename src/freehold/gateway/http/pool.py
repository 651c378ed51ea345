"""The connections to one provider: opened when they are needed, used again while they are fresh."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from weakref import WeakSet

from freehold.gateway.http.client import Connection
from freehold.gateway.http.outbox import Outbox
from freehold.gateway.http.upstream import Answer, Request, UpstreamFailure

if TYPE_CHECKING:
    from collections.abc import Callable

    from freehold.gateway.http.headers import Headers
    from freehold.gateway.providers.providers import Provider


_MOST_REMEMBERED = 1024
"""First lines of requests that are kept ready."""
_USUALLY_BARE = frozenset(("GET", "HEAD", "OPTIONS", "DELETE"))


class Pool:
    """An `Upstream` that speaks HTTP/1.1. Make it inside a running event loop."""

    def __init__(self, provider: Provider, outbox: Outbox | None = None) -> None:
        """Take address, time-outs and TLS settings of `provider`; requests leave through `outbox`."""
        parts = urlsplit(provider.base_url)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._host_header = parts.netloc.encode("idna" if not parts.netloc.isascii() else "ascii")
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            self._tls = ssl.create_default_context(cafile=provider.ca_file)
            self._tls.set_alpn_protocols(["http/1.1"])
        self._provider = provider
        self._loop = asyncio.get_running_loop()
        self._outbox = outbox or Outbox()
        self._idle: deque[Connection] = deque()
        self._open: WeakSet[Connection] = WeakSet()
        self._free = provider.max_connections
        """Exchanges that may begin now."""
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._request_lines: dict[tuple[str, str], bytes] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def send(self, request: Request) -> Answer:
        """As the protocol says."""
        deadline = self._loop.time() + request.timeout_s
        head = self._head(request)
        if self._free > 0:
            self._free -= 1
        else:
            await self._turn(deadline)
        try:
            connection = self._fresh() or await self._connect(deadline)
        except BaseException:
            self._give_turn()
            raise
        try:
            await connection.send(request.method, head, request.body, deadline=deadline, may_wait=request.may_wait)
        except BaseException:
            connection.close()
            self._give_turn()
            raise
        return _PooledAnswer(self, connection)

    async def close(self) -> None:
        """As the protocol says."""
        self._is_closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in self._open:
            connection.close()
        while any(not connection.is_lost for connection in self._open):
            await asyncio.sleep(0)  # the loop tells each of them that it is closed

    def release(self, connection: Connection) -> None:
        """Take a connection back whose exchange is over."""
        self._give_turn()
        if not connection.is_reusable or self._is_closed or self._provider.keep_alive_s <= 0:
            connection.close()
            return
        connection.idle_since = self._loop.time()
        self._idle.append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(self._provider.keep_alive_s, self._sweep)

    async def _turn(self, deadline: float) -> None:
        """Wait, in order, until one of the exchanges under way is over."""
        turn = self._loop.create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout_at(deadline):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._give_turn()  # it came, but nobody was there any more
            if isinstance(error, TimeoutError):
                raise UpstreamFailure("upstream_timeout", is_unsent=True) from None
            raise

    def _give_turn(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _fresh(self) -> Connection | None:
        """The connection that was used last, if it is still good."""
        oldest = self._loop.time() - self._provider.keep_alive_s
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and connection.idle_since > oldest:
                return connection
            connection.close()
        return None

    async def _connect(self, deadline: float) -> Connection:
        limit = min(deadline, self._loop.time() + self._provider.connect_timeout_s)
        try:
            async with asyncio.timeout_at(limit):
                _, connection = await self._loop.create_connection(
                    lambda: Connection(self._loop, self._outbox, idle_timeout_s=self._provider.idle_timeout_s),
                    self._host,
                    self._port,
                    ssl=self._tls,
                )
        except (OSError, ssl.SSLError, TimeoutError) as error:
            raise UpstreamFailure("connect_failed", is_unsent=True) from error
        self._open.add(connection)
        return connection

    def _sweep(self) -> None:
        oldest = self._loop.time() - self._provider.keep_alive_s
        while self._idle and self._idle[0].idle_since <= oldest:
            self._idle.popleft().close()
        self._sweeper = None
        if self._idle and not self._is_closed:
            self._sweeper = self._loop.call_at(self._idle[0].idle_since + self._provider.keep_alive_s, self._sweep)

    def _head(self, request: Request) -> bytes:
        known = (request.method, request.url)
        first = self._request_lines.get(known)
        if first is None:
            first = self._request_line(request)
            if len(self._request_lines) < _MOST_REMEMBERED:
                self._request_lines[known] = first
        lines = [name + b": " + value + b"\r\n" for name, value in request.headers]
        if isinstance(request.body, bytes):
            lines.append(b"content-length: %d\r\n" % len(request.body))
        elif request.body is None and request.method not in _USUALLY_BARE:
            lines.append(b"content-length: 0\r\n")
        head = b"".join((first, *lines, b"\r\n"))
        # The parser and the settings let no line break through. If one came here all the same, it must not leave.
        assert head.count(b"\n") == head.count(b"\r") == len(lines) + 3
        return head

    def _request_line(self, request: Request) -> bytes:
        target = request.url.removeprefix(self._origin).encode("ascii")
        return b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (request.method.encode("ascii"), target, self._host_header)


class _PooledAnswer:
    """An answer on a connection that goes back to its pool."""

    __slots__ = ("_connection", "_pool", "headers", "named", "status")

    def __init__(self, pool: Pool, connection: Connection) -> None:
        self._pool = pool
        self._connection: Connection | None = connection
        self.status: int = connection.status
        self.headers: Headers = connection.headers
        self.named = connection.named

    def whole(self) -> bytes | None:
        connection = self._connection
        if connection is None or not connection.is_complete:
            return None
        data = connection.taken()
        self._release()
        return data

    async def read(self) -> bytes:
        connection = self._connection
        if connection is None:
            return b""
        try:
            data = await connection.read()
        except UpstreamFailure as failure:
            raise UpstreamFailure(failure.kind) from None  # its head has come: nothing is unsent or stale
        if not data:
            self._release()
        return data

    async def pump(self, take: Callable[[bytes], bool]) -> bool:
        connection = self._connection
        if connection is None:
            return True
        try:
            is_over = await connection.pump(take)
        except UpstreamFailure as failure:
            raise UpstreamFailure(failure.kind) from None
        if is_over:
            self._release()
        return is_over

    def abort(self) -> None:
        if self._connection is not None:
            if not self._connection.is_complete:
                self._connection.close()
            self._release()

    def _release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.release(connection)
