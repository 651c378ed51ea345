"""The admin API's way to the network: the gateway's own server, in a process where it can neither slow nor end a call.

A handler is a plain function of a request; it runs in a thread, since it asks the database.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from freehold.gateway.answer import Answer, error_answer
from freehold.gateway.http.server import HttpLimits, HttpServer

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from freehold.gateway.http.headers import Headers
    from freehold.gateway.http.request import ClientRequest

_LOG = logging.getLogger(__name__)
MOST_BODY_BYTES = 64 * 1024
MOST_CONNECTIONS = 64
REQUEST_S = 10.0
"""Longest time that a head takes to come, and then a body."""
_LAST_ANSWERS_S = 1.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A request."""

    method: str
    path: str
    """Percent-decoded, without its query."""
    query: str
    headers: Headers
    """Names in lower case."""
    body: bytes


async def serve(
    listener: socket.socket, handle: Callable[[Asked], Answer], *, until: asyncio.Event, request_s: float = REQUEST_S
) -> None:
    """Answer requests until told to stop; those that are being answered then get their answers."""

    async def answer(request: ClientRequest) -> None:
        told = await _answer(request, handle, request_s)
        request.begin(told.status, [*told.headers, (b"content-length", b"%d" % len(told.body))])
        request.write(told.body, is_last=True)

    limits = HttpLimits(head_bytes=16 * 1024, head_s=request_s, keep_alive_s=request_s, connections=MOST_CONNECTIONS)
    server = HttpServer(answer, limits)
    await server.start(listener)
    await until.wait()
    await server.stop(_LAST_ANSWERS_S)


async def _answer(request: ClientRequest, handle: Callable[[Asked], Answer], request_s: float) -> Answer:
    try:
        async with asyncio.timeout(request_s):
            body = await _body(request, request_s)
    except TimeoutError:
        return error_answer(408, "request_timeout", "The request's body did not come in time.")
    if body is None:
        return error_answer(413, "too_large", f"A body has {MOST_BODY_BYTES} bytes at most here.")
    path, _, query = request.target.decode("latin-1").partition("?")
    asked = Asked(request.method, unquote(path), query, request.headers, body)
    try:
        return await asyncio.to_thread(handle, asked)
    except Exception:
        _LOG.exception("the admin API failed", extra={"endpoint": asked.path[:200]})
        return error_answer(500, "failed", "This failed; the gateway's log says why.")


async def _body(request: ClientRequest, silence_s: float) -> bytes | None:
    """The whole body; None if it is too large."""
    if int(request.named.get(b"content-length", b"0")) > MOST_BODY_BYTES:
        return None
    body, is_whole = bytearray(), False
    while not is_whole:
        piece, is_whole = await request.read(silence_s)
        body += piece
        if len(body) > MOST_BODY_BYTES:
            return None
    return bytes(body)
