"""The client of the engine, against an engine that drops every connection it was asked on once."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from freehold.core.errors import UpstreamError
from freehold.serving._engine_client import ask_engine, open_session

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence
    from pathlib import Path

Result = TypeVar("Result")
EVENT = b'data: {"choices": [{"delta": {"content": "yes"}, "finish_reason": "stop"}]}\n\n'
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class OneEngine:
    """Where the scripted engine listens."""

    def __init__(self, port: int) -> None:
        self.base_url = f"http://127.0.0.1:{port}"
        self.headers: dict[str, str] = {}
        self.is_alive = True

    def lora(self, adapter: Path | None) -> Sequence[Mapping[str, float]]:
        return ()


async def answer_then_reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request as a connection that could be kept; reset it as soon as another comes."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line)
    json.loads(await reader.readexactly(length))
    body = EVENT + b"data: [DONE]\n\n"
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    await reader.read(1)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def ask(count: int) -> list[str]:
    answering: list[asyncio.Task[None]] = []

    def start(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.append(asyncio.create_task(answer_then_reset(reader, writer)))

    async with await asyncio.start_server(start, "127.0.0.1", 0) as server:
        engine = OneEngine(server.sockets[0].getsockname()[1])
        async with open_session(engine) as session:
            answers = [
                "".join([piece.text async for piece in ask_engine(session, engine, {"messages": []})])
                for _ in range(count)
            ]
        await asyncio.gather(*answering)
    return answers


def in_a_loop(work: Coroutine[Any, Any, Result]) -> Result:
    """What `work` gives, in a thread of its own: browser tests leave a loop running in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def test_no_question_is_asked_on_a_connection_that_the_engine_may_be_closing() -> None:
    assert in_a_loop(ask(20)) == ["yes"] * 20


def test_an_engine_that_is_gone_is_told() -> None:
    async def nobody() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            engine = OneEngine(listener.getsockname()[1])
        async with open_session(engine) as session:
            async for _ in ask_engine(session, engine, {}):
                pass

    with pytest.raises(UpstreamError, match="does not answer"):
        in_a_loop(nobody())
