from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.core.errors import InputError
from freehold.economics.trace import Lengths, Trace, Volumes, spread


def trace(t_s: Any, input_tokens: Any = 1, output_tokens: Any = 1, **more: Any) -> Trace:
    count = len(t_s)
    return Trace(
        t_s=np.asarray(t_s, dtype=float),
        input_tokens=np.broadcast_to(np.asarray(input_tokens, dtype=np.int64), count).copy(),
        output_tokens=np.broadcast_to(np.asarray(output_tokens, dtype=np.int64), count).copy(),
        **more,
    )


ONE = Lengths(input_tokens=np.array([100]), output_tokens=np.array([10]))


def volumes(*rows: tuple[float, int], cv: list[float] | None = None, window_s: float = 600.0) -> Volumes:
    t_s, requests = (np.array(column) for column in zip(*rows, strict=True))
    return Volumes(
        t_s=t_s.astype(float), requests=requests.astype(np.int64), window_s=window_s,
        cv=None if cv is None else np.array(cv),
    )  # fmt: skip


def test_rates_by_hand() -> None:
    # 5 calls in 120 s, 4 of them in the first minute: 4 · 120 / (60 · 5) = 1.6; 730 · 3600 / 24 s = 109,500 a month.
    calls = trace([10.0, 11.0, 12.0, 13.0, 130.0])

    assert calls.span_s == 120.0
    assert calls.requests_per_s == pytest.approx(5 / 120)
    assert calls.peak_to_mean(60.0) == pytest.approx(1.6)
    assert calls.calls_per_month == pytest.approx(109_500.0)
    assert trace([1.0, 1.0]).calls_per_month is None
    assert trace([1.0, 1.0]).requests_per_s is None
    assert trace([1.0, 2.0]).peak_to_mean(60.0) is None


def test_twice_the_traffic_comes_in_half_the_time() -> None:
    twice = trace([10.0, 20.0, 40.0], duration_s=60.0).times(2.0)

    assert twice.t_s.tolist() == [0.0, 5.0, 15.0]
    assert twice.span_s == 30.0
    for factor in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="positive number"):
            trace([1.0]).times(factor)


@pytest.mark.parametrize(
    ("t_s", "more", "message"),
    [
        ([], {}, "at least one call"),
        ([0.0, math.nan], {}, "Call 2: the time of arrival"),
        ([0.0, math.inf], {}, "Call 2: the time of arrival"),
        ([0.0, 2.0, 1.0], {}, "Call 3 arrived before"),
        ([0.0, 1e9], {}, "milliseconds"),
        ([0.0, 10.0], {"duration_s": 5.0}, "must cover its arrivals"),
        ([0.0], {"duration_s": math.nan}, "must cover its arrivals"),
        ([0.0, 1.0], {"input_tokens": [1, 0]}, "Call 2: input_tokens"),
        ([0.0, 1.0], {"output_tokens": [1, 10**9]}, "Call 2: output_tokens"),
    ],
)
def test_what_no_trace_can_hold_is_refused(t_s: list[float], more: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        trace(t_s, **more)


def test_arrays_of_different_lengths_are_refused() -> None:
    with pytest.raises(InputError, match="as many lengths as arrivals"):
        Trace(t_s=np.zeros(2), input_tokens=np.array([1]), output_tokens=np.array([1, 1]))


def test_counted_calls_arrive_inside_their_windows() -> None:
    calls = spread(volumes((1200.0, 50), (0.0, 7), (600.0, 0)), ONE, seed=1)

    assert calls.calls == 57
    assert ((calls.t_s < 600.0).sum(), (calls.t_s >= 1200.0).sum()) == (7, 50)
    assert calls.span_s == 1800.0
    assert set(calls.input_tokens.tolist()) == {100}


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 40), st.floats(0.01, 800)), min_size=1, max_size=12),
    st.integers(0, 99),
)
def test_every_counted_call_arrives_once_whatever_the_burstiness(rows: list[tuple[int, int, float]], seed: int) -> None:
    if not sum(count for _, count, _ in rows):
        return
    given_ = volumes(*[(600.0 * window, count) for window, count, _ in rows], cv=[cv for *_, cv in rows])

    calls = spread(given_, ONE, seed=seed)

    per_window = np.bincount([window for window, _, _ in rows], [count for _, count, _ in rows], minlength=21)
    arrived = np.bincount(np.minimum((calls.t_s / 600.0 + 1e-12).astype(int), 20), minlength=21)
    at_an_edge = (np.abs(calls.t_s - 600.0 * np.rint(calls.t_s / 600.0)) < 1e-6).sum()
    assert np.abs(per_window - arrived).sum() <= 2 * at_an_edge
    assert (spread(given_, ONE, seed=seed).t_s == calls.t_s).all()


def test_gaps_have_the_spread_that_was_asked_for() -> None:
    for cv in (0.3, 1.0, 3.0):
        gaps = np.diff(spread(volumes((0.0, 50_000), cv=[cv]), ONE, seed=2).t_s)
        assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05)


def test_without_a_spread_arrivals_know_nothing_of_each_other() -> None:
    gaps = np.diff(spread(volumes((0.0, 50_000)), ONE, seed=3).t_s)

    assert gaps.std() / gaps.mean() == pytest.approx(1.0, rel=0.03)


def test_lengths_are_drawn_in_pairs_and_a_share_is_kept() -> None:
    pairs = Lengths(input_tokens=np.array([1, 2]), output_tokens=np.array([10, 20]))

    calls = spread(volumes((0.0, 10_000)), pairs, seed=4, kept=0.25)

    assert calls.calls == pytest.approx(2_500, rel=0.06)
    assert (calls.output_tokens == 10 * calls.input_tokens).all()
    assert float((calls.input_tokens == 1).mean()) == pytest.approx(0.5, abs=0.05)


def test_no_calls_or_too_many_are_refused() -> None:
    with pytest.raises(InputError, match="hold 0 calls"):
        spread(volumes((0.0, 0)), ONE, seed=0)
    with pytest.raises(InputError, match="hold 30,000,000 calls"):
        spread(volumes((0.0, 30_000_000)), ONE, seed=0)
