"""What a format of log is: how its rows are known, and what its reader makes of them.

A reader sees one row after another and gives what it holds: calls, sums of calls, words of humans. What needs a row of
another file (the prompt of a batch, the messages of a stored completion) waits on the shelf, which lies on the disk.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from freehold.core.call import Call

Values = dict[str, Any]  # Any: a row that a stranger brought; nothing has been checked yet


class BadRow(ValueError):
    """The row cannot be used; the message says why, without quoting a customer's text."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row that is in order and no call, such as a span of something else. Counted by its reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """A row that could not be used, found out after it was read. It is rejected with its line."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HumanWord:
    """What a human said the answer to a call is."""

    call: str
    """Id of the call in the ledger, or the id that its log gave it; "" is the call that it stands with."""
    output: str
    reviewer: str | None = None
    reviewed_at: str | None = None
    is_test: bool = False


class TaskKey(NamedTuple):
    """What the log itself says a call belongs to; the name of its task is made from it."""

    kind: Literal["header", "metadata", "tag", "prompt", "name"]
    value: str


@dataclass(slots=True, kw_only=True)
class LoggedCall:
    """A call that a log tells of. Its `id` and `task` may be "": then the engine gives them."""

    call: Call
    human: HumanWord | None = None
    key: TaskKey | None = None
    source_id: str | None = None
    """What the log itself tells the call apart by, with the name of the tool in front (`langfuse:0f3a…`).

    The same call in another export of the tool has the same one. None: the row is told apart by `content`.
    """
    content: str | None = None
    """What tells apart a row without an id, together with how often it stood in the file; None: the whole row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """Many calls of which only the sums are known: a bucket of a usage API, a window of a trace. None is unknown."""

    source_id: str
    """The bucket, whatever it holds: the same one again replaces nothing and adds nothing."""
    series: str | None = None
    """Of what it is a bucket: of two in one series, of different length, that cover the same time, one is too many.
    None: nobody can tell."""
    started_at: datetime | None = None
    window_s: float | None = None
    task: str | None = None
    provider: str | None = None
    model: str | None = None
    service_tier: str | None = None
    key_id: str | None = None
    calls: int | None = None
    input_tokens: int | None = None
    """As everywhere: cached tokens included."""
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    billed_usd: Decimal | None = None


Item = LoggedCall | Volume | HumanWord | Skipped | Unusable


class Shelf(Protocol):
    """What waits for its other half, on the disk. It lives as long as one import, across all of its files."""

    def put(self, space: str, key: str, value: bytes) -> None:
        """Lay something down; under a key that is taken it replaces what lay there."""
        ...

    def take(self, space: str, key: str) -> bytes | None:
        """Take it away again; None if nothing lies there."""
        ...

    def look(self, space: str, key: str) -> bytes | None:
        """What lies there, which stays."""
        ...

    def left(self, space: str) -> Iterator[tuple[str, bytes]]:
        """All that nobody took, by key."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a reader may know besides its rows."""

    shelf: Shelf
    task: str | None = None
    """Task of rows that name none, if the user gave one. Readers leave `task` empty; the engine fills it in."""
    is_test: bool = False
    """Rows that do not say so themselves are held-out cases."""
    file: str = ""
    """As the user knows it, for messages."""
    starts_at: datetime | None = None
    """Moment zero of times that count from the start of a trace; set if `Format.offset_s` gives one."""
    anchor: str = ""
    """Hash of how the text of the file begins: the same for a copy of it, packed or not, and when it has grown."""
    formats: frozenset[str] | None = None
    """Names of the formats of all files that are imported together; None: nobody knows."""
    say: Callable[[str], None] = lambda _sentence: None
    """Tells the user what had to be assumed, once for each sentence."""


class RowReader(Protocol):
    """Reads the rows of one file."""

    def read(self, values: Values, line: int) -> Iterable[Item]:
        """What one row holds. Its values are left as they are.

        Raises:
            BadRow: a field is missing or of the wrong type.
        """
        ...

    def finish(self) -> Iterable[Item]:
        """What is left when the file is over."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Calls without bodies and without words, many at a time."""

    rows: pa.Table
    """With the ledger's columns; `id` is not filled, `task` is null where the row names none."""
    contents: list[bytes]
    """What tells each row apart, in UTF-8: its `source_id`, or its `content`."""
    have_ids: bool
    """Whether these are the rows' own ids; otherwise rows of equal content are counted."""
    keys: list[TaskKey | None] | None = None
    """What each row says it belongs to; where rows are told to be alike, what each kind of them does."""
    alike: NDArray[np.int64] | None = None
    """Number of its kind for each row: rows of one kind differ in ids, times, end users and tokens alone."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Reason -> rows that are no calls and not among these."""
    unused: frozenset[str] = frozenset()


class ColumnReader(Protocol):
    """Reads rows of one file by their columns."""

    def read(self, table: pa.Table) -> Columns | None:
        """The calls of some rows, one for each; None: they must be read one by one.

        Args:
            table: Of a CSV file every cell is text, and null if it is empty; of JSON what its values are.
        """
        ...


class ManyRowsReader(Protocol):
    """Reads rows of one file that have no bodies, many at a time."""

    def may(self, values: Mapping[str, Any]) -> bool:  # Any: nothing has been checked yet
        """Whether a row may be read with others."""
        ...

    def read(self, rows: Sequence[Mapping[str, Any]]) -> Columns | None:  # Any: as above
        """The calls of some rows that may; None: they must be read one by one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A format that can be imported. Where several would do, the first of the table is meant."""

    name: str
    recognises: Callable[[Mapping[str, Any]], bool]  # Any: as above
    """Whether a row is of this format, from its fields. Must not raise, whatever they hold."""
    reader: Callable[[Context], RowReader]
    order: int = 0
    """Files of a lower order are read first, and those of equal order as they were named."""
    finish: Callable[[Context], Iterable[Item]] | None = None
    """What is left on the shelf when every file has been read; asked once, if a file was of this format."""
    offset_s: Callable[[Mapping[str, Any]], float | None] = lambda _values: None
    """Seconds from the start of its trace to a row; None: its time is a moment, or it has none."""
    columns: Callable[[Context], ColumnReader] | None = None
    """Reads many rows at once where there is nothing unusual about them; what it makes of them must be what the
    reader of single rows makes of them."""
    are_columns_text: bool = False
    """Whether `columns` makes something of tables alone whose cells are all text."""
    many: Callable[[Context], ManyRowsReader] | None = None
    """The same for rows that come one by one."""
    unused: Callable[[Mapping[str, Any]], set[str]] = field(default=lambda _values: set())
    """Fields of a row that Freehold makes no use of, to be told once."""
    says: str = ""
    """How a row of it is known, in words, for the message about a file of unknown format."""
