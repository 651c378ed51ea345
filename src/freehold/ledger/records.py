"""What a gateway writes about one attempt: a record before the call is forwarded, and one at its end.

The fields bear the names of `core.call.Call`. None means unknown, and is not written.
"""

from __future__ import annotations

import os
import random
import time
from typing import Literal

import msgspec

Dialect = Literal["openai-chat", "openai-completions", "openai-responses", "openai-embeddings", "anthropic", "other"]


class OpenRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Known before the call is forwarded."""

    task: str
    started_at_us: int
    """Microseconds since 1970, UTC."""
    key_id: str | None = None
    endpoint: str | None = None
    provider: str | None = None
    model_requested: str | None = None
    route: str | None = "rent"
    """rent, own, shadow, canary or cascade."""
    parent_id: str | None = None
    request_id: str | None = None
    conversation_id: str | None = None
    subject: str | None = None
    """The end user, hashed."""
    site_id: str | None = None
    service_tier: str | None = None
    model_version: str | None = None
    confidence: float | None = None
    stream: bool | None = None
    dialect: Dialect | None = None
    """How the bodies are to be read; None: by the endpoint."""
    request_content_type: str | None = None
    request_encoding: str | None = None
    """Content-Encoding of the bytes that are recorded; None: identity."""
    masks_bodies: bool = False
    """Personal data is masked before the bodies enter the Parquet files."""
    traceparent: str | None = None
    """The client's place in its trace, for spans; rows do not have it."""


class CloseRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Known when the last byte is about to leave, or when there will be none."""

    duration_ms: float | None = None
    ttft_ms: float | None = None
    status: int | None = None
    error_type: str | None = None
    model_served: str | None = None
    completion_id: str | None = None
    service_tier: str | None = None
    model_version: str | None = None
    confidence: float | None = None
    input_tokens: int | None = None
    """All input, cached and written included. What is None here is looked for in the response."""
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    finish_reason: str | None = None
    client_closed: bool | None = None
    response_content_type: str | None = None
    response_encoding: str | None = None
    """Content-Encoding of the bytes that were recorded; None: identity."""


_VERSION_AND_VARIANT = 0x7 << 76 | 0b10 << 62
_RANDOM_BITS = (1 << 80) - 1 ^ 0xF << 76 ^ 0b11 << 62
# Ids must differ, and are no secrets: asking the system for each would cost ten times as much.
_random = random.Random(os.urandom(32))  # noqa: S311
os.register_at_fork(after_in_child=lambda: _random.seed(os.urandom(32)))

_ENCODER = msgspec.msgpack.Encoder()
_OPEN = msgspec.msgpack.Decoder(OpenRecord)
_CLOSE = msgspec.msgpack.Decoder(CloseRecord)


def encode(record: OpenRecord | CloseRecord) -> bytes:
    """A record as a segment keeps it."""
    return _ENCODER.encode(record)


def decode_open(payload: bytes | memoryview) -> OpenRecord:
    """The record that was encoded; fields of a newer version are passed over.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return _OPEN.decode(payload)


def decode_close(payload: bytes | memoryview) -> CloseRecord:
    """The record that was encoded; fields of a newer version are passed over.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return _CLOSE.decode(payload)


def new_call_id(now_us: int | None = None) -> bytes:
    """A random UUIDv7, as the sixteen bytes that frames carry; `now_us` is its time (None: now).

    A clock that stands before 1970 costs the id its time and no call its record.

    Source: RFC 9562, section 5.7.
    """
    milliseconds = max(0, time.time_ns() // 1_000 if now_us is None else now_us) // 1_000
    chance = _random.getrandbits(80) & _RANDOM_BITS | _VERSION_AND_VARIANT
    return (milliseconds << 80 | chance).to_bytes(16)


def id_text(call_id: bytes) -> str:
    """The id as rows and people have it."""
    digits = call_id.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
