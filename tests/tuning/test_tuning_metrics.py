from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from freehold.tuning.metrics import FILE, MetricsLog, peak_memory_bytes, read_metrics, told_end

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def ticking(seconds: float) -> Callable[[], float]:
    """A clock that has moved on by so much each time it is read."""
    now = [100.0]

    def clock() -> float:
        now[0] += seconds
        return now[0]

    return clock


def test_each_step_is_one_line_and_its_remark_says_loss_rate_speed_and_memory(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, steps=4, done=0, seconds=0.0, clock=ticking(0.5))
    note = log.step(1, loss=2.25, learning_rate=1e-3, rows=8, tokens=640, memory_bytes=3 * 2**29, more={"margin": 0.5})
    # 640 tokens in half a second
    assert note == "loss 2.250 lr 1.0e-03 1,280 tok/s 1.5 GiB"
    log.validation(1, epoch=1, loss=1.75)
    log.step(2, loss=2.0, learning_rate=9e-4, rows=8, tokens=320)
    first, second, third = read_metrics(tmp_path)
    assert first == {
        "step": 1, "steps": 4, "seconds": 1.0, "loss": 2.25, "learning_rate": 1e-3, "rows": 8, "tokens": 640,
        "tokens_per_s": 1280.0, "memory_bytes": 3 * 2**29, "margin": 0.5,
    }  # fmt: skip
    assert (second["epoch"], second["validation_loss"]) == (1, 1.75)
    assert third["tokens_per_s"] == 640.0  # half a second since the validation, not a whole one
    assert 0 < third["memory_bytes"] <= peak_memory_bytes()


def test_steps_after_the_checkpoint_are_forgotten_when_a_run_continues(tmp_path: Path) -> None:
    before = MetricsLog(tmp_path, steps=4, done=0, seconds=0.0)
    for step in (1, 2, 3):
        before.step(step, loss=1.0, learning_rate=1e-3, rows=1, tokens=1)
    with (tmp_path / FILE).open("a") as file:
        file.write('{"step":4,"lo')  # killed in the middle of a line
    after = MetricsLog(tmp_path, steps=4, done=2, seconds=60.0, clock=ticking(1.0))
    after.step(3, loss=0.5, learning_rate=1e-3, rows=1, tokens=1)
    lines = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(1, 1.0), (2, 1.0), (3, 0.5)]
    assert lines[-1]["seconds"] > 60


def test_a_run_that_has_not_begun_has_no_lines(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (KeyboardInterrupt(), "stopped"),
        (SystemExit(143), "stopped"),
        (ArithmeticError(), "diverged"),
        (OSError(28, "full"), "failed"),
    ],
)
def test_a_run_that_ends_before_its_time_says_why_until_it_goes_on(
    tmp_path: Path, error: BaseException, ended: str
) -> None:
    log = MetricsLog(tmp_path, steps=4, done=0, seconds=0.0)
    log.step(1, loss=2.0, learning_rate=0.1, rows=4, tokens=9)
    with (tmp_path / FILE).open("a") as file:
        file.write('{"step": 2, "lo')  # it was cut off
    with pytest.raises(type(error)), told_end(tmp_path, diverged=ArithmeticError):
        raise error
    assert json.loads((tmp_path / FILE).read_text().splitlines()[-1]) == {"ended": ended}
    MetricsLog(tmp_path, steps=4, done=1, seconds=1.0)
    assert [line["step"] for line in read_metrics(tmp_path)] == [1]
    assert "ended" not in (tmp_path / FILE).read_text()


def test_a_run_that_has_not_begun_or_is_told_by_another_process_notes_no_end(tmp_path: Path) -> None:
    for folder in (tmp_path, None):
        with pytest.raises(OSError, match="full"), told_end(folder, diverged=ArithmeticError):
            raise OSError("full")
    assert list(tmp_path.iterdir()) == []
