"""Reads volumes: calls counted by client and window of time (`client`, `t_s`, `requests`, perhaps `cv`)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from freehold.cli.row_faults import broken, counted, lines_named
from freehold.cli.trace_rows import moment_s, raw_rows
from freehold.core.errors import InputError
from freehold.economics.resembling import resembling
from freehold.economics.trace import Volumes
from freehold.ledger.logs.raw_rows import RawRow, Rejected

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from freehold.cli.row_faults import Fault
    from freehold.economics.montecarlo import FloatArray

_MOST_REQUESTS = 1e12


def read_volumes(
    path: Path, *, clients: Collection[str] = (), window_s: float | None = None, sort: bool = False
) -> Volumes:
    """Volumes of a file.

    Args:
        path: JSON Lines, JSON, CSV (plain or gzipped) or Parquet.
        clients: Only these; none means all of them.
        window_s: Width of a window; None: the smallest distance between two.
        sort: Take the windows of a client in any order instead of refusing those that go back in time.

    Raises:
        InputError: the file cannot be read, lacks a client, or has faulty rows; each is named by its line.
    """
    faults: list[Fault] = []
    found: list[tuple[float, float, float]] = []
    seen: dict[tuple[str, float], int] = {}
    last: dict[str, float] = {}
    back: list[int] = []
    for row in raw_rows(path):
        if isinstance(row, Rejected):
            faults.append((row.line, row.reason))
        if not isinstance(row, RawRow):
            continue
        try:
            client, t_s, requests, cv = _values(row.values)
        except ValueError as error:
            faults.append((row.line, str(error)))
            continue
        first = seen.setdefault((client, t_s), row.line)
        if first != row.line:
            faults.append((row.line, f"the same client and window as line {first}"))
        elif t_s < last.get(client, t_s):
            back.append(row.line)
        last[client] = t_s
        if not clients or client in clients:
            found.append((t_s, requests, cv))
    said = [broken(path, faults)] if faults else []
    if back and not sort:
        said.append(_late(path, back))
    if said:
        raise InputError(" ".join(said))
    for wanted in clients:
        if wanted not in last:
            near = resembling(wanted, last, otherwise=f"it holds {len(last):,} clients")
            raise InputError(f"{path} has no client {wanted!r}; {near}.")
    if not found:
        raise InputError(f"{path} holds no volumes.")
    t_s_, requests_, cv_ = (np.array(column, dtype=np.float64) for column in zip(*found, strict=True))
    return Volumes(
        t_s=t_s_,
        requests=requests_.astype(np.int64),
        window_s=_width(path, t_s_, window_s),
        cv=None if np.isnan(cv_).all() else np.where(np.isnan(cv_), 1.0, cv_),
    )


def _late(path: Path, lines: list[int]) -> str:
    begin = "its window begins" if len(lines) == 1 else "their windows begin"
    return (
        f"{path}, {lines_named(lines)}: {begin} before the one above of the same client "
        f"({counted(len(lines), 'row')} in all). Sort the file by time, or let --sort do it."
    )


def _values(values: Mapping[str, Any]) -> tuple[str, float, float, float]:  # Any: not checked yet
    requests = values.get("requests")
    count = float("nan") if isinstance(requests, bool) else _number(requests)
    if not (0 <= count <= _MOST_REQUESTS and count == int(count)):
        raise ValueError(f"requests is no whole number between 0 and {_MOST_REQUESTS:,.0f}")
    cv = values.get("cv")
    spread = float("nan") if cv is None else _number(cv)
    if cv is not None and not 0 < spread < float("inf"):
        raise ValueError("cv is no positive number")
    return str(values.get("client", "")), moment_s(values), count, spread


def _number(value: object) -> float:
    try:
        return float(value) if isinstance(value, int | float | str) else float("nan")
    except (ValueError, OverflowError):
        return float("nan")


def _width(path: Path, t_s: FloatArray, window_s: float | None) -> float:
    if window_s is not None and not 0.0 < window_s < math.inf:
        raise InputError(f"--window-s must be a positive number of seconds, not {window_s!r}.")
    gaps = np.diff(np.unique(t_s))
    if window_s is None:
        if not len(gaps):
            raise InputError(f"{path} has one window of time alone; say how wide it is with --window-s.")
        return float(gaps.min())
    if len(gaps) and gaps.min() < window_s:
        raise InputError(f"{path}: windows begin {gaps.min():g} s apart; they cannot be {window_s:g} s wide.")
    return window_s
