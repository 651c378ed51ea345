"""A small HTTP server for the admin API: one request at a time per connection, everything bounded.

It is apart from the server that calls go through: what happens here can neither slow nor end a call. A handler is a
plain function of a request; it runs in a thread, since it asks the database.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import unquote

import httptools

from freehold.gateway.answer import Answer, error_answer

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from freehold.gateway.headers import Header

_LOG = logging.getLogger(__name__)
MOST_BODY_BYTES = 64 * 1024
MOST_HEAD_BYTES = 16 * 1024
MOST_CONNECTIONS = 64
REQUEST_S = 10.0
"""Longest time from the first byte of a request to its last one, and of a connection that says nothing."""
_PIECE = 16 * 1024


@dataclass(slots=True)
class Asked:
    """A request."""

    method: str = ""
    path: str = ""
    """Percent-decoded, without its query."""
    query: str = ""
    headers: list[Header] = field(default_factory=list)
    """Names in lower case."""
    body: bytes = b""


async def serve(
    listener: socket.socket, handle: Callable[[Asked], Answer], *, until: asyncio.Event, request_s: float = REQUEST_S
) -> None:
    """Answer requests until told to stop; those that are being answered then get their answers."""
    places = asyncio.Semaphore(MOST_CONNECTIONS)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_Connection(reader, writer, handle, request_s).run(places))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, sock=listener, limit=_PIECE)
    await until.wait()
    server.close()
    if tasks:
        _, waiting = await asyncio.wait(tasks, timeout=1.0)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


class _Connection:
    """One client. The parser calls its `on_…` methods."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        handle: Callable[[Asked], Answer],
        request_s: float,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._handle = handle
        self._request_s = request_s
        self._parser = httptools.HttpRequestParser(self)
        self._asked = Asked()
        self._head_bytes = 0
        self._refusal: Answer | None = None
        self._is_whole = False

    async def run(self, places: asyncio.Semaphore) -> None:
        try:
            if places.locked():
                await self._write(error_answer(503, "overloaded", "Too many connections. Try again."), keeps=False)
                return
            async with places:
                while await self._turn():
                    pass
        except (ConnectionError, TimeoutError):
            pass
        finally:
            self._writer.close()
            with suppress(ConnectionError):
                await self._writer.wait_closed()

    async def _turn(self) -> bool:
        """One request and its answer; False: the connection is over."""
        self._asked, self._head_bytes, self._is_whole = Asked(), 0, False
        async with asyncio.timeout(self._request_s):
            while not self._is_whole and self._refusal is None:
                piece = await self._reader.read(_PIECE)
                if not piece:
                    return False
                self._feed(piece)
        refused = self._refusal
        keeps = refused is None and self._parser.should_keep_alive()
        answer = await asyncio.to_thread(self._answer) if refused is None else refused
        async with asyncio.timeout(self._request_s):
            await self._write(answer, keeps=keeps, is_head=self._asked.method == "HEAD")
        return keeps

    def _answer(self) -> Answer:
        try:
            return self._handle(self._asked)
        except Exception:
            _LOG.exception("the admin API failed", extra={"endpoint": self._asked.path[:200]})
            return error_answer(500, "failed", "This failed; the gateway's log says why.")

    def _feed(self, piece: bytes) -> None:
        if not self._asked.method:
            self._head_bytes += len(piece)
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            self._refusal = error_answer(400, "bad_request", "Nothing else is spoken here than HTTP/1.1.")
        except httptools.HttpParserError:
            self._refusal = self._refusal or error_answer(400, "bad_request", "This is no HTTP request.")
        if self._head_bytes > MOST_HEAD_BYTES and not self._asked.method:
            self._refuse_head()

    async def _write(self, answer: Answer, *, keeps: bool, is_head: bool = False) -> None:
        lines = [b"HTTP/1.1 %d %s" % (answer.status, HTTPStatus(answer.status).phrase.encode())]
        lines += [name + b": " + value for name, value in answer.headers]
        lines += [b"content-length: %d" % len(answer.body), b"connection: " + (b"keep-alive" if keeps else b"close")]
        self._writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if is_head else answer.body))
        await self._writer.drain()

    def on_message_begin(self) -> None:
        if self._is_whole:  # the client did not wait for an answer
            self._refusal = error_answer(400, "bad_request", "Send one request after the other.")

    def on_url(self, url: bytes) -> None:
        self._asked.path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._asked.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        asked = self._asked
        asked.method = self._parser.get_method().decode("latin-1")
        if len(asked.path) + sum(len(name) + len(value) + 4 for name, value in asked.headers) > MOST_HEAD_BYTES:
            self._refuse_head()
        path, _, asked.query = asked.path.partition("?")
        asked.path = unquote(path)
        names = [name for name, _ in asked.headers]
        if names.count(b"content-length") + names.count(b"transfer-encoding") > 1 or names.count(b"host") > 1:
            self._refusal = error_answer(400, "bad_request", "A header that may stand there once stands there twice.")
        length = next((value for name, value in asked.headers if name == b"content-length"), b"0")
        if int(length) > MOST_BODY_BYTES:
            self._refuse_body()

    def on_body(self, piece: bytes) -> None:
        self._asked.body += piece
        if len(self._asked.body) > MOST_BODY_BYTES:
            self._refuse_body()

    def on_message_complete(self) -> None:
        self._is_whole = True

    def _refuse_head(self) -> None:
        self._refusal = error_answer(431, "headers_too_large", "The headers are too large.")

    def _refuse_body(self) -> None:
        self._refusal = error_answer(413, "too_large", f"A body has {MOST_BODY_BYTES} bytes at most here.")
