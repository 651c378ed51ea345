"""What repeats a failed call, calls whose hour nobody knows, and days that retention has emptied."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pytest

from freehold.audit.examine import Question, examine
from freehold.audit.rows import VOLUME_COLUMNS, Source
from freehold.core.call import Call
from freehold.core.identity import call_id
from freehold.ledger.columns import table_of
from freehold.ledger.rollup import sums_of
from freehold.text.probe import Agreement

if TYPE_CHECKING:
    from freehold.audit.examine import Examination

START = datetime(2026, 11, 2, 9, tzinfo=UTC)
ASKED = Question(aliases={}, as_of=date(2026, 11, 20))


def _call(number: int, minute: float, text: str | None, **fields: Any) -> Call:  # Any: fields of a call
    moment = START + timedelta(minutes=minute)
    known: dict[str, Any] = {
        "task": "desk", "started_at": moment, "route": "rent", "status": 200, "model_served": "gpt-5.4",
        "input_tokens": 1_000_000, "output_tokens": 0,
        "request": None if text is None else {"messages": [{"role": "user", "content": text}]},
    }  # fmt: skip
    return Call(id=call_id(moment, str(number)), **(known | fields))


FAILED: dict[str, Any] = {"status": 503, "error_type": "server_error", "input_tokens": None, "output_tokens": None}


def _examined(calls: list[Call], **source: Any) -> Examination:  # Any: other parts of a source
    return examine(Source(calls=table_of(calls), **source), ASKED)


def test_what_is_asked_again_soon_after_a_failure_is_a_retry_by_whichever_model() -> None:
    calls = [
        _call(1, 0, "open?", **FAILED),
        _call(2, 1, "open?", **FAILED),
        _call(3, 2, "open?", model_served="gpt-5.4-mini"),
        _call(4, 3, "open?"),  # what follows an answer repeats no failure
        _call(5, 4, "closed?", **FAILED),
        _call(6, 20, "closed?"),  # too late
        _call(7, 21, "late?", **FAILED),
    ]
    (only,) = _examined(calls).tasks
    assert (only.audit.errors, only.audit.retries, only.audit.inferred_retries) == (4, 2, 2)
    assert only.audit.retries_usd == Decimal("0.75")  # the second failure has no price, the mini model has this one
    assert any(reason.startswith("2 of the retries are told by their prompt") for reason in only.reasons)


def test_what_the_log_calls_a_retry_is_not_counted_twice() -> None:
    first = _call(1, 0, "open?", **FAILED)
    (only,) = _examined([first, _call(2, 1, "open?", parent_id=first.id)]).tasks
    assert (only.audit.retries, only.audit.inferred_retries) == (1, 0)


def test_retries_of_a_log_without_prompts_are_unknown_only_if_a_call_failed() -> None:
    (unknown,) = _examined([_call(1, 0, None, **FAILED), _call(2, 1, None)]).tasks
    (none,) = _examined([_call(1, 0, None), _call(2, 1, None)]).tasks
    assert unknown.audit.retries is None
    assert "Calls failed, and the log tells neither attempts nor prompts: retries are unknown." in unknown.reasons
    assert none.audit.retries == 0


def test_buckets_of_a_day_tell_no_hours() -> None:
    columns: dict[str, list[Any]] = {name: [None] * 3 for name in VOLUME_COLUMNS}
    midnight = START.replace(hour=0)
    columns |= {
        "started_at": [midnight, midnight + timedelta(days=1), midnight + timedelta(days=2, hours=5)],
        "window_s": [86_400.0, 86_400.0, 3_600.0],
        "task": ["desk"] * 3, "model": ["gpt-5.4"] * 3, "calls": [100, 100, 7],
        "input_tokens": [1_000] * 3, "output_tokens": [10] * 3,
    }  # fmt: skip
    found = examine(Source(volumes=pa.table(columns, pa.schema(list(VOLUME_COLUMNS.items())))), ASKED)
    (only,) = found.tasks
    assert only.audit.calls == 207
    assert (sum(only.audit.hour_calls), only.audit.hour_calls[5]) == (7, 7)
    assert found.week.without_hour == 200
    assert [part.calls for part in only.audit.days] == [100, 100, 7]


@pytest.mark.parametrize("kept", [0, 30, 60])
def test_what_retention_has_taken_away_is_still_counted_and_paid(kept: int) -> None:
    calls = [
        _call(number, 60 * 24 * (number // 3), f"question {number}", **(FAILED if number % 7 == 0 else {}))
        for number in range(60)
    ]
    whole = _examined(calls).audit
    with_sums = _examined(calls[:kept], retired=_sums(calls[kept:])).audit
    (before,), (after,) = whole.tasks, with_sums.tasks
    assert (after.calls, after.errors, after.cost_usd) == (before.calls, before.errors, before.cost_usd)
    assert (after.first_day, after.last_day) == (before.first_day, before.last_day)
    assert after.priced_calls + after.unpriced_calls + after.unbilled_failures == after.calls
    assert [part.calls for part in after.days] == [part.calls for part in before.days]


def _sums(calls: list[Call]) -> pa.Table:
    days: dict[str, list[Call]] = {}
    for call in calls:
        assert call.started_at is not None
        days.setdefault(call.started_at.date().isoformat(), []).append(call)
    with duckdb.connect() as connection:
        tables = [sums_of(connection, table_of(those), day) for day, those in days.items()]
    return pa.concat_tables(tables) if tables else None


def test_coin_flips_are_not_expected_to_be_learnt() -> None:
    rng = random.Random(3)
    shares = []
    for _ in range(200):
        right = [(rng.random() < 0.5, rng.random() < 0.5) for _ in range(300)]
        full, half = (sum(one) / 300 for one in zip(*right, strict=True))
        found = Agreement(full, half, trained_on=200, asked=300, differing=sum(a != b for a, b in right))
        shares.append(found.expected(10_000) - full)
    assert sum(shares) / len(shares) < 0.02


def test_a_clear_gain_is_prolonged() -> None:
    found = Agreement(0.8, 0.7, trained_on=1_000, asked=1_500, differing=250)
    assert found.expected(10_000) > 0.88


def test_calls_of_the_future_are_said() -> None:
    found = _examined([_call(1, 0, None), _call(2, 60 * 24 * 365, None)]).audit
    assert (
        "1 call is dated after 2026-11-20, as late as 2027-11-02: counted and priced as dated, by prices known so "
        "far." in found.assumptions
    )
    assert not any("dated after" in line for line in _examined([_call(1, 0, None)]).audit.assumptions)
