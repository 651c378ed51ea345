"""An answer that the gateway gives itself: plain values, whichever server writes them to the socket."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from freehold.gateway.http.headers import Header

_GUARDS = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers without the length, and body."""

    status: int
    headers: tuple[Header, ...]
    body: bytes


def json_answer(value: object, status: int = 200, *, more: tuple[Header, ...] = ()) -> Answer:
    """A value as JSON, not to be stored by anybody on its way."""
    body = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    return Answer(status, ((b"content-type", b"application/json"), *_GUARDS, *more), body)


def error_answer(status: int, code: str, message: str, *, more: tuple[Header, ...] = ()) -> Answer:
    """An error, in the shape that OpenAI's errors have."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    error: dict[str, Any] = {"message": message, "type": kind, "param": None, "code": code}  # Any: JSON
    return json_answer({"error": error}, status, more=more)


def page_answer(body: bytes, *, policy: bytes) -> Answer:
    """A page of HTML under a content security policy."""
    more = ((b"content-security-policy", policy), (b"referrer-policy", b"no-referrer"))
    return Answer(200, ((b"content-type", b"text/html; charset=utf-8"), *_GUARDS, *more), body)
