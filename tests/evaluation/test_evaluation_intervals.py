from __future__ import annotations

from math import comb, log, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from freehold.evaluation.intervals import (
    RESAMPLES,
    bonferroni,
    bootstrap_mean,
    difference_interval,
    resampled_means,
    score_interval,
    tango,
    wilson,
    z_two_sided,
)
from freehold.evaluation.planning import (
    MOST_CASES,
    cases_before_looking,
    cases_to_decide,
    fewest_cases,
)

Z = 1.959963984540054


def test_levels() -> None:
    assert z_two_sided(0.95) == pytest.approx(Z)
    assert bonferroni(0.95, 1) == pytest.approx(0.95)
    assert bonferroni(0.95, 2) == pytest.approx(0.975)


def test_wilson_by_hand() -> None:
    # 8 of 10: centre (0.8 + 3.8415/20) / 1.38415 = 0.7167;
    # half 1.96/1.38415 * sqrt(0.016 + 3.8415/400) = 0.2266.
    interval = wilson(8, 10, 0.95)
    assert interval.low == pytest.approx(0.4902, abs=1e-4)
    assert interval.high == pytest.approx(0.9433, abs=1e-4)


@given(st.integers(1, 500), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_agrees_with_scipy(n: int, data: st.DataObject, confidence: float) -> None:
    successes = data.draw(st.integers(0, n))
    theirs = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    ours = wilson(successes, n, confidence)
    assert ours.low == pytest.approx(theirs.low, abs=1e-12)
    assert ours.high == pytest.approx(theirs.high, abs=1e-12)


def slow_tango(wins: int, losses: int, n: int, z: float) -> tuple[float, float]:
    """Ends of the differences on a grid that lie within z, the likeliest share of losses found by search."""
    inside = []
    for difference in np.linspace(-0.995, 0.995, 399):
        low, high = max(0.0, -difference), (1 - difference) / 2
        shares = np.linspace(low + 1e-9, high - 1e-9, 20_001)
        likelihood = np.zeros_like(shares)
        for count, share in (
            (wins, shares + difference),
            (losses, shares),
            (n - wins - losses, 1 - 2 * shares - difference),
        ):
            if count:
                likelihood += count * np.log(share)
        share = shares[likelihood.argmax()]
        spread = sqrt(n * (2 * share + difference - difference**2))
        if abs(wins - losses - n * difference) <= z * spread:
            inside.append(float(difference))
    return inside[0], inside[-1]


@pytest.mark.parametrize(
    ("wins", "losses", "n"), [(5, 9, 40), (0, 0, 30), (0, 6, 25), (12, 0, 60), (20, 20, 41), (1, 1, 300)]
)
def test_tango_agrees_with_a_search_over_the_likelihood(wins: int, losses: int, n: int) -> None:
    low, high = slow_tango(wins, losses, n, Z)
    ours = tango(wins, losses, n, 0.95)
    assert ours.low == pytest.approx(low, abs=0.006)
    assert ours.high == pytest.approx(high, abs=0.006)


def test_tango_where_nothing_differs_has_a_closed_form() -> None:
    interval = tango(0, 0, 100, 0.95)
    reach = Z**2 / (100 + Z**2)
    assert interval.low == pytest.approx(-reach)
    assert interval.high == pytest.approx(reach)


def test_tango_at_the_ends() -> None:
    assert tango(10, 0, 10, 0.95).high == 1.0
    assert tango(0, 10, 10, 0.95).low == -1.0
    assert tango(10, 0, 10, 0.95).low < 1.0
    assert tango(0, 1, 1, 0.95).low == -1.0


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 60))
@settings(max_examples=60)
def test_tango_turns_round_when_the_contenders_are_swapped(wins: int, losses: int, ties: int) -> None:
    n = wins + losses + ties + 1
    one, other = tango(wins, losses, n, 0.95), tango(losses, wins, n, 0.95)
    assert one.low == pytest.approx(-other.high, abs=1e-9)
    assert one.low <= (wins - losses) / n <= one.high


def tango_coverage(n: int, p_win: float, p_loss: float) -> float:
    """Exact: the probability of every outcome whose interval holds the true difference."""
    total = 0.0
    for wins in range(n + 1):
        for losses in range(n + 1 - wins):
            logarithm = log(comb(n, wins)) + log(comb(n - wins, losses))
            weight = np.exp(
                logarithm + wins * log(p_win) + losses * log(p_loss) + (n - wins - losses) * log(1 - p_win - p_loss)
            )
            if weight > 1e-7:
                interval = tango(wins, losses, n, 0.95)
                total += weight * (interval.low <= p_win - p_loss <= interval.high)
    return total


@pytest.mark.parametrize(("n", "p_win", "p_loss"), [(30, 0.1, 0.1), (40, 0.05, 0.12), (60, 0.02, 0.03)])
def test_tango_covers_the_truth_as_often_as_it_says(n: int, p_win: float, p_loss: float) -> None:
    assert 0.935 <= tango_coverage(n, p_win, p_loss) <= 0.985


def slow_bootstrap(values: list[float], seed: int) -> tuple[float, float]:
    """The same interval, one resample at a time."""
    n = len(values)
    means = sorted(
        sum(values[i] for i in row) / n for row in np.random.default_rng(seed).integers(0, n, size=(RESAMPLES, n))
    )
    # The t quantile stretched by n / (n - 1), expressed as a tail of the normal curve.
    tail = float(stats.norm.sf(stats.t.ppf(0.975, n - 1) * sqrt(n / (n - 1))))
    cut = round(tail * RESAMPLES)
    return means[cut], means[-cut - 1]


def test_the_bootstrap_agrees_with_a_slow_one_and_with_scipy() -> None:
    values = [1.0, 0.75, 0.5, 1.0, 0.0, 0.25, 1.0, 0.75, 1.0, 0.5, 0.125, 0.875, 1.0, 0.25]
    values = [*values, *(value / 2 for value in values), *(value / 3 for value in values)]
    ours = score_interval(values, is_binary=False, confidence=0.95, seed=7)
    low, high = slow_bootstrap(values, 7)
    assert ours.low == pytest.approx(low, abs=0.002)
    assert ours.high == pytest.approx(high, abs=0.002)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    # Theirs is the plain percentile interval: a little narrower on both sides.
    assert theirs.low - 0.02 < ours.low < theirs.low
    assert theirs.high < ours.high < theirs.high + 0.02


def test_equal_seeds_give_equal_intervals() -> None:
    values = list(np.random.default_rng(0).random(50))
    first = score_interval(values, is_binary=False, confidence=0.95, seed=3)
    assert score_interval(values, is_binary=False, confidence=0.95, seed=3) == first
    assert score_interval(values, is_binary=False, confidence=0.95, seed=4) != first


def test_resampling_in_blocks_draws_as_many_means_as_asked() -> None:
    values = np.arange(9_000, dtype=np.float64)
    means = resampled_means(values, resamples=1_000, seed=0)  # 444 rows fit in a block
    assert len(means) == 1_000
    assert means.mean() == pytest.approx(4499.5, rel=0.01)


def test_scores_that_hardly_differ_get_an_honest_width() -> None:
    # 40 perfect scores: Wilson would say 40 / (40 + 3.84) = 0.912.
    interval = score_interval([1.0] * 40, is_binary=False, confidence=0.95, seed=0)
    assert interval.low == pytest.approx(wilson(40, 40, 0.95).low)
    assert interval.high == 1.0
    equal = difference_interval([0.0] * 100, is_binary=False, confidence=0.95, seed=0)
    assert equal.low == pytest.approx(tango(0, 0, 100, 0.95).low)
    few = difference_interval([0.0] * 98 + [-0.2, -0.2], is_binary=False, confidence=0.95, seed=0)
    assert few.low < -0.03


def test_a_single_score_says_nothing() -> None:
    assert score_interval([0.5], is_binary=False, confidence=0.95, seed=0).low == 0.0


def test_binary_differences_go_to_tango() -> None:
    ours = difference_interval([1.0, -1.0, 0.0, 0.0, 1.0], is_binary=True, confidence=0.9, seed=0)
    assert ours == tango(2, 1, 5, 0.9)
    assert score_interval([1.0, 0.0], is_binary=True, confidence=0.9, seed=0) == wilson(1, 2, 0.9)


COMMON = (0.05, 0.15, 0.65, 0.12, 0.03)
RARE = (0.01, 0.03, 0.93, 0.02, 0.01)


@pytest.mark.parametrize(("n", "differing"), [(40, COMMON), (150, COMMON), (80, RARE), (150, RARE)])
def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says(n: int, differing: tuple[float, ...]) -> None:
    # Differences of field scores: mostly equal, else a fifth or two fifths either way.
    rng = np.random.default_rng(5)
    steps = np.array([-0.4, -0.2, 0.0, 0.2, 0.4])
    shares = np.array(differing)
    truth, hits, runs = float(steps @ shares), 0, 250
    for run in range(runs):
        interval = bootstrap_mean(
            rng.choice(steps, size=n, p=shares), confidence=0.95, seed=run, lowest=-1.0, highest=1.0
        )
        hits += interval.low <= truth <= interval.high
    assert hits / runs >= 0.92


def test_fewest_cases_is_where_equal_contenders_become_decidable() -> None:
    n = fewest_cases(0.02, 0.95)
    assert n == 189
    assert tango(0, 0, n, 0.95).low > -0.02 > tango(0, 0, n - 1, 0.95).low


def test_planned_cases_by_hand() -> None:
    # 100 cases, 6 wins, 4 losses: mean 0.02, variance 0.10 - 0.0004 = 0.0996; distance to -0.02 is 0.04.
    # (1.95996 + 0.84162)² * 0.0996 / 0.0016 = 7.8489 * 62.25 = 488.6
    differences = [1.0] * 6 + [-1.0] * 4 + [0.0] * 90
    assert cases_to_decide(differences, margin=0.02, confidence=0.95) == 489


def test_a_difference_on_the_margin_cannot_be_planned_for() -> None:
    assert cases_to_decide([-1.0] * 2 + [0.0] * 98, margin=0.02, confidence=0.95) is None


def test_without_a_margin_a_plan_needs_a_difference() -> None:
    assert fewest_cases(0.0, 0.95) == 0
    assert cases_to_decide([0.0] * 50, margin=0.0, confidence=0.95) is None
    assert cases_to_decide([1.0] * 10 + [0.0] * 90, margin=0.0, confidence=0.95) == 101
    assert cases_before_looking(0.9, margin=0.0, confidence=0.95) == MOST_CASES


def test_a_plan_never_asks_for_fewer_cases_than_were_seen() -> None:
    assert cases_to_decide([1.0] * 500, margin=0.02, confidence=0.95) == 501
    assert cases_to_decide([0.0] * 10, margin=0.2, confidence=0.95) == 17


def test_planned_cases_decide_about_four_times_in_five() -> None:
    rng = np.random.default_rng(1)
    pilot = [1.0] * 6 + [-1.0] * 4 + [0.0] * 90
    n = cases_to_decide(pilot, margin=0.02, confidence=0.95)
    assert n is not None
    decided = 0
    for _ in range(400):
        wins, losses, _ties = rng.multinomial(n, [0.06, 0.04, 0.90])
        decided += tango(int(wins), int(losses), n, 0.95).low > -0.02
    assert 0.73 <= decided / 400 <= 0.87


def test_cases_before_looking() -> None:
    # 2 * 0.95 * 0.05 = 0.095; 7.8489 * 0.095 / 0.0004 = 1864.1
    assert cases_before_looking(0.95, margin=0.02, confidence=0.95) == 1865
    assert cases_before_looking(1.0, margin=0.02, confidence=0.95) == 197
    assert cases_before_looking(0.5, margin=0.0001, confidence=0.95) == MOST_CASES
