"""What a run tells while it goes on: one JSON line per step, and a remark for whoever watches."""

from __future__ import annotations

import json
import resource
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

FILE = "metrics.jsonl"
GIB = 2**30


class MetricsLog:
    """Appends to `metrics.jsonl` of a run's folder. Continued from a checkpoint, it forgets the steps that repeat."""

    def __init__(
        self, folder: Path, *, steps: int, done: int, seconds: float, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """Continue the file after step `done`.

        Args:
            folder: of the run.
            steps: of the whole run.
            done: steps that are behind it.
            seconds: they took, over all earlier sittings.
            clock: in seconds.
        """
        self._path = folder / FILE
        self._steps, self._clock = steps, clock
        self._began = clock() - seconds
        kept = [line for line in read_metrics(folder) if int(line["step"]) <= done]
        self._path.write_text("".join(_line(line) for line in kept), "utf-8")
        self._last = clock()

    def step(
        self,
        step: int,
        *,
        loss: float,
        learning_rate: float,
        rows: int,
        tokens: int,
        memory_bytes: int | None = None,
        more: Mapping[str, float] | None = None,
    ) -> str:
        """Note a finished step, counted from 1, and return the remark to show.

        Args:
            step: its number.
            loss: mean over the answer tokens of its batch.
            learning_rate: it was made with.
            rows: of the batch, over all devices.
            tokens: that were computed for it, over all devices.
            memory_bytes: most that one device has held so far; None: what this process has held.
            more: what only some methods have, such as a reward margin.
        """
        now = self._clock()
        took, self._last = now - self._last, now
        memory = peak_memory_bytes() if memory_bytes is None else memory_bytes
        rate = tokens / took if took > 0 else None
        self._append(
            {
                "step": step,
                "steps": self._steps,
                "seconds": round(now - self._began, 4),
                "loss": loss,
                "learning_rate": learning_rate,
                "rows": rows,
                "tokens": tokens,
                "tokens_per_s": None if rate is None else round(rate, 1),
                "memory_bytes": memory,
                **(more or {}),
            }
        )
        speed = "" if rate is None else f" {rate:,.0f} tok/s"
        return f"loss {loss:.3f} lr {learning_rate:.1e}{speed} {memory / GIB:.1f} GiB"

    def validation(self, step: int, *, epoch: int, loss: float) -> None:
        """Note the loss on the validation rows after an epoch, counted from 1. The next step's pace leaves it out."""
        now = self._clock()
        self._last = now
        self._append({"step": step, "seconds": round(now - self._began, 4), "epoch": epoch, "validation_loss": loss})

    def _append(self, line: Mapping[str, Any]) -> None:  # Any: JSON
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_line(line))


@contextmanager
def told_end(folder: Path | None, *, diverged: type[BaseException]) -> Iterator[None]:
    """Note behind a run's lines why it ended before its time: `stopped`, `diverged` or `failed`.

    A run that was killed notes nothing. One that continues drops the line.

    Args:
        folder: of the run; None: another process notes it.
        diverged: what is raised where training has left every good place.
    """
    try:
        yield
    except BaseException as error:
        why = "diverged" if isinstance(error, diverged) else "failed"
        ended = "stopped" if isinstance(error, KeyboardInterrupt | SystemExit) else why
        if folder is not None and (folder / FILE).exists():
            with suppress(OSError), (folder / FILE).open("a", encoding="utf-8") as file:  # the disk may be what failed
                file.write("\n" + _line({"ended": ended}))  # behind a line that may be cut off
        raise


def read_metrics(folder: Path) -> list[dict[str, Any]]:  # Any: JSON
    """The lines of a run so far, oldest first; none if it has not begun. A line that was cut off is left out."""
    try:
        text = (folder / FILE).read_text("utf-8")
    except OSError:
        return []
    lines = []
    for line in text.splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return [line for line in lines if isinstance(line, dict) and isinstance(line.get("step"), int)]


def peak_memory_bytes() -> int:
    """Most memory that this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _line(line: Mapping[str, Any]) -> str:  # Any: JSON
    return json.dumps(line, separators=(",", ":")) + "\n"
