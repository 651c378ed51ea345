"""OpenTelemetry: four conventions, two envelopes, several dumps; and what the gateway itself emits."""

from __future__ import annotations

import json
from typing import Any

import pytest

from freehold.core.spoken import answered, asked
from freehold.gateway.watch.span_names import SpanProvider, span_attributes
from freehold.ledger.logs.format import LoggedCall, Skipped, Unusable
from freehold.ledger.records import CloseRecord, OpenRecord
from tests.ledger.logs.reading import Desk, fixture, the_call

OTHER = Skipped("span of something else than a call of a model")


def _span(attributes: object, **fields: Any) -> dict[str, Any]:
    return {
        "name": "chat", "context": {"trace_id": "0x" + "a" * 32, "span_id": "0x" + "b" * 16},
        "start_time": "2026-10-05T08:00:00Z", "end_time": "2026-10-05T08:00:02Z", "attributes": attributes, **fields,
    }  # fmt: skip


def _chat(**attributes: Any) -> dict[str, Any]:
    named = {name.replace("__", "."): value for name, value in attributes.items()}
    return {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", **named}


def _turns(call: Any) -> list[tuple[str, str]]:
    return [(turn.role, turn.content) for turn in asked(call.request)]


def test_a_span_by_the_conventions_of_today() -> None:
    first, agent, http, *_ = Desk().read(fixture("otel/v141.otlp.jsonl"))

    assert isinstance(first, LoggedCall)
    call = first.call
    assert [role for role, _ in _turns(call)] == ["system", "user"]
    assert answered(call.response) == "delivery"
    assert (call.input_tokens, call.cache_read_tokens, call.cache_write_tokens, call.output_tokens) == (60, 16, 8, 3)
    assert (call.duration_ms, call.ttft_ms, call.finish_reason, call.conversation_id) == (1500, 400, "stop", "conv-1")
    assert (call.model_requested, call.model_served) == ("gpt-5.4-mini", "gpt-5.4-mini-2026-03-17")
    assert (agent, http) == (OTHER, OTHER)


def test_content_that_is_cut_errors_and_tools() -> None:
    _, _, _, cut, failed, tool, *_ = Desk().read(fixture("otel/v141.otlp.jsonl"))

    assert isinstance(cut, LoggedCall)
    assert cut.call.truncated is True
    assert isinstance(failed, LoggedCall)
    assert (failed.call.error_type, failed.call.status, failed.call.input_tokens) == ("RateLimitError", None, None)
    assert isinstance(tool, LoggedCall)
    assert tool.call.request is not None
    assert [message["role"] for message in tool.call.request["messages"]] == ["system", "user", "assistant", "tool"]
    assert tool.call.request["messages"][2]["tool_calls"][0]["function"] == {
        "name": "look_up", "arguments": '{"order": 7}',
    }  # fmt: skip
    assert answered(tool.call.response) == "on its way"


def test_two_spans_of_one_answer_in_one_trace_are_one_call() -> None:
    *_, twice, embedding = Desk().read(fixture("otel/v141.otlp.jsonl"))

    assert twice == Skipped("span of a call that another span of its trace tells of too")
    assert isinstance(embedding, LoggedCall)
    assert (embedding.call.endpoint, embedding.call.output_tokens) == ("/v1/embeddings", 0)


def test_a_span_that_is_read_twice_is_the_same_call_both_times() -> None:
    desk = Desk()
    span = _span(_chat(gen_ai__response__id="r"))

    assert desk.read([span]) == desk.read([span])


def test_a_span_by_the_later_conventions() -> None:
    (logged,) = Desk().read(fixture("otel/genai_010.otlp.json"))

    assert isinstance(logged, LoggedCall)
    call = logged.call
    assert (call.input_tokens, call.cache_read_tokens, call.cache_write_tokens, call.reasoning_tokens) == (
        1240,
        1000,
        200,
        2,
    )
    assert (logged.key, _turns(call)) == (("prompt", "ticket-sorter"), [("user", "My parcel?")])


def test_spans_of_openllmetry() -> None:
    first, tool, dropped, workflow = Desk().read(fixture("otel/openllmetry.jsonl"))

    assert isinstance(first, LoggedCall)
    assert [role for role, _ in _turns(first.call)] == ["system", "user"]
    assert (answered(first.call.response), first.call.provider) == ("delivery", "openai")
    assert (first.call.input_tokens, first.call.cache_read_tokens, first.call.output_tokens) == (60, 16, 3)
    assert (first.key, first.call.conversation_id) == (("name", "ticket_sorter"), "tl-1")
    assert isinstance(tool, LoggedCall)
    assert tool.call.response is not None
    assert tool.call.response["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "look_up"
    assert isinstance(dropped, LoggedCall)
    assert [text for _, text in _turns(dropped.call)][1:] == [str(number) for number in range(1, 12)]
    assert dropped.call.truncated is True
    assert workflow == OTHER


def test_spans_whose_messages_are_events() -> None:
    by_role, by_json = Desk().calls(fixture("otel/old_events.jsonl"))

    assert [role for role, _ in _turns(by_role)] == [role for role, _ in _turns(by_json)] == ["system", "user"]
    assert (answered(by_role.response), answered(by_json.response)) == ("refund", "account")
    assert (by_role.input_tokens, by_role.output_tokens) == (60, 3)


def test_spans_of_openinference() -> None:
    first, retriever, failed = Desk().read(fixture("otel/openinference.jsonl"))

    assert isinstance(first, LoggedCall)
    assert first.call.request is not None
    assert first.call.request["messages"][1]["content"][1]["type"] == "image_url"
    assert first.call.request["temperature"] == 0
    assert (first.call.ttft_ms, first.key, first.call.conversation_id) == (250, ("metadata", "tickets-oi"), "oi-1")
    assert (first.call.cache_read_tokens, first.call.reasoning_tokens) == (16, 1)
    assert retriever == OTHER
    assert isinstance(failed, LoggedCall)
    assert (failed.call.error_type, _turns(failed.call)[1]) == ("openai.RateLimitError", ("user", "x"))


def test_a_table_of_spans_has_a_column_for_each_attribute() -> None:
    (call,) = Desk().calls(fixture("otel/phoenix.csv"))

    assert (_turns(call), answered(call.response)) == ([("user", "My parcel?")], "delivery")
    assert (call.input_tokens, call.output_tokens, call.duration_ms) == (60, 3, 1000)


@pytest.mark.parametrize(
    "attributes",
    [
        _chat(gen_ai__usage__input_tokens=60),
        {"gen_ai": {"operation": {"name": "chat"}, "request": {"model": "m"}, "usage": {"input_tokens": 60}}},
        json.dumps(_chat(gen_ai__usage__input_tokens=60)),
        [
            {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
            {"key": "gen_ai.request.model", "value": {"stringValue": "m"}},
            {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "60"}},
        ],
    ],
)
def test_attributes_are_the_same_in_every_form(attributes: object) -> None:
    call = the_call(_span(attributes)).call

    assert (call.model_requested, call.input_tokens) == ("m", 60)


@pytest.mark.parametrize("key", ["resourceSpans", "resource_spans"])
@pytest.mark.parametrize("scope", ["scopeSpans", "scope_spans", "instrumentationLibrarySpans"])
def test_one_faulty_span_of_an_envelope_takes_no_other_with_it(key: str, scope: str) -> None:
    good = {"traceId": "a", "spanId": "b", "startTimeUnixNano": "1793520000000000000", "attributes": _chat()}
    spans = [{"name": "without ids"}, good, {**good, "spanId": "c", "startTimeUnixNano": "soon"}]
    first, second, third = Desk().read([{key: [{scope: [{"spans": spans}]}]}])

    assert first == Unusable(1, "a span without the ids of its trace and of itself")
    assert isinstance(second, LoggedCall)
    assert str(second.call.started_at) == "2026-11-01 08:00:00+00:00"
    assert third == Unusable(1, "'startTimeUnixNano' must be nanoseconds since 1970")


@pytest.mark.parametrize("key", ["resourceLogs", "resourceMetrics"])
def test_logs_and_metrics_of_the_same_exporter_are_passed_over(key: str) -> None:
    assert Desk().read([{key: [{"scopeLogs": []}]}]) == [Skipped("OpenTelemetry: logs or metrics, which are no spans")]


def test_counts_of_an_instrumentation_that_leaves_cached_input_out_are_completed() -> None:
    attributes = _chat(gen_ai__usage__input_tokens=40, gen_ai__usage__cache_read_input_tokens=1000)
    call = the_call(_span(attributes)).call

    assert (call.input_tokens, call.cache_read_tokens) == (1040, 1000)


@pytest.mark.parametrize("latest", [False, True])
def test_what_the_gateway_says_of_a_call_comes_back(latest: bool) -> None:
    head = OpenRecord(
        task="tickets", started_at_us=1, endpoint="/v1/chat/completions", provider="mine", model_requested="m",
        key_id="k", conversation_id="c", stream=True, dialect="openai-chat",
    )  # fmt: skip
    tail = CloseRecord(
        status=200, ttft_ms=400, model_served="m-1", completion_id="r", input_tokens=60, cache_read_tokens=16,
        cache_write_tokens=8, output_tokens=3, reasoning_tokens=1, finish_reason="stop",
    )  # fmt: skip
    told = span_attributes(head, tail, SpanProvider("openai", "api.example.com", 443), latest=latest)
    logged = the_call(_span({name: list(each) if isinstance(each, tuple) else each for name, each in told.items()}))
    call = logged.call

    assert logged.key == ("metadata", "tickets")
    for name in ("provider", "model_requested", "key_id", "conversation_id", "stream"):
        assert getattr(call, name) == getattr(head, name)
    for name in (
        "status", "ttft_ms", "model_served", "completion_id", "input_tokens", "cache_read_tokens", "cache_write_tokens",
        "output_tokens", "reasoning_tokens", "finish_reason",
    ):  # fmt: skip
        assert getattr(call, name) == getattr(tail, name)


@pytest.mark.parametrize(
    "told",
    [
        {"gen_ai.output.messages": [{"role": "assistant", "parts": [{"type": "text", "content": "half an"}],
                                     "finish_reason": "length"}]},
        {"gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": "half an",
         "gen_ai.completion.0.finish_reason": "length"},
        {"gen_ai.completion": json.dumps({"choices": [{"message": {"role": "assistant", "content": "half an"},
                                                       "finish_reason": "length"}]})},
        {"llm.output_messages.0.message.role": "assistant", "llm.output_messages.0.message.content": "half an",
         "gen_ai.response.finish_reasons": ["length"]},
    ],
)  # fmt: skip
def test_an_answer_that_was_cut_off_is_known_wherever_the_span_says_so(told: dict[str, Any]) -> None:
    call = the_call(_span(_chat(**told))).call
    assert call.finish_reason == "length"
    assert call.response is not None
    assert call.response["choices"][0]["finish_reason"] == "length"
    assert answered(call.response) == "half an"


def test_a_choice_that_is_an_event_says_itself_why_it_ended() -> None:
    event = {"name": "gen_ai.choice", "attributes": {"finish_reason": "length", "message": '{"content": "half an"}'}}
    call = the_call(_span(_chat(), events=[event])).call
    assert (call.finish_reason, answered(call.response)) == ("length", "half an")


def test_of_several_answers_each_keeps_its_own_end() -> None:
    parts = [{"type": "text", "content": "a"}]
    messages = [{"role": "assistant", "parts": parts}, {"role": "assistant", "parts": parts, "finish_reason": "length"}]
    told = {"gen_ai.output.messages": messages, "gen_ai.response.finish_reasons": ["stop", "stop"]}
    call = the_call(_span(_chat(**told))).call
    assert call.response is not None
    assert [each["finish_reason"] for each in call.response["choices"]] == ["stop", "length"]


def test_reasoning_that_the_total_counts_beside_the_output_is_put_into_it() -> None:
    counts = {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 50,
              "gen_ai.usage.reasoning_tokens": 20, "llm.usage.total_tokens": 170}  # fmt: skip
    call = the_call(_span(_chat(**counts))).call
    assert (call.output_tokens, call.reasoning_tokens) == (70, 20)


@pytest.mark.parametrize(("count", "is_repeat"), [(None, False), (0, False), (1, True), ("2", True), ("odd", False)])
def test_a_request_that_was_sent_again_is_a_repeat(count: object, is_repeat: bool) -> None:
    call = the_call(_span(_chat(**{"http.request.resend_count": count}))).call
    assert (call.parent_id is not None) is is_repeat


def test_a_repeat_of_a_call_that_the_span_names_is_one_of_that_call() -> None:
    assert the_call(_span(_chat(**{"freehold.parent_id": "0190"}))).call.parent_id == "0190"
