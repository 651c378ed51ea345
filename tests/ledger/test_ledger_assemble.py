from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freehold.ledger.answer_facts import AnswerFacts, facts_of
from freehold.ledger.assemble import assemble, events_of

if TYPE_CHECKING:
    from freehold.ledger.records import Dialect

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def _sse(*events: Any, named: bool = False) -> bytes:  # Any: JSON
    lines = []
    for event in events:
        name = f"event: {event['type']}\n" if named else ""
        lines.append(f"{name}data: {event if isinstance(event, str) else json.dumps(event)}\n\n")
    return "".join(lines).encode()


def _chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0, **outer: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "model": "m-1", "choices": [choice], **outer}


def test_a_chat_stream_becomes_the_body_that_would_have_come_in_one_piece() -> None:
    stream = _sse(
        _chunk({"role": "assistant", "content": ""}, service_tier="default"),
        _chunk({"content": "Hel"}),
        _chunk({"content": "lo"}),
        _chunk({"tool_calls": [{"index": 0, "id": "t1", "type": "function", "function": {"name": "f"}}]}),
        _chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]}),
        _chunk({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
        _chunk({}, "tool_calls"),
        {"id": "c1", "object": "chat.completion.chunk", "model": "m-1", "choices": [],
         "usage": {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 3},
                   "completion_tokens_details": {"reasoning_tokens": 1}}},
        "[DONE]",
    )  # fmt: skip

    body = assemble("openai-chat", stream)

    assert body is not None
    assert body["object"] == "chat.completion"
    assert body["choices"] == [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Hello",
                "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
            },
            "finish_reason": "tool_calls",
        }
    ]
    assert facts_of("openai-chat", body) == AnswerFacts(
        model_served="m-1",
        completion_id="c1",
        service_tier="default",
        finish_reason="tool_calls",
        input_tokens=9,
        cache_read_tokens=3,
        output_tokens=4,
        reasoning_tokens=1,
    )


def test_choices_logprobs_refusals_and_reasoning_are_kept_apart() -> None:
    first = {"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [{"token": "a"}]}}
    second = {"index": 0, "delta": {"content": "b"}, "logprobs": {"content": [{"token": "b"}]}}
    stream = _sse(
        {"id": "c", "choices": [first]},
        _chunk({"refusal": "no", "reasoning_content": "hm"}, index=1),
        {"id": "c", "choices": [second]},
        _chunk({"refusal": "pe", "reasoning_content": "m"}, "stop", index=1),
    )
    body = assemble("openai-chat", stream)
    assert body is not None
    assert [choice["message"].get("content") for choice in body["choices"]] == ["ab", None]
    assert body["choices"][0]["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}]}
    assert body["choices"][1]["message"]["refusal"] == "nope"
    assert body["choices"][1]["message"]["reasoning_content"] == "hmm"


def test_a_stream_of_completions() -> None:
    stream = _sse(
        {"id": "c", "object": "text_completion", "model": "m", "choices": [{"index": 0, "text": "Hel"}]},
        {"id": "c", "model": "m", "choices": [{"index": 0, "text": "lo", "finish_reason": "length"}]},
        {"id": "c", "model": "m", "choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 3}},
    )
    for dialect in ("openai-completions", None):
        body = assemble(dialect, stream)
        assert body is not None
        assert body["choices"] == [{"index": 0, "text": "Hello", "finish_reason": "length"}]
        assert facts_of(None, body).output_tokens == 3


def test_a_stream_of_responses_is_its_last_event() -> None:
    whole = {
        "id": "r1", "object": "response", "status": "completed", "model": "m", "service_tier": "flex",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}],
        "usage": {"input_tokens": 8, "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 1},
                  "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 4}},
    }  # fmt: skip
    created = {"type": "response.created", "response": {"id": "r1", "object": "response", "status": "in_progress"}}
    stream = _sse(created, {"type": "response.completed", "response": whole}, named=True)

    body = assemble("openai-responses", stream)

    assert body == whole
    assert facts_of("openai-responses", whole) == AnswerFacts(
        model_served="m",
        completion_id="r1",
        service_tier="flex",
        finish_reason="completed",
        input_tokens=8,
        cache_read_tokens=2,
        cache_write_tokens=1,
        output_tokens=5,
        reasoning_tokens=4,
    )


def test_a_stream_of_responses_that_broke_off_gives_what_had_come() -> None:
    stream = _sse(
        {"type": "response.created", "response": {"id": "r1", "object": "response", "status": "in_progress"}},
        {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "content": []}},
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Hel"},
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "lo"},
        {"type": "response.output_item.added", "output_index": 1, "item": {"type": "function_call", "name": "f"}},
        {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": '{"a'},
    )
    body = assemble("openai-responses", stream)
    assert body is not None
    assert body["status"] == "in_progress"
    assert body["output"] == [
        {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]},
        {"type": "function_call", "name": "f", "arguments": '{"a'},
    ]


def test_a_stream_of_anthropic() -> None:
    start: dict[str, Any] = {
        "id": "m1", "type": "message", "role": "assistant", "model": "claude", "content": [], "stop_reason": None,
        "usage": {"input_tokens": 7, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 3,
                  "output_tokens": 1},
    }  # fmt: skip
    tool = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    stream = _sse(
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "sig"}},
        {"type": "ping"},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hel"}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "lo"}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "citations_delta", "citation": {"a": 1}}},
        {"type": "content_block_stop", "index": 1},
        {"type": "content_block_start", "index": 2, "content_block": tool},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"a":'}},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "1}"}},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 12}},
        {"type": "message_stop"},
        named=True,
    )
    for dialect in ("anthropic", None):
        body = assemble(dialect, stream)
        assert body is not None
        assert body["content"] == [
            {"type": "thinking", "thinking": "hm", "signature": "sig"},
            {"type": "text", "text": "Hello", "citations": [{"a": 1}]},
            {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
        ]
        # 7 read afresh + 20 from the cache + 3 written to it
        assert facts_of(dialect, body) == AnswerFacts(
            model_served="claude",
            completion_id="m1",
            finish_reason="tool_use",
            input_tokens=30,
            cache_read_tokens=20,
            cache_write_tokens=3,
            output_tokens=12,
        )


def test_errors_inside_a_stream_are_kept() -> None:
    chat = assemble("openai-chat", _sse(_chunk({"content": "a"}), {"error": {"type": "server_error", "message": "x"}}))
    assert chat is not None
    assert facts_of("openai-chat", chat).error_type == "server_error"
    overloaded = {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}
    anthropic = assemble("anthropic", _sse(overloaded))
    assert anthropic == {"error": overloaded["error"]}
    assert facts_of("anthropic", anthropic).error_type == "overloaded_error"


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_events_are_found_whatever_ends_their_lines(end: bytes) -> None:
    lines = [b": comment", b'data: {"a":', b"data: 1}", b"", b"id: 3", b"data: not json", b"", b'data:{"b":2}']
    assert list(events_of(end.join(lines))) == [{"a": 1}, {"b": 2}]


def test_an_embedding_writes_no_tokens() -> None:
    body = {"object": "list", "model": "e", "usage": {"prompt_tokens": 4, "total_tokens": 4}}
    assert (facts_of("openai-embeddings", body).input_tokens, facts_of("openai-embeddings", body).output_tokens) == (
        4,
        0,
    )


def test_a_stream_without_one_event_is_none() -> None:
    assert assemble("openai-chat", b"") is None
    assert assemble("openai-chat", b"upstream connect error") is None


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no fault
@given(
    st.sampled_from(["openai-chat", "openai-completions", "openai-responses", "anthropic", None]),
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "type": st.sampled_from(
                    ["message_start", "content_block_start", "content_block_delta", "message_delta", "error",
                     "response.output_text.delta", "response.output_item.added", "response.completed"]
                ) | _JSON,
                "choices": st.lists(
                    st.fixed_dictionaries({}, optional={
                        "index": _JSON, "delta": st.dictionaries(
                            st.sampled_from(["content", "role", "tool_calls", "function_call"]), _JSON) | _JSON,
                        "text": _JSON, "logprobs": _JSON, "finish_reason": _JSON}), max_size=3) | _JSON,
                "delta": st.dictionaries(st.sampled_from(["type", "text", "partial_json"]), _JSON) | _JSON,
                "message": _JSON, "response": _JSON, "item": _JSON, "content_block": _JSON, "index": _JSON,
                "output_index": _JSON, "content_index": _JSON, "usage": _JSON, "error": _JSON,
            },
        ),
        max_size=6,
    ),
)  # fmt: skip
def test_whatever_a_provider_sends_it_is_assembled_without_an_error(
    dialect: Dialect | None, events: list[dict[str, Any]]
) -> None:
    body = assemble(dialect, _sse(*events))
    if body is not None:
        facts_of(dialect, body)


def test_a_call_of_a_function_in_the_old_form_is_put_together() -> None:
    stream = _sse(
        _chunk({"function_call": {"name": "f", "arguments": '{"a"'}}),
        _chunk({"function_call": {"arguments": ":1}"}, "audio": {"id": "a"}, "annotations": [1]}),
        _chunk({"annotations": [2]}, "function_call"),
    )
    body = assemble("openai-chat", stream)
    assert body is not None
    message = body["choices"][0]["message"]
    assert message["function_call"] == {"name": "f", "arguments": '{"a":1}'}
    assert (message["audio"], message["annotations"]) == ({"id": "a"}, [1, 2])


def test_arguments_of_a_tool_that_broke_off_stay_text() -> None:
    body = assemble(
        "anthropic",
        _sse({"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": '{"a'}}),
    )
    assert body == {"content": [{"input": '{"a'}]}


def test_an_error_of_the_responses_api_is_kept() -> None:
    body = assemble("openai-responses", _sse({"type": "error", "code": "server_error", "message": "x", "param": None}))
    assert body == {"error": {"code": "server_error", "message": "x", "param": None}}
    assert facts_of("openai-responses", body).error_type == "server_error"
