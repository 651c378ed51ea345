"""docs/reference/traces.md: each example is a file that both commands read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from freehold.cli import trace_rows
from tests.ledger.traffic import open_writer, record_call

if TYPE_CHECKING:
    from tests.cli.conftest import Terminal

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "traces.md").read_text(encoding="utf-8")
REPLICA = ("--model", "llama-3.1-8b", "--gpu", "h100", "--replicas", "1")
RENTED = ("--rent", "gpt-5.4", "--own", "llama-3.1-8b@h100", "--as-of", "2026-06-15", "--draws", "100")
EXAMPLES: dict[str, str] = {
    str(name): str(text)
    for name, text in re.findall(
        r"`(\w+\.(?:jsonl|json|csv))`(?:(?!\n```)[\s\S])*?:\n\n```\w+\n(.*?)```", PAGE, re.DOTALL
    )
}
WITHOUT_LENGTHS = {"arrivals.jsonl", "windows.jsonl"}


def test_the_page_shows_every_form() -> None:
    assert set(EXAMPLES) == {
        "calls.jsonl", "cached.jsonl", "calls.json", "calls.csv", "azure.csv", "burst.csv", "ledger.jsonl",
        "arrivals.jsonl", "windows.jsonl",
    }  # fmt: skip
    names = (*trace_rows.TIMES, *trace_rows.INPUTS, *trace_rows.OUTPUTS, *trace_rows.CACHED, *trace_rows.NAMES)
    assert [name for name in names if f"`{name}`" not in PAGE] == []


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_of_the_page_is_read_by_both_commands(nowhere: Terminal, name: str) -> None:
    path = nowhere.folder / name
    path.write_text(EXAMPLES[name], encoding="utf-8")
    lengths = ("--input-tokens", "1000", "--output-tokens", "200") if name in WITHOUT_LENGTHS else ()

    replayed = nowhere.run("simulate", "--trace", name, *REPLICA, *lengths, "--json").record
    rented = nowhere.run("breakeven", "--trace", name, *RENTED, *lengths, "--json").record

    calls = 65 if name == "windows.jsonl" else 2
    assert (replayed["calls"], rented["inputs"]["trace"]["calls"]) == (calls, calls)
    assert replayed["skipped"]["rows"] == rented["inputs"]["trace"]["skipped"]["rows"] == 0
    if name not in WITHOUT_LENGTHS:
        assert (replayed["mean_input_tokens"], rented["inputs"]["workload"]["output_tokens"]) == (1075, 210)
        assert replayed["trace_s"] == 61.5


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.parametrize("bodies", [(), ("--no-bodies",)])
def test_an_export_of_the_ledger_is_a_trace(terminal: Terminal, form: str, bodies: tuple[str, ...]) -> None:
    writer = open_writer(terminal.folder / ".freehold" / "events")
    for number in range(12):
        record_call(writer, number, route="own" if number % 3 == 0 else "rent")
    writer.seal()
    labelled = {"input": "where is my card", "output": "card", "task": "desk"}
    answered = labelled | {"model_output": "card", "model": "gpt-5.4", "started_at": "2026-06-01T08:00:00Z"}
    (terminal.folder / "log.jsonl").write_text(f"{json.dumps(labelled)}\n{json.dumps(answered)}\n", encoding="utf-8")
    assert terminal.run("import", "log.jsonl").code == 0
    export = f"ledger.{form}"
    assert terminal.run("ledger", "export", "--format", form, "--out", export, *bodies).code == 0

    replayed = terminal.run("simulate", "--trace", export, *REPLICA, "--json")
    rented = terminal.run("breakeven", "--trace", export, *RENTED, "--json")

    assert replayed.record["calls"] == 12
    assert replayed.record["skipped"]["reasons"] == [
        {"reason": "never sent to a model", "rows": 1},
        {"reason": "without input_tokens or output_tokens", "rows": 1},
    ]
    said = "Left out of the trace: 1 never sent to a model; 1 without input_tokens or output_tokens."
    assert said in replayed.err.splitlines()
    trace = rented.record["inputs"]["trace"]
    assert (trace["calls"], trace["skipped"]["rows"]) == (8, 6)
    assert "4 answered by an own model" in rented.err
