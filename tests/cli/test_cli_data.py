"""Commands that need no model: init, doctor, import, audit, breakeven, dataset."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Desk, Terminal

TYPED_IN = (
    "breakeven --queries-per-month 100000 --input-tokens 1000 --output-tokens 500 --rent openai/gpt-5.4 "
    "--own llama-3.1-8b@h100 --as-of 2026-06-15"
)


def test_init_makes_a_workspace_and_leaves_an_old_one_as_it_is(nowhere: Terminal) -> None:
    nowhere.golden("init", "init")
    (nowhere.folder / "freehold.toml").write_text('[workspace]\nname = "mine"\n')

    record = nowhere.json("init", "init", ".")

    assert record["created"] is False
    assert (nowhere.folder / "freehold.toml").read_text() == '[workspace]\nname = "mine"\n'
    assert nowhere.run("init", "inner").code == 0
    assert (nowhere.folder / "inner" / ".freehold" / "state.db").exists()


def test_doctor_says_of_each_thing_whether_it_is_there_and_what_to_do(terminal: Terminal) -> None:
    shown = terminal.run("doctor", "--json")
    record = shown.record
    findings = {finding["name"]: finding for finding in record["findings"]}

    assert set(record) == {"schema", "ok", "findings"}
    assert record["schema"] == "freehold.doctor/1"
    assert all(set(finding) == {"name", "ok", "needed", "detail", "do"} for finding in findings.values())
    assert {"python", "cores", "memory", "disk", "torch", "gpu", "base models", "workspace"} <= set(findings)
    assert findings["workspace"] | {"detail": ""} == {
        "name": "workspace",
        "ok": True,
        "needed": False,
        "detail": "",
        "do": "",
    }
    assert shown.code == (0 if record["ok"] else 1)
    assert record["ok"] == all(finding["ok"] or not finding["needed"] for finding in findings.values())
    assert "python" in terminal.run("doctor").out


def test_doctor_fails_when_something_that_is_needed_is_missing(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freehold.cli.machine._DISK_NEEDED_GIB", 10**9)

    shown = terminal.run("doctor")

    assert shown.code == 1
    assert "MISSING  disk" in shown.out
    assert shown.last_line == "Next: mend what is MISSING"


def test_import_counts_what_is_new_and_what_is_there_already(terminal: Terminal, desk: type[Desk]) -> None:
    log = desk.write(terminal.folder / "log.jsonl", desk.rows(30, seed=1))

    terminal.golden("import", "import", log.name, "--task", "desk")
    record = terminal.json("import-again", "import", log, "--task", "desk")

    assert (record["imported"], record["duplicates"], record["skipped"], record["rejected"]) == (0, 30, 0, [])


def test_import_names_file_line_and_reason_of_each_rejected_row(terminal: Terminal, desk: type[Desk]) -> None:
    log = desk.write(terminal.folder / "log.jsonl", desk.rows(3, seed=1), without=["id"])
    with log.open("a") as file:
        file.write('{"input": "", "output": "card"}\n{"input": "hello", "output"\n[1]\n')
        file.write('{"input": "hello", "output": "card", "input_tokens": -1, "colour": "red"}\n')

    terminal.golden("import-rejected", "import", "log.jsonl", "--task", "desk")
    record = terminal.json("import-rejected", "import", "log.jsonl", "--task", "desk")

    places = [(row["file"], row["line"]) for row in record["rejected"]]
    assert places == [("log.jsonl", line) for line in (4, 5, 6, 7)]
    assert "'input' is empty" in {row["reason"] for row in record["rejected"]}
    kept = [json.loads(line) for line in Path(record["rejects_file"]).read_text().splitlines()]
    assert kept == record["rejected"]
    desk.write(log, desk.rows(3, seed=1))
    again = terminal.run("import", "log.jsonl", "--task", "desk", "--json").record
    assert (again["rejects_file"], Path(record["rejects_file"]).exists()) == (None, True)


def _everything_in(folder: Path) -> dict[str, bytes | None]:
    """Files and folders, but for what readers of a SQLite database share in memory."""
    paths = [path for path in folder.rglob("*") if not path.name.endswith("-shm")]
    return {str(path): path.read_bytes() if path.is_file() else None for path in paths}


def test_a_dry_run_writes_nothing_and_leaves_the_rejects_of_an_import(terminal: Terminal, desk: type[Desk]) -> None:
    log = desk.write(terminal.folder / "log.jsonl", desk.rows(3, seed=1), without=["id"])
    with log.open("a") as file:
        file.write("[1]\n")
    usage = {"object": "organization.usage.completions.result", "num_model_requests": 1, "model": "gpt-5.4"}
    bucket = {"object": "bucket", "start_time": 1793491200, "end_time": 1793577600, "results": [usage]}
    (terminal.folder / "usage.jsonl").write_text(json.dumps(bucket) + "\n")
    (terminal.folder / "trace.csv").write_text("t_s,input_tokens,output_tokens\n0,10,5\n")
    paths = ("log.jsonl", "usage.jsonl", "trace.csv")
    before = _everything_in(terminal.folder)
    record = terminal.run("import", *paths, "--dry-run", "--json").record
    assert _everything_in(terminal.folder) == before
    assert (record["imported"], record["rejected_rows"], record["rejects_file"]) == (5, 1, None)
    real = terminal.run("import", *paths, "--json").record
    assert Path(real["rejects_file"]).is_file()
    before = _everything_in(terminal.folder)
    again = terminal.run("import", *paths, "--dry-run", "--json").record
    assert _everything_in(terminal.folder) == before
    assert (again["imported"], again["duplicates"]) == (0, 5)


def test_each_import_keeps_its_rejects_and_a_purge_knows_them_all(terminal: Terminal, desk: type[Desk]) -> None:
    kept = []
    for number in range(2):
        log = desk.write(terminal.folder / "log.jsonl", desk.rows(3, seed=number), without=["id"])
        log.write_text(log.read_text() + f"[{number}]\n")
        kept.append(terminal.run("import", "log.jsonl", "--task", "desk", "--json").record["rejects_file"])
    (terminal.folder / ".freehold/rejected.jsonl").write_text("{}\n")  # of an earlier version
    assert all(Path(one).is_file() for one in kept)
    record = terminal.run("purge", "--task", "desk", "--yes", "--json").record
    assert {Path(one).name for one in [*kept, "rejected.jsonl"]} <= {Path(one).name for one in record["files_removed"]}
    assert not any(Path(one).exists() for one in kept)


def test_import_takes_corrections_in_whatever_order_files_are_named(terminal: Terminal, desk: type[Desk]) -> None:
    rows = desk.rows(24, seed=1)
    desk.write(terminal.folder / "log.jsonl", rows, without=["output"])
    words = [{"call_id": row["id"], "output": row["output"], "reviewer": "ada"} for row in rows[:20]]
    desk.write(terminal.folder / "corrections.jsonl", [*words, {"call_id": "nobody", "output": "card"}])

    shown = terminal.golden("import-corrections", "import", "corrections.jsonl", "log.jsonl", "--task", "desk")

    assert shown.last_line == "Next: freehold dataset build desk"
    audit = terminal.run("audit", "--json").record["tasks"][0]
    assert (audit["calls"], audit["labelled_rows"]) == (24, 0)


def test_rows_of_a_declared_test_set_are_tested_on_and_copies_of_them_do_not_train(
    terminal: Terminal, desk: type[Desk]
) -> None:
    held_out = desk.rows(30, seed=2)
    desk.write(terminal.folder / "train.jsonl", [*desk.rows(40, seed=1), *held_out], without=["id"])
    desk.write(terminal.folder / "test.jsonl", held_out, without=["id"])
    terminal.run("import", "train.jsonl", "--task", "desk")
    terminal.golden("import-test", "import", "test.jsonl", "--task", "desk", "--split", "test")

    record = terminal.json("dataset-build", "dataset", "build", "desk")

    assert record["rows"] == {"train": 36, "validation": 4, "test": 30}
    assert record["excluded"] == [{"reason": "leak", "rows": 30}]


def test_the_kind_of_a_task_can_be_given_until_a_dataset_settles_it(terminal: Terminal, desk: type[Desk]) -> None:
    log = desk.write(terminal.folder / "log.jsonl", desk.rows(60, seed=1))

    assert terminal.run("import", log, "--task", "free", "--kind", "text", "--json").record["kinds"] == {
        "free": "other"
    }
    again = terminal.run("import", log, "--task", "free", "--json")
    assert again.record["kinds"] == {"free": "other"}  # what a person has said stays
    again = terminal.run("import", log, "--task", "free", "--kind", "classification", "--json")
    assert again.record["kinds"] == {"free": "classification"}
    assert terminal.run("dataset", "build", "free").code == 0
    clash = terminal.run("import", log, "--task", "free", "--kind", "text")

    assert clash.code == 2
    assert clash.error.startswith("Task 'free' has datasets as classification and cannot become text.")


def test_answers_outside_a_settled_task_are_warned_of_and_left_out(terminal: Terminal, desk: type[Desk]) -> None:
    desk.write(terminal.folder / "log.jsonl", desk.rows(60, seed=1))
    many = [{"input": f"question {number}", "output": f"label {number}"} for number in range(320)]
    (terminal.folder / "many.jsonl").write_text("".join(json.dumps(row) + "\n" for row in many))
    terminal.run("import", "log.jsonl", "--task", "free")
    terminal.run("dataset", "build", "free")

    record = terminal.run("import", "many.jsonl", "--task", "free", "--json").record

    assert record["imported"] == 320
    assert "are no label set" in record["warnings"][0]
    assert record["kinds"] == {"free": "classification"}


def test_corrections_that_come_later_replace_labels_learnt_from_the_rented_model(terminal: Terminal) -> None:
    calls = [{"id": f"c{n}", "input": f"text {n}", "model_output": f"maybe {n % 2}"} for n in range(8)]
    fixes = [{"call_id": f"c{n}", "output": ("blue", "red")[n % 2]} for n in range(8)]
    for name, rows in (("calls.jsonl", calls), ("fixes.jsonl", fixes)):
        (terminal.folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    terminal.run("import", "calls.jsonl", "--task", "colour")
    terminal.run("import", "fixes.jsonl")

    with closing(sqlite3.connect(terminal.folder / ".freehold" / "state.db")) as state:
        (labels,) = state.execute("select labels from tasks").fetchone()
    assert json.loads(labels) == ["blue", "red"]


@pytest.mark.parametrize("name", ["a/b", ".", "..", " ", "a\nb", "x" * 101])
def test_a_task_name_that_cannot_name_a_file_is_refused_at_the_door(
    terminal: Terminal, desk: type[Desk], name: str
) -> None:
    desk.write(terminal.folder / "log.jsonl", desk.rows(3, seed=1))
    shown = terminal.run("import", "log.jsonl", "--task", name)
    assert shown.code == 2
    assert "--task: the name" in shown.err


def test_audit_tells_volume_tokens_cost_and_latency_of_each_task(imported: Terminal) -> None:
    imported.golden("audit", "audit", "--as-of", "2026-11-01")
    record = imported.json("audit", "audit", "--as-of", "2026-11-01")

    (task,) = record["tasks"]
    # 150 logged calls, each with 4 output tokens; the 60 of the test set are no traffic.
    assert (task["task"], task["calls"], task["tokens"]["output"]) == ("desk", 150, 600)
    assert (task["models"], task["held_out_calls"]) == ({"gpt-5.4": 150}, 60)
    assert task["cost_usd"] > 0


def test_where_only_test_cases_were_rented_they_stand_for_the_traffic_and_that_is_said(
    terminal: Terminal, desk: type[Desk]
) -> None:
    labelled = ["model_output", "model", "provider", "input_tokens", "output_tokens", "duration_ms"]
    desk.write(terminal.folder / "log.jsonl", desk.rows(40, seed=1), without=labelled)
    desk.write(terminal.folder / "test.jsonl", desk.rows(30, seed=2))
    terminal.run("import", "log.jsonl", "--task", "desk")
    terminal.run("import", "test.jsonl", "--task", "desk", "--split", "test")

    assert "Not counted as rented traffic: 30 held-out test cases, 40 labelled rows" in terminal.run("audit").out
    record = terminal.run("breakeven", "desk", "--json").record

    assert {each["name"]: each["value"] for each in record["assumptions"]}["held_out_calls"] == 30
    assert record["inputs"]["rent"]["model"] == "gpt-5.4"


def test_an_export_of_the_ledger_is_imported_into_another_workspace(imported: Terminal, desk: type[Desk]) -> None:
    for form in ("jsonl", "parquet"):
        imported.run("ledger", "export", "--format", form, "--out", f"calls.{form}")
        record = imported.run("import", f"calls.{form}", "--json").record
        assert (record["imported"], record["duplicates"], record["formats"]) == (0, 210, {"ledger": 1})
    imported.run("init", "inner")
    imported.folder.joinpath("calls.parquet").rename(imported.folder / "inner" / "calls.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(imported.folder / "inner")
        imported.golden("import-export", "import", "calls.parquet")
        desk.write(Path("log.jsonl"), desk.rows(150, seed=1))
        again = imported.run("import", "log.jsonl", "--task", "desk", "--json").record
        assert (again["imported"], again["duplicates"], again["human_words"]) == (0, 150, 150)


def test_an_import_says_how_sure_the_kind_of_each_task_is(terminal: Terminal, desk: type[Desk]) -> None:
    rows = [*desk.rows(30, seed=1), {"input": "x", "output": "rare"}]
    log = desk.write(terminal.folder / "log.jsonl", rows)
    record = terminal.run("import", log, "--task", "desk", "--json").record
    assert record["kind_confidence"]["desk"] == pytest.approx(31 / 33)
    assert terminal.run("import", log, "--task", "desk", "--kind", "text", "--json").record["kind_confidence"] == {
        "desk": None
    }


def test_breakeven_of_typed_in_volumes_needs_no_workspace(nowhere: Terminal) -> None:
    nowhere.golden("breakeven-typed-in", *TYPED_IN.split())
    record = nowhere.json("breakeven", *TYPED_IN.split())

    assert record["schema"] == "freehold.breakeven/1"
    assert record["queries_per_month"] == 100_000
    rent = next(option for option in record["options"] if option["name"] == "rent")
    assert rent["usd_per_month"]["p5"] < rent["usd_per_month"]["p50"] < rent["usd_per_month"]["p95"]


def test_breakeven_of_a_task_takes_volume_and_tokens_from_its_log(imported: Terminal) -> None:
    shown = imported.golden("breakeven-task", "breakeven", "desk")

    assert shown.last_line == "Next: freehold dataset build desk"


def test_breakeven_of_rows_without_tokens_estimates_them_and_says_so(terminal: Terminal, desk: type[Desk]) -> None:
    log = desk.write(terminal.folder / "log.jsonl", desk.rows(24, seed=1), without=["input_tokens", "model_output"])
    terminal.run("import", log, "--task", "desk")

    record = terminal.run(
        "breakeven", "desk", "--queries-per-month", "5000", "--rent", "openai/gpt-5.4", "--json"
    ).record

    assumed = {each["name"]: each["value"] for each in record["assumptions"]}
    assert assumed["characters_per_token"] == 4.0
    assert record["queries_per_month"] == 5000


def test_datasets_are_built_shown_listed_and_exported(imported: Terminal) -> None:
    imported.golden("dataset-build", "dataset", "build", "desk")
    built = imported.run("dataset", "build", "desk", "--json").record
    shown = imported.json("dataset-show", "dataset", "show", built["dataset"])
    listed = imported.json("dataset-list", "dataset", "list")
    imported.golden("dataset-list", "dataset", "list")
    imported.golden("dataset-export", "dataset", "export", "desk", "train.jsonl")
    exported = imported.json("dataset-export", "dataset", "export", "desk", "test.jsonl", "--split", "test")

    assert {name: value for name, value in shown.items() if name not in {"samples", "review"}} == built
    assert [len(rows) for rows in shown["samples"].values()] == [2, 2, 2]
    assert listed["datasets"] == [built["dataset"]]
    assert exported["rows"] == built["rows"]["test"] == 60
    first = json.loads((imported.folder / "test.jsonl").read_text().splitlines()[0])
    assert [message["role"] for message in first["messages"]] == ["system", "user", "assistant"]


def test_two_versions_of_a_dataset_are_compared(imported: Terminal) -> None:
    first = imported.run("dataset", "build", "desk", "--json").record
    second = imported.run("dataset", "build", "desk", "--test-share", "0.3", "--json").record
    diff = imported.json("dataset-diff", "dataset", "diff", first["dataset"], "desk")

    assert (diff["old"], diff["new"]) == (first["dataset"], second["dataset"])
    assert diff["settings"] == [{"name": "policy.test_share", "old": 0.25, "new": 0.3}]
    assert diff["rows"]["test"] == {"old": first["rows"]["test"], "new": second["rows"]["test"]}
    assert imported.run("dataset", "diff", first["dataset"], "nothing").code == 2


def test_a_dataset_is_shown_as_a_page_with_pictures(imported: Terminal) -> None:
    imported.run("dataset", "build", "desk")
    shown = imported.run("dataset", "show", "desk", "--html", "page.html", "--samples", "1")
    page = (imported.folder / "page.html").read_text(encoding="utf-8")

    assert "Page: page.html" in shown.out
    assert page.count("<svg") >= 2
    assert "<script" not in page
    assert imported.run("dataset", "show", "desk", "--html", "absent/page.html").code == 2


def test_a_dataset_is_built_from_a_file_alone_and_exported_to_be_one(terminal: Terminal) -> None:
    words = ("parcel", "refund", "invoice", "password", "address", "colour", "garden", "window", "engine", "bottle")
    rows = [
        {"question": f"{one} {other} is not what I asked you for", "category": "late" if one < other else "wrong"}
        for one in words
        for other in words
        if one != other
    ]
    (terminal.folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    unnamed = terminal.run("dataset", "build", "mail", "--from", "rows.jsonl")
    assert unnamed.code == 2
    assert "rows.jsonl: not one row can be used" in unnamed.error
    assert "its fields are 'category', 'question'" in unnamed.error

    options = ("--columns", "question,category", "--terms", "cc-by-4.0")
    built = terminal.run("dataset", "build", "mail", "--from", "rows.jsonl", *options, "--json").record
    assert built["terms"]["train"] == {"cc-by-4.0": built["rows"]["train"]}
    assert built["sources"] == {"rows.jsonl": 90}
    for form in ("openai", "sharegpt", "alpaca", "trl"):
        terminal.run("dataset", "export", "mail", f"{form}.jsonl", "--format", form)
        again = terminal.run("dataset", "build", f"mail-{form}", "--from", f"{form}.jsonl", "--json").record
        assert sum(again["rows"].values()) == built["rows"]["train"]
        assert set(again["classes"]["train"]) == {"late", "wrong"}


def test_the_command_offers_every_format_that_can_be_written() -> None:
    from freehold.cli.dataset_command import FORMATS as OFFERED
    from freehold.datasets.export import FORMATS

    assert OFFERED == FORMATS


def test_options_about_files_want_a_file(terminal: Terminal) -> None:
    assert terminal.run("dataset", "build", "mail", "--by-model").code == 2
    assert terminal.run("dataset", "build", "mail", "--columns", "one").code == 2


def test_an_empty_workspace_lists_no_dataset(terminal: Terminal) -> None:
    assert terminal.run("dataset", "list").out == "No dataset yet.\n"
