from __future__ import annotations

import json
import random
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.core.call import Call
from freehold.core.identity import canonical_json
from tests.audit.loose_calls import audit_of_calls as audit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from freehold.audit.task_audit import TaskAudit

MONDAY = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)


def call(number: int = 0, **fields: Any) -> Call:  # Any: fields of Call
    facts: dict[str, Any] = {
        "id": f"call-{number}",
        "task": "triage",
        "started_at": MONDAY,
        "model_served": "gpt-5.4",
        "status": 200,
        "input_tokens": 1000,
        "output_tokens": 500,
        "duration_ms": 800.0,
        "response": {"choices": []},
    }
    return Call(**{**facts, **fields})


def only(calls: Iterable[Call], **options: Any) -> TaskAudit:  # Any: options of audit
    tasks = audit(calls, **{"aliases": {}, **options}).tasks
    assert len(tasks) == 1
    return tasks[0]


def test_each_call_is_counted_and_priced() -> None:
    found = only([call(0), call(1, input_tokens=3000, output_tokens=100, duration_ms=1600.4)])
    assert (found.calls, found.priced_calls, found.errors, found.labelled_rows) == (2, 2, 0, 0)
    # 1,000 × 2.50/M + 500 × 15/M = 0.0100;  3,000 × 2.50/M + 100 × 15/M = 0.0090
    assert found.cost_usd == Decimal("0.0190")
    assert found.cost_per_call_usd == Decimal("0.0095")
    assert (found.input_tokens, found.output_tokens) == (4000, 600)
    assert (found.mean_input_tokens, found.mean_output_tokens) == (2000.0, 300.0)
    assert (found.p95_input_tokens, found.p95_output_tokens) == (3000, 500)
    assert found.latency is not None
    assert (found.latency.p50_ms, found.latency.p95_ms, found.latency.calls) == (800.0, 1600.0, 2)
    assert found.models == {"gpt-5.4": 2}
    assert (found.first_day, found.last_day) == (date(2026, 6, 1), date(2026, 6, 1))


def test_a_long_call_is_priced_at_its_own_tier_and_not_at_the_mean() -> None:
    short = [call(number, input_tokens=1000, output_tokens=0) for number in range(9)]
    found = only([*short, call(9, input_tokens=300_000, output_tokens=0)])
    # 9 × 0.0025 + 300,000 × 5/M; at the mean of 30,900 tokens it would be 0.7725
    assert found.cost_usd == Decimal("1.5225")


def test_a_call_is_priced_as_of_its_own_day_in_utc() -> None:
    # in the catalogue o3 fell from 10/40 to 2/8 on 2025-06-10
    late = datetime(2025, 6, 9, 23, 30, tzinfo=timezone(timedelta(hours=-2)))  # 01:30 of the tenth in UTC
    before = datetime(2025, 6, 9, 12, 0)  # a log without zones is read as UTC
    dear = only([call(model_served="o3", started_at=before)])
    cheap = only([call(model_served="o3", started_at=late)])
    assert dear.cost_usd == Decimal("0.03")
    assert cheap.cost_usd == Decimal("0.006")


def test_labelled_rows_are_no_calls() -> None:
    row = call(1, status=None, response=None, output_tokens=None, input_tokens=None, model_served=None)
    found = only([call(0), row])
    assert (found.calls, found.labelled_rows) == (1, 1)
    bare = only([row])
    assert (bare.calls, bare.labelled_rows, bare.cost_usd, bare.cost_per_call_usd) == (0, 1, None, None)
    assert bare.workload() is None
    json.dumps(bare.as_record())


@pytest.mark.parametrize(
    "fields",
    [{"status": 200}, {"error_type": "timeout"}, {"output_tokens": 3}, {"output_tokens": 0}],  # 0: an embedding
)
def test_a_call_without_a_stored_body_is_still_a_call(fields: dict[str, Any]) -> None:
    bodiless = only([call(**{"response": None, "status": None, "output_tokens": None, **fields})])
    assert (bodiless.calls, bodiless.labelled_rows) == (1, 0)


def test_an_unknown_model_is_unpriced_and_never_free() -> None:
    found = only([call(0), call(1, model_served="house-model"), call(2, model_served=None)])
    assert found.cost_usd == Decimal("0.01")
    assert found.priced_calls == 1
    assert found.unpriced == {"house-model": 1, "unknown": 1}
    assert found.as_record()["unpriced"] == {"calls": 2, "models": {"house-model": 1, "unknown": 1}}


def test_the_model_that_was_asked_for_is_priced_where_the_served_name_is_unknown() -> None:
    found = only([call(model_served="gateway-internal-7", model_requested="gpt-5.4")])
    assert found.cost_usd == Decimal("0.01")


def test_an_alias_is_named_among_the_assumptions() -> None:
    found = audit([call(model_served="desk-model")], aliases={"desk-model": "gpt-5.4-mini", "unused": "gpt-5.4"})
    assert found.tasks[0].cost_usd == Decimal("0.0030")
    assert found.assumptions == (
        "desk-model is billed like gpt-5.4-mini (openai): USD 0.75 per million input and 4.5 output tokens.",
    )


def test_a_price_by_the_time_of_day_is_an_assumption() -> None:
    found = audit([call(model_served="deepseek-chat", started_at=datetime(2025, 6, 1, tzinfo=UTC))], aliases={})
    assert found.assumptions == (
        "deepseek-chat: the provider charges by the time of day; its rate at 12:00 UTC is used.",
    )


def test_an_undated_call_is_unpriced_unless_a_day_is_assumed() -> None:
    undated = call(started_at=None)
    found = only([undated])
    assert (found.cost_usd, found.unpriced) == (None, {"gpt-5.4": 1})
    assert (found.first_day, found.growth, found.burstiness, found.calls_per_month) == (
        None,
        None,
        None,
        None,
    )
    assumed = audit([undated], aliases={}, undated_as_of=date(2026, 6, 15))
    assert assumed.tasks[0].cost_usd == Decimal("0.01")
    assert assumed.assumptions == ("1 calls without a time are priced as of 2026-06-15.",)


def test_a_call_is_priced_at_its_own_tier_where_that_has_a_price_on_the_day() -> None:
    later = MONDAY.replace(month=11)
    tiers = ("batch", "flex", "priority", "ON_DEMAND_PRIORITY", "default", "auto", None)
    found = only([call(number, service_tier=tier, started_at=later) for number, tier in enumerate(tiers)])
    # A list call costs 0.0100; batch and flex are half of it, priority (in two spellings) is twice as dear:
    # 2 x 0.0050 + 2 x 0.0200 + 3 x 0.0100 = 0.0800
    assert found.cost_usd == Decimal("0.0800")
    assert audit([call(service_tier="flex", started_at=later)], aliases={}).assumptions == ()


def test_a_tier_without_a_price_of_its_own_is_priced_by_the_list_and_told() -> None:
    tiers = ("batch", "batch", "scale", "default")
    found = audit([call(number, service_tier=tier) for number, tier in enumerate(tiers)], aliases={})

    assert found.tasks[0].cost_usd == Decimal("0.0400")
    # Batch rates of this model begin in October; "scale" is a word that no price list has.
    assert found.assumptions == (
        "1 call of gpt-5.4 at the tier 'scale' without a price of its own on the day: priced by the list.",
        "2 calls of gpt-5.4 at the tier 'batch' without a price of its own on the day: priced by the list.",
    )


def test_errors_count_and_cost_nothing_unless_tokens_were_used() -> None:
    failed = call(1, status=429, input_tokens=None, output_tokens=None, duration_ms=None)
    broken = call(2, status=None, error_type="stream_broken")
    found = only([call(0), failed, broken])
    assert (found.calls, found.errors, found.priced_calls) == (3, 2, 2)
    assert found.unpriced == {}
    assert found.latency is not None
    assert found.latency.calls == 2


COUNTED_APART = ("own_calls", "shadow_calls", "held_out_calls")


def test_own_shadow_and_held_out_calls_change_nothing_that_is_said_of_renting() -> None:
    rented = [call(number, started_at=MONDAY + timedelta(days=number)) for number in range(6)]
    later = {
        "started_at": MONDAY + timedelta(days=90),
        "model_served": "own-model",
        "status": 503,
        "input_tokens": 7,
        "output_tokens": 7,
        "cache_read_tokens": 7,
        "duration_ms": 9000.0,
    }
    own = [call(100 + number, route=route, **later) for number, route in enumerate(["own"] * 30 + ["canary"])]
    shadow = call(200, route="shadow", **later)
    marked = {"call-0", "call-100"}
    held_out = call(300, **later)
    calls = [*rented, *own, shadow, held_out]
    served = only(calls, corrected_calls=marked, held_out_calls={"call-300"}).as_record()
    assert [served.pop(name) for name in COUNTED_APART] == [31, 1, 1]
    before = only(rented, corrected_calls=marked).as_record()
    assert [before.pop(name) for name in COUNTED_APART] == [0, 0, 0]
    assert served == before


def test_a_task_that_only_own_models_answer_has_no_rented_traffic() -> None:
    found = only([call(0, route="own")], corrected_calls={"call-0"})
    assert (found.calls, found.own_calls, found.models, found.corrected_share) == (0, 1, {}, None)
    assert (found.last_day, found.calls_per_month, found.workload()) == (None, None, None)


def test_tokens_that_nobody_counted_are_unknown_and_not_zero() -> None:
    found = only([call(0, input_tokens=None, output_tokens=None), call(1, input_tokens=None, output_tokens=None)])
    assert (found.input_tokens, found.output_tokens) == (None, None)
    tokens = found.as_record()["tokens"]
    assert (tokens["input"], tokens["output"]) == (None, None)
    assert only([call(0, output_tokens=0)]).output_tokens == 0


def test_a_cached_share_that_the_log_does_not_tell_stays_unknown_in_the_workload() -> None:
    workload = only([call(0)]).workload()
    assert workload is not None
    assert workload.cached_share is None


def test_the_cached_share_is_of_the_calls_that_report_it() -> None:
    found = only([call(0, cache_read_tokens=500), call(1, cache_read_tokens=0), call(2)])
    assert found.cached_share == 0.25
    assert only([call(0)]).cached_share is None


def test_rhythm_growth_and_a_month_follow_from_the_days() -> None:
    # four days: 1, 1, 2, 4 calls; the last hour holds 4
    counts = [1, 1, 2, 4]
    calls = [
        call(10 * day + number, started_at=MONDAY + timedelta(days=day))
        for day, many in enumerate(counts)
        for number in range(many)
    ]
    found = only(calls)
    assert found.weekday_calls == (1, 1, 2, 4, 0, 0, 0)
    assert found.growth == 2.0  # 6 / 2 - 1
    # 73 hours from the first to the last, 8 calls: 4 / (8 / 73)
    assert found.burstiness == pytest.approx(36.5)
    assert found.calls_per_month == pytest.approx(8 / 4 * 730 / 24)
    record = found.as_record()
    assert record["weekday_calls"]["thursday"] == 4
    assert (record["first_day"], record["last_day"]) == ("2026-06-01", "2026-06-04")


def test_the_middle_day_of_an_odd_number_is_in_neither_half() -> None:
    counts = [2, 50, 3]
    calls = [
        call(100 * day + number, started_at=MONDAY + timedelta(days=day))
        for day, many in enumerate(counts)
        for number in range(many)
    ]
    assert only(calls).growth == 0.5
    assert only([call()]).growth is None


def test_calls_without_a_time_are_in_neither_the_peak_nor_the_mean() -> None:
    dated = [call(number, started_at=MONDAY + timedelta(hours=number // 3)) for number in range(6)]
    undated = [call(100 + number, started_at=None) for number in range(400)]
    # two busy minutes of three calls each, in the 61 minutes from the first to the end of the last
    assert only(dated).peak_to_mean == only([*dated, *undated]).peak_to_mean == pytest.approx(3 * 61 / 6)


def test_the_share_with_corrections_is_unknown_unless_given() -> None:
    calls = [call(number) for number in range(4)]
    assert only(calls).corrected_share is None
    assert only(calls, corrected_calls={"call-1", "elsewhere"}).corrected_share == 0.25


def test_a_workload_follows_and_a_thin_log_has_no_peak() -> None:
    thin = only([call(0, cache_read_tokens=500), call(1, started_at=MONDAY + timedelta(days=1))])
    workload = thin.workload()
    assert workload is not None
    assert workload.queries_per_month == pytest.approx(730 / 24)
    assert (workload.input_tokens, workload.output_tokens, workload.cached_share) == (1000.0, 500.0, 0.5)
    assert workload.peak_to_mean is None
    hours = [call(100 * hour + n, started_at=MONDAY.replace(hour=hour)) for hour in range(24) for n in range(20)]
    dense = only([*hours, *(call(9000 + number) for number in range(20))]).workload()
    assert dense is not None
    assert dense.peak_to_mean == pytest.approx(40 * 24 / 500)


def test_the_record_names_tasks_catalogue_and_assumptions() -> None:
    record = audit([call(0, task="zeta"), call(1, task="alpha")], aliases={}).as_record()
    assert record["schema"] == "freehold.audit/1"
    assert [task["task"] for task in record["tasks"]] == ["alpha", "zeta"]
    assert record["price_catalogue"].startswith("genai-prices ")
    assert record["assumptions"] == []
    assert record["tasks"][0]["cost_usd"] == 0.01
    assert record["tasks"][0]["tokens"]["input_p95"] == 1000


def test_an_empty_log_has_no_tasks() -> None:
    assert audit([], aliases={}).tasks == ()


@settings(deadline=None)
@given(
    lengths=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 500), st.integers(0, 700)), max_size=60),
    seed=st.integers(0, 9),
)
def test_the_order_of_the_calls_does_not_matter(lengths: list[tuple[int, int, int]], seed: int) -> None:
    calls = [
        call(number, input_tokens=given, output_tokens=output, started_at=MONDAY + timedelta(hours=hour))
        for number, (given, output, hour) in enumerate(lengths)
    ]
    shuffled = calls.copy()
    random.Random(seed).shuffle(shuffled)
    first, second = (canonical_json(audit(order, aliases={}).as_record()) for order in (calls, shuffled))
    assert first == second
    found = audit(calls, aliases={}).tasks
    if found:
        ordered = sorted(length[0] for length in lengths)
        # the smallest value with at least 95 % of all at or below it
        assert found[0].p95_input_tokens == ordered[-(-len(ordered) * 95 // 100) - 1]
