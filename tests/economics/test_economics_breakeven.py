from __future__ import annotations

import math
import time
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from freehold.core.errors import InputError
from freehold.core.identity import canonical_json
from freehold.economics.breakeven import compare, curve
from freehold.economics.labour import own_setup_usd
from freehold.economics.levels import annuity_months
from freehold.economics.montecarlo import typical
from freehold.economics.options import lines, question
from freehold.economics.plans import default_scenario, own_plan
from freehold.economics.prices import Price, price_of
from freehold.economics.terms import CostLine, crossings
from freehold.economics.waterfall import NEUTRAL
from freehold.economics.workload import Workload

if TYPE_CHECKING:
    from freehold.economics.scenario import Scenario, Spread

JUNE = date(2026, 6, 15)

MACHINES_ALONE: dict[str, Spread] = {**NEUTRAL, "gpu_usd_per_hour": 2.0}


def priced(model: str) -> Price:
    found = price_of(model, JUNE, aliases={})
    assert found is not None
    return found


GPT = priced("gpt-5.4")
LLAMA_HOSTED = priced("groq/llama-3.3-70b-versatile")


def work(volume: float = 100_000, **more: float | None) -> Workload:
    return Workload(**{"queries_per_month": volume, "input_tokens": 1000, "output_tokens": 500, **more})  # type: ignore[arg-type]


def scenario(values: dict[str, Spread] | None = None, plan: str = "llama-3.1-8b@h100") -> Scenario:
    return default_scenario(own_plan(plan), values=values)


@pytest.mark.parametrize(
    ("model", "volume"),
    [
        ("gpt-5.4", 146_000),  # 2.00 × 730 = 1,460 a month over 0.0100
        ("gpt-5.4-mini", 486_666.67),  # over 0.0030
        ("claude-opus-4-8", 83_428.57),  # over 0.0175
    ],
)
def test_one_h100_at_2_dollars_breaks_even_where_the_arithmetic_says(model: str, volume: float) -> None:
    found = compare(work(), priced(model), scenario(MACHINES_ALONE), seed=0, draws=100)
    assert found.breakeven.first == pytest.approx(volume)
    assert found.breakeven.always == pytest.approx(volume)
    assert found.breakeven.distribution is not None
    assert found.breakeven.distribution.p50 == pytest.approx(volume)
    assert found.breakeven.reason is None


def test_each_term_of_owning_is_what_its_formula_says() -> None:
    fixed: dict[str, Spread] = {
        **MACHINES_ALONE,
        "overhead_factor": 1.5,
        "fte": 0.25,
        "salary_usd_per_year": 194_300,
        "retrainings_per_year": 3,
        "days_per_retraining": 2,
        "training_hours": 4,
        "evaluation_usd": 10,
        "labels_per_retraining": 300,
        "usd_per_label": 0.5,
        "setup_days": 11,
        "first_trainings": 10,
        "discount_rate_per_year": 0,
        "usd_per_error": 2,
        "error_difference": 0.01,
    }
    found = compare(work(), GPT, scenario(fixed), seed=0, draws=100)
    own = next(option for option in found.options if option.name == "own")
    terms = dict(own.terms)
    assert terms["machines"] == pytest.approx(1460)
    assert terms["storage, egress, idle images"] == pytest.approx(730)
    assert terms["people"] == pytest.approx(5262.29, abs=0.01)  # 0.25 × 194,300 × 1.3 / 12
    day = 194_300 * 1.3 / 220
    assert terms["retraining"] == pytest.approx(3 / 12 * (4 * 2.0 + 10 + 2 * day + 150))
    assert terms["set-up"] == pytest.approx((11 * day + 10 * (8 + 10)) / 36)
    assert terms["errors"] == pytest.approx(100_000 * 0.01 * 2)
    assert own.closed_form_usd_per_month == pytest.approx(sum(terms.values()))
    assert own.usd_per_query == pytest.approx(sum(terms.values()) / 100_000)


def test_an_engineer_moves_the_break_even_of_one_h100_to_672229() -> None:
    # (1,460 + 0.25 × 194,300 × 1.3 / 12) / 0.0100 = 6,722.29 / 0.01
    values = {**MACHINES_ALONE, "fte": 0.25, "salary_usd_per_year": 194_300.0}
    assert compare(work(), GPT, scenario(values), seed=0, draws=100).breakeven.first == pytest.approx(672_229.17)


def test_rent_pays_less_for_cached_input_and_for_batches() -> None:
    # per query: 0.5 × 0.0025 + 0.5 × 0.00025 + 0.0075 = 0.008875; half of the calls at half price: × 0.75
    flat = scenario({"rent_drift_per_year": 0.0})
    found = compare(work(cached_share=0.5, batchable_share=0.5), GPT, flat, seed=0, draws=100)
    assert found.options[0].closed_form_usd_per_month == pytest.approx(100_000 * 0.008875 * 0.75)
    written = compare(work(cache_write_share=1.0), priced("claude-opus-4-8"), flat, seed=0, draws=100)
    # 1,000 × 6.25/M + 500 × 25/M = 0.00625 + 0.0125
    assert written.options[0].closed_form_usd_per_month == pytest.approx(1875)


def test_a_plain_model_without_cache_rates_reads_its_cache_at_the_input_rate() -> None:
    flat = scenario({"rent_drift_per_year": 0.0})
    found = compare(work(cached_share=0.5, cache_write_share=0.1), LLAMA_HOSTED, flat, seed=0, draws=100)
    assert found.options[0].closed_form_usd_per_month == pytest.approx(98.5)


def test_a_model_that_writes_no_text_cannot_be_compared() -> None:
    embedding = priced("openai/text-embedding-3-small")
    with pytest.raises(InputError, match=r"openai/text-embedding-3-small: genai-prices .* has no price for its output"):
        compare(work(), embedding, scenario(), seed=0, draws=100)


def test_present_value_and_payback_equal_the_months_added_one_by_one() -> None:
    values: dict[str, Spread] = {"rent_drift_per_year": -0.2, "gpu_drift_per_year": 0.1, "fte": 0.1}
    asked_scenario = scenario(values)
    found = compare(work(3_000_000), GPT, asked_scenario, seed=0, draws=100)
    asked = question(work(3_000_000), GPT, asked_scenario, None)
    today = typical(asked.assumptions)
    still = typical(asked_scenario.with_values({"rent_drift_per_year": 0, "gpu_drift_per_year": 0}).assumptions)
    own = lines(asked, still).own
    assert own is not None
    terms = {name: float(usd[0]) for name, usd in own.terms(3_000_000).items()}
    machines = terms["machines"] + terms["storage, egress, idle images"]
    others = terms["people"] + terms["retraining"]
    spent = float(own_setup_usd(1, today)[0])
    present, balance, payback = -spent, -spent, None
    for month in range(36):
        saved = 30_000 * 0.8 ** (month / 12) - machines * 1.1 ** (month / 12) - others
        present += saved * 1.1 ** (-month / 12)
        balance += saved
        if balance >= 0 and payback is None:
            payback = month + 1
    assert found.npv_closed_form_usd == pytest.approx(present)
    assert found.payback_months == payback == 1
    assert found.npv is not None


def test_owning_that_never_earns_its_set_up_back_has_no_payback() -> None:
    found = compare(work(1000), GPT, scenario(), seed=0, draws=100)
    assert found.payback_months is None
    assert found.npv_closed_form_usd is not None
    assert found.npv_closed_form_usd < 0
    assert found.probability_own_is_cheapest == 0.0


ONE_DOLLAR = CostLine(fixed={}, per_query={"tokens": np.array([1.0])})


def staircase(fixed: float, step: float, per_query: float, full: float, least: float) -> CostLine:
    return CostLine(
        fixed={"fixed": np.array([fixed])},
        per_replica={"machines": np.array([step])},
        per_query={"errors": np.array([per_query])},
        replica_queries=np.array([full]),
        replicas_minimum=np.array([least]),
    )


def test_a_staircase_can_cross_the_rent_twice() -> None:
    # one replica costs 50 + 90 = 140, met at 140 of its 150 queries; two 230 from 151 on, met at 230 of
    # 300; three 320 from 301 on, met at 320; four 410 from 451 on: under the rent from their start.
    line = staircase(50, 90, 0, 150, 1)
    found = crossings(line, ONE_DOLLAR)
    assert found.first[0] == pytest.approx(140)
    assert found.always[0] == pytest.approx(320)


def test_a_replica_that_costs_more_than_it_saves_never_pays() -> None:
    found = crossings(staircase(0, 100, 0, 90, 1), ONE_DOLLAR)
    assert (found.first[0], found.always[0]) == (math.inf, math.inf)
    dear = crossings(staircase(0, 100, 2.0, 1e6, 1), ONE_DOLLAR)
    assert dear.first[0] == math.inf


@settings(deadline=None)
@given(
    fixed=st.integers(0, 500),
    step=st.integers(1, 100),
    cents=st.integers(0, 90),
    full=st.integers(5, 400),
    least=st.integers(1, 3),
)
def test_solving_the_staircase_equals_trying_every_volume(
    fixed: int, step: int, cents: int, full: int, least: int
) -> None:
    assume(full * (100 - cents) != step * 100)  # a tie on every full replica, decided by rounding
    line = staircase(fixed, step, cents / 100, full, least)
    found = crossings(line, ONE_DOLLAR)
    pays = {volume: bool(line.total(float(volume))[0] <= volume + 1e-7) for volume in range(1, 4000)}
    first, always = float(found.first[0]), float(found.always[0])
    tried = next((volume for volume in pays if pays[volume]), None)
    assert tried == (max(1, math.ceil(first - 1e-6)) if first < 3999 else None)
    assert all(pays[volume] for volume in pays if volume >= always)
    assert first <= always


def test_the_price_of_the_rented_model_may_be_unknown() -> None:
    found = compare(work(), None, scenario(), seed=0, draws=100)
    record = found.as_record()
    assert record["options"][0]["usd_per_month"] is None
    assert record["options"][0]["label"] == "rented model, price unknown"
    assert record["probability_own_is_cheapest"] is None
    assert record["breakeven_queries_per_month"] is None
    assert "price of the rented model is unknown" in record["breakeven_reason"]
    assert (record["npv_usd"], record["npv_usd_interval"], record["payback_months"]) == (None, None, None)
    assert record["waterfall"] == []


def test_without_a_plan_only_renting_is_shown() -> None:
    found = compare(work(), GPT, default_scenario(None), hosted=LLAMA_HOSTED, seed=0, draws=100)
    record = found.as_record()
    assert [option["name"] for option in record["options"]] == ["rent", "rent-open"]
    assert record["breakeven_reason"] == "No plan to own was given."
    assert record["inputs"]["own"] is None


def test_a_hosted_open_model_counts_among_the_rented_ones() -> None:
    alone = compare(work(3_000_000), GPT, scenario(), seed=0)
    beside = compare(work(3_000_000), GPT, scenario(), hosted=LLAMA_HOSTED, seed=0)
    assert alone.probability_own_is_cheapest is not None
    assert alone.probability_own_is_cheapest > 0.9
    assert beside.probability_own_is_cheapest is not None
    assert beside.probability_own_is_cheapest < 0.001
    hosted = beside.options[1]
    assert hosted.label == "groq/llama-3.3-70b-versatile at groq"
    assert hosted.own_breakeven is not None
    assert hosted.own_breakeven.p50 is not None
    assert hosted.own_breakeven.p50 > 3_000_000


def test_a_hosted_model_stands_in_where_the_rented_price_is_unknown() -> None:
    found = compare(work(), None, scenario(MACHINES_ALONE), hosted=LLAMA_HOSTED, seed=0, draws=100)
    assert found.breakeven.first == pytest.approx(1460 / 0.000985)


def test_a_cascade_pays_for_both_sides() -> None:
    values: dict[str, Spread] = {
        **MACHINES_ALONE,
        "escalated_share": 0.2,
        "usd_per_error": 1.0,
        "error_difference": 0.01,
    }
    found = compare(work(), GPT, scenario(values), seed=0, draws=100)
    hybrid = found.options[-1]
    assert hybrid.label == "llama-3.1-8b on h100, unsure cases to gpt-5.4"
    # machines 1,460 + errors 100,000 × 0.01 × 0.8 + a fifth of the rent of 1,000
    assert hybrid.closed_form_usd_per_month == pytest.approx(1460 + 800 + 200)


def test_where_owning_never_pays_in_most_draws_there_is_no_break_even() -> None:
    # one CPU replica of 135M parameters against a price of nearly nothing
    cheap = replace(
        GPT,
        rates=replace(GPT.rates, input_usd_per_mtok=Decimal("0.001"), output_usd_per_mtok=Decimal("0.001")),
    )
    found = compare(work(), cheap, scenario(plan="smollm2-135m@cpu-2vcpu"), seed=0, draws=1000)
    record = found.as_record()
    assert record["breakeven_queries_per_month"] is None
    assert record["breakeven_closed_form"] == {"first": None, "always": None}
    assert record["breakeven_reason"].startswith("In 100.0 % of the draws no volume pays")
    assert record["waterfall"][0]["breakeven_queries_per_month"] is None
    assert record["waterfall"][1]["adds_queries_per_month"] is None


def test_the_waterfall_ends_at_the_break_even_and_its_steps_add_up() -> None:
    found = compare(work(cached_share=0.3), GPT, scenario({"usd_per_error": 1, "error_difference": 0.001}), seed=3)
    steps = found.steps
    assert steps[0].name == "machines alone"
    assert steps[0].breakeven is not None
    assert found.breakeven.distribution is not None
    assert steps[-1].breakeven == pytest.approx(found.breakeven.first)
    assert steps[-1].breakeven_p50 == pytest.approx(found.breakeven.distribution.p50)
    added = sum(step.adds or 0.0 for step in steps)
    assert steps[0].breakeven + added == pytest.approx(found.breakeven.first)
    assert next(step for step in steps if step.name == "cached input and discounts").adds != 0


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not() -> None:
    first, second, other = (
        canonical_json(compare(work(), GPT, scenario(), hosted=LLAMA_HOSTED, seed=seed).as_record())
        for seed in (7, 7, 8)
    )
    assert first == second
    assert first != other


def test_the_record_holds_what_is_needed_to_repeat_it() -> None:
    record = compare(work(peak_to_mean=3.0), GPT, scenario({"fte": (0.1, 0.2, 0.3)}), seed=1, draws=500).as_record()
    assert record["schema"] == "freehold.breakeven/1"
    assert (record["seed"], record["draws"]) == (1, 500)
    assert record["versions"]["prices"].startswith("genai-prices ")
    assumptions = {row["name"]: row for row in record["assumptions"]}
    assert assumptions["fte"]["value"] == [0.1, 0.2, 0.3]
    assert (assumptions["fte"]["source"], assumptions["fte"]["is_assumption"]) == ("given by the user", False)
    assert assumptions["peak_to_mean"]["value"] == 3.0
    assert assumptions["peak_to_mean"]["source"] == "measured: hours of the workload"
    assert assumptions["capacity_error"]["value"][0] < 1 < assumptions["capacity_error"]["value"][2]
    assert record["inputs"]["own"]["precision"] == "fp8"
    assert all(row["unit"] and row["source"] for row in record["assumptions"])


def test_an_unknown_cached_share_is_an_assumption_by_name() -> None:
    unknown = compare(work(cached_share=None), GPT, scenario(), seed=1, draws=500).as_record()
    row = next(row for row in unknown["assumptions"] if row["name"] == "cached_share")
    assert (row["value"], row["source"], row["is_assumption"]) == (0.0, "not measured: the log does not tell", True)
    assert unknown["inputs"]["workload"]["cached_share"] is None
    known = compare(work(cached_share=0.0), GPT, scenario(), seed=1, draws=500).as_record()
    assert "cached_share" not in {row["name"] for row in known["assumptions"]}
    assert unknown["options"] == known["options"]


def test_an_option_of_ones_own_tells_its_replicas_and_how_busy_they_are() -> None:
    values: dict[str, Spread] = {"replicas_minimum": 2, "peak_to_mean": 3.0, "planned_load": 0.5, "capacity_error": 1.0}
    asked = scenario({**values, "escalated_share": 0.1, "hours_per_month": 730.0})
    full = compare(work(), GPT, asked, seed=0, draws=100).asked.capacity
    assert full is not None
    most = full.requests_per_s * 3600 * 730  # queries a month of one saturated replica
    quiet, busy = (compare(work(volume), GPT, asked, seed=0, draws=100) for volume in (most / 100, most * 0.6))
    found = {each.name: each for each in quiet.options}
    assert (found["rent"].replicas, found["rent"].load) == (None, None)
    assert found["own"].replicas == 2
    assert found["own"].load == pytest.approx(3 / 100 / 2)
    assert (found["hybrid"].replicas, found["hybrid"].load) == (found["own"].replicas, found["own"].load)
    # The busiest hour asks 1.8 of a replica, each may be half full: four of them, 45 % full.
    own = next(each for each in busy.as_record()["options"] if each["name"] == "own")
    assert own["replicas"] == 4
    assert own["load"] == pytest.approx(0.45)


def test_a_measured_capacity_replaces_the_formulas_error() -> None:
    found = compare(work(), GPT, scenario({"capacity_error": 0.8}), seed=0, draws=100)
    row = next(row for row in found.as_record()["assumptions"] if row["name"] == "capacity_error")
    assert row["value"] == 0.8


def test_twenty_thousand_draws_take_well_under_a_second() -> None:
    begin = time.process_time()
    compare(work(), GPT, scenario(), hosted=LLAMA_HOSTED, seed=0, draws=20_000)
    assert time.process_time() - begin < 1.0


def test_a_curve_gives_every_option_at_every_volume() -> None:
    points = curve(work(), GPT, scenario(), hosted=LLAMA_HOSTED, volumes=[1e4, 1e6], seed=0, draws=1000)
    at_volume = compare(work(1e6), GPT, scenario(), hosted=LLAMA_HOSTED, seed=0, draws=1000)
    assert points[1].own_usd == at_volume.options[2].usd_per_month
    assert at_volume.options[0].usd_per_month is not None
    assert points[1].rent_usd_p50 == at_volume.options[0].usd_per_month.p50
    assert points[1].hosted_usd_p50 is not None
    bare = curve(work(), None, default_scenario(None), volumes=[5.0], seed=0, draws=100)[0]
    assert (bare.rent_usd_p50, bare.own_usd, bare.hosted_usd_p50) == (None, None, None)


@pytest.mark.parametrize("volume", [0, -1, math.nan, math.inf, 1e12])
def test_impossible_volumes_are_refused(volume: float) -> None:
    with pytest.raises(InputError, match=r"queries_per_month is .*; it must be more than 0 and at most 1e\+11"):
        work(volume)
    with pytest.raises(InputError, match="queries_per_month"):
        curve(work(), GPT, scenario(), volumes=[volume], seed=0, draws=100)


def test_all_faults_of_a_workload_are_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        Workload(
            queries_per_month=10,
            input_tokens=0,
            output_tokens=math.nan,
            cached_share=0.7,
            cache_write_share=0.7,
            batchable_share=2,
            peak_to_mean=0.5,
        )
    assert str(caught.value) == (
        "Workload: input_tokens is 0; it must be more than 0 and at most 1e+07; "
        "output_tokens is nan; it must be more than 0 and at most 1e+07; "
        "batchable_share is 2; it must be from 0 to 1; peak_to_mean is 0.5; it must be from 1 to 1e+06; "
        "cached_share and cache_write_share together exceed 1."
    )


def test_all_faults_of_assumptions_are_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        scenario({"ftes": 1, "planned_load": 2, "salary_usd_per_year": (3, 2, 1), "fte": math.nan})
    assert str(caught.value) == (
        "Assumptions: 'ftes' is unknown; nearest: fte; planned_load is 2; "
        "it must lie from 0.01 to 1; "
        "salary_usd_per_year is (3, 2, 1); low, typical and high must rise; "
        "fte is nan; it must lie from 0 to 1e+09."
    )


@pytest.mark.parametrize(("seed", "draws"), [(0, 99), (0, 1_000_001), (-1, 1000)])
def test_draws_and_seed_have_bounds(seed: int, draws: int) -> None:
    with pytest.raises(InputError, match=r"(draws|seed) is .*; it must"):
        compare(work(), GPT, scenario(), seed=seed, draws=draws)


dearer = st.decimals(min_value="1.01", max_value=50, places=2)


@settings(deadline=None, max_examples=25)
@given(factor=dearer, volume=st.floats(1, 1e9))
def test_dearer_rent_never_raises_the_break_even(factor: Decimal, volume: float) -> None:
    rates = replace(
        GPT.rates,
        input_usd_per_mtok=GPT.rates.input_usd_per_mtok * factor,
        output_usd_per_mtok=(GPT.rates.output_usd_per_mtok or Decimal(0)) * factor,
    )
    before = compare(work(volume), GPT, scenario(), seed=0, draws=200)
    after = compare(work(volume), replace(GPT, rates=rates), scenario(), seed=0, draws=200)
    assert after.breakeven.first is not None
    assert before.breakeven.first is not None
    assert after.breakeven.first <= before.breakeven.first
    assert after.breakeven.distribution is not None
    assert before.breakeven.distribution is not None
    assert (after.breakeven.distribution.p50 or 0) <= (before.breakeven.distribution.p50 or math.inf)
    assert (after.probability_own_is_cheapest or 0) >= (before.probability_own_is_cheapest or 0)


@settings(deadline=None, max_examples=40)
@given(
    name=st.sampled_from(
        [
            "fte",
            "salary_usd_per_year",
            "gpu_usd_per_hour",
            "overhead_factor",
            "retrainings_per_year",
            "setup_days",
            "first_trainings",
            "usd_per_error",
            "replicas_minimum",
            "training_hours",
            "labels_per_retraining",
        ]
    ),
    more=st.floats(1.0, 5.0),
    volume=st.floats(1, 1e9),
)
def test_adding_a_cost_never_lowers_what_owning_costs(name: str, more: float, volume: float) -> None:
    plain = scenario({"error_difference": 0.01, "usd_per_error": 0.001})
    value = plain.assumptions[name].typical
    values: dict[str, Spread] = {name: value}
    raised: dict[str, Spread] = {name: math.ceil(value * more) if name == "replicas_minimum" else value * more}
    before = compare(work(volume), GPT, plain.with_values(values), seed=0, draws=100).options[-1]
    after = compare(work(volume), GPT, plain.with_values(raised), seed=0, draws=100).options[-1]
    assert before.usd_per_month is not None
    assert after.usd_per_month is not None
    for low, high in zip(
        before.usd_per_month.as_record().values(), after.usd_per_month.as_record().values(), strict=True
    ):
        assert low is not None
        assert high is not None
        assert high >= low * (1 - 1e-12)


@settings(deadline=None, max_examples=25)
@given(volume=st.floats(1, 1e8), factor=st.floats(1.0, 50.0))
def test_more_volume_never_costs_less(volume: float, factor: float) -> None:
    low, high = curve(work(), GPT, scenario(), volumes=[volume, volume * factor], seed=0, draws=100)
    assert (high.rent_usd_p50 or 0) >= (low.rent_usd_p50 or 0)
    assert low.own_usd is not None
    assert high.own_usd is not None
    assert (high.own_usd.p50 or 0) >= (low.own_usd.p50 or math.inf)


def test_the_annuity_of_a_rate_of_zero_is_the_number_of_months() -> None:
    flat = typical(scenario({"discount_rate_per_year": 0.0}).assumptions)
    assert float(annuity_months(flat)[0]) == 36.0
