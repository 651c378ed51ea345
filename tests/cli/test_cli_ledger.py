from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from freehold.cli import recording
from freehold.ledger.columns import COLUMNS
from freehold.ledger.policy import TaskPolicy
from freehold.state.settings import load_settings
from freehold.state.workspace import find_workspace
from tests.ledger.traffic import begin_call, open_writer, record_call

if TYPE_CHECKING:
    import pytest

    from freehold.ledger.segments import SegmentWriter
    from tests.cli.conftest import Terminal


def _gateway(terminal: Terminal) -> SegmentWriter:
    """The pen of a worker in the terminal's workspace."""
    return open_writer(terminal.folder / ".freehold" / "events")


def _five_calls(terminal: Terminal) -> None:
    writer = _gateway(terminal)
    for number in range(4):
        record_call(writer, number)
    begin_call(writer, 4)
    writer.seal()


def test_stats_take_in_what_a_worker_left_and_count_it(terminal: Terminal) -> None:
    _five_calls(terminal)
    record = terminal.json("ledger-stats", "ledger", "stats")
    assert (record["calls"], record["open_without_close"], record["lost_records"]) == (5, 1, 0)
    assert (record["by_route"], record["segments"]) == ({"rent": 5}, 0)
    assert record["bytes"] > 0
    shown = terminal.golden("ledger-stats", "ledger", "stats")
    assert shown.out.startswith("The ledger holds 5 calls of 1 task, of 2026-11-20, in ")
    assert shown.last_line == "Next: freehold audit"


def test_an_audit_takes_in_what_a_worker_left(terminal: Terminal) -> None:
    _five_calls(terminal)
    tasks = terminal.run("audit", "--json").record["tasks"]
    assert sum(task["calls"] for task in tasks) == 5


def test_stats_of_an_empty_workspace(terminal: Terminal) -> None:
    assert terminal.run("ledger", "stats", "--json").record["calls"] == 0
    shown = terminal.run("ledger", "stats")
    assert shown.err.count("\n") == 1  # nothing is told of what was not there to be taken in
    assert (shown.out, shown.last_line) == (
        "The ledger is empty.\n", "Next: freehold import logs.jsonl --task TASK, or: freehold gateway",
    )  # fmt: skip
    assert terminal.run("ledger", "verify", "--json").record == {
        "schema": "freehold.ledgerverify/1", "ok": True, "damaged": [], "segments": 0, "files": 0, "rows": 0,
    }  # fmt: skip


def test_stats_name_what_is_known_by_its_sum_alone(terminal: Terminal) -> None:
    result = {"object": "organization.usage.completions.result", "num_model_requests": 30, "model": "gpt-5.4"}
    bucket = {"object": "bucket", "start_time": 1793491200, "end_time": 1793577600, "results": [result]}
    (terminal.folder / "usage.jsonl").write_text(json.dumps(bucket) + "\n")
    assert terminal.run("import", "usage.jsonl").code == 0
    shown = terminal.run("ledger", "stats")
    assert "Known by their sums alone, 30 calls in all: 1 volume of many calls" in shown.out
    assert shown.last_line == "Next: freehold audit"
    record = terminal.run("ledger", "stats", "--json").record
    assert (record["calls"], record["volumes"], record["volume_calls"]) == (0, 1, 30)
    assert (record["volumes_first_day"], record["volumes_last_day"]) == ("2026-11-01", "2026-11-01")


def test_verify_says_what_is_damaged_repair_makes_it_sound_and_stats_go_on_counting_the_loss(
    terminal: Terminal,
) -> None:
    _five_calls(terminal)
    assert terminal.run("ledger", "verify").code == 0
    (segment,) = (terminal.folder / ".freehold" / "events" / "segments").glob("*/*.seg")
    data = bytearray(segment.read_bytes())
    data[data.index(b"question 2")] ^= 1
    segment.write_bytes(data)

    record = terminal.json("ledger-verify", "ledger", "verify", code=1)
    assert (record["ok"], len(record["damaged"]), record["damaged"][0]["lost"]) == (False, 1, 1)
    shown = terminal.run("ledger", "verify")
    assert shown.out.startswith("1 place damaged: 0 rows in 0 files and 1 segment looked through.\n")
    assert "bytes are damaged" in shown.out
    assert shown.last_line == "Next: freehold ledger repair"

    repaired = terminal.json("ledger-repair", "ledger", "repair")
    assert (repaired["ingested"], len(repaired["found"])) == (5, 1)
    assert terminal.run("ledger", "verify", "--json").record["ok"]
    assert terminal.run("ledger", "stats", "--json").record["lost_records"] == 1


def test_export_writes_a_row_per_attempt(terminal: Terminal) -> None:
    _five_calls(terminal)
    record = terminal.json("ledger-export", "ledger", "export", "--format", "jsonl", "--out", "calls.jsonl")
    assert (record["rows"], record["format"], record["out"]) == (5, "jsonl", "calls.jsonl")
    rows = [json.loads(line) for line in (terminal.folder / "calls.jsonl").read_text().splitlines()]
    assert [tuple(row) for row in rows] == [COLUMNS] * 5
    assert [row["error_type"] for row in rows] == [None] * 4 + ["never_closed"]

    shown = terminal.run("ledger", "export", "--format", "parquet", "--out", "calls.parquet", "--no-bodies")
    assert shown.out.startswith("5 rows (")
    assert shown.out.endswith(") in calls.parquet. 'freehold import' reads them again.\n")
    assert shown.last_line == "Next: freehold import calls.parquet"
    table = pq.read_table(terminal.folder / "calls.parquet")
    assert table.column("request").null_count == 5
    assert "no file can be written there" in terminal.run("ledger", "export", "--out", "none/calls.jsonl").error


def test_costs_by_task_by_day(terminal: Terminal) -> None:
    _five_calls(terminal)
    record = terminal.json("ledger-costs", "ledger", "costs")
    (day,) = record["days"]
    assert (day["day"], day["task"], day["calls"], day["priced_calls"]) == ("2026-11-20", "desk", 5, 4)
    # 4 x (10 x $2.50 + 5 x $15) per million
    assert day["cost_usd"] == 0.0004
    assert record["counted_from"] == "rollup"
    assert terminal.run("ledger", "costs", "--task", "other", "--json").record["days"] == []


def test_compact_obeys_what_the_settings_keep(terminal: Terminal) -> None:
    settings = terminal.folder / "freehold.toml"
    settings.write_text(settings.read_text() + '[ledger.tasks.desk]\nbodies = "mask"\nbodies_days = 1\n')
    writer = _gateway(terminal)
    record_call(writer, -60 * 24 * 300)
    writer.seal()

    record = terminal.json("ledger-compact", "ledger", "compact")

    assert (record["ingested"], record["bodies_removed"], record["files_after"]) == (1, 1, 1)


def test_a_policy_of_a_task_is_the_general_one_where_it_says_nothing(terminal: Terminal) -> None:
    settings = terminal.folder / "freehold.toml"
    text = "[ledger]\nbodies = 'mask'\nrows_days = 90\nmin_free_mib = 0\n[ledger.tasks.desk]\nsample = 0.25\n"
    settings.write_text(settings.read_text() + text)
    workspace = find_workspace()
    loaded = load_settings(workspace)
    policy = recording.policy_of(loaded)

    assert policy.of("desk") == TaskPolicy(bodies="mask", sample=0.25, rows_days=90)
    assert policy.of("other") == TaskPolicy(bodies="mask", rows_days=90)
    writer = recording.open_writer(workspace, loaded, worker="w")
    record_call(writer, 0)
    writer.seal()
    assert writer.folder.parent == workspace.segments


def test_the_housekeeper_ingests_until_it_is_stopped_and_outlives_trouble(
    terminal: Terminal, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = find_workspace()
    _five_calls(terminal)
    workspace.calls.parent.mkdir(exist_ok=True)
    workspace.calls.write_text("in the way of the folder")

    class Stop(threading.Event):
        passes = 0

        def wait(self, timeout: float | None = None) -> bool:
            self.passes += 1
            if self.passes == 2:
                workspace.calls.unlink()
            return self.passes > 2

    recording.keep_house(workspace, load_settings(workspace), stop=Stop(), every_s=0.01)

    assert "the ledger's housekeeping failed" in caplog.text
    assert terminal.run("ledger", "stats", "--json").record["calls"] == 5
