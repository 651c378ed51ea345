"""Takes what one file holds: calls, volumes and words of humans wait until all of it was read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from freehold.core.call import Call
from freehold.ledger.columns import table_of
from freehold.ledger.counts import Counts
from freehold.ledger.identifiers import call_ids, hashes_of
from freehold.ledger.logs.counted import are_possible, fault_of
from freehold.ledger.logs.format import (
    BadRow,
    Columns,
    Context,
    Format,
    HumanWord,
    Item,
    LoggedCall,
    Skipped,
    Unusable,
    Volume,
)
from freehold.ledger.logs.raw_rows import Blank, Piece, RawRow, Rejected
from freehold.ledger.logs.together import MOST_BYTES, MOST_ROWS
from freehold.ledger.logs.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from freehold.ledger.logs.change import Change
    from freehold.ledger.logs.engine import Choices, Stores
    from freehold.ledger.logs.format import ColumnReader, ManyRowsReader, RowReader, Values
    from freehold.ledger.logs.imported import ImportedFile, Tally

_EPOCH = datetime.fromtimestamp(0, UTC)
_US = timedelta(microseconds=1)
BLANK_LINES = "blank lines"
_MOST_GATHERED = 4_000
"""Rows that are read at once."""
_TOLD = ("task", "provider", "model_requested", "model_served", "key_id", "endpoint", "route")
"""Columns that a rule about tasks may look at, where there are no bodies."""
_LEAST_GATHERED = 50
"""Fewer are read one by one, which is as fast."""


@dataclass(slots=True)
class Taking:
    """One file on its way into the stores."""

    stores: Stores
    choices: Choices
    format: Format
    context: Context
    tally: Tally
    entry: ImportedFile
    place: Path
    reject: Callable[[Rejected], None]
    alone: Callable[[], Change]
    """Gives a change for this file, if it is a large one."""
    change: Change | None = field(default=None, init=False)
    """That of a large file; None: the file is small, so far."""
    ready: list[pa.Table] = field(default_factory=list, init=False)
    """Calls of a small file, with all columns of the ledger."""
    ready_rows: int = field(default=0, init=False)
    ready_bytes: int = field(default=0, init=False)
    waiting: Waiting = field(init=False)
    """What the file holds besides calls."""
    _calls: list[LoggedCall] = field(default_factory=list, init=False)
    _contents: list[str] = field(default_factory=list, init=False)
    """What tells each of them apart."""
    _lines: list[int] = field(default_factory=list, init=False)
    _bytes: int = field(default=0, init=False)
    _tasks: dict[tuple[str | None, ...], str] = field(default_factory=dict, init=False)
    """Of the volumes of a key, provider and model."""
    _occurrences: Counts = field(init=False)
    _reader: RowReader = field(init=False)
    _columns: ColumnReader | None = field(init=False)
    _many: ManyRowsReader | None = field(init=False)
    _gathered: list[RawRow] = field(default_factory=list, init=False)
    """Rows that may be read at once."""

    def __post_init__(self) -> None:
        """Make ready what the rows go through."""
        self.waiting = Waiting(self.place, self.entry.file)
        self._occurrences = Counts(self.place)
        self._reader = self.format.reader(self.context)
        self._columns = None if self.format.columns is None else self.format.columns(self.context)
        self._many = None if self.format.many is None else self.format.many(self.context)

    def piece(self, piece: Piece) -> Iterator[int]:
        """Take rows; gives now and then how many more were taken."""
        columns = None
        if self._columns is not None and (piece.is_text or not self.format.are_columns_text):
            table = piece.table()
            columns = None if table is None else self._columns.read(table)
        if columns is not None and are_possible(columns.rows):
            self._flush()
            self._add_columns(columns)
            yield len(columns.contents) + sum(columns.skipped.values())
            return
        count = 0
        for row in piece.rows():
            count += self._row(row) if self._many is None else self._row_or_gathered(row, self._many)
            if count >= MOST_ROWS:
                yield count
                count = 0
        self._together()
        yield count

    def items(self, items: Iterable[Item], line: int = 0, values: Values | None = None) -> None:
        """Take what a reader made of a row, or of none in particular."""
        for item in items:
            match item:
                case LoggedCall():
                    self._call(item, line, values)
                case Volume():
                    self._volume(item, line)
                case HumanWord():
                    self.waiting.put_word(item, line)
                case Skipped(reason):
                    self.tally.skipped[reason] += 1
                case Unusable(at, reason):
                    self._reject(at, reason)

    def finish(self) -> None:
        """The file is over."""
        self.items(self._reader.finish())
        self._flush()
        self.tally.tasks.pop("", None)

    def close(self) -> None:
        """Forget what has not appeared."""
        self.waiting.close()
        if self.change is not None:
            self.change.close()

    def _row_or_gathered(self, row: RawRow | Rejected | Blank, many: ManyRowsReader) -> int:
        """Take a row, or let it wait for others that may be read with it."""
        if isinstance(row, RawRow) and many.may(row.values):
            self._gathered.append(row)
            if len(self._gathered) >= _MOST_GATHERED:
                self._together()
            return 1
        self._together()
        return self._row(row)

    def _together(self) -> None:
        """Take the rows that wait, at once if that can be."""
        rows, self._gathered = self._gathered, []
        columns = None
        if self._many is not None and len(rows) >= _LEAST_GATHERED:
            columns = self._many.read([row.values for row in rows])
        if columns is None or not are_possible(columns.rows):
            for row in rows:
                self._row(row)
            return
        self._flush()
        self._add_columns(columns)

    def _row(self, row: RawRow | Rejected | Blank) -> int:
        match row:
            case Blank():
                self.tally.skipped[BLANK_LINES] += 1
                return 0
            case Rejected():
                self._reject(row.line, row.reason)
            case RawRow(line, values):
                try:
                    self.items(self._reader.read(values, line), line, values)
                except BadRow as error:
                    self._reject(line, str(error))
                else:
                    self.tally.ignored_fields |= self.format.unused(values)
        return 1

    def _volume(self, volume: Volume, line: int) -> None:
        fault = fault_of(volume, of_many=True)
        if fault is not None:
            self._reject(line, fault)
            return
        named = replace(volume, task=volume.task or self.context.task or self._task_of(volume))
        self.waiting.put_volume(named)
        self.tally.tasks[named.task or ""] += 1

    def _task_of(self, volume: Volume) -> str:
        """The task of calls that are known by their sum alone: that of their key, or else of their model."""
        told = (volume.key_id, volume.provider, volume.model)
        if told not in self._tasks:
            call = Call(id="", task="", key_id=told[0], provider=told[1], model_requested=told[2], model_served=told[2])
            self._tasks[told] = self.stores.assign(LoggedCall(call=call))
        return self._tasks[told]

    def _call(self, logged: LoggedCall, line: int, values: Values | None) -> None:
        fault = None if self.format.name == "ledger" else fault_of(logged.call)
        if fault is not None:
            self._reject(line, fault)
            return
        content = logged.source_id or logged.content
        if content is None:
            content = _text_of(values or {})
        self._calls.append(logged)
        self._contents.append(content)
        self._lines.append(line)
        self._bytes += len(content) + 1_000
        if len(self._calls) >= MOST_ROWS or self._bytes >= MOST_BYTES:
            self._flush()

    def _flush(self) -> None:
        """Hand the calls that wait to the bulk."""
        calls, contents, lines, size = self._calls, self._contents, self._lines, self._bytes
        self._calls, self._contents, self._lines, self._bytes = [], [], [], 0
        if not calls:
            return
        rows = _rows_of(calls)
        if rows is None:
            for logged, content, line in zip(calls, contents, lines, strict=True):
                if (alone := _rows_of([logged])) is None:
                    self._reject(line, "a value that cannot be stored: no text, or a number beyond 64 bits")
                else:
                    self._add([logged], [content], alone, size // len(calls))
            return
        self._add(calls, contents, rows, size)

    def _add(self, calls: list[LoggedCall], contents: list[str], rows: pa.Table, size: int) -> None:
        moments = np.array(
            [-1 if one.call.started_at is None else (one.call.started_at - _EPOCH) // _US for one in calls],
            dtype=np.int64,
        )
        encoded = [content.encode("utf-8", "surrogatepass") for content in contents]
        numbers = self._numbers(encoded, [one.source_id is not None or bool(one.call.id) for one in calls])
        made = call_ids(moments, [b"%s#%d" % pair for pair in zip(encoded, numbers, strict=True)])
        own = pa.array([one.call.id or None for one in calls], pa.string())
        ids = pc.coalesce(own, made)
        tasks = [one.call.task or self.context.task or self.stores.assign(one) for one in calls]
        rows = _with(rows, id=ids, task=pa.array(tasks, pa.string()))
        self._hand_on(rows, size)
        for logged, identifier, task in zip(calls, ids.to_pylist(), tasks, strict=True):
            if logged.human is not None:
                self.waiting.put_said(logged.human, identifier, task, logged.call.response)

    def _add_columns(self, columns: Columns) -> None:
        rows = columns.rows
        self.tally.ignored_fields |= columns.unused
        self.tally.skipped.update(columns.skipped)
        moments = pc.fill_null(rows.column("started_at").cast(pa.int64()), -1).to_numpy()
        numbers = self._numbers(columns.contents, [columns.have_ids] * len(rows))
        ids = call_ids(moments, [b"%s#%d" % pair for pair in zip(columns.contents, numbers, strict=True)])
        tasks = rows.column("task")
        if tasks.null_count:
            tasks = pc.fill_null(tasks, self.context.task) if self.context.task else self._assigned(columns)
        rows = _with(rows, id=ids, task=tasks)
        self._hand_on(rows, rows.nbytes)

    def _assigned(self, columns: Columns) -> pa.Array:
        """Tasks of rows without a body: those that are alike in all that a rule may look at are asked about once."""
        rows = columns.rows
        if columns.alike is not None:
            return self._assigned_by_kind(columns, columns.alike)
        alike = [rows.column(name).to_pylist() for name in _TOLD]
        keys = columns.keys or [None] * len(rows)
        known: dict[tuple[Any, ...], str] = {}
        tasks = []
        for each in zip(keys, *alike, strict=True):
            if each not in known:
                facts = dict(zip(_TOLD, each[1:], strict=True))
                call = Call(id="", **{**facts, "task": facts["task"] or ""})
                known[each] = call.task or self.stores.assign(LoggedCall(call=call, key=each[0]))
            tasks.append(known[each])
        return pa.array(tasks, pa.string())

    def _assigned_by_kind(self, columns: Columns, alike: NDArray[np.int64]) -> pa.Array:
        """The same where it is known which rows are alike."""
        kinds, first = np.unique(alike, return_index=True)
        keys = columns.keys or [None] * len(kinds)
        tasks = [""] * (int(kinds[-1]) + 1 if len(kinds) else 0)
        for kind, example in zip(kinds.tolist(), columns.rows.select(_TOLD).take(first).to_pylist(), strict=True):
            call = Call(id="", **{**example, "task": example["task"] or ""})
            tasks[kind] = call.task or self.stores.assign(LoggedCall(call=call, key=keys[kind]))
        return pa.array(tasks, pa.string()).take(pa.array(alike))

    def _numbers(self, contents: list[bytes], have_ids: list[bool]) -> list[int]:
        """Which occurrence of its content each row is; those with ids of their own are always the first."""
        if all(have_ids):
            return [1] * len(contents)
        numbers = (self._occurrences.add(hashes_of(contents)) + 1).tolist()
        return [1 if has_id else number for number, has_id in zip(numbers, have_ids, strict=True)]

    def _sealed(self, rows: pa.Table) -> pa.Table:
        """End users as the ledger keeps them; an export of a ledger has them so already."""
        subjects = rows.column("subject")
        if self.stores.seal is None or self.format.name == "ledger" or subjects.null_count == len(rows):
            return rows
        known = {one: None if one is None else self.stores.seal(one) for one in subjects.unique().to_pylist()}
        return _with(rows, subject=pa.array([known[one] for one in subjects.to_pylist()], pa.string()))

    def _hand_on(self, rows: pa.Table, size: int) -> None:
        """Let rows wait for the end of the file; more than wait in memory go into a change of their own."""
        rows = self._sealed(rows)
        if self.change is not None:
            self.change.add(rows)
            return
        self.ready.append(rows)
        self.ready_rows += len(rows)
        self.ready_bytes += size
        if self.ready_rows >= MOST_ROWS or self.ready_bytes >= MOST_BYTES:
            self.change = self.alone()
            while self.ready:
                self.change.add(self.ready.pop(0))

    def _reject(self, line: int, reason: str) -> None:
        self.tally.rejected += 1
        self.reject(Rejected(self.entry.file, line, reason))


def _with(rows: pa.Table, **columns: pa.Array) -> pa.Table:
    for name, values in columns.items():
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(place), values)
    return rows


def _text_of(values: Values) -> str:
    """A whole row as text, the same for equal rows."""
    try:
        return msgspec.json.encode(values, order="sorted").decode()
    except (UnicodeError, TypeError, ValueError, RecursionError):
        return json.dumps(values, sort_keys=True, default=str)


def _rows_of(calls: list[LoggedCall]) -> pa.Table | None:
    """Rows of the ledger; None: one of them holds what cannot be stored."""
    try:
        return table_of([logged.call for logged in calls])
    except (pa.ArrowException, OverflowError, UnicodeError, TypeError, ValueError):
        return None
