"""Writing, registering, reading back and exporting."""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from freehold.core.errors import InputError
from freehold.core.progress import Silent
from freehold.datasets.build import build_dataset
from freehold.datasets.export import export_examples
from freehold.datasets.policy import Policy
from freehold.datasets.read import as_record, list_datasets, read_dataset, read_examples
from freehold.state.schema import DATASETS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.datasets.conftest import Desk


def test_a_dataset_is_read_back_as_it_was_built(desk: Desk) -> None:
    desk.rows(range(40))
    dataset = desk.build()
    again = read_dataset(desk.folder, dataset.id, engine=desk.engine)
    assert again == dataset
    test = read_examples(again, "test")
    assert [example.as_dict() for example in test] == [
        json.loads(line) for line in (dataset.folder / "test.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert test[0].started_at == desk.calls[30].started_at


def test_rows_without_a_time_are_read_back_without_one(desk: Desk) -> None:
    desk.rows(range(40), dated=False)
    assert {example.started_at for example in read_examples(desk.build(), "train")} == {None}


def test_a_task_names_its_latest_build_and_building_again_makes_it_the_latest(desk: Desk) -> None:
    desk.rows(range(40))
    first = desk.build()
    second = desk.build(validation_share=0.2)
    with desk.engine.begin() as connection:
        connection.execute(update(DATASETS).values(created_at="2026-01-01"))
        connection.execute(update(DATASETS).where(DATASETS.c.id == second.id).values(created_at="2026-01-02"))
    assert list_datasets(desk.engine, "triage") == [second.id, first.id]
    assert read_dataset(desk.folder, "triage", engine=desk.engine) == second
    desk.build()
    assert read_dataset(desk.folder, "triage", engine=desk.engine) == first
    assert list_datasets(desk.engine, "other") == []


def test_the_record_for_json_output_has_the_promised_fields(desk: Desk) -> None:
    desk.rows(range(40))
    desk.row("somebody mistyped the label of this a@b.de", "yess", day=0)
    dataset = desk.build()
    record = as_record(dataset)
    assert json.loads(json.dumps(record)) == record
    assert record["schema"] == "freehold.dataset/1"
    assert record["dataset"] == dataset.id
    assert record["rows"] == {"train": 27, "validation": 3, "test": 10}
    assert record["excluded"] == [{"reason": "label-unknown", "rows": 1}]
    assert record["provenance"] == {"human-labelled": 40}
    assert record["provenance_by_split"]["test"] == {"human-labelled": 10}
    assert record["classes"]["test"] == {"no": 5, "yes": 5}
    assert record["pii"] == {"EMAIL": 1}


def test_an_unknown_name_is_an_error_that_lists_what_there_is(desk: Desk) -> None:
    with pytest.raises(InputError, match=r"named 'x'\. None has been built\. Build one: freehold dataset build"):
        read_dataset(desk.folder, "x", engine=desk.engine)
    desk.rows(range(40))
    dataset = desk.build()
    with pytest.raises(InputError, match=rf"named 'x'\. There are: {dataset.id}\."):
        read_dataset(desk.folder, "x", engine=desk.engine)


def test_a_changed_file_is_an_error(desk: Desk) -> None:
    desk.rows(range(40))
    dataset = desk.build()
    path = dataset.folder / "test.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"yes"', b'"no"', 1))
    with pytest.raises(InputError, match=r"test\.jsonl: the file was changed after the dataset was built"):
        read_examples(dataset, "test")
    assert len(read_examples(dataset, "train")) == 27
    path.unlink()
    with pytest.raises(InputError, match=r"test\.jsonl: cannot be read \(No such file"):
        read_examples(dataset, "test")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"sha256": "0", "id": "x"}'])
def test_a_changed_manifest_is_an_error(desk: Desk, content: str) -> None:
    desk.rows(range(40))
    dataset = desk.build()
    (dataset.folder / "manifest.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"manifest\.json: the file was changed"):
        read_dataset(desk.folder, dataset.id, engine=desk.engine)


def test_building_again_repairs_a_damaged_dataset_and_clears_a_killed_one(desk: Desk) -> None:
    desk.rows(range(40))
    dataset = desk.build()
    before = (dataset.folder / "train.jsonl").read_bytes()
    (dataset.folder / "train.jsonl").write_bytes(b"half")
    part = desk.folder / f".{dataset.id}.part"
    part.mkdir()
    (part / "train.jsonl").write_bytes(b"half")
    assert desk.build() == dataset
    assert (dataset.folder / "train.jsonl").read_bytes() == before
    assert [path.name for path in desk.folder.iterdir()] == [dataset.id]


def test_a_full_disk_is_an_error_and_leaves_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.rows(range(40))

    def full(path: Path, *_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("pathlib.Path.write_text", full)  # the last file of a folder
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\)\. Free space"):
        desk.build()
    assert list(desk.folder.iterdir()) == []
    assert list_datasets(desk.engine) == []


def test_two_builds_at_once_do_not_both_decide(desk: Desk) -> None:
    desk.rows(range(40))

    class Meddler(Silent):
        def finish(self) -> None:
            """Build in the midst of another build, once the sides are read."""
            if not list_datasets(desk.engine):
                desk.build()

    with pytest.raises(InputError, match="Another build of task 'triage' ran at the same time and decided first"):
        build_dataset(
            engine=desk.engine,
            task=desk.task,
            calls=desk.calls,
            folder=desk.folder,
            policy=Policy(),
            progress=Meddler(),
        )
    assert len(list_datasets(desk.engine)) == 1


def test_the_export_is_chat_jsonl_with_the_target_as_the_last_turn(desk: Desk, tmp_path: Path) -> None:
    desk.rows(range(40))
    dataset = desk.build()
    path = tmp_path / "train.jsonl"
    assert export_examples(dataset, "train", path) == 27
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    first = read_examples(dataset, "train")[0]
    assert len(lines) == 27
    assert lines[0] == {
        "messages": [
            {"role": "system", "content": "Answer yes or no."},
            {"role": "user", "content": first.messages[1].content},
            {"role": "assistant", "content": first.target},
        ]
    }
    assert [path.name for path in tmp_path.glob("*.part")] == []


def test_an_export_that_cannot_be_written_is_an_error(desk: Desk, tmp_path: Path) -> None:
    desk.rows(range(40))
    dataset = desk.build()
    with pytest.raises(InputError, match=r"train\.jsonl: cannot be written \(No such file or directory\)"):
        export_examples(dataset, "train", tmp_path / "absent" / "train.jsonl")
