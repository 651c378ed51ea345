"""A provider that does what a test wants, byte by byte: a plain TCP server that speaks just enough HTTP."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Self

    Script = Callable[["Seen", asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class Seen:
    """One request as it came."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    connection: int
    """Number of the TCP connection it came on."""

    def header(self, name: str) -> str | None:
        return next((value for known, value in self.headers if known.lower() == name), None)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class ScriptedUpstream:
    """Answers each request by the next script, and the last one again and again."""

    scripts: list[Script] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    closed_by_peer: int = 0
    """Connections that ended while an answer was being written or waited for."""
    port: int = 0
    peer_left: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    """Scripts that wait, wait for this."""
    most_body_bytes: int = 0
    keeps_bodies: bool = True
    reads_bodies: bool = True
    """Otherwise it answers when it has the head."""
    _connections: int = 0
    _loop: asyncio.AbstractEventLoop = field(init=False)
    _thread: threading.Thread = field(init=False)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        ready = threading.Event()
        self._loop = asyncio.new_event_loop()

        async def main() -> None:
            server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = server.sockets[0].getsockname()[1]
            ready.set()
            self._stop = asyncio.Event()
            await self._stop.wait()
            server.close()

        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(main()), daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        number = self._connections
        try:
            while (seen := await self._read(reader, number)) is not None:
                self.seen.append(seen)
                self.arrived.set()
                script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
                leaving = asyncio.ensure_future(reader.read(1)) if getattr(script, "watches", False) else None
                await script(seen, writer)
                if leaving is not None:
                    assert await leaving == b""
                    raise ConnectionResetError
                if writer.is_closing():
                    return
        except (ConnectionError, asyncio.CancelledError, asyncio.IncompleteReadError):
            self.closed_by_peer += 1
            self.peer_left.set()
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader, number: int) -> Seen | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        seen = Seen(method, target, headers, b"", number)
        length = seen.header("content-length")
        if seen.header("transfer-encoding") is not None:
            raise AssertionError("the gateway knows every length")
        left = int(length or 0) if self.reads_bodies else 0
        self.most_body_bytes = max(self.most_body_bytes, left)
        parts = []
        while left:
            part = await reader.read(min(left, 65536))
            if not part:
                raise ConnectionResetError
            left -= len(part)
            if self.keeps_bodies:
                parts.append(part)
        seen.body = b"".join(parts)
        return seen


def answer(
    body: bytes | dict[str, Any], status: int = 200, content_type: str = "application/json", **headers: str
) -> Script:
    """A whole answer with its length."""
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> None:
        del seen
        head = f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {len(data)}\r\n{more}\r\n"
        writer.write(head.encode() + data)
        await writer.drain()

    return script


def raw(data: bytes, *, closes: bool = True, resets: bool = False) -> Script:
    """These bytes, and then the end of the connection (or a reset)."""

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> None:
        del seen
        writer.write(data)
        await writer.drain()
        if resets:
            writer.transport.abort()
        elif closes:
            writer.close()

    return script


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def stream(pieces: list[bytes], *, ends: bool | None = True, head: bytes = STREAM_HEAD) -> Script:
    """Server-sent events in these pieces, each a chunk of its own; None leaves the end open."""

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> None:
        del seen
        writer.write(head)
        for piece in pieces:
            writer.write(chunk(piece))
            await writer.drain()
            await asyncio.sleep(0)
        if ends:
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        elif ends is False:
            writer.transport.abort()

    return script


def event(value: dict[str, Any] | str, name: str | None = None) -> bytes:
    data = value if isinstance(value, str) else json.dumps(value)
    return (f"event: {name}\n" if name else "").encode() + b"data: " + data.encode() + b"\n\n"


def completion(text: str = "hello", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "served-model",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10,
                  "prompt_tokens_details": {"cached_tokens": 2}},
        **more,
    }  # fmt: skip


def chunk_body(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "served-model",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": None, **more,
    }  # fmt: skip


USAGE_EVENT = event(
    {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "served-model", "choices": [],
     "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}
)  # fmt: skip
DONE = event("[DONE]")


def chat_events(*words: str, usage: bool = True) -> list[bytes]:
    """A whole streamed chat completion."""
    pieces = [event(chunk_body({"role": "assistant", "content": ""}))]
    pieces += [event(chunk_body({"content": word})) for word in words]
    pieces.append(event(chunk_body({}, "stop")))
    return [*pieces, *([USAGE_EVENT] if usage else []), DONE]


def held_back(upstream: ScriptedUpstream) -> Script:
    """A stream whose second half waits for `upstream.go_on`."""
    pieces = chat_events("a")

    async def script(seen: Seen, writer: asyncio.StreamWriter) -> None:
        del seen
        writer.write(STREAM_HEAD + chunk(pieces[0]))
        await writer.drain()
        while not upstream.go_on.is_set():
            await asyncio.sleep(0.005)
        writer.write(b"".join(map(chunk, pieces[1:])) + b"0\r\n\r\n")

    return script
