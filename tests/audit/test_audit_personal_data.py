from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from scipy.stats import binomtest

from freehold.audit.personal_data import interval, personal_data
from freehold.core.call import Call
from freehold.ledger.store import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
_EMAIL, _PLAIN = "write to ann@example.org", "hi"


def _call(number: int, text: str | None, task: str = "mail", answer: str = "done") -> Call:
    return Call(
        id=f"0199aa00-0000-7000-8000-{number:012x}",
        task=task,
        started_at=_NOON + timedelta(hours=number),
        request=None if text is None else {"messages": [{"role": "user", "content": text}]},
        response=None if text is None else {"choices": [{"message": {"role": "assistant", "content": answer}}]},
    )


def _ledger(folder: Path, calls: Iterable[Call]) -> Path:
    Ledger(folder).append(calls)
    return folder


def test_a_small_ledger_is_counted_whole_and_its_shares_are_exact(tmp_path: Path) -> None:
    texts = [_EMAIL] * 3 + [_PLAIN] * 5
    calls = _ledger(tmp_path / "calls", [_call(number, text) for number, text in enumerate(texts)])
    (found,) = personal_data(calls)
    assert (found.task, found.sampled_calls, found.calls_with_any, found.stopped_by) == ("mail", 8, 3, None)
    assert [(one.kind, one.calls, one.share, one.low, one.high) for one in found.kinds] == [
        ("EMAIL", 3, 0.375, 0.375, 0.375)
    ]
    assert found.as_record()["not_looked_for"] == ["NAME"]


def test_the_answer_is_looked_at_as_well_and_calls_without_bodies_are_not_counted(tmp_path: Path) -> None:
    calls = [_call(1, _PLAIN, answer=_EMAIL), _call(2, None), _call(3, None, "silent")]
    (found,) = personal_data(_ledger(tmp_path / "calls", calls))
    assert (found.task, found.sampled_calls, found.calls_with_any) == ("mail", 1, 1)


def test_every_task_gets_its_sample_even_where_it_is_rare_and_the_rest_is_said_to_be_left_out(tmp_path: Path) -> None:
    """Forty days with a file each; the rare task stands in one of them alone."""
    common = [_call(number, _EMAIL if number % 4 == 0 else _PLAIN) for number in range(960)]
    rare = [_call(10_000 + number, _EMAIL, "rare") for number in range(30)]
    calls = _ledger(tmp_path / "calls", [*common, *rare])
    found = {one.task: one for one in personal_data(calls, calls_per_task=100)}
    assert (found["mail"].sampled_calls, found["mail"].stopped_by) == (100, "sample")
    assert (found["rare"].sampled_calls, found["rare"].stopped_by) == (30, None)
    (email,) = found["mail"].kinds
    assert email.low < 0.25 < email.high
    assert email.low < email.share < email.high
    assert personal_data(calls, calls_per_task=100) == personal_data(calls, calls_per_task=100)
    assert personal_data(calls, calls_per_task=100) != personal_data(calls, calls_per_task=100, seed=7)


def test_when_the_time_is_over_what_was_found_until_then_is_given_with_its_interval(tmp_path: Path) -> None:
    calls = _ledger(tmp_path / "calls", [_call(number, _EMAIL) for number in range(40)])
    ticks = itertools.count()
    (found,) = personal_data(calls, budget_s=20, clock=lambda: float(next(ticks)))
    assert found.stopped_by == "time"
    assert 0 < found.sampled_calls < 40
    assert found.kinds[0].low < 1.0 == found.kinds[0].high
    assert personal_data(calls, budget_s=0) == ()


def test_of_a_long_call_the_beginning_is_looked_at_and_it_is_said(tmp_path: Path) -> None:
    calls = _ledger(tmp_path / "calls", [_call(1, "a " * 15_000 + _EMAIL)])
    (found,) = personal_data(calls)
    assert (found.cut_calls, found.kinds) == (1, ())


def test_there_is_nothing_to_find_where_there_is_nothing(tmp_path: Path) -> None:
    assert personal_data(tmp_path / "calls") == ()
    assert personal_data(_ledger(tmp_path / "calls", [_call(1, None)])) == ()


@pytest.mark.parametrize(("count", "calls"), [(0, 10), (3, 10), (10, 10), (1, 400), (400, 400)])
def test_the_interval_is_the_exact_one(count: int, calls: int) -> None:
    known = binomtest(count, calls).proportion_ci(0.95, method="exact")
    assert interval(count, calls) == pytest.approx((known.low, known.high))
