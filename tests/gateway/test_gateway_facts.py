"""What an answer tells is on record also where its body is not, and counts against limits as it should."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from freehold.gateway.usage import facts_of_answer, facts_of_events
from freehold.state.database import open_state
from freehold.state.keys import create_key
from freehold.state.limits import parse_limit
from freehold.state.schema import SPENDING
from tests.gateway.conftest import SUBJECTS, running_gateway
from tests.gateway.test_gateway_command import CHAT, ask, process, send, settings_of
from tests.gateway.upstream import DONE, ScriptedUpstream, answer, chat_events, event, stream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from freehold.ledger.records import CloseRecord
    from tests.gateway.conftest import Running

COMPLETION = {
    "id": "chatcmpl-7", "object": "chat.completion", "model": "m-2026", "service_tier": "flex",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "length"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10,
              "prompt_tokens_details": {"cached_tokens": 4},
              "completion_tokens_details": {"reasoning_tokens": 2}},
}  # fmt: skip
STARTED = {
    "type": "message_start",
    "message": {
        "id": "msg_7", "type": "message", "model": "c-2026",
        "usage": {"input_tokens": 5, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 3,
                  "output_tokens": 1},
    },
}  # fmt: skip
STOPPED = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}


def told(close: CloseRecord) -> tuple[Any, ...]:
    ids = (close.completion_id, close.model_served, close.service_tier, close.finish_reason)
    inside = (close.input_tokens, close.cache_read_tokens, close.cache_write_tokens)
    return (*ids, *inside, close.output_tokens, close.reasoning_tokens)


COUNTS = st.one_of(st.integers(-1, 2_000_000_000), st.none(), st.booleans(), st.just(2.0), st.just("7"))
TEXTS = st.one_of(st.text(max_size=5), st.none(), st.just("x" * 1001), st.integers())
DETAILS = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("cached_tokens", "cache_write_tokens", "reasoning_tokens"), COUNTS)
    ),
)
USAGES = st.fixed_dictionaries(
    {"prompt_tokens": COUNTS, "completion_tokens": COUNTS},
    optional={
        "prompt_tokens_details": DETAILS, "completion_tokens_details": DETAILS, "input_tokens_details": DETAILS,
        "output_tokens_details": DETAILS, "input_tokens": COUNTS, "output_tokens": COUNTS, "total_tokens": COUNTS,
        "service_tier": TEXTS,
    },
)  # fmt: skip
CHOICES = st.fixed_dictionaries({"finish_reason": TEXTS}, optional={"index": st.sampled_from([0, 1, None])})
CHATS = st.fixed_dictionaries(
    {"usage": st.one_of(USAGES, st.none()), "choices": st.lists(CHOICES, max_size=2)},
    optional=dict.fromkeys(("id", "model", "service_tier"), TEXTS),
)


@given(CHATS)
def test_the_short_way_to_the_facts_of_a_chat_finds_what_the_long_one_does(value: dict[str, Any]) -> None:
    body = json.dumps(value).encode()
    assert facts_of_answer(body, "openai-chat") == facts_of_answer(body, "openai-responses")


def test_a_call_without_bodies_keeps_what_its_answer_told(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    anthropic = [event(STARTED, "message_start"), event(STOPPED, "message_delta"), event({"type": "message_stop"})]
    upstream.scripts = [answer(COMPLETION), stream(chat_events("a", "b")), stream(anthropic)]
    settings = {"providers": {"fake": {"base_url": upstream.base_url}}, "ledger": {"bodies": "none"}}
    with running_gateway(tmp_path, settings) as gateway:
        gateway.post(CHAT, ask(1))
        gateway.post(CHAT, b'{"model":"m","messages":[],"stream":true}')
        gateway.post("/v1/messages", b'{"model":"c","messages":[],"stream":true}')
        rows = gateway.closed_rows(3)
    assert {row.request + row.response for row in rows} == {b""}
    whole, streamed, claude = [told(row.close) for row in rows if row.close is not None]
    assert whole == ("chatcmpl-7", "m-2026", "flex", "length", 7, 4, None, 3, 2)
    assert (streamed[3], streamed[4], streamed[7]) == ("stop", 7, 3)
    assert claude == ("msg_7", "c-2026", None, "end_turn", 10, 2, 3, 9, None)


def test_of_several_choices_the_first_one_tells_why_it_ended() -> None:
    events = [
        event({"choices": [{"index": 1, "finish_reason": "stop"}]}),
        event({"choices": [{"index": 0, "finish_reason": "length"}]}),
        event({"choices": [{"index": 2, "finish_reason": "stop"}]}) + DONE,
    ]
    facts = facts_of_events(events, "openai-chat")
    assert facts is not None
    assert facts.finish_reason == "length"
    assert facts_of_events([b"data: [DONE]\n\n", b"data: 1\n\n", b": ping\n\n"], "openai-chat") is None


@pytest.mark.parametrize("odd", [{"choices": 3}, {"choices": [None]}, {"id": 3, "model": {}}, {"choices": None}])
def test_an_answer_that_is_odd_keeps_its_tokens(odd: dict[str, Any]) -> None:
    facts = facts_of_answer(json.dumps({**COMPLETION, **odd}).encode(), "openai-chat")
    assert facts is not None
    assert (facts.input_tokens, facts.output_tokens) == (7, 3)


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[Engine]:
    (tmp_path / ".freehold").mkdir()
    engine = open_state(f"sqlite:///{tmp_path / '.freehold' / 'state.db'}")
    yield engine
    engine.dispose()


def booked(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        return {row.measure: row.spent for row in connection.execute(select(SPENDING))}


def test_what_a_provider_refuses_counts_as_a_request_and_what_none_got_for_nothing(
    upstream: ScriptedUpstream, tmp_path: Path, keys: Engine
) -> None:
    upstream.scripts = [answer({"error": {"message": "no"}}, status=400), answer(COMPLETION)]
    limits = [parse_limit("requests/month=2"), parse_limit("tokens/month=100000")]
    _, secret = create_key(keys, "desk", limits=limits)
    nowhere = '[providers.nowhere]\nbase_url = "http://127.0.0.1:1"\nretries = 0\n'
    default = '[gateway]\ndefault_provider = "fake"\n'
    with process(tmp_path, settings_of(upstream, nowhere + default)) as (child, port):

        def call(model: str) -> int:
            body = json.dumps({"model": model, "messages": []}).encode()
            return send(port, CHAT, body, authorization=f"Bearer {secret}")[0]

        assert [call("nowhere/m"), call("m"), call("m"), call("m")] == [502, 400, 200, 429]
        child.terminate()
        assert child.wait(20) == 0
    assert booked(keys) == {"requests": 2, "tokens": 10}


def test_embeddings_cost_their_input_alone(upstream: ScriptedUpstream, tmp_path: Path, keys: Engine) -> None:
    vectors = {"object": "list", "data": [{"embedding": [0.5]}], "model": "e", "usage": {"prompt_tokens": 9}}
    upstream.scripts = [answer(vectors)]
    limits = [parse_limit("tokens/month=100000"), parse_limit("usd/month=1")]
    _, secret = create_key(keys, "desk", limits=limits)
    alias = '[prices.alias]\n"text-embedding-3-small" = "openai/text-embedding-3-small"\n'
    with process(tmp_path, settings_of(upstream, alias)) as (child, port):
        body = b'{"model":"text-embedding-3-small","input":"a text that is a good deal longer than nine bytes"}'
        assert send(port, "/v1/embeddings", body, authorization=f"Bearer {secret}")[0] == 200
        child.terminate()
        assert child.wait(20) == 0
    assert booked(keys) == {"tokens": 9, "usd": 180}  # billionths of a dollar: 9 tokens at 0.02 dollars a million


def test_a_key_of_some_models_lists_those_and_is_not_told_to_try_again_next_month(
    upstream: ScriptedUpstream, tmp_path: Path, keys: Engine
) -> None:
    upstream.scripts = [answer(COMPLETION)]
    _, secret = create_key(keys, "desk", models=["mini-*"], limits=[parse_limit("requests/month=3")])
    more = (
        'models = {"mini-1" = "x", "mini-2" = "y", "maxi" = "z"}\n[providers.other]\nbase_url = "http://127.0.0.1:1"\n'
    )
    with process(tmp_path, settings_of(upstream, more)) as (_, port):
        bearer = {"authorization": f"Bearer {secret}"}
        status, body = send(port, "/v1/models", b"", method="GET", **bearer)
        assert (status, [one["id"] for one in json.loads(body)["data"]]) == (200, ["mini-1", "mini-2"])
        assert send(port, "/v1/models/maxi", b"", method="GET", **bearer)[0] == 403
        assert send(port, CHAT, b'{"messages":[]}', **bearer)[0] == 403
        assert send(port, "/v1/models", b"{}", **bearer)[0] == 403  # not the list
        told = [headers_of(port, ask(1).replace(b'"m"', b'"mini-1"'), bearer) for _ in range(4)]
    assert [status for status, _ in told][-1] == 429
    assert told[-1][1]["x-should-retry"] == "false"
    assert "x-should-retry" not in told[0][1]


def headers_of(port: int, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str]]:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", CHAT, body, headers)
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status, {name.lower(): value for name, value in response.getheaders()}


@pytest.mark.parametrize(
    ("body", "user"),
    [
        ({"user": "ann"}, "ann"),
        ({"safety_identifier": "ann"}, "ann"),
        ({"metadata": {"user_id": "ann"}}, "ann"),
        ({"user": "ann", "safety_identifier": "bob", "metadata": {"user_id": "eve"}}, "ann"),
        ({"user": "", "safety_identifier": 7, "metadata": ["user_id"]}, None),
        ({}, None),
    ],
)
def test_an_end_user_is_on_record_as_a_keyed_hash_whatever_the_client_calls_them(
    gateway: Running, upstream: ScriptedUpstream, body: dict[str, Any], user: str | None
) -> None:
    upstream.scripts = [answer(COMPLETION)]
    gateway.post(CHAT, {"model": "m", "messages": [], **body})
    (row,) = gateway.closed_rows(1)
    assert row.open is not None
    assert row.open.subject == (None if user is None else SUBJECTS.hashed(user))
