"""LiteLLM: rows of the proxy's database (`LiteLLM_SpendLogs`), and what its callbacks write (StandardLoggingPayload).

The second has whole prompts and is the better source. The first has none unless `store_prompts_in_spend_logs` is on,
and cuts long ones. An id is the same in both, so a call that is imported from both is one call.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from freehold.ledger.logs.format import BadRow, Format, Skipped
from freehold.ledger.logs.formats import _litellm as shared
from freehold.ledger.logs.formats._alike import Alike, Facts, many_rows
from freehold.ledger.logs.formats._bodies import Kept, answer_of, body_of
from freehold.ledger.logs.formats._calls import logged_call, subject_of
from freehold.ledger.logs.formats._each_row import each_row
from freehold.ledger.logs.formats._fields import (
    Values,
    first,
    flag,
    inner,
    mapping_of,
    milliseconds,
    moment,
    number,
    text,
    word,
)
from freehold.ledger.logs.formats.litellm_columns import SpendLogColumns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from freehold.ledger.logs.format import Context, Item
    from freehold.ledger.logs.formats._each_row import Row

_FROM_CACHE = Skipped("answered from LiteLLM's own cache: no model was called")
_NO_MODEL = Skipped("LiteLLM: a tool or a file, no model was called")
_SECOND_MS = 1000


def read_spend_log(row: Row, context: Context) -> Iterator[Item]:
    """A row of the database, from an export or from the proxy's own `/spend/logs`."""
    del context
    if (skipped := _skipped(row)) is not None:
        yield skipped
        return
    yield _call(row, _facts_of_spend_log(row), answer=_answer(row.get("response")), key_id=text(row, "api_key"))


def _facts_of_spend_log(row: Row, context: Context | None = None) -> Facts:
    del context
    start, end = moment(row, "startTime"), moment(row, "endTime")
    measured = number(row, "request_duration_ms")
    return _facts(
        row,
        source=text(row, "request_id"),
        started_at=start,
        duration_ms=milliseconds(start, end) if measured is None else measured,
        ttft_ms=shared.first_token_ms(start, moment(row, "completionStartTime"), end),
        conversation_id=text(row, "session_id"),
    )


def read_standard_payload(row: Row, context: Context) -> Iterator[Item]:
    """One object of a callback, as it lies in a bucket."""
    del context
    if (skipped := _skipped(row)) is not None:
        yield skipped
        return
    yield _call(
        row,
        _facts_of_standard_payload(row),
        answer=Kept(None) if word(row, "status") == "failure" else answer_of(row.get("response")),
        key_id=text(inner(row, "metadata"), "user_api_key_hash"),
    )


def _facts_of_standard_payload(row: Row, context: Context | None = None) -> Facts:
    del context
    start, end = moment(row, "startTime"), moment(row, "endTime")
    waited_s = number(row, "response_time")
    lasted_ms = milliseconds(start, end)
    asked = inner(inner(row, "metadata"), "requester_metadata")
    return _facts(
        row,
        source=text(row, "id", "litellm_call_id"),
        started_at=start,
        duration_ms=None if lasted_ms is None and waited_s is None else lasted_ms or (waited_s or 0) * _SECOND_MS,
        ttft_ms=shared.first_token_ms(start, moment(row, "completionStartTime"), end),
        conversation_id=text(row, "session_id") or text(asked, "session_id"),
    )


def _facts(row: Row, *, source: str | None, **facts: Any) -> Facts:  # Any: fields of `Facts`
    if source is None:
        raise BadRow("a row of LiteLLM without its id")
    return Facts(
        source_id=f"litellm:{source}",
        request_id=source,
        subject=subject_of(_end_user(row)),
        usage=shared.usage(row, inner(row, "metadata")),
        **facts,
    )


def _call(row: Row, facts: Facts, *, answer: Kept, key_id: str | None) -> Item:
    metadata = inner(row, "metadata")
    request = shared.asked(row, metadata)
    is_failed, error, status = shared.failure(row, metadata)
    parameters = mapping_of(row.get("model_parameters"))
    return logged_call(
        request=request,
        answer=answer,
        parameters=parameters,
        key=shared.key_of(row, metadata),
        is_failed=is_failed,
        error_type=error,
        status=status,
        endpoint=shared.endpoint_of(word(row, "call_type")),
        provider=text(row, "custom_llm_provider"),
        model_requested=text(row, "model_group"),
        model_served=shared.model_of(row),
        stream=flag(row, "stream"),
        parent_id=shared.parent_of(metadata),
        key_id=key_id,
        key_name=word(metadata, "user_api_key_alias"),
        **facts.told(),
    )


def _answer(value: object) -> Kept:
    """The answer of a row of the database, which is JSON: text that is none was cut off."""
    return (
        answer_of(value) if not isinstance(value, str) or not value.lstrip().startswith(("{", "[")) else body_of(value)
    )


def _end_user(row: Row) -> str | None:
    value = first(row, "end_user", "user")
    return value if isinstance(value, str) and value != "default_user_id" else None


def _skipped(row: Row) -> Skipped | None:
    if shared.calls_no_model(word(row, "call_type")):
        return _NO_MODEL
    return _FROM_CACHE if shared.is_from_cache(row) else None


def _is_spend_log(values: Values) -> bool:
    return {"request_id", "call_type", "startTime"} <= values.keys() and bool(
        {"spend", "custom_llm_provider", "proxy_server_request", "model_group"} & values.keys()
    )


def _is_standard_payload(values: Values) -> bool:
    return (
        {"id", "call_type", "startTime"} <= values.keys()
        and "request_id" not in values
        and bool({"model_map_information", "hidden_params", "litellm_call_id", "response_cost"} & values.keys())
    )


_EVERY_ROW = frozenset({
    "id", "request_id", "litellm_call_id", "trace_id", "startTime", "endTime", "completionStartTime", "response_time",
    "request_duration_ms", "prompt_tokens", "completion_tokens", "total_tokens", "session_id", "end_user", "user",
})  # fmt: skip
_UNREAD = frozenset({
    "spend", "response_cost", "cost_breakdown", "saved_cache_cost", "cache_key", "hidden_params", "model_id",
    "api_base", "requester_ip_address", "model_map_information", "response_cost_failure_debug_info", "updatedAt",
})  # fmt: skip
_SPEND_LOGS = Alike(
    facts=_facts_of_spend_log,
    own=_EVERY_ROW,
    unread=_UNREAD,
    inside={
        "metadata": frozenset({
            "usage_object", "additional_usage_values", "cost_breakdown", "litellm_overhead_time_ms",
            "cold_storage_object_key", "requester_ip_address", "model_map_information",
        })
    },
    bodies=("messages", "response", "proxy_server_request"),
)  # fmt: skip
_STANDARD_PAYLOADS = replace(_SPEND_LOGS, facts=_facts_of_standard_payload)

FORMATS = (
    Format(
        name="litellm-standard-logging",
        recognises=_is_standard_payload,
        reader=each_row(read_standard_payload),
        many=many_rows(_STANDARD_PAYLOADS, read_standard_payload),
        order=-1,  # it has whole prompts: where both are there, it is the one that is kept
        says="LiteLLM's callbacks write 'id', 'call_type' and 'startTime' with 'response_cost'",
    ),
    Format(
        name="litellm-spend-logs",
        recognises=_is_spend_log,
        reader=each_row(read_spend_log),
        many=many_rows(_SPEND_LOGS, read_spend_log),
        columns=lambda context: SpendLogColumns(context, read_spend_log),
        are_columns_text=True,
        says="LiteLLM's SpendLogs have 'request_id', 'call_type' and 'startTime' with 'spend'",
    ),
)
