"""Totals are the sums of their parts, whichever way they are sliced; and each call costs what it costs alone."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.audit.examine import Question, examine
from freehold.audit.rows import VOLUME_COLUMNS, Slice, Source
from freehold.core.call import Call
from freehold.core.chat import Usage
from freehold.core.identity import call_id
from freehold.economics.prices import cost_of_call, price_of
from freehold.ledger.columns import table_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from freehold.audit.examine import Examination

START = datetime(2026, 3, 28, 22, 30, tzinfo=UTC)
"""Before a change of the clocks in Europe, and close to the end of a month."""
AS_OF = START.date()
MODELS = ("gpt-5.4", "gpt-5.4-mini", "google/gemini-2.5-pro", "nobody/knows")
"""The third one's rates change above 200,000 input tokens."""

_counts = st.none() | st.integers(0, 5_000) | st.sampled_from([199_999, 200_000, 200_001, 10**12, 10**12 + 1, -1])
_calls = st.lists(
    st.tuples(
        st.sampled_from(["desk", "it's", '=cmd|"', "unassigned"]),
        st.none() | st.integers(0, 100),
        st.sampled_from(MODELS),
        st.sampled_from([None, "batch", "flex", "default"]),
        _counts,
        st.none() | st.integers(0, 3_000),
        _counts,
        st.sampled_from([200, 200, 200, 500]),
        st.sampled_from(["rent", "rent", "rent", "own", "shadow"]),
    ),
    max_size=40,
)
_volumes = st.lists(
    st.tuples(st.integers(0, 100), st.integers(0, 1000), st.none() | st.integers(0, 10**6), st.sampled_from(MODELS)),
    max_size=5,
)


def _call(number: int, facts: tuple[Any, ...]) -> Call:  # Any: drawn values
    task, hour, model, tier, given_tokens, read, written_out, status, route = facts
    moment = None if hour is None else START + timedelta(hours=hour)
    return Call(
        id=call_id(moment or START, str(number)),
        task=task,
        started_at=moment,
        model_served=model,
        service_tier=tier,
        input_tokens=given_tokens,
        cache_read_tokens=read,
        output_tokens=written_out,
        status=status,
        route=route,
    )


def _table(volumes: Sequence[tuple[int, int, int | None, str]]) -> pa.Table:
    rows = [
        {
            "started_at": START + timedelta(hours=hour),
            "window_s": 600.0,
            "task": None,
            "model": model,
            "calls": calls,
            "input_tokens": tokens,
            "output_tokens": tokens,
        }
        for hour, calls, tokens, model in volumes
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema(list(VOLUME_COLUMNS.items())))


def _examined(calls: Sequence[Call], volumes: pa.Table | None = None, **options: Any) -> Examination:  # Any: of a slice
    question = Question(aliases={}, as_of=AS_OF, wanted=Slice(**options), with_lines=True)
    return examine(Source(calls=table_of(list(calls)), volumes=volumes), question)


def _cost(call: Call) -> Decimal | None:
    """The slow, obvious way: one call at the price of its day and tier."""
    counts = (call.input_tokens, call.cache_read_tokens, call.output_tokens)
    if call.started_at is None or any(each is not None and not 0 <= each <= 10**12 for each in counts):
        return None
    model, day = call.model_served or "", call.started_at.date()
    for tariff in ("batch", "flex", "list") if call.service_tier is None else (call.service_tier, "list"):
        wanted: Any = "list" if tariff == "default" or call.service_tier is None else tariff
        price = price_of(model, day, aliases={}, tariff=wanted)
        if price is not None:
            return cost_of_call(Usage(call.input_tokens, call.output_tokens, call.cache_read_tokens), price)
    return None


def _sum(parts: Sequence[Decimal | None]) -> Decimal:
    return sum((each for each in parts if each is not None), Decimal(0))


@settings(max_examples=25, deadline=None)
@given(_calls, _volumes)
def test_the_total_is_the_sum_of_its_parts_by_task_day_model_tier_and_hour(
    facts: list[tuple[Any, ...]], volumes: list[tuple[int, int, int | None, str]]
) -> None:
    calls = [_call(number, each) for number, each in enumerate(facts)]
    found = _examined(calls, _table(volumes))
    tasks = [each.audit for each in found.tasks]
    total = found.audit.cost_usd or Decimal(0)
    rented = sum(call.route == "rent" for call in calls) + sum(calls_ for _, calls_, _, _ in volumes)

    assert _sum([task.cost_usd for task in tasks]) == total
    assert _sum([part.cost_usd for task in tasks for part in task.days]) == total
    assert _sum([part.cost_usd for task in tasks for part in task.by_model]) == total
    assert _sum([line.cost_usd for line in found.lines]) == total
    undated = _sum([part.cost_usd for task in tasks for part in task.days if part.name == "undated"])
    assert _sum([usd for day in found.week.cost_usd for usd in day]) == total - undated

    assert sum(task.calls for task in tasks) == rented
    assert sum(part.calls for task in tasks for part in task.days) == rented
    assert sum(part.calls for task in tasks for part in task.by_model) == rented
    assert sum(line.calls for line in found.lines) == rented
    assert sum(line.input_tokens or 0 for line in found.lines) == sum(task.input_tokens or 0 for task in tasks)
    dated = sum(sum(task.weekday_calls) for task in tasks)
    assert dated == sum(map(sum, found.week.calls)) == sum(sum(task.hour_calls) for task in tasks)
    for task in tasks:
        assert task.calls == task.priced_calls + task.unpriced_calls + task.unbilled_failures
        assert task.unbilled_failures <= task.errors


@settings(max_examples=25, deadline=None)
@given(_calls)
def test_every_call_costs_what_it_costs_alone(facts: list[tuple[Any, ...]]) -> None:
    calls = [_call(number, each) for number, each in enumerate(facts)]
    alone: Counter[str] = Counter()
    exact: dict[str, Decimal] = {}
    for call in calls:
        usd = _cost(call) if call.route == "rent" else None
        if usd is not None:
            alone[call.task] += 1
            exact[call.task] = exact.get(call.task, Decimal(0)) + usd

    for task in _examined(calls).audit.tasks:
        assert (task.priced_calls, task.cost_usd) == (alone[task.task], exact.get(task.task))


@settings(max_examples=20, deadline=None)
@given(_calls, st.integers(0, 4))
def test_two_halves_of_the_days_add_up_to_the_whole_and_a_task_alone_says_the_same(
    facts: list[tuple[Any, ...]], days: int
) -> None:
    calls = [_call(number, each) for number, each in enumerate(facts) if each[1] is not None]
    cut = (START + timedelta(days=days)).date()
    whole, before, after = (
        _examined(calls, **options).audit for options in ({}, {"until": cut}, {"since": cut + timedelta(days=1)})
    )
    assert _sum([whole.cost_usd]) == _sum([before.cost_usd, after.cost_usd])
    assert sum(task.calls for task in whole.tasks) == sum(task.calls for half in (before, after) for task in half.tasks)
    for task in whole.tasks:
        assert _examined(calls, task=task.task).audit.tasks == (task,)


def test_volumes_count_as_many_calls_as_they_say_and_span_all_that_they_cover() -> None:
    # Two windows of one model: 100 calls with 1,000 tokens in and out each, 50 calls without a count.
    found = _examined([], _table([(0, 100, 100_000, "gpt-5.4"), (48, 50, None, "gpt-5.4")])).audit.tasks[0]
    assert (found.task, found.calls, found.volume_calls, found.priced_calls) == ("unassigned", 150, 150, 100)
    # 100,000 × 2.50/M + 100,000 × 15/M
    assert found.cost_usd == Decimal("1.75")
    assert (found.mean_input_tokens, found.p95_input_tokens, found.latency) == (1000.0, None, None)
    # From 22:30 of the first day to 22:40 of the third: three days
    assert found.calls_per_month == pytest.approx(150 / 3 * 730 / 24)
    # 10 calls a minute in the busiest window; 150 calls in 48 hours and ten minutes
    assert found.peak_to_mean == pytest.approx(10 * (48 * 60 + 10) / 150)


def test_a_task_alone_is_measured_over_the_span_of_all_volumes() -> None:
    rows = [
        {"started_at": START + timedelta(days=day), "window_s": 600.0, "task": task, "model": "gpt-5.4", "calls": 70}
        for task, day in (("brief", 3), ("steady", 0), ("steady", 9))
    ]
    volumes = pa.Table.from_pylist(rows, schema=pa.schema(list(VOLUME_COLUMNS.items())))
    whole = {each.audit.task: each.audit for each in _examined([], volumes).tasks}
    assert whole["brief"].calls_per_month == pytest.approx(70 / 10 * 730 / 24)
    assert _examined([], volumes, task="brief").audit.tasks == (whole["brief"],)


def test_impossible_counts_are_left_out_counted_and_never_priced() -> None:
    calls = [
        _call(0, ("desk", 0, "gpt-5.4", None, -5, None, 10, 200, "rent")),
        _call(1, ("desk", 0, "gpt-5.4", None, 10**15, None, 10, 200, "rent")),
        _call(2, ("desk", 0, "gpt-5.4", None, 1000, None, 0, 200, "rent")),
    ]
    found = _examined(calls).audit.tasks[0]
    assert (found.absurd_calls, found.priced_calls, found.input_tokens) == (2, 1, 1000)
    assert found.cost_usd == Decimal("0.0025")
    assert found.unpriced == {"gpt-5.4": 2}


def test_a_retry_is_counted_with_what_it_cost() -> None:
    failed = _call(0, ("desk", 0, "gpt-5.4", None, 1000, None, 0, 500, "rent"))
    again = Call(
        id=call_id(START, "again"),
        task="desk",
        started_at=START,
        model_served="gpt-5.4",
        input_tokens=1000,
        output_tokens=100,
        status=200,
        route="rent",
        parent_id=failed.id,
    )
    found = _examined([failed, again]).audit.tasks[0]
    assert (found.errors, found.errors_usd) == (1, Decimal("0.0025"))
    assert (found.retries, found.retries_usd) == (1, Decimal("0.0040"))


def test_an_empty_source_has_nothing_to_say() -> None:
    found = _examined([])
    assert (found.tasks, found.lines, found.audit.cost_usd) == ((), (), None)
    assert found.as_record()["period"] == {"first_day": None, "last_day": None, "days": None}


def test_files_of_an_older_version_lack_columns_and_are_read_all_the_same(tmp_path: Path) -> None:
    whole = table_of([_call(0, ("desk", 0, "gpt-5.4", None, 1000, None, 0, 200, "rent"))])
    for day, rows in (("2026-03-28", whole.drop_columns(["ttft_ms", "parent_id"])), ("2026-03-29", whole)):
        folder = tmp_path / f"day={day}"
        folder.mkdir()
        pq.write_table(rows, folder / "rows.parquet")
    found = examine(Source(calls=tmp_path), Question(aliases={}, as_of=AS_OF)).audit.tasks[0]
    assert (found.calls, found.cost_usd) == (2, Decimal("0.0050"))

    (tmp_path / "day=2026-03-29" / "rows.parquet").unlink()
    assert examine(Source(calls=tmp_path), Question(aliases={}, as_of=AS_OF)).audit.tasks[0].calls == 1
