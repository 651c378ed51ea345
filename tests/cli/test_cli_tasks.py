"""`freehold tasks` from import to undo, on a log that names no task."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Terminal

SPAM = "Is this text message spam? Reply spam or ham, and nothing else at all."
ORDER = "Read the order of the customer. Return JSON with customer, item, quantity and day."


def write_log(path: Path, *, rows: int = 30, month: str = "09", name: str = "Ann") -> str:
    lines = []
    for number in range(rows):
        lines.append((f"Hello {name}{number}. {SPAM}", f"Win {number} prizes now", "spam" if number % 3 else "ham"))
        order = {"customer": f"C{number}", "item": "chair", "quantity": number, "day": "Monday"}
        lines.append((ORDER, f"Customer C{number} wants {number} chairs", json.dumps(order)))
    path.write_text(
        "".join(
            json.dumps(
                {
                    "id": f"{month}-{number}",
                    "started_at": f"2026-{month}-01T10:00:{number % 60:02d}Z",
                    "model": "gpt-5-mini",
                    "input": [{"role": "system", "content": system}, {"role": "user", "content": asked}],
                    "model_output": answer,
                }
            )
            + "\n"
            for number, (system, asked, answer) in enumerate(lines)
        )
    )
    return path.name


@pytest.fixture
def found(terminal: Terminal) -> Terminal:
    terminal.run("import", write_log(terminal.folder / "log.jsonl"), "--quiet")
    return terminal


def tasks_of(terminal: Terminal) -> dict[str, int]:
    record = terminal.run("tasks", "list", "--json").record
    return {task["task"]: task["calls"] for task in record["tasks"]}


def test_a_log_that_names_no_task_has_its_tasks_found_and_next_month_comes_home(found: Terminal) -> None:
    assert tasks_of(found) == {"extract-customer-day-item-quantity": 30, "screen-ham-spam": 30}

    later = write_log(found.folder / "october.jsonl", month="10", name="Zoë")
    record = found.run("import", later, "--json", "--quiet").record

    assert record["discovered"] is None  # the rules of September knew every call
    assert record["tasks"] == {"extract-customer-day-item-quantity": 30, "screen-ham-spam": 30}
    assert tasks_of(found) == {"extract-customer-day-item-quantity": 60, "screen-ham-spam": 60}


def test_a_task_is_shown_with_the_pieces_by_which_it_is_known(found: Terminal) -> None:
    record = found.run("tasks", "show", "screen-ham-spam", "--json").record
    assert (record["kind"], record["labels"], record["held_to"]) == ("screening", ["ham", "spam"], "classification")
    pieces = [piece for rule in record["learned_rules"] for piece in rule.get("anchors", [])]
    assert any("is this text message spam?" in piece for piece in pieces)
    assert not any("ann" in piece for piece in pieces)


def test_a_rename_is_taken_back_by_the_command_that_it_prints(found: Terminal) -> None:
    record = found.run("tasks", "rename", "screen-ham-spam", "spam", "--json").record
    assert record["carried"]["calls"] == 30
    assert set(tasks_of(found)) == {"extract-customer-day-item-quantity", "spam"}
    assert found.run("tasks", "show", "spam", "--json").record["former_names"] == ["screen-ham-spam"]

    assert found.run(*record["undo"].split()[1:]).code == 0
    assert set(tasks_of(found)) == {"extract-customer-day-item-quantity", "screen-ham-spam"}


def test_a_merge_is_taken_back_by_the_command_that_it_prints(found: Terminal) -> None:
    before = tasks_of(found)
    record = found.run("tasks", "merge", "screen-ham-spam", "extract-customer-day-item-quantity", "--json").record
    assert tasks_of(found) == {"extract-customer-day-item-quantity": 60}

    assert found.run(*record["undo"].split()[1:]).code == 0
    assert tasks_of(found) == before


def test_a_task_is_parted_by_kind_or_by_what_calls_contain(found: Terminal) -> None:
    found.run("tasks", "merge", "screen-ham-spam", "extract-customer-day-item-quantity")
    whole = {"extract-customer-day-item-quantity": 60}

    planned = found.run("tasks", "split", "extract-customer-day-item-quantity", "--dry-run", "--json").record
    assert sorted(part["calls"] for part in planned["parts"]) == [30, 30]
    assert tasks_of(found) == whole

    arguments = ("--containing", "TEXT  message spam", "--into", "sms")
    parted = found.run("tasks", "split", "extract-customer-day-item-quantity", *arguments, "--json").record
    assert {part["task"]: part["calls"] for part in parted["parts"]} == {
        "extract-customer-day-item-quantity": 30,
        "sms": 30,
    }
    assert tasks_of(found) == {"extract-customer-day-item-quantity": 30, "sms": 30}


def test_a_kind_that_was_set_stays(found: Terminal) -> None:
    assert found.run("tasks", "set", "screen-ham-spam", "--kind", "classification").code == 0
    found.run("import", write_log(found.folder / "more.jsonl", month="11"), "--quiet")
    record = found.run("tasks", "show", "screen-ham-spam", "--json").record
    assert (record["kind"], record["kind_confidence"], record["kind_is_set"]) == ("classification", None, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "screen-ham-spm"), "There is no task 'screen-ham-spm'. Did you mean 'screen-ham-spam'?"),
        (
            ("rename", "nope", "x"),
            "There is no task 'nope'. Known: extract-customer-day-item-quantity, screen-ham-spam.",
        ),
        (("merge", "screen-ham-spam"), "Name at least two tasks"),
        (("merge", "screen-ham-spam", "screen-ham-spam"), "cannot be merged with itself"),
        (("split", "screen-ham-spam", "--into", "x"), "--containing and --into go together"),
        (("split", "screen-ham-spam", "--containing", " ", "--into", "x"), "--containing is blank"),
        (("split", "screen-ham-spam", "--containing", "a", "--into", "a/b"), "holds '/'"),
        (("split", "screen-ham-spam", "--containing", "no such words", "--into", "x"), "No call of the task"),
        (("split", "screen-ham-spam", "--containing", "a", "--into", "unassigned"), "is reserved"),
        (("rename", "screen-ham-spam", "unassigned"), "is reserved"),
        (("split", "screen-ham-spam", "--calls", "log.jsonl"), "is no Parquet file with the columns id and task"),
        (("set", "screen-ham-spam", "--kind", "extraction"), "no answer is a JSON object"),
    ],
)
def test_what_cannot_be_done_says_why_and_changes_nothing(
    found: Terminal, arguments: tuple[str, ...], message: str
) -> None:
    before = tasks_of(found)
    result = found.run("tasks", *arguments)
    assert result.code == 2
    assert message in " ".join(result.error.split())
    assert tasks_of(found) == before
