"""The page of tuning runs: what it reads, and who may see it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

from freehold.gateway.watch.live_page import LivePage
from freehold.gateway.watch.runs import METRICS, MOST_POINTS, runs_record
from tests.conftest import IN_CI
from tests.gateway.test_gateway_command import process, settings_of
from tests.gateway.test_gateway_live import CHROMIUM

if TYPE_CHECKING:
    from pathlib import Path

    from tests.gateway.upstream import ScriptedUpstream

EVIL = "<img src=x onerror=alert(1)>"


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


def test_lines_that_nobody_could_draw_are_passed_over(tmp_path: Path) -> None:
    lines = [
        '{"step": 1, "steps": 4, "seconds": 1.0, "loss": 2.0}',
        '{"step": "x", "seconds": 1.0, "loss": 2.0}',
        '{"step": 2, "steps": "many", "seconds": 2.0, "loss": NaN, "memory_bytes": "<b>"}',
        '{"step": 3, "seconds": 3.0, "epoch": 1, "validation_loss": Infinity}',
        '{"step": 3, "steps": 4, "seconds": 3.0, "loss": 1.0, "ended": ["x"]}',
        '{"ended": "by magic"}',
        "[" * 100_000,
    ]
    (tmp_path / "odd\x1b[2Jname\u202e").mkdir()
    (tmp_path / "odd\x1b[2Jname\u202e" / METRICS).write_text("\n".join(lines))
    (run,) = runs_record(tmp_path)["runs"]
    json.dumps(run, allow_nan=False)
    assert (run["run"], run["ended"], run["step"]) == ("odd\ufffd[2Jname\ufffd", None, 3)
    assert (run["losses"], run["validation_losses"], run["left_s"]) == ([[1, 2.0], [3, 1.0]], [], 1.0)


def test_how_a_run_ended_holds_until_it_goes_on_or_is_finished(tmp_path: Path) -> None:
    write_run(tmp_path / "one", steps=2, at=1000.0)
    file = tmp_path / "one" / METRICS
    file.write_text(file.read_text().rpartition("\n")[0] + '\n{"ended": "diverged"}\n')
    (run,) = runs_record(tmp_path)["runs"]
    assert (run["ended"], run["left_s"]) == ("diverged", None)
    with file.open("a") as more:
        more.write('{"step": 3, "steps": 4, "seconds": 6.0, "loss": 0.3}\n')
    (run,) = runs_record(tmp_path)["runs"]
    assert (run["ended"], run["left_s"]) == (None, 2.0)
    file.write_text(file.read_text() + '{"ended": "stopped"}\n')
    (tmp_path / "one" / "adapter").mkdir()
    (run,) = runs_record(tmp_path)["runs"]
    assert (run["is_finished"], run["ended"]) == (True, None)


@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_of_runs_in_a_browser(width: int, upstream: ScriptedUpstream, tmp_path: Path) -> None:
    if not CHROMIUM.exists():
        (pytest.fail if IN_CI else pytest.skip)("Chromium is not installed")
    with process(tmp_path, settings_of(upstream)) as (_, port), ThreadPoolExecutor(1) as thread:
        runs = tmp_path / ".freehold" / "runs"
        now = time.time()
        for age, (name, ended) in enumerate(
            [("at-work", None), ("finished", None), ("silent", None), ("stopped", "stopped"), ("diverged", "diverged"),
             ("failed", "failed"), (EVIL, None), ("x" * 200, None)]
        ):  # fmt: skip
            write_run(runs / name, steps=30, at=now - age)
            if ended:
                file = runs / name / METRICS
                file.write_text(f'{file.read_text()}\n{{"ended": "{ended}"}}\n')
                os.utime(file, (now - age, now - age))
        (runs / "finished" / "adapter").mkdir()
        os.utime(runs / "silent" / METRICS, (now - 4000, now - 4000))
        thread.submit(look, port, width).result()  # the browser brings an event loop of its own


def look(port: int, width: int) -> None:
    faults: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.goto(f"http://127.0.0.1:{port}/ui")
        page.get_by_role("link", name="Tuning runs").click()
        page.get_by_text("8 shown, the latest first.").wait_for()
        told = {
            card.locator("h2").inner_text(): card.locator("small").first.inner_text()
            for card in page.locator("article").all()
        }
        assert told.pop("silent").startswith("silent for 67 min: killed")
        assert told == {
            "at-work": "at work",
            "finished": "finished",
            "stopped": "stopped: the same command goes on where it was",
            "diverged": "training has diverged: lower the learning rate",
            "failed": "failed: the command that ran it says why",
            EVIL: "at work",  # as text
            "x" * 200: "at work",
        }
        assert page.locator("svg").count() == 8
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.get_by_role("link", name="Gateway").click()
        page.get_by_text("No call yet.").wait_for()
        browser.close()
    assert faults == []
