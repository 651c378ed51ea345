"""What recorded bodies cost: every token once, each at its own rate, and no price where a part is unknown."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from genai_prices import Usage as CatalogueUsage
from genai_prices import calc_price
from hypothesis import given
from hypothesis import strategies as st

from freehold.core.chat import Usage
from freehold.economics.billing import Bill, bill_of
from freehold.economics.bodies import GivenBody, PricedBody, Terms, price_body
from freehold.economics.overrides import parse_overrides
from freehold.economics.prices import Price, cost_of_call, find_price
from freehold.economics.usage import Recorded

JUNE = date(2026, 6, 15)
TERMS = Terms(as_of=JUNE, aliases={})


def priced(body: dict[str, Any], terms: Terms = TERMS, **known: Any) -> PricedBody:
    return price_body(GivenBody(index=0, body=body, **known), terms)


def price(model: str, **asked: Any) -> Price:
    found = find_price(model, JUNE, **asked)
    assert isinstance(found, Price)
    return found


def bill(usage: Usage, rates: Price, **finer: int) -> Bill:
    found = bill_of(Recorded(dialect="openai-chat", usage=usage, finer=tuple(finer.items())), rates)
    assert isinstance(found, Bill)
    return found


def test_audio_and_video_have_rates_of_their_own() -> None:
    # gemini-2.0-flash: text and video 0.10/M, audio 0.70/M, output 0.40/M
    # (14 + 3,096) × 0.10/M + 1,500 × 0.70/M = 0.000311 + 0.00105; 101 × 0.40/M = 0.0000404
    one = bill(Usage(4610, 101), price("gemini-2.0-flash"), input_audio_tokens=1500, input_video_tokens=3096)
    assert (one.input_usd, one.output_usd) == (Decimal("0.001361"), Decimal("0.0000404"))


def test_cached_audio_is_taken_out_of_the_cached_and_of_the_audio_tokens() -> None:
    rates = price("gemini-2.0-flash")
    own = dict(rates.rates.finer)
    # 1,000 input: 300 audio of which 100 cached, 250 cached in all: 200 fresh audio, 100 cached audio,
    # 150 cached text, 550 fresh text
    expected = (
        200 * own["input_audio_mtok"]
        + 100 * own["cache_audio_read_mtok"]
        + 150 * (rates.rates.cache_read_usd_per_mtok or Decimal(0))
        + 550 * rates.rates.input_usd_per_mtok
    ) / 1_000_000
    found = bill(Usage(1000, 0, 250), rates, input_audio_tokens=300, cache_audio_read_tokens=100)
    assert found.input_usd == expected


def test_an_hour_in_the_cache_costs_more_than_five_minutes() -> None:
    # claude-opus-4-8: written 6.25/M, for an hour 10/M, plain 5/M
    # 100 × 10/M + 200 × 6.25/M + 700 × 5/M = 0.001 + 0.00125 + 0.0035
    found = bill(Usage(1000, 0, None, 300), price("claude-opus-4-8"), cache_write_1h_tokens=100)
    assert found.input_usd == Decimal("0.00575")


def test_searches_are_billed_beside_the_tokens() -> None:
    found = bill(Usage(10, 10), price("claude-opus-4-8"), web_searches=3)
    assert found.searches_usd == Decimal("0.03")  # 3 × 10/1,000
    assert found.total_usd == found.input_usd + found.output_usd + Decimal("0.03")
    without = bill(Usage(10, 10), price("mistral/mistral-large-latest"), web_searches=3)
    assert (without.searches_usd, without.total_usd) == (None, None)


@pytest.mark.parametrize(
    ("usage", "finer", "why"),
    [
        (Usage(None, 5), {}, "the body does not count its input"),
        (Usage(5, None), {}, "the body does not count its output"),
        (Usage(5, 5), {"input_audio_tokens": 6}, "the parts of the body's counts exceed their whole"),
        (Usage(5, 5), {"output_audio_tokens": 6}, "exceed their whole"),
    ],
)
def test_a_call_that_cannot_be_counted_has_no_bill(usage: Usage, finer: dict[str, int], why: str) -> None:
    found = bill_of(Recorded(dialect="gemini", usage=usage, finer=tuple(finer.items())), price("gpt-5.4"))
    assert isinstance(found, str)
    assert why in found


@given(
    model=st.sampled_from(["gpt-5.4", "claude-sonnet-4-5", "gemini-2.5-flash", "gpt-5.6-sol"]),
    counts=st.tuples(*[st.integers(0, 300_000)] * 4),
    audio=st.tuples(st.integers(0, 5000), st.integers(0, 5000)),
)
def test_our_bill_is_the_catalogues_own(model: str, counts: tuple[int, int, int, int], audio: tuple[int, int]) -> None:
    plain, read, written, output = counts
    fresh_audio, cached_audio = audio
    total = plain + read + written + fresh_audio + cached_audio
    names: dict[str, int] = {
        "input_tokens": total,
        "output_tokens": output,
        "cache_read_tokens": read + cached_audio,
        "cache_write_tokens": written,
        "input_audio_tokens": fresh_audio + cached_audio,
        "cache_audio_read_tokens": cached_audio,
    }
    theirs = calc_price(CatalogueUsage(**names), model, genai_request_timestamp=datetime(2026, 6, 15, 12, tzinfo=UTC))
    ours = bill(
        Usage(total, output, read + cached_audio, written),
        price(model),
        input_audio_tokens=fresh_audio + cached_audio,
        cache_audio_read_tokens=cached_audio,
    )
    assert (ours.input_usd, ours.output_usd) == (theirs.input_price, theirs.output_price)


@given(counts=st.tuples(st.integers(0, 400_000), st.integers(0, 9999), st.integers(0, 9999), st.integers(0, 9999)))
def test_a_text_call_costs_what_cost_of_call_says(counts: tuple[int, int, int, int]) -> None:
    plain, read, written, output = counts
    usage = Usage(plain + read + written, output, read, written)
    for model in ("gpt-5.4", "claude-opus-4-8"):
        assert bill(usage, price(model)).total_usd == cost_of_call(usage, price(model))


OPENAI: dict[str, Any] = {
    "model": "gpt-5.4",
    "usage": {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500},
}


def test_a_body_is_priced_and_says_whose_price_was_assumed() -> None:
    row = priced(OPENAI)
    assert (row.input_usd, row.output_usd, row.other_usd) == (Decimal("0.0025"), Decimal("0.0075"), Decimal(0))
    assert (row.total_usd, row.reason, row.provider, row.provider_is) == (Decimal("0.01"), None, "openai", "assumed")
    assert row.assumptions[-1] == "nobody states who sold it; it is taken for a call to openai"
    record = row.as_record()
    assert (record["total_usd"], record["as_of"], record["input_tokens"]) == (0.01, "2026-06-15", 1000)
    stated = priced(OPENAI, provider="Azure")
    assert (stated.provider, stated.provider_is) == ("azure", "stated")
    assert not any("nobody states" in line for line in stated.assumptions)
    proxy = priced(OPENAI, provider="my-openai-proxy")
    assert (proxy.provider, proxy.total_usd) == ("openai", Decimal("0.01"))
    assert "'my-openai-proxy' is taken for the provider openai" in proxy.assumptions[-1]


def test_reasoning_is_never_counted_twice() -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 500, "completion_tokens_details": {"reasoning_tokens": 400}}
    inside = priced({"model": "gpt-5.4", "usage": {**usage, "total_tokens": 1500}})
    beside = priced({"model": "gpt-5.4", "usage": {**usage, "total_tokens": 1900}})
    assert inside.output_usd == Decimal("0.0075")  # 500 × 15/M
    assert beside.output_usd == Decimal("0.0135")  # 900 × 15/M: the total has 400 more
    assert priced({"model": "gpt-5.4", "usage": usage}).output_usd == Decimal("0.0075")


@pytest.mark.parametrize(
    ("body", "provider"),
    [
        ({"model": "openai/gpt-oss-120b", "usage": {"prompt_tokens": 1, "completion_tokens": 1, "queue_time": 0.1}},
         "groq"),
        ({"model": "openai/gpt-5-mini", "usage": {"prompt_tokens": 1, "completion_tokens": 1, "is_byok": False,
                                                  "cost": 0.0003}}, "openrouter"),
        ({"model": "claude-opus-4-8", "usage": {"inputTokens": 1, "outputTokens": 1}}, "aws"),
        ({"modelVersion": "gemini-2.5-pro", "usageMetadata": {"promptTokenCount": 1}}, "google"),
        ({"model": "zai-glm-4.7", "usage": {"prompt_tokens": 1, "completion_tokens": 1}}, "cerebras"),
    ],
)  # fmt: skip
def test_the_bodys_own_words_tell_who_sold_it(body: dict[str, Any], provider: str) -> None:
    row = priced(body)
    assert (row.provider, row.provider_is, row.reason) == (provider, "assumed", None)


def test_a_witness_who_does_not_sell_the_model_is_not_believed() -> None:
    assert priced({**OPENAI, "usage": {**OPENAI["usage"], "queue_time": 1}}).provider == "openai"


def test_what_the_body_says_it_cost_is_shown_and_not_used() -> None:
    usage = {"prompt_tokens": 8, "completion_tokens": 1, "cost": 99.0, "is_byok": False}
    row = priced({"model": "openai/gpt-5-mini", "usage": usage})
    assert row.reported_usd == 99.0
    assert row.total_usd is not None
    assert row.total_usd < 1
    assert priced({**OPENAI, "usage": {**OPENAI["usage"], "cost": True}}).reported_usd is None


@pytest.mark.parametrize(
    ("body", "known", "reason"),
    [
        ({"model": "gpt-5.4"}, {}, "no-usage"),
        ({"model": "gpt-5.4", "usage": {"prompt_tokens": -1}}, {}, "bad-counts"),
        ({"usage": {"prompt_tokens": 1}}, {}, "no-model"),
        ({"model": "gpt-5.4", "usage": {"prompt_tokens": 1}}, {}, "no-count"),
        ({"model": "nobody-sells-this", "usage": {"prompt_tokens": 1, "completion_tokens": 1}}, {}, "unknown-model"),
        ({"model": "meta-llama/Llama-3.3-70B-Instruct", "usage": {"prompt_tokens": 1, "completion_tokens": 1}}, {},
         "unknown-provider"),
        (OPENAI, {"provider": "nobody"}, "unknown-model"),
        (OPENAI, {"tariff": "batch"}, "not-dated"),
        ({**OPENAI, "service_tier": "flex"}, {}, "not-dated"),
        ({**OPENAI, "service_tier": "scale"}, {}, "no-tariff"),
        ({"model": "text-embedding-3-small", "usage": {"prompt_tokens": 5, "completion_tokens": 1}},
         {"provider": "openai"}, "no-rate"),
        ({"model": "qwen-3-coder-480b", "usage": {"prompt_tokens": 5, "completion_tokens": 1}},
         {"provider": "cerebras"}, "other-unit"),
        ({"model": "mistral-large-latest", "usage": {"input_tokens": 5, "output_tokens": 1,
                                              "cache_read_input_tokens": 0,
                                              "server_tool_use": {"web_search_requests": 1}}}, {}, "no-rate"),
        ({"model": "gpt-5.4", "usage": {"prompt_tokens": 5, "completion_tokens": 5,
                                        "prompt_tokens_details": {"audio_tokens": 6}}}, {}, "bad-counts"),
    ],
)  # fmt: skip
def test_what_cannot_be_priced_has_a_reason_and_no_total(
    body: dict[str, Any], known: dict[str, Any], reason: str
) -> None:
    row = priced(body, **known)
    assert (row.reason, row.total_usd) == (reason, None)
    assert row.detail
    assert row.as_record()["total_usd"] is None


def test_a_tariff_of_the_body_is_taken_once_it_is_dated() -> None:
    late = replace(TERMS, as_of=date(2026, 11, 1))
    assert priced({**OPENAI, "service_tier": "flex"}, late).total_usd == Decimal("0.005")
    assert priced(OPENAI, replace(late, tariff="batch")).total_usd == Decimal("0.005")
    assert priced({**OPENAI, "service_tier": "priority"}, replace(late, tariff="batch")).total_usd == Decimal("0.02")


def test_a_call_is_priced_as_of_its_own_day() -> None:
    made = datetime(2026, 11, 1, 23, tzinfo=UTC).timestamp()
    assert priced({**OPENAI, "created": made}).as_of == date(2026, 11, 1)
    assert priced({**OPENAI, "created": made}, day=date(2026, 5, 1)).as_of == date(2026, 5, 1)
    assert priced({**OPENAI, "created": -5}).as_of == JUNE
    assert priced({**OPENAI, "created": "yesterday"}).as_of == JUNE


def test_steps_apart_are_billed_at_their_own_models_price() -> None:
    usage: dict[str, Any] = {
        "input_tokens": 1000, "output_tokens": 100, "cache_read_input_tokens": 0,
        "iterations": [
            {"type": "compaction", "input_tokens": 2000, "output_tokens": 10},
            {"type": "advisor_message", "model": "claude-opus-4-8", "input_tokens": 500, "output_tokens": 20},
        ],
    }  # fmt: skip
    row = priced({"model": "claude-sonnet-4-6", "usage": usage})
    # sonnet 3/15: 2,000 × 3/M + 10 × 15/M = 0.00615; opus 5/25: 500 × 5/M + 20 × 25/M = 0.003
    assert row.other_usd == Decimal("0.00915")
    assert row.total_usd == Decimal("0.0045") + Decimal("0.00915")  # 1,000 × 3/M + 100 × 15/M = 0.0045
    usage["iterations"].append({"type": "advisor_message", "model": "nobody", "input_tokens": 1, "output_tokens": 1})
    unknown = priced({"model": "claude-sonnet-4-6", "usage": usage})
    assert (unknown.reason, unknown.total_usd, unknown.input_usd) == ("no-rate", None, Decimal("0.003"))
    assert "billed apart, and its price is not known" in (unknown.detail or "")


def test_aliases_and_own_prices_count_for_bodies_too() -> None:
    body = {"model": "ours", "usage": {"prompt_tokens": 1_000_000, "completion_tokens": 0}}
    aliased = priced(body, replace(TERMS, aliases={"ours": "gpt-5.4-mini"}))
    assert (aliased.total_usd, aliased.assumptions[0]) == (Decimal("0.75"), "ours is billed like gpt-5.4-mini")
    own = parse_overrides(
        "- {model: ours, valid_from: 2026-01-01, input_usd_per_mtok: 3, output_usd_per_mtok: 4, source: contract}", "x"
    )
    overridden = priced(body, replace(TERMS, overrides=own))
    assert (overridden.total_usd, overridden.assumptions) == (Decimal(3), ())
