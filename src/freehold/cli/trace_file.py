"""Reads traces: calls as they arrived, from JSON Lines, JSON or CSV, plain or gzipped.

A file is either right or refused: every fault is named by its line, and a replay of half a trace would be worth
nothing. Files with the plain field names are read in one go; only where something is wrong are they read again, row
by row, to say where.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from freehold.cli.row_faults import broken, counted, lines_named
from freehold.core.errors import InputError
from freehold.economics.trace import MOST_TOKENS, Lengths, Trace
from freehold.ledger.log_files import RawRow, Rejected, find_logs, read_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from freehold.cli.row_faults import Fault
    from freehold.economics.montecarlo import FloatArray

Duplicates = Literal["refuse", "keep", "drop"]

TIMES = ("t_s", "timestamp", "TIMESTAMP", "Timestamp", "started_at")
INPUTS = ("input_tokens", "prompt_tokens", "ContextTokens", "Request tokens")
OUTPUTS = ("output_tokens", "completion_tokens", "GeneratedTokens", "Response tokens")
NAMES = ("id", "call_id", "request_id")
_PLAIN = (TIMES[0], INPUTS[0], OUTPUTS[0])
_CHANCE = 3.0
"""Equal rows are taken for chance up to so many times as many as chance would give."""
_SMALL = 1_000
"""A file of fewer rows has equal ones because somebody copied them."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """Columns of a file. Lengths are NaN where the file does not tell them."""

    line: NDArray[np.int64]
    t_s: FloatArray
    input_tokens: FloatArray
    output_tokens: FloatArray
    name: tuple[str, ...] = ()
    """Of each call, where the file names them."""


def read_trace(
    path: Path,
    *,
    lengths: Lengths | None = None,
    seed: int = 0,
    sort: bool = False,
    duplicates: Duplicates = "refuse",
    warnings: list[str] | None = None,
) -> Trace:
    """Calls of a file: `t_s` (seconds) or a moment, `input_tokens`, `output_tokens`; other names see TIMES and so on.

    Args:
        path: The file.
        lengths: Drawn from where the file has arrivals alone; otherwise the file's own lengths hold.
        seed: Of those draws.
        sort: Put calls in the order of their arrival instead of refusing a file that is not in order.
        duplicates: What to do with rows that are there twice, by their name or word for word. `refuse` lets pass
            what chance explains: many calls, few lengths, times in whole milliseconds.
        warnings: Receives a sentence about everything that was let pass.

    Raises:
        InputError: the file cannot be read, holds no calls, or has faulty rows; each is named by its line.
    """
    notes = warnings if warnings is not None else []
    first = first_row(path)
    if is_windowed(first):
        raise InputError(f"{path} counts calls by window of time; freehold simulate reads such files.")
    rows = _read_at_once(path, first, has_lengths=lengths is None)
    if rows is None or not _is_clean(rows):
        rows = _read_by_row(
            path, has_lengths=lengths is None, others=lambda rest: _complaints(rest, sort=sort, duplicates=duplicates)
        )
    complaints = _complaints(rows, sort=sort, duplicates=duplicates)
    if complaints:
        raise InputError(f"{path}: {' '.join(complaints)}")
    rows = _once(_in_order(rows, notes), duplicates, notes)
    if lengths is None:
        inputs, outputs = rows.input_tokens.astype(np.int64), rows.output_tokens.astype(np.int64)
    else:
        drawn = np.random.default_rng([seed, 1]).integers(len(lengths.input_tokens), size=len(rows.t_s))
        inputs, outputs = lengths.input_tokens[drawn], lengths.output_tokens[drawn]
    try:
        return Trace(t_s=rows.t_s, input_tokens=inputs, output_tokens=outputs)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def read_lengths(path: Path) -> Lengths:
    """Pairs of lengths of a file, whenever its calls arrived.

    Raises:
        InputError: as `read_trace`.
    """
    rows = _read_by_row(path, has_lengths=True, has_times=False)
    return Lengths(input_tokens=rows.input_tokens.astype(np.int64), output_tokens=rows.output_tokens.astype(np.int64))


def first_row(path: Path) -> Mapping[str, Any]:  # Any: nothing has been checked yet
    """The first row that can be read.

    Raises:
        InputError: the file cannot be read or holds none.
    """
    find_logs([path])
    faults: list[Fault] = []
    for row in read_log(path):
        if isinstance(row, RawRow):
            return row.values
        if isinstance(row, Rejected):
            faults.append((row.line, row.reason))
    raise InputError(broken(path, faults) if faults else f"{path} holds no calls.")


def is_windowed(row: Mapping[str, Any]) -> bool:  # Any: not checked yet
    """Whether a row counts calls instead of being one."""
    return "requests" in row


def token_count(values: Mapping[str, Any], names: Iterable[str], least: int = 1) -> float:  # Any: not checked yet
    """A whole number of a row.

    Raises:
        ValueError: it is missing or no such number; the message says what is wrong.
    """
    name, value = _field(values, names)
    number = _finite(name, value)
    if number != math.floor(number) or not least <= number <= MOST_TOKENS:
        raise ValueError(f"{name} is {_shown(value)}, not a whole number between {least} and {MOST_TOKENS:,}")
    return number


def moment_s(values: Mapping[str, Any]) -> float:  # Any: not checked yet
    """Time of arrival in seconds: a number as it stands, a moment in ISO 8601 since 1970 (UTC where it says nothing).

    Raises:
        ValueError: it is missing, negative or no time.
    """
    name, value = _field(values, TIMES)
    try:
        moment = _finite(name, value)
    except ValueError:
        if not isinstance(value, str) or value.strip().lower().lstrip("+-") in {"nan", "inf", "infinity", ""}:
            raise
        try:
            parsed = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{name} is {_shown(value)}, neither seconds nor a moment in ISO 8601") from None
        moment = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    if moment < 0:
        raise ValueError(f"{name} is {_shown(value)}, before the beginning of time")
    return moment


def _field(values: Mapping[str, Any], names: Iterable[str]) -> tuple[str, Any]:  # Any: not checked yet
    for name in names:
        if values.get(name) is not None:
            return name, values[name]
    raise ValueError(f"{next(iter(names))} is missing")


def _finite(name: str, value: object) -> float:
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
        if math.isfinite(number):
            return number
    raise ValueError(f"{name} is {_shown(value)}, not a finite number")


def _shown(value: object) -> str:
    """Numbers as they are; customers' text is never quoted."""
    return (
        f"{value!r:.30}"
        if isinstance(value, int | float) and not isinstance(value, bool)
        else f"of type {type(value).__name__}"
    )


def _read_at_once(
    path: Path,
    first: Mapping[str, Any],  # Any: not checked yet
    *,
    has_lengths: bool,
) -> _Rows | None:
    """The columns of a JSON Lines file with the plain names; None when it is another one or anything is unusual."""
    from pyarrow import ArrowException, BufferReader, float64, json, schema

    wanted = _PLAIN if has_lengths else _PLAIN[:1]
    if path.suffix.lower() not in {".jsonl", ".ndjson"} or not set(wanted) <= set(first) or set(NAMES) & set(first):
        return None
    parse = json.ParseOptions(
        explicit_schema=schema([(name, float64()) for name in wanted]), unexpected_field_behavior="ignore"
    )
    text = path.read_bytes()
    try:
        table = json.read_json(BufferReader(text), json.ReadOptions(use_threads=False, block_size=1 << 24), parse)
    except (ArrowException, OSError):
        return None
    if len(table) != text.count(b"\n") + (not text.endswith(b"\n")):
        return None  # empty lines would shift the numbers of those below
    columns = [table.column(name).to_numpy() for name in wanted]
    columns += [np.full(len(columns[0]), math.nan)] * (len(_PLAIN) - len(columns))
    return _Rows(np.arange(1, len(columns[0]) + 1), columns[0], columns[1], columns[2])


def _is_clean(rows: _Rows) -> bool:
    """Whether every value is one that a call can have."""
    if not len(rows.t_s) or not np.isfinite(rows.t_s).all() or (rows.t_s < 0).any():
        return False
    return all(
        np.isnan(tokens).all() or ((tokens >= 1) & (tokens <= MOST_TOKENS) & (tokens == np.floor(tokens))).all()
        for tokens in (rows.input_tokens, rows.output_tokens)
    )


def _read_by_row(
    path: Path,
    *,
    has_lengths: bool,
    has_times: bool = True,
    others: Callable[[_Rows], list[str]] = lambda _: [],
) -> _Rows:
    """The columns, row by row. `others` says what else is wrong, for a message about rows that cannot be read."""
    find_logs([path])
    faults: list[Fault] = []
    found: list[tuple[int, float, float, float]] = []
    names: list[str] = []
    for row in read_log(path):
        if isinstance(row, Rejected):
            faults.append((row.line, row.reason))
        if not isinstance(row, RawRow):
            continue
        try:
            t_s = moment_s(row.values) if has_times else 0.0
            inputs = token_count(row.values, INPUTS) if has_lengths else math.nan
            outputs = token_count(row.values, OUTPUTS) if has_lengths else math.nan
        except ValueError as error:
            faults.append((row.line, str(error)))
            continue
        found.append((row.line, t_s, inputs, outputs))
        names += [str(row.values[name]) for name in NAMES if row.values.get(name) is not None][:1]
    rows = _columns(found, names) if found else None
    if faults:
        raise InputError(" ".join([broken(path, faults), *([] if rows is None else others(rows))]))
    if rows is None:
        raise InputError(f"{path} holds no calls.")
    return rows


def _columns(found: list[tuple[int, float, float, float]], names: list[str]) -> _Rows:
    line, t_s, inputs, outputs = (np.array(column) for column in zip(*found, strict=True))
    return _Rows(line.astype(np.int64), t_s, inputs, outputs, tuple(names) if len(names) == len(found) else ())


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
    return _Rows(rows.line[index], rows.t_s[index], rows.input_tokens[index], rows.output_tokens[index], names)


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
