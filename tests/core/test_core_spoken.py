"""Turns and answers out of bodies of any dialect, and of bodies that are none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.core.chat import Message
from freehold.core.spoken import answered, asked

KEYS = ("choices", "message", "content", "text", "output", "type", "messages", "input", "prompt", "system", "role")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    "request_body",
    [
        {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a\nb"}]},
        {
            "messages": [
                {"role": "system", "content": [{"type": "text", "text": "s"}]},
                {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            ]
        },
        {"system": "s", "messages": [{"role": "user", "content": [{"type": "text", "text": "a\nb"}]}]},
        {"instructions": "s", "input": "a\nb"},
        {"instructions": "s", "input": [{"role": "user", "content": [{"type": "input_text", "text": "a\nb"}]}]},
        {"system": "s", "prompt": ["a\nb"]},
    ],
)
def test_turns_are_read_in_every_dialect(request_body: dict[str, Any]) -> None:
    assert asked(request_body) == [Message("system", "s"), Message("user", "a\nb")]


@pytest.mark.parametrize(
    "response_body",
    [
        {"choices": [{"message": {"role": "assistant", "content": "yes"}}, {"message": {"content": "no"}}]},
        {"choices": [{"text": "yes"}]},
        {"type": "message", "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "yes"}]},
        {"output": [{"type": "reasoning"}, {"type": "message", "content": [{"type": "output_text", "text": "yes"}]}]},
    ],
)
def test_the_first_answer_is_read_in_every_dialect(response_body: dict[str, Any]) -> None:
    assert answered(response_body) == "yes"


@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        {"error": {"message": "no"}},
        {"unparsed_text": "<html>"},
        {"choices": [{"message": {"content": None}}]},
    ],
)
def test_what_is_no_answer_gives_none(body: dict[str, Any] | None) -> None:
    assert answered(body) is None
    assert asked(body) == []


@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6))
def test_no_body_breaks_the_reader(body: dict[str, Any]) -> None:
    assert all(isinstance(turn.content, str) for turn in asked(body))
    assert answered(body) is None or isinstance(answered(body), str)
