"""LiteLLM's database and its callbacks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from freehold.core.spoken import answered, asked
from freehold.ledger.logs.format import BadRow, Skipped
from tests.ledger.logs.reading import Desk, fixture, the_call

QUESTION = [{"role": "user", "content": "Where is it?"}]


def _row(**fields: Any) -> dict[str, Any]:
    return {
        "request_id": "chatcmpl-1",
        "call_type": "acompletion",
        "api_key": "hash",
        "spend": 0.1,
        "prompt_tokens": 60,
        "completion_tokens": 3,
        "total_tokens": 63,
        "startTime": "2026-10-01 10:00:00.000",
        "endTime": "2026-10-01 10:00:01.250",
        "completionStartTime": "2026-10-01 10:00:01.250",
        "model": "gpt-5.4-mini",
        "model_group": "cheap",
        "custom_llm_provider": "openai",
        "metadata": {},
        "cache_hit": "False",
        "messages": {},
        "response": {},
        "status": "success",
        **fields,
    }


@pytest.mark.parametrize(
    "where",
    [
        {"proxy_server_request": {"model": "cheap", "messages": QUESTION}},
        {"proxy_server_request": json.dumps({"model": "cheap", "messages": QUESTION})},
        {"proxy_server_request": {"url": "http://x", "body": {"model": "cheap", "messages": QUESTION}}},
        {"metadata": {"proxy_server_request": json.dumps({"body": {"model": "cheap", "messages": QUESTION}})}},
        {"metadata": json.dumps({"proxy_server_request": {"model": "cheap", "messages": QUESTION}})},
        {"call_type": "_arealtime", "messages": QUESTION},
        {"call_type": "_arealtime", "messages": json.dumps(QUESTION)},
    ],
)
def test_the_prompt_is_found_wherever_a_version_puts_it(where: dict[str, Any]) -> None:
    call = the_call(_row(**where)).call

    assert [turn.content for turn in asked(call.request)] == ["Where is it?"]
    assert call.truncated is None


@pytest.mark.parametrize("messages", [{}, [], "{}", "[]", None, ""])
def test_without_stored_prompts_a_call_has_its_facts_and_no_request(messages: object) -> None:
    call = the_call(_row(messages=messages, proxy_server_request="{}")).call

    assert (call.request, call.response, call.truncated) == (None, None, None)
    assert (call.status, call.input_tokens, call.output_tokens, call.duration_ms) == (200, 60, 3, 1250)
    assert (call.model_requested, call.model_served, call.provider) == ("cheap", "gpt-5.4-mini", "openai")
    assert call.ttft_ms is None  # the answer came in one piece


@pytest.mark.parametrize(
    "text",
    [
        "abc... (litellm_truncated skipped 90000 chars. Set MAX_STRING_LENGTH_PROMPT_IN_DB) ...xyz",
        "abc... (truncated 90000 chars)",
    ],
)
def test_a_prompt_that_the_database_has_cut_is_kept_and_marked(text: str) -> None:
    call = the_call(_row(proxy_server_request={"messages": [{"role": "user", "content": text}]})).call

    assert call.truncated is True
    assert asked(call.request)[0].content == text


@pytest.mark.parametrize("name", ["proxy_server_request", "response"])
def test_json_that_was_cut_in_the_middle_is_no_body(name: str) -> None:
    call = the_call(_row(**{name: '{"messages": [{"role": "us'})).call

    assert call.truncated is True
    assert not call.request
    assert call.response is None


def test_a_text_that_speaks_of_truncating_is_whole() -> None:
    said = [{"role": "user", "content": "the log says (truncated 3 lines), why?"}]

    assert the_call(_row(proxy_server_request={"messages": said})).call.truncated is None


@pytest.mark.parametrize("hit", ["True", "true", True])
def test_what_came_out_of_its_cache_was_no_call_of_a_model(hit: object) -> None:
    assert Desk().read([_row(cache_hit=hit)]) == [Skipped("answered from LiteLLM's own cache: no model was called")]


@pytest.mark.parametrize("hit", ["False", "None", "", None, False])
def test_no_hit_is_written_in_many_ways(hit: object) -> None:
    assert the_call(_row(cache_hit=hit)).source_id == "litellm:chatcmpl-1"


def test_a_failure_has_a_kind_a_status_and_no_tokens() -> None:
    row = _row(
        status="failure", prompt_tokens=0, completion_tokens=0, total_tokens=0,
        metadata={"error_information": {"error_code": "429", "error_class": "RateLimitError", "error_message": "Ada…"}},
    )  # fmt: skip
    call = the_call(row).call

    assert (call.error_type, call.status) == ("RateLimitError", 429)
    assert (call.input_tokens, call.output_tokens) == (None, None)


def test_an_embedding_is_kept_without_its_numbers() -> None:
    answer = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5] * 1000}]}
    call = the_call(_row(call_type="aembedding", completion_tokens=0, response=json.dumps(answer))).call

    assert call.endpoint == "/v1/embeddings"
    assert call.response == {"object": "list", "data": [{"object": "embedding", "index": 0}]}


def test_cached_tokens_are_taken_from_the_metadata_as_part_of_the_prompt() -> None:
    used = {"prompt_tokens": 60, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 16}}
    call = the_call(_row(metadata={"usage_object": used})).call

    assert (call.input_tokens, call.cache_read_tokens) == (60, 16)


@pytest.mark.parametrize(("total", "output"), [(170, 70), (150, 50)])
def test_reasoning_is_put_into_the_output_where_the_total_counts_it_beside(total: int, output: int) -> None:
    used = {"prompt_tokens": 100, "completion_tokens": 50, "completion_tokens_details": {"reasoning_tokens": 20}}
    counts = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": total}
    call = the_call(_row(**counts, metadata={"usage_object": used})).call

    assert (call.output_tokens, call.reasoning_tokens) == (output, 20)


@pytest.mark.parametrize(
    ("told", "is_repeat"),
    [({"attempted_retries": 0}, False), ({"attempted_retries": 2}, True), ({"attempted_fallbacks": 1}, True),
     ({"attempted_retries": None}, False), ({"attempted_retries": "many"}, False)],
)  # fmt: skip
def test_a_later_attempt_is_a_repeat(told: dict[str, Any], is_repeat: bool) -> None:
    assert (the_call(_row(metadata=told)).call.parent_id is not None) is is_repeat


def test_anthropics_counts_beside_the_input_are_put_into_it() -> None:
    answer = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-6",
        "content": [{"type": "text", "text": "delivery"}], "stop_reason": "end_turn",
        "usage": {"input_tokens": 40, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 200,
                  "output_tokens": 5},
    }  # fmt: skip
    call = the_call(_row(call_type="anthropic_messages", prompt_tokens=40, completion_tokens=5, response=answer)).call

    assert (call.endpoint, answered(call.response), call.finish_reason) == ("/v1/messages", "delivery", "end_turn")
    assert (call.input_tokens, call.cache_read_tokens, call.cache_write_tokens) == (1240, 1000, 200)


def test_tools_of_a_server_are_no_calls_of_a_model() -> None:
    assert Desk().read([_row(call_type="call_mcp_tool")]) == [Skipped("LiteLLM: a tool or a file, no model was called")]


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"request_tags": '["task:tickets", "User-Agent: AsyncOpenAI/Python 3.0"]'}, ("tag", "tickets")),
        ({"request_tags": ["env: prod", "search"]}, ("tag", "search")),
        ({"request_tags": ["User-Agent: AsyncOpenAI"]}, None),
        ({"request_tags": ["production"]}, None),
        ({"request_tags": ["a", "b"]}, None),
        (
            {"metadata": {"spend_logs_metadata": {"Use-Case": "refunds"}}, "request_tags": ["x"]},
            ("metadata", "refunds"),
        ),
        ({"proxy_server_request": {"messages": QUESTION, "metadata": {"task": "t"}}}, ("metadata", "t")),
    ],
)
def test_what_a_row_says_it_belongs_to(fields: dict[str, Any], key: tuple[str, str] | None) -> None:
    assert the_call(_row(**fields)).key == key


def test_credentials_in_a_request_are_left_out() -> None:
    asked_for = {"messages": QUESTION, "api_key": "sk-secret", "aws_secret_access_key": "secret"}
    call = the_call(_row(proxy_server_request=asked_for)).call

    assert "secret" not in json.dumps(call.request)


def test_a_callback_has_epoch_times_whole_prompts_and_a_time_to_the_first_token() -> None:
    rows = fixture("litellm/standard_logging.jsonl")
    first, second, third, fourth = Desk().calls(rows)

    assert str(first.started_at) == "2026-11-01 08:00:00.125000+00:00"
    assert (first.duration_ms, first.ttft_ms, second.ttft_ms) == (1250, None, 400)
    assert (first.key_id, first.stream, second.stream) == ("88dc", False, True)
    assert asked(first.request)[1].content == "My parcel has not come."
    assert (third.error_type, third.status, third.response) == ("Timeout", 408, None)
    assert (fourth.request, fourth.response) == (None, None)
    assert Desk().read(rows)[-1] == Skipped("answered from LiteLLM's own cache: no model was called")


def test_a_call_has_one_identity_in_the_database_and_in_callbacks() -> None:
    payload = fixture("litellm/standard_logging.jsonl")[0]

    assert the_call(_row(request_id=payload["id"])).source_id == the_call(payload).source_id


@pytest.mark.parametrize("fields", [{"request_id": ""}, {"startTime": "soon"}, {"prompt_tokens": "many"}])
def test_a_row_with_a_faulty_fact_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(BadRow):
        Desk().read([_row(**fields)], of="litellm-spend-logs")
