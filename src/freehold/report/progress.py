"""Progress of long work on the error stream: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, TextIO

from freehold.report.numbers import duration
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from freehold.core.progress import Unit

NOTE_WIDTH = 60


@dataclass(slots=True)
class _Piece:
    what: str
    total: int | None
    unit: Unit
    started_s: float
    shown_s: float
    done: int = 0
    row: TaskID | None = None


@dataclass(slots=True)
class TerminalProgress:
    """Shows done, total, rate and time left; obeys `core.progress.Progress`. Pieces of work may nest.

    As a context manager it also removes an open bar when the work inside fails.
    """

    stream: TextIO | None = None
    """Where to write; None is the error stream of this process."""
    quiet: bool = field(default=False, kw_only=True)
    interval_s: float = field(default=10.0, kw_only=True)
    """Without a terminal: fewest seconds between two lines about one piece of work."""
    clock: Callable[[], float] = field(default=time.monotonic, kw_only=True)
    terminal: bool | None = field(default=None, kw_only=True)
    """None: ask the stream."""
    _pieces: list[_Piece] = field(default_factory=list, init=False)
    _bar: Bar | None = field(default=None, init=False)

    def start(self, what: str, total: int | None, *, unit: Unit = "pieces") -> None:
        """Begin a piece of work of `total` units (None: unknown)."""
        now = self.clock()
        piece = _Piece(visible(what, 60), total, unit, now, now)
        self._pieces.append(piece)
        if not self.quiet and self._is_terminal():
            if self._bar is None:
                self._bar = _new_bar(self._out(), self.clock)
                self._bar.start()
            piece.row = self._bar.add_task(piece.what, total=total, amount=_amount(piece), rate="", note="")

    def update(self, done: int, note: str = "") -> None:
        """`done` further units are finished; `note` is a short live remark such as a loss."""
        if not self._pieces:
            return
        piece = self._pieces[-1]
        piece.done += done
        if self._bar is not None and piece.row is not None:
            rate = _rate(piece, self.clock())
            self._bar.update(piece.row, advance=done, amount=_amount(piece), rate=rate, note=visible(note, NOTE_WIDTH))
        elif not self.quiet and self.clock() - piece.shown_s >= self.interval_s:
            piece.shown_s = self.clock()
            self._line(_so_far(piece, piece.shown_s, note))

    def finish(self) -> None:
        """The piece of work that was started last is over: one line stays, the bar goes."""
        if not self._pieces:
            return
        piece = self._pieces.pop()
        if self._bar is not None and piece.row is not None:
            self._bar.remove_task(piece.row)
            if not self._pieces:
                self.close()
        if not self.quiet:
            self._line(f"{piece.what}: {_amount(piece)} in {duration(self.clock() - piece.started_s)}")

    def close(self) -> None:
        """Remove the bar, if one is drawn."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __enter__(self) -> Self:
        """Nothing is shown until work starts."""
        return self

    def __exit__(self, *_: object) -> None:
        """Forget unfinished pieces and remove the bar."""
        self._pieces.clear()
        self.close()

    def _out(self) -> TextIO:
        return sys.stderr if self.stream is None else self.stream

    def _is_terminal(self) -> bool:
        return self._out().isatty() if self.terminal is None else self.terminal

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            self._out().write(f"{text}\n")
            self._out().flush()


def _amount(piece: _Piece) -> str:
    if piece.unit == "bytes":
        return " of ".join(_bytes(count) for count in (piece.done, piece.total) if count is not None)
    return f"{piece.done:,} done" if piece.total is None else f"{piece.done:,}/{piece.total:,}"


def _bytes(count: int) -> str:
    power = min(3, max(0, (len(str(count)) - 1) // 3))
    return f"{count / 1_000**power:,.3g} {('B', 'KB', 'MB', 'GB')[power]}"


def _so_far(piece: _Piece, now_s: float, note: str) -> str:
    """One line: done of total, rate, time left, note."""
    left = ""
    if piece.done and piece.total is not None:
        left_s = (piece.total - piece.done) * (now_s - piece.started_s) / piece.done
        left = f"{duration(left_s)} left"
    parts = [f"{piece.what}: {_amount(piece)}", _rate(piece, now_s), left, visible(note, NOTE_WIDTH)]
    return ", ".join(part for part in parts if part)


def _rate(piece: _Piece, now_s: float) -> str:
    elapsed_s = now_s - piece.started_s
    if piece.unit == "bytes":
        return f"{_bytes(round(piece.done / elapsed_s))}/s" if piece.done and elapsed_s > 0 else ""
    return f"{piece.done / elapsed_s:.3g}/s" if piece.done and elapsed_s > 0 else ""


def _new_bar(stream: TextIO, clock: Callable[[], float]) -> Bar:
    from rich.console import Console  # noqa: PLC0415  # 100 ms that only a terminal pays
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[amount]}", markup=False),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}", markup=False, style="dim"),
        console=Console(file=stream, force_terminal=True, highlight=False),
        get_time=clock,
        redirect_stdout=False,
        redirect_stderr=False,
        transient=True,
    )
