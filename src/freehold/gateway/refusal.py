"""A request that the gateway answers itself, in the shape of the API that was asked."""

from __future__ import annotations

import json


class Refused(Exception):
    """The answer to a request that goes no further."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        """HTTP `status`, a `message` for the caller, OpenAI's `code` and `param`, when to try again, and more."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s
        self.headers = headers


_OPENAI_TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    408: "timeout_error", 413: "invalid_request_error", 415: "invalid_request_error", 429: "rate_limit_error",
    502: "upstream_error", 503: "server_error", 504: "timeout_error",
}  # fmt: skip
_ANTHROPIC_TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    413: "request_too_large", 429: "rate_limit_error", 503: "overloaded_error", 504: "timeout_error",
}  # fmt: skip


def error_body(error: Refused, *, dialect: str, request_id: str | None = None) -> bytes:
    """The error as the API of this dialect spells it."""
    message = str(error)
    if dialect == "anthropic":
        kind = _ANTHROPIC_TYPES.get(error.status, "api_error")
        value: dict[str, object] = {"type": "error", "error": {"type": kind, "message": message}}
        if request_id is not None:
            value["request_id"] = request_id
    else:
        kind = _OPENAI_TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "server_error")
        value = {"error": {"message": message, "type": kind, "param": error.param, "code": error.code}}
    return json.dumps(value, separators=(",", ":")).encode()


def error_event(error: Refused, *, dialect: str) -> bytes:
    """The error as an event of a stream that has begun."""
    name = b"event: error\n" if dialect == "anthropic" else b""
    return name + b"data: " + error_body(error, dialect=dialect) + b"\n\n"
