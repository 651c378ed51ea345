"""Langfuse: blob storage exports (legacy and enriched, `snake_case`), and its interface and public API (`camelCase`).

A generation is a call; other observations are steps around calls. Both spellings name the same things, so a field is
looked for under each. Columns may have been left out of an export: what is not there is unknown.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from freehold.ledger.logs.format import BadRow, Format, HumanWord, Skipped
from freehold.ledger.logs.formats import _langfuse_usage as counts
from freehold.ledger.logs.formats._alike import Alike, Facts, many_rows
from freehold.ledger.logs.formats._bodies import Kept, answer_of, plain, request_of
from freehold.ledger.logs.formats._calls import error_name, logged_call, subject_of
from freehold.ledger.logs.formats._each_row import each_row
from freehold.ledger.logs.formats._fields import (
    Values,
    list_of,
    mapping_of,
    milliseconds,
    moment,
    number,
    objects,
    parsed,
    present,
    text,
    word,
)
from freehold.ledger.logs.formats._keys import first_key, of_metadata, of_name, of_prompt, of_sole_tag, of_tags

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from freehold.ledger.logs.format import Context, Item, TaskKey
    from freehold.ledger.logs.formats._each_row import Row

_TRACES, _CALLS = "langfuse-traces", "langfuse-calls"
_SCORES = "langfuse-scores"
_CALLS_OF_MODELS = frozenset({"GENERATION", "EMBEDDING"})
_TYPES = _CALLS_OF_MODELS | {
    "SPAN", "EVENT", "AGENT", "TOOL", "CHAIN", "RETRIEVER", "EVALUATOR", "GUARDRAIL",
}  # fmt: skip
_OF_THE_TRACE = {
    "trace_name": ("name",),
    "user_id": ("user_id", "userId"),
    "session_id": ("session_id", "sessionId"),
    "tags": ("tags",),
    "trace_metadata": ("metadata",),
}
_SECOND_MS = 1000


def read_observation(values: Row, context: Context) -> Iterator[Item]:
    """One observation: a call if it is a generation."""
    kind = (word(values, "type") or "").upper()
    if kind not in _CALLS_OF_MODELS:
        yield Skipped(f"Langfuse: {kind.lower() if kind in _TYPES else 'observation'}, not a call of a model")
        return
    row = _with_trace(values, context)
    facts = _facts(row, context)
    is_failed = (word(row, "level") or "").upper() == "ERROR"
    request, answer = request_of(row.get("input")), _answer(row)
    yield logged_call(
        request=request,
        answer=Kept(None) if is_failed and answer.body is None else answer,
        parameters=_parameters(row),
        key=_key(row),
        is_failed=is_failed,
        error_type=error_name(word(row, "status_message", "statusMessage")) if is_failed else None,
        endpoint="/v1/embeddings" if kind == "EMBEDDING" else None,
        provider=word(mapping_of(row.get("metadata")), "ls_provider"),
        model_served=text(row, "provided_model_name", "model", "providedModelName"),
        **facts.told(),
    )


def _with_trace(values: Row, context: Context) -> Row:
    """An observation, and what its trace says of all of them."""
    told = _trace_of(text(values, "trace_id", "traceId"), context)
    return {**told, **values} if told else values


def _facts(row: Row, context: Context) -> Facts:
    source = text(row, "id")
    if source is None:
        raise BadRow("an observation of Langfuse without 'id'")
    _remember(text(row, "trace_id", "traceId"), source, context)
    start, end = moment(row, "start_time", "startTime"), moment(row, "end_time", "endTime")
    return Facts(
        source_id=f"langfuse:{source}",
        started_at=start,
        duration_ms=_duration_ms(row, start, end),
        ttft_ms=_first_token_ms(row, start, end),
        conversation_id=text(row, "session_id", "sessionId"),
        subject=subject_of(text(row, "user_id", "userId")),
        request_id=source,
        usage=counts.usage_of(row),
    )


def read_trace(row: Row, context: Context) -> Iterator[Item]:
    """What a trace says of all its observations, laid on the shelf: the older exports have it apart.

    The API gives a single trace with its observations inside; then these are read at once.
    """
    trace = text(row, "id")
    if trace is None:
        raise BadRow("a trace of Langfuse without 'id'")
    told = {name: plain(found) for name, names in _OF_THE_TRACE.items() if (found := _first(row, names)) is not None}
    context.shelf.put(_TRACES, trace, json.dumps(told).encode())
    inside = [each for each in objects(row.get("observations")) if _is_observation(each)]
    if not inside:
        yield Skipped("Langfuse: trace, kept for its observations")
    for each in inside:
        yield from read_observation({**present(each), "trace_id": trace}, context)


def read_score(row: Row, context: Context) -> Iterator[Item]:
    """A correction is a human's word; other scores say nothing that could be learnt."""
    if (word(row, "data_type", "dataType") or "").upper() != "CORRECTION":
        yield Skipped("Langfuse: score that is no correction")
        return
    corrected = word(row, "long_string_value", "longStringValue", "string_value", "stringValue", "value")
    if corrected is None:
        raise BadRow("a correction without a text in 'value'")
    reviewed_at = moment(row, "timestamp", "created_at", "createdAt", "updated_at", "updatedAt")
    yield HumanWord(
        call=_corrected_call(row, context),
        output=corrected,
        reviewer=text(row, "author_user_id", "authorUserId"),
        reviewed_at=None if reviewed_at is None else reviewed_at.isoformat(timespec="milliseconds"),
        is_test=context.is_test,
    )


def _corrected_call(row: Row, context: Context) -> str:
    call = text(row, "observation_id", "observationId")
    if call is not None:
        return call
    trace = text(row, "trace_id", "traceId")
    lies = None if trace is None else context.shelf.look(_CALLS, trace)
    if lies is None:
        raise BadRow("a correction of a whole trace: import it together with the observations of the trace")
    if not lies:
        raise BadRow("a correction of a whole trace that has several generations: which one is meant is not said")
    return lies.decode()


def _remember(trace: str | None, call: str, context: Context) -> None:
    """Which call a correction of the whole trace means: its only one. Where no corrections come, nobody asks."""
    if trace is None or (context.formats is not None and _SCORES not in context.formats):
        return
    lies = context.shelf.look(_CALLS, trace)
    if lies is None or lies == call.encode():
        context.shelf.put(_CALLS, trace, call.encode())
    elif lies:
        context.shelf.put(_CALLS, trace, b"")


def _trace_of(trace: str | None, context: Context) -> dict[str, Any]:  # Any: JSON
    lies = None if trace is None else context.shelf.look(_TRACES, trace)
    return {} if lies is None else dict(json.loads(lies))


def _first(row: Row, names: tuple[str, ...]) -> Any:  # Any: JSON
    return next((row[name] for name in names if name in row), None)


def _answer(row: Row) -> Kept:
    """The output; where it is empty, the calls of tools that Langfuse found in it."""
    kept = answer_of(row.get("output"))
    given = [parsed(each) for each in list_of(row.get("tool_calls", row.get("toolCalls")))]
    calls = [
        {
            "id": plain(call.get("id")),
            "type": "function",
            "function": {"name": plain(call.get("name")), "arguments": plain(call.get("arguments"))},
        }
        for call in given
        if isinstance(call, dict)
    ]
    if kept.body is not None or not calls:
        return kept
    return Kept({"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": calls}}]})


def _parameters(row: Row) -> dict[str, Any]:  # Any: JSON
    """Of the model, and the tools that it was told of."""
    found = {
        name: plain(each) for name, each in mapping_of(_first(row, ("model_parameters", "modelParameters"))).items()
    }
    tools = mapping_of(_first(row, ("tool_definitions", "toolDefinitions")))
    return {**found, **({"tools": [plain(parsed(tool)) for tool in tools.values()]} if tools else {})}


def _key(row: Row) -> TaskKey | None:
    return first_key(
        of_metadata(row.get("metadata"), row.get("trace_metadata")),
        of_prompt(row, "prompt_name", "promptName"),
        of_tags(_first(row, ("tags", "trace_tags", "traceTags"))),
        of_name(row, "name", "trace_name", "traceName"),
        of_prompt(row, "prompt_id", "promptId"),
        of_sole_tag(_first(row, ("tags", "trace_tags", "traceTags"))),
    )


def _duration_ms(row: Row, start: datetime | None, end: datetime | None) -> float | None:
    """From the two times; `latency` is in seconds."""
    lasted_ms, latency_s = milliseconds(start, end), number(row, "latency")
    return lasted_ms if lasted_ms is not None or latency_s is None else round(latency_s * _SECOND_MS, 3)


def _first_token_ms(row: Row, start: datetime | None, end: datetime | None) -> float | None:
    first = moment(row, "completion_start_time", "completionStartTime")
    waited_s = number(row, "time_to_first_token", "timeToFirstToken")
    if first is None or start is None:
        return None if waited_s is None else round(waited_s * _SECOND_MS, 3)
    return None if end is not None and first > end else milliseconds(start, first)


def _is_observation(values: Values) -> bool:
    kind = values.get("type")
    is_known = isinstance(kind, str) and kind.upper() in _TYPES
    is_placed = bool({"trace_id", "traceId"} & values.keys()) and bool({"start_time", "startTime"} & values.keys())
    return is_known and is_placed and "id" in values and not {"span_id", "spanId"} & values.keys()


def _is_trace(values: Values) -> bool:
    is_langfuse = bool({"project_id", "projectId", "htmlPath", "bookmarked"} & values.keys())
    is_named = "timestamp" in values and bool({"session_id", "sessionId", "tags", "user_id", "userId"} & values.keys())
    return "id" in values and is_named and is_langfuse and not {"data_type", "dataType", "type"} & values.keys()


def _is_score(values: Values) -> bool:
    return bool({"data_type", "dataType"} & values.keys()) and (
        bool({"trace_id", "traceId", "observation_id", "observationId"} & values.keys()) and "name" in values
    )


_ALIKE = Alike(
    facts=_facts,
    own=frozenset({
        "id", "trace_id", "traceId", "start_time", "startTime", "end_time", "endTime", "completion_start_time",
        "completionStartTime", "latency", "time_to_first_token", "timeToFirstToken", "usage_details", "usageDetails",
        "usage", "session_id", "sessionId", "user_id", "userId", *counts.FIELDS,
    }),
    unread=frozenset({
        "parent_observation_id", "parentObservationId", "created_at", "createdAt", "updated_at", "updatedAt",
        "cost_details", "costDetails", "provided_cost_details", "providedCostDetails", "total_cost", "totalCost",
        "input_cost", "inputCost", "output_cost", "outputCost", "calculatedInputCost", "calculatedOutputCost",
        "calculatedTotalCost", "inputPrice", "outputPrice", "totalPrice", "event_ts", "tokens_per_second",
    }),
    bodies=("input", "output", "tool_calls", "toolCalls"),
    merged=_with_trace,
)  # fmt: skip

FORMATS = (
    Format(
        name=_SCORES,
        recognises=_is_score,
        reader=each_row(read_score),
        order=2,
        says="Langfuse's scores have 'data_type' with 'trace_id' or 'observation_id'",
    ),
    Format(
        name="langfuse-traces",
        recognises=_is_trace,
        reader=each_row(read_trace),
        order=-1,
        says="Langfuse's traces have 'id', 'timestamp' and 'project_id' with 'session_id' or 'tags'",
    ),
    Format(
        name="langfuse-observations",
        recognises=_is_observation,
        reader=each_row(read_observation),
        many=many_rows(_ALIKE, read_observation),
        says="Langfuse's observations have 'id', 'type', 'trace_id' and 'start_time', or 'traceId' and 'startTime'",
    ),
)
