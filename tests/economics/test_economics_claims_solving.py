"""Solving for one input: the solution gives the stated number back, and what cannot be reached is said to be so."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from freehold.economics.claims.alone import solutions
from freehold.economics.claims.comparing import agrees, ratio_of, targets_of, worst_end
from freehold.economics.claims.computation import compute
from freehold.economics.claims.expression import expression
from freehold.economics.claims.finding import Input, Solved
from freehold.economics.claims.formulas import FORMULAS, NAME, QUANTITIES, formulas_record, label_of
from freehold.economics.claims.functions import FUNCTIONS
from freehold.economics.claims.words import (
    about_words,
    amount_words,
    constant_words,
    input_words,
    number_words,
    range_words,
)

BREAKEVEN = {
    "gpus": 1.0,
    "gpu_usd_per_hour": 2.0,
    "hours_per_month": 730.0,
    "input_tokens": 1000.0,
    "input_usd_per_mtok": 2.5,
    "output_tokens": 500.0,
    "output_usd_per_mtok": 15.0,
}


def inputs_of(values: dict[str, Any], most: float | None = None) -> list[Input]:  # Any: numbers, ranges and names
    return [
        Input(name=name, value=value, unit=QUANTITIES[name].unit, source="test", most=most)
        for name, value in values.items()
    ]


def solved_for(formula: str, values: dict[str, Any], target: Any, **given: Any) -> dict[str, Solved]:  # Any: as above
    found = compute(FORMULAS[formula].expression, FORMULAS[formula].unit, inputs_of(values, **given))
    found_targets = targets_of(target, found.results)
    return {each.input: each for each in solutions(found, found_targets, given={}, tolerance=0.05)}


SINGLE = sorted(
    name
    for name, formula in FORMULAS.items()
    if "requests_per_s" not in formula.expression.text and formula.expression.text != "value"
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_solving_and_then_recomputing_gives_the_stated_number_back(data: st.DataObject) -> None:
    formula = FORMULAS[data.draw(st.sampled_from(SINGLE))]
    values = {}
    for name in formula.inputs:
        quantity = QUANTITIES[name]
        assume(quantity.unit != NAME)
        low, high = max(quantity.low, 1e-3), min(quantity.high, 1e6)
        drawn = data.draw(st.floats(low, high))
        values[name] = float(round(drawn)) if quantity.is_whole else drawn
    present = formula.expression.value(values)
    assume(math.isfinite(present) and 1e-6 < abs(present) < 1e15)
    target = present * data.draw(st.floats(0.2, 5.0))

    for solved in solved_for(formula.name, values, target).values():
        if solved.value is None:
            assert solved.reason.startswith("unreachable: ")
            assert solved.changes == {}
        else:
            again = formula.expression.value({**values, **solved.changes})
            assert again == pytest.approx(target, rel=1e-8)


@given(st.floats(0.1, 10.0))
def test_every_input_of_a_true_claim_is_solved_by_its_own_value(factor: float) -> None:
    values = {**BREAKEVEN, "gpu_usd_per_hour": 2.0 * factor}
    present = FORMULAS["breakeven_queries_per_month"].expression.value(values)

    solved = solved_for("breakeven_queries_per_month", values, present)

    assert {name: solved[name].value for name in values} == pytest.approx(values, rel=1e-8)


def slow_search(formula: str, values: dict[str, float], name: str, target: float) -> float:
    """The obvious way: try two million values and take the best."""
    low, high = QUANTITIES[name].low, 10.0
    tried = ((low + (high - low) * step / 200_000) for step in range(1, 200_001))
    return min(tried, key=lambda at: abs(FORMULAS[formula].expression.value({**values, name: at}) - target))


def test_a_slow_search_finds_the_same_rate() -> None:
    # 75,000 × 0.01 / 730 = 1.0274
    slow = slow_search("breakeven_queries_per_month", BREAKEVEN, "gpu_usd_per_hour", 75_000)

    assert solved_for("breakeven_queries_per_month", BREAKEVEN, 75_000.0)["gpu_usd_per_hour"].value == pytest.approx(
        slow, abs=1e-4
    )


def test_there_are_only_whole_gpus() -> None:
    # 292,000 / 146,000 = 2 GPUs; 350,000 / 146,000 = 2.397
    two = solved_for("breakeven_queries_per_month", BREAKEVEN, 292_000.0)["gpus"]
    more = solved_for("breakeven_queries_per_month", BREAKEVEN, 350_000.0)["gpus"]

    assert two.value == 2.0
    assert (more.value, more.reason) == (
        None,
        "unreachable: 2.39726 would be needed, and there are only whole ones",
    )


def test_what_cannot_be_reached_says_what_is_reached_instead() -> None:
    solved = solved_for("breakeven_queries_per_month", BREAKEVEN, 40_000.0)["output_tokens_of_total"]

    # all of 1,500 tokens as output: 1,460 / 0.0225 = 64,889; none: 1,460 / 0.00375 = 389,333
    assert solved.reason == (
        "unreachable: from 0 to 1,500 tokens/query the result is 64,888.9 to 389,333 queries/month, never 40,000"
    )


def test_an_input_without_effect_and_one_without_any_result() -> None:
    labour = {"compute_usd": 4.0, "labour_hours": 0.0, "salary_usd_per_year": 1e5, "salary_overhead": 0.3}
    labour["working_hours_per_year"] = 1760.0
    payback = {**BREAKEVEN, "adaptation_usd": 500.0, "queries_per_month": 1.0, "other_usd_per_month": 0.0}

    without = solved_for("adaptation_usd", labour, 500.0)

    assert without["salary_overhead"].reason == "unreachable: alone it makes no difference"
    # nothing is saved at one query a month: there is no result to begin with
    assert compute(FORMULAS["payback_months"].expression, "months", inputs_of(payback)).results == ()


def test_a_lever_whose_every_value_has_no_result_says_so() -> None:
    odd = expression("gpus / (gpu_usd_per_hour - gpu_usd_per_hour)")
    scope = {"gpus": 1.0, "gpu_usd_per_hour": 2.0}
    from freehold.economics.claims.solving import Problem, levers, solve

    lever = next(levers(inputs_of(dict(scope)), dict(scope), 0))

    assert solve(Problem(odd, dict(scope), 1.0, "x"), lever).reason.endswith("no result for any value")


def test_prices_change_above_a_tier_so_input_is_not_moved_beyond_it() -> None:
    solved = solved_for("api_usd_per_query", {k: BREAKEVEN[k] for k in list(BREAKEVEN)[3:]}, 1.0, most=272_000.0)

    # (1 − 0.0075) / 2.5e-6 = 397,000 input tokens would be needed; 100 × as long is within the tier, 149,254 + 74,627
    assert solved["input_tokens"].value is None
    assert "from 0 to 272,000 tokens/query" in solved["input_tokens"].reason
    assert solved["tokens_per_query"].changes == pytest.approx({"input_tokens": 100_000, "output_tokens": 50_000})


def test_tokens_are_moved_together_only_where_there_are_some_and_both_are_single_numbers() -> None:
    api = {k: BREAKEVEN[k] for k in list(BREAKEVEN)[3:]}

    assert "tokens_per_query" not in solved_for("api_usd_per_query", {**api, "input_tokens": (1.0, 2.0)}, 1.0)
    only_output = solved_for("api_usd_per_query", {**api, "input_tokens": 0.0}, 0.015, most=272_000.0)
    assert only_output["tokens_per_query"].value == pytest.approx(1000)  # 1,000 × 15/M


def test_an_end_alone_solves_a_claim_only_if_the_other_end_is_right() -> None:
    hours = {"gpu_hours": (2.0, 8.0), "gpu_usd_per_hour": 2.0}

    solved = solved_for("gpu_hours_usd", hours, (4.0, 28.0))  # 4 to 16

    assert (solved["gpu_hours.low"].value, solved["gpu_hours.high"].value) == (None, 14.0)
    assert solved["gpu_hours.low"].reason == (
        "unreachable: as it is the lower end is right, but the upper end is then $16, not $28"
    )
    assert solved["gpu_usd_per_hour"].value is None
    assert solved["gpu_usd_per_hour"].reason == (  # 28 / 8; 2 × 3.5
        "unreachable: at $3.50/GPU-h the upper end is right, but the lower end is then $7, not $4"
    )
    assert solved["gpu_hours.both"].value is None


def test_both_ends_are_moved_by_one_factor() -> None:
    solved = solved_for("gpu_hours_usd", {"gpu_hours": (2.0, 8.0), "gpu_usd_per_hour": 2.0}, (40.0, 160.0))

    assert (solved["gpu_hours.low"].value, solved["gpu_hours.high"].value) == (None, None)
    both = solved["gpu_hours.both"]
    assert (both.value, both.unit, both.changes) == (10.0, "times", {"gpu_hours.low": 20.0, "gpu_hours.high": 80.0})
    assert both.reason == "20 to 80 GPU-h, instead of 2 to 8 GPU-h"
    assert solved["gpu_usd_per_hour"].value == 20.0


def test_only_whole_gpus_are_multiplied() -> None:
    rent = {"gpus": (1.0, 4.0), "gpu_usd_per_hour": 2.0, "hours_per_month": 730.0}  # 1,460 to 5,840

    assert solved_for("machine_usd_per_month", rent, (2920.0, 11680.0))["gpus.both"].value == 2.0
    half = solved_for("machine_usd_per_month", rent, (2190.0, 8760.0))["gpus.both"]
    assert (half.value, half.reason) == (
        None, "unreachable: 1.5 to 6 GPUs, instead of 1 to 4 GPUs would be needed, and there are only whole ones"
    )  # fmt: skip


def test_a_value_between_two_exact_ones_counts_where_the_tolerance_allows_it() -> None:
    # 2 to 10.6, stated 20 to 100: × 10 makes the upper end 106 (100 is 5.7 % less), × 9.434 the lower one 18.9
    solved = solved_for("gpu_hours_usd", {"gpu_hours": (1.0, 5.3), "gpu_usd_per_hour": 2.0}, (20.0, 100.0))
    rent = solved["gpu_usd_per_hour"]
    assert rent.value is not None
    for hours, target in ((1.0, 20.0), (5.3, 100.0)):
        assert abs(target - hours * rent.value) <= 0.05 * hours * rent.value * (1 + 1e-9)
    assert rent.reason.endswith("; within the tolerance at both ends")
    # of 3.3 times and 2 times as much no factor is within 5 % of both
    apart = solved_for("gpu_hours_usd", {"gpu_hours": (1.0, 5.0), "gpu_usd_per_hour": 2.0}, (6.6, 20.0))
    assert apart["gpu_usd_per_hour"].value is None


@settings(max_examples=100, deadline=None)
@given(st.floats(1, 50), st.floats(1, 50), st.floats(0.5, 20), st.floats(1, 500), st.floats(1, 500))
def test_every_solution_makes_both_ends_right(a: float, b: float, rent: float, c: float, d: float) -> None:
    hours = (min(a, b), max(a, b))
    values = {"gpu_hours": hours, "gpu_usd_per_hour": rent}
    stated = (min(c, d), max(c, d))
    assume(c != d)
    for each in solved_for("gpu_hours_usd", values, stated).values():
        if each.value is None:
            continue
        low = each.changes.get("gpu_hours.low", hours[0])
        high = each.changes.get("gpu_hours.high", hours[1])
        if each.input == "gpu_hours.low":
            low = each.value
        if each.input == "gpu_hours.high":
            high = each.value
        price = each.changes.get("gpu_usd_per_hour", rent)
        results = sorted((low * price, high * price))
        assert all(agrees(want, got, tolerance=0.0501, paired=True) for want, got in zip(stated, results, strict=True))


def test_a_solution_must_make_the_claim_true_by_its_own_rule() -> None:
    # at most $30 is stated, $35 to $40 comes out: the upper end alone at $30 would leave $35 above it
    found = compute(FORMULAS["gpu_hours_usd"].expression, "USD", inputs_of(
        {"gpu_hours": (17.5, 20.0), "gpu_usd_per_hour": 2.0}))  # fmt: skip
    solved = {
        each.input: each
        for each in solutions(
            found, (None, 30.0), given={}, tolerance=0.0, is_true=lambda moved: moved.results[-1] <= 30.0 + 1e-9
        )
    }

    assert solved["gpu_hours.high"].value is None
    assert solved["gpu_hours.high"].reason.endswith("but the lower end still is not")
    assert solved["gpu_usd_per_hour"].value == pytest.approx(1.5)


def test_a_move_that_leaves_an_end_without_a_result_is_no_solution() -> None:
    payback = {**BREAKEVEN, "adaptation_usd": 500.0, "queries_per_month": (200_000.0, 400_000.0)}
    payback |= {"other_usd_per_month": 0.0}  # 500 / 540 months and 500 / 2,540

    solved = solved_for("payback_months", payback, (0.5, 1.0))["gpu_usd_per_hour"]

    # half a month: 4,000 − 1,000 a month are left for rent, more than the 2,000 that the lower volume has
    assert solved.value is None
    assert solved.reason == "unreachable: at $4.11/GPU-h the lower end is right, but the upper end still is not"


def test_a_range_whose_upper_end_is_zero_has_no_factor() -> None:
    values = {"part": (0.0, 0.0), "whole": (20.0, 50.0)}
    found = compute(FORMULAS["share"].expression, "%", inputs_of(values))

    assert "part.both" not in {each.input for each in solutions(found, (1.0, 2.0), given={}, tolerance=0.05)}


def test_an_input_in_the_denominator_turns_the_ends_around() -> None:
    found = compute(FORMULAS["share"].expression, "%", inputs_of({"part": 10.0, "whole": (20.0, 50.0)}))

    assert found.results == (20.0, 50.0)
    assert found.ends == (1, 0)  # the upper end of the input gives the lower result
    solved = {each.input: each.value for each in solutions(found, (10.0, 50.0), given={}, tolerance=0.05)}
    assert solved["whole.high"] == pytest.approx(100.0)  # 10 / 100 = 10 %
    solved = {each.input: each.value for each in solutions(found, (20.0, 100.0), given={}, tolerance=0.05)}
    assert solved["whole.low"] == pytest.approx(10.0)
    solved = {each.input: each.value for each in solutions(found, (10.0, 25.0), given={}, tolerance=0.05)}
    assert (solved["part"], solved["whole.both"]) == (5.0, 2.0)


@pytest.mark.parametrize(
    ("stated", "recomputed", "paired", "ratio", "is_close"),
    [
        (1.0, 2.0, True, 0.5, False),
        ((4.0, 28.0), (4.0, 16.0), True, 1.75, False),
        ((4.0, 28.0), (4.0, 16.0), False, (0.25, 7.0), True),
        (1.0, (2.0, 4.0), True, (0.25, 0.5), False),
        ((1.0, 3.0), 2.0, True, (0.5, 1.5), True),
        (1.0, 0.0, True, None, False),
        (1.0, (0.0, 4.0), True, None, True),
        (-2.0, -2.0, True, 1.0, True),
    ],
)
def test_ratio_and_agreement(stated: Any, recomputed: Any, paired: bool, ratio: Any, is_close: bool) -> None:
    assert ratio_of(stated, recomputed, paired=paired) == ratio
    assert agrees(stated, recomputed, tolerance=0.05, paired=paired) == is_close


def test_the_end_to_solve_for() -> None:
    assert worst_end((4.0, 28.0), (4.0, 16.0)) == 1
    assert worst_end((100.0, 100.0), (1.0, 10.0)) == 1  # the nearer one reaches it first
    assert worst_end((None, 3.0), (1.0, 2.0)) == 1
    assert worst_end((1.0, 1.0), (0.0, 5.0)) == 1  # nothing can be said of zero


@given(st.floats(1e-12, 1e18))
def test_a_number_in_words_can_be_read_back(value: float) -> None:
    words = number_words(value).replace(",", "")
    for name, factor in ((" trillion", 1e12), (" billion", 1e9), (" million", 1e6)):
        if words.endswith(name):
            assert float(words.removesuffix(name)) * factor == pytest.approx(value, rel=1e-5)
            return
    mantissa, _, power = words.partition(" × 10")
    exponent = int(power.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))) if power else 0
    assert float(mantissa) * 10.0**exponent == pytest.approx(value, rel=1e-5)


def test_numbers_in_words() -> None:
    assert [number_words(value) for value in (0.0, -2.5, 83428.571, 1_203_333.33, 1e-7, 12_216_582.0, 3.2e20)] == [
        "0", "−2.5", "83,428.6", "1,203,333", "1 × 10⁻⁷", "12.2166 million", "3.2 × 10²⁰",
    ]  # fmt: skip
    assert (constant_words(1e12), constant_words(1e6), constant_words(0.0)) == ("10¹²", "1,000,000", "0")
    assert (amount_words(-3.5, "USD/h"), amount_words(2.0, "")) == ("−$3.50/h", "2")
    assert (range_words((4.0, 16.0), "USD"), range_words((1.0, 1.0), "h")) == ("$4 to $16", "1 h")
    assert about_words((0.678242, 83_428.57), "months") == "0.6782 to 83,429 months"
    assert (input_words((2.0, 8.0), "GPU-h"), input_words("h100", "name")) == ("2–8", "h100")


def test_a_line_of_arithmetic_keeps_the_parentheses_that_it_needs_and_no_others() -> None:
    for text, words in (
        ("a - (b - c)", "a − (b − c)"),
        ("(a - b) - c", "a − b − c"),
        ("a / (b * c)", "a / (b × c)"),
        ("a * (b * c)", "a × b × c"),
        ("(a + b) ** (c / 2)", "(a + b)^(c / 2)"),
        ("positive(a - b) / c", "(a − b) / c"),
    ):
        assert expression(text).words({}) == words


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_a_formula_computes_what_python_computes(a: float, b: float, c: float) -> None:
    for text in ("a - (b - c) * 2", "a * b / 7 + c", "a + b - c"):
        assert expression(text).value({"a": a, "b": b, "c": c}) == pytest.approx(
            eval(text, {}, {"a": a, "b": b, "c": c}), rel=1e-12
        )


def test_arithmetic_without_a_result_is_not_a_number() -> None:
    scope = {"a": 1.0, "b": 0.0}
    for text in ("a / b", "(b - a) ** 0.5", "1e300 * 1e300 * a", "positive(b)", "(1e200 * a) ** 2"):
        assert math.isnan(expression(text).value(scope))


def test_every_formula_has_inputs_that_are_known_and_a_place_in_the_list() -> None:
    record = formulas_record()

    assert record["schema"] == "freehold.formulas/1"
    assert {each["name"] for each in record["formulas"]} == set(FORMULAS)
    for formula in FORMULAS.values():
        assert formula.inputs
        assert set(formula.inputs) <= set(QUANTITIES)
        assert formula.about
        assert formula.unit
    assert {name for formula in FORMULAS.values() for name in formula.inputs} == set(QUANTITIES)
    assert set(FUNCTIONS) == {"requests_per_s", "positive", "all_equal"}


def test_inputs_have_names_that_people_use() -> None:
    assert label_of("gpu_usd_per_hour") == "rent of a GPU"
    assert label_of("gpu_hours.high") == "GPU-hours, upper end"
    assert label_of("tokens_per_query") == "length of a query"
    assert label_of("C12.stated") == "C12, as stated"
    assert label_of("anything else") == "anything else"


def test_prices_that_differ_are_not_written_as_equal() -> None:
    prices = dict.fromkeys(("in_text", "first_catalogue", "second_catalogue", "third_catalogue"), 2.5)
    formula = FORMULAS["same_in_all_catalogues"]

    assert compute(formula.expression, "equal", inputs_of(prices)).arithmetic == "$2.50 = $2.50 = $2.50 = $2.50"
    differing = compute(formula.expression, "equal", inputs_of({**prices, "in_text": 2.0}))
    assert (differing.value, differing.arithmetic) == (0.0, "$2 and $2.50 and $2.50 and $2.50")
