from __future__ import annotations

import json
import os
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from freehold.economics.claims.words import amount_words
from freehold.report import ledger_text, registry_text, text, tuning_text
from freehold.report._plain import sentence
from freehold.report.audit_text import audit_text
from freehold.report.cost_findings import change_sentences
from freehold.report.dataset_text import dataset_text
from freehold.report.numbers import rate_usd
from freehold.report.visible import columns

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent

CASES: tuple[tuple[str, Callable[[Any], str]], ...] = (
    ("import", text.import_text),
    ("audit", audit_text),
    ("breakeven", text.breakeven_text),
    ("breakeven-all", partial(text.breakeven_text, everything=True)),
    ("dataset", dataset_text),
    ("tune", tuning_text.tune_text),
    ("evaluation", text.evaluation_text),
    ("decision", text.decision_text),
    ("models", registry_text.models_text),
    ("model", registry_text.model_text),
    ("datasets", registry_text.datasets_text),
    ("ledger-stats", ledger_text.ledger_stats_text),
    ("ledger-verify", ledger_text.ledger_verify_text),
    ("ledger-costs", ledger_text.ledger_costs_text),
    ("ledger-repair", ledger_text.ledger_repair_text),
    ("ledger-compact", ledger_text.ledger_compact_text),
    ("ledger-export", ledger_text.ledger_export_text),
    ("demo", text.demo_text),
)


def record(name: str) -> Any:  # Any: JSON
    name = name.removesuffix("-all")
    if name in {"breakeven", "evaluation"}:
        return record("decision")["inputs"][{"breakeven": "cost"}.get(name, name)]
    return json.loads((HERE / "records" / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("name", "render"), CASES)
def test_the_terminal_shows_what_its_golden_file_holds(name: str, render: Callable[[Any], str]) -> None:
    golden = HERE / "golden" / f"{name}.txt"
    shown = render(record(name))
    if os.environ.get("WRITE_GOLDEN"):
        golden.write_text(shown, encoding="utf-8")
    assert shown == golden.read_text(encoding="utf-8"), "after a wanted change: WRITE_GOLDEN=1 pytest tests/report"


@pytest.mark.parametrize(("name", "render"), CASES)
def test_no_line_is_wider_than_100_columns_or_ends_in_a_space(name: str, render: Callable[[Any], str]) -> None:
    for line in render(record(name)).splitlines():
        assert columns(line) <= 100
        assert line == line.rstrip()


@pytest.mark.parametrize(("_name", "render"), CASES)
def test_an_empty_record_is_shown_all_the_same(_name: str, render: Callable[[Any], str]) -> None:
    assert render({}).endswith("\n")


def test_an_empty_workspace_is_told_in_a_sentence() -> None:
    assert ledger_text.ledger_stats_text({"calls": 0, "segments": 0}) == "The ledger is empty.\n"
    assert registry_text.datasets_text({"versions": []}) == "No dataset yet.\n"
    assert registry_text.models_text({}) == "No own model yet.\n"
    assert ledger_text.ledger_costs_text({"days": []}).startswith("No call is recorded.\n")


@pytest.mark.parametrize("name", ["ledger-stats", "ledger-costs", "datasets", "models"])
def test_what_lies_in_a_workspace_fits_into_80_columns(name: str) -> None:
    tables = [line for line in dict(CASES)[name](record(name)).splitlines() if re.match("  [^- ]", line)]
    assert tables
    assert max(map(columns, tables)) <= 80


def test_a_report_path_is_never_broken() -> None:
    path = "/a/" + "very-long/" * 20 + "report.html"
    assert f"Report: {path}\n" in text.decision_text({"report": path})


def test_hostile_words_cannot_move_the_cursor_or_the_columns() -> None:
    evil = "\x1b[2J\u202eevil" + "失" * 10_000
    hostile = record("evaluation")
    hostile["task"] = evil
    for each in hostile["contenders"]:
        each["name"] = each["name"] + evil
    shown = text.evaluation_text(hostile)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert max(columns(line) for line in shown.splitlines() if line.startswith("  ")) <= 100


def test_numbers_are_never_broken_however_long_the_text_beside_them() -> None:
    options = [{"name": "word " * 20, "label": "label " * 20, "usd_per_month": {"p5": 1e6, "p50": 2e6, "p95": 3e6}}]
    assert "$1,000,000 to $3,000,000" in text.breakeven_text({"options": options})


def test_a_label_that_is_too_long_for_its_narrowest_column_is_wrapped_further() -> None:
    options = [{"name": "x" * 48, "label": "y" * 60, "usd_per_month": {"p5": 1e299, "p50": 1e299, "p95": 1e299}}]
    shown = text.breakeven_text({"options": options})
    assert shown.count("y") >= 60  # nothing is lost, though the numbers alone fill the line


def test_a_percentage_is_never_parted_from_its_sign() -> None:
    for words in range(60):
        assert "\n" not in sentence("word " * words + "5 %").partition("5")[2]


def test_the_short_form_fits_on_a_screen_and_the_long_one_holds_all_of_it() -> None:
    short, whole = (text.breakeven_text(record("breakeven"), everything=everything) for everything in (False, True))
    assert len(short.splitlines()) <= 50
    assert len(whole.splitlines()) > len(short.splitlines()) + 30
    assert short.split("\n\n")[0] == whole.split("\n\n")[0]
    assert ("--all" in short, "--all" in whole) == (True, False)
    assert "Numbers behind the costs" in whole


def test_money_is_written_alike() -> None:
    prices = [rate_usd(value) for value in (2.5, 0.075, 15, 1234.5, 0.36, -2.5, None)]
    assert prices == ["$2.50", "$0.075", "$15", "$1,234", "$0.36", "−$2.50", "not measured"]
    assert [amount_words(value, "USD/month") for value in (262.8, 2.0605, 1000, -0.5)] == [
        "$262.80/month", "$2.0605/month", "$1,000/month", "−$0.50/month",
    ]  # fmt: skip
    changes = [
        {"name": "sovereignty_usd_per_month", "unit": "USD/month", "now": 0, "needed": 8760, "direction": "at least"},
        {"name": "gpu_usd_per_hour", "unit": "USD per device hour", "now": 2.95, "needed": 0.5, "direction": "at most"},
        {
            "name": "rent_drift_per_year",
            "unit": "change of price/year",
            "now": 0,
            "needed": 0.25,
            "direction": "at most",
        },
    ]
    assert change_sentences({"would_change": changes}) == [
        "Rent of a device: at most $0.50 an hour (now $2.95).",
        "Drift of rented prices: at most 25.0 % a year (now 0.0 %).",
        "Premium for sovereignty: at least $8,760 a month (now $0).",
    ]


def test_rows_left_out_may_be_a_mapping() -> None:
    assert "duplicate" in dataset_text({"excluded": {"duplicate": 31}})


def test_wide_characters_wrap_by_the_columns_they_take() -> None:
    confusion = {"contender": "x", "target": "失" * 48, "given": "卡" * 48, "count": 3}
    shown = text.evaluation_text({"contenders": [], "confusions": [confusion]})
    assert all(columns(line) <= 100 for line in shown.splitlines())
    assert shown.count("卡") == 48


def test_real_records_are_shown(decision: dict[str, Any], cost: dict[str, Any], audit_record: dict[str, Any]) -> None:
    assert "Stay renting support_intent: at 1,010 queries a month" in text.decision_text(decision)
    assert "tf-idf + logistic regression" in text.evaluation_text(decision["inputs"]["evaluation"])
    assert "Stay renting: at 1,010 queries a month renting costs" in text.breakeven_text(cost)
    assert "Owning costs less from about" in text.breakeven_text({**cost, "verdict": None})
    assert "billed like gpt-4o" in audit_text(audit_record)
