"""Each kind of claim and each way in which its verdict can fall, with numbers small enough to check in the head."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from freehold.core.errors import InputError
from freehold.economics.claims.audit import audit
from freehold.economics.claims.expression import expression
from freehold.economics.claims.formulas import FORMULAS, QUANTITIES
from freehold.economics.claims.reading import claims_book
from freehold.economics.claims.solving import Lever, Problem, solve

if TYPE_CHECKING:
    from freehold.economics.claims.finding import Finding

SOURCE = "a test"


def inputs(**values: Any) -> dict[str, Any]:  # Any: YAML
    """Plain inputs; a mapping with more than a value is taken as it is."""
    return {
        name: {"unit": QUANTITIES[name].unit, "source": SOURCE}
        | (value if isinstance(value, dict) and "value" in value else {"value": value})
        for name, value in values.items()
    }


def audited(*claims: dict[str, Any]) -> dict[str, Finding]:  # Any: YAML
    """Findings by id; JSON is YAML, but for the day."""
    filled = [{"text": "a claim", **claim} for claim in claims]
    text = json.dumps({"source": "a pitch", "as_of": "DAY", "claims": filled}).replace('"DAY"', "2026-06-15")
    return {each.claim.id: each for each in audit(claims_book(text, name="pitch.yaml")).findings}


def one(**claim: Any) -> Finding:  # Any: YAML
    return audited({"id": "A", **claim})["A"]


def stated(value: Any, unit: str = "USD", bound: str = "value") -> dict[str, Any]:  # Any: YAML
    return {bound: value, "unit": unit}


HOURS: dict[str, Any] = {"formula": "gpu_hours_usd"}  # gpu_hours × gpu_usd_per_hour


@pytest.mark.parametrize(
    ("bound", "value", "verdict"),
    [
        ("at_most", 6, "consistent"),
        ("at_most", 5.7, "inconsistent"),  # 5.7 × 1.05 = 5.985
        ("at_least", 6, "consistent"),
        ("at_least", 6.4, "inconsistent"),  # 6.4 × 0.95 = 6.08
    ],
)
def test_a_bound_is_kept_or_broken(bound: str, value: float, verdict: str) -> None:
    found = one(**HOURS, stated=stated(value, bound=bound), inputs=inputs(gpu_hours=3, gpu_usd_per_hour=2))

    assert (found.verdict, found.ratio) == (verdict, None)
    assert found.solution("gpu_usd_per_hour") == pytest.approx(value / 3)


def test_a_claim_that_comes_out_exactly_lists_no_input_as_it_is() -> None:
    found = one(**HOURS, stated=stated(6), inputs=inputs(gpu_hours=3, gpu_usd_per_hour=2))

    assert (found.verdict, found.ratio, found.solved) == ("consistent", 1.0, ())
    assert (found.solution("gpu_hours"), found.solution("nothing")) == (3.0, None)


def test_a_lower_bound_on_a_range_is_solved_for_its_lower_end() -> None:
    found = one(**HOURS, stated=stated(9, bound="at_least"), inputs=inputs(gpu_hours=[3, 5], gpu_usd_per_hour=2))

    assert found.verdict == "inconsistent"  # 6 to 10
    assert [(each.input, each.value) for each in found.solved] == [
        ("gpu_hours.low", 4.5),
        ("gpu_usd_per_hour", 3.0),
    ]


def test_a_computation_without_a_result_is_inconsistent() -> None:
    """At one query a month nothing is saved, so nothing is ever paid back."""
    never = inputs(
        adaptation_usd=500, queries_per_month=1, input_tokens=1000, output_tokens=500, input_usd_per_mtok=2.5,
        output_usd_per_mtok=15, gpus=1, gpu_usd_per_hour=1, hours_per_month=730, other_usd_per_month=0,
    )  # fmt: skip
    found = one(formula="payback_months", stated=stated(3, "months", "at_most"), inputs=never)

    assert (found.verdict, found.recomputed, found.solved) == ("inconsistent", None, ())
    assert found.arithmetic.endswith("= ?")
    assert "no result" in found.reason
    pays = {"formula": "payback_months", "inputs": never}
    assert one(kind="estimate", stated=stated(3, "months"), **pays).verdict == "inconsistent"
    without = {"value": 3, "unit": "months", "source": SOURCE}
    assert one(kind="omission", without=without, **pays).verdict == "omission"
    others = audited(
        {"id": "A", "against": "B", **pays},
        {"id": "B", "formula": "given", "unit": "months", "stated": stated(3, "months"), "inputs": inputs(value=3)},
    )
    assert others["A"].verdict == "under-specified"


def test_against_another_claim_it_is_consistent_or_contradicts() -> None:
    six = {"formula": "given", "unit": "USD", "stated": stated(6), "inputs": inputs(value=6)}
    same = audited(
        {"id": "A", **HOURS, "against": "B", "inputs": inputs(gpu_hours=3, gpu_usd_per_hour=2)}, {"id": "B", **six}
    )
    other = audited(
        {"id": "A", **HOURS, "against": "B", "inputs": inputs(gpu_hours=3, gpu_usd_per_hour=4)}, {"id": "B", **six}
    )

    assert same["A"].verdict == "consistent"
    assert other["A"].verdict == "contradicts"
    assert "2 times as much" in other["A"].reason
    free = audited({"id": "A", **HOURS, "against": "B", "inputs": inputs(gpu_hours=3, gpu_usd_per_hour=4)},
                   {"id": "B", **six, "stated": stated(0)})  # fmt: skip
    assert free["A"].verdict == "contradicts"
    assert "times" not in free["A"].reason


@pytest.mark.parametrize(
    ("value", "verdict"), [(5, "plausible"), (10.4, "plausible"), (11, "overstated"), (3, "inconsistent")]
)
def test_an_estimate_meets_lies_above_or_lies_below_its_range(value: float, verdict: str) -> None:
    # 2 × 2 = 4 to 5 × 2 = 10, and five per cent around them
    found = one(kind="estimate", **HOURS, stated=stated(value), inputs=inputs(gpu_hours=[2, 5], gpu_usd_per_hour=2))

    assert found.verdict == verdict
    assert found.recomputed == (4.0, 10.0)
    # the nearer end is solved for: 11 / 5 = 2.2, 3 / 2 = 1.5; what is plausible needs nothing
    wanted = {11: 2.2, 3: 1.5}.get(int(value))
    assert found.solution("gpu_usd_per_hour") == (2.0 if wanted is None else pytest.approx(wanted))
    assert (found.solved == ()) == (verdict == "plausible")


@pytest.mark.parametrize(("hours", "verdict"), [(5, "plausible"), (50, "overstated"), (1, "inconsistent")])
def test_an_estimate_in_another_quantity_is_held_against_what_is_expected(hours: float, verdict: str) -> None:
    expected = {"value": [8, 12], "unit": "USD", "source": SOURCE}
    found = one(
        kind="estimate",
        **HOURS,
        stated=stated(hours, "GPU-h"),
        expected=expected,
        inputs=inputs(gpu_hours=hours, gpu_usd_per_hour=2),
    )

    assert (found.verdict, found.ratio) == (verdict, None)


def test_one_unstated_input_without_a_usual_range_leaves_the_claim_under_specified() -> None:
    found = one(**HOURS, stated=stated([6, 12]), inputs=inputs(gpu_hours=None, gpu_usd_per_hour=2))

    assert (found.verdict, found.recomputed, found.unit) == ("under-specified", (3.0, 6.0), "GPU-h")
    assert [each.value for each in found.solved] == [3.0, 6.0, None]
    assert found.arithmetic == "$6 to $12 = gpu_hours × $2, so gpu_hours = 3 to 6 GPU-h"


def test_an_unstated_input_that_no_value_satisfies_is_said_to_be_so() -> None:
    found = one(**HOURS, stated=stated(6), inputs=inputs(gpu_hours=None, gpu_usd_per_hour=0))

    assert (found.verdict, found.recomputed) == ("under-specified", None)
    assert found.solved[0].reason.startswith("unreachable: ")


def test_two_unstated_inputs_leave_nothing_to_solve() -> None:
    found = one(**HOURS, stated=stated(6), inputs=inputs(gpu_hours=None, gpu_usd_per_hour=None))

    assert (found.verdict, found.recomputed, found.solved) == ("under-specified", None, ())
    assert found.reason == "never stated: GPU-hours and rent of a GPU"
    assert found.arithmetic == "gpu_hours × gpu_usd_per_hour = ?"
    without = {"value": 6, "unit": "USD", "source": SOURCE}
    nothing_stated = one(kind="omission", **HOURS, without=without, inputs=inputs(gpu_hours=None, gpu_usd_per_hour=2))
    assert nothing_stated.verdict == "under-specified"


def seen(low: float, high: float, **more: Any) -> dict[str, Any]:  # Any: YAML
    return {"value": None, "seen": [low, high], **more}


def test_an_unstated_input_with_a_usual_range_is_held_to_it() -> None:
    # 6 / 3 = 2, within 1 to 4; 30 / 3 = 10 is above, so 4 is the best that can be said: 3 × 4 = 12
    within = one(**HOURS, stated=stated(6), inputs=inputs(gpu_hours=3, gpu_usd_per_hour=seen(1, 4)))
    above = one(**HOURS, stated=stated(30), inputs=inputs(gpu_hours=3, gpu_usd_per_hour=seen(1, 4, seen_source="S")))
    never = one(**HOURS, stated=stated(6), inputs=inputs(gpu_hours=0, gpu_usd_per_hour=seen(1, 4)))

    assert (within.verdict, within.recomputed, within.ratio) == ("consistent", 6.0, 1.0)
    assert (above.verdict, above.recomputed, above.ratio) == ("inconsistent", 12.0, 2.5)
    assert "outside of the $1 to $4/GPU-h that is seen (S)" in above.notes[0]
    assert (never.verdict, never.recomputed, never.ratio) == ("inconsistent", 0.0, None)
    assert "no value of it solves the claim; $1 to $4/GPU-h is seen" in never.notes[0]
    usual = one(**HOURS, stated=stated(6), inputs=inputs(gpu_hours=3, gpu_usd_per_hour=seen(1, 4) | {"value": 2}))
    assert usual.notes == ()


def test_a_report_is_confirmed_not_reproducible_or_unverifiable() -> None:
    values = inputs(gpu_hours=3, gpu_usd_per_hour=2)

    assert one(kind="report", **HOURS, stated=stated(6), inputs=values).verdict == "confirmed"
    assert one(kind="report", **HOURS, stated=stated(9), inputs=values).verdict == "not-reproducible"
    assert one(kind="report").verdict == "unverifiable"


def exhibit(name: str, value: Any, unit: str = "queries/month") -> dict[str, Any]:  # Any: YAML
    return {"name": name, "formula": "given", "unit": unit, "inputs": inputs(value=value)}


def test_thresholds_hold_or_fail_and_one_alone_may_mend_them() -> None:
    def case(*values: float) -> Finding:
        cases = [exhibit(f"case {place}", value) for place, value in enumerate(values)]
        return one(kind="thresholds", stated=stated([100, 500], "queries/month"), evidence=cases)

    inside, below, above, both = case(100, 500), case(50, 300), case(200, 900), case(50, 900)

    assert [each.verdict for each in (inside, below, above, both)] == ["consistent", *["contradicts"] * 3]
    assert [each.value for each in inside.solved] == [100.0, 500.0]
    assert [each.value for each in below.solved] == [50.0, None]
    assert [each.value for each in above.solved] == [None, 900.0]
    assert [each.value for each in both.solved] == [None, None]
    unknown = one(kind="thresholds", stated=stated([100, 500], "x"), evidence=[exhibit("open", None, "x")])
    assert (unknown.verdict, unknown.recomputed) == ("consistent", None)


def test_a_contrast_is_rhetorical_where_the_other_side_bears_something_too() -> None:
    def case(value: Any) -> str:
        sides = [exhibit("renters", value, "ids"), exhibit("owners", 28, "USD")]
        return one(kind="contrast", denied="renters", evidence=sides).verdict

    assert [case(57), case(0), case(None)] == ["rhetorical", "consistent", "consistent"]


def test_a_source_may_speak_of_what_is_older_than_itself() -> None:
    def case(released: str) -> Finding:
        text = json.dumps(
            {
                "source": "x", "as_of": "DAY", "claims": [{"id": "A", "text": "t", "kind": "provenance",
                "published": {"what": "P", "released": "2025-04-07", "source": SOURCE},
                "cites": [{"what": "M", "released": released, "source": SOURCE}]}],
            }
        )  # fmt: skip
        return audit(claims_book(text.replace('"DAY"', "2026-06-15"), name="p.yaml")).findings[0]

    assert (case("2025-04-07").verdict, case("2025-04-07").solved) == ("confirmed", ())
    assert case("2025-04-08").verdict == "provenance"
    assert case("2025-04-08").arithmetic == "M: 2025-04-08 − 2025-04-07 = 1 days"


@pytest.mark.parametrize(
    ("without", "admitted", "verdict"),
    [
        (6, "", "consistent"),
        (5.6, "", "consistent"),
        (3, "", "omission"),
        (3, "it does", "admitted"),
        (0, "", "omission"),
    ],
)
def test_an_omission_counts_from_a_factor_of_1_1(without: float, admitted: str, verdict: str) -> None:
    # with the term 6; 6 / 5.6 = 1.07, 6 / 3 = 2
    left_out = {"value": without, "unit": "USD", "source": SOURCE}
    values = inputs(gpu_hours=3, gpu_usd_per_hour=2)

    assert one(kind="omission", **HOURS, without=left_out, admitted=admitted, inputs=values).verdict == verdict


def test_a_tally_counts_what_is_right() -> None:
    def case(*texts: float) -> Finding:
        catalogues = {"first_catalogue": 2.5, "second_catalogue": 2.5, "third_catalogue": 2.5}
        evidence = [
            {"name": f"p{place}", "formula": "same_in_all_catalogues", "inputs": inputs(in_text=text, **catalogues)}
            for place, text in enumerate(texts)
        ]
        return one(kind="tally", formula="same_in_all_catalogues", unit="prices", evidence=evidence)

    right, half, none = case(2.5, 2.5), case(2.5, 3), case(3)

    assert (right.verdict, right.recomputed, right.ratio) == ("confirmed", 2.0, 1.0)
    assert (half.verdict, half.recomputed, half.ratio) == ("inconsistent", 1.0, 2.0)
    assert "not: p1" in half.reason
    assert (none.recomputed, none.ratio) == (0.0, None)
    with pytest.raises(InputError, match=r"claim A, evidence: none of it has the formula 'gpu_hours_usd'"):
        one(kind="tally", formula="gpu_hours_usd", evidence=[exhibit("x", 1)])


def member(name: str, hours: Any, rate: float) -> dict[str, Any]:  # Any: YAML
    return {
        "id": name,
        **HOURS,
        "stated": stated(hours, "USD"),
        "inputs": inputs(gpu_hours=hours, gpu_usd_per_hour=rate),
    }


AGREEMENT = {"id": "A", "kind": "agreement", **HOURS, "member_input": "gpu_hours"}


def test_members_agree_or_one_of_them_could_be_moved() -> None:
    # stated as GPU-hours: 3 × 2 = 6, 6 × 1 = 6, 2 × 6 = 12
    apart = audited(member("X", 3, 2), member("Y", 6, 1), member("Z", 2, 6), {**AGREEMENT, "members": ["X", "Y", "Z"]})[
        "A"
    ]
    same = audited(member("X", 3, 2), member("Y", 6, 1), {**AGREEMENT, "members": ["X", "Y"]})["A"]
    nothing = audited(member("X", 0, 2), member("Y", 0, 1), {**AGREEMENT, "members": ["X", "Y"]})["A"]

    assert (apart.verdict, apart.recomputed, apart.ratio) == ("inconsistent", (6.0, 12.0), 2.0)
    assert [each.value for each in apart.solved] == [None, None, 1.0]  # Z at 1 × 6 = 6
    assert (same.verdict, same.recomputed, same.ratio) == ("consistent", 6.0, 1.0)
    assert (nothing.verdict, nothing.ratio) == ("consistent", None)


def test_members_must_have_what_the_formula_takes() -> None:
    given = {"id": "X", "formula": "given", "unit": "USD", "stated": stated(1), "inputs": inputs(value=1)}
    with pytest.raises(InputError, match=r"claim A, members: claim 'X' has no gpu_usd_per_hour, which 'gpu_hours_usd'"):
        audited(given, member("Y", 6, 1), {**AGREEMENT, "members": ["X", "Y"]})
    ranged = {**member("X", [1, 2], 2), "stated": stated([1, 2])}
    with pytest.raises(InputError, match="claim A, members: claim 'X' gives no single number"):
        audited(ranged, member("Y", 6, 1), {**AGREEMENT, "members": ["X", "Y"]})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"claim": "B", "of": "recomputed"}, "claim A, value: claim 'B' has no number that is recomputed"),
        ({"claim": "B", "of": "solved", "input": "gpus"}, "claim A, value: claim 'B' has no number that is solved for"),
        (
            {"price": "groq/llama-3.3-70b-versatile", "rate": "cache_read"},
            "claim A, value: 'groq/llama-3.3-70b-versatile' has no cache_read price for 2026-06-15",
        ),
    ],
)
def test_a_reference_to_what_is_not_known_is_an_error(value: dict[str, str], message: str) -> None:
    looking = {
        "id": "A", "formula": "given", "unit": "x", "stated": stated(1, "x"), "inputs": inputs(value={"value": value}),
    }  # fmt: skip
    with pytest.raises(InputError, match=message):
        audited({"id": "B", "kind": "report"}, looking)
    inside = {"id": "A", "kind": "report", "evidence": [{"name": "e", "formula": "given", "inputs": looking["inputs"]}]}
    with pytest.raises(InputError, match="claim A, evidence 'e', value: "):
        audited({"id": "B", "kind": "report"}, inside)


def test_references_to_facts_and_to_what_others_state() -> None:
    found = audited(
        {"id": "B", "formula": "given", "unit": "x", "stated": stated(7, "x"), "inputs": inputs(value=7)},
        {"id": "A", "formula": "given", "unit": "x", "stated": stated({"claim": "B", "of": "stated"}, "x"),
         "inputs": inputs(value={"value": {"hardware": "h100", "fact": "memory_gb"}})},
    )["A"]  # fmt: skip

    assert (found.stated, found.recomputed) == (7.0, 80.0)


def test_prices_of_a_long_call_are_those_of_its_tier() -> None:
    # GPT-5.4 above 272,000 tokens of input: 5 USD/M
    dated = {"value": {"price": "gpt-5.4", "rate": "input"}}
    api = inputs(input_tokens=[1000, 300_000], output_tokens=0, input_usd_per_mtok=dated, output_usd_per_mtok=0)
    found = one(formula="api_usd_per_query", stated=stated(1, "USD/query"), inputs=api)

    assert found.recomputed == pytest.approx((0.005, 1.5))


def lever(low: float, high: float, given: float | None = None, *, whole: bool = False) -> Lever:
    return Lever(name="x", unit="", given=given, low=low, high=high, is_whole=whole, change=lambda at: {"x": at})


def test_a_pole_is_not_taken_for_a_solution() -> None:
    """1 / (x − 2) crosses from minus to plus infinity at 2 and is 0 nowhere; it is 1 at 3."""
    pole = expression("1 / (x - 2)")

    assert solve(Problem(pole, {}, 0.0, ""), lever(1.0, 10.0)).value is None
    assert solve(Problem(pole, {}, 1.0, ""), lever(1.0, 10.0)).value == pytest.approx(3.0)


def test_of_several_solutions_the_nearest_is_taken_and_the_ends_count() -> None:
    parabola = expression("(x - 3) * (x - 7)")

    assert solve(Problem(parabola, {}, 0.0, ""), lever(1.0, 10.0, 6.0)).value == pytest.approx(7.0)
    assert solve(Problem(parabola, {}, 0.0, ""), lever(1.0, 10.0, 2.0)).value == pytest.approx(3.0)
    assert solve(Problem(expression("x * 1"), {}, 10.0, ""), lever(1.0, 10.0)).value == 10.0
    assert solve(Problem(expression("x * 3"), {}, 21.0, ""), lever(1.0, 10.0, whole=True)).value == 7.0
    nearly = Problem(expression("x * 3"), {}, 21.000000001, "")
    assert solve(nearly, lever(1.0, 10.0, whole=True)).value == 7.0


def test_what_is_no_arithmetic_cannot_be_a_formula() -> None:
    odd = expression("a if b else c")
    for use in (lambda: odd.value({"a": 1.0, "b": 1.0, "c": 1.0}), lambda: odd.words({})):
        with pytest.raises(AssertionError, match="not arithmetic"):
            use()
    assert "given" in FORMULAS
