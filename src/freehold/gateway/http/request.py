"""One request of a client: its bytes as they come, and its answer as it leaves."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from freehold.gateway.http.headers import by_name

if TYPE_CHECKING:
    from freehold.gateway.http.headers import Headers

HIGH_WATER_BYTES = 256 * 1024
"""Bytes of a body that wait to be taken before no more are read from the client."""
_STATUS_LINES = {int(status): f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode() for status in HTTPStatus}
_NO_BODY = frozenset((204, 304))
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Line(Protocol):
    """The connection that a request came on."""

    def send(self, data: bytes, *, may_wait: bool) -> None:
        """Let bytes leave when the call's record is safe, at once or with those for others."""
        ...

    def tell(self, data: bytes) -> None:
        """Let bytes leave that belong to no call on record."""
        ...

    @property
    def is_slow(self) -> bool:
        """More waits for the client than it has read."""
        ...

    async def drained(self) -> None:
        """Return when the client has caught up, or left."""
        ...

    def wants_body(self) -> None:
        """The bytes that have come were taken."""
        ...


class ClientRequest:
    """A request whose head is whole, once somebody else sees it."""

    __slots__ = (
        "_awaits_continue", "_head", "_is_chunked", "_is_old", "_line", "_pieces", "_reader", "has_begun", "has_left",
        "headers", "is_answered", "is_read", "is_recorded",
        "keeps_alive", "method", "named", "target", "task", "waiting_bytes",
    )  # fmt: skip

    def __init__(self, line: Line) -> None:
        """Nothing of it has come yet."""
        self._line = line
        self.method = ""
        self.target = b""
        """Path and query, as they came."""
        self.headers: Headers = []
        """In the order in which they came, names in lower case."""
        self.task: asyncio.Task[None] | None = None
        """Answers it."""
        self.has_begun = False
        """The answer's head has left."""
        self.has_left = False
        """The client closed the connection before it had an answer."""
        self.is_answered = False
        """The answer has left as a whole."""
        self.is_read = False
        """All of the body has come."""
        self.is_recorded = False
        """It is a call on record: what is answered waits until the record is safe."""
        self.waiting_bytes = 0
        """Of the body, that have come and were not taken."""
        self._pieces: list[bytes] = []
        self._reader: asyncio.Future[None] | None = None
        self._head = b""
        self._is_chunked = False

    # What the connection tells.

    def begins(self, method: str, *, is_old: bool, keeps_alive: bool) -> None:
        """The head is whole; `is_old`: HTTP/1.0."""
        self.method = method
        self.keeps_alive = keeps_alive
        """The connection may be used again after this request."""
        self._is_old = is_old
        self.named = by_name(self.headers)
        """The first value of each header."""
        self._awaits_continue = not is_old and self.named.get(b"expect", b"").lower() == b"100-continue"

    def receives(self, piece: bytes) -> None:
        """The next bytes of the body."""
        self._pieces.append(piece)
        self.waiting_bytes += len(piece)
        self._wake()

    def ends(self) -> None:
        """There is no more of the body."""
        self.is_read = True
        self._wake()

    # What whoever answers asks for.

    def take(self) -> bytes:
        """The bytes of the body that have come since they were last taken."""
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.waiting_bytes = 0
        return data

    async def read(self, silence_s: float) -> tuple[bytes, bool]:
        """The next bytes of the body, and whether they are the last ones; the task is cancelled if the client leaves.

        Raises:
            TimeoutError: nothing came for so long.
        """
        if self._awaits_continue and not self._pieces and not self.is_read:
            self._line.tell(_CONTINUE)
        self._awaits_continue = False
        while not self._pieces and not self.is_read:
            self._reader = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(silence_s):
                    await self._reader
            finally:
                self._reader = None
        data = self.take()
        self._line.wants_body()
        return data, self.is_read

    def begin(self, status: int, headers: Headers) -> None:
        """The head of the answer. It leaves together with the first bytes of the body."""
        self.has_begun = True
        is_bare = self.method == "HEAD" or status in _NO_BODY
        lines = [name + b": " + value + b"\r\n" for name, value in headers]
        if not is_bare and all(name != b"content-length" for name, _ in reversed(headers)):
            if self._is_old:
                self.keeps_alive = False  # the end of the connection is the end of the answer
            else:
                self._is_chunked = True
                lines.append(b"transfer-encoding: chunked\r\n")
        if not self.keeps_alive or not self.is_read:
            lines.append(b"connection: close\r\n")
        elif self._is_old:
            lines.append(b"connection: keep-alive\r\n")
        line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
        self._head = b"".join((line, *lines, b"\r\n"))

    def write(self, chunk: bytes, *, is_last: bool = False) -> None:
        """The next bytes of the answer. `is_slow` says whether to wait before there are more."""
        if self.has_left:
            return
        if self.method == "HEAD":
            chunk = b""
        if self._is_chunked:
            framed = b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunk else b""
            chunk = framed + b"0\r\n\r\n" if is_last else framed
        is_whole = is_last and bool(self._head)
        if self._head:
            chunk, self._head = self._head + chunk, b""
        if is_last:
            self.is_answered = True
        if not chunk:
            return
        if self.is_recorded:
            self._line.send(chunk, may_wait=is_whole)
        else:
            self._line.tell(chunk)

    @property
    def is_slow(self) -> bool:
        """The client reads slower than it is answered."""
        return self._line.is_slow

    async def drained(self) -> None:
        """Return when it has caught up."""
        if self._line.is_slow:
            await self._line.drained()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
