from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage as CatalogueUsage
from genai_prices import calc_price
from genai_prices.data import providers
from genai_prices.types import ClauseEquals, ConditionalPrice, ModelInfo, ModelPrice, StartDateConstraint
from hypothesis import given
from hypothesis import strategies as st

from freehold.core.chat import Usage
from freehold.economics import catalogue
from freehold.economics.catalogue import Entry, catalogue_version
from freehold.economics.prices import NoPrice, Price, cost_of_call, find_price, price_of

JUNE = date(2026, 6, 15)


def priced(model: str, as_of: date = JUNE) -> Price:
    found = price_of(model, as_of, aliases={})
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("model", "usd"),
    [
        ("gpt-5.4", "0.0100"),  # 1,000 × 2.50/M + 500 × 15/M = 0.0025 + 0.0075
        ("gpt-5.4-mini", "0.0030"),  # 0.00075 + 500 × 4.50/M = 0.00075 + 0.00225
        ("claude-opus-4-8", "0.0175"),  # 0.005 + 500 × 25/M = 0.005 + 0.0125
    ],
)
def test_a_call_of_1000_and_500_tokens_costs_what_the_arithmetic_says(model: str, usd: str) -> None:
    usage = Usage(input_tokens=1000, output_tokens=500)
    assert cost_of_call(usage, priced(model)) == Decimal(usd)


def test_an_embedding_model_has_its_price_without_its_provider_in_front() -> None:
    price = priced("text-embedding-3-small")
    assert price.provider == "openai"
    assert cost_of_call(Usage(input_tokens=100, output_tokens=0), price) == Decimal("0.000002")


def test_a_price_says_where_it_comes_from_and_that_it_is_the_list_price() -> None:
    price = priced("gpt-5.4")
    record = price.as_record()
    assert (price.input_usd_per_mtok, price.output_usd_per_mtok) == (Decimal("2.5"), Decimal(15))
    assert record["tariff"] == "list"
    assert record["catalogue"] == catalogue_version() == price.catalogue
    assert record["source"].startswith("https://")
    assert (record["alias_of"], record["note"], record["valid_from"]) == (None, None, None)
    assert record["assumptions"] == [
        "the catalogue gives no first day for this rate; it is assumed to hold on 2026-06-15"
    ]
    assert record["cache_write_usd_per_mtok"] is None
    assert record["tiers"][0]["above_input_tokens"] == 272_000


def test_a_long_call_pays_the_higher_tier_for_all_of_its_tokens() -> None:
    price = priced("gpt-5.4")
    # 272,000 × 2.50/M = 0.68;  272,001 × 5/M = 1.360005
    assert cost_of_call(Usage(input_tokens=272_000, output_tokens=0), price) == Decimal("0.68")
    assert cost_of_call(Usage(input_tokens=272_001, output_tokens=0), price) == Decimal("1.360005")


def test_cached_input_is_cheaper_and_written_input_without_a_rate_is_plain_input() -> None:
    price = priced("gpt-5.4")
    # 600 × 2.50/M + 400 × 0.25/M = 0.0015 + 0.0001
    cached = Usage(input_tokens=1000, output_tokens=0, cache_read_tokens=400)
    assert cost_of_call(cached, price) == Decimal("0.0016")
    written = Usage(input_tokens=1000, output_tokens=0, cache_write_tokens=400)
    assert cost_of_call(written, price) == Decimal("0.0025")


@pytest.mark.parametrize(
    "usage",
    [
        Usage(output_tokens=5),
        Usage(input_tokens=5),
        Usage(input_tokens=5, output_tokens=1, cache_read_tokens=6),
        Usage(input_tokens=5, output_tokens=-1),
    ],
)
def test_unknown_or_contradicting_counts_have_no_cost(usage: Usage) -> None:
    assert cost_of_call(usage, priced("gpt-5.4")) is None


def test_an_unknown_model_has_no_price() -> None:
    assert price_of("a-model-nobody-sells", JUNE, aliases={}) is None
    assert price_of("nobody/a-model-nobody-sells", JUNE, aliases={}) is None


def test_an_alias_is_marked_as_an_assumption() -> None:
    price = price_of("house-model", JUNE, aliases={"house-model": "gpt-5.4-mini"})
    assert price is not None
    assert (price.model, price.alias_of, price.catalogue_model) == ("house-model", "gpt-5.4-mini", "gpt-5.4-mini")
    assert price.assumptions[0] == "house-model is billed like gpt-5.4-mini"


def test_a_name_may_carry_its_provider() -> None:
    price = priced("groq/llama-3.3-70b-versatile")
    assert price.provider == "groq"
    # 1,000 × 0.59/M + 500 × 0.79/M = 0.00059 + 0.000395
    assert cost_of_call(Usage(input_tokens=1000, output_tokens=500), price) == Decimal("0.000985")


def test_a_price_by_the_time_of_day_says_which_hour_was_taken() -> None:
    price = priced("deepseek-chat", date(2025, 6, 15))
    assert price.note == "the provider charges by the time of day; its rate at 12:00 UTC is used"


def test_a_dated_price_answers_for_its_own_days_only(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = ModelInfo(
        id="dated",
        match=ClauseEquals("dated"),
        prices=[
            ConditionalPrice(
                StartDateConstraint(date(2026, 2, 1)),
                prices=ModelPrice(input_mtok=Decimal(2), output_mtok=Decimal(4)),
            ),
            ConditionalPrice(
                StartDateConstraint(date(2026, 5, 1)),
                prices=ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(2)),
            ),
        ],
    )
    provider = next(provider for provider in providers if provider.id == "openai")
    monkeypatch.setattr(catalogue, "find", lambda _name, _provider: Entry(provider, entry, is_borrowed=False))
    before = find_price("dated", date(2026, 1, 31))
    assert isinstance(before, NoPrice)
    assert (before.lack, before.first_day) == ("not-dated", date(2026, 2, 1))
    assert "'dated' at openai has no rate for 2026-01-31; the first is from 2026-02-01" in before.sentence
    first = priced("dated", date(2026, 2, 1))
    assert (first.valid_from, first.next_change, first.assumptions) == (date(2026, 2, 1), date(2026, 5, 1), ())
    assert priced("dated", date(2026, 5, 1)).input_usd_per_mtok == 1


def test_what_is_not_priced_by_plain_tokens_has_no_price(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = ModelInfo(
        id="odd",
        match=ClauseEquals("odd"),
        prices=ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1), requests_kcount=Decimal(5)),
    )
    provider = next(provider for provider in providers if provider.id == "openai")
    monkeypatch.setattr(catalogue, "find", lambda _name, _provider: Entry(provider, odd, is_borrowed=False))
    found = find_price("odd", JUNE)
    assert isinstance(found, NoPrice)
    assert found.lack == "other-unit"
    assert price_of("odd", JUNE, aliases={}) is None


def test_a_model_without_an_output_rate_prices_calls_without_output_only() -> None:
    price = priced("openai/text-embedding-3-small")
    assert price.as_record()["output_usd_per_mtok"] is None
    # 1,000 × 0.02/M
    assert cost_of_call(Usage(input_tokens=1000, output_tokens=0), price) == Decimal("0.00002")
    assert cost_of_call(Usage(input_tokens=1000, output_tokens=1), price) is None


def test_a_name_that_carries_a_later_day_has_no_price_yet() -> None:
    found = find_price("gpt-4o-2024-08-06", date(2024, 8, 5))
    assert isinstance(found, NoPrice)
    assert (found.lack, found.first_day) == ("not-dated", date(2024, 8, 6))
    assert "its name says that it is of 2024-08-06" in found.sentence
    assert priced("gpt-4o-2024-08-06", date(2024, 8, 6)).catalogue_model == "gpt-4o"
    assert priced("claude-sonnet-4-5-20250929").input_usd_per_mtok == 3


def test_digits_in_a_name_that_are_no_day_do_not_matter() -> None:
    found = find_price("claude-sonnet-4-5-20260230", JUNE)
    assert isinstance(found, Price)


def test_an_unknown_name_is_told_how_to_be_written() -> None:
    found = find_price("no-such-model", JUNE, aliases={"ours": "no-such-model"}, provider="openai")
    assert isinstance(found, NoPrice)
    assert found.lack == "unknown-model"
    assert "'no-such-model' has no price in genai-prices" in found.sentence
    assert "at 'openai'" in found.sentence
    aliased = find_price("ours", JUNE, aliases={"ours": "no-such-model"})
    assert isinstance(aliased, NoPrice)
    assert "'no-such-model' (for 'ours') has no price" in aliased.sentence


def test_a_day_after_the_catalogue_was_last_seen_whole_is_an_assumption(monkeypatch: pytest.MonkeyPatch) -> None:
    late = priced("gpt-5.4", date(2099, 1, 1))
    assert "may be older than 2099-01-01 (its last known day is 2026-11-23)" in late.assumptions[1]
    monkeypatch.setattr(catalogue, "newest_on", lambda: None)
    assert "(nobody has looked)" in priced("gpt-5.4").assumptions[1]


@given(
    model=st.sampled_from(["gpt-5.4", "claude-opus-4-8", "claude-sonnet-4-5", "gemini-2.5-pro", "gpt-6-luna"]),
    plain=st.integers(0, 400_000),
    read=st.integers(0, 100_000),
    output=st.integers(0, 50_000),
)
def test_our_arithmetic_agrees_with_the_catalogues_own(model: str, plain: int, read: int, output: int) -> None:
    moment = datetime(2026, 6, 15, 12, tzinfo=UTC)
    theirs = calc_price(
        CatalogueUsage(input_tokens=plain + read, cache_read_tokens=read, output_tokens=output),
        model,
        genai_request_timestamp=moment,
    )
    ours = cost_of_call(Usage(input_tokens=plain + read, output_tokens=output, cache_read_tokens=read), priced(model))
    assert ours == theirs.total_price


def test_a_provider_may_be_said_twice() -> None:
    for name, provider in (("openai/text-embedding-3-small", "openai"), ("Anthropic/claude-opus-4-8", "anthropic")):
        found = find_price(name, date(2026, 11, 20), provider=provider)
        assert isinstance(found, Price)
        assert found.provider == provider
    assert isinstance(find_price("openai/", date(2026, 11, 20), provider="openai"), NoPrice)


def test_a_name_without_a_price_is_never_offered_itself() -> None:
    missing = find_price("anthropic/claude-opus-4-8", date(2026, 11, 20), provider="openai")
    assert isinstance(missing, NoPrice)
    near = missing.advice("anthropic/claude-opus-4-8").partition("Nearest: ")[2]
    assert near
    assert "anthropic/claude-opus-4-8" not in near.rstrip(".").split(", ")


def test_an_output_that_nobody_counted_is_none_where_it_has_no_rate() -> None:
    embeddings, chat = (find_price(name, date(2026, 11, 20)) for name in ("text-embedding-3-small", "gpt-5.4"))
    assert isinstance(embeddings, Price)
    assert isinstance(chat, Price)
    assert cost_of_call(Usage(input_tokens=1_000_000), embeddings) == Decimal("0.02")
    assert cost_of_call(Usage(input_tokens=1_000_000), chat) is None
