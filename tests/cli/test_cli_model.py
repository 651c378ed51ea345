"""Commands that need a model: tune, evaluate, decide, models; on a tiny random one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Desk, Terminal

CONTENDER_KINDS = {"own", "rented", "rent-tuned", "hosted-open", "base", "baseline"}
LARGE, SMALL = "2e9", "1000"


def test_tune_registers_a_model_and_repeated_gives_the_same_one(tuned: Terminal, desk: type[Desk]) -> None:
    tuned.golden("tune", "tune", "desk", *desk.tiny)
    record = tuned.json("tune", "tune", "desk", *desk.tiny)

    assert record["model"].startswith("desk-")
    assert record["examples"] == 135
    assert record["seconds"] > 0
    assert record["cpu_seconds"] > 0
    assert record["final_loss"] > 0
    assert [each["id"] for each in tuned.run("models", "list", "--json").record["models"]] == [record["model"]]


def test_models_are_listed_shown_and_promoted(tuned: Terminal) -> None:
    tuned.golden("models-list", "models", "list")
    listed = tuned.json("models-list", "models", "list")
    shown = tuned.json("models-show", "models", "show", "desk")

    assert [base["name"] for base in listed["bases"]] == ["smollm2-135m"]
    (model,) = listed["models"]
    assert (model["aliases"], model["task"], model["base"]) == (["champion"], "desk", "tiny")
    assert shown["id"] == model["id"]
    assert shown["files_verified"] is True

    promote = ("models", "promote", model["id"], "--alias", "challenger", "--reason", "a second look")
    tuned.golden("models-promote", *promote)
    assert tuned.json("models-promote", *promote)["aliases"] == ["challenger", "champion"]
    assert tuned.run("models", "show", "desk@challenger", "--json").record["id"] == model["id"]


def test_a_model_whose_weights_were_changed_is_not_shown_promoted_or_evaluated(tuned: Terminal) -> None:
    (weights,) = tuned.folder.glob(".freehold/models/*/adapter_model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00\x01")

    for arguments in (
        ("models", "show", "desk"),
        ("models", "promote", "desk", "--reason", "good"),
        ("evaluate", "desk"),
    ):
        shown = tuned.run(*arguments)
        assert shown.code == 1
        assert "adapter_model.safetensors" in shown.error


def test_a_promotion_wants_a_reason(tuned: Terminal) -> None:
    shown = tuned.run("models", "promote", "desk", "--reason", "  ")

    assert shown.code == 2
    assert shown.last_line == "Error: --reason is empty; say why, for those who read the audit trail."


def test_a_model_and_a_dataset_of_another_task_are_refused(tuned: Terminal, desk: type[Desk]) -> None:
    desk.write(tuned.folder / "other.jsonl", desk.rows(60, seed=7))
    tuned.run("import", "other.jsonl", "--task", "other")
    tuned.run("dataset", "build", "other")

    tuned_on_desk = tuned.run("tune", "other", "--dataset", "desk", *desk.tiny)
    assert tuned_on_desk.code == 2
    assert "'desk'" in tuned_on_desk.error

    evaluated = tuned.run("evaluate", "other", "--model", "desk")
    assert evaluated.code == 2


def test_evaluate_puts_all_contenders_on_the_same_cases(tuned: Terminal) -> None:
    tuned.golden("evaluate", "evaluate", "desk")
    record = tuned.json("evaluate", "evaluate", "desk", "--no-base")

    assert (record["task"], record["metric"], record["n"]) == ("desk", "accuracy", 60)
    kinds = [contender["kind"] for contender in record["contenders"]]
    assert set(kinds) <= CONTENDER_KINDS
    assert sorted(kinds) == ["baseline", "baseline", "own", "rented"]
    for contender in record["contenders"]:
        assert contender["name"]
        assert 0 <= contender["ci_low"] <= contender["value"] <= contender["ci_high"] <= 1
    rented = next(each for each in record["contenders"] if each["kind"] == "rented")
    assert rented["value"] == pytest.approx(54 / 60)  # it errs on every tenth
    for comparison in record["comparisons"]:
        assert {"candidate", "against", "non_inferior"} <= set(comparison)
        assert comparison["ci_low"] <= comparison["difference"] <= comparison["ci_high"]
        assert comparison["margin"] == 0.02


def test_recorded_answers_of_a_further_model_take_part(tuned: Terminal, desk: type[Desk]) -> None:
    held_out = desk.rows(60, seed=2)
    answers = [{"call_id": row["id"], "output": row["output"], "model": "few-shot"} for row in held_out]
    desk.write(tuned.folder / "answers.jsonl", answers)

    record = tuned.run("evaluate", "desk", "--answers", "base:answers.jsonl", "--json").record

    base = [contender for contender in record["contenders"] if contender["kind"] == "base"]
    assert [(contender["name"], contender["value"]) for contender in base] == [("few-shot", 1.0)]


@pytest.mark.parametrize(
    ("option", "content", "said"),
    [
        ("own:answers.jsonl", "", "must read KIND:FILE with KIND one of base, rent-tuned, hosted-open"),
        ("answers.jsonl", "", "must read KIND:FILE"),
        ("base:missing.jsonl", "", "there is no file 'missing.jsonl'"),
        ("base:answers.jsonl", "{]\n", "answers.jsonl, line 1: not JSON"),
        ("base:answers.jsonl", '{"output": "card"}\n', "line 1: an answer has 'call_id' and 'output'"),
        (
            "base:answers.jsonl",
            '{"call_id": "x", "output": "card"}\n',
            "none of its 1 answers belongs to a case",
        ),
    ],
)
def test_answers_that_cannot_take_part_are_refused(tuned: Terminal, option: str, content: str, said: str) -> None:
    (tuned.folder / "answers.jsonl").write_text(content)

    shown = tuned.run("evaluate", "desk", "--answers", option)

    assert shown.code == 2
    assert said in shown.error


def test_a_small_volume_stays_with_the_rented_model_and_exits_3(tuned: Terminal) -> None:
    shown = tuned.golden("decide", "decide", "desk", "--queries-per-month", SMALL, code=3)
    assert shown.last_line.startswith("Next: freehold decide --verify ")

    record = tuned.json("decide", "decide", "desk", "--queries-per-month", SMALL, code=3)

    assert (record["task"], record["verdict"], record["next_measurement"]) == ("desk", "stay-renting", None)
    assert all(isinstance(reason, str) and reason for reason in record["reasons"])
    assert Path(record["report"]).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_an_own_model_that_is_as_good_pays_at_a_large_volume_and_exits_0(
    evaluated_as_perfect: Callable[..., Terminal],
) -> None:
    record = evaluated_as_perfect().run("decide", "desk", "--queries-per-month", LARGE, "--json")

    assert (record.code, record.record["verdict"]) == (0, "own")


def test_the_same_inputs_give_the_same_verdict_bytes(evaluated_as_perfect: Callable[..., Terminal]) -> None:
    terminal = evaluated_as_perfect()
    file = terminal.run("decide", "desk", "--queries-per-month", LARGE, "--json").record["file"]
    first = [(path.name, path.read_bytes()) for path in sorted(terminal.folder.glob(".freehold/decisions/*"))]

    terminal.run("decide", "desk", "--queries-per-month", LARGE)
    again = [(path.name, path.read_bytes()) for path in sorted(terminal.folder.glob(".freehold/decisions/*"))]

    assert again == first
    assert file in {str(path) for path in terminal.folder.glob(".freehold/decisions/*.json")}


def test_a_verdict_is_verified_and_one_changed_byte_breaks_it(
    evaluated_as_perfect: Callable[..., Terminal],
) -> None:
    terminal = evaluated_as_perfect()
    terminal.run("decide", "desk", "--queries-per-month", SMALL)
    (file,) = terminal.folder.glob(".freehold/decisions/*.json")

    terminal.golden("verify", "decide", "--verify", file)
    record = terminal.json("verify", "decide", "--verify", file)
    assert (record["ok"], record["task"]) == (True, "desk")

    content = file.read_bytes()
    file.write_bytes(content.replace(b'"verdict":"', b'"verdict": "', 1))
    broken = terminal.run("decide", "--verify", file)
    assert broken.code == 2
    assert "Failed: hash" in broken.error


def test_without_rented_answers_the_verdict_is_undecided_and_exits_4(
    imported: Terminal, evaluated_as_perfect: Callable[..., Terminal], desk: type[Desk]
) -> None:
    recorded = ["model_output", "model", "provider", "input_tokens", "output_tokens", "duration_ms"]
    desk.write(imported.folder / "rows.jsonl", desk.rows(60, seed=4), without=recorded)
    desk.write(imported.folder / "test.jsonl", desk.rows(30, seed=5), without=recorded)
    imported.run("import", "rows.jsonl", "--task", "plain")
    imported.run("import", "test.jsonl", "--task", "plain", "--split", "test")
    imported.run("dataset", "build", "plain")
    evaluated_as_perfect("plain")

    shown = imported.run("decide", "plain", "--queries-per-month", "200000", "--json")

    assert shown.code == 4
    record: dict[str, Any] = shown.record  # Any: JSON
    assert (record["verdict"], record["next_measurement"]) == ("undecided", "rented-answers")


def test_what_an_error_costs_enters_the_costs(evaluated_as_perfect: Callable[..., Terminal]) -> None:
    terminal = evaluated_as_perfect()
    shown = terminal.run("decide", "desk", "--queries-per-month", SMALL, "--usd-per-error", "50", "--json")

    values = {each["name"]: each["value"] for each in shown.record["inputs"]["cost"]["assumptions"]}
    assert values["usd_per_error"] == 50
    low, mean, high = values["error_difference"]
    assert mean == pytest.approx(-0.1)  # the rented model errs on every tenth
    assert low < mean < high


def test_exported_chat_rows_come_back_as_what_people_said(tuned: Terminal) -> None:
    tuned.run("dataset", "export", "desk", "chat.jsonl")

    record = tuned.run("import", "chat.jsonl", "--task", "again", "--json").record

    rows = [json.loads(line) for line in (tuned.folder / "chat.jsonl").read_text().splitlines()]
    assert all(row["messages"] for row in rows)
    assert record["formats"] == {"openai-fine-tuning": 1}
    assert (record["imported"], record["corrections"]["labelled"]) == (len(rows), len(rows))
