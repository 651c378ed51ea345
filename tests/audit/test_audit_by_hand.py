"""Every number of an audit against the same number worked out call by call in plain Python."""

from __future__ import annotations

import json
import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from freehold.audit.examine import Question, examine
from freehold.audit.rows import VOLUME_COLUMNS, Source
from freehold.core.call import Call
from freehold.core.identity import call_id
from freehold.ledger.columns import table_of
from tests.audit.by_hand import Prices, Rates, model_of, standing, task_record, utc

if TYPE_CHECKING:
    from collections.abc import Sequence

START = datetime(2026, 10, 1, tzinfo=UTC)
AS_OF = date(2026, 11, 20)
SERVEGEN = Path(__file__).parents[3] / "shared" / "data" / "trace_servegen_msmall"
AZURE = Path(__file__).parents[3] / "shared" / "data" / "trace_azure2023"
PLAIN: dict[str, Rates] = {
    "gpt-5.4": ("2.5", "0.25", "15"),
    "gpt-5.4-mini": ("0.75", "0.075", "4.5"),
    "text-embedding-3-small": ("0.02", None, None),
}
LONG: Rates = ("5", "0.5", "22.5")
"""gpt-5.4 above 272,000 input tokens."""
LONG_BATCH: Rates = ("2.5", "0.25", "11.25")
BATCH: dict[str, Rates] = {"gpt-5.4": ("1.25", "0.13", "7.5"), "gpt-5.4-mini": ("0.375", "0.0375", "2.25")}
BATCH_FROM, FLEX_FROM = date(2026, 10, 14), date(2026, 10, 12)


def _rates(call: Call, day: date | None, *, in_batch: bool = False) -> Rates | None:
    """As the two providers' pages give them; flex costs what a batch costs."""
    model = model_of(call)
    if day is None or model not in PLAIN:
        return None
    is_long = model == "gpt-5.4" and (call.input_tokens or 0) > 272_000
    is_batch = in_batch or (call.service_tier == "batch" and day >= BATCH_FROM)
    if (is_batch or (call.service_tier == "flex" and day >= FLEX_FROM)) and model in BATCH:
        return LONG_BATCH if is_long else BATCH[model]
    return LONG if is_long else PLAIN[model]


PRICES = Prices(
    then=lambda call: _rates(call, None if call.started_at is None else utc(call).date()),
    now=lambda call: _rates(call, AS_OF),
    in_batch=lambda call: _rates(call, AS_OF, in_batch=True) if model_of(call) in BATCH else None,
)


def _log(count: int, *, seed: int) -> list[Call]:
    """Six weeks of four tasks with everything that a log may hold."""
    draw = random.Random(seed)
    calls: list[Call] = []
    for number in range(count):
        task = draw.choice(["desk", "desk", "desk", "search", "night", "=odd"])
        second = draw.random() ** 0.7 * 42 * 86_400
        moment = START + timedelta(seconds=second)
        moment = moment.replace(hour=2) if task == "night" else moment
        status = draw.choice([200] * 12 + [429, 500, None])
        has_counts = status == 200 or draw.random() < 0.3
        given_tokens = draw.choice([draw.randint(1, 4_000), draw.randint(1, 4_000), 272_000, 272_001])
        model = "text-embedding-3-small" if task == "search" else draw.choice(["gpt-5.4", "gpt-5.4-mini", "house"])
        before = draw.choice(calls).id if calls and draw.random() < 0.05 else None
        calls.append(
            Call(
                id=call_id(moment, str(number)),
                task=task,
                started_at=None if draw.random() < 0.03 else moment,
                model_requested=draw.choice([None, model]),
                model_served=model if draw.random() < 0.98 else None,
                service_tier=draw.choice([None, None, None, "default", "batch", "flex"]),
                route=draw.choice(["rent"] * 9 + [None, "own", "shadow", "canary"]),
                parent_id=before,
                status=status,
                error_type="timeout" if status is None and draw.random() < 0.7 else None,
                stream=draw.choice([None, False, True]),
                input_tokens=given_tokens if has_counts else None,
                cache_read_tokens=draw.choice([None, 0, given_tokens // 2]) if has_counts else None,
                output_tokens=None if task == "search" or not has_counts else draw.randint(0, 900),
                reasoning_tokens=None if draw.random() < 0.5 else draw.randint(0, 50),
                duration_ms=draw.choice([None, draw.random() * 9_000]),
                request=draw.choice(
                    [None, {"messages": [{"role": "user", "content": f"case {draw.randint(0, 300)}"}]}]
                ),
            )
        )
    return calls


def _compare(calls: Sequence[Call], prices: Prices) -> dict[str, Any]:  # Any: JSON
    record = examine(
        Source(calls=table_of(list(calls))), Question(aliases={}, as_of=AS_OF, read_texts=False)
    ).as_record()
    tasks = {task["task"]: task for task in record["tasks"]}
    names = sorted({call.task for call in calls})
    assert sorted(tasks) == names
    for name in names:
        expected = task_record([call for call in calls if call.task == name], prices)
        found = tasks[name]
        parts = {
            kind: {each[key]: (each["calls"], each["priced_calls"], each["cost_usd"]) for each in found[kind]}
            for kind, key in (("by_day", "day"), ("by_model", "model"))
        }
        found |= parts | {"weekday_calls": list(found["weekday_calls"].values())}
        for field, value in expected.items():
            given = {key: found[field][key] for key in value} if field == "tokens" else found[field]
            assert given == _near(value), f"{name}: {field}"
    return record


def _near(value: Any) -> Any:  # Any: JSON, and what pytest compares it by
    if isinstance(value, float):
        return pytest.approx(value, rel=1e-9, abs=1e-12)
    if isinstance(value, dict):
        return {key: _near(each) for key, each in value.items()}
    return tuple(map(_near, value)) if isinstance(value, tuple) else value


@pytest.mark.parametrize("seed", range(4))
def test_every_number_of_a_mixed_log_is_what_its_calls_say_one_by_one(seed: int) -> None:
    calls = _log(1_500, seed=seed)
    record = _compare(calls, PRICES)
    rented = [call for call in calls if standing(call) == "rented"]
    assert record["total"]["calls"] == len(rented)
    # The week is the sum of all tasks' days.
    week = [sum(utc(call).weekday() == day for call in rented if call.started_at) for day in range(7)]
    assert [sum(hours) for hours in record["week"]["calls"].values()] == week


def test_every_call_is_priced_or_unpriced_or_a_failure_that_nobody_billed() -> None:
    record = _compare(_log(800, seed=9), PRICES)
    for task in [*record["tasks"], record["total"]]:
        if "priced_calls" in task:
            assert task["calls"] == task["priced_calls"] + task["unpriced_calls"] + task["unbilled_failures"]
    for field in ("unpriced_calls", "unbilled_failures", "priced_calls", "calls"):
        assert record["total"][field] == sum(task[field] for task in record["tasks"])


def test_the_worth_of_every_step_is_a_number_of_its_task() -> None:
    record = _compare(_log(1_500, seed=3), PRICES)
    tasks = {task["task"]: task for task in record["tasks"]}
    source = {
        "batch": "batch_saving_usd",
        "exact-cache": "cache_saving_usd",
        "cheaper-model": "cheaper_saving_usd",
    }
    assert {step["action"] for step in record["ranking"]} >= {*source, "fewer-failures"}
    for step in record["ranking"]:
        task = tasks[step["task"]]
        if step["action"] == "fewer-failures":
            assert step["usd_per_month"] == pytest.approx(task["errors_usd"] / task["calls"] * task["calls_per_month"])
        else:
            assert step["usd_per_month"] == task[source[step["action"]]]
        assert step["usd_per_month"] >= 0.01
        assert step["expected_usd_per_month"] <= step["usd_per_month"]
    worth = [step["expected_usd_per_month"] for step in record["ranking"]]
    assert worth == sorted(worth, reverse=True)
    assert [step["rank"] for step in record["ranking"]] == list(range(1, len(worth) + 1))


def test_every_number_of_a_published_trace_is_what_its_rows_say_one_by_one() -> None:
    """Azure's trace of 2023: 28,185 requests of two services within an hour."""
    if not AZURE.is_dir():
        pytest.skip("the trace is not beside the repository")
    calls = []
    for task in ("code", "conv"):
        for number, line in enumerate((AZURE / f"{task}.jsonl").read_text(encoding="utf-8").splitlines()):
            row = json.loads(line)
            moment = START + timedelta(seconds=row["t_s"])
            calls.append(
                Call(
                    id=call_id(moment, f"{task}{number}"),
                    task=task,
                    started_at=moment,
                    model_served="gpt-5.4",
                    route="rent",
                    status=200,
                    input_tokens=row["input_tokens"],
                    output_tokens=row["output_tokens"],
                )
            )
    assert len(calls) == 28_185
    _compare(calls, PRICES)


def test_a_batch_rate_that_says_nothing_of_long_calls_promises_nothing_for_them() -> None:
    # gpt-5.5-pro costs more above 272,000 input tokens, and its batch rate names no length.
    moment = datetime(2026, 11, 1, tzinfo=UTC)
    short, long = (
        Call(id=call_id(moment, str(size)), task="desk", started_at=moment, model_served="gpt-5.5-pro", route="rent",
             status=200, input_tokens=size, output_tokens=10)
        for size in (272_000, 272_001)
    )  # fmt: skip
    question = Question(aliases={}, as_of=AS_OF, read_texts=False)
    alone, both = (examine(Source(calls=table_of(calls)), question).tasks[0] for calls in ([long], [long, short]))
    assert alone.savings.batch_usd is None
    said = "The price list has no batch price of gpt-5.5-pro for calls above 272,000 tokens."
    assert said in alone.reasons
    by_itself = examine(Source(calls=table_of([short])), question).tasks[0]
    assert both.savings.batch_usd == pytest.approx(by_itself.savings.batch_usd)


def test_a_call_that_failed_before_it_used_a_token_is_neither_priced_nor_unpriced() -> None:
    moment = datetime(2026, 11, 1, tzinfo=UTC)
    counts = [(None, 500), (1_000, 500), (1_000, 200), (None, 200)]
    calls = [
        Call(id=call_id(moment, str(place)), task="desk", started_at=moment, model_served="house", route="rent",
             status=status, input_tokens=given, output_tokens=given)
        for place, (given, status) in enumerate(counts)
    ]  # fmt: skip
    record = examine(Source(calls=table_of(calls)), Question(aliases={}, as_of=AS_OF)).as_record()
    assert record["total"] | {"cost_usd": None} == {
        "calls": 4, "cost_usd": None, "priced_calls": 0, "unpriced_calls": 3, "unbilled_failures": 1,
    }  # fmt: skip


def test_volumes_of_a_published_trace_are_what_its_windows_say_one_by_one() -> None:
    """ServeGen's m-small: 43 tenants within two weeks, known by ten-minute windows alone."""
    if not SERVEGEN.is_dir():
        pytest.skip("the trace is not beside the repository")
    windows = [json.loads(line) for line in (SERVEGEN / "windows.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = [
        {
            "started_at": START + timedelta(seconds=row["t_s"]),
            "window_s": 600.0,
            "task": f"client-{row['client']}",
            "model": "gpt-5.4",
            "calls": row["requests"],
        }
        for row in windows
    ]
    volumes = pa.Table.from_pylist(rows, schema=pa.schema(list(VOLUME_COLUMNS.items())))
    record = examine(Source(volumes=volumes), Question(aliases={}, as_of=AS_OF)).as_record()
    # What a tenant has no window for had no call: all are measured over what the whole trace covers.
    seconds = [row["t_s"] for row in windows]
    days = (max(seconds) + 600 - 1) // 86_400 - min(seconds) // 86_400 + 1
    minutes = (max(seconds) + 600 - min(seconds)) / 60
    tasks = {task["task"]: task for task in record["tasks"]}
    assert len(tasks) == 43
    for name, task in tasks.items():
        own = [row for row in windows if f"client-{row['client']}" == name]
        calls = sum(row["requests"] for row in own)
        assert (task["calls"], task["volume_calls"], task["unpriced_calls"]) == (calls, calls, calls)
        assert task["calls_per_month"] == pytest.approx(calls / days * 730 / 24)
        assert task["peak_to_mean"] == pytest.approx(max(row["requests"] for row in own) / 10 * minutes / calls)
        assert task["tier"] == ("low" if calls / days * 730 / 24 < 100_000 else
                                "high" if calls / days * 730 / 24 > 500_000 else "mid")  # fmt: skip
        by_hour = Counter[int]()
        for row in own:
            by_hour[row["t_s"] // 3600 % 24] += row["requests"]
        assert task["hour_calls"] == [by_hour[hour] for hour in range(24)]
        assert (task["cost_usd"], task["input_tokens"], task["p50_ms"], task["replaceability"]) == (None,) * 4
    assert record["total"]["calls"] == sum(row["requests"] for row in windows)
    assert record["ranking"] == []
