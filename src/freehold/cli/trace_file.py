"""Reads traces: calls as they arrived, from JSON Lines, JSON, CSV (plain or gzipped) or Parquet.

A row is a call, or stands there for something else (`trace_rows`), or is broken: a file with broken rows is refused,
each named by its line, and what was left out is told. Files with the plain field names are read in one go; only where
something is unusual are they read again, row by row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from freehold.cli.row_faults import broken, counted, lines_named
from freehold.cli.trace_rows import (
    CACHED,
    INPUTS,
    NAMES,
    OUTPUTS,
    SIGNS,
    TIMES,
    LeftOut,
    NoTraffic,
    arrival,
    raw_rows,
)
from freehold.cli.trace_table import table_at_once
from freehold.core.errors import InputError
from freehold.economics.trace import MOST_TOKENS, Lengths, Trace
from freehold.ledger.logs.raw_rows import RawRow, Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from freehold.cli.row_faults import Fault
    from freehold.cli.trace_rows import Arrival, Counting
    from freehold.economics.montecarlo import FloatArray

Duplicates = Literal["refuse", "keep", "drop"]

_PLAIN = (TIMES[0], INPUTS[0], OUTPUTS[0])
_CHANCE = 3.0
"""Equal rows are taken for chance up to so many times as many as chance would give."""
_SMALL = 1_000
"""A file of fewer rows has equal ones because somebody copied them."""
_REMEDY = "Give --input-tokens and --output-tokens where a file tells no lengths; see docs/reference/traces.md."


@dataclass(frozen=True, slots=True)
class _Rows:
    """Columns of a file. Lengths are NaN where the file does not tell them."""

    line: NDArray[np.int64]
    t_s: FloatArray
    input_tokens: FloatArray
    output_tokens: FloatArray
    cached_tokens: FloatArray
    """Of the prompt, NaN where a row does not tell."""
    name: tuple[str, ...] = ()
    """Of each call, where the file names them."""


def read_trace(
    path: Path,
    *,
    lengths: Lengths | None = None,
    seed: int = 0,
    sort: bool = False,
    duplicates: Duplicates = "refuse",
    counting: Counting = "replayed",
    warnings: list[str] | None = None,
    left_out: LeftOut | None = None,
) -> Trace:
    """Calls of a file: `t_s` (seconds) or a moment, `input_tokens`, `output_tokens`; docs/reference/traces.md has all.

    Args:
        path: The file.
        lengths: Drawn from where the file has arrivals alone; otherwise the file's own lengths hold.
        seed: Of those draws.
        sort: Put calls in the order of their arrival instead of refusing a file that is not in order.
        duplicates: What to do with rows that are there twice, by their name or word for word. `refuse` lets pass
            what chance explains: many calls, few lengths, times in whole milliseconds.
        counting: Which calls of a ledger count.
        warnings: Receives a sentence about everything that was let pass.
        left_out: Receives the rows that are no traffic, or do not tell their lengths.

    Raises:
        InputError: the file cannot be read, holds no calls that count, or has faulty rows; each is named by its line.
    """
    notes = warnings if warnings is not None else []
    gone = LeftOut() if left_out is None else left_out
    first = first_row(path)
    if is_windowed(first):
        raise InputError(f"{path} counts calls by window of time; freehold simulate reads such files.")
    rows = _read_at_once(path, first, has_lengths=lengths is None)
    if rows is None or not _is_clean(rows):
        reading = _Reading(counting, has_lengths=lengths is None)
        rows = _read_by_row(path, reading, gone, lambda rest: _complaints(rest, sort=sort, duplicates=duplicates))
    if gone.rows:
        notes.append(gone.sentence())
    complaints = _complaints(rows, sort=sort, duplicates=duplicates)
    if complaints:
        raise InputError(f"{path}: {' '.join(complaints)}")
    rows = _once(_in_order(rows, notes), duplicates, notes)
    cached = None
    if lengths is None:
        inputs, outputs = rows.input_tokens.astype(np.int64), rows.output_tokens.astype(np.int64)
        cached = _known_cached(rows, notes)
    else:
        drawn = np.random.default_rng([seed, 1]).integers(len(lengths.input_tokens), size=len(rows.t_s))
        inputs, outputs = lengths.input_tokens[drawn], lengths.output_tokens[drawn]
    try:
        return Trace(t_s=rows.t_s, input_tokens=inputs, output_tokens=outputs, cached_tokens=cached)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def read_lengths(path: Path) -> Lengths:
    """Pairs of lengths of a file, whenever its calls arrived.

    Raises:
        InputError: as `read_trace`.
    """
    rows = _read_by_row(path, _Reading("replayed", has_times=False), LeftOut(), lambda _: [])
    return Lengths(input_tokens=rows.input_tokens.astype(np.int64), output_tokens=rows.output_tokens.astype(np.int64))


def first_row(path: Path) -> Mapping[str, Any]:  # Any: nothing has been checked yet
    """The first row that can be read.

    Raises:
        InputError: the file cannot be read or holds none.
    """
    faults: list[Fault] = []
    for row in raw_rows(path):
        if isinstance(row, RawRow):
            return row.values
        if isinstance(row, Rejected):
            faults.append((row.line, row.reason))
    raise InputError(broken(path, faults) if faults else f"{path} holds no calls.")


def is_windowed(row: Mapping[str, Any]) -> bool:  # Any: not checked yet
    """Whether a row counts calls instead of being one."""
    return "requests" in row


def _read_at_once(
    path: Path,
    first: Mapping[str, Any],  # Any: not checked yet
    *,
    has_lengths: bool,
) -> _Rows | None:
    """The columns of a file with the plain names; None when it is another one or anything is unusual."""
    wanted = _PLAIN if has_lengths else _PLAIN[:1]
    if not set(wanted) <= set(first) or set(NAMES) & set(first):
        return None
    table = table_at_once(path, wanted, [*wanted, *(CACHED if has_lengths else ())], SIGNS)
    unusual = () if table is None else [name for name in (*SIGNS, *CACHED[1:]) if name in table.column_names]
    if table is None or any(table.column(name).null_count < len(table) for name in unusual):
        return None
    columns = {name: table.column(name).to_numpy() for name in table.column_names if name not in unusual}
    unknown = np.full(len(table), math.nan)
    t_s, inputs, outputs, cached = (columns.get(name, unknown) for name in (*_PLAIN, CACHED[0]))
    begin = 2 if path.suffix.lower() == ".csv" else 1
    return _Rows(np.arange(begin, begin + len(table)), t_s, inputs, outputs, cached)


def _is_clean(rows: _Rows) -> bool:
    """Whether every value is one that a call can have."""
    if not len(rows.t_s) or not np.isfinite(rows.t_s).all() or (rows.t_s < 0).any():
        return False
    are_possible = (rows.cached_tokens >= 0) & (rows.cached_tokens <= rows.input_tokens)
    if not are_possible.all() and not np.isnan(rows.cached_tokens).all():
        return False
    return all(
        np.isnan(tokens).all() or ((tokens >= 1) & (tokens <= MOST_TOKENS) & (tokens == np.floor(tokens))).all()
        for tokens in (rows.input_tokens, rows.output_tokens)
    )


@dataclass(frozen=True, slots=True)
class _Reading:
    """What of the rows is read."""

    counting: Counting
    has_lengths: bool = True
    has_times: bool = True


def _read_by_row(path: Path, reading: _Reading, left_out: LeftOut, others: Callable[[_Rows], list[str]]) -> _Rows:
    """The columns, row by row. `others` says what else is wrong, for a message about rows that cannot be read."""
    faults: list[Fault] = []
    lines: list[int] = []
    found: list[Arrival] = []
    for row in raw_rows(path):
        if isinstance(row, Rejected):
            faults.append((row.line, row.reason))
        if not isinstance(row, RawRow):
            continue
        try:
            call = arrival(
                row.values, counting=reading.counting, has_times=reading.has_times, has_lengths=reading.has_lengths
            )
        except NoTraffic as reason:
            left_out.add(str(reason), row.line)
        except ValueError as error:
            faults.append((row.line, str(error)))
        else:
            lines.append(row.line)
            found.append(call)
    rows = _columns(lines, found) if found else None
    if faults:
        raise InputError(" ".join([broken(path, faults), *([] if rows is None else others(rows))]))
    if rows is None:
        raise InputError(f"{path} holds no calls that count. {left_out.sentence()} {_REMEDY}".strip())
    return rows


def _columns(lines: list[int], found: list[Arrival]) -> _Rows:
    numbers = np.array([[each.t_s, each.input_tokens, each.output_tokens, each.cached_tokens] for each in found])
    names = tuple(each.name for each in found if each.name is not None)
    t_s, inputs, outputs, cached = numbers.T
    rows = np.array(lines, dtype=np.int64)
    return _Rows(rows, t_s, inputs, outputs, cached, names if len(names) == len(found) else ())


def _known_cached(rows: _Rows, notes: list[str]) -> NDArray[np.int64] | None:
    """Cached tokens of every call; none of those that do not tell. None: no call tells."""
    unknown = int(np.isnan(rows.cached_tokens).sum())
    if unknown == len(rows.t_s):
        return None
    if unknown:
        do = "does" if unknown == 1 else "do"
        notes.append(f"{counted(unknown, 'call')} {do} not tell how much a prompt cache held: none is assumed.")
    return np.nan_to_num(rows.cached_tokens).astype(np.int64)


def _complaints(rows: _Rows, *, sort: bool, duplicates: Duplicates) -> list[str]:
    """What is wrong with the order and the uniqueness of rows, a sentence each, with all of their lines."""
    said = []
    back = np.flatnonzero(np.diff(rows.t_s) < 0)
    if len(back) and not sort:
        line, above = int(rows.line[back[0] + 1]), int(rows.line[back[0]])
        others = f"; so did those on {lines_named(rows.line[back[1:] + 1].tolist())}" if len(back) > 1 else ""
        said.append(
            f"line {line}: the call arrived before the one on line {above}{others} "
            f"({counted(len(back), 'row')} in all). Sort the file by time, or let --sort do it."
        )
    repeated = rows.line[_repeated(rows)]
    if len(repeated) and duplicates == "refuse" and (rows.name or len(repeated) > _by_chance(rows)):
        said.append(
            f"{_are_there(len(repeated), 'twice')} ({lines_named(repeated.tolist())}). Keep them with --duplicates "
            "keep, or leave the second ones out with --duplicates drop."
        )
    return said


def _in_order(rows: _Rows, notes: list[str]) -> _Rows:
    back = np.flatnonzero(np.diff(rows.t_s) < 0)
    if not len(back):
        return rows
    stood = counted(len(back), "row")
    notes.append(
        f"{stood} stood before an earlier one, the first on line {rows.line[back[0] + 1]}; the calls were sorted."
    )
    return _chosen(rows, np.argsort(rows.t_s, kind="stable"))


def _are_there(count: int, how: str) -> str:
    return f"{counted(count, 'row')} {'is' if count == 1 else 'are'} there {how}"


def _chosen(rows: _Rows, index: NDArray[np.int64]) -> _Rows:
    names = tuple(rows.name[position] for position in index) if rows.name else ()
    inputs, outputs, cached = (column[index] for column in (rows.input_tokens, rows.output_tokens, rows.cached_tokens))
    return _Rows(rows.line[index], rows.t_s[index], inputs, outputs, cached, names)


def _repeated(rows: _Rows) -> NDArray[np.bool_]:
    """Rows that are there a second time: by their name, or by time and lengths. Without either, nothing repeats."""
    repeated = np.zeros(len(rows.t_s), dtype=bool)
    if rows.name:
        kept = np.unique(np.array(rows.name), return_index=True)[1]
    elif np.isnan(rows.input_tokens[0]):
        return repeated
    else:
        order = np.lexsort((rows.output_tokens, rows.input_tokens, rows.t_s))
        columns = np.stack([rows.t_s, rows.input_tokens, rows.output_tokens])[:, order]
        same = np.concatenate([[False], (np.diff(columns) == 0).all(axis=0)])
        kept = order[~same]
    repeated[:] = True
    repeated[kept] = False
    return repeated


def _once(rows: _Rows, duplicates: Duplicates, notes: list[str]) -> _Rows:
    repeated = _repeated(rows)
    count = int(repeated.sum())
    if not count or duplicates == "keep":
        return rows
    rows_, lines = counted(count, "row"), lines_named(rows.line[repeated].tolist())
    were = "was" if count == 1 else "were"
    if duplicates == "drop":
        notes.append(f"{rows_} {were} there before and {were} left out ({lines}).")
        return _chosen(rows, np.flatnonzero(~repeated))
    equal = "equals" if count == 1 else "equal"
    kept = "it was" if count == 1 else "they were"
    notes.append(f"{rows_} {equal} another one ({lines}), as few as chance explains; {kept} kept.")
    return rows


def _by_chance(rows: _Rows) -> float:
    """Equal rows to let pass: calls at one moment, times the chance that two calls have the same lengths."""
    if len(rows.t_s) < _SMALL:
        return 0.0
    together = float((np.diff(rows.t_s) == 0).sum())
    pairs = rows.input_tokens * (MOST_TOKENS + 1.0) + rows.output_tokens
    _, counts = np.unique(pairs, return_counts=True)
    return _CHANCE * together * float(((counts / len(pairs)) ** 2).sum())
