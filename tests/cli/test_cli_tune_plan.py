"""`freehold tune --dry-run`, and what a run says of its own forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Desk, Terminal

STATED = ("--dry-run", "--rows", "20000", "--row-tokens", "1000")


def test_a_plan_on_stated_rows_needs_no_workspace(nowhere: Terminal) -> None:
    words = ("tune", "any", "--recipe", "llama-3.1-8b-qlora-1xh100", *STATED, "--as-of", "2026-06-15")
    record = nowhere.json("tune-plan", *words)
    assert record["schema"] == "freehold.tuneplan/1"
    assert record["fits"] is True
    assert 2 <= record["hours"] <= 8
    assert 4 <= record["usd"] <= 28
    assert record["price"]["as_of"] == "2026-05-20"
    nowhere.golden("tune-plan", *words)


def test_a_plan_that_does_not_fit_says_what_would(nowhere: Terminal) -> None:
    words = ("tune", "any", "method=full", "--recipe", "llama-3.1-70b-qlora-8xa100", *STATED, "--as-of", "2026-11-20")
    nowhere.golden("tune-plan-too-large", *words)
    record = nowhere.run(*words, "--json").record
    assert record["fits"] is False
    assert record["suggestion"].startswith("devices.count=")


def test_a_dry_run_on_a_dataset_measures_this_machine_and_leaves_no_model(
    imported: Terminal, tiny_folder: Path, desk: type[Desk]
) -> None:
    (imported.folder / "tiny").symlink_to(tiny_folder)
    record = imported.run("tune", "desk", *desk.tiny, "--dry-run", "--json").record
    assert record["hours_source"].startswith("calibration of ")
    assert record["row_tokens_source"] == "tokenizer"
    assert record["hours"] > 0
    assert record["usd"] > 0
    assert record["fits"] is True
    assert imported.run("models", "list", "--json").record["models"] == []
    # a real run is held to that, and the next plan to the run
    ran = imported.run("tune", "desk", *desk.tiny, "--json")
    assert ran.record["forecast"]["source"].startswith("calibration of ")
    assert ran.record["actual"]["ratio"]["seconds"] > 0
    assert "Foreseen: " in ran.err
    again = imported.run("tune", "desk", *desk.tiny, "--dry-run", "--json").record
    assert again["hours_source"].startswith("an earlier run on this machine")


def test_a_run_that_nobody_planned_is_foreseen_from_its_first_steps(tuned: Terminal, desk: type[Desk]) -> None:
    record = tuned.run("tune", "desk", *desk.tiny, "--json").record
    assert record["forecast"]["source"].startswith("the first ")
    assert record["actual"]["memory_gib"] > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--rows", "5", "--row-tokens", "5"), "Add --dry-run, or leave them out."),
        (("--dry-run", "--rows", "5"), "--rows and --row-tokens stand together"),
        (("--dry-run", "--rows", "5", "--row-tokens", "5", "--dataset", "x"), "in place of --dataset"),
        (("--dry-run", "--rows", "5", "--row-tokens", "5"), "Name a GPU, such as devices.hardware=h100"),
        (("--dry-run", "devices.hardware=h1000", "--rows", "5", "--row-tokens", "5"), "h1000"),
        (("--recipe", "qwen3-8b", "base=no/such", *STATED), "Or name a folder with the base's config.json"),
        (("--recipe", "qwen3-8b", "devices.type=mps", "method=qlora", *STATED), "4-bit weights need cuda or cpu"),
    ],
)
def test_a_plan_that_cannot_be_made_is_told(nowhere: Terminal, words: tuple[str, ...], message: str) -> None:
    shown = nowhere.run("tune", "any", *words)
    assert shown.code == 2
    assert message in shown.error
