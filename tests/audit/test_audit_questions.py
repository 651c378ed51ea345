"""Which calls ask the same, and bodies that are read a few at a time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.audit.bodies import all_rows, bodies_of
from freehold.audit.examine import Question, examine
from freehold.audit.questions import question_of, words_of
from freehold.audit.rows import Slice, Source
from freehold.core.call import Call
from freehold.core.identity import call_id
from freehold.ledger.columns import table_of
from freehold.ledger.store import Ledger

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2026, 11, 2, 9, tzinfo=UTC)
_VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
_BODIES = st.dictionaries(
    st.sampled_from(["messages", "input", "system", "tools", "user", "temperature"]),
    st.lists(_VALUES, max_size=3) | _VALUES,
    max_size=5,
)


def _call(number: int, text: str | None, **fields: Any) -> Call:  # Any: fields of a call
    moment = START + timedelta(minutes=number)
    known: dict[str, Any] = {
        "task": "desk", "started_at": moment, "route": "rent", "status": 200, "model_served": "gpt-5.4",
        "input_tokens": 4_000, "output_tokens": 3,
        "request": None if text is None else {"messages": [{"role": "user", "content": text}]},
        "response": {"choices": [{"message": {"role": "assistant", "content": "yes"}}]},
    }  # fmt: skip
    return Call(id=call_id(moment, str(number)), **(known | fields))


def _stored(body: Any) -> bytes:  # Any: JSON
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


@given(_BODIES, _BODIES)
def test_two_requests_have_the_same_mark_when_what_decides_the_answer_is_the_same(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    def asked(body: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(_stored(body[name]) if name in body else None for name in ("messages", "input", "system", "tools"))

    marks = words_of(_stored(one)), words_of(_stored(other))
    empty: tuple[Any, ...] = (None, "", [], {})
    has_prompt = [any(body.get(name) not in empty for name in ("messages", "input")) for body in (one, other)]
    assert [mark is not None for mark in marks] == has_prompt
    if all(has_prompt):
        assert (marks[0] == marks[1]) == (asked(one) == asked(other))


@pytest.mark.parametrize("body", [b"", b"null", b"[1]", b"{", b'{"messages": ', b'"text"', b"\xff", b"[" * 100_000])
def test_what_is_no_request_has_no_mark(body: bytes) -> None:
    assert words_of(body) is None


def test_the_model_is_part_of_the_question() -> None:
    words = words_of(_stored({"input": "open?"}))
    assert words is not None
    assert question_of(words, "gpt-5.4") != question_of(words, "gpt-5.5")


def test_bodies_are_the_same_out_of_files_and_out_of_a_table(tmp_path: Path) -> None:
    calls = [_call(number, None if number % 3 else f"question {number}") for number in range(500)]
    Ledger(tmp_path).append(calls)
    table = table_of(calls)
    wanted = {call.id for call in calls[::7]}

    from_files = sorted(bodies_of(tmp_path, wanted))
    assert from_files == sorted(bodies_of(table, wanted))
    assert [id_ for id_, _, _ in from_files] == sorted(wanted)
    assert list(bodies_of(tmp_path, ())) == []
    assert max(len(batch) for batch in all_rows(tmp_path, ["id", "request"])) <= 64


def test_a_column_that_an_older_version_did_not_know_is_null() -> None:
    old = table_of([_call(1, "open?")]).drop_columns(["truncated"])
    (batch,) = all_rows(old, ["id", "truncated"])
    assert batch.column("truncated").to_pylist() == [None]


def test_days_and_tasks_that_were_not_asked_for_are_not_marked(tmp_path: Path) -> None:
    calls = [_call(number, "open?", task="desk" if number % 2 else "other") for number in range(10)]
    Ledger(tmp_path).append(calls)
    found = examine(Source(calls=tmp_path), Question(aliases={}, as_of=START.date(), wanted=Slice(task="desk")))
    (only,) = found.tasks
    assert (only.audit.calls, only.savings.repeated_share) == (5, 0.8)


def test_many_long_prompts_are_audited_in_bounded_memory(tmp_path: Path) -> None:
    """Sixteen hundred of them in one file: two thousand at once, several times over, were more than a gigabyte."""
    calls = [_call(number, f"{number % 400} " + "some words of a long document " * 500) for number in range(1_600)]
    Ledger(tmp_path).append(calls)
    before = pa.total_allocated_bytes()
    found = examine(Source(calls=tmp_path), Question(aliases={}, as_of=START.date()))
    (only,) = found.tasks
    assert only.savings.repeated_share == 0.75
    assert only.prefixes is not None
    assert pa.total_allocated_bytes() - before < 1_000_000
