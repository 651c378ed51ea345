"""The page of tuning runs: what it reads, and who may see it."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING

from freehold.gateway.watch.live_page import LivePage
from freehold.gateway.watch.runs import METRICS, MOST_POINTS, runs_record

if TYPE_CHECKING:
    from pathlib import Path


def write_run(folder: Path, *, steps: int, at: float) -> None:
    """A run of two seconds a step that is half over."""
    folder.mkdir(parents=True)
    lines = [
        {"step": step, "steps": 2 * steps, "seconds": 2.0 * step, "loss": 1.0 / step, "learning_rate": 0.1,
         "tokens_per_s": 50.0, "memory_bytes": 7}
        for step in range(1, steps + 1)
    ]  # fmt: skip
    more = [{"step": steps, "seconds": 2.0 * steps, "epoch": 1, "validation_loss": 0.5}]
    text = "".join(json.dumps(line) + "\n" for line in [*lines, *more])
    (folder / METRICS).write_text(text + '{"step": 9, "lo')  # it is being written
    os.utime(folder / METRICS, (at, at))


def test_runs_are_told_the_latest_first_with_pace_and_curve(tmp_path: Path) -> None:
    write_run(tmp_path / "old", steps=4, at=1000.0)
    write_run(tmp_path / "new", steps=1000, at=2000.0)
    (tmp_path / "old" / "adapter").mkdir()
    (tmp_path / "new" / "forecast.json").write_text('{"seconds": 3900.5}')
    new, old = runs_record(tmp_path, now=2010.0)["runs"]
    assert (new["run"], new["is_finished"], new["silent_s"], new["forecast_s"]) == ("new", False, 10.0, 3900.5)
    assert (new["step"], new["steps"], new["seconds"]) == (1000, 2000, 2000.0)
    assert new["left_s"] == 2000.0  # 1,000 steps of two seconds
    assert len(new["losses"]) <= MOST_POINTS
    assert new["losses"][-1] == [1000, 0.001]
    assert new["validation_losses"] == [[1000, 0.5]]
    assert (old["is_finished"], old["left_s"], old["forecast_s"]) == (True, 0.0, None)


def test_a_folder_without_runs_and_lines_that_are_none_tell_nothing(tmp_path: Path) -> None:
    assert runs_record(tmp_path / "none")["runs"] == []
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / METRICS).write_bytes(b"\xff\n[]\n{}\n")
    (run,) = runs_record(tmp_path)["runs"]
    assert (run["step"], run["left_s"], run["losses"]) == (None, None, [])


def test_the_page_is_for_those_who_may_see_the_gateway_s(tmp_path: Path) -> None:
    async def no_keys() -> bool:
        return False

    write_run(tmp_path / "runs" / "one", steps=2, at=1000.0)
    page = LivePage(tmp_path, token=None, is_loopback=True, has_keys=no_keys, runs=tmp_path / "runs")
    here, there = [(b"host", b"127.0.0.1:8400")], [(b"host", b"evil.example")]
    shown = asyncio.run(page.answer("GET", "/ui/runs", here))
    assert (shown.status, b"Tuning runs" in shown.body) == (200, True)
    assert b"script-src 'sha256-" in dict(shown.headers)[b"content-security-policy"]
    told = json.loads(asyncio.run(page.answer("GET", "/ui/runs/data", here)).body)
    assert [run["run"] for run in told["runs"]] == ["one"]
    for path in ("/ui/runs", "/ui/runs/data"):
        assert asyncio.run(page.answer("GET", path, there)).status == 403
        assert asyncio.run(page.answer("POST", path, here)).status == 405
