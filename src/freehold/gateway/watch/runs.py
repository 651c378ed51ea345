"""What tuning runs of this workspace tell while they go on: read from the lines that they write, never from them."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

METRICS, FORECAST, FINISHED = "metrics.jsonl", "forecast.json", "adapter"
"""As `tuning` names them in the folder of a run."""
ENDINGS = ("stopped", "diverged", "failed")
MOST_RUNS, MOST_POINTS = 20, 240
MOST_BYTES = 2**20
"""Of a run's lines, the last: some five thousand steps."""
Record = dict[str, Any]  # Any: JSON


def runs_record(folder: Path, now: float | None = None) -> Record:
    """The runs that were last at work, the latest first.

    Args:
        folder: Where the workspace keeps its runs.
        now: Seconds since 1970; None: this moment.
    """
    now = time.time() if now is None else now
    files = []
    for file in folder.glob(f"*/{METRICS}"):
        try:
            files.append((file.stat().st_mtime, file))
        except OSError:
            continue  # it vanished a moment ago
    latest = sorted(files, key=lambda each: (-each[0], each[1].name))[:MOST_RUNS]
    return {"schema": "freehold.runs/1", "runs": [_run(file, max(0.0, now - at)) for at, file in latest]}


def _run(file: Path, silent_s: float) -> Record:
    lines, ended = _lines(file)
    steps = [line for line in lines if "loss" in line]
    last = steps[-1] if steps else {}
    is_finished = (file.parent / FINISHED).is_dir()
    return {
        "run": "".join(letter if letter.isprintable() else "\ufffd" for letter in file.parent.name),
        "is_finished": is_finished,
        "ended": None if is_finished else ended,
        "silent_s": round(silent_s, 1),
        "step": last.get("step"),
        "steps": last.get("steps"),
        "seconds": last.get("seconds"),
        "left_s": 0.0 if is_finished else None if ended else _left_s(steps),
        "forecast_s": _forecast_s(file.parent),
        "loss": last.get("loss"),
        "learning_rate": last.get("learning_rate"),
        "tokens_per_s": last.get("tokens_per_s"),
        "memory_bytes": last.get("memory_bytes"),
        "losses": _thinned([[line["step"], line["loss"]] for line in steps]),
        "validation_losses": [[line["step"], line["validation_loss"]] for line in lines if "validation_loss" in line],
    }


def _left_s(steps: list[Record]) -> float | None:
    """By the pace of the last steps; None before there are two."""
    recent = [step for step in steps[-50:] if "steps" in step]
    if len(recent) < 2 or recent[-1]["step"] <= recent[0]["step"]:
        return None
    each = (recent[-1]["seconds"] - recent[0]["seconds"]) / (recent[-1]["step"] - recent[0]["step"])
    return round(float(each * (recent[-1]["steps"] - recent[-1]["step"])), 1)


def _forecast_s(folder: Path) -> float | None:
    try:
        found = json.loads((folder / FORECAST).read_text("utf-8"))["seconds"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if _is_number(found) else None


def _lines(file: Path) -> tuple[list[Record], str | None]:
    """The last lines that are whole and of a run, their numbers alone; and how it ended, if that is its last word."""
    try:
        with file.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - MOST_BYTES))
            text = stream.read()
    except OSError:
        return [], None
    lines: list[Record] = []
    ended = None
    for line in text.splitlines():
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(found, dict):
            continue
        numbers = {name: value for name, value in found.items() if _is_number(value)}
        if {"step", "seconds"} <= numbers.keys():
            lines.append(numbers)
            ended = None  # it went on
        elif found.get("ended") in ENDINGS:
            ended = found["ended"]
    return lines, ended


def _is_number(value: object) -> bool:
    """A number that JSON can write."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _thinned(points: list[list[float]]) -> list[list[float]]:
    """At most MOST_POINTS of them, the last among them."""
    stride = -(-len(points) // MOST_POINTS)
    return points[::-1][:: stride or 1][::-1]
