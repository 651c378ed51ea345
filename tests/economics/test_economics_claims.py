"""The article's 29 claims: every recomputed number by hand, and what each verdict follows from."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from freehold.core.errors import InputError
from freehold.economics.claims.audit import audit
from freehold.economics.claims.reading import claims_book, shipped_claims

if TYPE_CHECKING:
    from freehold.economics.claims.finding import Audit, Finding

# Per query: GPT-5.4 1,000 × 2.50/M + 500 × 15/M = 0.0100; mini 0.00075 + 0.00225 = 0.0030; Opus 4.8 0.005 + 0.0125
# = 0.0175. C01's rate: (162,800 − 18,400) / (8 × 8,760) = 144,400 / 70,080 = 2.060502 USD/GPU-h.
TABLE: dict[str, tuple[str, Any, Any, str]] = {  # id: verdict, recomputed, ratio, unit
    # 18,400 + 8 × 2.06 × 8,760 = 162,764.80; 162,800 / 162,764.80 = 1.000216
    "C01": ("consistent", 162_764.80, 1.000216, "USD"),
    # 300,000 / 12 / 0.01
    "C02": ("under-specified", 2_500_000, None, "queries/month"),
    # 162,800 / 12 / 0.01
    "C03": ("contradicts", 1_356_666.67, None, "queries/month"),
    # 100,000 × 0.01
    "C04": ("inconsistent", 1_000, 2.0, "USD/month"),
    "C05": ("inconsistent", [1_000, 5_000], 10.0, "USD/month"),
    # 0.36 × 730; 260 / 262.8
    "C06": ("consistent", 262.80, 0.98935, "USD/month"),
    # C10 states 4 to 28; 500 / 28 and 2,000 / 4
    "C07": ("inconsistent", [4, 28], [17.857, 500], "USD"),
    # 500 / (1,000 − 262.8) and 2,000 / 737.2
    "C08": ("consistent", [0.67824, 2.71297], None, "months"),
    # 2 × 3,600 × 989e12 × 0.18 / (4 × 8,030,261,248); 8 × 3,600 × 989e12 × 0.30 / the same
    "C09": ("plausible", [39_903_559, 266_023_724], None, "tokens"),
    # 2 × 2 and 8 × 2; 28 / 16
    "C10": ("inconsistent", [4, 16], 1.75, "USD"),
    # 10,000 × 1,500 × 3 × 6 × 70.5537e9 / (312e12 × 0.266) / 3,600 × 2.060502 = 131.377, and ten times that
    "C11": ("overstated", [131.377, 1_313.77], [14.0055, 140.055], "USD"),
    # 2 × 730 / 0.01
    "C12": ("inconsistent", 146_000, 0.51370, "queries/month"),
    # 144,400 / 12 / 0.01
    "C13": ("inconsistent", 1_203_333.33, 0.29086, "queries/month"),
    # 1,460 / 0.003
    "C14": ("inconsistent", 486_666.67, 0.41096, "queries/month"),
    # 1,460 / 0.0175
    "C15": ("inconsistent", 83_428.57, 0.47945, "queries/month"),
    # 75,000 × 0.01 = 750, 200,000 × 0.003 = 600, 40,000 × 0.0175 = 700; 750 / 600
    "C16": ("inconsistent", [600, 750], 1.25, "USD/month"),
    # 262.8 / 0.01 to C13
    "C17": ("contradicts", [26_280, 1_203_333.33], None, "queries/month"),
    "C18": ("consistent", [4, 28], None, "USD"),
    # 88 − 70.5
    "C19": ("consistent", 17.5, 1.0, "points"),
    # 1 / (1 + 10^(−63/400)) = 1 / 1.69582
    "C20": ("consistent", 0.589684, None, "share of wins"),
    "C21": ("provenance", None, None, ""),
    "C22": ("unverifiable", None, None, ""),
    # 6 × 50e9 × 700e9 / (312e12 × 0.33) = 2.0396e9 GPU-s = 566,563 GPU-h; × 2.060502
    "C23": ("not-reproducible", 1_167_404, 8.56601, "USD"),
    "C24": ("unverifiable", None, None, ""),
    "C25": ("confirmed", 6, 1.0, "list prices"),
    "C26": ("rhetorical", None, None, ""),
    # 12,033.33 / (1,000 × 0.59/M + 500 × 0.79/M = 0.000985)
    "C27": ("omission", 12_216_582, None, "queries/month"),
    # about 26 queries/s × 3,600 × 730; the capacity model's own residual is 17 %
    "C28": ("omission", pytest.approx(68.8e6, rel=0.1), None, "queries/month"),
    # (1,460 + 0.25 × 194,300 × 1.3 / 12 = 5,262.29) / 0.01
    "C29": ("admitted", 672_229.17, None, "queries/month"),
}

# What has to be reached by solving, and what cannot be: id, input, value
SOLVED: list[tuple[str, str, float | None]] = [
    ("C01", "gpu_usd_per_hour", 2.060502),
    ("C02", "queries_per_month", 2_500_000),
    ("C03", "first_year_usd", 42_000),  # 350,000 × 0.01 × 12
    ("C04", "queries_per_month", 200_000),
    ("C05", "tokens_per_query", 15_000),  # 10,000 + 5,000
    ("C06", "gpu_usd_per_hour", 0.356164),  # 260 / 730
    ("C07", "labour_hours", None),  # 496 / (194,300 × 1.3 / 1,760) = 3.456 h: $500 to $524, not to $2,000
    ("C08", "queries_per_month", 92_946.67),  # (2,000 / 3 + 262.8) / 0.01
    ("C08", "other_usd_per_month", 70.5333),  # 737.2 − 2,000 / 3: no room for an engineer
    ("C05", "queries_per_month.low", None),  # 10,000 / 0.01 = 1,000,000, and 500,000 × 0.01 = 5,000, not 50,000
    ("C05", "queries_per_month.high", None),
    ("C05", "queries_per_month.both", 10.0),
    ("C07", "compute_usd.low", None),
    ("C07", "compute_usd.both", None),  # 500 / 4 = 125, 2,000 / 28 = 71.4
    ("C10", "gpu_usd_per_hour", None),  # 28 / 8 = 3.5, and 2 × 3.5 = 7, not 4
    ("C10", "gpu_hours.low", None),  # right as it is
    ("C10", "gpu_hours.high", 14.0),  # 28 / 2
    ("C12", "gpu_usd_per_hour", 1.027397),  # 75,000 × 0.01 / 730
    ("C12", "output_tokens_of_total", 1_257.33),  # (750 / 75,000 → 1,460 / 75,000 = 0.0194667 − 0.00375) / 12.5e-6
    ("C13", "gpu_usd_per_hour", 0.599315),  # 350,000 × 0.01 / 5,840
    ("C13", "output_tokens_of_total", None),  # all 1,500 as output: 12,033.33 / 0.0225 = 534,815 at the least
    ("C13", "gpus", None),  # 2.33 of them
    ("C14", "gpu_usd_per_hour", 0.821918),  # 200,000 × 0.003 / 730
    ("C15", "gpu_usd_per_hour", 0.958904),  # 40,000 × 0.0175 / 730
    ("C16", "C12.stated", None),
    ("C17", "stated.low", None),
    ("C29", "fte", 0.0),
    ("C29", "gpu_usd_per_hour", None),  # even free GPUs leave 5,262 / 0.01 = 526,229
]

EVIDENCE: list[tuple[str, str, float]] = [
    ("C11", "how long $18,400 rents eight A100", 46.5097),  # 18,400 / (8 × 2.060502) / 24 days
    ("C11", "how many tokens that trains", 6.30249e9),
    ("C11", "state of a full fine-tune", 1_128.86),  # 70.5537e9 × 16 bytes
    ("C11", "memory of eight A100", 640),
    ("C13", "at $2 an hour", 1_168_000),  # 8 × 2 × 730 / 0.01
    ("C13", "with the fine-tune of C01 spread over the year", 1_356_666.67),
    ("C22", "that fall by the year", 61.2702),  # 1 − 0.15^0.5
    ("C25", "a query at GPT-5.4, as priced here", 0.01),
    ("C26", "models that renters had to replace", 57),
    ("C27", "a query at the hosted Llama 3.3 70B", 0.000985),
    ("C29", "a quarter of an engineer", 5_262.29),
]


@pytest.fixture(scope="module")
def audited() -> Audit:
    return audit(shipped_claims())


def finding(audited: Audit, name: str) -> Finding:
    return next(each for each in audited.findings if each.claim.id == name)


def close(value: Any) -> Any:
    """Six digits; approximations and absences as they are."""
    if value is None or not isinstance(value, int | float | list):
        return value
    return pytest.approx(value, rel=2e-5)


@pytest.mark.parametrize("name", TABLE)
def test_the_table_of_the_article(audited: Audit, name: str) -> None:
    verdict, recomputed, ratio, unit = TABLE[name]
    record = finding(audited, name).as_record()

    assert record["verdict"] == verdict
    assert record["recomputed"] == close(recomputed)
    assert record["ratio"] == close(ratio)
    assert record["unit"] == unit
    assert record["text"]
    assert record["arithmetic"]
    assert record["reason"]


@pytest.mark.parametrize(("name", "lever", "value"), SOLVED)
def test_what_would_make_a_claim_true(audited: Audit, name: str, lever: str, value: float | None) -> None:
    solved = {each.input: each for each in finding(audited, name).solved}

    assert solved[lever].value == close(value)
    assert (value is None) == solved[lever].reason.startswith("unreachable: ")


@pytest.mark.parametrize(("name", "what", "value"), EVIDENCE)
def test_the_numbers_beside_a_claim(audited: Audit, name: str, what: str, value: float) -> None:
    exhibits = {each.name: each for each in finding(audited, name).evidence}

    assert exhibits[what].value == close(value)


def test_all_29_claims_are_there_in_order_and_every_one_says_what_it_was_computed_with(audited: Audit) -> None:
    assert [each.claim.id for each in audited.findings] == [f"C{number:02d}" for number in range(1, 30)] == list(TABLE)
    for each in audited.findings:
        for given in (*each.inputs, *(given for exhibit in each.evidence for given in exhibit.inputs)):
            assert given.source, f"{each.claim.id} {given.name}"
            assert given.unit


def test_the_rates_behind_the_break_evens_are_stated(audited: Audit) -> None:
    rates = {
        name: next(given for given in finding(audited, name).inputs if given.name == "gpu_usd_per_hour")
        for name in ("C12", "C13", "C14", "C15")
    }

    assert [rates[name].value for name in ("C12", "C14", "C15")] == [2.0, 2.0, 2.0]
    assert rates["C13"].value == pytest.approx(144_400 / 70_080, rel=1e-9)
    assert rates["C13"].source == "claim C01, solved for gpu_usd_per_hour"


def test_an_input_that_is_never_stated_is_solved_rounded_and_named(audited: Audit) -> None:
    first = finding(audited, "C01")
    rate = next(given for given in first.inputs if given.name == "gpu_usd_per_hour")

    assert rate.value == pytest.approx(2.06)
    assert not rate.is_stated
    assert first.notes[0].startswith("the rent of a GPU is never stated; $2.0605/GPU-h solves the claim, within")
    assert first.arithmetic == "$18,400 + 8 × $2.06 × 8,760 = $162,765"


def test_a_stated_input_outside_of_what_is_seen_is_noted(audited: Audit) -> None:
    notes = finding(audited, "C06").notes

    assert len(notes) == 1
    assert notes[0].startswith("the rent of a GPU is $0.36/GPU-h here; $0.69 to $1.22/GPU-h is seen (RTX 5090")


def test_arithmetic_is_made_from_the_inputs(audited: Audit) -> None:
    lines = {each.claim.id: each.arithmetic for each in audited.findings}

    assert lines["C12"] == ("1 × $2 × 730 / ((1,000 × $2.50 + 500 × $15) / 1,000,000) = 146,000 queries/month")
    assert lines["C10"] == "2–8 × $2 = $4 to $16"
    assert lines["C20"] == "1 / (1 + 10^((1,447 − 1,510) / 400)) = 0.589684 share of wins"
    assert lines["C02"].endswith("so queries_per_month = 2,500,000 queries/month")
    assert lines["C21"].startswith("Gemini 3 Pro: 2025-11-18 − 2025-04-07 = 225 days; Claude Opus 4.6: ")
    assert "2026-02-05 − 2025-04-07 = 304 days" in lines["C21"]
    assert lines["C24"].startswith("nothing to compute")
    assert lines["C25"].startswith("GPT-5.4, input $2.50 = $2.50 = $2.50 = $2.50; ")


def test_the_verdicts_name_what_they_follow_from(audited: Audit) -> None:
    reasons = {each.claim.id: each.reason for each in audited.findings}

    assert "3.88 times as much" in reasons["C03"]
    assert "C13" in reasons["C03"]
    assert "at the end that is further off" in reasons["C10"]
    assert "1.25 times" in reasons["C16"]
    for name in ("C06", "C12 as stated", "C15 as stated", "C13 recomputed"):
        assert name in reasons["C17"]
    assert "cannot have shown this" in reasons["C21"]
    assert "does not come cheap" in reasons["C29"]


def test_the_day_of_the_prices_can_be_moved_and_is_recorded() -> None:
    record = audit(shipped_claims(), as_of=date(2026, 8, 1)).as_record()

    assert record["inputs"] == {"file": "claims.yaml", "as_of": "2026-08-01"}
    sources = [given["source"] for given in record["claims"][3]["inputs"]]
    assert any(source.endswith("as of 2026-08-01") for source in sources)
    assert record["assumptions"]


def test_the_record_counts_the_verdicts_and_is_the_same_each_time(audited: Audit) -> None:
    record = audited.as_record()

    assert record["schema"] == "freehold.claims/1"
    assert sum(record["verdicts"].values()) == 29
    assert record["verdicts"]["inconsistent"] == 9
    assert record == audit(shipped_claims()).as_record()
    assert set(record["versions"]) == {"freehold", "price_catalogue"}


BOOK = """
source: a pitch
as_of: 2026-06-15
claims:
- id: A
  text: one machine is {stated} a month
  formula: machine_usd_per_month
  tolerance: 0.1
  stated: {{value: {stated}, unit: USD/month}}
  inputs:
    gpus: {{value: 1, unit: GPUs, source: the pitch}}
    gpu_usd_per_hour: {{value: {rate}, unit: USD/GPU-h, source: the pitch}}
    hours_per_month: {{value: 730, unit: h/month, source: definition}}
"""


def one(text: str) -> Finding:
    return audit(claims_book(text, name="pitch.yaml")).findings[0]


def test_the_verdict_turns_at_the_edge_of_the_tolerance() -> None:
    # 2 × 730 = 1,460; ten per cent of it are 146: 1,606 and 1,314 are the edges
    assert one(BOOK.format(stated=1606, rate=2)).verdict == "consistent"
    assert one(BOOK.format(stated=1606.01, rate=2)).verdict == "inconsistent"
    assert one(BOOK.format(stated=1314, rate=2)).verdict == "consistent"
    assert one(BOOK.format(stated=1313.99, rate=2)).verdict == "inconsistent"
    assert one(BOOK.format(stated=1606, rate=1.9999)).verdict == "inconsistent"


def test_claims_that_refer_to_each_other_in_a_circle_are_refused() -> None:
    circle = """
source: a pitch
as_of: 2026-06-15
claims:
- {id: A, text: a, formula: given, unit: USD, stated: {value: 1, unit: USD},
   inputs: {value: {value: {claim: B, of: recomputed}, unit: USD}}}
- {id: B, text: b, formula: given, unit: USD, stated: {value: 1, unit: USD},
   inputs: {value: {value: {claim: A, of: recomputed}, unit: USD}}}
"""
    with pytest.raises(InputError, match=r"pitch\.yaml: claims refer to each other in a circle: [AB] → [AB] → [AB]"):
        one(circle)
