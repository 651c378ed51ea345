from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.core.errors import InputError
from freehold.evaluation.compare import Basis, compare
from freehold.evaluation.decide import Decision, decide
from freehold.evaluation.policy import DecisionInputs, Policy, Quantiles, read_cost, read_policy
from freehold.evaluation.result import CascadeResult, Cases, Comparison, Evaluation, Result
from freehold.evaluation.sentences import _dollars

if TYPE_CHECKING:
    from freehold.evaluation.contender import ContenderKind
    from tests.evaluation.conftest import Made

BASIS = Basis(is_binary=True, margin=0.02, confidence=0.95, tasks_compared=1, seed=0)


def result(name: str, kind: ContenderKind, value: float) -> Result:
    return Result(
        name=name,
        kind=kind,
        value=value,
        ci_low=value,
        ci_high=value,
        n=1000,
        invalid_share=0.0,
        exact_share=value,
        mean_input_tokens=None,
        mean_output_tokens=None,
    )


def paired(candidate: str, wins: int, losses: int, n: int = 1000, against: str = "big") -> Comparison:
    return compare(candidate, against, [1.0] * wins + [-1.0] * losses + [0.0] * (n - wins - losses), BASIS)


GOOD = (30, 10)
"""Two points better: shown non-inferior on 1,000 cases."""
BAD = (10, 80)
OPEN = (60, 60)
ON_THE_MARGIN = (30, 50)


def cascade(wins: int, losses: int, escalated_share: float = 0.2) -> CascadeResult:
    return CascadeResult(
        own="own",
        against="big",
        threshold=0.5,
        rule="non-inferior",
        validation_n=200,
        validation_escalated_share=0.2,
        escalated_share=escalated_share,
        value=0.95,
        ci_low=0.93,
        ci_high=0.97,
        comparison=paired("cascade", wins, losses),
    )


def evaluation(*comparisons: Comparison, n: int = 1000, **fields: Any) -> dict[str, Any]:  # Any: fields, JSON
    kinds: dict[str, ContenderKind] = {
        "own": "own",
        "big": "rented",
        "open": "hosted-open",
        "tuned": "rent-tuned",
        "base": "base",
        "linear": "baseline",
    }
    names = fields.pop("names", ("own", "big", *(each.candidate for each in comparisons if each.candidate != "own")))
    values: dict[str, Any] = {  # Any: fields of Evaluation
        "cascade": None,
        "cascade_note": None,
        "notes": (),
        "warnings": (),
        "tasks_compared": 1,
        **fields,
    }
    return Evaluation(
        task="triage",
        task_kind="classification",
        metric="accuracy",
        n=n,
        dataset="triage-0123456789ab",
        dataset_sha256="ab" * 32,
        model="triage-00112233",
        margin=0.02,
        confidence=0.95,
        seed=0,
        contenders=tuple(result(name, kinds[name], 0.9) for name in dict.fromkeys(names)),
        comparisons=comparisons,
        confusions=(),
        cases=Cases(ids=(), scores={}, confidences={}),
        **values,
    ).as_record()


def decided(record: dict[str, Any], cost: dict[str, Any], **options: Any) -> Decision:  # Any: JSON, options
    policy = options.pop("policy", Policy())
    return decide(DecisionInputs(evaluation=record, cost=cost, policy=policy, versions={}, **options))


@pytest.mark.parametrize(
    ("quality", "own_usd", "verdict", "expected"),
    [
        (GOOD, 100.0, "own", (None, 0)),
        (GOOD, 5000.0, "stay-renting", (None, 3)),
        (GOOD, 1000.0, "undecided", ("cost-inputs", 4)),
        (GOOD, None, "undecided", ("price", 4)),
        (BAD, 100.0, "stay-renting", ("better-model", 3)),
        (BAD, 5000.0, "stay-renting", (None, 3)),
        (BAD, None, "stay-renting", ("better-model", 3)),
        (OPEN, 100.0, "undecided", ("more-test-cases", 4)),
        (OPEN, 5000.0, "stay-renting", (None, 3)),
        (OPEN, 1000.0, "undecided", ("more-test-cases", 4)),
        (OPEN, None, "undecided", ("price", 4)),
        (ON_THE_MARGIN, 100.0, "undecided", ("better-model", 4)),
    ],
)
def test_quality_and_cost_make_the_verdict(
    made: type[Made],
    quality: tuple[int, int],
    own_usd: float | None,
    verdict: str,
    expected: tuple[str | None, int],
) -> None:
    found = decided(evaluation(paired("own", *quality)), made.cost_record(own=own_usd))
    assert (found.verdict, found.next_measurement, found.exit_code) == (verdict, *expected)


def test_the_reasons_carry_the_numbers(made: type[Made]) -> None:
    found = decided(evaluation(paired("own", *GOOD)), made.cost_record())
    assert found.reasons == (
        "Quality: on the same 1000 cases own differs from big by +2.0 points (95 % interval +0.8 to +3.4, "
        "margin 2): it is good enough.",
        "Cost: at 100,000 queries a month owning costs $100.00 (5 to 95 %: $95.00 to $105.00) and renting "
        "$1,000.00 (5 to 95 %: $950.00 to $1,050.00); it is the cheaper with probability 100 % (80 % is "
        "asked for): it is cheaper.",
        "Owning is good enough and the cheapest of what is proven.",
    )
    assert found.would_change == (
        "Quality: owning stops being good enough if it loses 2.8 points.",
        "Volume: owning pays from about 10,000 queries a month (5 to 95 %: 8,000 to no bound); the verdict "
        "is for 100,000.",
    )


def test_an_open_quality_says_how_many_cases_would_settle_it(made: type[Made]) -> None:
    found = decided(evaluation(paired("own", *OPEN), tasks_compared=2), made.cost_record(spread=0.0))
    detail = found.next_measurement_detail
    assert detail is not None
    # variance 0.12, distance 0.02: 7.8489 * 0.12 / 0.0004 = 2354.7
    assert (detail.cases, detail.cases_now, detail.subject) == (2355, 1000, "own")
    assert found.reasons[-1] == "About 2,355 cases would probably settle the quality; there are 1,000."
    assert "(97.5 % interval" in found.reasons[0]
    assert found.would_change[1].startswith("Cases: about 2,355 would probably settle the quality of owning;")


def test_a_difference_on_the_margin_asks_for_a_better_model(made: type[Made]) -> None:
    found = decided(evaluation(paired("own", *ON_THE_MARGIN)), made.cost_record())
    assert found.reasons[-1].startswith("The difference lies so near to the margin")
    assert found.next_measurement_detail is not None
    assert found.next_measurement_detail.cases is None


def test_no_rented_answers_is_undecided_and_says_how_many_to_record(made: type[Made]) -> None:
    found = decided(evaluation(names=("own",)), made.cost_record())
    assert (found.verdict, found.next_measurement) == ("undecided", "rented-answers")
    # 0.9 right: variance 0.18, 7.8489 * 0.18 / 0.0004 = 3531.995
    assert found.next_measurement_detail is not None
    assert found.next_measurement_detail.cases == 3532
    assert found.reasons == (
        "The rented model's answers are known for 0 test cases; plan for about 3,532 to compare with.",
    )
    assert found.would_change[0] == "Answers: record the rented model's answers to about 3,532 test cases."


def test_no_own_model_is_undecided(made: type[Made]) -> None:
    found = decided(evaluation(names=("big",)), made.cost_record())
    assert (found.verdict, found.next_measurement) == ("undecided", "own-model")
    assert found.reasons == ("No own model was measured; tune one and evaluate it.",)


@pytest.mark.parametrize(("n", "wanting"), [(19, "more-test-cases"), (1000, "rented-answers")])
def test_fewer_than_twenty_paired_cases_are_undecided(made: type[Made], n: int, wanting: str) -> None:
    found = decided(evaluation(paired("own", 1, 0, 19), n=n), made.cost_record(own=5000.0))
    assert (found.verdict, found.next_measurement) == ("undecided", wanting)
    assert found.next_measurement_detail is not None
    assert (found.next_measurement_detail.cases or 0) >= 20
    assert "at least 20 cases are needed to judge" in found.reasons[0]


def test_few_cases_are_not_enough_however_good_they_look(made: type[Made]) -> None:
    found = decided(evaluation(paired("own", 10, 0, 15), n=15), made.cost_record())
    assert (found.verdict, found.next_measurement) == ("undecided", "more-test-cases")
    assert found.would_change[0].startswith("Cases: about ")


def test_too_few_cases_on_the_margin_are_planned_from_the_score(made: type[Made]) -> None:
    found = decided(evaluation(paired("own", 0, 1, 10), n=10), made.cost_record(), policy=Policy())
    assert found.next_measurement_detail is not None
    assert (found.next_measurement_detail.cases or 0) > 20
    few = Comparison(
        candidate="own",
        against="big",
        difference=-0.02,
        ci_low=-0.3,
        ci_high=0.3,
        margin=0.02,
        non_inferior=False,
        n=10,
        wins=1,
        losses=1,
        cases_needed=None,
    )
    unplanned = decided(evaluation(few, n=10), made.cost_record()).next_measurement_detail
    assert unplanned is not None
    assert unplanned.cases == 3532


def test_a_cascade_that_is_good_enough_and_cheaper_is_a_hybrid(made: type[Made]) -> None:
    cost = made.cost_record(more={"hybrid": 300.0})
    found = decided(evaluation(paired("own", *BAD), cascade=cascade(*GOOD)), cost)
    assert (found.verdict, found.next_measurement, found.exit_code) == ("hybrid", None, 0)
    assert "own with 20 % of cases escalated differs from big" in found.reasons[2]
    unsure = decided(evaluation(paired("own", *OPEN), cascade=cascade(*GOOD)), cost)
    assert (unsure.verdict, unsure.next_measurement) == ("hybrid", "more-test-cases")
    near = decided(evaluation(paired("own", *ON_THE_MARGIN), cascade=cascade(*GOOD)), cost)
    assert (near.verdict, near.next_measurement) == ("hybrid", None)


def test_a_cascade_that_escalates_all_or_nothing_is_no_hybrid(made: type[Made]) -> None:
    cost = made.cost_record(more={"hybrid": 300.0})
    for share in (0.0, 1.0):
        record = evaluation(paired("own", *BAD), cascade=cascade(*GOOD, share))
        assert decided(record, cost).verdict == "stay-renting"


def test_a_cascade_of_unknown_cost_or_quality_is_undecided(made: type[Made]) -> None:
    good = evaluation(paired("own", *BAD), cascade=cascade(*GOOD))
    unpriced = decided(good, made.cost_record(breakeven_reason="No plan was given."))
    assert (unpriced.verdict, unpriced.next_measurement) == ("undecided", "price")
    assert "it is not known what owning with escalation costs (No plan was given)." in unpriced.reasons[3]
    assert unpriced.reasons[-1] == "A cost is unknown, so nothing can be compared with it: hybrid."
    vague = decided(good, made.cost_record(more={"hybrid": 1000.0}))
    assert (vague.verdict, vague.next_measurement) == ("undecided", "cost-inputs")
    assert vague.reasons[-1].startswith("Owning with escalation is good enough, but the costs are known too")
    assert vague.would_change[-1].startswith(
        "Cost: narrower prices and assumptions; one option must be cheaper in 80 %"
    )


def test_a_measured_rented_rival_wins_when_owning_is_dearer(made: type[Made]) -> None:
    record = evaluation(paired("own", *GOOD), paired("open", *GOOD), paired("tuned", *GOOD))
    dear = made.cost_record(own=5000.0, more={"rent-open": 400.0, "rent-tuned": 600.0})
    assert (decided(record, dear).verdict, decided(record, dear).exit_code) == ("rent-open", 3)
    tuned = made.cost_record(own=5000.0, more={"rent-open": 4000.0, "rent-tuned": 600.0})
    assert decided(record, tuned).verdict == "rent-tuned"
    cheap = made.cost_record(own=100.0, more={"rent-open": 400.0, "rent-tuned": 600.0})
    assert decided(record, cheap).verdict == "own"
    unmeasured = evaluation(paired("own", *GOOD), names=("own", "big", "open"))
    assert decided(unmeasured, dear).verdict == "stay-renting"


def test_an_unknown_price_of_renting_is_named(made: type[Made]) -> None:
    cost = made.cost_record(rent=None, breakeven_queries_per_month=None, breakeven_reason="No rate for 'big'.")
    found = decided(evaluation(paired("own", *GOOD)), cost)
    assert (found.verdict, found.next_measurement) == ("undecided", "price")
    assert found.next_measurement_detail is not None
    assert found.next_measurement_detail.prices == ("rent",)
    assert found.would_change[-1] == "Volume: No rate for 'big'."
    both = decided(evaluation(paired("own", *GOOD)), {**cost, "options": [], "breakeven_reason": None})
    assert both.next_measurement_detail is not None
    assert both.next_measurement_detail.prices == ("rent", "own")
    assert "what renting and owning costs." in both.reasons[1]
    assert both.would_change[-1] == "Volume: no volume is known from which owning pays."


@pytest.mark.parametrize(
    ("cost", "chance"),
    [
        ({"probability_own_is_cheapest": 0.6}, 0.6),
        ({"own": 1000.0, "spread": 0.0}, 0.5),
        ({"own": 900.0, "spread": 0.0}, 1.0),
        ({"own": 1100.0, "spread": 0.0}, 0.0),
        ({"own": 1000.0}, 0.5),
        # 100 apart, half widths 50 and 45 at the 95th percentile: z = 100 / (67.27 / 1.645) = 2.445
        ({"own": 900.0}, 0.99276),
        ({"own": 900.0, "more": {"rent-open": 10.0}, "probability_own_is_cheapest": 0.0}, 0.99276),
    ],
)
def test_the_chance_that_owning_is_cheaper(made: type[Made], cost: dict[str, Any], chance: float) -> None:
    known = read_cost(made.cost_record(**cost))
    assert known.chance_cheaper_than_rent("own") == pytest.approx(chance, abs=1e-4)
    assert known.chance_cheaper_than_rent("hybrid") is None


def test_a_simulated_chance_goes_before_a_derived_one(made: type[Made]) -> None:
    record = made.cost_record()
    record["options"][1]["probability_cheaper_than_rent"] = 0.3
    assert read_cost(record).chance_cheaper_than_rent("own") == 0.3


@pytest.mark.parametrize(
    ("wins", "losses", "start"),
    [
        (10, 60, "The baseline 'linear' beats the own model: own minus baseline is −5.0 points"),
        (10, 10, "The baseline 'linear' equals the own model within the margin: "),
        (60, 50, "The baseline 'linear' cannot be told apart from the own model: "),
        (90, 10, "The own model beats the strongest baseline 'linear': own minus baseline is +8.0 points"),
    ],
)
def test_what_the_linear_model_says_about_the_need_for_a_language_model(
    made: type[Made], wins: int, losses: int, start: str
) -> None:
    linear = paired("own", wins, losses, against="linear")
    record = evaluation(paired("own", *GOOD), linear, names=("own", "big", "linear"))
    note = decided(record, made.cost_record()).notes[0]
    assert note.startswith(start)
    assert note.endswith("not needed here.") is (wins == 10)


def test_notes_tell_what_tuning_gained_and_what_weakens_the_result(made: type[Made]) -> None:
    base = paired("own", 300, 10, against="base")
    record = evaluation(
        paired("own", *GOOD),
        base,
        names=("own", "big", "base", "linear"),
        cascade_note="No confidences.",
        notes=("A note.",),
        warnings=("A warning.",),
    )
    assert decided(record, made.cost_record()).notes == (
        "Tuning moved the score by +29.0 points against base (+26.1 to +32.0).",
        "No confidences.",
        "A note.",
        "A warning.",
    )
    unpaired = evaluation(paired("own", *GOOD), names=("own", "big", "base"))
    assert decided(unpaired, made.cost_record()).notes == ()


def test_the_verdict_is_told_at_every_volume(made: type[Made]) -> None:
    record = evaluation(paired("own", *GOOD))
    others = (made.cost_record(rent=20.0, queries=2_000), made.cost_record(rent=100.0, queries=10_000))
    found = decided(record, made.cost_record(), other_volumes=others)
    assert [(each.queries_per_month, each.verdict) for each in found.verdicts_by_volume] == [
        (2_000, "stay-renting"),
        (10_000, "undecided"),
        (100_000, "own"),
    ]
    assert decided(record, made.cost_record()).verdicts_by_volume == ()


def test_operations_are_told_and_do_not_decide(made: type[Made]) -> None:
    record, bare = evaluation(paired("own", *GOOD)), made.cost_record()
    told = made.cost_record(rented_latency_p95_ms=640.0)
    told["options"] = [{**each, "replicas": 9, "load": 0.4} for each in told["options"]]
    unknown, known = decided(record, bare), decided(record, told)
    found = known.as_record()["operations"]
    assert found.pop("note").startswith("Operations do not decide the verdict. The latency of the own model is not")
    assert found == {
        "own_latency_ms": None,
        "rented_latency_p95_ms": 640.0,
        "replicas_at_volume": 9,
        "load_at_volume": 0.4,
    }
    assert replace(known, operations=unknown.operations) == unknown
    assert (unknown.operations.replicas_at_volume, unknown.operations.load_at_volume) == (None, None)
    rented_alone = made.cost_record()
    rented_alone["options"] = [each for each in rented_alone["options"] if each["name"] == "rent"]
    assert decided(record, rented_alone).operations == unknown.operations


def test_margin_and_confidence_are_those_fixed_before_looking(made: type[Made]) -> None:
    with pytest.raises(InputError) as caught:
        decided(evaluation(paired("own", *GOOD)), made.cost_record(), policy=Policy(margin_points=5.0))
    assert str(caught.value) == (
        "The evaluation of 'triage' was made with a margin of 2 points and confidence 0.95, the policy "
        "asks for 5 and 0.95. Both are fixed before looking: set them, then run freehold evaluate triage "
        "again."
    )
    with pytest.raises(InputError, match=r"confidence 0\.95, the policy asks for 2 and 0.9"):
        decided(evaluation(paired("own", *GOOD)), made.cost_record(), policy=Policy(confidence=0.9))
    with pytest.raises(InputError, match=r"cost_certainty is 0\.5; it must be above 0\.5 and at most 1"):
        decided(evaluation(paired("own", *GOOD)), made.cost_record(), policy=Policy(cost_certainty=0.5))


def test_a_cost_record_or_policy_that_is_none_is_refused(made: type[Made]) -> None:
    with pytest.raises(InputError, match=r"no cost record of schema 'freehold.breakeven/1': schema: .*; options: "):
        read_cost({"schema": "x", "queries_per_month": 1})
    twice = made.cost_record()
    twice["options"].append(twice["options"][0])
    with pytest.raises(InputError, match="names an option twice: rent, own, rent"):
        read_cost(twice)
    with pytest.raises(InputError, match="This is no policy: margin_points: "):
        read_policy({"margin_points": "wide"})
    assert read_policy(Policy().as_record()) == Policy()


@given(
    st.tuples(st.integers(0, 60), st.integers(0, 60)),
    st.floats(1, 5000),
    st.floats(1, 5000),
    st.floats(0.01, 1),
)
def test_dearer_owning_never_turns_renting_into_owning(
    made: type[Made], quality: tuple[int, int], own: float, dearer: float, spread: float
) -> None:
    record = evaluation(paired("own", *quality))
    cheap = decided(record, made.cost_record(own=own, spread=spread)).verdict
    dear = decided(record, made.cost_record(own=own + dearer, spread=spread)).verdict
    order = ["own", "undecided", "stay-renting"]
    assert order.index(dear) >= order.index(cheap)


@pytest.mark.parametrize(
    ("usd", "shown"),
    [(0.0, "$0.00"), (0.81, "$0.81"), (15323.756, "$15,323.76"), (0.00012345, "$0.0001234"), (-3.5, "−$3.50")],
)
def test_an_amount_is_told_in_cents_or_in_four_digits_where_there_are_none(usd: float, shown: str) -> None:
    assert _dollars(Quantiles(p5=usd, p50=usd, p95=usd)) == f"{shown} (5 to 95 %: {shown} to {shown})"
