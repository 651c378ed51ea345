from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from freehold.cli.session import open_session
from freehold.state.schema import AUDIT_TRAIL, METADATA
from freehold.tasks.learned import LearnedRule
from freehold.tasks.store import keep_rules
from tests.cli.conftest import desk_rows

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Shown, Terminal


def _done(shown: Shown) -> dict[str, Any]:
    assert shown.code == 0, shown.err
    return shown.record


def _log(folder: Path) -> None:
    """One task; one of its labels was given on the first day alone."""
    rows = []
    for number in range(60):
        is_early = number % 6 == 0
        day = "2026-11-01" if is_early else f"2026-11-{10 + number % 9}"
        system = "Xylophone corporation: decide what the customer wants from the kazoo desk."
        answer = "marimba" if is_early else ("ocarina", "bassoon")[number % 2]
        rows.append(
            {
                "id": f"a{number}", "task": "first",  "input": [
                    {"role": "system", "content": system}, {"role": "user", "content": f"question {number % 7}"}
                ], "model_output": answer, "model": "gpt-5.4", "started_at": f"{day}T10:00:00Z",
            }
        )  # fmt: skip
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _standing_in(folder: Path, *words: str) -> list[str]:
    with open_session(folder).state.connect() as connection:
        rows = [
            str(row).casefold() for table in METADATA.sorted_tables if table is not AUDIT_TRAIL
            for row in connection.execute(select(table))
        ]  # fmt: skip
    files = [path for path in (folder / ".freehold").rglob("*") if path.is_file()]
    held = b"".join(path.read_bytes() for path in files if not path.name.endswith(".parquet")).lower()
    return [word for word in words if word.encode() in held or any(word in row for row in rows)]


def test_of_a_task_that_is_purged_no_template_label_or_definition_stays(terminal: Terminal) -> None:
    _log(terminal.folder)
    assert terminal.run("import", "log.jsonl").code == 0
    rule = LearnedRule("first", "system", {"anchors": ["xylophone corporation: decide"], "longest": None})
    words = LearnedRule("other", "words", {"weights": {"kazoo": -1.0}, "floor": -3.0, "margin": 0.1})
    mine = LearnedRule("first", "words", {"weights": {"question": -1.0}, "floor": -3.0, "margin": 0.1})
    with open_session(terminal.folder).state.begin() as connection:
        keep_rules(connection, [rule, words, mine])
    said = ("xylophone", "ocarina", "bassoon", "marimba", "kazoo")
    assert _standing_in(terminal.folder, *said) == list(said)

    record = _done(terminal.run("purge", "--task", "first", "--yes", "--json"))

    assert record["forgotten"] == {"rules": 3, "labels": 3, "tasks": 1, "definitions_left": []}
    assert _standing_in(terminal.folder, *said) == []


def test_what_purged_calls_alone_have_shown_of_a_task_goes_with_them(terminal: Terminal) -> None:
    _log(terminal.folder)
    assert terminal.run("import", "log.jsonl").code == 0
    stays = LearnedRule("first", "system", {"anchors": ["xylophone corporation: decide"], "longest": None})
    goes = LearnedRule("first", "system", {"anchors": ["the harpsichord of ann is"], "longest": None})
    words = LearnedRule("first", "words", {"weights": {"question": -1.0, "tuba": -2.0}, "floor": -3.0, "margin": 0.1})
    with open_session(terminal.folder).state.begin() as connection:
        keep_rules(connection, [stays, goes, words])

    record = _done(terminal.run("purge", "--before", "2026-11-05", "--yes", "--json"))

    assert record["forgotten"] == {"rules": 1, "labels": 1, "tasks": 0, "definitions_left": []}
    assert _standing_in(terminal.folder, "marimba", "harpsichord", "tuba") == []
    assert _standing_in(terminal.folder, "ocarina", "xylophone", "question") == ["ocarina", "xylophone", "question"]


def test_labels_stay_with_the_dataset_that_was_made_by_them_and_it_is_said(terminal: Terminal) -> None:
    rows = "".join(json.dumps(row) + "\n" for row in desk_rows(90, seed=5))
    (terminal.folder / "desk.jsonl").write_text(rows, encoding="utf-8")
    assert terminal.run("import", "desk.jsonl", "--task", "desk").code == 0
    assert terminal.run("dataset", "build", "desk").code == 0
    record = _done(terminal.run("purge", "--task", "desk", "--yes", "--json"))
    assert record["forgotten"]["definitions_left"] == ["desk"]
    assert terminal.run("tasks", "show", "desk").code == 0
