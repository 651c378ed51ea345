"""`freehold import` of a folder with the logs of every tool, and what the ledger says of them afterwards."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from freehold.core.spoken import answered, asked
from freehold.ledger.store import Ledger

if TYPE_CHECKING:
    from freehold.core.call import Call
    from tests.cli.conftest import Desk, Terminal

LOGS = Path(__file__).parent.parent / "ledger" / "logs" / "fixtures" / "synthetic"


def _calls(terminal: Terminal) -> list[Call]:
    return list(Ledger(terminal.folder / ".freehold" / "events" / "calls").read())


def test_a_folder_with_logs_of_every_tool_is_imported_and_each_row_accounted_for(terminal: Terminal) -> None:
    record = terminal.run("import", LOGS, "--json").record
    calls = _calls(terminal)

    formats = {Path(entry["file"]).relative_to(LOGS).as_posix(): entry["format"] for entry in record["recognised"]}
    assert len(formats) == sum(path.is_file() for path in LOGS.rglob("*"))
    assert formats["langfuse/trace.json"] == "langfuse-traces"
    assert record["rejected"] == []
    assert record["volumes"] == 7
    scores = 2  # corrections that stand in a file of their own
    assert record["imported"] == len(calls) + record["volumes"] + scores == 85
    assert record["truncated"] == sum(call.truncated is True for call in calls) == 6
    assert record["corrections"] == {"corrected": 4, "accepted": 0, "labelled": 5}
    assert record["skipped_by_reason"]["answered from LiteLLM's own cache: no model was called"] == 2
    assert record["skipped_by_reason"]["span of a call that another span of its trace tells of too"] == 1
    assert record["skipped_by_reason"]["question of a batch whose answer is in no file of this import"] == 1
    assert record["tasks"]["tickets-nightly"] == sum(call.task == "tickets-nightly" for call in calls) == 4


def test_the_same_folder_again_adds_nothing(terminal: Terminal) -> None:
    first = terminal.run("import", LOGS, "--json").record
    again = terminal.run("import", LOGS, "--json").record

    assert (again["imported"], again["human_words"], again["volumes"]) == (0, 0, 0)
    assert again["duplicates"] == first["imported"] + first["duplicates"]


@pytest.mark.parametrize("tool", sorted(path.name for path in LOGS.iterdir()))
def test_the_logs_of_one_tool_give_the_same_calls_alone_as_among_others(terminal: Terminal, tool: str) -> None:
    terminal.run("import", LOGS / tool)
    alone = {
        call.id: replace(call, task="") for call in _calls(terminal)
    }  # one without a key may be found a task later
    terminal.run("import", LOGS)
    together = {call.id: replace(call, task="") for call in _calls(terminal)}

    assert alone
    assert {identifier: together[identifier] for identifier in alone} == alone


def test_questions_and_answers_that_lie_apart_are_put_together(terminal: Terminal) -> None:
    terminal.run("import", LOGS / "openai")
    by_completion = {call.completion_id: call for call in _calls(terminal)}

    for completion, question in (
        ("chatcmpl-S0", "My parcel has not come."),
        ("chatcmpl-S11", "I want my money back."),
        ("chatcmpl-S21", "Where is order 7?"),
    ):
        assert asked(by_completion[completion].request)[1].content == question
    assert by_completion["chatcmpl-S21"].service_tier == "batch"


def test_no_name_of_an_end_user_reaches_the_columns(terminal: Terminal) -> None:
    terminal.run("import", LOGS)
    subjects = {call.subject for call in _calls(terminal)} - {None}

    assert len(subjects) == 5
    assert all(subject is not None and len(subject) == 32 for subject in subjects)


def test_a_training_file_becomes_a_dataset_and_its_export_comes_back(terminal: Terminal, desk: type[Desk]) -> None:
    rows = desk.rows(90, seed=5)
    lines = [
        {"messages": [{"role": "user", "content": row["input"]}, {"role": "assistant", "content": row["output"]}]}
        for row in rows
    ]
    file = desk.write(terminal.folder / "sft.jsonl", lines)
    record = terminal.run("import", file, "--task", "topics", "--json").record
    assert (record["imported"], record["corrections"]["labelled"]) == (90, 90)

    built = terminal.run("dataset", "build", "topics", "--json").record
    assert sum(built["rows"].values()) == 90
    exported = terminal.folder / "export.jsonl"
    assert terminal.run("dataset", "export", "topics", exported, "--split", "train").code == 0

    back = terminal.run("import", exported, "--task", "again", "--json").record
    assert back["formats"] == {"openai-fine-tuning": 1}
    assert back["imported"] == back["corrections"]["labelled"] == built["rows"]["train"]


def test_a_call_whose_body_was_cut_is_counted_and_not_trained_on(terminal: Terminal) -> None:
    terminal.run("import", LOGS / "litellm", "--task", "mixed")
    cut = [call for call in _calls(terminal) if call.truncated]

    assert [answered(call.response) for call in cut] == ["delivery"]
    assert cut[0].input_tokens == 60


def test_a_log_that_ends_in_the_middle_of_a_row_keeps_what_was_whole(terminal: Terminal) -> None:
    whole = (LOGS / "helicone" / "requests.jsonl").read_bytes()
    half = terminal.folder / "half.jsonl"
    half.write_bytes(whole[: len(whole) * 2 // 3])
    record = terminal.run("import", half, "--json").record

    assert [row["line"] for row in record["rejected"]] == [record["recognised"][0]["rows"]]
    assert record["imported"] > 0


def test_a_comma_after_the_last_row_does_no_harm(terminal: Terminal) -> None:
    record = terminal.run("import", LOGS / "helicone" / "export.json", "--json").record

    assert (record["imported"], record["rejected"]) == (2, [])


def test_json_in_another_tools_words_is_refused_with_what_is_known(terminal: Terminal) -> None:
    stranger = terminal.folder / "stranger.jsonl"
    stranger.write_text(json.dumps({"prompt_text": "x", "answer_text": "y"}) + "\n")
    shown = terminal.run("import", stranger)

    assert shown.code == 2
    assert "This file has 'answer_text', 'prompt_text'. Nearest: " in shown.err
    assert "docs/reference/logs.md has every format" in shown.err


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_what_other_tools_logged_comes_back_whole_out_of_our_own_export(terminal: Terminal, form: str) -> None:
    terminal.run("import", LOGS)
    before = {call.id: call for call in _calls(terminal)}
    terminal.run("ledger", "export", "--format", form, "--out", f"calls.{form}")
    terminal.run("init", "inner")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(terminal.folder / "inner")
        record = terminal.run("import", f"../calls.{form}", "--json").record
    ledger = Ledger(terminal.folder / "inner" / ".freehold" / "events" / "calls")

    assert (record["formats"], record["imported"], record["rejected"]) == ({"ledger": 1}, len(before), [])
    assert {call.id: call for call in ledger.read()} == before
