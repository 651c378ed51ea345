from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from freehold.audit.forecast import CONFIDENCE, GROWTH_CONFIDENCE, Series, forecast_of, growth_of
from freehold.audit.task_audit import DAYS_PER_MONTH
from tests.audit.traffic_shapes import SHAPES, Shape, traffic

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEEK = np.array([1.2, 1.2, 1.1, 1.1, 1.0, 0.3, 0.3])


def _series(calls: object, *, exposure: object = None) -> Series:
    counts = np.asarray(calls, dtype=float)
    covered = np.ones(len(counts)) if exposure is None else np.asarray(exposure, dtype=float)
    return Series(calls=counts, exposure=covered, first_weekday=0)


def _traffic(days: int, *, growth: float, seed: int, wander: float = 0.02) -> NDArray[np.float64]:
    """Calls a day that grow, follow the week, and whose level wanders."""
    random = np.random.default_rng(seed)
    level = 300 * np.exp(np.log1p(growth) * np.arange(days) / DAYS_PER_MONTH) * WEEK[np.arange(days) % 7]
    calls: NDArray[np.int64] = random.poisson(level * np.exp(np.cumsum(random.normal(0, wander, days))))
    return calls.astype(np.float64)


def test_a_steady_task_goes_on_and_does_not_grow() -> None:
    series = _series([70] * 56)
    growth, forecast = growth_of(series), forecast_of(series)
    assert growth is not None
    assert forecast is not None
    assert growth.per_month == pytest.approx(0.0, abs=1e-6)
    assert growth.low < 0 < growth.high
    assert [month.calls for month in forecast.months] == pytest.approx([70 * DAYS_PER_MONTH] * 3)
    assert forecast.backtest.error == pytest.approx(0.0, abs=1e-6)


def test_a_task_that_doubles_each_month_is_seen_and_the_trend_is_chosen_by_the_back_test() -> None:
    series = _series(100 * 2 ** (np.arange(84) / DAYS_PER_MONTH))
    growth, forecast = growth_of(series), forecast_of(series)
    assert growth is not None
    assert forecast is not None
    assert growth.per_month == pytest.approx(1.0, rel=0.01)
    assert forecast.method == "trend"
    assert forecast.backtest.trend_error < forecast.backtest.level_error
    first, second, third = (month.calls for month in forecast.months)
    # damped: each month grows, and by less than the one before
    assert second / first > third / second > 1.0
    assert second / first < 2.0


def test_growth_that_two_weeks_seem_to_show_is_not_carried_on_for_three_months() -> None:
    rising = np.round(20 * 40 ** (np.arange(14) / 13))  # forty times as many within two weeks
    ups_and_downs = np.array([3, 900, 2, 40, 2500, 10, 1, 60, 3000, 9, 700, 5000, 30, 4000])
    for calls in (rising, ups_and_downs):
        forecast = forecast_of(_series(calls))
        assert forecast is not None
        for month in forecast.months:
            assert month.calls / DAYS_PER_MONTH < 40 * calls.max()
            assert month.low <= month.calls <= month.high


@pytest.mark.parametrize("wander", [0.02, 0.15])
@pytest.mark.parametrize("days", [23, 28, 60])
def test_a_short_log_without_growth_is_not_forecast_to_explode(days: int, wander: float) -> None:
    held = 0
    for seed in range(30):
        calls = _traffic(days + 91, growth=0.0, seed=seed, wander=wander)
        forecast = forecast_of(_series(calls[:days]))
        assert forecast is not None
        month = forecast.months[2]
        assert month.calls / DAYS_PER_MONTH < 5 * calls[:days].max()
        held += month.low <= calls[days + 61 :].mean() * DAYS_PER_MONTH <= month.high
    assert held / 30 > CONFIDENCE - 0.17


def test_a_day_that_the_log_covers_in_part_is_no_fall() -> None:
    whole, cut = _series([240] * 28), _series([240] * 27 + [60], exposure=[1.0] * 27 + [0.25])
    ends = [growth_of(each) for each in (whole, cut)]
    assert ends[0] is not None
    assert ends[1] is not None
    assert ends[1].per_month == pytest.approx(ends[0].per_month, abs=1e-6)


@pytest.mark.parametrize(
    ("calls", "why"),
    [
        ([9] * 13, "The calls span 13 days; growth and a forecast need 14."),
        ([0] * 20 + [5000] + [0] * 20, "Calls came on 1 of 41 days; growth and a forecast need half of them."),
        ([3] * 14, "42 calls with a time are too few for growth and a forecast (50)."),
    ],
)
def test_too_short_a_log_says_so_and_nothing_else(calls: list[int], why: str) -> None:
    series = _series(calls)
    assert series.lacks() == why
    assert growth_of(series) is None
    assert forecast_of(series) is None


def test_calls_on_every_other_day_are_no_fault() -> None:
    series = _series([0, 5000] * 20)
    growth, forecast = growth_of(series), forecast_of(series)
    assert growth is not None
    assert forecast is not None
    assert all(0 <= month.low <= month.calls <= month.high < np.inf for month in forecast.months)


@pytest.mark.parametrize("days", [14, 28, 60, 120, 540])
@pytest.mark.parametrize("shape", SHAPES)
def test_intervals_hold_what_comes_whatever_the_shape_and_the_length_of_the_log(shape: Shape, days: int) -> None:
    """Two weeks to eighteen months; nine in ten are promised, and chance may take one in ten off that."""
    rounds, held, known = 40, 0, 0
    for seed in range(rounds):
        calls = traffic(shape, days, 92, seed=seed)
        forecast = forecast_of(_series(calls[:days]))
        if forecast is None:  # too few calls
            assert shape == "sparse"
            continue
        for number, month in enumerate(forecast.months):
            first, last = (days + round(each * DAYS_PER_MONTH) for each in (number, number + 1))
            known += 1
            held += month.low <= calls[first:last].mean() * DAYS_PER_MONTH <= month.high
    assert known >= rounds * 0.8
    assert held / known > CONFIDENCE - 0.1


@pytest.mark.parametrize("growth", [-0.1, 0.0, 0.1, 0.5])
def test_intervals_hold_what_comes_about_as_often_as_they_say(growth: float) -> None:
    """Simulated coverage: traffic with a weekly shape whose level wanders by 2 % a day."""
    held = seen = 0
    rounds = 60
    for seed in range(rounds):
        calls = _traffic(150, growth=growth, seed=seed)
        series = _series(calls[:120])
        forecast, found = forecast_of(series), growth_of(series)
        assert forecast is not None
        assert found is not None
        came = calls[120:].sum() * DAYS_PER_MONTH / 30
        held += forecast.months[0].low <= came <= forecast.months[0].high
        seen += found.low <= growth <= found.high
    assert held / rounds > CONFIDENCE - 0.17
    assert seen / rounds > GROWTH_CONFIDENCE - 0.17


def test_the_record_holds_the_error_of_the_back_test_and_money_where_it_is_known() -> None:
    forecast = forecast_of(_series([70] * 56))
    assert forecast is not None
    record = forecast.as_record(0.01)
    assert record["months"][0]["cost_usd"] == pytest.approx(0.7 * DAYS_PER_MONTH)
    assert record["backtest"]["origins"] >= 1
    assert forecast.as_record(None)["months"][0]["cost_usd"] is None
