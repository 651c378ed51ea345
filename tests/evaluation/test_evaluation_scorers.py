from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.core.task import Task
from freehold.evaluation.metrics.catalogue import scorer_of
from freehold.evaluation.metrics.fields import FieldScorer
from freehold.evaluation.metrics.json_answers import first_object, is_same_value
from freehold.evaluation.metrics.labels import LabelScorer
from freehold.evaluation.metrics.schema import obeys
from freehold.evaluation.metrics.score import LONGEST_ANSWER, NOT_A_LABEL
from freehold.evaluation.metrics.texts import ChrfScorer

SCHEMA = {
    "type": "object",
    "properties": {
        "amount": {"type": ["number", "null"]},
        "currency": {"enum": ["EUR", "USD", None]},
        "merchant": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "count": {"type": "integer"},
    },
    "required": ["amount"],
    "additionalProperties": False,
}


def task(kind: str) -> Task:
    return Task(name="t", kind=kind, labels=("a", "b"), json_schema=SCHEMA, own_prompt="p")  # type: ignore[arg-type]  # one of three


def test_each_kind_of_task_has_its_scorer() -> None:
    kinds = ("classification", "extraction", "text")
    assert [scorer_of(task(kind)).metric for kind in kinds] == ["accuracy", "field_accuracy", "chrf"]
    assert [scorer_of(task(kind)).is_binary for kind in kinds] == [True, False, False]


@pytest.mark.parametrize(
    ("answer", "value", "is_valid"),
    [
        ("card_lost", 1.0, True),
        ("  card_lost\n", 1.0, True),
        ("Card_lost", 0.0, False),
        ("card_lost.", 0.0, False),
        ("card_löst", 0.0, False),
        ("fees", 0.0, True),
        ("", 0.0, False),
        ("card_lost" * 1_000_000, 0.0, False),
    ],
)
def test_a_label_counts_only_when_it_is_the_label(answer: str, value: float, is_valid: bool) -> None:
    score = LabelScorer(labels=frozenset({"card_lost", "fees"})).score("card_lost", answer)
    assert (score.value, score.is_valid, score.is_exact) == (value, is_valid, value == 1.0)


def test_a_wrong_label_is_remembered_and_other_text_is_not() -> None:
    scorer = LabelScorer(labels=frozenset({"a", "b"}))
    assert scorer.score("a", "b").confusion == ("a", "b")
    assert scorer.score("a", "my name is Ann").confusion == ("a", NOT_A_LABEL)
    assert scorer.score("a", "a").confusion is None


def test_a_target_must_be_something_to_compare_with() -> None:
    assert LabelScorer(labels=frozenset()).is_target("a")
    assert not LabelScorer(labels=frozenset()).is_target("  ")
    assert FieldScorer(schema=None).is_target('{"a": 1}')
    assert not FieldScorer(schema=None).is_target("[1]")
    assert ChrfScorer().is_target("x")
    assert not ChrfScorer().is_target("")


TARGET = '{"amount": 12.50, "currency": "EUR", "merchant": "Café Nord", "tags": ["a"], "count": null}'


@pytest.mark.parametrize(
    ("answer", "wrong", "is_valid"),
    [
        ('{"amount":12.5,"currency":"EUR","merchant":"Café Nord","tags":["a"]}', (), True),
        (
            'Sure!\n```\n{"amount":1.25e1,"currency":"eur","merchant":"CAFÉ  NORD.","tags":["A"]}\n``` Bye {',
            (),
            False,
        ),
        ('{"amount":"12.50","currency":"EUR","merchant":"Cafe\u0301 Nord","tags":["a"]}', (), False),
        (
            '{"amount":12.51,"currency":"EUR","merchant":"Café Nord","tags":["a"],"count":0}',
            ("amount", "count"),
            True,
        ),
        ('{"amount":12.5,"currency":"EUR","merchant":"Café Nord","tags":["a","b"]}', ("tags",), True),
        ('{"amount":12.5,"currency":"EUR","merchant":"Café Nord","tags":"a"}', ("tags",), False),
        ("", ("amount", "count", "currency", "merchant", "tags"), False),
        ("no object", ("amount", "count", "currency", "merchant", "tags"), False),
        ('{"amount": 12.5', ("amount", "count", "currency", "merchant", "tags"), False),
        ('{"amount": NaN}', ("amount", "count", "currency", "merchant", "tags"), False),
    ],
)
def test_fields_are_compared_as_a_reader_would(answer: str, wrong: tuple[str, ...], is_valid: bool) -> None:
    score = FieldScorer(schema=SCHEMA).score(TARGET, answer)
    assert (score.wrong_fields, score.is_valid, score.is_exact) == (wrong, is_valid, not wrong)
    assert score.value == pytest.approx(1 - len(wrong) / 5)


def test_an_invented_field_counts_as_wrong_unless_it_is_empty() -> None:
    scorer = FieldScorer(schema=None)
    assert scorer.score('{"a": 1}', '{"a": 1, "b": 2}').value == 0.5
    assert scorer.score('{"a": 1}', '{"a": 1, "b": null, "c": " "}').value == 1.0
    assert scorer.score("{}", "{}").value == 1.0


@pytest.mark.parametrize(
    "bomb",
    [
        '{"a":' * 50_000,
        '{"a":' * 20_000 + "1" + "}" * 20_000,
        '{"a":' * 200 + "1" + "}" * 200,
        '{"a":' + "[" * 40 + "]" * 40 + "}",
        "{" * 100_000,
        '{"a": "' + "x" * (LONGEST_ANSWER + 1) + '"}',
        '{"a": 1e99999999999999999999999}',
        "\x00\ud800{",
    ],
)
def test_a_hostile_answer_scores_zero_and_breaks_nothing(bomb: str) -> None:
    score = FieldScorer(schema=SCHEMA).score('{"amount": 1, "a": 7}', bomb)
    assert (score.value, score.is_valid) == (0.0, False)


def test_numbers_too_long_for_anyone_are_still_compared() -> None:
    digits = "9" * 20_000
    assert FieldScorer(schema=None).score(f'{{"a": {digits}}}', f'{{"a": {digits}}}').value == 1.0
    assert FieldScorer(schema=None).score('{"a": 1}', '{"a": 1e999999}').value == 0.0


def test_thousands_of_invented_fields_are_worth_nothing() -> None:
    many = json.dumps({f"k{i}": i for i in range(5_000)})
    assert FieldScorer(schema=None).score('{"a": 1}', many).value < 0.001


@pytest.mark.parametrize(
    ("right", "given_", "same"),
    [
        ('{"v": null}', "{}", True),
        ('{"v": ""}', '{"v": null}', True),
        ('{"v": null}', '{"v": 0}', False),
        ('{"v": false}', '{"v": 0}', False),
        ('{"v": true}', '{"v": true}', True),
        ('{"v": "2026-03-04"}', '{"v": "2026/03/04"}', True),
        ('{"v": "1.5"}', '{"v": "15"}', False),
        ('{"v": "-5"}', '{"v": "5"}', False),
        ('{"v": "€ 5"}', '{"v": "$ 5"}', False),
        ('{"v": "?"}', '{"v": "!"}', False),
        ('{"v": "O\'Brien"}', '{"v": "o’brien"}', True),
        ('{"v": "Infinity"}', '{"v": "infinity"}', True),
        ('{"v": "ﬁne"}', '{"v": "FINE"}', True),
        ('{"v": {"a": 1, "b": null}}', '{"v": {"a": 1.0}}', True),
        ('{"v": {"a": 1}}', '{"v": {"a": 2}}', False),
        ('{"v": {"a": 1}}', '{"v": [1]}', False),
        ('{"v": [1, "x"]}', '{"v": [1, "X"]}', True),
    ],
)
def test_values_are_the_same_or_not(right: str, given_: str, same: bool) -> None:
    a, b = first_object(right), first_object(given_)
    assert a is not None
    assert b is not None
    assert is_same_value(a.get("v"), b.get("v")) is same
    assert is_same_value(b.get("v"), a.get("v")) is same


def test_text_around_a_broken_object_does_not_hide_the_next_one() -> None:
    assert first_object('I {think} it is {"a": "b"} or {"a": "c"}') == {"a": "b"}
    assert first_object("{x " * 9 + '{"a": 1}') is None


@pytest.mark.parametrize(
    ("value", "schema", "expected"),
    [
        ({}, None, True),
        ({}, True, True),
        ({}, False, False),
        ({"a": 1}, {"properties": {"a": {"const": 1}}}, True),
        ({"a": 2}, {"properties": {"a": {"const": 1}}}, False),
        ({"a": True}, {"properties": {"a": {"const": 1}}}, False),
        ({"a": "x"}, {"properties": {"a": {"anyOf": [{"type": "null"}, {"type": "string"}]}}}, True),
        ({"a": 1}, {"properties": {"a": {"anyOf": [{"type": "null"}, {"type": "string"}]}}}, False),
        ({"a": 1.5}, {"properties": {"a": {"type": "integer"}}}, False),
        ({"a": 2.0}, {"properties": {"a": {"type": "integer"}}}, True),
        ({"a": 3}, {"properties": {"a": {"type": "number"}}}, True),
        ({"a": False}, {"properties": {"a": {"type": "number"}}}, False),
        ({"a": False}, {"properties": {"a": {"type": "boolean"}}}, True),
        ({"a": "x"}, {"properties": {"a": {"type": "unheard-of"}}}, False),
        ({"a": ["x", 1]}, {"properties": {"a": {"items": {"type": "string"}}}}, False),
        ({"b": 1}, {"required": ["a"]}, False),
        ({"b": 1}, {"additionalProperties": False}, False),
        ({"b": 1}, {"enum": [{"b": 1}]}, True),
    ],
)
def test_the_schema_keywords_that_are_known(value: object, schema: object, expected: bool) -> None:
    assert obeys(first_object(json.dumps(value)), schema) is expected


@pytest.mark.parametrize(
    ("target", "answer", "value"),
    [
        ("same words", "same words", 1.0),
        ("same words", "same  words ", 1.0),
        ("abc", "xyz", 0.0),
        ("abc", "", 0.0),
        ("abc", "x" * (LONGEST_ANSWER + 1), 0.0),
        ("", "x", 0.0),
        ("Straße", "Straße", 1.0),
    ],
)
def test_texts_are_compared_by_their_character_groups(target: str, answer: str, value: float) -> None:
    assert ChrfScorer().score(target, answer).value == pytest.approx(value)


def test_chrf_of_a_small_case_by_hand() -> None:
    # "ab" against "ac": one letter of two agrees, no pair does. P = R = (1/2 + 0/1) / 2 = 0.25, so F = 0.25.
    assert ChrfScorer().score("ab", "ac").value == pytest.approx(0.25)


def slow_chrf(right: str, answer: str) -> float:
    right, answer = right.replace(" ", ""), answer.replace(" ", "")
    precision, recall, orders = 0.0, 0.0, 0
    for order in range(1, 7):
        theirs = [right[i : i + order] for i in range(max(0, len(right) - order + 1))]
        ours = [answer[i : i + order] for i in range(max(0, len(answer) - order + 1))]
        if theirs and ours:
            left, common = Counter(theirs), 0
            for gram in ours:
                if left[gram] > 0:
                    left[gram] -= 1
                    common += 1
            precision, recall, orders = (
                precision + common / len(ours),
                recall + common / len(theirs),
                orders + 1,
            )
    if precision + recall == 0:
        return 0.0
    precision, recall = precision / orders, recall / orders
    return 5 * precision * recall / (4 * precision + recall)


@given(st.text("ab c", min_size=1, max_size=15), st.text("ab c", min_size=1, max_size=15))
def test_chrf_agrees_with_a_slow_count(target: str, answer: str) -> None:
    assert ChrfScorer().score(target, answer).value == pytest.approx(slow_chrf(target, answer))


@given(st.sampled_from(["classification", "extraction", "text"]), st.text(max_size=200))
def test_no_answer_breaks_a_scorer(kind: str, answer: str) -> None:
    score = scorer_of(task(kind)).score('{"amount": 1}', answer)
    assert 0.0 <= score.value <= 1.0
