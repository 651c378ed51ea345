"""Asks the engine over HTTP and yields its answer piece by piece."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp

from freehold.core.chat import Usage
from freehold.core.errors import UpstreamError
from freehold.serving._chat_request import Refused

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from pathlib import Path

_ANSWER_TIMEOUT_S = 600.0


class Engine(Protocol):
    """A running llama.cpp server."""

    @property
    def base_url(self) -> str:
        """Its address."""
        ...

    @property
    def headers(self) -> dict[str, str]:
        """What a request must carry."""
        ...

    @property
    def is_alive(self) -> bool:
        """It can be asked."""
        ...

    def lora(self, adapter: Path | None) -> Sequence[Mapping[str, float]]:
        """Choice of an adapter for one request."""
        ...


@dataclass(frozen=True, slots=True)
class Piece:
    """What one event of the engine brought."""

    text: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None


def open_session(engine: Engine) -> aiohttp.ClientSession:
    """A client with one connection for each request; the engine queues them itself.

    None is kept: the engine closes a kept connection when it likes, and a question that was on its way into it
    may not be asked twice.
    """
    return aiohttp.ClientSession(
        headers=engine.headers,
        connector=aiohttp.TCPConnector(force_close=True, limit=0),
        timeout=aiohttp.ClientTimeout(total=_ANSWER_TIMEOUT_S),
    )


async def ask_engine(session: aiohttp.ClientSession, engine: Engine, body: Mapping[str, Any]) -> AsyncGenerator[Piece]:
    """Stream one answer. Leaving the iteration early closes the connection, and with it the engine's work.

    Raises:
        Refused: the conversation is longer than the engine's context.
        UpstreamError: the engine died, refused or broke off.
    """
    is_complete = False
    try:
        async with session.post(f"{engine.base_url}/v1/chat/completions", json=body) as response:
            if response.status != 200:
                raise _failure(response.status, await response.read())
            async for line in response.content:
                name, _, data = line.strip().partition(b": ")
                if name == b"error":
                    raise _failure(500, data)
                if name != b"data":
                    continue
                if data == b"[DONE]":
                    is_complete = True
                    break
                yield _read_event(data)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise UpstreamError(f"The engine does not answer ({type(error).__name__}). Restart the endpoint.") from error
    if not is_complete:
        raise UpstreamError("The engine broke off in the middle of an answer. Restart the endpoint.")


def _read_event(data: bytes) -> Piece:
    event = json.loads(data)
    if "error" in event:
        raise _failure(int(event["error"].get("code", 500)), data)
    usage = event.get("usage")
    choice: Mapping[str, Any] = next(iter(event.get("choices") or ()), {})
    return Piece(
        text=choice.get("delta", {}).get("content") or "",
        finish_reason=choice.get("finish_reason"),
        usage=None if usage is None else _read_usage(usage),
    )


def _read_usage(usage: Mapping[str, Any]) -> Usage:
    return Usage(
        input_tokens=usage["prompt_tokens"],
        output_tokens=usage["completion_tokens"],
        cache_read_tokens=usage.get("prompt_tokens_details", {}).get("cached_tokens"),
    )


def _failure(status: int, data: bytes) -> Refused | UpstreamError:
    """The engine's refusal. Only the length of a conversation is up to the client; the rest is built here."""
    try:
        error = json.loads(data)["error"] if b'"error"' in data else json.loads(data)
        kind, message = str(error.get("type")), str(error.get("message"))
    except (ValueError, AttributeError):
        kind, message = "unknown", "no reason given"
    if kind == "exceed_context_size_error":
        limit = error.get("n_ctx")
        return Refused(
            400,
            f"The conversation is longer than the model's context of {limit} tokens.",
            code="context_length_exceeded",
        )
    return UpstreamError(f"The engine refused with status {status}: {message}.")
