from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Engine, select

from freehold.core.call import Call
from freehold.corrections.store import corrected_calls, held_out_calls, human_outputs, keep_words, kind_of
from freehold.ledger.logs.format import HumanWord
from freehold.state.schema import CORRECTIONS

if TYPE_CHECKING:
    from freehold.corrections.store import Kind


def _call(number: int, answer: str | None = None) -> Call:
    response = None if answer is None else {"choices": [{"message": {"role": "assistant", "content": answer}}]}
    return Call(id=f"00000000-0000-7000-8000-{number:012d}", task="t", response=response)


@pytest.mark.parametrize(
    ("answer", "output", "kind"),
    [
        (None, "a", "labelled"),
        ("a", "a", "accepted"),
        (" a\n", "a", "accepted"),
        ("a", "A", "corrected"),
        ('{"x": 1, "y": null}', '{"y":null,"x":1}', "accepted"),
        ('{"x": 84}', '{"x": 84.00}', "accepted"),
        ('{"x": 1e999}', '{"x": 1e999}', "accepted"),
        ('{"x": 1}', '{"x": "1"}', "corrected"),
        ("[" * 100_000, "a", "corrected"),
        ("NaN", "NaN", "accepted"),
    ],
)
def test_an_unchanged_answer_is_accepted_and_not_corrected(answer: str | None, output: str, kind: Kind) -> None:
    assert kind_of(output, _call(1, answer)) == kind


def test_words_are_kept_once_and_originals_are_not_touched(state: Engine) -> None:
    word = HumanWord(call="c", output="b", reviewer="ada", reviewed_at="2026-10-05T12:00:00.000+00:00")
    held_out = HumanWord(call="c", output="b", is_test=True)
    call = _call(1, "a")
    assert keep_words(state, [(word, call), (word, call), (held_out, call)]) == {"corrected": 2}
    assert keep_words(state, [(word, call)]) == {}
    assert keep_words(state, []) == {}
    with state.connect() as connection:
        rows = connection.execute(select(CORRECTIONS).order_by(CORRECTIONS.c.split)).mappings().all()
    assert {row["kind"] for row in rows} == {"corrected"}
    assert {row["split"] for row in rows} == {None, "test"}
    assert {row["call_id"] for row in rows} == {call.id} == corrected_calls(state) == held_out_calls(state)


def test_many_words_of_one_task_are_read_back(state: Engine) -> None:
    words = [(HumanWord(call="c", output=f"label {number}"), _call(number)) for number in range(1_203)]
    assert keep_words(state, words) == {"labelled": 1_203}
    assert sorted(human_outputs(state, "t")) == sorted(f"label {number}" for number in range(1_203))
    assert list(human_outputs(state, "other")) == []


def test_a_word_about_a_call_that_has_another_task_by_now_is_no_new_word(state: Engine) -> None:
    call, word = _call(1), HumanWord(call="c", output="refund")

    assert keep_words(state, [(word, call)]) == {"labelled": 1}
    assert keep_words(state, [(word, replace(call, task="found"))]) == {}
    assert keep_words(state, [(replace(word, output="delivery"), call)]) == {"labelled": 1}
