from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert

from freehold.core.errors import InputError
from freehold.state.schema import DATASETS
from freehold.tasks.define import define_task, guess_task, kind_confidence, known_kind, load_task
from freehold.tasks.evidence import Evidence
from freehold.tasks.kinds import guess_work

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from freehold.core.task import TaskKind

_DISPUTES = [
    {
        "amount": 12.5,
        "currency": "EUR",
        "merchant": f"Shop {number}",
        "wants": ("refund", "cancel")[number % 2],
    }
    for number in range(20)
]


def test_few_answers_that_repeat_are_labels() -> None:
    task = guess_task("support_intent", ["b", "a", " a ", "b"])
    assert (task.kind, task.labels, task.own_prompt) == (
        "classification",
        ("a", "b"),
        "Classify: support intent.",
    )


def test_one_class_is_still_a_classification() -> None:
    assert guess_task("t", ["a"]).labels == ("a",)


def test_json_objects_are_an_extraction_with_the_fields_they_share() -> None:
    rows = [*_DISPUTES, _DISPUTES[0] | {"amount": None}, _DISPUTES[1] | {"amount": 3, "note": [1]}]
    task = guess_task("dispute_fields", [json.dumps(row) for row in rows])
    assert task.kind == "extraction"
    assert task.own_prompt == "Extract as JSON: amount, currency, merchant, wants, note."
    assert task.json_schema == {
        "type": "object",
        "properties": {
            "amount": {"type": ["null", "number"]},
            "currency": {"enum": ["EUR"]},
            "merchant": {"type": "string"},
            "wants": {"enum": ["cancel", "refund"]},
            "note": {"type": "array"},
        },
        "required": ["amount", "currency", "merchant", "wants"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    "outputs",
    [
        ["a long answer of more than six words here", "x"] * 4,
        ["x" * 81] * 4,
        [f"answer {number}" for number in range(10)],
        ["[1]", "[2]"] * 2 + ["y" * 90],
    ],
)
def test_anything_else_is_text(outputs: list[str]) -> None:
    assert guess_task("t", outputs).kind == "text"


def test_answers_with_personal_data_are_no_labels() -> None:
    assert guess_task("t", ["ann@b.de", "bob@b.de"] * 9).kind == "text"
    with pytest.raises(InputError, match=r"'t': 1 of 2 different answers hold personal data.*--kind text"):
        guess_task("t", ["ann@b.de", "nobody"], kind="classification")


@pytest.mark.parametrize("values", [("ann@b.de", "bob@b.de"), ("0301234560", "0301234561"), ("nobody", "10.20.30.40")])
def test_values_that_a_dataset_masks_are_no_closed_set(values: tuple[str, str]) -> None:
    rows = [json.dumps({"who": value, "wants": "refund", "n": n}) for n, value in enumerate(values * 9)]
    schema = guess_task("t", rows).json_schema
    assert schema is not None
    assert schema["properties"] == {
        "who": {"type": "string"},
        "wants": {"enum": ["refund"]},
        "n": {"type": "integer"},
    }


def test_a_number_that_a_dataset_masks_may_be_a_placeholder() -> None:
    rows = [{"a": 301234560, "b": 1.5, "c": 12345.5}, {"a": 2.5, "b": 2, "c": 1.5}, {"a": 4111111111111111.0}]
    schema = guess_task("t", map(json.dumps, rows), kind="extraction").json_schema
    assert schema is not None
    assert schema["properties"] == {
        "a": {"type": ["number", "string"]},
        "b": {"type": "number"},
        "c": {"type": "number"},
    }


def test_a_task_without_answers_is_text() -> None:
    assert guess_task("a_b-c", []).own_prompt == "Task: a b c."


def test_a_kind_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="301 different answers are no label set"):
        guess_task("t", [str(number) for number in range(301)], kind="classification")
    with pytest.raises(InputError, match="no answer is a JSON object"):
        guess_task("t", ["{", "{}", "[1]", "[" * 100_000], kind="extraction")
    assert guess_task("t", ["a", "a"], kind="text").kind == "text"


@given(st.lists(st.text(max_size=20), max_size=30))
def test_every_answer_of_a_guessed_classification_is_one_of_its_labels(outputs: list[str]) -> None:
    task = guess_task("t", outputs)
    if task.kind == "classification":
        assert {output.strip() for output in outputs} == set(task.labels)


def _use(state: Engine, name: str) -> None:
    with state.begin() as connection:
        values = {"id": f"{name}-1", "task": name, "sha256": "0" * 64, "manifest": {}, "created_at": "2026"}
        connection.execute(insert(DATASETS).values(values))


def test_a_task_is_remembered_and_gains_labels_once_it_is_in_use(state: Engine) -> None:
    assert known_kind(state, "t") is None
    define_task(state, guess_task("t", ["wrong", "b", "wrong", "b"]))
    define_task(state, guess_task("t", ["a", "b", "a", "b"]))
    assert load_task(state, "t").labels == ("a", "b")
    _use(state, "t")
    grown = define_task(state, guess_task("t", ["c", "b", "c", "b"]))
    assert grown.labels == ("a", "b", "c")
    assert load_task(state, "t") == grown
    assert known_kind(state, "t") == "classification"


def test_fields_come_back_in_their_order(state: Engine) -> None:
    task = define_task(state, guess_task("t", [json.dumps({"z": 1, "a": 2})]))
    loaded = load_task(state, "t")
    assert loaded == task
    assert list((loaded.json_schema or {})["properties"]) == ["z", "a"]


def test_a_task_keeps_its_kind_from_its_first_dataset_on(state: Engine) -> None:
    define_task(state, guess_task("t", ["a", "b"]))
    assert define_task(state, guess_task("t", ["a", "b", "a", "b"])).kind == "classification"
    _use(state, "t")
    with pytest.raises(InputError, match="has datasets as classification and cannot become extraction"):
        define_task(state, guess_task("t", ['{"a": 1}']))


def test_an_unknown_task_lists_the_known_ones(state: Engine) -> None:
    with pytest.raises(InputError, match=r"There is no task 'x'\. Import a log first"):
        load_task(state, "x")
    define_task(state, guess_task("t", ["a", "a"]))
    with pytest.raises(InputError, match="Known: t"):
        load_task(state, "x")


@pytest.mark.parametrize(
    ("kind", "outputs", "for_it"),
    [
        ("classification", ["a", "a", "b", "b", "c"], 4),  # c came once: nobody knows whether there are more like it
        ("classification", ["a", "b"], 0),
        ("extraction", ['{"a": 1}', '{"a": 2}', "sorry"], 2),
        ("text", ["yes", "yes", "a long answer of more words than any label has", "no"], 2),
        ("text", ['{"a": 1}', "free"], 1),
    ],
)
def test_a_guess_is_as_sure_as_its_answers_make_it(kind: TaskKind, outputs: list[str], for_it: int) -> None:
    assert kind_confidence(kind, outputs) == (for_it + 1) / (len(outputs) + 2)
    assert kind_confidence(kind, []) is None


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        (["a"], "classification"),
        (["ham", "spam"], "screening"),
        (["yes"], "screening"),
        (["a", "b", "c"], "classification"),
    ],
)
def test_one_answer_alone_is_no_choice_unless_it_is_half_of_one(answers: list[str], kind: str) -> None:
    guess = guess_work([Evidence(asked=f"Case {n}", answer=answers[n % len(answers)]) for n in range(60)])
    assert guess.kind == kind
