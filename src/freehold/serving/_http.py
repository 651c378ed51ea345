"""The few words of ASGI that the endpoint speaks."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from freehold.serving._chat_request import Refused

Scope = MutableMapping[str, Any]  # Any: ASGI leaves values open
Event = MutableMapping[str, Any]  # Any: likewise
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body. One that is too large is read to its end, so that its sender hears of it, but not kept.

    Raises:
        Refused: 413, it is larger than `limit` bytes.
    """
    size = 0
    kept = bytearray()
    while True:
        event = await receive()
        part = event.get("body", b"")
        size += len(part)
        if size <= limit:
            kept += part
        else:
            kept.clear()
        if not event.get("more_body"):
            break
    if size > limit:
        raise Refused(413, f"The body has {size} bytes; at most {limit} are read.", code="body_too_large")
    return bytes(kept)


async def send_json(send: Send, status: int, value: Mapping[str, Any]) -> None:
    """Answer with one JSON object."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def start_stream(send: Send) -> None:
    """Begin to answer with server-sent events."""
    headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def send_event(send: Send, value: Mapping[str, Any] | None, *, is_last: bool = False) -> None:
    """One server-sent event; None is the `[DONE]` that ends an OpenAI stream."""
    data = "[DONE]" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    await send({"type": "http.response.body", "body": f"data: {data}\n\n".encode(), "more_body": not is_last})
