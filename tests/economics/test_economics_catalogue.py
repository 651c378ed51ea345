"""Tariffs, sellers and days of the catalogue: each of its silent answers must be a spoken one here."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from genai_prices import Usage as CatalogueUsage
from genai_prices import calc_price
from hypothesis import given
from hypothesis import strategies as st

from freehold.core.chat import Usage
from freehold.economics import catalogue
from freehold.economics.catalogue import Missing, Stored, find, nearest, provider_named, sellers, stored_on
from freehold.economics.prices import NoPrice, Price, cost_of_call, find_price

JUNE, NOVEMBER = date(2026, 6, 15), date(2026, 11, 1)


def test_batch_before_its_first_day_is_refused_where_the_catalogue_gives_the_list_price() -> None:
    moment = datetime(2026, 6, 15, 12, tzinfo=UTC)
    usage = CatalogueUsage(input_tokens=1000, output_tokens=500)
    silent = calc_price(usage, "gpt-5.4", genai_request_timestamp=moment, price_context={"processing": "batch"})
    assert silent.total_price == Decimal("0.01")  # 1,000 × 2.50/M + 500 × 15/M: the list price

    found = find_price("gpt-5.4", JUNE, tariff="batch")

    assert isinstance(found, NoPrice)
    assert (found.lack, found.first_day) == ("not-dated", date(2026, 10, 14))
    assert "has no batch rate for 2026-06-15; the first is from 2026-10-14. Ask for a later day" in found.sentence


@pytest.mark.parametrize(
    ("model", "tariff", "first", "usd"),
    [
        ("gpt-5.4", "batch", date(2026, 10, 14), "0.005"),  # 1,000 × 1.25/M + 500 × 7.5/M
        ("gpt-5.4", "flex", date(2026, 10, 12), "0.005"),
        ("gpt-5.4", "priority", date(2026, 10, 12), "0.02"),  # 1,000 × 5/M + 500 × 30/M
        ("claude-opus-4-8", "batch", date(2026, 10, 14), "0.00875"),  # 1,000 × 2.5/M + 500 × 12.5/M
    ],
)
def test_a_tariff_begins_on_its_own_first_day(model: str, tariff: catalogue.Tariff, first: date, usd: str) -> None:
    assert isinstance(find_price(model, first - timedelta(days=1), tariff=tariff), NoPrice)
    price = find_price(model, first, tariff=tariff)
    assert isinstance(price, Price)
    assert (price.valid_from, price.tariff) == (first, tariff)
    assert cost_of_call(Usage(input_tokens=1000, output_tokens=500), price) == Decimal(usd)


def test_long_calls_of_a_tariff_have_their_own_tier() -> None:
    price = find_price("gpt-5.4", NOVEMBER, tariff="batch")
    assert isinstance(price, Price)
    # 272,001 × 2.50/M = 0.6800025; up to 272,000 it is 1.25/M
    assert cost_of_call(Usage(input_tokens=272_001, output_tokens=0), price) == Decimal("0.6800025")
    assert cost_of_call(Usage(input_tokens=272_000, output_tokens=0), price) == Decimal("0.34")


def test_a_rate_that_a_tariff_leaves_out_is_the_lists_and_says_so() -> None:
    price = find_price("gemini-2.5-pro", NOVEMBER, tariff="batch")
    assert isinstance(price, Price)
    assert (price.input_usd_per_mtok, price.rates.cache_read_usd_per_mtok) == (Decimal("0.625"), Decimal("0.125"))
    assert "the batch tariff states no rate of its own for cache read: the list rate is used there" in price.assumptions


def test_a_seller_without_own_rates_has_the_makers_as_an_assumption_and_no_tariff() -> None:
    price = find_price("azure/gpt-5.4", NOVEMBER)
    assert isinstance(price, Price)
    assert (price.provider, price.input_usd_per_mtok) == ("azure", Decimal("2.5"))
    assert "the catalogue has no rates of azure for it; those of its maker are assumed" in price.assumptions
    batch = find_price("azure/gpt-5.4", NOVEMBER, tariff="batch")
    assert isinstance(batch, NoPrice)
    assert (batch.lack, batch.first_day) == ("no-tariff", None)
    assert "has no batch rate; none is known. Use the list tariff" in batch.sentence


def test_a_prefix_that_is_no_provider_but_looks_like_one_is_told() -> None:
    price = find_price("bedrock/claude-opus-4-8", JUNE)
    assert isinstance(price, Price)
    assert price.note == "'bedrock' is taken for the provider aws; the rate is that of regional endpoints"
    assert isinstance(find_price("nobody-at-all/gpt-5.4", JUNE), NoPrice)


def test_a_prefix_that_is_a_provider_decides() -> None:
    found = find("openrouter/google/gemini-2.5-flash")
    assert found is not None
    assert found.provider.id == "openrouter"
    as_it_is = find("claude-2/as-it-is")
    assert as_it_is is not None
    assert (as_it_is.provider.id, as_it_is.taken_for) == ("anthropic", None)
    assert find("meta-llama/nothing") is None
    assert find("gpt-5.4", "nobody") is None


def test_every_entry_is_found_by_its_provider_and_id() -> None:
    for entry in catalogue.entries():
        assert find(entry.model.id, entry.provider.id) is not None, (entry.provider.id, entry.model.id)


def test_providers_are_known_by_their_own_id_alone() -> None:
    assert provider_named(" OpenAI ") == "openai"
    assert provider_named("my-openai-proxy") is None


def test_sellers_of_a_name_and_names_like_it() -> None:
    assert "groq" in sellers("llama-3.3-70b-versatile")
    assert sellers("nobody-sells-this") == ()
    assert nearest("gpt-5.4-mimi")[0] == "gpt-5.4-mini"
    assert nearest("\N{SNOWMAN}" * 40) == []


def test_the_version_that_is_locked_has_a_day_on_which_it_was_the_newest() -> None:
    assert catalogue.newest_on() == date(2026, 11, 23)


def test_a_model_without_any_rate_on_a_day_has_no_tariff_either() -> None:
    dated = [entry for entry in catalogue.entries() if isinstance(stored_on(entry, date(1999, 1, 1), "list"), Missing)]
    assert all(isinstance(stored_on(entry, date(1999, 1, 1), "batch"), Missing) for entry in dated)


def test_every_entry_answers_for_every_tariff_without_falling_over() -> None:
    for entry in catalogue.entries():
        for tariff in catalogue.TARIFFS:
            found = stored_on(entry, NOVEMBER, tariff)
            assert isinstance(found, Stored | Missing)
            if isinstance(found, Stored) and found.valid_from is not None:
                assert found.valid_from <= NOVEMBER
            if isinstance(found, Stored) and found.next_change is not None:
                assert found.next_change > NOVEMBER


@given(
    model=st.sampled_from(["gpt-5.4", "claude-opus-4-8", "claude-sonnet-4-5", "gemini-2.5-pro", "gpt-5.6-sol"]),
    tariff=st.sampled_from(["batch", "flex", "priority"]),
    day=st.dates(date(2026, 1, 1), date(2027, 3, 1)),
    tokens=st.tuples(st.integers(0, 400_000), st.integers(0, 100_000), st.integers(0, 50_000)),
)
def test_where_there_is_a_tariff_it_is_the_catalogues_and_elsewhere_there_is_none(
    model: str, tariff: catalogue.Tariff, day: date, tokens: tuple[int, int, int]
) -> None:
    plain, read, output = tokens
    found = find_price(model, day, tariff=tariff)
    standard = find_price(model, day)
    assert isinstance(standard, Price)
    usage = Usage(input_tokens=plain + read, output_tokens=output, cache_read_tokens=read)
    theirs = calc_price(
        CatalogueUsage(input_tokens=plain + read, cache_read_tokens=read, output_tokens=output),
        model,
        genai_request_timestamp=datetime(day.year, day.month, day.day, 12, tzinfo=UTC),
        price_context=dict(catalogue.TARIFFS[tariff]),
    )
    if isinstance(found, Price):
        assert cost_of_call(usage, found) == theirs.total_price
    else:
        assert cost_of_call(usage, standard) == theirs.total_price  # theirs is the list price, in silence
        assert found.first_day is None or found.first_day > day
