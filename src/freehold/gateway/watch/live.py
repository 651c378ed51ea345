"""What the live page shows: the boards of all workers, their counters and their memory, put together."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from freehold import __version__
from freehold.gateway.providers.breaker import MOST_FAILURES
from freehold.gateway.watch.board import read_boards
from freehold.gateway.watch.metrics import read_totals

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from freehold.gateway.watch.board import SeenCall, SeenWorker

SHOWN_SECONDS = 60
SHOWN_CALLS = 25
SHOWN_ERRORS = 10
SHOWN_SLOWEST = 8
_PROCESS = ".process"
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
SPENT_TODAY = "freehold_cost_today_usd"
UNPRICED_TODAY = "freehold_unpriced_calls_today"
SPENT_AT = "freehold_cost_as_of_seconds"

Record = dict[str, Any]  # Any: JSON


def note_process(folder: Path, name: str) -> None:
    """Let the page know that this process is called `name`."""
    (folder / f"{name}{_PROCESS}").write_text(str(os.getpid()), encoding="ascii")


def live_record(folder: Path, now: float | None = None) -> Record:
    """All that the page shows, without content of any call.

    Args:
        folder: Of the gateway's run.
        now: Seconds since 1970; None: this moment.
    """
    now = time.time() if now is None else now
    boards = read_boards(folder)
    totals = read_totals(folder)
    last = sorted((call for one in boards for call in one.last), key=_ended, reverse=True)
    minutes = [call for one in boards for call in one.slowest if now - _ended(call) < 900]
    errors = sorted((call for one in boards for call in one.errors), key=_ended, reverse=True)
    under_way = sorted((call for one in boards for call in one.under_way), key=lambda call: call.started_at)
    return {
        "schema": "freehold.live/1",
        "version": __version__,
        "at": now,
        "seconds": _seconds(boards, int(now)),
        "requests_in_progress": int(_sum(totals, "freehold_requests_in_progress")),
        "attempts": int(_sum(totals, "freehold_requests_total")),
        "refused": _by(totals, "freehold_refused_total", "status"),
        "spending": _spending(totals),
        "under_way": _shown(under_way[:SHOWN_CALLS]),
        "last": _shown(last[:SHOWN_CALLS]),
        "errors": _shown(errors[:SHOWN_ERRORS]),
        "slowest": _shown(sorted(minutes, key=lambda call: -(call.duration_ms or 0.0))[:SHOWN_SLOWEST]),
        "providers": providers_record(boards, now),
        "processes": processes_record(folder),
    }


def providers_record(boards: Iterable[SeenWorker], now: float) -> list[Record]:
    """Each provider: how it is, as the worker sees it that knows the worst of it."""
    found: dict[str, Record] = {}
    for board in boards:
        for one in board.providers:
            state = _state(one.failures, one.rests_until, now)
            record = found.setdefault(
                one.name,
                {"name": one.name, "state": "closed", "failures": 0, "rests_s": 0.0, "workers": 0, "resting": 0},
            )
            record["workers"] += 1
            record["resting"] += state != "closed"
            record["failures"] = max(record["failures"], one.failures)
            if state != "closed":
                record["state"] = "open" if "open" in {state, record["state"]} else state
                record["rests_s"] = round(max(record["rests_s"], one.rests_until - now), 1)
    return [found[name] for name in sorted(found)]


def processes_record(folder: Path) -> list[Record]:
    """The gateway's processes by name, with their memory; None where the system does not tell it."""
    records: list[Record] = []
    for file in sorted(folder.glob(f"*{_PROCESS}")):
        pid = int(file.read_text(encoding="ascii") or 0)
        if pid:
            resident = _resident_bytes(pid)
            memory = None if resident is None else round(resident / (1 << 20), 1)
            records.append({"name": file.name.removesuffix(_PROCESS), "pid": pid, "memory_mib": memory})
    return records


def _state(failures: int, rests_until: float, now: float) -> str:
    if failures < MOST_FAILURES:
        return "closed"
    return "open" if rests_until > now else "half-open"


def _ended(call: SeenCall) -> float:
    return call.started_at + (call.duration_ms or 0.0) / 1000


def _shown(calls: Sequence[SeenCall]) -> list[Record]:
    return [asdict(call) for call in calls]


def _seconds(boards: Iterable[SeenWorker], now: int) -> list[list[int]]:
    """`[second, attempts, errors]` of the last minute, the running second left out."""
    boards = list(boards)
    rows = []
    for second in range(now - SHOWN_SECONDS, now):
        found = [board.seconds.get(second, (0, 0)) for board in boards]
        rows.append([second, sum(calls for calls, _ in found), sum(failed for _, failed in found)])
    return rows


def _spending(totals: Mapping[str, float]) -> Record | None:
    """None: nobody prices what is recorded, as where housekeeping is switched off."""
    at = totals.get(f"{SPENT_AT}{{}}")
    if not at:
        return None
    return {
        "today_usd": totals.get(f"{SPENT_TODAY}{{}}", 0.0),
        "unpriced_calls_today": int(totals.get(f"{UNPRICED_TODAY}{{}}", 0.0)),
        "as_of": at,
    }


def _sum(totals: Mapping[str, float], name: str) -> float:
    return sum(value for key, value in totals.items() if key.startswith(f"{name}{{"))


def _by(totals: Mapping[str, float], name: str, label: str) -> dict[str, int]:
    start = f'{name}{{{label}="'
    return {key[len(start) : -2]: int(value) for key, value in sorted(totals.items()) if key.startswith(start)}


def _resident_bytes(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:  # noqa: PTH123 (read often)
            return int(file.read().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return None
