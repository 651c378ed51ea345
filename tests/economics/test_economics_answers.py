"""The verdict on cost alone, what matters most, what would change it, waiting, and the arithmetic of articles."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.core.errors import InputError
from freehold.core.identity import canonical_json
from freehold.economics.breakeven import compare, curve
from freehold.economics.costverdict import verdict_on_cost
from freehold.economics.montecarlo import draw, typical
from freehold.economics.options import Lines, lines, question
from freehold.economics.plans import default_scenario, own_plan
from freehold.economics.prices import Price, price_of
from freehold.economics.sensitivity import changes, tornado
from freehold.economics.simple import simple
from freehold.economics.terms import CostLine, crossings
from freehold.economics.waiting import hurdle, option_usd, waiting
from freehold.economics.waterfall import NEUTRAL
from freehold.economics.workload import Workload
from freehold.report.breakeven_page import breakeven_page
from freehold.report.cost_findings import cost_verdict_sentence
from freehold.report.cost_tables import term_table
from freehold.report.findings import cost_finding
from freehold.report.text import breakeven_text

if TYPE_CHECKING:
    from freehold.economics.options import OptionName
    from freehold.economics.precision import Precision
    from freehold.economics.scenario import OwnWay, Scenario, Spread

JUNE = date(2026, 6, 15)
BARE: dict[str, Spread] = {**NEUTRAL, "gpu_usd_per_hour": 2.0, "capacity_error": 1.0, "purchase_usd": 0.0}


def priced(model: str) -> Price:
    found = price_of(model, JUNE, aliases={})
    assert found is not None
    return found


GPT, MINI, OPUS = priced("gpt-5.4"), priced("gpt-5.4-mini"), priced("claude-opus-4-8")
HOSTED = priced("groq/llama-3.3-70b-versatile")


def work(volume: float = 100_000) -> Workload:
    return Workload(queries_per_month=volume, input_tokens=1000, output_tokens=500)


def scenario(values: dict[str, Spread] | None = None, plan: str = "llama-3.1-8b@h100") -> Scenario:
    return default_scenario(own_plan(plan, as_of=JUNE), values=values)


def level(*usd: float) -> CostLine:
    """An option that costs the same at every volume, draw by draw."""
    return CostLine(fixed={"all": np.array(usd)}, per_query={})


@pytest.mark.parametrize(
    ("usd", "expected"),
    [
        ({"rent": (5.0,) * 10, "own": (4.0,) * 8 + (6.0,) * 2}, "own"),
        ({"rent": (5.0,) * 10, "own": (4.0,) * 7 + (6.0,) * 3}, "undecided"),
        ({"rent": (5.0,) * 10, "own": (4.0,) * 2 + (6.0,) * 8}, "stay-renting"),
        ({"rent": (5.0,) * 10, "own": (9.0,) * 10, "own-bought": (4.0,) * 10}, "own"),
        ({"rent": (5.0,) * 10, "own": (4.0,) * 10, "hybrid": (3.0,) * 8 + (5.0,) * 2}, "hybrid"),
        ({"rent": (5.0,) * 10, "own": (4.0,) * 10, "hybrid": (3.0,) * 7 + (5.0,) * 3}, "own"),
        ({"rent": (5.0,) * 10, "own": (9.0,) * 10, "hybrid": (3.0,) * 8 + (5.0,) * 2}, "hybrid"),
        ({"rent": (5.0,) * 10, "own": (9.0,) * 10, "own-bought": (4.0,) * 5 + (9.0,) * 5}, "undecided"),
        ({"rent": (5.0,) * 10, "own": (4.0,) * 10, "hybrid": (3.0,) * 5 + (5.0,) * 5}, "own"),
        ({"rent": (5.0,) * 10, "rent-open": (1.0,) * 8 + (6.0,) * 2, "own": (9.0,) * 10}, "rent-open"),
        ({"rent": (5.0,) * 10, "rent-open": (1.0,) * 7 + (6.0,) * 3, "own": (9.0,) * 10}, "stay-renting"),
        ({"rent": (5.0,) * 10, "rent-open": (3.0,) * 10, "rent-tuned": (2.0,) * 10, "own": (9.0,) * 10}, "rent-tuned"),
        ({"rent-open": (3.0,) * 10, "own": (9.0,) * 10}, "rent-open"),
        ({"rent": (5.0,) * 10, "rent-open": (1.0,) * 10}, "rent-open"),
        ({"rent": (5.0,) * 10}, "stay-renting"),
        ({"own": (5.0,) * 10}, "undecided"),
        ({}, "undecided"),
        ({"rent": (5.0,) * 10, "own": (5.0,) * 10}, "stay-renting"),
    ],
)
def test_the_verdict_follows_the_documented_rules(usd: dict[OptionName, tuple[float, ...]], expected: str) -> None:
    found = Lines(by_name={name: level(*each) for name, each in usd.items()})
    verdict = verdict_on_cost(found, 1000.0, draws=10, certainty=0.8)
    assert verdict.verdict == expected
    assert verdict.rule
    assert sum(verdict.chances.values()) == pytest.approx(1.0 if usd else 0.0)


def test_the_verdict_of_a_comparison_says_own_where_volume_is_large_and_rent_where_it_is_small() -> None:
    small, middle, large = (
        compare(work(volume), GPT, scenario(), seed=0, draws=2000).as_record() for volume in (1e4, 1.2e6, 2e7)
    )
    assert [each["verdict"] for each in (small, middle, large)] == ["stay-renting", "undecided", "own"]
    assert small["probability_own_is_cheapest"] == 0.0
    assert compare(work(1e4), GPT, scenario(), hosted=HOSTED, seed=0, draws=200).verdict.verdict == "rent-open"


def test_the_record_has_every_field_of_the_contract() -> None:
    record = compare(work(), GPT, scenario(), seed=4, draws=200).as_record()
    assert {
        "schema", "verdict", "options", "breakeven_queries_per_month", "reason", "probability_own_is_cheapest",
        "npv_usd", "payback_months", "waterfall", "sensitivity", "assumptions", "inputs", "seed", "versions",
    } <= set(record)  # fmt: skip
    assert all({"name", "usd_per_month", "usd_per_query"} <= set(each) for each in record["options"])
    assert all(row["unit"] and row["source"] for row in record["assumptions"])
    again = compare(work(), GPT, scenario(), seed=4, draws=200).as_record()
    assert canonical_json(record) == canonical_json(again)


def test_a_tornado_moves_one_number_at_a_time_and_ranks_by_what_it_does() -> None:
    asked = question(
        work(), GPT, scenario({**BARE, "fte": (0.0, 0.25, 1.0), "gpu_usd_per_hour": (1.0, 2.0, 4.0)}), None
    )
    values = typical(asked.assumptions)
    drawn = {
        **values,
        "fte": np.array([0.0] * 10 + [0.25] * 80 + [1.0] * 10),
        "gpu_usd_per_hour": np.array([1.0] * 10 + [4.0] * 10),
    }
    bars = tornado(asked, values, drawn)
    assert [bar.name for bar in bars] == ["fte", "gpu_usd_per_hour"]
    people = 153_445 * 1.3 / 12
    # At 2.00 USD an hour 1,460; without people, and with one.
    assert list(bars[0].breakeven) == [pytest.approx(146_000), pytest.approx((1460 + people) / 0.01)]
    assert list(bars[0].saved_usd_per_month) == [pytest.approx(1000 - 1460), pytest.approx(1000 - 1460 - people)]
    assert not bars[0].decides
    assert list(bars[1].breakeven) == [
        pytest.approx((730 + people / 4) / 0.01),
        pytest.approx((2920 + people / 4) / 0.01),
    ]
    assert bars[0].as_record()["swing_usd_per_month"] == pytest.approx(people)
    assert tornado(question(work(), None, scenario(), None), values, drawn) == ()
    assert tornado(question(work(), GPT, scenario(BARE), None), typical(asked.assumptions), drawn) == ()


def test_a_number_that_can_stop_owning_from_ever_paying_ranks_first() -> None:
    # A replica at 4 USD an hour costs 4,380 a month and cannot earn that back at a price of next to nothing.
    cheap = replace(
        GPT, rates=replace(GPT.rates, input_usd_per_mtok=Decimal("0.02"), output_usd_per_mtok=Decimal("0.1"))
    )
    found = compare(work(), cheap, scenario({"gpu_usd_per_hour": (0.01, 0.02, 5.0)}), seed=0, draws=500)
    never = [bar for bar in found.bars if (bar.breakeven[0] is None) != (bar.breakeven[1] is None)]
    assert list(found.bars[: len(never)]) == never
    machine = next(bar for bar in found.bars if bar.name == "gpu_usd_per_hour")
    assert machine.breakeven[0] is not None
    assert machine.as_record()["breakeven_queries_per_month_at_high"] is None


def test_every_change_that_is_named_makes_both_sides_cost_the_same() -> None:
    asked = question(work(), GPT, scenario({**BARE, "usd_per_error": 0.1}), None)
    found = {each.name: each for each in changes(asked, typical(asked.assumptions))}
    # 1,460 against 1,000: 146,000 queries; 1,000 / 730 h; 1.46 times the price; a premium of 460.
    assert found["queries_per_month"].needed == pytest.approx(146_000, rel=1e-6)
    assert (found["queries_per_month"].direction, found["queries_per_month"].now) == ("at least", 100_000)
    assert found["gpu_usd_per_hour"].needed == pytest.approx(1000 / 730, rel=1e-6)
    assert found["gpu_usd_per_hour"].direction == "at most"
    assert found["rent_price_factor"].needed == pytest.approx(1.46, rel=1e-6)
    assert found["sovereignty_usd_per_month"].needed == pytest.approx(460, rel=1e-6)
    assert found["fte"].needed is None
    assert found["fte"].as_record()["reason"] == "no value from 0 to 1000 does it"
    cheap = question(work(), OPUS, scenario({**BARE, "usd_per_error": 0.1}), None)
    away = {each.name: each for each in changes(cheap, typical(cheap.assumptions))}
    # Owning pays already, 1,750 - 1,460: until errors cost 290, which 0.029 of 100,000 at 0.10 do.
    assert away["error_difference"].needed == pytest.approx(0.029, rel=1e-6)
    assert away["error_difference"].direction == "at least"
    assert changes(question(work(), None, scenario(), None), typical(asked.assumptions)) == ()


@pytest.mark.parametrize(
    ("plan", "hourly", "rent", "volume"),
    [
        ("llama-3.1-8b@h100", 2.0, GPT, 146_000),  # C12: 2.00 × 730 / 0.0100
        ("llama-3.1-8b@h100", 2.0, MINI, 486_667),  # C14: over 0.0030
        ("llama-3.1-8b@h100", 2.0, OPUS, 83_429),  # C15: over 0.0175
        ("llama-3.3-70b@8xa100-80gb", 2.0605, GPT, 1_203_332),  # C13: 8 × 2.0605 × 730 / 0.0100
        ("llama-3.3-70b@8xa100-80gb", 2.0, GPT, 1_168_000),
    ],
)
def test_the_simple_arithmetic_is_that_of_the_article(plan: str, hourly: float, rent: Price, volume: float) -> None:
    full = compare(work(), rent, scenario({"gpu_usd_per_hour": hourly}, plan), seed=0, draws=100)
    assert full.simple is not None
    assert full.simple.breakeven_queries_per_month == pytest.approx(volume, abs=0.7)
    alone = compare(work(), rent, scenario({"gpu_usd_per_hour": hourly}, plan), seed=0, draws=100, only_simple=True)
    record = alone.as_record()
    assert record["breakeven_queries_per_month"]["p5"] == pytest.approx(volume, abs=0.7)
    assert len(set(record["breakeven_queries_per_month"].values())) == 1
    assert [each["name"] for each in record["options"]] == ["rent", "own"]
    assert record["sensitivity"] == []
    assert {row["source"] for row in record["assumptions"] if row["name"] == "fte"} == {"simple arithmetic: left out"}
    # In this arithmetic one machine carries any volume.
    billion = compare(
        work(1e9), rent, scenario({"gpu_usd_per_hour": hourly}, plan), seed=0, draws=100, only_simple=True
    )
    assert billion.options[1].replicas == 1


def test_there_is_no_simple_arithmetic_without_a_plan_a_price_or_a_cost() -> None:
    assert simple(question(work(), None, scenario(), None)) is None
    assert simple(question(work(), GPT, default_scenario(None), None)) is None
    free = replace(GPT, rates=replace(GPT.rates, input_usd_per_mtok=Decimal(0), output_usd_per_mtok=Decimal(0)))
    assert simple(question(work(), free, scenario(), None)) is None


def test_the_hurdle_is_that_of_the_book() -> None:
    # Dixit and Pindyck, page 153: interest and payout 0.04, sigma 0.2: beta = 2, so twice the investment.
    assert hurdle(0.04, 0.0, 0.2) == pytest.approx(2.0)
    assert hurdle(0.04, 0.0, 0.0) == 1.0
    assert hurdle(0.1, 0.05, 0.0) == pytest.approx(2.0)
    assert hurdle(0.1, 0.1, 0.3) == math.inf
    assert hurdle(0.1, 0.0, math.inf) == math.inf
    assert hurdle(1e-18, 0.0, 1.0) == math.inf or hurdle(1e-18, 0.0, 1.0) > 1e6


@settings(max_examples=30, deadline=None)
@given(sigma=st.floats(0.05, 1.0), more=st.floats(0.01, 1.0))
def test_more_uncertainty_raises_the_hurdle(sigma: float, more: float) -> None:
    assert hurdle(0.1, 0.0, sigma + more) >= hurdle(0.1, 0.0, sigma) >= 1.0


def tree_usd(moving: float, steady: float, invested: float, *, rate: float, sigma: float, per_quarter: int) -> float:
    """The same option on a binomial tree, decided once a quarter for three years: slow and obvious."""
    step = 0.25 / per_quarter
    up = math.exp(sigma * math.sqrt(step))
    chance = (1.0 - 1.0 / up) / (up - 1.0 / up)
    steps = 12 * per_quarter
    worth = [max(0.0, moving * up ** (2 * i - steps) - steady - invested) for i in range(steps + 1)]
    for at in range(steps - 1, -1, -1):
        worth = [(chance * worth[i + 1] + (1 - chance) * worth[i]) * (1 + rate) ** -step for i in range(at + 1)]
        if at % per_quarter == 0:
            worth = [max(each, moving * up ** (2 * i - at) - steady - invested) for i, each in enumerate(worth)]
    return worth[0]


@pytest.mark.parametrize(("steady", "invested"), [(80_000.0, 10_000.0), (95_000.0, 20_000.0), (20_000.0, 10_000.0)])
def test_the_value_of_waiting_agrees_with_a_binomial_tree(steady: float, invested: float) -> None:
    tree = tree_usd(100_000, steady, invested, rate=0.1, sigma=0.4, per_quarter=8)
    found = np.mean(
        [option_usd(100_000, steady, invested, rate=0.1, drift=0.0, sigma=0.4, seed=seed) for seed in range(8)]
    )
    assert found == pytest.approx(tree, rel=0.04)


def test_waiting_is_advised_between_paying_at_all_and_paying_enough() -> None:
    advice = {}
    for volume in (1e5, 1.15e6, 1e7):
        asked = question(work(volume), GPT, scenario(), None)
        found = waiting(asked, typical(asked.assumptions), seed=0)
        assert found is not None
        advice[volume] = found.advice
        assert found.waiting_usd >= 0.0
        assert found.as_record()["ratio"] == pytest.approx(found.present_value_usd / found.investment_usd)
    assert list(advice.values()) == ["not worth it", "wait", "own now"]
    bare = question(work(1e6), GPT, scenario(BARE), None)
    free = waiting(bare, typical(bare.assumptions), seed=0)
    assert free is not None
    assert (free.ratio, free.advice) == (None, "own now")
    unpriced = question(work(), None, scenario(), None)
    assert waiting(unpriced, typical(unpriced.assumptions), seed=0) is None
    assert option_usd(100.0, 0.0, 50.0, rate=0.1, drift=0.0, sigma=0.0, seed=0) == pytest.approx(50.0)
    assert option_usd(100.0, 200.0, 50.0, rate=0.1, drift=0.0, sigma=0.0, seed=0) == 0.0


@settings(max_examples=25, deadline=None)
@given(
    people=st.floats(0.05, 0.8),
    hourly=st.floats(1.0, 4.0),
    way=st.sampled_from(["own", "own-bought"]),
    premium=st.sampled_from([0.0, 2000.0]),
)
def test_at_the_median_break_even_owning_beats_the_one_rented_option_in_half_of_the_draws(
    people: float, hourly: float, way: OwnWay, premium: float
) -> None:
    values: dict[str, Spread] = {
        "fte": (people / 2, people, people * 2),
        "gpu_usd_per_hour": (hourly / 1.3, hourly, hourly * 1.3),
        "sovereignty_usd_per_month": premium,
    }
    asked = replace(scenario(values), way=way)
    breakeven = compare(work(), GPT, asked, seed=1, draws=2000).breakeven.distribution
    assert breakeven is not None
    assert breakeven.p50 is not None
    there = compare(work(max(1.0, breakeven.p50)), GPT, asked, seed=1, draws=2000)
    assert there.probability_own_is_cheapest is not None
    if breakeven.p50 > 1.0:
        assert 0.45 <= there.probability_own_is_cheapest <= 0.55


def test_headline_figures_are_about_the_way_to_own_that_was_asked_for() -> None:
    rented = compare(work(1.6e6), GPT, scenario(), seed=0, draws=2000)
    bought = compare(work(1.6e6), GPT, replace(scenario(), way="own-bought"), seed=0, draws=2000)
    by_name = {each.name: each for each in rented.options}
    assert rented.breakeven.distribution == by_name["own"].breakeven
    assert bought.breakeven.distribution == by_name["own-bought"].breakeven
    assert rented.probability_own_is_cheapest == by_name["own"].probability_beats_renting
    assert bought.probability_own_is_cheapest == by_name["own-bought"].probability_beats_renting
    # Rented devices do not reach the 80 % here, bought ones do: they carry the verdict, and it says so.
    assert (rented.probability_own_is_cheapest or 0) < 0.8 < (bought.probability_own_is_cheapest or 0)
    assert (rented.verdict.verdict, rented.verdict.option) == ("own", "own-bought")
    assert "Owning on bought devices" in rented.verdict.rule
    assert (bought.npv_closed_form_usd or 0) > (rented.npv_closed_form_usd or 0)
    said = cost_verdict_sentence(rented.as_record())
    assert said.startswith("Own, on bought devices: at 1,600,000 queries a month renting costs")
    assert "on bought devices owning pays from about" in said
    assert bought.steps[-1].breakeven == pytest.approx(bought.breakeven.first)
    points = curve(work(), GPT, replace(scenario(), way="own-bought"), volumes=[1e5], seed=0, draws=200)
    assert points[0].bought_usd_p50 is None
    with pytest.raises(InputError, match="No purchase price of h100"):
        compare(work(), GPT, replace(scenario({"purchase_usd": 0.0}), way="own-bought"), seed=0, draws=100)


def test_a_premium_for_sovereignty_is_named_wherever_it_counts() -> None:
    record = compare(work(8e5), GPT, scenario({"sovereignty_usd_per_month": 5000.0}), seed=0, draws=500).as_record()
    own = next(each for each in record["options"] if each["name"] == "own")
    assert own["premium_usd_per_month"] == 5000
    assert own["compared_usd_per_month"]["p50"] == pytest.approx(own["usd_per_month"]["p50"] - 5000)
    assert record["options"][0]["premium_usd_per_month"] == 0
    shown = " ".join(breakeven_text(record).split())
    assert "On cost alone" not in shown
    assert "less premium" in shown
    assert "with your $5,000 a month for sovereignty: at 800,000 queries" in cost_verdict_sentence(record)
    assert cost_finding(record).startswith("With your $5,000 a month for sovereignty, owning costs less from")
    terms = {row[0]: row[1:] for row in term_table(record).rows}
    assert terms["premium for sovereignty, on no bill"] == ("–", "−$5,000", "−$5,000")
    assert "compared at" in terms
    plain = compare(work(8e5), GPT, scenario(), seed=0, draws=500).as_record()
    assert "On cost alone" in breakeven_text(plain)
    assert "sovereignty" not in cost_verdict_sentence(plain)
    curve_ = [{"queries_per_month": each, "rent": each / 100, "own_p50": 13_000.0} for each in (1e5, 1e6, 1e7)]
    page = breakeven_page({**record, "curve": curve_})
    assert "On cost alone" not in page
    assert "Curves are bills, without your" in page


@pytest.mark.parametrize(
    ("volume", "values", "reason"),
    [
        (1e4, {}, "Owning does not pay at this volume"),
        # Without any cost of owning but errors that a rented answer would not make.
        (1e6, {"usd_per_error": 0.5, "error_difference": 0.1}, "costs no more than the errors that it spares"),
        # Renters test again and again: owning costs less even if all cases are sent away on top of it.
        (1e5, {"revalidations_per_year": 50.0, "days_per_revalidation": 50.0}, "even if every case is sent away"),
    ],
)
def test_a_share_of_escalated_cases_that_cannot_be_is_null_with_its_reason(
    volume: float, values: dict[str, Spread], reason: str
) -> None:
    record = compare(work(volume), GPT, scenario({**BARE, **values}), seed=0, draws=500).as_record()
    assert record["breakeven_escalated_share"] is None
    assert reason in record["breakeven_escalated_share_reason"]


@pytest.mark.parametrize("volume", [8e5, 1.4e6, 3e6])
def test_a_share_of_escalated_cases_lies_from_0_to_1(volume: float) -> None:
    record = compare(work(volume), GPT, scenario(), seed=0, draws=500).as_record()
    found = record["breakeven_escalated_share"]
    assert (found is None) == (record["breakeven_escalated_share_reason"] is not None)
    if found is not None:
        assert 0.0 <= found["p5"] <= found["p50"] <= found["p95"] <= 1.0


ERRORS: dict[str, Spread] = {"error_difference": (-0.01, 0.01, 0.04), "usd_per_error": 0.10}
DISCOUNTS_GIVEN = {"cached_share": 0.3, "batchable_share": 0.2}


@pytest.mark.parametrize(
    ("values", "shares", "precision", "share"),
    [
        ({}, {}, None, 0.534),
        ({}, DISCOUNTS_GIVEN, None, 0.667),
        (ERRORS, {}, None, 0.868),
        (ERRORS, DISCOUNTS_GIVEN, None, 0.907),
        ({}, {}, "bf16", 0.861),
        (ERRORS, DISCOUNTS_GIVEN, "bf16", 0.979),
        ({"peak_to_mean": 4.0}, {}, None, 0.335),
        ({"rent_drift_per_year": (-0.9, -0.5, 0.0)}, {}, None, 0.908),
    ],
)
def test_in_how_many_draws_no_volume_pays_against_a_cheap_model(
    values: dict[str, Spread], shares: dict[str, float], precision: Precision | None, share: float
) -> None:
    # The table of docs/decisions/0010-rent-or-own.md; the capacity fit may move a share by some points.
    rates = replace(
        GPT.rates,
        input_usd_per_mtok=Decimal("0.10"),
        cache_read_usd_per_mtok=Decimal("0.01"),
        output_usd_per_mtok=Decimal("0.50"),
    )
    cheap = replace(GPT, rates=rates, tiers=())
    plan = own_plan("llama-3.1-8b@h100", as_of=date(2026, 6, 15), precision=precision)
    calls = replace(work(), **shares)  # type: ignore[arg-type]  # each is a number
    asked = question(calls, cheap, default_scenario(plan, values=values), None)
    found = lines(asked, draw(asked.assumptions, seed=0, draws=20_000))
    assert found.own is not None

    never = np.isinf(crossings(found.own, found.rented[0]).first).mean()

    assert never == pytest.approx(share, abs=0.04)
