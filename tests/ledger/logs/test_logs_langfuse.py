"""Langfuse: both blob exports, the interface's and the API's, and corrections."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from freehold.core.spoken import answered, asked
from freehold.ledger.logs.format import BadRow, HumanWord, LoggedCall, Skipped
from tests.ledger.logs.reading import Desk, fixture, known_as, the_call

if TYPE_CHECKING:
    from pathlib import Path

    from freehold.core.call import Call


def _row(**fields: Any) -> dict[str, Any]:
    return {
        "id": "o1",
        "trace_id": "t1",
        "type": "GENERATION",
        "start_time": "2026-10-10 09:00:00.000000",
        "end_time": "2026-10-10 09:00:02.500000",
        "provided_model_name": "gpt-5.4-mini",
        "level": "DEFAULT",
        "input": "Where is it?",
        "output": "delivery",
        **fields,
    }


def _score(**fields: Any) -> dict[str, Any]:
    return {"id": "s", "trace_id": "t1", "observation_id": "o1", "name": "output", "data_type": "CORRECTION", **fields}


def _legacy() -> dict[str, Call]:
    desk = Desk()
    desk.read(fixture("langfuse/traces/legacy.jsonl"))
    calls = desk.calls(fixture("langfuse/observations/legacy.jsonl"))
    return {str(call.request_id): call for call in calls}


def test_a_generation_has_text_that_is_json_seconds_and_empty_fields() -> None:
    calls = _legacy()
    first, failed = calls["obs-0"], calls["obs-2"]

    assert [turn.role for turn in asked(first.request)] == ["system", "user"]
    assert answered(first.response) == "delivery"
    assert (first.duration_ms, first.ttft_ms, first.provider) == (2500, 750, "openai")
    assert (first.input_tokens, first.cache_read_tokens, first.output_tokens) == (60, 16, 3)
    assert first.request is not None
    assert first.request["temperature"] == 0
    assert (failed.error_type, failed.status, failed.response) == ("openai.RateLimitError", None, None)
    assert (failed.duration_ms, failed.input_tokens) == (None, None)


def test_the_older_export_gets_what_its_traces_say_from_another_file() -> None:
    first = _legacy()["obs-0"]

    assert first.conversation_id == "session-0"
    assert first.subject not in (None, "ada")


def test_tools_embeddings_and_what_was_too_large() -> None:
    calls = _legacy()

    assert calls["obs-4"].response == {
        "choices": [
            {
                "message": {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "call_1",
                            "type": "function",
                            "function": {"name": "look_up", "arguments": '{"order": 7}'},
                        }
                    ],
                }
            }
        ]
    }
    tools = calls["obs-4"].request or {}
    assert tools["tools"] == [{"type": "function", "function": {"name": "look_up"}}]
    assert calls["obs-5"].truncated is True
    assert (calls["obs-6"].endpoint, calls["obs-6"].input_tokens, calls["obs-6"].output_tokens) == (
        "/v1/embeddings",
        5,
        0,
    )
    assert "obs-3" not in calls


def test_latency_alone_is_in_seconds() -> None:
    call = the_call(_row(end_time="", latency="2.5", time_to_first_token="0.75")).call

    assert (call.duration_ms, call.ttft_ms) == (2500, 750)


@pytest.mark.parametrize(
    ("details", "counts"),
    [  # input, of it read from a cache, written to one; output, of it reasoning
        ({"input": 44, "input_cached_tokens": 16, "output": 3, "total": 63}, (60, 16, None, 3, None)),
        ({"input": 60, "input_cached_tokens": 16, "output": 3, "total": 63}, (60, 16, None, 3, None)),
        ({"input": 44, "input_cached_tokens": 16, "output": 3}, (60, 16, None, 3, None)),
        ({"input": "44", "input_cached_tokens": "16", "output": "3", "total": "63"}, (60, 16, None, 3, None)),
        ({"input": 40, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 200, "output": 5, "total": 1245},
         (1240, 1000, 200, 5, None)),
        ({"input": 10, "output": 4, "output_reasoning_tokens": 16, "total": 30}, (10, None, None, 20, 16)),
        ({"input": 10, "output": 20, "reasoning_tokens": 16, "total": 30}, (10, None, None, 20, 16)),
        ({"input": 10, "input_audio_tokens": 5, "output": 1, "total": 16}, (15, None, None, 1, None)),
        ({"input": 7, "total": 7}, (7, None, None, 0, None)),
        ({"prompt_tokens": 60, "completion_tokens": 3, "total_tokens": 63}, (60, None, None, 3, None)),
        ({"input": 5, "input_cached_tokens": 0, "output": 5, "total": 10}, (5, 0, None, 5, None)),
        ({}, (None, None, None, None, None)),
    ],
)  # fmt: skip
def test_the_total_tells_whether_cached_and_reasoning_tokens_stand_inside_or_beside(
    details: dict[str, Any], counts: tuple[int | None, ...]
) -> None:
    for given in (details, json.dumps(details), list(details.items())):
        call = the_call(_row(usage_details=given)).call
        assert (
            call.input_tokens, call.cache_read_tokens, call.cache_write_tokens,
            call.output_tokens, call.reasoning_tokens,
        ) == counts  # fmt: skip


def test_the_enriched_export_as_csv() -> None:
    first, tool, extraction = Desk().read(fixture("langfuse/observations_v2/enriched.csv"))

    assert isinstance(first, LoggedCall)
    assert (first.key, first.call.conversation_id, first.call.input_tokens) == (("tag", "tickets-v2"), "session-v2", 60)
    assert tool == Skipped("Langfuse: tool, not a call of a model")
    assert isinstance(extraction, LoggedCall)
    assert json.loads(answered(extraction.call.response) or "") == {"total": 12.5, "currency": "EUR"}


def test_the_enriched_export_as_parquet_has_maps_times_and_nothing_for_what_is_missing(tmp_path: Path) -> None:
    row = _row(
        usage_details=[("input", 44), ("input_cached_tokens", 16), ("output", 3), ("total", 63)], tags=["task:t"]
    )
    kinds = {"usage_details": pa.map_(pa.string(), pa.int64()), "tags": pa.list_(pa.string())}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in [*row, "user_id"]])
    pq.write_table(pa.Table.from_pylist([row], schema), tmp_path / "o.parquet")
    (read,) = pq.read_table(tmp_path / "o.parquet").to_pylist()

    assert known_as(read) == "langfuse-observations"
    logged = the_call(read)
    assert (logged.call.input_tokens, logged.call.cache_read_tokens, logged.key) == (60, 16, ("tag", "t"))
    assert logged.call.subject is None


def test_without_the_columns_of_bodies_a_call_has_its_facts() -> None:
    for call in Desk().calls(fixture("langfuse/observations_v2/without_io.jsonl")):
        assert (call.request, call.response, call.truncated, call.route) == (None, None, None, "rent")
        assert (call.input_tokens, call.duration_ms, call.model_served) == (60, 2500, "gpt-5.4-mini-2026-03-17")


def test_the_api_writes_camel_case_objects_and_sometimes_no_tokens() -> None:
    first, characters, span = Desk().read(fixture("langfuse/api.json"))

    assert isinstance(first, LoggedCall)
    assert isinstance(characters, LoggedCall)
    assert (first.call.input_tokens, first.call.cache_read_tokens, first.key) == (60, 16, ("name", "sort ticket"))
    assert asked(first.call.request)[1].content == "My parcel has not come."
    assert (characters.call.input_tokens, characters.call.output_tokens) == (None, None)
    assert span == Skipped("Langfuse: span, not a call of a model")


def test_the_interface_adds_what_the_trace_says() -> None:
    (logged,) = Desk().read(fixture("langfuse/ui.json"))

    assert isinstance(logged, LoggedCall)
    assert logged.key == ("tag", "tickets-ui")
    assert logged.call.subject is not None


def test_a_trace_that_holds_its_observations_is_opened() -> None:
    call, span = Desk().read(fixture("langfuse/trace.json"))

    assert isinstance(call, LoggedCall)
    assert (call.key, call.call.conversation_id) == (("tag", "tickets-trace"), "session-5")
    assert isinstance(span, Skipped)


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"prompt_name": "sorter", "name": "step"}, ("prompt", "sorter")),
        ({"metadata": '{"task": "t"}', "prompt_name": "sorter"}, ("metadata", "t")),
        ({"name": "OpenAI-generation", "trace_name": "sort"}, ("name", "sort")),
        ({"name": "ChatOpenAI", "tags": ["sorting"]}, ("tag", "sorting")),
        ({"name": "litellm-acompletion", "tags": ["prod"]}, None),
        ({"name": "ai.generateText.doGenerate"}, None),
    ],
)
def test_what_a_generation_says_it_belongs_to(fields: dict[str, Any], key: tuple[str, str] | None) -> None:
    assert the_call(_row(**fields)).key == key


@pytest.mark.parametrize(
    ("value", "turns"),
    [
        ("plain text", [("user", "plain text")]),
        ("[INST] not JSON", [("user", "[INST] not JSON")]),
        ('"a JSON text"', [("user", "a JSON text")]),
        ('{"question": "q"}', [("user", '{"question":"q"}')]),
        (
            '[{"type": "human", "content": "hi"}, {"type": "ai", "content": "ho"}]',
            [("user", "hi"), ("assistant", "ho")],
        ),
        ('[[{"role": "user", "content": "in a batch"}]]', [("user", "in a batch")]),
        ('{"role": "user", "content": "one"}', [("user", "one")]),
        ([{"type": "text", "text": "a part"}], [("user", "a part")]),
    ],
)
def test_an_input_is_understood_in_every_form(value: object, turns: list[tuple[str, str]]) -> None:
    assert [(turn.role, turn.content) for turn in asked(the_call(_row(input=value)).call.request)] == turns


def test_a_correction_is_a_humans_word_about_its_observation_or_its_traces_only_call() -> None:
    desk = Desk()
    desk.read(fixture("langfuse/observations/legacy.jsonl"))
    first, other, of_trace = desk.read(fixture("langfuse/scores/legacy.jsonl"))

    assert first == HumanWord(
        call="obs-0", output="refund", reviewer="grace", reviewed_at="2026-10-20T10:00:00.000+00:00"
    )
    assert other == Skipped("Langfuse: score that is no correction")
    assert isinstance(of_trace, HumanWord)
    assert (of_trace.call, of_trace.output) == ("obs-1", "account")


def test_a_correction_of_a_trace_with_several_calls_is_refused_as_it_is_not_said_which_is_meant() -> None:
    desk = Desk()
    desk.read([_row(), _row(id="o2"), _row(id="o3")])

    with pytest.raises(BadRow, match="several generations"):
        desk.read([_score(observation_id="", value="x")])
    with pytest.raises(BadRow, match="together with the observations"):
        desk.read([_score(observation_id="", trace_id="t9", value="x")])
    with pytest.raises(BadRow, match="without a text"):
        desk.read([_score(value=0)])


@pytest.mark.parametrize("fields", [{"id": ""}, {"start_time": "soon"}, {"latency": "-1", "end_time": ""}])
def test_a_row_with_a_faulty_fact_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(BadRow):
        the_call(_row(**fields), of="langfuse-observations")
