"""Names and attributes of an attempt as an OpenTelemetry span, by the conventions for generative models.

The names stand in `core/genai_names.py`: those of 1.41, which instrumentations use today; the variable
OTEL_SEMCONV_STABILITY_OPT_IN with `gen_ai_latest_experimental` in it chooses later ones. Content is in neither.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from freehold.core import genai_names as names

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
    found: dict[str, Value | None] = {
        names.OPERATION: _operation(head),
        names.PROVIDER: _PROVIDERS[provider.dialect] if provider else head.provider,
        names.REQUEST_MODEL: head.model_requested,
        names.REQUEST_STREAM: head.stream,
        names.CONVERSATION: head.conversation_id,
        names.RESPONSE_ID: tail.completion_id,
        names.RESPONSE_MODEL: tail.model_served,
        names.FINISH_REASONS: None if tail.finish_reason is None else (tail.finish_reason,),
        names.FIRST_CHUNK_S: None if tail.ttft_ms is None else tail.ttft_ms / 1000,
        names.INPUT_TOKENS: tail.input_tokens,
        names.OUTPUT_TOKENS: tail.output_tokens,
        names.CACHE_READ_TOKENS: tail.cache_read_tokens,
        names.CACHE_WRITE_TOKENS: tail.cache_write_tokens,
        names.REASONING_TOKENS: tail.reasoning_tokens,
        names.ERROR: error_of(tail),
        names.STATUS: tail.status,
        names.ADDRESS: provider.address if provider else None,
        names.PORT: provider.port if provider else None,
        names.TASK: head.task,
        names.ROUTE: head.route,
        names.OWN_PROVIDER: head.provider,
        names.KEY: head.key_id,
        names.REQUEST: head.request_id,
        names.PARENT: head.parent_id,
    }
    return {names.name_in(name, latest=latest): value for name, value in found.items() if value is not None}


def _operation(head: OpenRecord) -> str:
    return _OPERATIONS.get(head.dialect or "") or (head.endpoint or "other").removeprefix("/v1/")
