"""The server's side of HTTP: uvicorn's protocol on httptools, with limits on what a client may send and how slowly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

HEAD_BYTES = 64 * 1024
"""Most bytes of a request's line and headers together."""
HEADERS = 200
HEAD_S = 20.0
"""Longest time from a connection's first byte, or its opening, to the end of a request's headers."""
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s"
)
_TOO_LARGE_BODY = (
    b'{"error":{"message":"The headers are too large.","type":"invalid_request_error","param":null,'
    b'"code":"headers_too_large"}}'
)


class LimitedProtocol(HttpToolsProtocol):
    """One connection of a client."""

    _head_bytes = 0
    _reads_head = True
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """The client has HEAD_S from now for its first request."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, as long as a request's head is not too long."""
        if self._reads_head:
            self._head_bytes += len(data)
            if self._head_timer is None:
                self._await_head()
        super().data_received(data)
        if self._reads_head and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self._refuse_head()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._reads_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head of a request is whole."""
        self._reads_head = False
        self._stop_timer()
        if len(self.headers) > HEADERS or len(self.url) + sum(len(a) + len(b) for a, b in self.headers) > HEAD_BYTES:
            self._refuse_head()
            return
        super().on_headers_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A line of the head. What follows a body in chunks is none: it would be a header that nobody looked at."""
        if self._reads_head:
            super().on_header(name, value)

    def on_message_complete(self) -> None:
        """A request is whole; the next byte begins another one."""
        self._reads_head = True
        self._head_bytes = 0
        if not self.transport.is_closing() or self.cycle is not None:
            super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        """Bytes of a body; those of a refused request are nobody's."""
        if self.cycle is not None:
            super().on_body(body)

    def _refuse_head(self) -> None:
        self._stop_timer()
        self.transport.write(_TOO_LARGE % (len(_TOO_LARGE_BODY), _TOO_LARGE_BODY))
        self.transport.close()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_S, self._give_up)

    def _give_up(self) -> None:
        self._head_timer = None
        if self._reads_head and not self.transport.is_closing():
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def uvicorn_options(*, drain_s: float) -> dict[str, Any]:  # Any: uvicorn's own keywords
    """How a worker's server is set up."""
    return {
        "loop": "uvloop",
        "http": LimitedProtocol,
        "ws": "none",
        "lifespan": "on",
        "interface": "asgi3",
        "log_config": None,
        "access_log": False,
        "proxy_headers": False,
        "server_header": False,
        "date_header": False,
        "timeout_keep_alive": 75,
        "timeout_graceful_shutdown": round(drain_s),
        "backlog": 2048,
    }
