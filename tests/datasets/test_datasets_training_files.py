"""Rows of training files: every shape that other tools write, and what is done with those that are no use."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from freehold.core.chat import Message
from freehold.core.errors import InputError
from freehold.core.progress import Silent
from freehold.datasets.build import build_dataset
from freehold.datasets.export import export_examples
from freehold.datasets.file_shapes import BadShape, Case, cases_of
from freehold.datasets.files import TrainingFiles
from freehold.datasets.policy import Policy
from freehold.datasets.read import as_record, read_examples, stream_lines

if TYPE_CHECKING:
    from pathlib import Path

    from freehold.core.dataset import Dataset
    from tests.datasets.conftest import Desk

ASKED = (Message("user", "Where is it?"),)
TURN = {"role": "user", "content": "Where is it?"}


def said(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


@pytest.mark.parametrize(
    ("row", "case"),
    [
        ({"messages": [TURN, said("late")]}, Case(ASKED, "late")),
        ({"messages": [TURN, said("late")], "rejected": "wrong"}, Case(ASKED, "late", "wrong")),
        (
            {"input": {"messages": [TURN]}, "preferred_output": [said("late")], "non_preferred_output": [said("no")]},
            Case(ASKED, "late", "no"),
        ),
        ({"prompt": "Where is it?", "chosen": "late", "rejected": "no"}, Case(ASKED, "late", "no")),
        ({"chosen": [TURN, said("late")], "rejected": [TURN, said("no")]}, Case(ASKED, "late", "no")),
        ({"prompt": [TURN], "completion": [said("late")]}, Case(ASKED, "late")),
        ({"prompt": "Where is it?", "completion": "late"}, Case(ASKED, "late")),
        (
            {"conversations": [{"from": "human", "value": "Where is it?"}, {"from": "gpt", "value": "late"}]},
            Case(ASKED, "late"),
        ),
        (
            {
                "conversations": json.dumps(
                    [{"from": "human", "value": "Where is it?"}, {"from": "gpt", "value": "late"}]
                )
            },
            Case(ASKED, "late"),
        ),
        ({"instruction": "Where is it?", "input": "", "output": "late"}, Case(ASKED, "late")),
        (
            {"instruction": "Classify.", "input": "Where is it?", "output": "late", "history": [["Hi", "Hello"]]},
            Case(
                (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Classify.\n\nWhere is it?")),
                "late",
            ),
        ),
        ({"text": "Where is it?", "label": 3}, Case(ASKED, "3")),
        ({"input": "Where is it?", "output": {"a": 1}, "model_output": "{}"}, Case(ASKED, '{"a": 1}', "{}")),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_row_of_each_tool_is_understood(row: dict[str, Any], case: Case) -> None:
    assert list(cases_of(row)) == [case]


def test_a_conversation_holds_a_case_for_each_turn_that_is_trained_on() -> None:
    shown = {**said("hello"), "weight": 0}
    cases = list(cases_of({"messages": [TURN, shown, TURN, said("late"), TURN, said("here")]}))
    assert [(len(case.turns), case.answer) for case in cases] == [(3, "late"), (5, "here")]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"colour": "red"}, "no known shape"),
        ({"messages": []}, "at least one message"),
        ({"messages": [TURN]}, "no turn of the assistant"),
        ({"messages": [{"content": "x"}]}, "a message without a role"),
        ({"conversations": [{"from": "moon", "value": "x"}]}, "neither human, gpt"),
        ({"prompt": "x", "chosen": 3, "rejected": "no"}, "must be text or a list"),
        ({"input": "x", "output": None}, "no value in column 'output'"),
    ],
)
def test_a_row_of_no_use_says_why(row: dict[str, Any], why: str) -> None:
    with pytest.raises(BadShape, match=why):
        list(cases_of(row))


def rows(desk: Desk, numbers: range, **more: Any) -> list[dict[str, Any]]:
    return [{"input": desk.sentence(n), "output": "yes" if n % 2 else "no", **more} for n in numbers]


def write(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def build(desk: Desk, *paths: Path, allow_rented_output: bool = False, **options: Any) -> Dataset:
    return build_dataset(
        engine=desk.engine,
        task=desk.task,
        calls=desk.calls,
        folder=desk.folder,
        policy=Policy(allow_rented_output=allow_rented_output),
        progress=Silent(),
        files=TrainingFiles(paths, **options),
    )


def test_files_and_ledger_make_one_dataset_and_every_row_says_where_it_came_from(desk: Desk, tmp_path: Path) -> None:
    desk.rows(range(30))
    file = write(tmp_path / "more.jsonl", rows(desk, range(100, 130)))
    dataset = build(desk, file, terms="cc-by-4.0")
    lines = list(stream_lines(dataset, "rows.jsonl"))

    assert as_record(dataset)["sources"] == {"ledger": 30, "more.jsonl": 30}
    assert sum(dataset.rows.values()) == 60
    assert {line["terms"] for line in lines if line["source"]["kind"] == "file"} == {"cc-by-4.0"}
    assert {line["terms"] for line in lines if line["source"]["kind"] == "ledger"} == {"own-work"}
    assert all(len(line["corrections"]) == (line["source"] == {"kind": "ledger"}) for line in lines)
    assert {line["source"]["line"] for line in lines if "line" in line["source"]} == set(range(1, 31))
    assert build(desk, file, terms="cc-by-4.0") == dataset


def test_what_a_row_says_of_its_licence_weight_consent_and_side_counts(desk: Desk, tmp_path: Path) -> None:
    lines = rows(desk, range(40))
    lines[0] |= {"license": "mit", "weight": 0.5}
    lines[1]["consent"] = False
    for line in lines[30:]:
        line["split"] = "test"
    dataset = build(desk, write(tmp_path / "rows.jsonl", lines))
    weights = [example.weight for split in ("train", "validation") for example in read_examples(dataset, split)]

    assert dataset.rows["test"] == 10
    assert dataset.excluded == {"no-consent": 1}
    assert sorted(weights)[:2] == [0.5, 1.0]
    assert as_record(dataset)["terms"]["test"] == {"undeclared": 10}


def test_answers_that_a_model_gave_are_left_out_until_they_are_allowed(desk: Desk, tmp_path: Path) -> None:
    desk.rows(range(40))
    file = write(tmp_path / "generated.jsonl", rows(desk, range(100, 120), model="big"))
    dataset = build(desk, file, by_model=True)
    assert dataset.excluded == {"rented-output": 20}
    assert as_record(dataset)["warnings"] == [
        "20 rows hold a rented model's answer that no human looked at (big 20) and are left out: many providers' terms "
        "forbid training on them. Where yours allow it: --allow-rented-output."
    ]
    assert build(desk, file, by_model=True, allow_rented_output=True).rows["train"] > dataset.rows["train"]


def test_a_pair_of_answers_is_a_correction_and_comes_out_as_a_pair_again(reply_desk: Desk, tmp_path: Path) -> None:
    pairs = [
        {"prompt": reply_desk.sentence(n), "chosen": f"Good {n}", "rejected": f"Bad {n}" if n % 2 else f"Good {n}"}
        for n in range(40)
    ]
    dataset = build(reply_desk, write(tmp_path / "pairs.jsonl", pairs))
    trained = read_examples(dataset, "train")
    corrected = [example for example in trained if example.provenance == "human-corrected"]
    written = export_examples(dataset, "train", tmp_path / "dpo.jsonl", form="openai-dpo")
    first = json.loads((tmp_path / "dpo.jsonl").read_text().splitlines()[0])

    assert 0 < written == len(corrected) < len(trained)
    assert all(example.rejected == example.target.replace("Good", "Bad") for example in corrected)
    assert first["non_preferred_output"][0]["content"].startswith("Bad")


def test_rows_of_no_use_are_counted_and_the_first_is_named(desk: Desk, tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", [*rows(desk, range(40)), {"colour": "red"}])
    with file.open("a") as opened:
        opened.write("{no json\n")
    record = as_record(build(desk, file))
    assert record["rejected_rows"] == 2
    assert record["warnings"][0].startswith(
        "2 rows of the files could not be used; the first is rows.jsonl, line 41: no"
    )


def test_a_file_without_one_row_of_use_is_an_error_that_names_its_fields(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"x\.jsonl: not one row can be used \(no known shape.*its fields are 'colour'"
    ):
        build(desk, write(tmp_path / "x.jsonl", [{"colour": "red"}]))
    damaged = tmp_path / "x.parquet"
    damaged.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(InputError, match=r"x\.parquet: no Parquet file, or a damaged one"):
        build(desk, damaged)


def test_class_numbers_of_hugging_face_become_names_and_its_test_folder_is_the_test_set(
    desk: Desk, tmp_path: Path
) -> None:
    features = {"label": {"names": ["no", "yes"], "_type": "ClassLabel"}, "text": {"dtype": "string"}}
    note = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    for split, numbers in (("train", range(30)), ("test", range(100, 110))):
        folder = tmp_path / "hf" / split
        folder.mkdir(parents=True)
        table = pa.table({"text": [desk.sentence(n) for n in numbers], "label": [n % 2 for n in numbers]})
        table = table.replace_schema_metadata(note)
        with pa.ipc.new_stream(folder / "data-00000-of-00001.arrow", table.schema) as writer:
            writer.write_table(table)
        (folder / "state.json").write_text("{}")
    (tmp_path / "hf" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    dataset = build(desk, tmp_path / "hf")

    assert dataset.rows["test"] == 10
    assert as_record(dataset)["classes"]["test"] == {"no": 5, "yes": 5}


@pytest.mark.parametrize("form", ["openai", "sharegpt", "alpaca", "trl", "csv", "parquet"])
def test_what_was_exported_comes_back_as_the_same_rows(desk: Desk, tmp_path: Path, form: Any) -> None:
    desk.rows(range(40))
    dataset = desk.build()
    path = tmp_path / f"out.{form if form in ('csv', 'parquet') else 'jsonl'}"
    count = export_examples(dataset, "train", path, form=form)
    cases = {(case.turns[-1].content, case.answer) for _, _, _, case in TrainingFiles([path])._cases()}

    assert count == len(cases) == dataset.rows["train"]
    assert cases == {(example.messages[-1].content, example.target) for example in read_examples(dataset, "train")}


def test_a_table_keeps_line_breaks_and_conversations(reply_desk: Desk, tmp_path: Path) -> None:
    desk = reply_desk
    turns = [
        {"role": "user", "content": "First\nline, with a comma"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": '[{"role": "that is no list'},
    ]
    for n in range(40):
        call = desk.call([*turns[:2], {"role": "user", "content": turns[2]["content"] + desk.sentence(n)}])
        desk.say(call, f"Answer {n}")
    dataset = desk.build()
    path = tmp_path / "out.csv"
    export_examples(dataset, "train", path, form="csv")
    with path.open(newline="", encoding="utf-8") as file:
        first = next(csv.DictReader(file))
    again = [case for _, _, _, case in TrainingFiles([path])._cases()]

    assert json.loads(first["input"])[0]["content"] == "First\nline, with a comma"
    assert [case.turns for case in again] == [each.messages[1:] for each in read_examples(dataset, "train")]


def test_a_folder_for_hugging_face_holds_every_side_and_stays_if_it_is_there(desk: Desk, tmp_path: Path) -> None:
    desk.rows(range(40))
    dataset = desk.build()
    assert export_examples(dataset, "train", tmp_path / "hf", form="hf") == 40
    table = pq.read_table(tmp_path / "hf" / "data" / "test-00000-of-00001.parquet")
    assert table.num_rows == dataset.rows["test"]
    assert "split: validation" in (tmp_path / "hf" / "README.md").read_text()
    assert build(desk, tmp_path / "hf").rows["test"] == 10
    with pytest.raises(InputError, match="is there already"):
        export_examples(dataset, "train", tmp_path / "hf", form="hf")


def test_an_export_of_pairs_without_any_is_an_error_and_leaves_the_file(desk: Desk, tmp_path: Path) -> None:
    desk.rows(range(40))
    path = tmp_path / "dpo.jsonl"
    path.write_text("before")
    with pytest.raises(InputError, match="has no corrected answer in its train split"):
        export_examples(desk.build(), "train", path, form="openai-dpo")
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.glob(".*")] == []
