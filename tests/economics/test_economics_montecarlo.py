from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from freehold.economics.montecarlo import Interval, draw, number, percentiles, posterior_ends, typical
from freehold.economics.plans import default_scenario

if TYPE_CHECKING:
    from freehold.economics.scenario import Assumption

FTE = default_scenario(None).assumptions["fte"]


def drawn(assumption: Assumption, seed: int = 0) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return draw({"x": assumption}, seed=seed, draws=100_000)["x"]


def test_triangular_draws_have_the_mean_and_the_bounds_of_their_corners() -> None:
    values = drawn(FTE)
    # (0.1 + 0.35 + 1.0) / 3
    assert values.mean() == pytest.approx(0.4833, abs=0.002)
    assert values.min() >= 0.1
    assert values.max() <= 1.0
    # below the corner lies (0.35 - 0.1) / (1.0 - 0.1) of the draws
    assert (values < 0.35).mean() == pytest.approx(0.2778, abs=0.005)


def test_lognormal_draws_have_their_low_and_high_as_percentiles() -> None:
    values = drawn(replace(FTE, low=0.5, typical=1.0, high=2.0, shape="lognormal"))
    assert np.percentile(values, [5, 50, 95]) == pytest.approx([0.5, 1.0, 2.0], rel=0.02)


def test_whole_draws_are_whole() -> None:
    values = drawn(replace(FTE, low=1, typical=1, high=2, shape="whole"))
    assert set(values.tolist()) == {1.0, 2.0}
    # the triangle from 1 down to 2 has a quarter of its area above 1.5
    assert (values == 2.0).mean() == pytest.approx(0.25, abs=0.005)


@pytest.mark.parametrize("corner", [0.1, 1.0])
def test_a_corner_at_the_end_gives_no_nonsense(corner: float) -> None:
    values = drawn(replace(FTE, typical=corner))
    assert np.isfinite(values).all()
    assert values.min() >= 0.1
    assert values.max() <= 1.0


def test_fixed_and_typical_values_are_single_numbers() -> None:
    assert drawn(replace(FTE, shape="fixed")).tolist() == [0.35]
    assert typical({"x": FTE})["x"].tolist() == [0.35]


def test_a_draw_does_not_depend_on_what_else_is_drawn() -> None:
    alone = draw({"a": FTE}, seed=5, draws=200)["a"]
    beside = draw({"b": replace(FTE, name="other"), "a": FTE}, seed=5, draws=200)
    assert (beside["a"] == alone).all()
    assert (beside["b"] != alone).any()
    assert (draw({"a": FTE}, seed=6, draws=200)["a"] != alone).any()


def test_percentiles_keep_infinities_apart() -> None:
    values = np.array([*range(1, 91), *([math.inf] * 10)], dtype=float)
    assert percentiles(values) == Interval(5.0, 50.0, None)
    assert percentiles(values).as_record() == {"p5": 5.0, "p50": 50.0, "p95": None}


def test_a_record_keeps_twelve_digits() -> None:
    assert number(0.1 + 0.2) == 0.3
    assert number(None) is None


def test_a_measured_interval_becomes_percentiles() -> None:
    # 95 % lie within 1.959964 standard deviations, 5th and 95th percentile at 1.644854: 0.8392 of the way.
    low, mean, high = posterior_ends(0.02, -0.02, 0.08, confidence=0.95)
    assert mean == 0.02
    assert low == pytest.approx(0.02 - 0.04 * 0.839227, abs=1e-6)
    assert high == pytest.approx(0.02 + 0.06 * 0.839227, abs=1e-6)
    assert posterior_ends(0.9, 0.5, 1.9, confidence=0.9) == (0.5, 0.9, 1.0)
