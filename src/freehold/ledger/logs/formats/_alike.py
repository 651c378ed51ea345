"""Rows without bodies, many at once: what thousands of them have in common is read once.

Who called which model for what is the same in most rows of a log. The reader of single rows reads it from the first of
the rows that are alike; ids, times and tokens, which differ, are read from each row by the same function that the
reader uses. So there is one meaning of a row, however it is read.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from freehold.core.call import Call
from freehold.core.chat import Usage
from freehold.ledger.bulk import empty_columns
from freehold.ledger.columns import BODIES, SCHEMA
from freehold.ledger.logs.format import BadRow, Columns, LoggedCall, Skipped
from freehold.ledger.logs.formats._fields import present
from freehold.ledger.logs.formats._usage import whole
from freehold.ledger.logs.values import json_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from freehold.ledger.logs.format import Context, Item, ManyRowsReader
    from freehold.ledger.logs.formats._each_row import Row, Take

_NOTHING: tuple[object, ...] = (None, "", "{}", "[]", "null", {}, [])
_MOST_PATTERNS = 20_000
_LEAST_ALIKE = 4
"""Where fewer rows than this are alike, one by one is as fast."""
_ENOUGH_ROWS = 4_000
"""After so many it is known how alike the rows of a file are."""
_TOKENS = tuple(each.name for each in fields(Usage))
_COUNTS = attrgetter(*_TOKENS)


class Facts(NamedTuple):
    """What differs from row to row; None is unknown."""

    source_id: str
    started_at: datetime | None
    duration_ms: float | None
    ttft_ms: float | None
    request_id: str | None
    conversation_id: str | None
    subject: str | None
    usage: Usage
    completion_id: str | None = None

    def told(self) -> dict[str, Any]:  # Any: arguments of `logged_call`
        """As `logged_call` takes them."""
        return self._asdict()


_OF_EACH_ROW = tuple(name for name in Facts._fields if name not in ("source_id", "usage"))
_SHARED = tuple(each.name for each in fields(Call) if each.name not in {"id", "task", *_OF_EACH_ROW, *_TOKENS, *BODIES})


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """Which rows of a format are alike."""

    facts: Callable[[Row, Context], Facts]
    """What differs; raises `BadRow` as the reader does."""
    own: frozenset[str]
    """Fields that say nothing but those facts."""
    unread: frozenset[str] = frozenset()
    """Fields that nobody reads."""
    inside: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Field that holds an object, also as text -> fields in it that say nothing but those facts."""
    bodies: tuple[str, ...] = ()
    """Fields that hold bodies; a row in which one of them holds anything is read alone."""
    merged: Callable[[Row, Context], Row] | None = None
    """Makes of a row one with what was said of it elsewhere; the same one if nothing was."""


class AlikeRows:
    """Obeys `format.ManyRowsReader`."""

    def __init__(self, alike: Alike, take: Take, context: Context) -> None:
        """`take` is how a single row is read."""
        self._alike = alike
        self._take = take
        self._context = context
        self._patterns: dict[bytes, Item | None] = {}
        self._parts: dict[tuple[str, ...], tuple[tuple[str, ...], tuple[str, ...]]] = {}
        """Names of the fields of a row -> those with facts of its own, and those that it has in common."""
        self._rows = self._read_alone = 0
        self._is_off = context.is_test  # whether a row may be a held-out case is asked of each

    def may(self, values: Mapping[str, Any]) -> bool:  # Any: JSON
        """Whether a row may be read with others."""
        if self._is_off:
            return False
        for name in self._alike.bodies:
            value = values.get(name)
            if value is not None and value not in _NOTHING:
                return False
        return True

    def read(self, rows: Sequence[Mapping[str, Any]]) -> Columns | None:  # Any: JSON
        """The calls of these rows; None: they must be read one by one."""
        try:
            found = self._read(rows)
        except (BadRow, msgspec.MsgspecError, UnicodeError, TypeError, ValueError, OverflowError, RecursionError):
            return None  # the reader of single rows says what is wrong, and with which of them
        except pa.ArrowException:
            return None
        return found

    def _read(self, rows: Sequence[Mapping[str, Any]]) -> Columns | None:
        skipped: Counter[str] = Counter()
        numbers: dict[int, int] = {}
        examples: list[LoggedCall] = []
        group: list[int] = []
        facts: list[Facts] = []
        for values in rows:
            row, pattern = self._pattern(values)
            if type(pattern) is Skipped:
                skipped[pattern.reason] += 1
                continue
            if type(pattern) is not LoggedCall:
                return None
            number = numbers.setdefault(id(pattern), len(examples))
            if number == len(examples):
                examples.append(pattern)
            group.append(number)
            facts.append(self._alike.facts(row, self._context))
        self._rows += len(rows)
        self._is_off = self._rows > _ENOUGH_ROWS and self._read_alone * _LEAST_ALIKE > self._rows
        if len(self._patterns) > _MOST_PATTERNS:
            self._patterns.clear()
        if len(self._parts) > _MOST_PATTERNS:
            self._parts.clear()
        return _columns(examples, np.array(group, dtype=np.int64), facts, dict(skipped))

    def _pattern(self, values: Mapping[str, Any]) -> tuple[Row, Item | None]:
        """The row, and what the reader makes of rows that are like it; None: something that is read one by one."""
        row, rest = self._parted(values)
        if self._alike.merged is not None:
            merged = self._alike.merged(row, self._context)
            if merged is not row:
                row, rest = self._parted(merged)
        key = msgspec.msgpack.encode(rest)
        try:
            return row, self._patterns[key]
        except KeyError:
            self._read_alone += 1
            items = list(self._take(row, self._context))
            pattern = self._patterns[key] = items[0] if len(items) == 1 and _is_bare(items[0]) else None
            return row, pattern

    def _parted(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:  # Any: JSON
        """The fields of a row that somebody reads and that hold something, and those of them that tell what it is."""
        names = tuple(values)
        parts = self._parts.get(names)
        if parts is None:
            alike = self._alike
            common = tuple(name for name in names if name not in alike.own and name not in alike.unread)
            parts = self._parts[names] = tuple(name for name in names if name in alike.own), common
        row = present(values, parts[0])
        rest = present(values, parts[1])
        row.update(rest)
        for name, less in self._alike.inside.items():
            value = rest.get(name)
            if isinstance(value, str) and value.lstrip().startswith("{"):
                value = json_of(value)
            if type(value) is dict:
                row[name] = value
                rest[name] = {each: value[each] for each in value if each not in less}
        return row, rest


def many_rows(alike: Alike, take: Take) -> Callable[[Context], ManyRowsReader]:
    """How a format makes its reader of many rows."""
    return lambda context: AlikeRows(alike, take, context)


def _is_bare(item: Item) -> bool:
    """Whether what was read has neither a body nor a human's word."""
    if isinstance(item, LoggedCall):
        return item.call.request is None and item.call.response is None and item.human is None
    return isinstance(item, Skipped)


def _columns(
    examples: Sequence[LoggedCall], group: np.ndarray[Any, np.dtype[np.int64]], facts: Sequence[Facts],
    skipped: dict[str, int],
) -> Columns:  # fmt: skip
    columns: dict[str, pa.Array] = {}
    places = pa.array(group)
    for name in _SHARED:
        given = [getattr(one.call, name) for one in examples]
        if any(each is not None for each in given):
            columns[name] = pa.array(given, SCHEMA.field(name).type).take(places)
    told = dict(zip(Facts._fields, zip(*facts, strict=True), strict=True)) if facts else {}
    for name in _OF_EACH_ROW if facts else ():
        columns[name] = pa.array(told[name], SCHEMA.field(name).type)
    usages = zip(*(_COUNTS(whole(usage)) for usage in told.get("usage", ())), strict=True)
    for name, counts in zip(_TOKENS, usages, strict=bool(facts)):
        columns[name] = pa.array(counts, SCHEMA.field(name).type)
    return Columns(
        rows=empty_columns(len(facts), **columns),
        contents=_encoded(told.get("source_id", ())),
        have_ids=True,
        keys=[one.key for one in examples],
        alike=group,
        skipped=skipped,
    )


def _encoded(texts: Iterable[str]) -> list[bytes]:
    return [text.encode("utf-8", "surrogatepass") for text in texts]
