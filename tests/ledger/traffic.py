"""Calls as a gateway records them, in small."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from freehold.ledger.records import CloseRecord, OpenRecord, new_call_id
from freehold.ledger.segments import SegmentWriter

if TYPE_CHECKING:
    from pathlib import Path

DAY = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE_US = 60_000_000


def open_writer(events: Path, worker: str = "w0", **options: Any) -> SegmentWriter:  # Any: the writer's own options
    return SegmentWriter(events / "segments", worker=worker, min_free_bytes=0, **options)


def started_us(number: int) -> int:
    """One call a minute from noon of the 20th of November on."""
    return int(DAY.timestamp() * 1_000_000) + number * MINUTE_US


def head(number: int, task: str = "desk", **fields: Any) -> OpenRecord:  # Any: fields of the record
    known: dict[str, Any] = {
        "task": task,
        "started_at_us": started_us(number),
        "endpoint": "/v1/chat/completions",
        "provider": "openai",
        "model_requested": "gpt-5.4",
        "request_id": f"client-{number}",
        "stream": False,
    }
    return OpenRecord(**(known | fields))


def request(text: str) -> bytes:
    return json.dumps({"model": "gpt-5.4", "messages": [{"role": "user", "content": text}]}).encode()


def answer(text: str, *, inside: int = 10, outside: int = 5) -> bytes:
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-5.4-2026-03-05",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": inside, "completion_tokens": outside, "total_tokens": inside + outside},
    }
    return json.dumps(body).encode()


def tail(**fields: Any) -> CloseRecord:  # Any: fields of the record
    known: dict[str, Any] = {"status": 200, "duration_ms": 12.5, "response_content_type": "application/json"}
    return CloseRecord(**(known | fields))


def record_call(writer: SegmentWriter, number: int, task: str = "desk", **fields: Any) -> bytes:  # Any: as above
    """One whole call; gives its id."""
    call_id = new_call_id(started_us(number))
    writer.opened(call_id, head(number, task, **fields), request(f"question {number}"))
    writer.commit()
    end_call(writer, call_id, answer(f"answer {number}"))
    return call_id


def begin_call(writer: SegmentWriter, number: int, task: str = "desk") -> bytes:
    """A call that has not ended; gives its id."""
    call_id = new_call_id(started_us(number))
    writer.opened(call_id, head(number, task), request(f"question {number}"))
    writer.commit()
    return call_id


def end_call(writer: SegmentWriter, call_id: bytes, body: bytes = b"") -> None:
    """Its end, on record."""
    writer.closed(call_id, tail(), body)
    writer.commit()
