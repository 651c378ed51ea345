from __future__ import annotations

from typing import Any

import pytest

from freehold.report.findings import (
    comparison_finding,
    cost_finding,
    difference_finding,
    margin_words,
    next_measurement_words,
    quality_finding,
    standing,
    verdict_sentence,
    verdict_words,
)


def comparison(low: float | None, high: float | None, **more: Any) -> dict[str, Any]:  # Any: JSON
    difference = None if low is None or high is None else (low + high) / 2
    return {
        "candidate": "mine",
        "against": "theirs",
        "difference": difference,
        "ci_low": low,
        "ci_high": high,
        "margin": 0.02,
        "non_inferior": low is not None and low > -0.02,
        "n": 200,
        **more,
    }


def evaluation(*comparisons: dict[str, Any], baseline: float = 0.5) -> dict[str, Any]:
    contenders = [
        {"name": "mine", "kind": "own", "value": 0.9},
        {"name": "theirs", "kind": "rented", "value": 0.92},
        {"name": "linear", "kind": "baseline", "value": baseline},
    ]
    return {"contenders": contenders, "comparisons": comparisons, "n": 200, "margin": 0.02}


@pytest.mark.parametrize(
    ("low", "high", "stands", "in_table", "sentence"),
    [
        (0.01, 0.05, "better", "better", "The own model beats the rented one by 3.0 points."),
        (
            -0.01,
            0.03,
            "good-enough",
            "good enough: at most 2 points worse",
            "The own model is at most 2 points worse than the rented one.",
        ),
        (
            -0.09,
            -0.03,
            "too-low",
            "more than 2 points worse",
            "The own model is 6.0 points worse than the rented one, and 2 points were allowed.",
        ),
        (
            -0.09,
            0.03,
            "open",
            "open",
            "200 cases leave open whether the own model stays within 2 points of the rented one.",
        ),
        (
            None,
            None,
            "open",
            "open",
            "200 cases leave open whether the own model stays within 2 points of the rented one.",
        ),
    ],
)
def test_a_finding_follows_from_where_the_interval_lies(
    low: float | None, high: float | None, stands: str, in_table: str, sentence: str
) -> None:
    compared = comparison(low, high)
    assert standing(compared) == stands
    assert comparison_finding(compared) == in_table
    assert quality_finding(evaluation(compared)) == sentence


def test_an_open_comparison_says_how_many_cases_would_tell() -> None:
    compared = comparison(-0.09, 0.03, cases_needed=1147)
    assert comparison_finding(compared) == "open: about 1,150 cases would tell"


def test_a_baseline_as_good_as_the_own_model_is_no_secret() -> None:
    finding = quality_finding(evaluation(comparison(0.01, 0.05), baseline=0.9))
    assert finding == (
        "The own model beats the rented one by 3.0 points; a simple baseline (linear) does no worse than the own model."
    )


def test_without_rented_answers_the_own_value_stands_alone() -> None:
    record = evaluation()
    assert quality_finding(record) == ("The own model reaches 90.0 %; no rented answers were there to compare with.")
    assert difference_finding(record) == "No own model was compared with the rented one."


def test_without_an_own_model_nothing_was_measured() -> None:
    assert quality_finding({"contenders": [{"name": "theirs", "kind": "rented", "value": 1}]}) == (
        "No own model was measured."
    )


def test_a_difference_is_told_with_its_interval() -> None:
    assert difference_finding(evaluation(comparison(-0.09, 0.03))) == (
        "Own minus rented is −3.0 points, and may be anything from −9.0 to +3.0 points."
    )


@pytest.mark.parametrize(
    ("margin", "words"),
    [(0.02, "2 points"), (0.01, "1 point"), (0.025, "2.5 points"), (None, "not measured")],
)
def test_a_margin_has_no_sign(margin: float | None, words: str) -> None:
    assert margin_words(margin) == words


@pytest.mark.parametrize(
    ("breakeven", "sentence"),
    [
        (
            {"p5": 4.3e6, "p50": 9.64e6, "p95": 2.2e7},
            "Owning costs less from about 9.64 M queries a month (90 % of draws: 4.3 M to 22 M); today it is 1,010.",
        ),
        (
            {"p5": 4.3e6, "p50": 9.64e6, "p95": None},
            "Owning costs less from about 9.64 M queries a month (90 % of draws: 4.3 M to never); today it is 1,010.",
        ),
        (9.64e6, "Owning costs less from about 9.64 M queries a month; today it is 1,010."),
        (None, "No volume was found from which owning costs less than renting; today it is 1,010."),
    ],
)
def test_a_cost_finding_names_the_volume_and_today(breakeven: Any, sentence: str) -> None:
    assert cost_finding({"queries_per_month": 1010, "breakeven_queries_per_month": breakeven}) == sentence


def test_a_cost_finding_without_a_volume_of_today() -> None:
    assert cost_finding({}) == "No volume was found from which owning costs less than renting."


@pytest.mark.parametrize(
    ("verdict", "opening"),
    [
        ("own", "Own triage"),
        ("hybrid", "Own triage and send unsure cases to the rented model"),
        ("rent-open", "Rent an open model for triage"),
        ("rent-tuned", "Rent a tuned model for triage"),
        ("stay-renting", "Stay renting triage"),
        ("undecided", "Undecided on triage"),
        ("something-new", "something-new on triage"),
    ],
)
def test_the_sentence_opens_with_the_verdict(verdict: str, opening: str) -> None:
    assert verdict_sentence({"task": "triage", "verdict": verdict}) == f"{opening}."
    assert verdict_words("stay-renting") == "Stay renting"


def test_the_sentence_gives_cost_and_quality() -> None:
    cost = {
        "queries_per_month": 5000,
        "options": [
            {"name": "rent", "usd_per_month": {"p50": 120.4}},
            {"name": "own", "usd_per_month": None},
        ],
    }
    quality = evaluation(comparison(-0.09, 0.03)) | {"cascade": {"escalated_share": 0.123}}
    decision = {"task": "triage", "verdict": "hybrid", "inputs": {"cost": cost, "evaluation": quality}}
    assert verdict_sentence(decision) == (
        "Own triage and send 12.3 % of the cases to the rented model: at 5,000 queries a month renting costs "
        "$120 and owning an unknown amount; 200 cases leave open whether the own model stays within 2 points "
        "of the rented one."
    )


def test_the_sentence_goes_on_in_lower_case() -> None:
    quality = evaluation(comparison(0.01, 0.05))
    decision = {"task": "triage", "verdict": "own", "inputs": {"evaluation": quality}}
    assert verdict_sentence(decision) == "Own triage: the own model beats the rented one by 3.0 points."


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        ({}, "none is needed"),
        ({"next_measurement": "own-model"}, "tune an own model and evaluate it"),
        (
            {
                "next_measurement": "more-test-cases",
                "next_measurement_detail": {"cases": 1147, "cases_now": 180},
            },
            "collect more test cases (about 1,150 cases in all; there are 180 now)",
        ),
        (
            {"next_measurement": "rented-answers", "next_measurement_detail": {"cases": 400}},
            "record the rented model's answers to the test cases (about 400 cases in all)",
        ),
        (
            {"next_measurement": "price", "next_measurement_detail": {"prices": ["rent", "own"]}},
            "find the missing price: rent, own",
        ),
        ({"next_measurement": "something-new"}, "something-new"),
    ],
)
def test_the_next_measurement_says_how_much(decision: dict[str, Any], words: str) -> None:
    assert next_measurement_words(decision) == words
