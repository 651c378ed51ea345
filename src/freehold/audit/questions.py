"""Which calls ask the same: a mark for each prompt, equal for equal ones."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

from freehold.audit.bodies import all_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from freehold.audit.rows import Slice, Source

_ROWS = 10_000
"""Marks that are handed over at once."""
_EMPTY = frozenset({b"", b"null", b"[]", b"{}", b'""'})
_SCHEMA = pa.schema([("id", pa.string()), ("words", pa.int64()), ("question", pa.int64())])


class _Request(msgspec.Struct):
    """What decides an answer; what does not, such as a user's id, is left out. Values as they are written."""

    messages: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()
    prompt: msgspec.Raw = msgspec.Raw()
    contents: msgspec.Raw = msgspec.Raw()
    system: msgspec.Raw = msgspec.Raw()
    instructions: msgspec.Raw = msgspec.Raw()
    tools: msgspec.Raw = msgspec.Raw()
    response_format: msgspec.Raw = msgspec.Raw()
    text: msgspec.Raw = msgspec.Raw()


_DECODER = msgspec.json.Decoder(_Request)
_TURNS = ("messages", "input", "prompt", "contents")
_ASKED = _Request.__struct_fields__


def note_questions(connection: duckdb.DuckDBPyConnection, source: Source, wanted: Slice) -> None:
    """Make the view `asked_rows`: counted calls whose prompt the log has whole.

    `words` is equal where the same was asked, `question` where the same model was asked the same.
    """
    connection.execute("create or replace temp table questions (id varchar, words bigint, question bigint)")
    for table in _marks(source, wanted):
        connection.register("marks", table)
        connection.execute("insert into questions select * from marks")
        connection.unregister("marks")
    connection.execute("create or replace temp view asked_rows as select * from priced_rows join questions using (id)")


def words_of(request: bytes) -> int | None:
    """A mark of what was asked; None: the request, as the ledger stores it, holds no prompt.

    Two different questions have the same mark in one of 2^64 cases.
    """
    try:
        asked = _DECODER.decode(request)
    except (msgspec.DecodeError, RecursionError):
        return None
    if all(bytes(getattr(asked, name)) in _EMPTY for name in _TURNS):
        return None
    digest = blake2b(digest_size=8)
    for name in _ASKED:
        digest.update(b"\0" + name.encode())
        digest.update(getattr(asked, name))
    return int.from_bytes(digest.digest(), "big", signed=True)


def question_of(words: int, model: str) -> int:
    """A mark of what a model was asked."""
    digest = blake2b(words.to_bytes(8, "big", signed=True), digest_size=8)
    digest.update(model.encode())
    return int.from_bytes(digest.digest(), "big", signed=True)


def _marks(source: Source, wanted: Slice) -> Iterator[pa.Table]:
    columns = ("id", "task", "model_requested", "model_served", "truncated", "request")
    marks: list[tuple[str, int, int]] = []
    for batch in all_rows(source.calls, columns, since=wanted.since, until=wanted.until):
        for id_, task, asked, served, cut, request in zip(
            *(column.to_pylist() for column in batch.columns[:-1]),
            (value.as_buffer() for value in batch.column("request").cast(pa.binary())),
            strict=True,
        ):
            if cut or request is None or wanted.task not in {None, task}:
                continue
            words = words_of(memoryview(request))  # type: ignore[arg-type]  # a view will do
            if words is not None:
                marks.append((id_, words, question_of(words, asked or served or "")))
        if len(marks) >= _ROWS:
            yield _table(marks)
            marks = []
    yield _table(marks)


def _table(marks: list[tuple[str, int, int]]) -> pa.Table:
    return pa.table([list(column) for column in zip(*marks, strict=True)] or [[], [], []], schema=_SCHEMA)
