"""What one row of a trace says: when the call arrived, how long it was, and whether it is traffic at all.

A row may stand in a file made for this, in a published trace, in a log, or in an export of the ledger.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from freehold.audit.rows import OWN_ROUTES
from freehold.cli.row_faults import counted, lines_named
from freehold.core.errors import InputError
from freehold.economics.trace import MOST_TOKENS
from freehold.ledger.logs.files import read_log
from freehold.ledger.logs.raw_rows import RawRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from freehold.ledger.logs.raw_rows import Blank, Rejected

Counting = Literal["replayed", "rented"]
"""Which calls of a ledger count: all that clients made, or those that a rented model answered."""

TIMES = ("t_s", "timestamp", "TIMESTAMP", "Timestamp", "started_at")
INPUTS = ("input_tokens", "prompt_tokens", "ContextTokens", "Request tokens")
OUTPUTS = ("output_tokens", "completion_tokens", "GeneratedTokens", "Response tokens")
CACHED = ("cache_read_tokens", "cached_tokens")
NAMES = ("id", "call_id", "request_id")
SIGNS = ("route", "split", "error_type")
"""Columns of text by which a row may turn out to be no traffic."""

_LEDGER = frozenset({"id", "task", "started_at", "route", "model_requested"})
_BODIES = frozenset({"request", "response", "input", "output", "model_output"})
_FIRST_BAD_STATUS = 400

NO_LENGTH = "without input_tokens or output_tokens"
_IS_TEST = "held-out test cases"
_OWN = "answered by an own model"
_SHADOW = "in the shadow of another call"
_NEVER_SENT = "never sent to a model"
_FAILED = "failed without an answer"
_UNDATED = "without a time"


class NoTraffic(ValueError):  # it is no fault: such rows stand in every ledger
    """The row is left out; the message says why, for several rows."""


@dataclass(slots=True)
class LeftOut:
    """Rows of a file that are no traffic or tell too little, by reason."""

    lines: dict[str, list[int]] = field(default_factory=dict)

    def add(self, reason: str, line: int) -> None:
        """One more."""
        self.lines.setdefault(reason, []).append(line)

    @property
    def rows(self) -> int:
        """How many."""
        return sum(len(lines) for lines in self.lines.values())

    def sentence(self) -> str:
        """All of them with their lines; empty where every row counts."""
        if not self.lines:
            return ""
        reasons = (f"{len(lines):,} {reason} ({lines_named(lines)})" for reason, lines in sorted(self.lines.items()))
        were = "was" if self.rows == 1 else "were"
        return f"{counted(self.rows, 'row')} of the trace {were} left out: {'; '.join(reasons)}."

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """As `skipped` of a record."""
        reasons = [{"reason": reason, "rows": len(lines)} for reason, lines in sorted(self.lines.items())]
        return {"rows": self.rows, "reasons": reasons}


@dataclass(frozen=True, slots=True)
class Arrival:
    """A call of a trace. Tokens are NaN where they are not asked for or not told."""

    t_s: float
    input_tokens: float
    output_tokens: float
    cached_tokens: float
    name: str | None
    """Where the row names its call."""


def raw_rows(path: Path) -> Iterator[RawRow | Rejected | Blank]:
    """Rows of a trace, of any text format of logs or of Parquet, whose rows are counted from 1.

    Raises:
        InputError: the file cannot be read.
    """
    if path.suffix.lower() == ".parquet":
        return _parquet_rows(path)
    return read_log(path)


def arrival(
    values: Mapping[str, Any],  # Any: not checked yet
    *,
    counting: Counting,
    has_times: bool = True,
    has_lengths: bool = True,
) -> Arrival:
    """The call of a row; lengths are read if the file is the one that has them.

    Raises:
        NoTraffic: the row is none, or does not tell how long its call was.
        ValueError: a field is missing or impossible.
    """
    if "requests" in values:
        raise ValueError("the row counts calls by window (requests); the first row of the file is a call")
    _check_is_traffic(values, counting)
    t_s = moment_s(values) if has_times else 0.0
    lengths = math.nan, math.nan, math.nan
    if has_lengths:
        if not (_tells(values, INPUTS) and _tells(values, OUTPUTS)):
            raise NoTraffic(NO_LENGTH)
        lengths = token_count(values, INPUTS), token_count(values, OUTPUTS), _cached(values)
    name = next((str(values[name]) for name in NAMES if values.get(name) is not None), None)
    return Arrival(t_s, *lengths, name)


def tells_lengths(values: Mapping[str, Any]) -> bool:  # Any: not checked yet
    """Whether a row has columns for how long its call was, filled or not."""
    return any(name in values for name in INPUTS) or any(name in values for name in OUTPUTS)


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
    if isinstance(value, datetime):
        return _since_1970(value)
    try:
        moment = _finite(name, value)
    except ValueError:
        if not isinstance(value, str) or value.strip().lower().lstrip("+-") in {"nan", "inf", "infinity", ""}:
            raise
        try:
            moment = _since_1970(datetime.fromisoformat(value.strip()))
        except ValueError:
            raise ValueError(f"{name} is {_shown(value)}, neither seconds nor a moment in ISO 8601") from None
    if moment < 0:
        raise ValueError(f"{name} is {_shown(value)}, before the beginning of time")
    return moment


def _since_1970(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _check_is_traffic(values: Mapping[str, Any], counting: Counting) -> None:  # Any: not checked yet
    """Raise NoTraffic for rows of a ledger that stand for no call of a client, or not for one that counts."""
    if values.get("split") == "test":
        raise NoTraffic(_IS_TEST)
    route = values.get("route")
    if route == "shadow":
        raise NoTraffic(_SHADOW)
    if counting == "rented" and route in OWN_ROUTES:
        raise NoTraffic(_OWN)
    status, wrote = values.get("status"), _tells(values, OUTPUTS) and values.get("output_tokens") != 0
    is_error = values.get("error_type") is not None or (isinstance(status, int) and status >= _FIRST_BAD_STATUS)
    if is_error and not wrote:
        raise NoTraffic(_FAILED)
    if values.keys() >= _LEDGER:
        if route is None and status is None and not wrote:
            raise NoTraffic(_NEVER_SENT)
        if values["started_at"] is None:
            raise NoTraffic(_UNDATED)


def _cached(values: Mapping[str, Any]) -> float:  # Any: not checked yet
    """Tokens of the prompt that a cache held; NaN: the row does not tell."""
    if not _tells(values, CACHED):
        return math.nan
    found = token_count(values, CACHED, least=0)
    if found > token_count(values, INPUTS):
        raise ValueError(f"{_field(values, CACHED)[0]} is {found:.0f}, more than the whole prompt")
    return found


def _tells(values: Mapping[str, Any], names: Iterable[str]) -> bool:  # Any: not checked yet
    return any(values.get(name) is not None for name in names)


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


def _parquet_rows(path: Path) -> Iterator[RawRow]:
    """Rows without the texts of the calls, which a trace does not need."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file.")
    try:
        with pq.ParquetFile(path) as file:
            columns = [name for name in file.schema_arrow.names if name not in _BODIES]
            line = 0
            for batch in file.iter_batches(columns=columns):
                for line, values in enumerate(batch.to_pylist(), start=line + 1):  # noqa: B020  # it goes on
                    yield RawRow(line, values)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: this is no Parquet file that can be read ({type(error).__name__}).") from error
