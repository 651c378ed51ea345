"""Helicone and OpenPipe."""

from __future__ import annotations

from typing import Any

import pytest

from freehold.core.spoken import answered, asked
from freehold.ledger.logs.format import BadRow, LoggedCall, Skipped
from tests.ledger.logs.reading import Desk, fixture, the_call

STUB = {"helicone_message": "fetching body from signed_url... contact engineering@helicone.ai for more information"}


def _row(**fields: Any) -> dict[str, Any]:
    return {
        "response_id": "r1", "request_id": "q1", "request_created_at": "2026-10-01 12:00:00",
        "response_status": 200,
        "provider": "OPENAI", "delay_ms": 900, "prompt_tokens": 60, "completion_tokens": 3, **fields,
    }  # fmt: skip


def test_a_request_of_helicone() -> None:
    logged = the_call(fixture("helicone/requests.jsonl")[0])
    call = logged.call

    assert [turn.role for turn in asked(call.request)] == ["system", "user"]
    assert answered(call.response) == "delivery"
    assert (call.endpoint, call.provider, call.status) == ("/v1/chat/completions", "openai", 200)
    assert (call.input_tokens, call.cache_read_tokens, call.output_tokens) == (60, 16, 3)
    assert (call.duration_ms, call.ttft_ms) == (900, None)
    assert (logged.key, call.conversation_id) == (("metadata", "tickets"), "hs1")


@pytest.mark.parametrize("stub", [STUB, '{"helicone_message": "fetching body from signed_url..."}', None, ""])
def test_a_stub_is_no_body(stub: object) -> None:
    call = the_call(_row(request_body=stub, response_body=stub)).call

    assert (call.request, call.response, call.truncated) == (None, None, None)
    assert (call.status, call.input_tokens, call.output_tokens) == (200, 60, 3)


def test_a_body_that_is_cut_off_in_a_cell_is_marked() -> None:
    assert the_call(_row(request_body='{"messages": [{"ro')).call.truncated is True


def test_a_refusal_a_cache_hit_a_stream_and_a_call_that_was_given_up() -> None:
    rows = fixture("helicone/requests.jsonl")
    _, _, refused, anthropic, streamed, cancelled, bare = Desk().calls(rows)

    assert Desk().read(rows)[3] == Skipped("answered from Helicone's own cache: no model was called")
    assert (refused.status, refused.error_type, refused.input_tokens) == (429, "rate_limit_error", None)
    assert (anthropic.endpoint, answered(anthropic.response)) == ("/v1/messages", "delivery")
    assert (streamed.stream, answered(streamed.response), streamed.ttft_ms) == (True, "delivery", 210)
    assert (cancelled.status, cancelled.error_type) == (None, "cancelled")
    for call in (anthropic, bare):
        assert (call.input_tokens, call.cache_read_tokens, call.cache_write_tokens) == (1240, 1000, 200)


def test_an_answer_has_one_identity_in_the_table_and_in_json() -> None:
    assert the_call(_row()).source_id == the_call({**_row(), "request_id": None}).source_id == "helicone:r1"


def test_a_row_of_the_table_has_its_latency_and_its_model() -> None:
    (stub, whole) = Desk().calls(fixture("helicone/export.csv"))

    assert (stub.request, stub.duration_ms, stub.model_served, stub.output_tokens) == (None, 900, "gpt-5.4-mini", 3)
    assert asked(whole.request)[1].content == "I want my money back."


@pytest.mark.parametrize("fields", [{"response_id": None, "request_id": None}, {"delay_ms": "fast"}])
def test_a_row_with_a_faulty_fact_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(BadRow):
        the_call(_row(**fields), of="helicone")


def test_openpipe_has_answers_errors_tags_and_tools() -> None:
    first, _, failed, tool = Desk().read(fixture("openpipe/logs.jsonl"))

    assert isinstance(first, LoggedCall)
    assert (first.key, answered(first.call.response)) == (("prompt", "ticket-sorter"), "delivery")
    assert (first.call.input_tokens, first.call.status, str(first.call.started_at)) == (
        60, 200, "2026-11-01 14:40:00+00:00",
    )  # fmt: skip
    assert isinstance(failed, LoggedCall)
    assert (failed.call.error_type, failed.call.status, failed.source_id) == ("rate_limit_error", None, None)
    assert isinstance(tool, LoggedCall)
    assert (tool.key, tool.call.stream, tool.call.finish_reason) == (("metadata", "orders"), True, "tool_calls")


@pytest.mark.parametrize(
    ("output", "kind"),
    [
        ({"error": "openai.APITimeoutError: no answer"}, "openai.APITimeoutError"),
        ({"message": "slow down", "code": "rate_limit_exceeded"}, "rate_limit_exceeded"),
        ({"error": {"message": "?"}}, "error"),
    ],
)
def test_an_error_in_the_place_of_an_answer_is_known_in_every_form(output: dict[str, Any], kind: str) -> None:
    row = {"input": {"messages": [{"role": "user", "content": "x"}]}, "output": output, "tags": {}}

    assert the_call(row).call.error_type == kind
