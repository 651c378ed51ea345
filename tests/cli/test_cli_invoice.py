"""Invoices here are synthetic: written from the providers' published shapes, not exported from an account."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Terminal

_START = 1_781_049_600  # 2026-06-10T00:00:00Z
_CALL_USD = Decimal(1000 * 15 + 100 * 60) / 100_000_000  # gpt-4o-mini: 0.15 and 0.60 USD per million tokens


def _result(**facts: Any) -> dict[str, Any]:
    return {
        "object": "organization.usage.completions.result", "input_tokens": 30_000, "output_tokens": 3_000,
        "input_cached_tokens": 0, "num_model_requests": 30, "model": "gpt-4o-mini", "batch": False,
        "service_tier": None, "project_id": None, "user_id": None, "api_key_id": None, **facts,
    }  # fmt: skip


def _page(result: dict[str, Any]) -> str:
    bucket = {"object": "bucket", "start_time": _START, "end_time": _START + 86_400, "results": [result]}
    return json.dumps({"object": "page", "data": [bucket], "has_more": False, "next_page": None})


def _cost(usd: str) -> str:
    amount = {"value": float(usd), "currency": "usd"}
    return _page({"object": "organization.costs.result", "amount": amount, "line_item": "gpt-4o-mini, input"})


@pytest.fixture
def logged(terminal: Terminal) -> Terminal:
    """Thirty calls on one day."""
    rows = [
        {"id": f"r{n}", "task": "desk", "input": f"question {n}", "model_output": "yes", "model": "gpt-4o-mini",
         "provider": "openai", "input_tokens": 1000, "output_tokens": 100, "started_at": f"2026-06-10T12:{n:02d}:00Z"}
        for n in range(30)
    ]  # fmt: skip
    (terminal.folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert terminal.run("import", "log.jsonl").code == 0
    return terminal


def _audit(terminal: Terminal, *options: str) -> dict[str, Any]:
    shown = terminal.run("audit", "--no-texts", "--json", *options)
    assert shown.code == 0, shown.err
    return shown.record


def test_costs_and_usage_of_one_day_are_compared_together(logged: Terminal) -> None:
    usage = _result(num_model_requests=40, input_tokens=40_000, output_tokens=4_000)
    (logged.folder / "usage.json").write_text(_page(usage))
    (logged.folder / "costs.json").write_text(_cost(str(40 * _CALL_USD)))
    record = _audit(logged, "--invoice", "usage.json", "--invoice", "costs.json")
    (line,) = record["reconciliation"]
    assert (line["day"], line["model"], line["ledger_calls"], line["invoice_requests"]) == (
        "2026-06-10", "gpt-4o-mini", 30, 40,
    )  # fmt: skip
    assert [(cause["kind"], cause["calls"]) for cause in line["causes"]] == [("missing-rows", 10)]
    assert line["unexplained_usd"] == pytest.approx(0, abs=1e-12)
    assert record["reconciliation_total"]["difference_usd"] == pytest.approx(float(-10 * _CALL_USD))
    shown = logged.run("audit", "--no-texts", "--invoice", "usage.json", "--invoice", "costs.json")
    assert "10 of 40 requests are not in the ledger" in shown.out


def test_calls_that_were_purged_still_count_against_the_invoice(logged: Terminal) -> None:
    (logged.folder / "costs.json").write_text(_cost(str(30 * _CALL_USD)))
    assert logged.run("purge", "--before", "2026-06-11", "--yes").code == 0
    (logged.folder / "more.jsonl").write_text(
        json.dumps({"id": "later", "task": "desk", "input": "q", "model_output": "a", "model": "gpt-4o-mini",
                    "input_tokens": 1, "output_tokens": 1, "started_at": "2026-06-20T00:00:00Z"}) + "\n"
    )  # fmt: skip
    assert logged.run("import", "more.jsonl").code == 0
    (line,) = _audit(logged, "--invoice", "costs.json")["reconciliation"]
    assert (line["difference_usd"], line["ledger_calls"]) == (0, 30)


def test_a_usage_export_that_was_imported_stands_on_the_ledgers_side(terminal: Terminal) -> None:
    (terminal.folder / "usage.json").write_text(_page(_result()))
    (terminal.folder / "costs.json").write_text(_cost(str(30 * _CALL_USD)))
    assert terminal.run("import", "usage.json").code == 0
    (line,) = _audit(terminal, "--invoice", "costs.json")["reconciliation"]
    assert (line["difference_usd"], line["ledger_calls"]) == (0, 30)


def test_without_an_invoice_there_is_nothing_to_compare_and_a_bad_one_is_refused(logged: Terminal) -> None:
    record = _audit(logged)
    assert (record["reconciliation"], record["reconciliation_total"]) == ([], None)
    (logged.folder / "empty.csv").write_text("")
    assert "the file is empty" in logged.run("audit", "--invoice", "empty.csv").error
    assert "cannot be read" in logged.run("audit", "--invoice", "absent.csv").error
    (logged.folder / "eur.csv").write_text("date,model,amount\n2026-06-10,gpt-4o-mini,€1.00\n", encoding="utf-8")
    assert "--exchange EUR=US_DOLLARS" in logged.run("audit", "--invoice", "eur.csv").error
    assert "must read CURRENCY=US_DOLLARS" in logged.run("audit", "--invoice", "eur.csv", "--exchange", "EUR=x").error
    assert _audit(logged, "--invoice", "eur.csv", "--exchange", "EUR=1.08")["reconciliation"][0]["invoice_usd"] == 1.08


def test_the_audit_tells_which_kinds_of_personal_data_a_task_holds(logged: Terminal) -> None:
    row = {"id": "m", "task": "mail", "input": "write to ann@example.org", "model_output": "ok", "model": "gpt-4o-mini",
           "input_tokens": 5, "output_tokens": 1, "started_at": "2026-06-10T00:00:00Z"}  # fmt: skip
    (logged.folder / "mail.jsonl").write_text(json.dumps(row) + "\n")
    assert logged.run("import", "mail.jsonl").code == 0
    shown = logged.run("audit", "--json")
    found = {task["task"]: task["personal_data"] for task in shown.record["tasks"]}
    assert [(one["kind"], one["calls"]) for one in found["mail"]["kinds"]] == [("EMAIL", 1)]
    assert (found["desk"]["kinds"], found["desk"]["sampled_calls"]) == ([], 30)
    assert "mail: EMAIL 100.0% (all 1 calls)" in logged.run("audit").out
