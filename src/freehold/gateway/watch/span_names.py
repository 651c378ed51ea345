"""Names and attributes of an attempt as an OpenTelemetry span, by the conventions for generative models.

The conventions are still being developed. The names are those of 1.41, which instrumentations use today; the variable
OTEL_SEMCONV_STABILITY_OPT_IN with `gen_ai_latest_experimental` in it chooses later ones. Content is in neither.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.ledger.records import CloseRecord, OpenRecord

    Value = str | int | float | bool | tuple[str, ...]

_LATEST = "gen_ai_latest_experimental"
_OPERATIONS = {
    "openai-chat": "chat",
    "openai-responses": "chat",
    "anthropic": "chat",
    "openai-completions": "text_completion",
    "openai-embeddings": "embeddings",
}
_PROVIDERS = {"openai": "openai", "anthropic": "anthropic", "azure": "azure.ai.openai"}
_FIRST_ERROR = 400


@dataclass(frozen=True, slots=True)
class SpanProvider:
    """What spans say of a provider."""

    dialect: str
    address: str | None
    port: int | None


def is_latest(environment: Mapping[str, str] = os.environ) -> bool:
    """The names after 1.41 are wished for."""
    return _LATEST in environment.get("OTEL_SEMCONV_STABILITY_OPT_IN", "").replace(" ", "").split(",")


def span_name(head: OpenRecord) -> str:
    """`chat gpt-5.4-mini`."""
    return f"{_operation(head)} {head.model_requested}" if head.model_requested else _operation(head)


def error_of(tail: CloseRecord) -> str | None:
    """What went wrong, as `error.type` has it; None if nothing did."""
    if tail.error_type is not None:
        return tail.error_type
    if tail.status is None:
        return "_OTHER"
    return str(tail.status) if tail.status >= _FIRST_ERROR else None


def span_attributes(
    head: OpenRecord, tail: CloseRecord, provider: SpanProvider | None, *, latest: bool
) -> dict[str, Value]:
    """All that is known of an attempt and is no content; what is unknown is left out."""
    written = "gen_ai.usage.cache_write.input_tokens" if latest else "gen_ai.usage.cache_creation.input_tokens"
    found: dict[str, Value | None] = {
        "gen_ai.operation.name": _operation(head),
        "gen_ai.provider.name": _PROVIDERS[provider.dialect] if provider else head.provider,
        "gen_ai.request.model": head.model_requested,
        "gen_ai.request.stream": head.stream,
        "gen_ai.conversation.id": head.conversation_id,
        "gen_ai.response.id": tail.completion_id,
        "gen_ai.response.model": tail.model_served,
        "gen_ai.response.finish_reasons": None if tail.finish_reason is None else (tail.finish_reason,),
        "gen_ai.response.time_to_first_chunk": None if tail.ttft_ms is None else tail.ttft_ms / 1000,
        "gen_ai.usage.input_tokens": tail.input_tokens,
        "gen_ai.usage.output_tokens": tail.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": tail.cache_read_tokens,
        written: tail.cache_write_tokens,
        "gen_ai.usage.reasoning.output_tokens": tail.reasoning_tokens,
        "error.type": error_of(tail),
        "http.response.status_code": tail.status,
        "server.address": provider.address if provider else None,
        "server.port": provider.port if provider else None,
        "freehold.task": head.task,
        "freehold.route": head.route,
        "freehold.provider": head.provider,
        "freehold.key_id": head.key_id,
        "freehold.request_id": head.request_id,
        "freehold.parent_id": head.parent_id,
    }
    return {name: value for name, value in found.items() if value is not None}


def _operation(head: OpenRecord) -> str:
    return _OPERATIONS.get(head.dialect or "") or (head.endpoint or "other").removeprefix("/v1/")
