from __future__ import annotations

import io
import sys

import pytest

from freehold.report.progress import TerminalProgress


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_pipe_gets_a_line_at_most_every_ten_seconds(clock: Clock) -> None:
    out = io.StringIO()
    progress = TerminalProgress(out, clock=clock)
    progress.start("tuning", 100)
    for _ in range(30):
        clock.now_s += 1
        progress.update(1, "loss 0.5")
    progress.finish()
    assert out.getvalue() == (
        "tuning: 10/100, 1/s, 1 min 30 s left, loss 0.5\n"
        "tuning: 20/100, 1/s, 1 min 20 s left, loss 0.5\n"
        "tuning: 30/100, 1/s, 1 min 10 s left, loss 0.5\n"
        "tuning: 30/100 in 30 s\n"
    )


def test_without_a_total_there_is_no_time_left(clock: Clock) -> None:
    out = io.StringIO()
    progress = TerminalProgress(out, clock=clock, interval_s=2)
    progress.start("reading", None)
    clock.now_s = 4
    progress.update(0)
    clock.now_s = 8
    progress.update(2000)
    progress.finish()
    assert out.getvalue() == "reading: 0 done\nreading: 2,000 done, 250/s\nreading: 2,000 done in 8.0 s\n"


def test_pieces_of_work_nest(clock: Clock) -> None:
    out = io.StringIO()
    progress = TerminalProgress(out, clock=clock)
    progress.start("outer", 2)
    progress.start("inner", 1)
    progress.update(1)
    progress.finish()
    clock.now_s = 20
    progress.update(1)
    progress.finish()
    assert out.getvalue() == "inner: 1/1 in 0.0 s\nouter: 1/2, 0.05/s, 20 s left\nouter: 1/2 in 20 s\n"


def test_quiet_shows_nothing(clock: Clock) -> None:
    out = io.StringIO()
    progress = TerminalProgress(out, quiet=True, clock=clock, interval_s=0, terminal=True)
    progress.start("tuning", 2)
    progress.update(1)
    progress.finish()
    assert out.getvalue() == ""


def test_updates_without_a_start_are_ignored(clock: Clock) -> None:
    out = io.StringIO()
    progress = TerminalProgress(out, clock=clock, interval_s=0)
    progress.update(1)
    progress.finish()
    progress.close()
    assert out.getvalue() == ""


def test_a_terminal_gets_a_bar_that_goes_and_a_line_that_stays(clock: Clock) -> None:
    out = io.StringIO()
    progress = TerminalProgress(out, clock=clock, terminal=True)
    progress.start("tuning [bold]", 10)
    progress.start("inner", None)
    clock.now_s = 2
    progress.update(4, "loss 0.5")
    progress.finish()
    progress.update(5, "[red]note")
    progress.finish()
    assert "tuning [bold]" in out.getvalue()
    assert "inner: 4 done in 2.0 s" in out.getvalue()
    assert out.getvalue().endswith("tuning [bold]: 5/10 in 2.0 s\n")


def test_a_bar_shows_rate_and_note(clock: Clock) -> None:
    out = io.StringIO()
    with TerminalProgress(out, clock=clock, terminal=True) as progress:
        progress.start("tuning", 10)
        clock.now_s = 2
        progress.update(5, "loss 0.5")
    assert "5/10" in out.getvalue()
    assert "2.5/s" in out.getvalue()
    assert "loss 0.5" in out.getvalue()


def test_a_failure_removes_the_bar(clock: Clock) -> None:
    out = io.StringIO()

    def fail() -> None:
        with TerminalProgress(out, clock=clock, terminal=True) as progress:
            progress.start("tuning", 10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert out.getvalue().endswith("\x1b[2K")  # the line of the bar is empty again


def test_the_error_stream_is_the_default(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    progress = TerminalProgress(clock=clock)
    progress.start("tuning\x1b[31m", 1)
    progress.finish()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "tuning\\u001b[31m: 0/1 in 0.0 s\n"


def test_rich_is_not_loaded_without_a_terminal() -> None:
    import subprocess

    code = (
        "import sys, io\n"
        "from freehold.report.progress import TerminalProgress\n"
        "progress = TerminalProgress(io.StringIO())\n"
        "progress.start('x', 1); progress.update(1); progress.finish()\n"
        "assert 'rich' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
