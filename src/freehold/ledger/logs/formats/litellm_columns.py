"""Rows of LiteLLM's database without prompts, many at once.

Most of what a row says is the same in thousands of rows: who called which model, for what. Those parts are read once by
the reader of single rows; what differs from row to row (ids, times, tokens) is read by columns.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import astuple, fields
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from freehold.core.call import Call
from freehold.core.chat import Usage, with_reasoning
from freehold.ledger.answer_facts import MOST_TOKENS
from freehold.ledger.bulk import empty_columns
from freehold.ledger.columns import BODIES
from freehold.ledger.logs.format import BadRow, Columns, Context, Item, LoggedCall, Skipped
from freehold.ledger.logs.formats import _litellm as shared
from freehold.ledger.logs.formats._fields import present
from freehold.ledger.logs.values import EARLIEST, LATEST, MOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from freehold.ledger.logs.formats._each_row import Row

_NOTHING = ("", "{}", "[]", "null")
_BODY_COLUMNS = ("messages", "response", "proxy_server_request")
_ALIKE = (
    "call_type", "api_key", "model", "model_group", "custom_llm_provider", "user", "end_user", "cache_hit",
    "request_tags", "status", "error_information", "model_parameters", "stream", "spend",
)  # fmt: skip
"""Columns that many rows have in common; `spend` only by being there."""
_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
_TIMES = ("startTime", "endTime", "completionStartTime")
_USAGE = ("usage_object", "additional_usage_values")
_OF_EACH_ROW = frozenset({
    "id", "task", "started_at", "request_id", "conversation_id", "input_tokens", "output_tokens", "cache_read_tokens",
    "cache_write_tokens", "reasoning_tokens", "duration_ms", "ttft_ms", *BODIES,
})  # fmt: skip
_SHARED = tuple(each.name for each in fields(Call) if each.name not in _OF_EACH_ROW)
_USAGE_FIELDS = tuple(each.name for each in fields(Usage))
_PLAIN_USAGE = frozenset({
    "prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details",
})  # fmt: skip
_LEAST_ALIKE = 20
"""Where fewer rows than this are alike, one by one is as fast."""
_EARLIEST_US, _LATEST_US = (int(moment.timestamp()) * 1_000_000 for moment in (EARLIEST, LATEST))


class SpendLogColumns:
    """Reads many rows at once; gives up where a single one might be faulty or has a body."""

    def __init__(self, context: Context, read: Callable[[Row, Context], Iterator[Item]]) -> None:
        """`read` is how a single row is read."""
        self._context = context
        self._read = read

    def read(self, table: pa.Table) -> Columns | None:
        """The calls of these rows; None: they must be read one by one."""
        names = set(table.column_names)
        if not {"request_id", "call_type", "startTime", *_COUNTS} <= names or not _are_plain(table):
            return None
        try:
            return self._columns(table)
        except (pa.ArrowException, msgspec.DecodeError, BadRow, _Unusual):
            return None

    def _columns(self, table: pa.Table) -> Columns:
        texts = {
            name: table.column(name).to_pylist() if name in table.column_names else [None] * len(table)
            for name in (*_ALIKE, "metadata")
        }
        texts["spend"] = [None if each is None else "0" for each in texts["spend"]]
        metadata = [_parted(text) for text in texts.pop("metadata")]
        numbers: dict[tuple[str | None, ...], int] = {}
        alike = zip(*texts.values(), (rest for rest, _ in metadata), strict=True)
        group = np.array([numbers.setdefault(each, len(numbers)) for each in alike])
        if len(numbers) > max(_LEAST_ALIKE, len(table) // _LEAST_ALIKE):
            raise _Unusual
        examples = [self._example(dict(zip((*texts, "metadata"), each, strict=True))) for each in numbers]
        is_kept = np.array([isinstance(each, LoggedCall) for each in examples])[group]
        skipped = Counter(each.reason for number in group[~is_kept] if isinstance(each := examples[number], Skipped))
        rows = table.filter(pa.array(is_kept))
        usages = [usage for (_, usage), kept in zip(metadata, is_kept, strict=True) if kept]
        calls = [each if isinstance(each, LoggedCall) else _NO_CALL for each in examples]
        return _calls_of(rows, calls, group[is_kept], usages, dict(skipped))

    def _example(self, row: dict[str, str | None]) -> Item:
        """What the reader of single rows makes of rows that are alike."""
        example = {**row, "request_id": "x", "startTime": "2026-01-01", **dict.fromkeys(_COUNTS, "1")}
        (item,) = self._read(present(example), self._context)
        return item


class _Unusual(Exception):  # it never leaves this file
    """The rows hold something that is read one by one."""


_NO_CALL = LoggedCall(call=Call(id="", task=""))


def _are_plain(table: pa.Table) -> bool:
    """Whether every cell is text, and none of them a body."""
    if not all(pa.types.is_string(column.type) for column in table.columns):
        return False
    return all(
        pc.all(pc.fill_null(pc.is_in(table.column(name), pa.array(_NOTHING)), True)).as_py()
        or table.column(name).null_count == len(table)
        for name in _BODY_COLUMNS
        if name in table.column_names
    )


def _parted(text: str | None) -> tuple[str | None, dict[str, Any] | None]:  # Any: JSON
    """Metadata without the counts in it, and those counts."""
    if text is None or text in _NOTHING:
        return None, None
    metadata = msgspec.json.decode(text)
    if not isinstance(metadata, dict) or "proxy_server_request" in metadata:
        raise _Unusual
    usage = {name: metadata.pop(name) for name in _USAGE if name in metadata}
    return msgspec.json.encode(metadata).decode(), usage or None


def _calls_of(
    rows: pa.Table,
    calls: list[LoggedCall],
    group: NDArray[np.int64],
    usages: list[dict[str, Any] | None],  # Any: JSON
    skipped: dict[str, int],
) -> Columns:
    ids = _trimmed(rows.column("request_id"))
    if ids.null_count:
        raise _Unusual
    start_us, end_us, first_us = (_moments_us(rows, name) for name in _TIMES)
    has_end, has_first = end_us >= start_us, (first_us >= start_us) & ((end_us < 0) | (first_us < end_us))
    if (start_us < 0).any():
        raise _Unusual
    lasted = pa.array((end_us - start_us) / 1_000.0, mask=~has_end)
    if "request_duration_ms" in rows.column_names:
        lasted = pc.coalesce(_numbers(rows.column("request_duration_ms")), lasted)
    columns = {
        name: pa.array([getattr(one.call, name) for one in calls], empty_columns(0).schema.field(name).type).take(
            pa.array(group)
        )
        for name in _SHARED
    }
    session = rows.column("session_id") if "session_id" in rows.column_names else pa.nulls(len(rows), pa.string())
    return Columns(
        rows=empty_columns(
            len(rows),
            **columns,
            **_tokens(rows, [one.call.error_type is not None for one in calls], group, usages),
            request_id=ids,
            conversation_id=_trimmed(session),
            started_at=pa.array(start_us).cast(pa.timestamp("us", tz="UTC")),
            duration_ms=lasted,
            ttft_ms=pa.array((first_us - start_us) / 1_000.0, mask=~has_first),
        ),
        contents=[b"litellm:" + each.encode() for each in ids.to_pylist()],
        have_ids=True,
        keys=[calls[number].key for number in group],
        skipped=skipped,
    )


def _tokens(
    rows: pa.Table,
    have_failed: list[bool],
    group: NDArray[np.int64],
    usages: list[dict[str, Any] | None],  # Any: JSON
) -> dict[str, pa.Array]:
    prompts, answers, totals = (_counts(rows.column(name)) for name in _COUNTS)
    nobody = np.array(have_failed, dtype=np.bool_)[group]
    for column in (prompts, answers, totals):
        nobody &= pc.fill_null(column, 0).to_numpy() == 0
    found: dict[str, pa.Array] = {}
    if any(usages):
        told = [
            _plainly_told(p, a, t, usage)
            or astuple(shared.usage({"prompt_tokens": p, "completion_tokens": a, "total_tokens": t}, usage or {}))
            for p, a, t, usage in zip(prompts.to_pylist(), answers.to_pylist(), totals.to_pylist(), usages, strict=True)
        ]
        found = {
            name: pa.array(column, pa.int64())
            for name, column in zip(_USAGE_FIELDS, zip(*told, strict=True), strict=True)
        }
    else:
        found = {"input_tokens": prompts, "output_tokens": answers}
    unknown = pa.array(nobody)
    return {name: pc.if_else(unknown, pa.scalar(None, pa.int64()), column) for name, column in found.items()}


def _plainly_told(
    prompt: int | None,
    answer: int | None,
    total: int | None,
    usage: dict[str, Any] | None,  # Any: JSON
) -> tuple[int | None, ...] | None:
    """The fields of `Usage` where cached and reasoning tokens stand where OpenAI has them; None: not so."""
    told = (usage or {}).get("usage_object")
    if usage is None or len(usage) != 1 or type(told) is not dict or not told.keys() <= _PLAIN_USAGE:
        return None
    read, reasoning = _only(told.get("prompt_tokens_details"), "cached_tokens"), None
    if "completion_tokens_details" in told:
        reasoning = _only(told["completion_tokens_details"], "reasoning_tokens")
        if reasoning is None:
            return None
    counted = told.get("prompt_tokens")
    if read is None or prompt is None or type(counted) is not int or not read <= min(prompt, counted):
        return None
    return prompt, with_reasoning(prompt, answer, reasoning, total), read, None, reasoning


def _only(details: object, name: str) -> int | None:
    """The one count that some details hold."""
    if type(details) is not dict or len(details) != 1:
        return None
    value = details.get(name)
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else None


def _trimmed(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    trimmed = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.equal(trimmed, ""), None, trimmed)


def _numbers(column: pa.ChunkedArray) -> pa.Array:
    numbers = column.combine_chunks().cast(pa.float64())
    known = numbers.drop_null().to_numpy()
    if len(known) and not (np.isfinite(known).all() and known.min() >= 0 and known.max() <= MOST):
        raise _Unusual
    return numbers


def _counts(column: pa.ChunkedArray) -> pa.Array:
    numbers = _numbers(column)
    known = numbers.drop_null().to_numpy()
    if (known != np.floor(known)).any():
        raise _Unusual
    return numbers.cast(pa.int64())


def _moments_us(rows: pa.Table, name: str) -> NDArray[np.int64]:
    """Microseconds since 1970; -1: absent."""
    if name not in rows.column_names:
        return np.full(len(rows), -1, dtype=np.int64)
    texts = rows.column(name).combine_chunks()
    has_zone = pc.match_substring_regex(texts, r"(Z|[+-]\d\d:?\d\d)$")
    zone = "UTC" if pc.any(has_zone).as_py() else None
    moments = texts.cast(pa.timestamp("ns", tz=zone)).cast(pa.timestamp("us", tz=zone), safe=False)
    us: NDArray[np.int64] = pc.fill_null(moments.cast(pa.int64()), -1).to_numpy()
    if ((us != -1) & ((us < _EARLIEST_US) | (us >= _LATEST_US))).any():
        raise _Unusual
    return us
