"""OpenAI's stored completions, batches, usage and training files."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from freehold.core.spoken import answered, asked
from freehold.ledger.logs.format import BadRow, LoggedCall, Skipped, Volume
from tests.ledger.logs.reading import Desk, fixture, the_call


def _completion(number: int | str = 1, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1793520000,
        "model": "gpt-5.4-mini-2026-03-17",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "refund"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 60, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 32}},
        "service_tier": "default",
        **fields,
    }


def _line() -> dict[str, Any]:
    return {
        "id": "batch_req_1",
        "custom_id": "1",
        "response": {"status_code": 200, "body": _completion()},
        "error": None,
    }


def _bucket(*results: dict[str, Any]) -> dict[str, Any]:
    return {"object": "bucket", "start_time": 1793491200, "end_time": 1793577600, "results": list(results)}


def _used(**fields: Any) -> dict[str, Any]:
    return {"object": "organization.usage.completions.result", "input_tokens": 9, "num_model_requests": 2, **fields}


def test_a_stored_completion_finds_its_messages_in_another_file() -> None:
    desk = Desk()
    desk.read(fixture("openai/stored_messages.jsonl"))
    first, second, alone, tool = desk.calls(fixture("openai/stored_completions.json"))

    assert [turn.content for turn in asked(first.request)][1] == "My parcel has not come."
    assert answered(first.response) == "delivery"
    assert second.request is not None
    assert second.request["messages"][1]["content"][1]["type"] == "image_url"
    assert (first.input_tokens, second.cache_read_tokens, first.service_tier) == (60, 32, "default")
    assert (first.truncated, alone.truncated) == (None, True)
    assert alone.request == {
        "temperature": 0.0, "seed": 7, "top_p": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
        "metadata": {"task": "tickets"},
    }  # fmt: skip
    assert (tool.finish_reason, answered(tool.response)) == ("tool_calls", None)
    assert first.subject not in (None, "ada")
    assert "ada" not in json.dumps(first.response)


def test_messages_come_in_the_order_of_their_ids_however_they_were_written_down() -> None:
    desk = Desk()
    said = [{"id": f"chatcmpl-1-{place}", "role": "user", "content": f"turn {place}"} for place in (10, 2, 0, 1)]
    desk.read([*said, *said])
    (call,) = desk.calls([_completion()])

    assert [turn.content for turn in asked(call.request)] == ["turn 0", "turn 1", "turn 2", "turn 10"]


@pytest.mark.parametrize(
    "row",
    [
        {"completion_id": "chatcmpl-1", "messages": [{"role": "user", "content": "hi"}]},
        {"completion_id": "chatcmpl-1", "data": [{"id": "x", "role": "user", "content": "hi"}]},
    ],
)
def test_messages_may_stand_under_the_id_of_their_completion(row: dict[str, Any]) -> None:
    desk = Desk()
    assert desk.read([row]) == [Skipped("message of a stored completion, kept with it")]
    (call,) = desk.calls([_completion()])
    assert asked(call.request)[0].content == "hi"


def test_a_stored_response_keeps_the_words_of_its_api() -> None:
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "refund"}]}
    row = {
        "id": "resp_1", "object": "response", "created_at": 1793520000, "model": "gpt-5.4", "status": "completed",
        "instructions": "Sort.", "input": [{"role": "user", "content": "money!"}], "output": [said],
        "prompt": {"id": "pmpt_7"},
        "usage": {"input_tokens": 100, "input_tokens_details": {"cached_tokens": 64}, "output_tokens": 20,
                  "output_tokens_details": {"reasoning_tokens": 16}},
    }  # fmt: skip
    logged = the_call(row)

    assert logged.call.endpoint == "/v1/responses"
    assert [(turn.role, turn.content) for turn in asked(logged.call.request)] == [
        ("system", "Sort."),
        ("user", "money!"),
    ]
    assert answered(logged.call.response) == "refund"
    assert (logged.call.input_tokens, logged.call.cache_read_tokens, logged.call.reasoning_tokens) == (100, 64, 16)
    assert logged.key == ("prompt", "pmpt_7")


def test_the_answers_of_two_batches_with_the_same_custom_ids_get_their_own_questions() -> None:
    desk = Desk()
    for name in ("batch_a", "batch_b"):
        desk.read(fixture(f"openai/{name}_input.jsonl"), file=f"out/{name}_input.jsonl")
    (first, *others) = desk.calls(fixture("openai/batch_a_output.jsonl"), file="out/batch_a_output.jsonl")
    (other, _) = desk.calls(fixture("openai/batch_b_output.jsonl"), file="out/batch_b_output.jsonl")

    assert first.request_id == other.request_id == "request-1"
    assert asked(first.request)[1].content == "I want my money back."
    assert asked(other.request)[1].content == "Where is order 7?"
    assert (first.model_requested, other.model_requested) == ("gpt-5.4-mini", "gpt-5.4-nano")
    assert {call.service_tier for call in others} == {"batch"}


def test_a_batch_holds_responses_embeddings_refusals_and_requests_that_expired() -> None:
    desk = Desk()
    desk.read(fixture("openai/batch_a_input.jsonl"))
    calls = {call.request_id: call for call in desk.calls(fixture("openai/batch_a_output.jsonl"))}

    assert (calls["request-8"].endpoint, answered(calls["request-8"].response)) == ("/v1/responses", "refund")
    embedding = calls["request-9"]
    assert (embedding.endpoint, embedding.input_tokens, embedding.output_tokens) == ("/v1/embeddings", 4, 0)
    assert embedding.response is not None
    assert embedding.response["data"] == [{"object": "embedding", "index": 0}, {"object": "embedding", "index": 1}]
    assert (calls["request-7"].status, calls["request-7"].error_type) == (400, "invalid_request_error")
    expired = calls["request-5"]
    assert (expired.status, expired.error_type, expired.truncated) == (None, "batch_expired", True)


def test_an_answer_that_several_questions_fit_equally_well_gets_none() -> None:
    desk = Desk()
    for name in ("x", "y"):
        body = {"messages": [{"role": "user", "content": name}]}
        desk.read(
            [{"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": body}], file=f"{name}.jsonl"
        )
    row = {
        "id": "batch_req_1",
        "custom_id": "1",
        "response": {"status_code": 200, "body": _completion()},
        "error": None,
    }
    (call,) = desk.calls([row], file="z.jsonl")

    assert (call.request, call.truncated) == ({}, True)


def test_the_same_completion_stored_and_out_of_a_batch_is_one_call() -> None:
    row = {
        "id": "batch_req_1",
        "custom_id": "1",
        "response": {"status_code": 200, "body": _completion()},
        "error": None,
    }

    assert the_call(row).source_id == the_call(_completion()).source_id == "openai:chatcmpl-1"


def test_a_bucket_of_usage_becomes_one_volume_for_each_of_its_results() -> None:
    mini, batch, keyed, embedding, storage = Desk().read(fixture("openai/usage.json"))

    assert isinstance(mini, Volume)
    assert (mini.started_at, mini.window_s) == (datetime(2026, 11, 1, tzinfo=UTC), 86_400)
    assert (mini.calls, mini.input_tokens, mini.cache_read_tokens, mini.output_tokens) == (5, 1000, 200, 500)
    assert mini.billed_usd is None
    assert isinstance(batch, Volume)
    assert batch.service_tier == "batch"
    assert isinstance(keyed, Volume)
    assert keyed.key_id == "key_1"
    assert isinstance(embedding, Volume)
    assert (embedding.input_tokens, embedding.output_tokens) == (900, 0)
    assert storage == Skipped("usage of vector stores: no model was called")
    assert len({volume.source_id for volume in (mini, batch, keyed, embedding)}) == 4


def test_a_bucket_of_costs_has_dollars_and_no_tokens() -> None:
    given, made, search = Desk().read(fixture("openai/costs.json"))

    assert isinstance(given, Volume)
    assert (given.billed_usd, given.model, given.calls, given.input_tokens) == (
        Decimal("0.0625"), "gpt-5.4-mini-2026-03-17", None, None,
    )  # fmt: skip
    assert isinstance(made, Volume)
    assert made.billed_usd == Decimal("0.21")
    assert isinstance(search, Volume)
    assert (search.billed_usd, search.model) == (Decimal("0.01"), None)


def test_the_same_bucket_has_the_same_identity_whatever_it_sums_up_to() -> None:
    (half,), (whole,) = (Desk().read([_bucket(_used(input_tokens=tokens))]) for tokens in (9, 90))
    (other,) = Desk().read([_bucket(_used(model="gpt-5.4"))])

    assert isinstance(half, Volume)
    assert isinstance(whole, Volume)
    assert isinstance(other, Volume)
    assert half.source_id == whole.source_id != other.source_id


@pytest.mark.parametrize(
    ("result", "fault"),
    [
        (_used(input_tokens=-1), "'input_tokens' must be a number of 0 or more"),
        (_used(num_model_requests=1.5), "'num_model_requests' must be a whole number"),
        ({"object": "organization.costs.result", "amount": {"value": "x", "currency": "usd"}}, "must have a 'value'"),
        (
            {"object": "organization.costs.result", "amount": {"value": 1, "currency": "eur"}},
            "another currency than usd",
        ),
    ],
)
def test_a_bucket_with_a_faulty_result_is_refused_as_a_whole(result: dict[str, Any], fault: str) -> None:
    with pytest.raises(BadRow, match=fault):
        Desk().read([_bucket(_used(), result)])


def test_results_that_a_table_has_flattened_are_known() -> None:
    row = {"start_time": "1793491200", "end_time": "1793577600", "num_model_requests": "5", "input_tokens": "1000",
           "input_cached_tokens": "0", "output_tokens": "500", "model": "gpt-5.4", "batch": "False"}  # fmt: skip
    (volume,) = Desk().read([row])

    assert isinstance(volume, Volume)
    assert (volume.calls, volume.input_tokens, volume.service_tier) == (5, 1000, None)


def test_each_turn_that_is_trained_on_becomes_a_labelled_row_and_no_other() -> None:
    items = Desk().read(fixture("openai/sft.jsonl"))
    labelled = [item for item in items if isinstance(item, LoggedCall)]

    assert [item.human.output for item in labelled if item.human] == [
        "delivery", "refund", "account", "delivery", "new answer",
    ]  # fmt: skip
    assert {(item.call.response, item.call.route, item.call.status) for item in labelled} == {(None, None, None)}
    assert [turn.content for turn in asked(labelled[-1].call.request)] == ["hi", "old answer", "again"]
    assert items[-2:] == [
        Skipped("turn of the assistant without text, such as a call of a tool"),
        Skipped("conversation without a turn of the assistant that is trained on"),
    ]


def test_a_conversation_with_several_taught_turns_gives_a_row_for_each() -> None:
    turns = [("user", "a"), ("assistant", "1"), ("user", "b"), ("assistant", "2")]
    row = {"messages": [{"role": role, "content": text} for role, text in turns], "task": "t"}
    first, second = Desk().read([row], is_test=True)

    assert isinstance(first, LoggedCall)
    assert isinstance(second, LoggedCall)
    assert [len(asked(item.call.request)) for item in (first, second)] == [1, 3]
    assert first.human is not None
    assert (first.human.output, first.human.is_test, first.key) == ("1", True, ("metadata", "t"))


def test_of_a_pair_the_preferred_answer_is_the_humans_and_the_other_the_models() -> None:
    logged = the_call(fixture("openai/dpo.jsonl")[0])

    assert logged.human is not None
    assert (logged.human.output, answered(logged.call.response)) == ("delivery", "other")
    assert (logged.call.route, logged.call.status) == (None, None)  # it is no traffic
    assert asked(logged.call.request)[1].content == "My parcel has not come."


def test_halves_that_found_no_other_half_are_told() -> None:
    desk = Desk()
    for name in ("batch_a_input", "batch_a_output", "stored_messages"):
        desk.read(fixture(f"openai/{name}.jsonl"))
    desk.read([_completion(number="S0")])

    assert desk.left_over() == {
        "question of a batch whose answer is in no file of this import": 1,
        "messages of a stored completion that is in no file of this import": 2,
    }


@pytest.mark.parametrize(
    ("row", "of"),
    [
        ({"custom_id": "1", "method": "POST", "url": "/", "body": {"a": 1}}, "openai-batch"),
        ({"messages": [{"role": "assistant"}, "text"]}, "openai-fine-tuning"),
        ({"input": {"messages": []}, "preferred_output": [], "non_preferred_output": []}, "openai-preferences"),
        ({"custom_id": " ", "body": {"a": 1}, "url": "/"}, "openai-batch-inputs"),
        ({"custom_id": "1", "body": "text", "url": "/"}, "openai-batch-inputs"),
        ({"custom_id": "1", "response": None, "error": None}, "openai-batch"),
        ({"object": "chat.completion", "choices": []}, "openai-stored-completions"),
        ({"completion_id": "c", "messages": [{"role": "user"}, {"content": "x"}]}, "openai-stored-messages"),
        (_bucket() | {"start_time": "soon", "results": [_used()]}, "openai-usage"),
    ],
)
def test_a_row_that_lacks_what_it_is_made_of_is_refused(row: dict[str, Any], of: str) -> None:
    with pytest.raises(BadRow):
        Desk().read([row], of=of)
