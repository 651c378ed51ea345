"""Leaks, labels in doubt, lengths out of line; versions compared; personal data put back."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from freehold.core.errors import InputError
from freehold.core.identity import content_hash
from freehold.core.progress import Silent
from freehold.core.task import Task
from freehold.datasets.diff import compare
from freehold.datasets.label_noise import check_labels
from freehold.datasets.prepare import read_rows, spoken_calls
from freehold.datasets.purge import ids_in_datasets, purge_datasets
from freehold.datasets.read import as_record, read_dataset, read_examples, read_manifest, read_samples, stream_lines
from freehold.datasets.rows import read_human_words
from freehold.datasets.spill import Spill
from freehold.datasets.unmask import Unmasking
from freehold.datasets.write import MANIFEST

if TYPE_CHECKING:
    from pathlib import Path

    from tests.datasets.conftest import Desk

WORDS = {
    "parcel": "where is the parcel box van",
    "money": "refund the money sum card",
    "login": "reset my password key",
}


def labelled(rows: int, *, seed: int = 0) -> tuple[list[str], list[str]]:
    chooser = random.Random(seed)
    labels = [chooser.choice(sorted(WORDS)) for _ in range(rows)]
    noise = [f"w{chooser.randrange(400)}" for _ in range(rows * 3)]
    texts = [
        " ".join([*chooser.sample(WORDS[label].split(), 3), *noise[3 * number : 3 * number + 3]])
        for number, label in enumerate(labels)
    ]
    return texts, labels


def test_labels_that_were_changed_are_doubted_and_few_others() -> None:
    texts, labels = labelled(400)
    changed = set(random.Random(1).sample(range(400), 20))
    noisy = [
        sorted(WORDS)[(sorted(WORDS).index(label) + 1) % 3] if n in changed else label for n, label in enumerate(labels)
    ]
    checked = check_labels(noisy, [f"{n}" for n in range(400)], texts.__getitem__)
    assert checked.doubts is not None
    doubted = {doubt.place for doubt in checked.doubts}

    assert (checked.rows, checked.agreement is not None and checked.agreement > 0.9) == (400, True)
    assert len(doubted & changed) >= 18
    assert len(doubted - changed) <= 4
    assert all(doubt.likely == labels[doubt.place] for doubt in checked.doubts if doubt.place in changed)
    assert check_labels(noisy, [f"{n}" for n in range(400)], texts.__getitem__) == checked


def test_a_probe_that_knows_nothing_doubts_nobody() -> None:
    texts, _ = labelled(100)
    given = ["yes" if n % 2 else "no" for n in range(100)]
    checked = check_labels(given, [f"{n}" for n in range(100)], texts.__getitem__)
    assert checked.doubts is None
    assert check_labels(given[:10], ["g"] * 10, texts.__getitem__).agreement is None


def test_what_should_be_looked_at_is_shown_and_stays(desk: Desk) -> None:
    desk.rows(range(40))
    one = desk.row("the parcel that you promised for monday has not come", "yes", day=0)
    other = desk.row("Hello the parcel that you promised for monday has not come", "no", day=0.01)
    long = desk.row("word " * 2_000, "yes", day=0.02)
    first, second = desk.row("what is it that you want of me", "yes"), desk.row("what is it that you want of me", "no")
    record = as_record(desk.build())
    found = {
        (line["finding"], line["id"])
        for line in stream_lines(read_dataset(desk.folder, "triage", engine=desk.engine), "review.jsonl")
    }

    assert {("near-conflict", one), ("near-conflict", other), ("length-outlier", long)} <= found
    assert {("label-conflict", first), ("label-conflict", second)} <= found
    assert record["label_conflicts"] == 1
    assert record["label_noise"]["near_conflicts"] == 1
    assert record["excluded"] == [{"reason": "contradictory", "rows": 2}]
    assert record["duplicates_grouped"] == 4
    assert max(side["input"]["longest"] for side in record["lengths"].values()) == len("word " * 2_000)


def test_a_leak_is_counted_and_test_rows_of_the_same_template_are_told(desk: Desk) -> None:
    desk.rows(range(40))
    desk.row("a row of the test set that stands in training too", "yes", split="test")
    desk.row("a row of the test set that stands in training too!", "yes")
    for n in range(30):
        desk.row(f"order {n} of the blue shoes has not come yet at all", "no", split="test" if n < 15 else None)
    record = as_record(desk.build())
    assert record["leaks"] == record["leakage"]["left_out"] == 1
    assert record["leakage"] == {"left_out": 1, "groups_on_two_sides": 0, "same_but_for_numbers": 15}
    assert any(
        warning.startswith("15 test rows differ from a training row in nothing but") for warning in record["warnings"]
    )


@pytest.mark.parametrize("processes", [1, 2])
def test_other_processes_make_the_same_rows(desk: Desk, tmp_path: Path, processes: int) -> None:
    desk.rows(range(60))
    desk.row("write to ada@example.com about it please", "yes")
    words = read_human_words(desk.engine, "triage")
    with Spill(tmp_path) as here, Spill(tmp_path) as there:
        rows, place_of, signatures = read_rows(desk.task, spoken_calls(desk.task, desk.calls, words), here, Silent())
        others, places_of_others, of_others = read_rows(
            desk.task, spoken_calls(desk.task, desk.calls, words), there, Silent(), processes=processes
        )
        contents = [here.get(row.place) for row in rows if row.place]
        assert (others, places_of_others) == (rows, place_of)
        assert of_others.digests.tolist() == signatures.digests.tolist()
        assert of_others.words.tolist() == signatures.words.tolist()
        assert [there.get(row.place) for row in others if row.place] == contents
    assert any("[EMAIL_1]" in turn for content in contents for _, turn in content.turns)


def test_versions_are_compared_row_by_row(desk: Desk) -> None:
    ids = desk.rows(range(40))
    old = desk.build()
    changed = next(example.id for example in read_examples(old, "train"))
    desk.say(changed, "yes" if ids.index(changed) % 2 == 0 else "no", "corrected")
    gone = next(example.id for example in read_examples(old, "test"))
    desk.say(gone, "mistyped", "corrected")
    desk.rows(range(100, 110))
    diff = compare(old, desk.build())

    assert diff["added"]["count"] == 10
    assert diff["removed"] == {"count": 1, "ids": [gone], "reasons": {"label-unknown": 1}}
    assert diff["answer_changed"] == {"count": 1, "ids": [changed]}
    assert diff["moved"]["count"] == 0
    assert diff["provenance"]["human-corrected"] == {"old": 0, "new": 1}
    assert diff["settings"] == []
    assert compare(old, old)["added"]["count"] == 0


def test_versions_of_two_tasks_are_not_compared(desk: Desk) -> None:
    desk.rows(range(40))
    old = desk.build()
    desk.task = Task(name="other", kind="classification", labels=("no", "yes"), own_prompt="Say.")
    desk.calls.clear()
    desk.rows(range(40))
    with pytest.raises(InputError, match="is of task 'triage' and other-"):
        compare(old, desk.build())


def test_personal_data_is_put_back_from_the_calls_that_are_there(reply_desk: Desk) -> None:
    desk = reply_desk
    for n in range(40):
        desk.row(
            f"{desk.sentence(n)} write to ada{n}@example.com", f"I write to ada{n}@example.com and bo{n}@example.com"
        )
    dataset = desk.build()
    masked = read_examples(dataset, "train")
    calls = {call.id: call for call in desk.calls[:-1]}
    put_back = Unmasking(
        desk.task, lambda ids: {one: calls[one] for one in ids if one in calls}, read_human_words(desk.engine, "reply")
    )
    plain = list(put_back(masked))

    assert all("[EMAIL_1]" in example.messages[1].content and "[EMAIL_2]" in example.target for example in masked)
    assert put_back.restored + put_back.missing == len(masked)
    assert put_back.missing == sum(example.id not in calls for example in masked)
    assert all("[EMAIL" not in example.target for example in plain if example.id in calls)
    number = int(plain[0].id[1:])
    assert plain[0].messages[1].content == f"{desk.sentence(number)} write to ada{number}@example.com"
    assert plain[0].target == f"I write to ada{number}@example.com and bo{number}@example.com"


def test_personal_data_is_not_put_into_a_row_that_has_changed_since(reply_desk: Desk) -> None:
    desk = reply_desk
    ids = [desk.row(f"{desk.sentence(n)} write to ada{n}@example.com", "Yes") for n in range(40)]
    dataset = desk.build()
    for one in ids:
        desk.say(one, "No", "corrected")
    calls = {call.id: call for call in desk.calls}
    put_back = Unmasking(desk.task, lambda _: calls, read_human_words(desk.engine, "reply"))
    with pytest.raises(InputError, match="gives another row than it did"):
        list(put_back(read_examples(dataset, "train")))


def test_a_purge_takes_a_row_out_of_every_file_of_a_version(desk: Desk) -> None:
    desk.rows(range(40))
    long = desk.row("word " * 2_000, "yes", day=0)
    dataset = desk.build()
    assert long in ids_in_datasets(desk.folder)
    purge_datasets(desk.folder, desk.engine, lambda ids: set(ids) & {long}, lambda _: [])

    assert long not in ids_in_datasets(desk.folder)
    assert all(long not in path.read_text(encoding="utf-8") for path in dataset.folder.iterdir())
    record = as_record(read_dataset(desk.folder, "triage", engine=desk.engine))
    assert sum(record["purged"].values()) == 1
    assert any("1 of 41 rows of this version were purged" in warning for warning in record["warnings"])


def test_versions_of_before_stay_readable(desk: Desk) -> None:
    desk.rows(range(40))
    dataset = desk.build()
    older = _as_it_was(dataset.folder)
    record = as_record(replace(dataset, id=older, folder=desk.folder / older))
    assert record["provenance"] == {"human-labelled": 40}
    assert record["duplicates_grouped"] is None
    assert read_samples(replace(dataset, folder=desk.folder / older), 1)["review"] == {}
    gone = next(iter(read_manifest(desk.folder / older)["source_rows"]))
    purge_datasets(desk.folder, desk.engine, lambda ids: set(ids) & {gone}, lambda _: [])
    assert gone not in ids_in_datasets(desk.folder)
    assert gone not in read_manifest(desk.folder / older)["source_rows"]


def _as_it_was(folder: Path) -> str:
    """A version as an earlier Freehold wrote it, beside this one; gives its id."""
    manifest = json.loads((folder / MANIFEST).read_text())
    kept = (
        "schema", "task", "policy", "split_by", "test_from", "rows", "excluded", "provenance", "classes", "pii",
        "near_duplicates", "contradictions", "warnings", "words_without_call", "files", "versions",
    )  # fmt: skip
    old = {name: manifest[name] for name in kept}
    old["files"] = {
        name: sha256 for name, sha256 in manifest["files"].items() if name not in {"rows.jsonl", "review.jsonl"}
    }
    old["source_rows"] = {f"c{number:04d}": "0" * 64 for number in range(40)}
    sha256 = content_hash(old)
    name = f"triage-{sha256[:12]}"
    shutil.copytree(folder, folder.parent / name)
    for file in ("rows.jsonl", "review.jsonl"):
        (folder.parent / name / file).unlink()
    (folder.parent / name / MANIFEST).write_text(json.dumps({"id": name, "sha256": sha256, **old}))
    return name
