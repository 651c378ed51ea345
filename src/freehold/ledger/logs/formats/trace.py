"""Traces: when each call arrived and how long it was, without a word of what was said.

The names of the fields are those that `freehold simulate --trace` knows: Freehold's own and those of the traces that
Azure and BurstGPT publish. Rows are read many at a time; where that cannot be, one by one, with the same result.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from freehold.core.call import Call
from freehold.core.task import fault_of_name
from freehold.ledger.bulk import empty_columns
from freehold.ledger.logs.format import BadRow, Columns, Context, Format, Item, LoggedCall, Skipped, TaskKey, Values
from freehold.ledger.logs.values import MOST, count_of, moment_of, number_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

TIMES = ("t_s", "timestamp", "TIMESTAMP", "Timestamp", "started_at")
_ALSO = {
    "input_tokens": ("input_tokens", "prompt_tokens", "ContextTokens", "Request tokens"),
    "output_tokens": ("output_tokens", "completion_tokens", "GeneratedTokens", "Response tokens"),
    "cache_read_tokens": ("cache_read_tokens", "cached_tokens"),
    "cache_write_tokens": ("cache_write_tokens",),
    "reasoning_tokens": ("reasoning_tokens",),
    "status": ("status",),
    "duration_ms": ("duration_ms",),
    "ttft_ms": ("ttft_ms",),
    "model_requested": ("model", "Model"),
    "provider": ("provider",),
    "service_tier": ("service_tier",),
    "key_id": ("key_id",),
    "conversation_id": ("conversation_id",),
    "finish_reason": ("finish_reason",),
    "error_type": ("error_type",),
    "route": ("route",),
    "task": ("task",),
    "request_id": ("id", "call_id", "request_id"),
}
"""Column of the ledger -> names under which a trace may have it."""
_COUNTS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "status")
_NUMBERS = ("duration_ms", "ttft_ms")
_TEXTS = tuple(name for name in _ALSO if name not in {*_COUNTS, *_NUMBERS})
_TELLING = ("task", "request_id", "input_tokens", "output_tokens", "cache_read_tokens", "model_requested")
"""Columns that tell a row apart, besides its time."""
_NAMING = ("client", "task", "key_id", "model", "Model")
"""Fields that say whose a call is. Where none does, the file that holds it gives its name."""
_ENDINGS = frozenset(
    {".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet", ".gz", ".zst", ".bz2", ".xz", ".zip"}
)
_BODIES = frozenset({"input", "output", "model_output", "request", "response", "messages", "prompt", "requests"})
_KNOWN = frozenset({"split", *TIMES, *(name for names in _ALSO.values() for name in names)})
_FIRST_MOMENT_S, _LAST_MOMENT_S = 946_684_800.0, 4_102_444_800.0
"""Years 2000 to 2099. Smaller numbers count from the start of the trace."""
_HELD_OUT = "held-out test cases are no traffic"


class TraceReader:
    """Reads rows one by one."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._key = key_of(context.file)

    def read(self, values: Values, _line: int) -> Iterable[Item]:
        """The call of a row."""
        if not _is_call(values):
            raise BadRow(f"no time ({', '.join(TIMES)}) with the tokens of a call (input_tokens, output_tokens)")
        if values.get("split") == "test":
            yield Skipped(_HELD_OUT)
            return
        facts: dict[str, Any] = {  # Any: one value per column
            column: _reader_of(column)(values, name)
            for column, names in _ALSO.items()
            if (name := _first(values, names)) is not None
        }
        fault = fault_of_name(facts["task"]) if facts.get("task") else None
        if fault is not None:
            raise BadRow(f"the task's name {fault}")
        moment_us = _moment_us(values, self._context)
        told = [facts.get(name) for name in _TELLING]
        content = _content(_origin(self._context, values), moment_us, told)
        has_id = facts.get("request_id") is not None
        call = Call(
            id="",
            started_at=None if moment_us < 0 else datetime.fromtimestamp(0, UTC) + timedelta(microseconds=moment_us),
            model_served=facts.get("model_requested"),
            **{"task": "", "route": "rent", **{name: value for name, value in facts.items() if value is not None}},
        )
        yield LoggedCall(
            call=call,
            key=None if any(values.get(name) is not None for name in _NAMING) else self._key,
            source_id=content if has_id else None,
            content=None if has_id else content,
        )

    def finish(self) -> Iterable[Item]:
        """Nothing waits."""
        return ()


class TraceColumns:
    """Reads many rows at once; gives up where a single one might be faulty."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._key = key_of(context.file)

    def read(self, table: pa.Table) -> Columns | None:
        """The calls of these rows; None: one of them needs a closer look."""
        names = set(table.column_names)
        if names & _BODIES or ("split" in names and table.column("split").null_count < len(table)):
            return None
        times = [name for name in TIMES if name in names]
        chosen = {column: [name for name in options if name in names] for column, options in _ALSO.items()}
        if len(times) != 1 or any(len(each) > 1 for each in chosen.values()):
            return None
        try:
            found = {
                column: _column(column, table.column(each[0]).combine_chunks())
                for column, each in chosen.items()
                if each
            }
            moments_us, is_relative = _moments_us(table.column(times[0]).combine_chunks(), self._context)
        except (pa.ArrowException, ValueError):
            return None
        lengths = [found[name].is_valid() for name in ("input_tokens", "output_tokens") if name in found]
        if not lengths or not pc.all(pc.or_(lengths[0], lengths[-1])).as_py():
            return None
        told = [
            found[name].to_pylist() if name in found else [None] * len(table)
            for name in _TELLING
        ]  # fmt: skip
        if any(fault_of_name(task) for task in set(told[0]) - {None}) or any(
            name in found and found[name].null_count for name in ("request_id",)
        ):
            return None
        origin = self._context.anchor if is_relative else ""
        contents = [
            _content(origin, moment_us, row).encode()
            for moment_us, row in zip(moments_us.tolist(), zip(*told, strict=True), strict=True)
        ]
        if "model_requested" in found:
            found["model_served"] = found["model_requested"]
        route = found.get("route", pa.nulls(len(table), pa.string()))
        known = {**found, "route": pc.fill_null(route, "rent")}
        started_at = pa.array(moments_us, mask=moments_us < 0).cast(pa.timestamp("us", tz="UTC"))
        return Columns(
            rows=empty_columns(len(table), started_at=started_at, **known),
            contents=contents,
            keys=_keys(table, self._key),
            have_ids="request_id" in found,
            unused=frozenset(name for name in names - _KNOWN if table.column(name).null_count < len(table)),
        )


def key_of(file: str) -> TaskKey | None:
    """The name of a file without its folder and its endings, as what its calls belong to; None: it has none."""
    name = PurePath(file)
    while name.suffix.lower() in _ENDINGS:
        name = name.with_suffix("")
    return TaskKey("name", name.name) if name.name.strip(" .-_") else None


def _keys(table: pa.Table, key: TaskKey | None) -> list[TaskKey | None]:
    named = [table.column(name).is_null().to_numpy() for name in _NAMING if name in table.column_names]
    if not named:
        return [key] * len(table)
    return [key if is_nameless else None for is_nameless in np.logical_and.reduce(named).tolist()]


def recognises(values: Mapping[str, Any]) -> bool:  # Any: not checked yet
    """Whether a row has a time and the lengths of a call, and no text of it."""
    names = values.keys()
    if names & _BODIES:
        return False
    has = [any(name in names for name in _ALSO[column]) for column in ("input_tokens", "output_tokens")]
    return all(has) and any(name in names for name in TIMES)


def _is_call(values: Mapping[str, Any]) -> bool:  # Any: as above
    """Whether a row of a trace has what one must have; of a table, cells that hold nothing are not there."""
    names = values.keys()
    has = any(name in names for column in ("input_tokens", "output_tokens") for name in _ALSO[column])
    return has and any(name in names for name in TIMES) and not names & _BODIES


def offset_s(values: Mapping[str, Any]) -> float | None:  # Any: as above
    """Seconds from the start of its trace to a row; None: its time is a moment, or it has none."""
    try:
        number = float(values[_first(values, TIMES) or ""])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return number if 0 <= number < _FIRST_MOMENT_S else None


def _first(values: Mapping[str, Any], names: Sequence[str]) -> str | None:  # Any: as above
    return next((name for name in names if values.get(name) is not None), None)


def _reader_of(column: str) -> Any:  # Any: a reader of one field
    if column in _COUNTS:
        return count_of
    return number_of if column in _NUMBERS else text_of


def _origin(context: Context, values: Mapping[str, Any]) -> str:  # Any: as above
    return context.anchor if offset_s(values) is not None else ""


def _content(origin: str, moment_us: int, told: Sequence[Any]) -> str:  # Any: values of columns
    return f"trace|{origin}|{moment_us}|{told[0]}|{told[1]}|{told[2]}|{told[3]}|{told[4]}|{told[5]}"


def _moment_us(values: Mapping[str, Any], context: Context) -> int:  # Any: as above
    """Microseconds since 1970; -1: unknown.

    Raises:
        BadRow: it is no time.
    """
    name = _first(values, TIMES)
    if name is None:
        return -1
    since_start_s = offset_s(values)
    if since_start_s is not None:
        return _start_us(context) + round(since_start_s * 1e6)
    moment = moment_of(values, name)
    return -1 if moment is None else round((moment - datetime.fromtimestamp(0, UTC)) / timedelta(microseconds=1))


def _start_us(context: Context) -> int:
    start = context.starts_at or datetime.fromtimestamp(0, UTC)
    return (start - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)


def _moments_us(times: pa.Array, context: Context) -> tuple[NDArray[np.int64], bool]:
    """Microseconds since 1970, -1 where unknown, and whether they were counted from the start of the trace.

    Raises:
        ValueError: some are no times, or not all are of one kind.
    """
    if times.null_count:
        raise ValueError("times are missing")
    if pa.types.is_timestamp(times.type):
        moments = times
    else:
        try:
            return _of_numbers(times.cast(pa.float64()).to_numpy(), context)
        except pa.ArrowInvalid:
            has_zone = bool(pc.any(pc.match_substring_regex(times, r"(Z|[+-]\d\d:?\d\d)$")).as_py())
            moments = times.cast(pa.timestamp("ns", tz="UTC" if has_zone else None))
    us = moments.cast(pa.timestamp("us", tz=moments.type.tz), safe=False).cast(pa.int64()).to_numpy()
    if us.min() < _FIRST_MOMENT_S * 1e6 or us.max() >= _LAST_MOMENT_S * 1e6:
        raise ValueError("a moment outside of the years that a log can be of")
    return us, False


def _of_numbers(seconds: NDArray[np.float64], context: Context) -> tuple[NDArray[np.int64], bool]:
    if not np.isfinite(seconds).all() or seconds.min() < 0 or seconds.max() >= _LAST_MOMENT_S:
        raise ValueError("a time that is none")
    are_relative = seconds < _FIRST_MOMENT_S
    if are_relative.all():
        return _start_us(context) + np.rint(seconds * 1e6).astype(np.int64), True
    if are_relative.any():
        raise ValueError("some times count from the start of the trace, others from 1970")
    fraction, whole = np.modf(seconds)  # as datetime.fromtimestamp rounds
    return whole.astype(np.int64) * 1_000_000 + np.rint(fraction * 1e6).astype(np.int64), False


def _column(column: str, values: pa.Array) -> pa.Array:
    """A column as the ledger has it.

    Raises:
        ValueError: a value is impossible.
        pa.ArrowException: a value is of the wrong type.
    """
    if column in _TEXTS:
        if not pa.types.is_string(values.type):
            raise ValueError("text that is written as a number")
        trimmed = pc.utf8_trim_whitespace(values)
        return pc.if_else(pc.equal(trimmed, ""), None, trimmed)
    if pa.types.is_boolean(values.type):
        raise ValueError("a number that is true or false")
    numbers = values.cast(pa.float64())
    known = numbers.drop_null().to_numpy()
    if len(known) and (not np.isfinite(known).all() or known.min() < 0 or known.max() > MOST):
        raise ValueError("a number below 0 or beyond all measure")
    if column in _NUMBERS:
        return numbers
    if (known != np.floor(known)).any():
        raise ValueError("a count that is no whole number")
    return numbers.cast(pa.int32() if column == "status" else pa.int64())


TRACE = Format(
    name="trace",
    recognises=recognises,
    reader=TraceReader,
    columns=TraceColumns,
    offset_s=offset_s,
    unused=lambda values: {name for name, value in values.items() if value is not None} - _KNOWN,
    says="a time ('t_s', 'timestamp', 'started_at') with 'input_tokens' and 'output_tokens'",
)
