from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.core.errors import InputError
from freehold.core.task import Task
from freehold.serving._grammar import task_grammar

if TYPE_CHECKING:
    from collections.abc import Callable

    from freehold.serving.cpu_engine import CpuEngine
    from tests.serving.conftest import TinyModel

LABEL_CHARACTERS = st.characters(exclude_categories=("C", "Z"), include_characters=" \n\t")
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "amount": {"type": ["number", "null"]},
        "wants": {"enum": ["refund", "info"]},
        "paid": {"type": "boolean"},
    },
    "required": ["amount", "wants", "paid"],
    "additionalProperties": False,
}


def classification(*labels: str) -> Task:
    return Task(name="topic", kind="classification", labels=labels, own_prompt="Name the topic.")


def extraction(schema: Any) -> Task:
    return Task(name="dispute", kind="extraction", json_schema=schema, own_prompt="Extract as JSON.")


def answer(post: Callable[..., Any], engine: CpuEngine, task: Task, adapter: Any) -> str:
    body = {
        "messages": [{"role": "user", "content": "Hello"}],
        "grammar": task_grammar(task),
        "lora": engine.lora(adapter),
        "temperature": 0.0,
        "max_tokens": 400,
    }
    return str(post(engine, "/v1/chat/completions", body)["choices"][0]["message"]["content"])


@settings(max_examples=40, deadline=None)
@given(label=st.text(LABEL_CHARACTERS, max_size=30).filter(lambda label: "<|" not in label))
def test_a_lone_label_is_answered_letter_for_letter(
    tiny: TinyModel, engine: CpuEngine, post: Callable[..., Any], label: str
) -> None:
    assert answer(post, engine, classification(label), tiny.adapters_gguf[0]) == label


@pytest.mark.parametrize("index", [0, 1])
def test_the_answer_is_one_of_the_labels_even_where_one_begins_like_another(
    tiny: TinyModel, engine: CpuEngine, post: Callable[..., Any], index: int
) -> None:
    task = classification("card", "card_lost", 'say "no" \\ now', "überweisung")
    assert answer(post, engine, task, tiny.adapters_gguf[index]) in task.labels


def test_json_obeys_the_schema_in_its_order_and_is_spaced_as_in_training(
    tiny: TinyModel, engine: CpuEngine, post: Callable[..., Any]
) -> None:
    # A model that knows nothing would write a number without end.
    properties: dict[str, Any] = {**SCHEMA["properties"], "amount": {"enum": [12.5, None]}}
    schema = {**SCHEMA, "properties": properties}
    text = answer(post, engine, extraction(schema), tiny.adapters_gguf[0])
    value = json.loads(text)
    assert text == json.dumps(value, ensure_ascii=False)
    assert list(value) == ["amount", "wants", "paid"]
    assert value["wants"] in {"refund", "info"}


def test_an_extraction_without_a_schema_is_any_object_and_a_text_is_free() -> None:
    assert '"type": "object"' in str(task_grammar(extraction(None)))
    assert task_grammar(Task(name="reply", kind="text", own_prompt="Reply.")) is None


@pytest.mark.parametrize("label", ["a\x00b", "a\u2028b", "\ud800", "<|im_end|>"])
def test_a_label_that_the_engine_would_not_keep_to_is_refused(label: str) -> None:
    with pytest.raises(InputError) as caught:
        task_grammar(classification("fine", label))
    assert str(caught.value) == (
        f"Task 'topic': label {label!r} holds control characters or '<|', which the engine "
        "cannot be held to. Rename it."
    )


def test_a_classification_needs_labels() -> None:
    with pytest.raises(InputError, match=r"^Task 'topic' has no labels, so nothing could be answered\.$"):
        task_grammar(classification())


def test_all_that_the_engine_would_silently_ignore_in_a_schema_is_told() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "text"}, "b": {"pattern": "x", "minLength": 2}, "c": True},
        "items": [],
        "anyOf": [{"type": ["string", "date"]}],
    }
    with pytest.raises(InputError) as caught:
        task_grammar(extraction(schema))
    types = "array, boolean, integer, null, number, object, string"
    assert str(caught.value) == (
        f"Task 'dispute': json_schema.properties.a.type is 'text', it must be one of {types}; "
        "json_schema.properties.b uses 'minLength', 'pattern', which the engine would not be held to; "
        "json_schema.items is [], it must be an object; "
        f"json_schema.anyOf[0].type is 'date', it must be one of {types}."
    )
