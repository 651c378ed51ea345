"""Takes what one file holds: calls, volumes and words of humans wait until all of it was read, then they appear."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from freehold.core.call import Call
from freehold.ledger.bulk import Bulk
from freehold.ledger.columns import table_of
from freehold.ledger.counts import Counts
from freehold.ledger.identifiers import call_ids, hashes_of
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
from freehold.ledger.logs.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from freehold.ledger.logs.engine import Choices, Stores
    from freehold.ledger.logs.format import ColumnReader, RowReader, Values
    from freehold.ledger.logs.imported import ImportedFile, Tally

_BATCH_ROWS = 10_000
_BATCH_BYTES = 16 << 20
_EPOCH = datetime.fromtimestamp(0, UTC)
_US = timedelta(microseconds=1)
BLANK_LINES = "blank lines"


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
    _calls: list[LoggedCall] = field(default_factory=list, init=False)
    _contents: list[str] = field(default_factory=list, init=False)
    """What tells each of them apart."""
    _lines: list[int] = field(default_factory=list, init=False)
    _bytes: int = field(default=0, init=False)
    _bulk: Bulk = field(init=False)
    _waiting: Waiting = field(init=False)
    _occurrences: Counts = field(init=False)
    _reader: RowReader = field(init=False)
    _columns: ColumnReader | None = field(init=False)

    def __post_init__(self) -> None:
        """Make ready what the rows go through."""
        self._bulk = Bulk(self.stores.ledger.folder, self.place, is_dry=self.choices.is_dry)
        self._waiting = Waiting(self._bulk.place)
        self._occurrences = Counts(self._bulk.place)
        self._reader = self.format.reader(self.context)
        self._columns = None if self.format.columns is None else self.format.columns(self.context)

    def piece(self, piece: Piece) -> Iterator[int]:
        """Take rows; gives now and then how many more were taken."""
        columns = None
        if self._columns is not None and (table := piece.table()) is not None:
            columns = self._columns.read(table)
        if columns is not None:
            self._flush()
            self._add_columns(columns)
            yield len(columns.contents) + sum(columns.skipped.values())
            return
        count = 0
        for row in piece.rows():
            count += self._row(row)
            if count >= _BATCH_ROWS:
                yield count
                count = 0
        yield count

    def items(self, items: Iterable[Item], line: int = 0, values: Values | None = None) -> None:
        """Take what a reader made of a row, or of none in particular."""
        for item in items:
            match item:
                case LoggedCall():
                    self._call(item, line, values)
                case Volume():
                    self._waiting.put_volume(item)
                    self.tally.tasks[item.task or ""] += 1
                case HumanWord():
                    self._waiting.put_word(item, line)
                case Skipped(reason):
                    self.tally.skipped[reason] += 1
                case Unusable(at, reason):
                    self._reject(at, reason)

    def finish(self) -> None:
        """The file is over."""
        self.items(self._reader.finish())
        self._flush()

    def commit(self) -> None:
        """Let everything appear."""
        is_dry = self.choices.is_dry
        if not is_dry:
            self._bulk.commit()
        if self._waiting.volumes:
            appended = self.stores.volumes.append(self._waiting.take_volumes(), is_dry=is_dry)
            self.tally.volumes += appended.new
            self.tally.imported += appended.new
            self.tally.duplicates += appended.duplicates
        if not is_dry:
            for said in self._waiting.said_with_calls(_BATCH_ROWS):
                self.tally.held_out.update(call.task for word, call in said if word.is_test)
                self.tally.corrections.update(self.stores.keep(said))
            for words in self._waiting.words_alone(_BATCH_ROWS):
                self._keep_alone(words)
        self.tally.tasks.pop("", None)

    def close(self) -> None:
        """Forget what has not appeared."""
        self._waiting.close()
        self._bulk.close()

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

    def _call(self, logged: LoggedCall, line: int, values: Values | None) -> None:
        content = logged.source_id or logged.content
        if content is None:
            content = _text_of(values or {})
        self._calls.append(logged)
        self._contents.append(content)
        self._lines.append(line)
        self._bytes += len(content) + 1_000
        if len(self._calls) >= _BATCH_ROWS or self._bytes >= _BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        """Hand the calls that wait to the bulk."""
        calls, contents, lines = self._calls, self._contents, self._lines
        self._calls, self._contents, self._lines, self._bytes = [], [], [], 0
        if not calls:
            return
        rows = _rows_of(calls)
        if rows is None:
            for logged, content, line in zip(calls, contents, lines, strict=True):
                if (alone := _rows_of([logged])) is None:
                    self._reject(line, "a value that cannot be stored: no text, or a number beyond 64 bits")
                else:
                    self._add([logged], [content], alone)
            return
        self._add(calls, contents, rows)

    def _add(self, calls: list[LoggedCall], contents: list[str], rows: pa.Table) -> None:
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
        self._count(rows)
        for logged, identifier, task in zip(calls, ids.to_pylist(), tasks, strict=True):
            if logged.human is not None:
                self._waiting.put_said(logged.human, identifier, task, logged.call.response)

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
        self._count(_with(rows, id=ids, task=tasks))

    def _assigned(self, columns: Columns) -> pa.Array:
        """Tasks of rows without a body: those that are alike in all that a rule may look at are asked about once."""
        rows = columns.rows
        names = ("task", "provider", "model_requested", "model_served", "key_id", "endpoint", "route")
        alike = [rows.column(name).to_pylist() for name in names]
        keys = columns.keys or [None] * len(rows)
        known: dict[tuple[Any, ...], str] = {}
        tasks = []
        for each in zip(keys, *alike, strict=True):
            if each not in known:
                facts = dict(zip(names, each[1:], strict=True))
                call = Call(id="", **{**facts, "task": facts["task"] or ""})
                known[each] = call.task or self.stores.assign(LoggedCall(call=call, key=each[0]))
            tasks.append(known[each])
        return pa.array(tasks, pa.string())

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

    def _count(self, rows: pa.Table) -> None:
        rows = self._sealed(rows)
        purged = self._bulk.purged
        new = self._bulk.add(rows)
        purged = self._bulk.purged - purged
        self.tally.imported += new
        self.tally.purged += purged
        self.tally.duplicates += len(rows) - new - purged
        self.tally.truncated += pc.sum(rows.column("truncated")).as_py() or 0
        for counted in pc.value_counts(rows.column("task").combine_chunks()).to_pylist():
            self.tally.tasks[counted["values"]] += counted["counts"]

    def _keep_alone(self, words: list[tuple[int, HumanWord]]) -> None:
        """Keep words that came without their calls, which must be in the ledger."""
        calls = self.stores.ledger.find(word.call for _, word in words)
        known = [(word, calls[word.call]) for _, word in words if word.call in calls]
        for line, word in words:
            if word.call not in calls:
                self._reject(line, f"no call {word.call[:60]!r} in the ledger: import its log first")
        kept = self.stores.keep(known)
        new = sum(kept.values())
        self.tally.corrections.update(kept)
        self.tally.imported += new
        self.tally.duplicates += len(known) - new
        self.tally.held_out.update(call.task for word, call in known if word.is_test)
        self.tally.tasks.update(call.task for _, call in known)

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
