"""Who sold a call decides what it costs."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from freehold.audit.audit import audit
from freehold.audit.pricing import Pricing
from freehold.audit.rows import Source
from freehold.audit.spending import spending
from freehold.core.call import Call
from freehold.core.identity import call_id
from freehold.economics.overrides import Override
from freehold.economics.rates import Rates
from freehold.economics.sellers import CONVENTIONS, LITELLM, SPELLINGS, seller_of
from freehold.ledger.columns import table_of
from freehold.ledger.index import Index
from freehold.ledger.rollup import stored_sums
from freehold.ledger.store import Ledger

if TYPE_CHECKING:
    from pathlib import Path

DAY = date(2026, 11, 20)
OPEN_MODEL = "openai/gpt-oss-120b"
"""Sold by many, at prices of their own."""


def _call(number: int, **fields: Any) -> Call:  # Any: fields of a call
    moment = datetime(2026, 11, 20, 12, number, tzinfo=UTC)
    known: dict[str, Any] = {
        "task": "desk", "started_at": moment, "route": "rent", "status": 200, "model_served": OPEN_MODEL,
        "input_tokens": 1_000_000, "output_tokens": 0,
    }  # fmt: skip
    return Call(id=call_id(moment, str(number)), **(known | fields))


@pytest.mark.parametrize(("name", "seller"), [*LITELLM.items(), *CONVENTIONS.items(), *SPELLINGS.items()])
def test_every_name_that_tools_use_is_a_provider_of_the_catalogue(name: str, seller: str) -> None:
    assert seller_of(name) == seller == seller_of(f" {name.upper()} ")


@pytest.mark.parametrize("name", ["", "my-openai-proxy", "hosted_vllm", "custom_openai", "rented"])
def test_a_name_that_only_resembles_a_provider_is_none(name: str) -> None:
    assert seller_of(name) is None


@pytest.mark.parametrize(
    ("provider", "usd"),
    [("groq", "0.15"), ("together_ai", "0.15"), ("", "0.039"), ("nobody", "0.039")],
)
def test_the_seller_of_a_call_decides_its_price_in_the_audit_and_in_the_daily_sums(
    tmp_path: Path, provider: str, usd: str
) -> None:
    calls = [_call(1, provider=provider or None)]
    Ledger(tmp_path).append(calls)
    index = Index(tmp_path)
    sums = stored_sums(index.connection)
    index.close()

    assert audit(Source(calls=table_of(calls)), aliases={}).cost_usd == Decimal(usd)
    assert spending(sums, Pricing({})).total_usd == Decimal(usd)


def test_models_that_only_a_seller_knows_have_its_price() -> None:
    served = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    assert Pricing({}).paid(served, "", DAY, "") is None
    price = Pricing({}).paid(served, "", DAY, "", "aws.bedrock")
    assert price is not None
    assert (price.provider, price.input_usd_per_mtok) == ("aws", Decimal("3.3"))


def test_a_seller_without_a_price_of_its_own_is_said_to_be_priced_like_another() -> None:
    calls = [_call(1, provider="my-proxy"), _call(2, provider="my-proxy"), _call(3, provider="groq"), _call(4)]
    (line,) = [line for line in audit(Source(calls=table_of(calls)), aliases={}).assumptions if "my-proxy" in line]
    assert line.startswith(f"2 calls of {OPEN_MODEL} through 'my-proxy'")
    assert line.endswith("priced like openai's.")


def test_a_batch_at_a_seller_that_borrows_its_makers_rates_has_the_makers_batch_rate() -> None:
    there, at_maker = (Pricing({}).paid("gpt-4o-mini", "", DAY, "batch", seller) for seller in ("azure", "openai"))
    assert there is not None
    assert at_maker is not None
    assert (there.tariff, there.rates) == ("batch", at_maker.rates)


def test_a_users_own_row_and_alias_come_before_any_seller() -> None:
    own = Override(
        model=OPEN_MODEL, provider="groq", tariff="list", valid_from=date(2026, 1, 1), tiers=(), source="contract",
        rates=Rates(input_usd_per_mtok=Decimal("0.01"), output_usd_per_mtok=None, cache_read_usd_per_mtok=None,
                    cache_write_usd_per_mtok=None),
    )  # fmt: skip
    pricing = Pricing({"house-model": "openai/gpt-4o-mini"}, [own])
    at_groq = pricing.paid(OPEN_MODEL, "", DAY, "", "groq")
    elsewhere = pricing.paid(OPEN_MODEL, "", DAY, "", "cerebras")
    alias = pricing.paid("house-model", "", DAY, "", "groq")
    assert at_groq is not None
    assert at_groq.is_override
    assert elsewhere is not None
    assert not elsewhere.is_override
    assert alias is not None
    assert alias.provider == "openai"
    assert pricing.listed.paid(OPEN_MODEL, "", DAY, "", "groq") != at_groq
