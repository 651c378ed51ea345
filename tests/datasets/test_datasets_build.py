from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from freehold.core.chat import Message
from freehold.core.errors import InputError
from freehold.core.progress import Silent
from freehold.datasets.build import build_dataset
from freehold.datasets.policy import Policy
from freehold.datasets.read import read_examples
from freehold.state.schema import DATASETS, SPLITS

if TYPE_CHECKING:
    from freehold.core.dataset import Dataset, Example
    from tests.datasets.conftest import Desk


def everything(dataset: Dataset) -> dict[str, Example]:
    return {
        example.id: example for split in ("train", "validation", "test") for example in read_examples(dataset, split)
    }


def reasons(dataset: Dataset) -> dict[str, str]:
    lines = (dataset.folder / "excluded.jsonl").read_text(encoding="utf-8").splitlines()
    return {line["id"]: line["reason"] for line in map(json.loads, lines)}


def manifest(dataset: Dataset) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((dataset.folder / "manifest.json").read_text(encoding="utf-8"))
    return loaded


def test_the_latest_quarter_of_the_rows_is_the_test_set(desk: Desk) -> None:
    ids = desk.rows(range(40))
    dataset = desk.build()
    assert dict(dataset.rows) == {"train": 27, "validation": 3, "test": 10}
    assert [example.id for example in read_examples(dataset, "test")] == ids[30:]
    assert manifest(dataset)["split_by"] == "time"
    assert manifest(dataset)["test_from"] == "2026-09-01T15:00:00+00:00"
    assert re.fullmatch(r"triage-[0-9a-f]{12}", dataset.id)
    assert dataset.folder == desk.folder / dataset.id


def test_an_example_has_the_own_prompt_and_what_the_rented_model_said(desk: Desk) -> None:
    desk.rows(range(39))
    call = desk.call("please write to a@b.de today about it", day=3, answer="no")
    desk.say(call, "yes", "corrected")
    example = everything(desk.build())[call]
    assert example.messages == (
        Message("system", "Answer yes or no."),
        Message("user", "please write to [EMAIL_1] today about it"),
    )
    assert (example.target, example.split, example.provenance) == ("yes", "test", "human-corrected")
    assert (example.rented_output, example.rented_model) == ("no", "large")


def test_the_turns_of_a_conversation_stay_and_its_system_prompt_goes(desk: Desk) -> None:
    desk.rows(range(39))
    turns = [
        {"role": "system", "content": "long prompt"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "I am a@b.de"}, {"type": "image_url"}, "stray"],
        },
        {"role": "assistant", "content": "Is it a@b.de?"},
        {"role": "tool", "content": "looked up"},
        {"role": "user", "content": "Yes"},
        "broken",
    ]
    call = desk.call(turns)  # type: ignore[arg-type]  # a stray turn on purpose
    desk.say(call, "yes")
    assert everything(desk.build())[call].messages[1:] == (
        Message("user", "I am [EMAIL_1]"),
        Message("assistant", "Is it [EMAIL_1]?"),
        Message("user", "Yes"),
    )


def test_an_imported_test_set_is_the_test_set_and_its_copies_do_not_train(desk: Desk) -> None:
    train = desk.rows(range(40))
    tested = desk.rows(range(100, 110), split="test")
    exact = desk.row(desk.sentence(100), "no")
    near = desk.row("Hello, " + desk.sentence(101) + "!", "yes")
    again = desk.row(desk.sentence(102), "no", split="test")
    dataset = desk.build()
    assert {example.id for example in read_examples(dataset, "test")} == set(tested)
    assert reasons(dataset) == {exact: "leak", near: "leak", again: "duplicate"}
    assert set(train) <= everything(dataset).keys()


def test_rows_that_disagree_with_a_test_row_cannot_take_it_out_of_the_test_set(desk: Desk) -> None:
    desk.rows(range(40))
    tested = desk.row("is this a case of its own?", "yes", split="test")
    other = desk.row("is this a case of its own?", "no")
    dataset = desk.build()
    assert reasons(dataset) == {other: "leak"}
    assert everything(dataset)[tested].split == "test"


def test_a_usable_copy_of_an_unusable_test_row_does_not_train(desk: Desk) -> None:
    desk.rows(range(40))
    desk.rows(range(100, 101), split="test")
    bad = desk.row("is this a case of its own?", "maybe", split="test")
    copy = desk.row("is this a case of its own?", "no")
    assert reasons(desk.build()) == {bad: "label-unknown", copy: "leak"}


def test_one_of_several_copies_stays_on_each_side(desk: Desk) -> None:
    first, *_ = desk.rows(range(40))
    trained_again = desk.row(desk.sentence(0), "no", day=0.1)
    tested = desk.row("the same late question twice over", "yes", day=5)
    with_answer = desk.call("the same late question twice over", day=5.1, answer="no")
    desk.say(with_answer, "yes")
    latest = desk.row("the same late question twice over", "yes", day=5.2)
    dataset = desk.build()
    assert reasons(dataset) == {trained_again: "duplicate", tested: "duplicate", latest: "duplicate"}
    assert everything(dataset)[first].split in ("train", "validation")
    assert everything(dataset)[with_answer].split == "test"


def test_a_resent_message_never_stands_on_two_sides(desk: Desk) -> None:
    desk.rows(range(40))
    early = desk.row("where is the parcel I was promised last week", "yes", day=0.01)
    late = desk.row("Hello where is the parcel I was promised last week?", "yes", day=9)
    dataset = desk.build()
    assert reasons(dataset) == {early: "leak"}
    assert everything(dataset)[late].split == "test"
    assert manifest(dataset)["near_duplicates"] == {"groups": 1, "texts": 2, "largest": 2}


def test_the_weightiest_word_of_one_reviewer_counts_and_of_equal_ones_the_latest(desk: Desk) -> None:
    desk.rows(range(40))
    call = desk.call("is this a case of its own?", answer="no")
    desk.say(call, "no", "accepted", reviewer="ann", reviewed_at="2026-09-05")
    desk.say(call, "no", "corrected", reviewer="ann", reviewed_at="2026-09-02")
    desk.say(call, "yes", "corrected", reviewer="ann", reviewed_at="2026-09-03")
    desk.say(call, " yes ", "labelled", reviewer="bob")
    example = everything(desk.build())[call]
    assert (example.target, example.provenance) == ("yes", "human-corrected")


def test_humans_who_disagree_take_the_row_out_and_it_stays_visible(desk: Desk) -> None:
    desk.rows(range(40))
    call = desk.call("is this a case of its own?")
    desk.say(call, "yes", reviewer="ann")
    desk.say(call, "no", reviewer="bob")
    one = desk.row("pay to DE89 3704 0044 0532 0130 00 now", "yes")
    other = desk.row("pay to GB82 WEST 1234 5698 7654 32 now", "no")
    dataset = desk.build()
    assert reasons(dataset) == {call: "contradictory", one: "contradictory", other: "contradictory"}
    assert sorted(manifest(dataset)["contradictions"]) == [[call], [one, other]]


def test_rows_that_cannot_teach_are_left_out_with_their_reason(desk: Desk) -> None:
    desk.rows(range(40))
    expected = {
        desk.row("   ", "yes"): "empty",
        desk.call("no answer at all, as it seems"): "empty",
        desk.call("the model was down at this time", status=500): "failed",
        desk.call("the connection broke at this time", error_type="timeout"): "failed",
        desk.call("it spoke for too long at this time", answer="ye", finish_reason="length"): "truncated",
        desk.call("its log had cut this one in the middle of it", answer="yes", truncated=True): "truncated",
        desk.call("nobody looked at this one so far", answer="yes"): "rented-output",
        desk.row("somebody mistyped the label of this", "yess"): "label-unknown",
        desk.row("somebody left the label of this empty", " "): "empty",
    }
    for request in ({}, {"messages": "text"}, {"messages": [{"role": "user", "content": None}]}):
        call = desk.call("", request=request)
        desk.say(call, "yes")
        expected[call] = "empty"
    accepted = desk.call("it was cut off but somebody accepted it", answer="ye", finish_reason="length")
    desk.say(accepted, "yes", "accepted")
    expected[accepted] = "truncated"
    assert reasons(desk.build()) == expected


def test_a_human_can_label_what_the_rented_model_failed_at(desk: Desk) -> None:
    desk.rows(range(40))
    failed = desk.call("the model was down at this time", status=500)
    own = desk.call("our own model was wrong about this", answer="no", model_version="m")
    odd = desk.call("the answer has an unknown shape today")
    desk.calls[-1] = type(desk.calls[-1])(
        id=odd, task="triage", request=desk.calls[-1].request, response={"choices": [{"message": 7}]}
    )
    for call in (failed, own, odd):
        desk.say(call, "yes", "corrected")
    examples = everything(desk.build())
    assert [examples[call].rented_output for call in (failed, own, odd)] == [None, None, None]
    assert examples[own].rented_model is None


def test_unchecked_answers_train_only_when_the_policy_allows_it_and_never_test(desk: Desk) -> None:
    desk.rows(range(40))
    early = desk.call("nobody looked at this early one so far", answer="yes", day=0.01)
    late = desk.call("nobody looked at that late one until now", answer="no", day=50)
    assert reasons(desk.build()) == {early: "rented-output", late: "rented-output"}
    allowed = desk.build(allow_rented_output=True)
    assert reasons(allowed) == {late: "rented-output"}
    assert everything(allowed)[early].split == "train"
    assert everything(allowed)[early].provenance == "rented-output"
    assert manifest(allowed)["provenance"]["train"]["rented-output"] == 1


def test_a_human_word_wins_over_an_unchecked_answer_to_the_same_text(desk: Desk) -> None:
    first, *_ = desk.rows(range(40), dated=False)
    copy = desk.call(desk.sentence(0), answer="yes")
    dataset = desk.build(allow_rented_output=True)
    assert reasons(dataset) == {copy: "duplicate"}
    assert everything(dataset)[first].target == "no"


def test_extraction_targets_have_the_order_of_the_schema_and_are_masked(extraction_desk: Desk) -> None:
    desk = extraction_desk
    for n in range(40):
        desk.row(desk.sentence(n), f'{{"amount": {n}.50, "merchant": "Shop {n}"}}')
    text = "Charged twice, pay back to DE89 3704 0044 0532 0130 00, card 4111111111111111"
    call = desk.call(text, answer='{"iban":"DE89370400440532013000"}')
    desk.say(
        call,
        '{"z": null, "lines": [{"a": 1, "b": true, "c": "ü"}], "iban": "DE89370400440532013000", '
        '"card": 4111111111111111, "amount": 12.5, "merchant": "Café"}',
    )
    example = everything(desk.build())[call]
    assert example.messages[1].content == "Charged twice, pay back to [IBAN_1], card [CARD_1]"
    assert example.target == (
        '{"merchant": "Café", "amount": 12.5, "lines": [{"b": true, "a": 1, "c": "ü"}], '
        '"card": "[CARD_1]", "iban": "[IBAN_1]", "z": null}'
    )
    assert example.rented_output == '{"iban": "[IBAN_1]"}'


def test_what_was_masked_in_the_input_is_masked_in_the_answers_whatever_its_form(extraction_desk: Desk) -> None:
    desk = extraction_desk
    for n in range(40):
        desk.row(desk.sentence(n), f'{{"amount": {n}}}')
    call = desk.call("Please call my phone number 0301234560", answer='{"phone": 301234560, "n": 7}')
    desk.say(call, '{"phone": "0301234560", "other": ["030 1234560", 301234560.0, true], "amount": 12.5}')
    dataset = desk.build()
    example = everything(dataset)[call]
    assert example.target == '{"amount": 12.5, "other": ["[PHONE_1]", "[PHONE_1]", true], "phone": "[PHONE_1]"}'
    assert example.rented_output == '{"phone": "[PHONE_1]", "n": 7}'
    assert "1234560" not in "".join(path.read_text(encoding="utf-8") for path in dataset.folder.iterdir())


def test_a_reply_says_what_was_masked_in_its_input_as_a_placeholder(reply_desk: Desk) -> None:
    desk = reply_desk
    for n in range(40):
        desk.row(desk.sentence(n), f"reply {n}")
    call = desk.call("Please call my phone number 0301234560", answer="Noted: 0301234560")
    desk.say(call, "We have 030 1234560 for you", "corrected")
    example = everything(desk.build())[call]
    assert (example.target, example.rented_output) == ("We have [PHONE_1] for you", "Noted: [PHONE_1]")


def test_labels_that_stand_only_in_the_test_set_are_a_warning(desk: Desk) -> None:
    desk.task = replace(desk.task, labels=("no", "yes", *(f"new {n:02d}" for n in range(11))))
    desk.rows(range(40))
    desk.rows(range(100, 110), split="test")
    assert manifest(desk.build())["warnings"] == []
    desk.row("is this a case of its own?", "new 00", split="test")
    assert manifest(desk.build())["warnings"] == [
        "1 of 3 labels of the test set stand in no training row ('new 00'; test rows: 1): an own model can hardly "
        "learn them, and it knows of them from the test set alone."
    ]
    for n in range(11):
        desk.row(desk.sentence(500 + n), f"new {n:02d}", split="test")
    [warning] = manifest(desk.build())["warnings"]
    assert warning.startswith("11 of 13 labels of the test set stand in no training row ('new 00', ")
    assert ", 'new 09', ...; test rows: 12)" in warning


@pytest.mark.parametrize("marks", [{"model_version": "m"}, {"route": "own"}, {"route": "canary"}], ids=str)
def test_serving_a_call_changes_no_dataset_until_a_human_looks_at_it(desk: Desk, marks: dict[str, Any]) -> None:
    desk.rows(range(40))
    before = desk.build()
    desk.call(desk.sentence(0), answer="yes", day=9, **marks)
    served = desk.call("our own model said this one alone", answer="yes", **marks)
    assert desk.build() == before
    desk.say(served, "no", "corrected")
    assert everything(desk.build())[served].provenance == "human-corrected"


def test_an_answer_without_personal_data_is_recorded_as_it_was_given(extraction_desk: Desk) -> None:
    desk = extraction_desk
    for n in range(40):
        desk.row(desk.sentence(n), f'{{"amount": {n}}}')
    odd = desk.call("an odd answer came back for this one", answer='{"amount":1}')
    broken = desk.call("a broken answer came back for that", answer='Sure: {"mail": "a@b.de"')
    for call in (odd, broken):
        desk.say(call, '{"amount": 1}', "corrected")
    examples = everything(desk.build())
    assert examples[odd].rented_output == '{"amount":1}'
    assert examples[broken].rented_output == 'Sure: {"mail": "[EMAIL_1]"'


@pytest.mark.parametrize("output", ["no json", "[1]", '{"amount": NaN}', "[" * 100_000])
def test_an_extraction_target_that_is_no_object_is_left_out(extraction_desk: Desk, output: str) -> None:
    desk = extraction_desk
    for n in range(40):
        desk.row(desk.sentence(n), f'{{"amount": {n}}}')
    call = desk.row("is this a case of its own?", output)
    assert reasons(desk.build()) == {call: "invalid-json"}


def test_free_text_is_masked_with_the_placeholders_of_its_input(reply_desk: Desk) -> None:
    desk = reply_desk
    for n in range(40):
        desk.row(desk.sentence(n), f"reply {n}")
    call = desk.row("I am a@b.de, and \ud800 is broken", "Dear a@b.de, write to x@y.de")
    dataset = desk.build()
    example = everything(dataset)[call]
    assert example.messages[1].content == "I am [EMAIL_1], and \ufffd is broken"
    assert example.target == "Dear [EMAIL_1], write to [EMAIL_2]"
    assert manifest(dataset)["pii"] == {"EMAIL": 2}
    assert manifest(dataset)["classes"] == {}


def test_the_same_inputs_give_the_same_id_and_bytes(desk: Desk) -> None:
    desk.rows(range(40))
    desk.row("where is the parcel I was promised last week", "yes", day=0.01)
    desk.row("Hello where is the parcel I was promised last week?", "yes", day=9)
    first = desk.build()
    before = {path.name: path.read_bytes() for path in first.folder.iterdir()}
    desk.calls.reverse()
    second = desk.build()
    assert second == first
    assert {path.name: path.read_bytes() for path in second.folder.iterdir()} == before
    assert sorted(before) == [
        "excluded.jsonl",
        "manifest.json",
        "review.jsonl",
        "rows.jsonl",
        "test.jsonl",
        "train.jsonl",
        "validation.jsonl",
    ]
    with desk.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(DATASETS)) == 1


@pytest.mark.parametrize("dated", [True, False])
def test_more_rows_never_move_a_row_and_fill_the_test_set_up_to_its_share(desk: Desk, dated: bool) -> None:
    desk.rows(range(40), dated=dated)
    before = everything(desk.build())
    desk.rows(range(200, 260), dated=dated)
    after = everything(desk.build())
    assert all(after[call].split == example.split for call, example in before.items())
    assert sum(example.split == "test" for example in after.values()) == 25
    tested = {example.messages for example in after.values() if example.split == "test"}
    assert not any(example.messages in tested for example in after.values() if example.split != "test")


def test_rows_that_were_tested_on_do_not_train_once_a_test_set_is_imported(desk: Desk) -> None:
    desk.rows(range(40))
    before = everything(desk.build())
    tested = desk.rows(range(100, 110), split="test")
    trained = next(call for call, example in before.items() if example.split == "train")
    desk.say(trained, before[trained].target, split="test")
    dataset = desk.build()
    assert {example.id for example in read_examples(dataset, "test")} == {*tested, trained}
    held_out = {call for call, example in before.items() if example.split == "test"}
    assert reasons(dataset) == dict.fromkeys(held_out, "held-out")
    with desk.engine.connect() as connection:
        rows = connection.execute(select(SPLITS.c.split, func.count()).group_by(SPLITS.c.split)).all()
    assert dict(map(tuple, rows)) == {"test": 21, "train": 26, "validation": 3}


def test_words_about_calls_that_are_not_there_are_counted(desk: Desk) -> None:
    desk.rows(range(40))
    desk.say("elsewhere", "yes")
    assert manifest(desk.build())["words_without_call"] == 1


def test_calls_of_other_tasks_are_passed_over(desk: Desk) -> None:
    desk.rows(range(40))
    call = desk.call("a call of another task altogether")
    desk.calls[-1] = type(desk.calls[-1])(id=call, task="other")
    rows = [json.loads(line) for line in (desk.build().folder / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == 40
    assert call not in {row["id"] for row in rows}


def test_no_rows_are_an_error(desk: Desk) -> None:
    with pytest.raises(InputError, match=r"'triage' has no rows\. Bring some: freehold import FILE --task triage"):
        desk.build()


def test_rows_without_any_human_word_are_an_error(desk: Desk) -> None:
    desk.call("hello", answer="yes")
    with pytest.raises(InputError, match=r"None of the 1 rows of task 'triage' has a human's word.*'output'"):
        desk.build()


def test_one_class_only_is_an_error(desk: Desk) -> None:
    for n in range(30):
        desk.row(desk.sentence(n), "yes")
    with pytest.raises(InputError, match="All 30 usable rows of task 'triage' have one answer, 'yes'"):
        desk.build()


def test_fewer_than_twenty_usable_rows_are_an_error_that_says_what_was_lost(desk: Desk) -> None:
    desk.rows(range(19))
    with pytest.raises(InputError, match=r"has 19 usable rows with a human's word; at least 20 are needed"):
        desk.build()
    desk.row("somebody mistyped the label of this", "yess")
    with pytest.raises(InputError, match=r"has 19 usable rows with a human's word \(1 label-unknown left out\)"):
        desk.build()


def test_an_empty_test_set_is_an_error(desk: Desk) -> None:
    desk.rows(range(40))
    desk.row("somebody mistyped the label of this", "yess", split="test")
    with pytest.raises(InputError, match=r"every row of the imported test set was left out .*1 label-unknown"):
        desk.build()


def test_too_few_different_texts_are_an_error(desk: Desk) -> None:
    for _ in range(30):
        desk.row("the same words over and over", "yes")
    desk.row("card lost", "no")
    with pytest.raises(InputError, match=r"too few texts differ from each other .*29 duplicate"):
        desk.build(test_share=0.1)


def test_an_empty_training_set_is_an_error(desk: Desk) -> None:
    desk.rows(range(40), split="test")
    with pytest.raises(
        InputError, match=r"training set of task 'triage' is empty \(left out: none;.*not in the test set"
    ):
        desk.build()


def test_a_training_set_of_one_class_is_an_error(desk: Desk) -> None:
    desk.rows(range(10), split="test")
    for n in range(20, 50):
        desk.row(desk.sentence(n), "yes")
    with pytest.raises(InputError, match="All 27 training rows of task 'triage' have one answer, 'yes'"):
        desk.build()


def test_a_share_outside_its_range_is_an_error() -> None:
    with pytest.raises(InputError, match=r"test_share is 1; it must lie between 0 and 1, for example 0\.25"):
        Policy(test_share=1)


def test_a_task_that_cannot_name_a_folder_is_an_error(desk: Desk) -> None:
    task = type(desk.task)(name="../up", kind="text", own_prompt="")
    with pytest.raises(InputError, match=r"Task '\.\./up' cannot name a folder"):
        build_dataset(engine=desk.engine, task=task, calls=[], folder=desk.folder, policy=Policy(), progress=Silent())
