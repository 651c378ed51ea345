from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.core.chat import Message
from freehold.core.task import Task
from freehold.serving._chat_request import Refused, engine_body, read_chat_request

TURN = {"role": "user", "content": "Where is my card?"}
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def encode(**fields: Any) -> bytes:
    return json.dumps({"model": "topic", "messages": [TURN], **fields}).encode()


def refusal(data: bytes) -> tuple[str, str | None]:
    with pytest.raises(Refused) as caught:
        read_chat_request(data)
    assert caught.value.status == 400
    return str(caught.value), caught.value.param


def test_the_clients_own_instructions_are_left_out_and_its_turns_kept() -> None:
    parts = [{"type": "text", "text": "I lost "}, {"type": "text", "text": "it."}]
    messages = [
        {"role": "system", "content": "You are a classifier of ..."},
        {"role": "developer", "content": "Labels: ..."},
        TURN,
        {"role": "assistant", "content": "Which one?"},
        {"role": "user", "content": parts},
    ]
    request = read_chat_request(encode(messages=messages))
    assert request.turns == (
        Message("user", "Where is my card?"),
        Message("assistant", "Which one?"),
        Message("user", "I lost it."),
    )
    assert request.body["messages"] == messages


def test_options_are_read() -> None:
    request = read_chat_request(
        encode(stream=True, stream_options={"include_usage": True}, max_tokens=9, temperature=1, n=1)
    )
    assert (request.model, request.stream, request.include_usage) == ("topic", True, True)
    assert (request.max_tokens, request.temperature) == (9, 1.0)
    request = read_chat_request(encode(max_completion_tokens=5, max_tokens=9))
    assert (request.stream, request.include_usage, request.max_tokens) == (False, False, 5)
    assert request.temperature is None


@pytest.mark.parametrize(
    ("data", "message", "param"),
    [
        (b"{", "The body is not JSON: Expecting property name enclosed in double quotes", None),
        (b'{"a": NaN}', "The body is not JSON: NaN is no JSON value.", None),
        (b"\xff\xfe\xfd", "The body is not JSON: it is not UTF-8.", None),
        (b'{"a": "\\ud800"}', "The body is not JSON: a string holds half of a surrogate pair.", None),
        (b"[" * 100_000, "The body is not JSON: it is nested too deeply.", None),
        (b"[]", "The body is a JSON list; an object is expected.", None),
        (b"{}", "'model' is missing; it is the name of a task or of a model version.", "model"),
        (encode(n=2), "'n' is 2; one answer per call is given.", "n"),
        (encode(tools=[{}]), "An own model was tuned for its task and calls no tools.", "tools"),
        (encode(messages=[]), "'messages' is missing or empty.", "messages"),
        (encode(messages=["x"]), "messages[0]: role None is not understood", "messages[0]"),
        (encode(messages=[TURN, {"role": "tool"}]), "messages[1]: role 'tool' is not", "messages[1]"),
        (encode(messages=[{"role": "user"}]), "messages[0]: content must be text", "messages[0]"),
        (
            encode(messages=[{"role": "user", "content": [{"type": "image_url"}]}]),
            "messages[0]: content must be text, or parts of type 'text'.",
            "messages[0]",
        ),
        (
            encode(messages=[{"role": "user", "content": ["text"]}]),
            "messages[0]: content must be text, or parts of type 'text'.",
            "messages[0]",
        ),
        (encode(messages=[{"role": "system", "content": ""}]), "The last message must be", "messages"),
        (
            encode(messages=[TURN, {"role": "assistant", "content": "Yes"}]),
            "The last message must be the user's.",
            "messages",
        ),
        (encode(max_tokens=0), "'max_tokens' is 0; it must be a whole number of 1 or more.", "max_tokens"),
        (encode(max_tokens=True), "'max_tokens' is True; it must be a whole number", "max_tokens"),
        (encode(temperature="hot"), "'temperature' is 'hot'; it must lie between 0 and 2.", "temperature"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_the_reason(data: bytes, message: str, param: str | None) -> None:
    found, found_param = refusal(data)
    assert found.startswith(message)
    assert found_param == param


@given(fields=st.dictionaries(st.sampled_from(["model", "messages", "n", "stream", "max_tokens"]), JSON_VALUES))
def test_any_object_is_read_or_refused(fields: dict[str, Any]) -> None:
    try:
        request = read_chat_request(json.dumps(fields).encode())
    except Refused as caught:
        refused = caught
        assert refused.status == 400
    else:
        assert request.turns


def body_for(task: Task, **fields: Any) -> dict[str, Any]:
    request = read_chat_request(encode(**fields))
    return engine_body(task, "a grammar", request.turns, request, [{"id": 0, "scale": 1.0}])


def test_a_label_gets_as_many_tokens_as_it_can_need_whatever_the_client_allows() -> None:
    task = Task(name="topic", kind="classification", labels=("no", "größer"), own_prompt="Name the topic.")
    body = body_for(task, max_tokens=1, temperature=2)
    assert body["max_tokens"] == 9  # 8 bytes and the end
    assert (body["temperature"], body["grammar"]) == (0.0, "a grammar")
    assert body["messages"] == [{"role": "system", "content": "Name the topic."}, TURN]
    assert body["lora"] == [{"id": 0, "scale": 1.0}]


def test_an_extraction_is_greedy_and_as_long_as_the_client_allows() -> None:
    task = Task(name="dispute", kind="extraction", own_prompt="Extract.")
    assert body_for(task, temperature=2)["temperature"] == 0.0
    assert body_for(task)["max_tokens"] == 512
    assert body_for(task, max_tokens=7)["max_tokens"] == 7


def test_a_text_is_free_and_drawn_as_the_client_asks() -> None:
    task = Task(name="reply", kind="text", own_prompt="Reply.")
    request = read_chat_request(encode(temperature=0.7))
    body = engine_body(task, None, request.turns, request, [])
    assert "grammar" not in body
    assert (body["temperature"], body["max_tokens"]) == (0.7, 1024)
    assert body_for(task)["temperature"] == 0.0
