"""1,577 recorded bodies with genai-prices' own results: agreements counted exactly, each difference explained."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from freehold.economics.bodies import GivenBody, PricedBody, Terms, price_body
from freehold.economics.recorded_results import Compared, compare_recorded, verdict_on_row

if TYPE_CHECKING:
    from pathlib import Path

AUGUST = Terms(as_of=date(2026, 8, 21), aliases={})
BODY = {"model": "gpt-5.4", "usage": {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}}
USAGE = {"input_tokens": 1000, "output_tokens": 500}


def results(body: dict[str, Any], *extractors: dict[str, str], usage: Any = USAGE) -> list[Compared]:
    return compare_recorded(GivenBody(index=0, body=body), [{"usage": usage, "extractors": list(extractors)}], AUGUST)


def said(provider: str, price: tuple[str, str] | None) -> dict[str, str]:
    flavor = {"provider_id": provider, "api_flavor": "chat"}
    return flavor if price is None else {**flavor, "input_price": price[0], "output_price": price[1]}


@pytest.mark.parametrize(
    ("body", "extractor", "usage", "verdict"),
    [
        (BODY, said("openai", ("0.0025", "0.0075")), USAGE, "equal"),
        (BODY, said("anthropic", None), USAGE, "both-unpriced"),
        (BODY, said("openai", None), USAGE, "unpriced-there"),
        (BODY, said("anthropic", ("0.0025", "0.0075")), USAGE, "unpriced-here"),
        (BODY, said("openai", ("0.0025", "0")), {"input_tokens": 1000}, "tokens"),  # read as an embedding
        (BODY, said("openai", ("0.1", "0.2")), USAGE, "rate"),
        (BODY, said("openai", ("0.1", "0.2")), None, "rate"),
        ({**BODY, "service_tier": "flex"}, said("openai", ("0.0025", "0.0075")), USAGE, "tariff"),
        # mistral-medium-latest: 0.40/2.00 until 2026-06-15, then 1.50/7.50: 1,000 × 0.4/M and 500 × 2/M
        ({**BODY, "model": "mistral-medium-latest"}, said("mistral", ("0.0004", "0.001")), USAGE, "dated"),
    ],
)
def test_each_recorded_result_has_a_verdict(
    body: dict[str, Any], extractor: dict[str, str], usage: Any, verdict: str
) -> None:
    (found,) = results(body, extractor, usage=usage)
    assert found.verdict == verdict


@pytest.mark.parametrize("extracted", [None, 3, [3], [{}], [{"extractors": 5}], [{"extractors": [7]}]])
def test_results_of_another_form_are_passed_over(extracted: object) -> None:
    assert compare_recorded(GivenBody(index=0, body=BODY), extracted, AUGUST) == []


def test_a_result_that_is_no_number_is_no_price() -> None:
    (found,) = results(BODY, said("openai", ("cheap", "free")))
    assert (found.theirs, found.verdict) == (None, "unpriced-there")


@pytest.mark.parametrize(
    ("body", "extractors", "verdict"),
    [
        (BODY, (), None),
        (BODY, (said("azure", ("0.0025", "0.0075")),), "equal"),
        (BODY, (said("openai", ("1", "1")), said("azure", ("0.0025", "0.0075"))), "rate"),
        (BODY, (said("openai", None),), "unpriced-there"),
        ({"usage": {"prompt_tokens": 1}}, (said("openai", None),), "both-unpriced"),
        ({"model": "nobody-sells-this", "usage": {"prompt_tokens": 1}}, (said("openai", ("1", "1")),), "unpriced-here"),
        ({**BODY, "service_tier": "flex"}, (said("openai", ("1", "1")),), "tariff"),
    ],
)
def test_a_row_has_the_verdict_of_its_own_provider(
    body: dict[str, Any], extractors: tuple[dict[str, str], ...], verdict: str | None
) -> None:
    row = price_body(GivenBody(index=0, body=body), AUGUST)
    assert verdict_on_row(row, results(body, *extractors)) == verdict


def _recorded(shared_data: Path) -> list[tuple[GivenBody, Any]]:
    rows = json.loads((shared_data / "prices_genai" / "usages.json").read_text(encoding="utf-8"))
    return [(GivenBody(index=index, body=row["body"]), row["extracted"]) for index, row in enumerate(rows)]


def test_the_recorded_results_agree_with_ours_but_for_these(shared_data: Path) -> None:
    entries: Counter[str] = Counter()
    verdicts: Counter[str | None] = Counter()
    for given, extracted in _recorded(shared_data):
        compared = compare_recorded(given, extracted, AUGUST)
        entries.update(result.verdict for result in compared)
        verdicts[verdict_on_row(price_body(given, AUGUST), compared)] += 1

    # One row a body, priced at the seller that the body tells or the model's maker.
    assert verdicts == {
        "equal": 1216,
        "both-unpriced": 269,
        "dated": 64,  # the catalogue learned later of rates from 2026-06-16 (Mistral) and 2026-08-21 (GPT-5.6 sol)
        "unpriced-here": 16,  # 17 models of several sellers, 2 that an empty price makes free there
        "unpriced-there": 10,  # new in the catalogue since
        "tariff": 1,  # a flex call, priced by the list there
        "rate": 1,
    }
    # Every API form and every provider that a body happens to fit.
    assert entries == {
        "both-unpriced": 15682,
        "equal": 2984,
        "tokens": 391,
        "unpriced-there": 165,
        "dated": 92,
        "rate": 3,
        "unpriced-here": 3,
        "tariff": 1,
    }


def test_where_the_same_body_is_read_otherwise_it_was_read_in_the_words_of_another_api(shared_data: Path) -> None:
    """The verdict `tokens`: an embedding's form that knows no output, or Mistral's own word for cached input."""
    for given, extracted in _recorded(shared_data):
        for group in extracted:
            for result in compare_recorded(given, [group], AUGUST):
                if result.verdict == "tokens":
                    ours = result.ours.found
                    assert ours is not None
                    theirs = group["usage"]
                    is_without_output = theirs.get("output_tokens") is None and ours.usage.output_tokens != 0
                    counts = (ours.usage.input_tokens, ours.usage.output_tokens)
                    is_other_sum = (theirs.get("input_tokens"), theirs.get("output_tokens")) != counts
                    is_other_cache = (theirs.get("cache_read_tokens") or 0) != (ours.usage.cache_read_tokens or 0)
                    is_other_part = bool(ours.finer)
                    assert is_without_output or is_other_sum or is_other_cache or is_other_part, given.index


def test_an_empty_price_of_the_catalogue_is_unknown_here_and_zero_there(shared_data: Path) -> None:
    zero = [
        (result.provider, result.ours.reason)
        for given, extracted in _recorded(shared_data)
        for result in compare_recorded(given, extracted, AUGUST)
        if result.theirs == (Decimal(0), Decimal(0)) and result.ours.total_usd is None
    ]
    assert zero == [("cerebras", "other-unit"), ("cerebras", "other-unit"), ("openrouter", "other-unit")]


def test_openrouters_own_bill_agrees_where_the_catalogue_has_its_rate_of_the_day(shared_data: Path) -> None:
    """An independent witness: 41 bodies say what they cost."""
    rows: list[PricedBody] = [price_body(given, AUGUST) for given, _ in _recorded(shared_data)]
    told = [row for row in rows if row.reported_usd is not None]
    near = [
        row for row in told if row.total_usd is not None and abs(float(row.total_usd) - (row.reported_usd or 0)) < 1e-9
    ]
    assert len(told) == 41
    assert len(near) >= 25, (len(near), [(row.model, row.total_usd, row.reported_usd) for row in told])
