"""`freehold audit`: slices, files, volumes, invoices, and input that cannot be used."""

from __future__ import annotations

import csv
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from freehold.report.numbers import usd

if TYPE_CHECKING:
    from tests.cli.conftest import Terminal

SERVEGEN = Path(__file__).parents[3] / "shared" / "data" / "trace_servegen_msmall"
PRICED = '\n[prices.alias]\nunknown = "gpt-5.4-mini"\n'


def _row(number: int, task: str) -> dict[str, object]:
    return {
        "id": f"{task}-{number}",
        "task": task,
        "input": f"=case {number}",
        "model_output": "yes",
        "model": "gpt-5.4",
        "input_tokens": 1000,
        "output_tokens": 100,
        "started_at": f"2026-10-{1 + number:02d}T09:00:00Z",
    }


@pytest.fixture
def audited(terminal: Terminal) -> Terminal:
    """Two tasks of twenty days."""
    rows = [_row(number, task) for task in ("desk", "=cmd") for number in range(20)]
    (terminal.folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    terminal.run("import", "log.jsonl")
    return terminal


def test_one_task_and_some_days_are_a_part_of_the_whole(audited: Terminal) -> None:
    whole = audited.run("audit", "--json").record
    assert whole["total"] == {
        "calls": 40, "cost_usd": 0.16, "priced_calls": 40, "unpriced_calls": 0, "unbilled_failures": 0,
    }  # fmt: skip
    part = audited.run("audit", "--task", "desk", "--since", "2026-10-06", "--until", "2026-10-10", "--json").record
    assert part["period"] == {"first_day": "2026-10-06", "last_day": "2026-10-10", "days": 5}
    assert part["total"] == {
        "calls": 5, "cost_usd": 0.02, "priced_calls": 5, "unpriced_calls": 0, "unbilled_failures": 0,
    }  # fmt: skip
    assert part["reconciliation"] == []


def test_the_csv_adds_up_and_holds_no_formula_and_the_page_fetches_nothing(audited: Terminal) -> None:
    shown = audited.run("audit", "--csv", "costs.csv", "--html", "audit.html")
    assert shown.last_line == "Next: open audit.html"
    with (audited.folder / "costs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["task"] for row in rows} == {"desk", "'=cmd"}
    assert sum(float(row["cost_usd"]) for row in rows) == pytest.approx(0.16)
    page = (audited.folder / "audit.html").read_text(encoding="utf-8")
    assert "src=" not in page
    assert "<script" not in page


def test_json_csv_and_page_say_the_same_numbers(audited: Terminal) -> None:
    record = audited.run("audit", "--csv", "costs.csv", "--html", "audit.html", "--json").record
    with (audited.folder / "costs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    page = (audited.folder / "audit.html").read_text(encoding="utf-8")
    assert {task["task"] for task in record["tasks"]} == {"desk", "=cmd"}
    for task in record["tasks"]:
        own = [row for row in rows if row["task"].removeprefix("'") == task["task"]]
        for field in ("calls", "errors", "priced_calls", "input_tokens", "output_tokens"):
            assert sum(int(row[field]) for row in own) == task[field]
        assert sum(Decimal(row["cost_usd"]) for row in own) == Decimal(str(task["cost_usd"]))
        by_day = {row["day"]: float(row["cost_usd"]) for row in own}
        assert by_day == {part["day"]: part["cost_usd"] for part in task["by_day"]}
        cells = re.findall(rf"<bdi>{re.escape(task['task'])}</bdi></th>(.*?)</tr>", page, re.DOTALL)
        shown = [re.findall(r"<bdi>(.*?)</bdi>", cell) for cell in cells]
        assert any(usd(task["cost_usd"]) in row for row in shown)
        assert any(usd(task["batch_saving_usd"]) in row and usd(task["usd_per_month"]) in row for row in shown)


def test_without_texts_nothing_is_said_of_them(audited: Terminal) -> None:
    task = audited.run("audit", "--no-texts", "--json").record["tasks"][0]
    assert (task["replaceability"], task["personal_data"]) == (None, None)
    assert "Replaceability is unknown: prompts and answers were not looked at." in task["reasons"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "nobody"], "No call in the ledger is of that task and of those days."),
        (["--since", "2027-01-01"], "No call in the ledger is of that task and of those days."),
        (["--since", "2026-10-02", "--until", "2026-10-01"], "--until 2026-10-01 lies before --since 2026-10-02."),
        (["--html", "nowhere/a.html"], "there is no folder nowhere"),
        (["--own", "no-model@h100"], "no-model"),
        (["--invoice", "nothing.json"], "nothing.json"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(audited: Terminal, arguments: list[str], message: str) -> None:
    shown = audited.run("audit", *arguments)
    assert shown.code == 2
    assert message in shown.error


def test_an_invoice_stands_beside_the_ledger_by_day_and_model(audited: Terminal) -> None:
    lines = ["date,model,cost_usd"] + [f"2026-10-{day:02d},gpt-5.4,0.008" for day in range(1, 21)]
    (audited.folder / "invoice.csv").write_text("\n".join(lines), encoding="utf-8")
    record = audited.run("audit", "--invoice", "invoice.csv", "--json").record
    assert len(record["reconciliation"]) == 20
    assert record["reconciliation_total"]["difference_usd"] == pytest.approx(0.0)
    assert {line["explanation"] for line in record["reconciliation"]} == {"the same"}


def test_every_tenant_of_a_published_trace_is_audited_and_tiered_in_one_run(terminal: Terminal) -> None:
    """ServeGen's m-small: windows of 43 tenants, token lengths of those that publish them."""
    if not SERVEGEN.is_dir():
        pytest.skip("the trace is not beside the repository")
    settings = terminal.folder / "freehold.toml"
    settings.write_text(settings.read_text(encoding="utf-8") + PRICED, encoding="utf-8")
    terminal.run("import", str(SERVEGEN / "windows.jsonl"), str(SERVEGEN / "clients.jsonl"), "--start", "2026-10-01")
    record = terminal.run("audit", "--json").record
    clients = {
        f"client-{each['client']}": each
        for each in map(json.loads, (SERVEGEN / "clients.jsonl").read_text(encoding="utf-8").splitlines())
    }
    tasks = {task["task"]: task for task in record["tasks"]}
    assert tasks.keys() == clients.keys()
    assert len(tasks) == 43
    assert {task["tier"] for task in tasks.values()} == {"low", "mid", "high"}
    for name, client in clients.items():
        # Published rates times 600 s are rounded in each window.
        assert tasks[name]["calls"] == pytest.approx(client["requests_total"], rel=0.02, abs=5)
        assert tasks[name]["calls_per_month"] == pytest.approx(tasks[name]["calls"] / 14 * 730 / 24)
        mean = client.get("input_tokens", {}).get("mean")
        assert tasks[name]["tokens"]["input_mean"] == (None if mean is None else pytest.approx(mean, rel=0.01))
        assert (tasks[name]["cost_usd"] is None) == (mean is None)
    assert record["ranking"]
    # A task of volumes alone can be asked about like any other.
    assert terminal.run("breakeven", str(record["ranking"][0]["task"]), "--json").code == 0
