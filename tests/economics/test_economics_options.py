"""All terms and all options: hand-worked cases, properties, and a month by month second implementation."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.core.errors import InputError
from freehold.economics.breakeven import compare, curve, staircase
from freehold.economics.cashflow import cash_flow, npv_usd
from freehold.economics.montecarlo import draw, typical
from freehold.economics.options import lines, question
from freehold.economics.owning import hours_on
from freehold.economics.plans import default_scenario, own_plan
from freehold.economics.prices import Price, price_of
from freehold.economics.terms import CostLine, crossings, total_of
from freehold.economics.traffic import traffic
from freehold.economics.waterfall import NEUTRAL
from freehold.economics.workload import CallGroup, Workload

if TYPE_CHECKING:
    from freehold.economics.comparison import Comparison, Option
    from freehold.economics.scenario import Scenario, Spread

JUNE = date(2026, 6, 15)
BARE: dict[str, Spread] = {**NEUTRAL, "gpu_usd_per_hour": 2.0, "capacity_error": 1.0, "purchase_usd": 0.0}
DAY = 153_445 * 1.3 / 220
"""One engineer's day at typical values: 906.72 USD."""


def priced(model: str) -> Price:
    found = price_of(model, JUNE, aliases={})
    assert found is not None
    return found


GPT = priced("gpt-5.4")
MINI = priced("gpt-5.4-mini")
HOSTED = priced("groq/llama-3.3-70b-versatile")


def work(volume: float = 100_000, **more: float | None) -> Workload:
    return Workload(**{"queries_per_month": volume, "input_tokens": 1000, "output_tokens": 500, **more})  # type: ignore[arg-type]


def scenario(values: dict[str, Spread] | None = None, plan: str = "llama-3.1-8b@h100") -> Scenario:
    return default_scenario(own_plan(plan, as_of=JUNE), values=values)


def option(found: Comparison, name: str) -> Option:
    return next(each for each in found.options if each.name == name)


def bill(found: Comparison, name: str) -> float:
    amount = option(found, name).closed_form_usd_per_month
    assert amount is not None
    return amount


def test_whoever_rents_tests_again_and_a_negotiated_price_is_paid() -> None:
    values: dict[str, Spread] = {**BARE, "revalidations_per_year": 2, "days_per_revalidation": 1, "evaluation_usd": 10}
    found = compare(work(), GPT, scenario({**values, "rent_price_factor": 0.8}), seed=0, draws=100)
    # 100,000 × 0.0100 × 0.8 + 2/12 × (906.72 + 10)
    assert bill(found, "rent") == pytest.approx(800 + 2 / 12 * (DAY + 10))


def test_a_tuned_model_costs_its_tokens_training_hosting_and_some_people() -> None:
    values: dict[str, Spread] = {
        **BARE,
        "tuned_price_factor": 1.5,
        "tuned_training_mtok": 10,
        "tuned_training_usd_per_mtok": 3,
        "tuned_hosting_usd_per_month": 100,
        "tuned_fte": 0.1,
        "tuned_setup_days": 5,
        "retrainings_per_year": 6,
        "days_per_retraining": 1,
        "labels_per_retraining": 200,
        "usd_per_label": 0.5,
        "evaluation_usd": 20,
        "first_trainings": 4,
        "discount_rate_per_year": 0,
    }
    found = compare(work(), GPT, scenario(values), tuned=MINI, seed=0, draws=100)
    terms = dict(option(found, "rent-tuned").terms)
    run = 10 * 3 + 20
    assert terms["input tokens"] + terms["output tokens"] == pytest.approx(100_000 * 0.0030 * 1.5)
    assert terms["hosting"] == 100
    assert terms["people"] == pytest.approx(0.1 * 153_445 * 1.3 / 12)
    assert terms["retraining"] == pytest.approx(6 / 12 * (run + DAY + 200 * 0.5))
    assert terms["set-up"] == pytest.approx((5 * DAY + 4 * run) / 36)


def test_a_bought_machine_costs_what_it_loses_draws_takes_up_and_breaks() -> None:
    values: dict[str, Spread] = {
        **BARE,
        "purchase_usd": 30_000,
        "watts": 1000,
        "life_months": 48,
        "residual_share": 0.1,
        "usd_per_kwh": 0.1,
        "pue": 1.5,
        "usd_per_kw_month": 150,
        "maintenance_per_year": 0.04,
        "discount_rate_per_year": 0,
    }
    terms = dict(option(compare(work(), GPT, scenario(values), seed=0, draws=100), "own-bought").terms)
    assert terms["purchase less residual value"] == pytest.approx((30_000 - 3_000) / 48)
    assert terms["power"] == pytest.approx(1.0 * 730 * 1.5 * 0.1)
    assert terms["hosting"] == pytest.approx(150)
    assert terms["maintenance"] == pytest.approx(30_000 * 0.04 / 12)
    # At 10 % a year, 48 payments of x from today on are worth the price less what is left, both of today:
    dearer: dict[str, Spread] = {**values, "discount_rate_per_year": 0.1}
    terms = dict(option(compare(work(), GPT, scenario(dearer), seed=0, draws=100), "own-bought").terms)
    paid = sum(terms["purchase less residual value"] * 1.1 ** (-month / 12) for month in range(48))
    assert paid == pytest.approx(30_000 - 3_000 * 1.1**-4)


def test_scale_to_zero_pays_for_busy_hours_and_starts_and_raises_the_peak() -> None:
    values: dict[str, Spread] = {
        **BARE,
        "hours_on_share": 0.25,
        "cold_starts_per_month": 60,
        "cold_start_minutes": 5,
        "peak_to_mean": 2,
        "planned_load": 1,
    }
    with pytest.raises(InputError, match=r"hours_on_share 0.25 and peak_to_mean 2 contradict each other"):
        compare(work(), GPT, scenario(values), seed=0, draws=100)
    found = compare(work(), GPT, scenario({**values, "peak_to_mean": 4.0}), seed=0, draws=100)
    # 0.25 × 730 h + 60 × 5 min = 187.5 h at 2.00 USD
    assert dict(option(found, "own").terms)["machines"] == pytest.approx(187.5 * 2)
    # An assumed peak of 1.5 to 10 gives way: calls in a quarter of the hours are at least 4 times the mean.
    plain = scenario({name: value for name, value in values.items() if name != "peak_to_mean"})
    asked = question(work(), GPT, plain, None)
    assert asked.capacity is not None
    own = lines(asked, {**typical(asked.assumptions), "peak_to_mean": np.array([1.0])}).own
    assert own is not None
    assert own.replica_queries[0] == pytest.approx(asked.capacity.requests_per_s / 4 * 3600 * 730)
    always = {"hours_on_share": np.ones(1), "cold_starts_per_month": np.full(1, 99.0), "cold_start_minutes": np.ones(1)}
    assert hours_on({**always, "hours_per_month": np.full(1, 730.0)})[0] == 730


def test_spot_machines_are_cheaper_and_the_rented_model_answers_while_they_are_away() -> None:
    values: dict[str, Spread] = {**BARE, "spot_discount": 0.6, "spot_outage_share": 0.05}
    found = compare(work(), GPT, scenario(values), seed=0, draws=100)
    # 1,460 × 0.4 + 5 % of 1,000
    assert bill(found, "own") == pytest.approx(584 + 50)
    with pytest.raises(InputError, match="spot_outage_share needs a rented model"):
        compare(work(), None, scenario(values), seed=0, draws=100)


def test_errors_grow_between_two_retrainings() -> None:
    values: dict[str, Spread] = {**BARE, "usd_per_error": 2, "error_difference": 0.01, "error_growth_per_year": 0.04}
    # Retrained twice a year the rented model is ahead by 0.04 × 1/2 at the end and half of it on average.
    yearly = compare(work(), GPT, scenario({**values, "retrainings_per_year": 2}), seed=0, draws=100)
    assert dict(option(yearly, "own").terms)["errors"] == pytest.approx(100_000 * (0.01 + 0.01) * 2)
    never = compare(work(), GPT, scenario({**values, "retrainings_per_year": 0}), seed=0, draws=100)
    assert dict(option(never, "own").terms)["errors"] == pytest.approx(100_000 * (0.01 + 0.06) * 2)


def test_a_measured_error_is_drawn_from_its_posterior_and_taken_at_its_upper_limit_in_the_closed_form() -> None:
    values: dict[str, Spread] = {**BARE, "usd_per_error": 1, "error_difference": (0.01, 0.02, 0.03)}
    found = compare(work(), GPT, scenario(values), seed=0, draws=20_000)
    own = option(found, "own")
    assert own.closed_form_usd_per_month == pytest.approx(1460 + 100_000 * 0.03)
    assert own.usd_per_month is not None
    spread = own.usd_per_month
    assert spread.p50 == pytest.approx(1460 + 2000, rel=0.01)
    assert spread.p5 == pytest.approx(1460 + 1000, rel=0.03)
    assert spread.p95 == pytest.approx(1460 + 3000, rel=0.03)


def test_a_premium_for_sovereignty_counts_in_comparisons_and_in_no_bill() -> None:
    plain = compare(work(), GPT, scenario(BARE), seed=0, draws=100)
    valued = compare(work(), GPT, scenario({**BARE, "sovereignty_usd_per_month": 500}), seed=0, draws=100)
    assert bill(valued, "own") == bill(plain, "own") == 1460
    # (1,460 - 500) / 0.0100; at 100,000 queries renting costs 1,000 and owning 1,460 less 500.
    assert valued.breakeven.first == pytest.approx(96_000)
    assert (plain.verdict.verdict, valued.verdict.verdict) == ("stay-renting", "own")
    assert valued.steps[-1].name == "sovereignty premium"
    assert valued.steps[-1].adds == pytest.approx(-50_000)
    assert valued.npv_closed_form_usd is not None
    assert valued.npv_closed_form_usd > 0
    assert valued.as_record()["sovereignty_usd_per_month"] == 500
    free = compare(work(), GPT, scenario({**BARE, "sovereignty_usd_per_month": 2_000}), seed=0, draws=100)
    assert free.breakeven.first == 0


def test_the_share_that_may_be_escalated_is_solved_for() -> None:
    # Own 1,460, rent 2,000 at 200,000 queries: (2,000 - 1,460) / 2,000 = 27 % of them.
    found = compare(work(200_000), GPT, scenario({**BARE, "escalated_share": 0.1}), seed=0, draws=100)
    assert found.breakeven.escalated_share is not None
    share = found.breakeven.escalated_share.p50
    assert share == pytest.approx(0.27)
    at_share = compare(work(200_000), GPT, scenario({**BARE, "escalated_share": share or 0.0}), seed=0, draws=100)
    assert bill(at_share, "hybrid") == pytest.approx(2_000)
    assert bill(found, "hybrid") == pytest.approx(1_460 + 200)
    sparing: dict[str, Spread] = {**BARE, "usd_per_error": 1, "error_difference": 0.01}
    assert compare(work(), GPT, scenario(sparing), seed=0, draws=100).breakeven.escalated_share is None


def test_tiers_are_paid_call_by_call_and_not_on_the_mean() -> None:
    # Nine calls of 100,000 tokens and one of 300,000: the mean of 120,000 lies below the tier of 272,000.
    groups = (
        CallGroup(share=0.9, input_tokens=100_000, output_tokens=500),
        CallGroup(share=0.1, input_tokens=300_000, output_tokens=500),
    )
    calls = Workload(queries_per_month=10, input_tokens=120_000, output_tokens=500, groups=groups)
    flat = {**BARE}
    found = compare(calls, GPT, default_scenario(None, values={n: v for n, v in flat.items() if n in NEUTRAL}), seed=0)
    low, high = GPT.rates_for(100_000), GPT.rates_for(300_000)
    assert high.output_usd_per_mtok is not None
    assert low.output_usd_per_mtok is not None
    expected = 9 * (0.1 * float(low.input_usd_per_mtok) + 0.0005 * float(low.output_usd_per_mtok))
    expected += 0.3 * float(high.input_usd_per_mtok) + 0.0005 * float(high.output_usd_per_mtok)
    assert bill(found, "rent") == pytest.approx(expected)
    assert expected > 10 * (0.12 * float(low.input_usd_per_mtok) + 0.0005 * float(low.output_usd_per_mtok))


def test_recorded_calls_give_volume_peak_and_groups() -> None:
    # 48 hours; ten calls in the first, one in each of the others: 57 calls, peak 10 / (57 / 48) = 8.42.
    t_s = np.sort(np.concatenate([np.linspace(0, 3000, 10), 3600.0 * np.arange(1, 48) + 60]))
    given_tokens = np.where(np.arange(57) < 3, 300_000, 1_000)
    found = traffic(t_s, given_tokens, np.full(57, 100), duration_s=48 * 3600.0, thresholds=[272_000])
    assert found.workload.queries_per_month == pytest.approx(57 / 48 * 730)
    assert found.workload.peak_to_mean == pytest.approx(10 / (57 / 48))
    assert [(round(group.share * 57), group.input_tokens) for group in found.workload.groups] == [
        (54, 1_000),
        (3, 300_000),
    ]
    assert found.hours_with_calls_share == 1.0
    short = traffic(t_s[:10], given_tokens[:10], np.full(10, 5), queries_per_month=50)
    assert (short.workload.peak_to_mean, short.workload.queries_per_month) == (None, 50)
    assert short.hours == pytest.approx(3000 / 3600 * 10 / 9)
    assert short.workload.groups == ()
    alike = traffic(t_s, np.full(57, 9), np.full(57, 9), thresholds=[272_000])
    assert alike.workload.groups == ()
    with pytest.raises(InputError, match="no two calls at different times"):
        traffic(np.zeros(3), np.ones(3), np.ones(3))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"rent_drift_per_year": -0.2, "gpu_drift_per_year": 0.1, "revalidations_per_year": (0, 0.5, 1)},
        {"volume_growth_per_year": (-0.5, 0.4, 2.0), "error_difference": 0.001, "usd_per_error": (0.01, 0.05, 0.2)},
    ],
)
def test_a_slow_second_implementation_adds_up_every_month(values: dict[str, Spread]) -> None:
    asked = question(work(2_000_000, cached_share=0.3, batchable_share=0.5), GPT, scenario(values), None)
    drawn = draw(asked.assumptions, seed=5, draws=100)
    flow = cash_flow(asked, drawn)
    levels = npv_usd(asked, drawn)
    assert flow is not None
    assert levels is not None
    assert asked.capacity is not None
    for index in range(0, 100, 7):
        v = {name: float(array[index % array.size]) for name, array in drawn.items()}
        per_query = (0.7 * 1000 * 2.5 + 0.3 * 1000 * 0.25 + 500 * 15) / 1e6 * (1 - 0.5 * 0.5)
        full = asked.capacity.requests_per_s * v["capacity_error"] * v["planned_load"] / v["peak_to_mean"] * 3600 * 730
        # Of all that is asked in the horizon, each month counted by what a dollar of it is worth today.
        growth, worth = 1 + v["volume_growth_per_year"], [1.1 ** (-month / 12) for month in range(36)]
        mean = sum(growth ** (month / 12) * worth[month] for month in range(36)) / sum(worth)
        replicas = max(v["replicas_minimum"], math.ceil(2_000_000 * mean / full))
        day = v["salary_usd_per_year"] * (1 + v["salary_overhead"]) / v["working_days_per_year"]
        run = v["training_hours"] * v["gpu_usd_per_hour"] + v["evaluation_usd"]
        present = -(v["setup_days"] * day + v["first_trainings"] * run)
        balance, payback = present, math.inf
        for month in range(36):
            asked_now = 2_000_000 * growth ** (month / 12)
            rent = asked_now * per_query * (1 + v["rent_drift_per_year"]) ** (month / 12)
            rent += v["revalidations_per_year"] / 12 * (v["days_per_revalidation"] * day + v["evaluation_usd"])
            own = replicas * 730 * v["gpu_usd_per_hour"] * v["overhead_factor"]
            own *= (1 + v["gpu_drift_per_year"]) ** (month / 12)
            own += v["fte"] * v["salary_usd_per_year"] * (1 + v["salary_overhead"]) / 12
            turn = run + v["days_per_retraining"] * day + v["labels_per_retraining"] * v["usd_per_label"]
            own += v["retrainings_per_year"] / 12 * turn
            own += asked_now * max(0.0, v["error_difference"]) * v["usd_per_error"]
            present += (rent - own) * 1.1 ** (-month / 12)
            balance += rent - own
            if balance >= 0 and payback == math.inf:
                payback = month + 1
        assert flow.npv_usd[index] == pytest.approx(present)
        assert levels[index] == pytest.approx(present)
        assert flow.payback_months[index] == payback


def test_the_break_even_is_where_the_bills_meet() -> None:
    found = compare(work(), GPT, scenario(), seed=0, draws=100)
    assert found.breakeven.first is not None
    there = compare(work(found.breakeven.first), GPT, scenario(), seed=0, draws=100)
    assert bill(there, "own") == pytest.approx(bill(there, "rent"))
    assert there.npv_closed_form_usd == pytest.approx(0, abs=1)


def test_the_curve_and_the_staircase_tell_the_same() -> None:
    fixed = {**BARE, "peak_to_mean": 4.0}
    stairs = staircase(work(), GPT, scenario(fixed), up_to=1e9)
    points = curve(
        work(), GPT, scenario(fixed), volumes=[each.ends_at for each in stairs[:3]], tuned=MINI, seed=0, draws=100
    )
    for stair, point in zip(stairs, points, strict=False):
        assert point.own_usd is not None
        assert point.own_usd.p50 == pytest.approx(stair.own_usd_at_end)
        assert point.tuned_usd_p50 is not None
        assert stair.replicas == stairs.index(stair) + 1
    assert stairs[0].queries_per_month == 0
    assert stairs[1].queries_per_month == stairs[0].ends_at
    assert len(staircase(work(), GPT, scenario(fixed), up_to=1e11)) == 64
    assert staircase(work(), GPT, default_scenario(None), up_to=1e6) == []
    assert staircase(work(), GPT, scenario(fixed), up_to=1e6, only_simple=True)[-1].ends_at == 1e6
    plain = curve(work(), GPT, scenario(fixed), volumes=[1e5], seed=0, draws=100, only_simple=True)
    assert plain[0].own_usd is not None
    assert plain[0].own_usd.p50 == 1460


def test_a_bought_price_is_used_where_the_table_knows_it_or_the_user_does() -> None:
    assert "own-bought" in {each.name for each in compare(work(), GPT, scenario(), seed=0, draws=100).options}
    small = scenario(plan="smollm2-135m@cpu-2vcpu")
    left_out = dict(compare(work(), GPT, small, seed=0, draws=100).not_considered)
    assert left_out["own-bought"] == "no purchase price of this machine is known"
    quoted = scenario({"purchase_usd": 800, "watts": 60}, plan="smollm2-135m@cpu-2vcpu")
    assert option(compare(work(), GPT, quoted, seed=0, draws=100), "own-bought").replicas == 2


fractions = st.floats(0.0, 1.0)


@settings(deadline=None, max_examples=30)
@given(utilisation=st.floats(0.05, 0.99), more=st.integers(1, 500))
def test_more_volume_never_makes_owning_relatively_worse_at_constant_utilisation(utilisation: float, more: int) -> None:
    asked = question(work(), GPT, scenario(), None)
    found = lines(asked, typical(asked.assumptions))
    assert found.own is not None
    full = float(found.own.replica_queries[0])
    few, many = full * utilisation, full * utilisation * more
    own = [float(found.own.compared(volume)[0]) for volume in (few, few + full * (more - 1))]
    # The same share of every replica is used: k replicas at k times the volume.
    assert float(found.own.replicas(few)[0]) == 1
    rent = [float(found.rented[0].compared(volume)[0]) for volume in (few, many)]
    line = replace(found.own, replica_queries=np.array([full * utilisation]))
    assert float(line.compared(many)[0]) / rent[1] <= float(line.compared(few)[0]) / rent[0] * (1 + 1e-9)
    assert own[1] >= own[0]


@settings(deadline=None, max_examples=25)
@given(tokens=st.floats(1, 100_000), longer=st.floats(1.0, 20.0), volume=st.floats(1, 1e8))
def test_a_longer_context_never_lowers_a_cost(tokens: float, longer: float, volume: float) -> None:
    longest = min(tokens * longer, 120_000)
    bills = []
    for length in (min(tokens, 120_000), longest):
        calls = Workload(queries_per_month=volume, input_tokens=length, output_tokens=100)
        found = compare(calls, GPT, scenario(), hosted=HOSTED, tuned=MINI, seed=0, draws=100)
        bills.append({each.name: each.closed_form_usd_per_month for each in found.options})
    for name, usd in bills[0].items():
        assert usd is not None
        assert (bills[1][name] or 0.0) >= usd * (1 - 1e-9)


COSTS = [
    "days_per_revalidation",
    "tuned_fte",
    "tuned_training_usd_per_mtok",
    "tuned_hosting_usd_per_month",
    "purchase_usd",
    "watts",
    "usd_per_kwh",
    "usd_per_kw_month",
    "maintenance_per_year",
    "spot_outage_share",
    "cold_starts_per_month",
    "error_growth_per_year",
    "fte",
    "overhead_factor",
]


@settings(deadline=None, max_examples=25)
@given(name=st.sampled_from(COSTS), more=st.floats(1.0, 5.0), volume=st.floats(1, 1e9))
def test_adding_a_cost_never_lowers_any_bill(name: str, more: float, volume: float) -> None:
    given_: dict[str, Spread] = {
        "usd_per_error": 0.001,
        "revalidations_per_year": 1,
        "error_growth_per_year": 0.01,
        "spot_outage_share": 0.01,
        "cold_starts_per_month": 10,
        "hours_on_share": 0.2,
        "tuned_hosting_usd_per_month": 50,
    }
    plain = scenario(given_)
    value = plain.assumptions[name].typical
    bills = []
    for factor in (1.0, more):
        values: dict[str, Spread] = {name: value * factor}
        found = compare(work(volume), GPT, plain.with_values(values), tuned=MINI, seed=0, draws=100)
        bills.append({each.name: each.usd_per_month for each in found.options})
    for option_name, before in bills[0].items():
        after = bills[1][option_name]
        assert before is not None
        assert after is not None
        assert after.p50 is not None
        assert before.p50 is not None
        assert after.p50 >= before.p50 * (1 - 1e-12)


@settings(deadline=None)
@given(
    fixed=st.integers(-300, 500),
    step=st.integers(1, 100),
    rented_fixed=st.integers(0, 200),
    full=st.integers(105, 400),
    credit=st.integers(0, 300),
)
def test_fixed_costs_of_renting_and_a_premium_shift_the_break_even_as_trying_says(
    fixed: int, step: int, rented_fixed: int, full: int, credit: int
) -> None:
    own = CostLine(
        fixed={"fixed": np.array([float(max(0, fixed))])},
        per_replica={"machines": np.array([float(step)])},
        per_query={},
        replica_queries=np.array([float(full)]),
        replicas_minimum=np.ones(1),
        credit=np.array([float(credit)]),
    )
    rented = CostLine(fixed={"tests": np.array([float(rented_fixed)])}, per_query={"tokens": np.ones(1)})
    first = float(crossings(own, rented).first[0])
    pays = [float(own.compared(volume)[0]) <= float(rented.compared(volume)[0]) + 1e-7 for volume in range(1, 2000)]
    tried = next((volume for volume, does in enumerate(pays, 1) if does), None)
    assert tried == (max(1, math.ceil(first - 1e-6)) if first < 1999 else None)


def test_a_plan_may_name_its_devices_and_its_rent_is_that_of_the_day() -> None:
    eight = own_plan("llama-3.3-70b@8xa100-80gb", as_of=JUNE)
    assert (eight.devices, eight.hardware.name) == (8, "a100-80gb")
    assert own_plan("llama-3.3-70b@8 x A100_80GB").devices == 8
    with pytest.raises(InputError, match="names 8 devices and --gpus names 4"):
        own_plan("llama-3.3-70b@8xh100", devices=4)
    with pytest.raises(InputError, match="it must read MODEL@HARDWARE"):
        own_plan("llama-3.1-8b@0xh100")
    assert own_plan("llama-3.1-8b@h100", as_of=JUNE).rental.as_of is not None
    with pytest.raises(InputError, match="State it yourself with --gpu-usd-per-hour"):
        own_plan("llama-3.1-8b@gb300", as_of=JUNE)
    assert own_plan("llama-3.1-8b@gb300", usd_per_hour=4.0).rental.usd_per_hour == (4.0, 4.0, 4.0)
    early = own_plan("llama-3.1-8b@h100", as_of=date(2020, 1, 1)).rental
    assert early.source.startswith("assumption: no rent is known for 2020-01-01")
    assert (
        default_scenario(own_plan("llama-3.1-8b@h100", as_of=date(2020, 1, 1)))
        .assumptions["gpu_usd_per_hour"]
        .is_assumption
    )
    given_ = own_plan("llama-3.1-8b@h100", usd_per_hour=2.0)
    assert default_scenario(given_).assumptions["gpu_usd_per_hour"].source == "given by the user"


def test_whole_numbers_stay_whole() -> None:
    with pytest.raises(InputError, match=r"horizon_months is 35\.5; it must be a whole number"):
        scenario({"horizon_months": 35.5})
    asked = question(work(), GPT, scenario({"horizon_months": (12, 36, 60)}), None)
    drawn = draw(asked.assumptions, seed=0, draws=500)
    assert set(np.unique(drawn["horizon_months"] % 1)) == {0.0}
    levels, flow = npv_usd(asked, drawn), cash_flow(asked, drawn)
    assert levels is not None
    assert flow is not None
    np.testing.assert_allclose(levels, flow.npv_usd, rtol=1e-9, atol=1e-6)


def test_a_growing_volume_by_hand() -> None:
    # Twelve months without interest, twice as much at the end of the year: month t asks 2^(t/12) times as much as
    # today's, in the mean (2 - 1) / (2^(1/12) - 1) / 12 = 1.4015 times.
    values: dict[str, Spread] = {
        **BARE, "volume_growth_per_year": 1.0, "horizon_months": 12, "discount_rate_per_year": 0,
    }  # fmt: skip
    mean = (2 - 1) / (2 ** (1 / 12) - 1) / 12
    found, still = (
        compare(work(), GPT, scenario(each), seed=0, draws=100)
        for each in (values, {**values, "volume_growth_per_year": 0.0})
    )

    assert mean == pytest.approx(1.4015, abs=1e-4)
    assert bill(found, "rent") == pytest.approx(100_000 * 0.0100 * mean)
    assert bill(found, "own") == bill(still, "own") == pytest.approx(1460)
    assert found.breakeven.first == pytest.approx(146_000 / mean)
    # A query costs what it costs: the month is that of more queries.
    assert option(found, "rent").usd_per_query == pytest.approx(0.0100)
    assert found.as_record()["volume_growth_per_year"] == 1.0

    def row(comparison: Comparison) -> tuple[float, bool]:
        rows = comparison.as_record()["assumptions"]
        return next((each["value"], each["is_assumption"]) for each in rows if each["name"] == "volume_growth_per_year")

    assert row(found) == (1.0, False)
    assert row(compare(work(), GPT, scenario(), seed=0, draws=100)) == (0.0, True)


@settings(deadline=None, max_examples=30)
@given(slow=st.floats(-0.9, 3.0), faster=st.floats(0.0, 3.0), volume=st.floats(1_000, 1e8))
def test_more_growth_never_makes_owning_relatively_worse_at_constant_utilisation(
    slow: float, faster: float, volume: float
) -> None:
    ratios, firsts = [], []
    for growth in (slow, slow + faster):
        asked = question(work(volume), GPT, scenario({"volume_growth_per_year": growth}), None)
        found = lines(asked, typical(asked.assumptions))
        assert found.own is not None
        # Replicas in fractions: what is used of each stays the same, however many there are.
        machines = float(total_of(found.own.per_replica)[0]) / float(found.own.replica_queries[0])
        fixed, each = float(total_of(found.own.fixed)[0]), float(total_of(found.own.per_query)[0])
        ratios.append((fixed + volume * (machines + each)) / float(found.rented[0].total(volume)[0]))
        firsts.append(float(crossings(found.own, found.rented[0]).first[0]))
    assert ratios[1] <= ratios[0] * (1 + 1e-9)
    # On the staircase, too: with prices that stay, a growing volume reaches the break-even from a smaller start.
    assert firsts[1] <= firsts[0] * (1 + 1e-9)


def test_an_uncertain_growth_is_drawn_and_stands_in_the_tornado() -> None:
    found = compare(work(), GPT, scenario({"volume_growth_per_year": (0.0, 0.3, 1.5)}), seed=0, draws=2_000)
    (bar,) = [bar for bar in found.bars if bar.name == "volume_growth_per_year"]
    assert bar.breakeven[0] is not None
    assert bar.breakeven[1] is not None
    assert bar.breakeven[1] < bar.breakeven[0]
    (step,) = [step for step in found.steps if step.name == "growth of the volume"]
    assert step.adds is not None
    assert step.adds < 0
    for growth in (-1.0, 11.0, math.nan):
        with pytest.raises(InputError, match="volume_growth_per_year"):
            scenario({"volume_growth_per_year": growth})
