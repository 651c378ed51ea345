"""One call on its way: what is known of it so far, as an OpenAI answer and as a row of the ledger."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from freehold.core.call import Call
from freehold.core.chat import Usage
from freehold.core.identity import call_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.serving._chat_request import ChatRequest
    from freehold.serving._engine_client import Piece
    from freehold.serving.endpoint import ServedModel

_ENDPOINT = "/v1/chat/completions"
_PROVIDER = "freehold"


@dataclass(slots=True, kw_only=True)
class Exchange:
    """Collects an answer while it is generated. The one mutable thing of a call."""

    request: ChatRequest
    model: ServedModel
    request_id: str | None
    placeholders: Mapping[str, str] = field(default_factory=dict)
    """What stands in the masked question -> what the client wrote."""
    is_recorded: bool = False
    has_client_left: bool = False
    completion_id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex}")
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    masked_text: str = ""
    finish_reason: str | None = None
    usage: Usage = field(default_factory=Usage)
    ttft_ms: float | None = None
    _began: float = field(default_factory=time.perf_counter)

    def add(self, piece: Piece) -> None:
        """Take in what the engine said next."""
        if piece.text and self.ttft_ms is None:
            self.ttft_ms = self._elapsed_ms()
        self.masked_text += piece.text
        self.finish_reason = piece.finish_reason or self.finish_reason
        self.usage = piece.usage or self.usage

    @property
    def text(self) -> str:
        """The answer in the client's words: what was masked in the question is put back."""
        text = self.masked_text
        is_json = self.model.task.kind == "extraction"
        for placeholder, value in self.placeholders.items():
            text = text.replace(placeholder, json.dumps(value, ensure_ascii=False)[1:-1] if is_json else value)
        return text

    def completion(self) -> dict[str, Any]:
        """The whole answer, as the OpenAI API spells it."""
        message = {"role": "assistant", "content": self.text}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish_reason}
        return {**self._head("chat.completion"), "choices": [choice], "usage": self._usage_body()}

    def chunk(self, delta: Mapping[str, str], finish_reason: str | None = None) -> dict[str, Any]:
        """One event of a streamed answer."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def usage_chunk(self) -> dict[str, Any]:
        """The event that a client gets who asked for `include_usage`."""
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": self._usage_body()}

    def call(self, *, status: int, error_type: str | None = None) -> Call:
        """The ledger's row. A call that failed before its first word has no response."""
        has_answer = self.finish_reason is not None or bool(self.masked_text)
        return Call(
            id=call_id(self.started_at, self.completion_id),
            task=self.model.task.name,
            started_at=self.started_at,
            endpoint=_ENDPOINT,
            provider=_PROVIDER,
            model_requested=self.request.model,
            model_served=self.model.id,
            route="own",
            request_id=self.request_id,
            completion_id=self.completion_id,
            model_version=self.model.id,
            status=status,
            error_type=error_type,
            stream=self.request.stream,
            input_tokens=self.usage.input_tokens,
            cache_read_tokens=self.usage.cache_read_tokens,
            output_tokens=self.usage.output_tokens,
            ttft_ms=self.ttft_ms,
            duration_ms=self._elapsed_ms(),
            finish_reason=self.finish_reason,
            client_closed=self.has_client_left,
            request=self.request.body,
            response=self.completion() if has_answer else None,
        )

    def _head(self, kind: str) -> dict[str, Any]:
        created = int(self.started_at.timestamp())
        return {"id": self.completion_id, "object": kind, "created": created, "model": self.model.id}

    def _usage_body(self) -> dict[str, Any] | None:
        usage = self.usage
        if usage.input_tokens is None or usage.output_tokens is None:
            return None
        return {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens + usage.output_tokens,
            "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens or 0},
        }

    def _elapsed_ms(self) -> float:
        return (time.perf_counter() - self._began) * 1000
