"""The two ends of the gateway's benchmark: a provider that costs next to nothing, and clients in a closed loop.

Both speak plain HTTP/1.1 on uvloop and run in processes of their own, so that neither counts as the gateway's.

    .venv/bin/python benchmarks/gateway_load.py upstream PORT
    .venv/bin/python benchmarks/gateway_load.py clients PORT --path P --body B --seconds S --connections C
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from pathlib import Path

import uvloop

WORDS = 200
_MESSAGE = {"role": "assistant", "content": "The card was swallowed by the machine; a new one is on its way. " * 4}
_COMPLETION = json.dumps(
    {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": _MESSAGE, "finish_reason": "stop", "logprobs": None}],
        "usage": {"prompt_tokens": 120, "completion_tokens": 60, "total_tokens": 180},
    }
).encode()  # fmt: skip
_WHOLE = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_COMPLETION) + _COMPLETION
)
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _event(value: object) -> bytes:
    data = b"data: " + (b"[DONE]" if value is None else json.dumps(value).encode()) + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


def _delta(delta: dict[str, str], finish: str | None = None) -> dict[str, object]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


_EVENTS = [_event(_delta({"content": f" word{number}"})) for number in range(WORDS)]
_USAGE = {"prompt_tokens": 120, "completion_tokens": WORDS, "total_tokens": 120 + WORDS}
_LAST = (
    _event(_delta({}, "stop")) + _event({**_delta({}), "choices": [], "usage": _USAGE}) + _event(None) + b"0\r\n\r\n"
)


class Provider(asyncio.Protocol):
    """Answers each request at once, or in pieces if it asks for a stream: 200, or the number in `events`."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._data = bytearray()
        self._wanted = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every whole request."""
        self._data += data
        if len(self._data) < self._wanted:
            return
        self._wanted = 0
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._data[:end]).lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
            if len(self._data) < end + 4 + length:
                self._wanted = end + 4 + length
                return
            body, self._data = self._data[end + 4 : end + 4 + length], self._data[end + 4 + length :]
            if b'"stream":true' in body or b'"stream": true' in body:
                asked = re.search(rb'"events": ?(\d+)', body)
                self._task = asyncio.get_running_loop().create_task(self._stream(int(asked[1]) if asked else WORDS))
            else:
                self._transport.write(_WHOLE)

    async def _stream(self, events: int) -> None:
        self._transport.write(_STREAM_HEAD)
        for number in range(events):
            if self._transport.is_closing():
                return  # the client has left
            self._transport.write(_EVENTS[number % WORDS])
            await asyncio.sleep(0)  # each event in a packet of its own, as tokens come
        if not self._transport.is_closing():
            self._transport.write(_LAST)


class Client(asyncio.Protocol):
    """Asks again as soon as it has its answer."""

    def __init__(self, request: bytes, deadline: float, took: list[float]) -> None:
        """Ask `request` until `deadline`; note seconds in `took`."""
        self._request = request
        self._deadline = deadline
        self._took = took
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._data = b""
        self._began = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Look for the end of the answer."""
        self._data += data
        if not self._is_whole():
            return
        if not self._data.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"not answered: {self._data[:600]!r}")
        now = time.perf_counter()
        self._took.append(now - self._began)
        if now < self._deadline:
            self._ask()
        else:
            self._transport.close()

    def _is_whole(self) -> bool:
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = self._data[:end].lower()
        if b"transfer-encoding: chunked" in head:
            return self._data.endswith(b"0\r\n\r\n")
        return len(self._data) >= end + 4 + int(head.partition(b"content-length:")[2].split(b"\r\n")[0])

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, or too early."""
        if not self.over.done():
            self.over.set_result(exc)


async def _provide(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


async def _load(options: argparse.Namespace) -> None:
    body = options.body.read_bytes()
    head = f"POST {options.path} HTTP/1.1\r\nhost: 127.0.0.1:{options.port}\r\ncontent-type: application/json\r\n"
    head += f"authorization: Bearer none\r\ncontent-length: {len(body)}\r\n\r\n"
    took: list[float] = []
    deadline = time.perf_counter() + options.seconds
    loop = asyncio.get_running_loop()
    clients = [
        (await loop.create_connection(lambda: Client(head.encode() + body, deadline, took), "127.0.0.1", options.port))[
            1
        ]
        for _ in range(options.connections)
    ]
    began = time.perf_counter()
    await asyncio.gather(*(client.over for client in clients))
    took.sort()
    at = lambda share: took[min(len(took) - 1, int(share * len(took)))] * 1000  # noqa: E731 (three uses, here alone)
    seconds = time.perf_counter() - began
    print(
        json.dumps({"calls": len(took), "seconds": seconds, "p50_ms": at(0.5), "p95_ms": at(0.95), "p99_ms": at(0.99)})
    )


def main() -> None:
    """Run one end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("end", choices=["upstream", "clients"])
    parser.add_argument("port", type=int)
    parser.add_argument("--path", default="/v1/chat/completions")
    parser.add_argument("--body", type=Path)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args()
    uvloop.run(_provide(options.port) if options.end == "upstream" else _load(options))


if __name__ == "__main__":
    main()
