"""One call of a language model, as the ledger keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The facts of one attempt. None means unknown. Cost is no fact: it is derived on reading."""

    id: str
    """UUIDv7."""
    task: str
    started_at: datetime | None = None
    """UTC; None when the log did not say."""
    key_id: str | None = None
    key_name: str | None = None
    """What the log that it comes from calls the key; of the gateway's own keys the state knows the name."""
    endpoint: str | None = None
    provider: str | None = None
    model_requested: str | None = None
    model_served: str | None = None
    route: str | None = None
    """rent, own, shadow, canary or cascade."""
    parent_id: str | None = None
    request_id: str | None = None
    """The client's own id."""
    completion_id: str | None = None
    conversation_id: str | None = None
    subject: str | None = None
    """The end user, hashed."""
    site_id: str | None = None
    service_tier: str | None = None
    model_version: str | None = None
    """Registry id of an own model."""
    confidence: float | None = None
    status: int | None = None
    """HTTP status of the answer; None for a labelled row that was never sent to a model."""
    error_type: str | None = None
    stream: bool | None = None
    input_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    ttft_ms: float | None = None
    duration_ms: float | None = None
    finish_reason: str | None = None
    client_closed: bool | None = None
    truncated: bool | None = None
    """A body is not whole: the log that it comes from had cut it. Such a call is counted and never trained on."""
    request: Mapping[str, Any] | None = None  # Any: the body as the client sent it
    response: Mapping[str, Any] | None = None  # Any: the body as the provider sent it
