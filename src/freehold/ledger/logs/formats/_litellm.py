"""What LiteLLM's two kinds of log have in common: its kinds of call, its own cache, its errors, its counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freehold.core.chat import Usage, with_reasoning
from freehold.ledger.logs.formats._bodies import Kept, body_of, request_of
from freehold.ledger.logs.formats._calls import EARLIER_ATTEMPT, status_of
from freehold.ledger.logs.formats._fields import Values, count, flag, inner, mapping_of, word
from freehold.ledger.logs.formats._keys import first_key, of_headers, of_metadata, of_prompt, of_sole_tag, of_tags
from freehold.ledger.logs.formats._usage import NOBODY_COUNTED, counted, inside

if TYPE_CHECKING:
    from datetime import datetime

    from freehold.ledger.logs.format import TaskKey

_ENDPOINTS = {
    "completion": "/v1/chat/completions",
    "text_completion": "/v1/completions",
    "responses": "/v1/responses",
    "embedding": "/v1/embeddings",
    "anthropic_messages": "/v1/messages",
    "image_generation": "/v1/images/generations",
    "transcription": "/v1/audio/transcriptions",
    "speech": "/v1/audio/speech",
    "moderation": "/v1/moderations",
    "rerank": "/v1/rerank",
    "_arealtime": "/v1/realtime",
}
_NO_MODEL = ("vector_store", "file_", "create_file", "list_")
_METADATA = ("requester_metadata", "spend_logs_metadata", "user_api_key_metadata")


def endpoint_of(call_type: str | None) -> str | None:
    """The path of a kind of call; LiteLLM writes an `a` before those that it awaits."""
    name = call_type or ""
    return _ENDPOINTS.get(name) or _ENDPOINTS.get(name.removeprefix("a"))


def calls_no_model(call_type: str | None) -> bool:
    """A tool of an MCP server was called, or a file was stored: the row is no call of a model."""
    name = (call_type or "").lower()
    return "mcp" in name or name.removeprefix("a").startswith(_NO_MODEL)


def is_from_cache(row: Values) -> bool:
    """LiteLLM answered from its own cache. The database has `True`, `False` and `None` as text."""
    return flag(row, "cache_hit") is True


def asked(row: Values, metadata: Values) -> Kept:
    """The request. With prompts switched on the database has it in the request to the proxy, and `messages` is `{}`.

    `messages` is filled for realtime calls alone, and in logs of callbacks.
    """
    for value in (row.get("proxy_server_request"), metadata.get("proxy_server_request")):
        found = body_of(value)
        if found.body is None and found.is_cut:
            return Kept({}, is_cut=True)
        body = mapping_of((found.body or {}).get("body")) or found.body
        if body and any(name in body for name in ("messages", "input", "prompt", "contents")):
            return request_of(body)
    return request_of(row.get("messages"))


def usage(row: Values, metadata: Values) -> Usage:
    """The row's counts, and of cached tokens what the provider said; LiteLLM counts them as part of the prompt.

    A call that failed has 0 everywhere, which says that nobody counted.
    """
    if not count(row, "total_tokens", "prompt_tokens", "completion_tokens") and failure(row, metadata)[0]:
        return Usage()
    given, made = count(row, "prompt_tokens"), count(row, "completion_tokens")
    told, more = _told(metadata, "usage_object"), _told(metadata, "additional_usage_values")
    is_told = told.input_tokens == given and told.output_tokens == made and not told.reasoning_tokens
    if more is NOBODY_COUNTED and is_told:
        return inside(told)
    read = told.cache_read_tokens if told.cache_read_tokens is not None else more.cache_read_tokens
    written = told.cache_write_tokens if told.cache_write_tokens is not None else more.cache_write_tokens
    return inside(
        Usage(
            input_tokens=given,
            output_tokens=with_reasoning(given, made, told.reasoning_tokens, count(row, "total_tokens")),
            cache_read_tokens=read,
            cache_write_tokens=written,
            reasoning_tokens=told.reasoning_tokens,
        )
    )


def _told(metadata: Values, name: str) -> Usage:
    usage = inner(metadata, name)
    return counted(usage) if usage else NOBODY_COUNTED


def key_of(row: Values, metadata: Values) -> TaskKey | None:
    """What the row says that it belongs to: a header, metadata of the request or its key, a prompt, a tag."""
    return first_key(
        of_headers(metadata.get("requester_custom_headers")),
        of_metadata(*(metadata.get(name) for name in _METADATA), metadata),
        of_prompt(inner(metadata, "prompt_management_metadata"), "prompt_id"),
        of_tags(row.get("request_tags")),
        of_sole_tag(row.get("request_tags")),
    )


def failure(row: Values, metadata: Values) -> tuple[bool, str | None, int | None]:
    """Whether the call failed, of which kind the error is, and the provider's status."""
    is_failed = word(row, "status") == "failure" or word(metadata, "status") == "failure"
    information = inner(row, "error_information") or inner(metadata, "error_information")
    kind, code = word(information, "error_class"), status_of(information.get("error_code"))
    return (True, kind, code) if is_failed else (False, None, 200)


def parent_of(metadata: Values) -> str | None:
    """What a call repeats: LiteLLM counts its attempts and the models it fell back to, and does not say their ids."""
    again = sum(
        value
        for name in ("attempted_retries", "attempted_fallbacks")
        if isinstance(value := metadata.get(name), int) and value > 0
    )
    return EARLIER_ATTEMPT if again else None


def model_of(row: Values) -> str | None:
    """The model that was called, without its provider in front where that is a field of its own."""
    name, provider = word(row, "model"), word(row, "custom_llm_provider")
    return name.removeprefix(f"{provider}/") if name and provider else name


def first_token_ms(start: datetime | None, first: datetime | None, end: datetime | None) -> float | None:
    """Time to the first token; where the answer came in one piece LiteLLM writes the end of the call for it."""
    if start is None or first is None or first < start or (end is not None and first >= end):
        return None
    return round((first - start).total_seconds() * 1000, 3)
