"""The catalogue against an independent list: each kind of difference by an example, and the whole real list."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from genai_prices.types import ConditionalPrice, ModelPrice

from freehold.core.errors import InputError
from freehold.economics import catalogue
from freehold.economics.catalogue import Entry
from freehold.economics.litellm_prices import parse_listed
from freehold.economics.price_check import KINDS, Difference, check, kinds_of, only_here

if TYPE_CHECKING:
    from pathlib import Path

NOVEMBER = date(2026, 11, 23)
GPT = {"model": "gpt-5.4", "provider": "openai", "input_per_mtok": 2.5, "output_per_mtok": 15.0,
       "cache_read_per_mtok": 0.25, "batch_input_per_mtok": 1.25, "batch_output_per_mtok": 7.5}  # fmt: skip


def one(row: dict[str, Any], as_of: date = NOVEMBER) -> Difference:
    (found,) = check(parse_listed(json.dumps(row), "list.jsonl"), as_of)
    return found


@pytest.mark.parametrize(
    ("changes", "kind", "detail"),
    [
        ({}, "equal", ""),
        ({"output_per_mtok": 15.05}, "rounding", "output 15 here, 15.05 there"),
        ({"output_per_mtok": 16}, "rate", "output 15 here, 16 there"),
        ({"cache_read_per_mtok": 0.5}, "partial", "cache read 0.25 here, 0.5 there"),
        ({"cache_write_per_mtok": 3}, "partial", "cache write none here, 3 there"),
        ({"output_per_mtok": None}, "no-output", "output 15 here, none there"),
        ({"batch_input_per_mtok": 1}, "tariff", "the batch rates differ"),
        ({"input_per_mtok": 5, "output_per_mtok": 22.5}, "tier", "theirs holds above 272,000 input tokens"),
        ({"input_per_mtok": 1.25, "output_per_mtok": 7.5}, "tariff", "theirs is the batch rate"),
        ({"input_per_mtok": 2500, "output_per_mtok": 15000}, "unit", "a power of ten apart"),
        ({"input_per_mtok": 0, "output_per_mtok": 0}, "free", "they state 0"),
        ({"input_per_mtok": None}, "not-tokens", "they state no rate per input token"),
        ({"provider": "nobody"}, "missing-provider", "the catalogue has no provider 'nobody'"),
        ({"model": "gpt-nobody"}, "missing-model", "has no price"),
        ({"provider": "cerebras", "model": "cerebras/qwen-3-coder-480b"}, "not-tokens",
         "not priced by input and output"),
        ({"provider": "azure", "model": "azure/gpt-4-turbo", "input_per_mtok": 11, "output_per_mtok": 33}, "borrowed",
         "the catalogue has its maker's rates alone"),
        ({"provider": "azure", "model": "azure/gpt-5.4"}, "partial", "batch rate: none here, 1.25 for input there"),
        ({"provider": "bedrock_converse", "model": "anthropic.claude-opus-4-8", "input_per_mtok": 5,
          "output_per_mtok": 25}, "other-model", "taken for 'regional.anthropic.claude-opus-4-8-v1:0' here"),
        ({"model": "gpt-5.6-sol", "input_per_mtok": 5, "output_per_mtok": 30}, "dated",
         "theirs is the catalogue's rate before its first dated one"),
        ({"model": "gpt-5.6-sol", "input_per_mtok": 10, "output_per_mtok": 45}, "dated",
         "theirs is the catalogue's rate before its first dated one"),
        ({"provider": "anthropic", "model": "claude-sonnet-4-5-20270101"}, "dated", "its name says"),
    ],
)  # fmt: skip
def test_each_kind_of_difference(changes: dict[str, Any], kind: str, detail: str) -> None:
    found = one(GPT | changes)
    assert found.kind == kind
    assert detail in found.detail
    assert found.as_record()["kind"] == kind


def test_a_batch_rate_that_is_not_dated_yet_is_no_agreement() -> None:
    found = one(GPT, date(2026, 6, 15))
    assert (found.kind, found.detail) == (
        "partial",
        "batch rate: the first is from 2026-10-14 here, 1.25 for input there",
    )


def test_a_rate_from_a_later_day_is_told_with_its_day() -> None:
    now = {"model": "gpt-5.6-sol", "provider": "openai", "input_per_mtok": 4, "output_per_mtok": 20}
    found = one(now, date(2026, 8, 20))
    assert (found.kind, found.as_record()["ours"]["input_usd_per_mtok"]) == ("dated", 5.0)
    assert "theirs is the catalogue's rate from 2026-08-21 on" in found.detail


ORIGINAL: dict[str, Any] = {
    "sample_spec": {"input_cost_per_token": "a number"},
    "gpt-5.4": {
        "litellm_provider": "openai",
        "input_cost_per_token": 2.5e-06,
        "output_cost_per_token": 1.5e-05,
        "cache_read_input_token_cost": 2.5e-07,
        "input_cost_per_token_above_272k_tokens": 5e-06,
        "output_cost_per_token_above_272k_tokens": 2.25e-05,
        "supports_vision": True,
    },
}


def test_the_original_file_is_read_with_its_tiers() -> None:
    (listed,) = parse_listed(json.dumps(ORIGINAL), "prices.json")
    assert listed.rates["input_usd_per_mtok"] == Decimal("2.5")
    assert listed.tiers == {272_000: {"input_usd_per_mtok": Decimal(5), "output_usd_per_mtok": Decimal("22.5")}}
    assert check([listed], NOVEMBER)[0].kind == "equal"


@pytest.mark.parametrize("key", ["input_cost_per_token_above_272k_tokens", "input_cost_per_token_above_128k_tokens"])
def test_another_threshold_or_rate_above_it_is_a_tier(key: str) -> None:
    changed = {"gpt-5.4": ORIGINAL["gpt-5.4"] | {key: 9e-06}}
    found = check(parse_listed(json.dumps(changed), "prices.json"), NOVEMBER)[0]
    assert (found.kind, "input tokens the rates differ" in found.detail) == ("tier", True)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "holds no prices"),
        ("{}", "holds no prices"),
        ("[1]", "line 1: a row needs 'model'"),
        ('{"model": "a", "provider": "b"}\nnonsense\n', "line 2: this is no JSON"),
        ('{"provider": "b"}\n\n{"model": 5}', "line 3: a row needs 'model'"),
        ('{"model": "a", "input_per_mtok": -1}', "line 1: input_per_mtok is '-1'"),
        ('{"model": "a", "input_per_mtok": NaN}', "input_per_mtok is 'nan'"),
        ('{"model": "a", "input_per_mtok": true}', "input_per_mtok is 'True'"),
        ('{"gpt": 5}', "gpt: it must be an object of prices"),
        ('{"gpt": {"input_cost_per_token": "x"}}', "gpt: input_cost_per_token is 'x'"),
        ("\n".join(['{"model": "a", "input_per_mtok": -1}'] * 30), "; and 10 more"),
        ("[" * 100_000, "line 1: this is no JSON"),
    ],
)
def test_a_file_that_is_no_price_list_is_refused(text: str, fault: str) -> None:
    with pytest.raises(InputError) as raised:
        parse_listed(text, "prices.json")
    assert "prices.json" in str(raised.value)
    assert fault in str(raised.value)


def test_a_day_on_which_a_model_was_not_priced_by_tokens_explains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = catalogue.find("gpt-5.6-sol", "openai")
    assert found is not None
    by_request = ConditionalPrice(prices=ModelPrice(requests_kcount=Decimal(1)))
    entry = Entry(found.provider, replace(found.model, prices=[by_request, *found.model.prices]), is_borrowed=False)
    monkeypatch.setattr(catalogue, "find", lambda _name, _provider=None: entry)
    row = {"model": "gpt-5.6-sol", "provider": "openai", "input_per_mtok": 99, "output_per_mtok": 98}
    assert one(row).kind == "rate"


def test_the_whole_list_is_compared_and_every_row_has_a_kind(shared_data: Path) -> None:
    text = (shared_data / "prices_litellm" / "prices.jsonl").read_text(encoding="utf-8")
    found = check(parse_listed(text, "prices.jsonl"), NOVEMBER)
    kinds = kinds_of(found)

    assert list(kinds) == list(KINDS)
    assert sum(kinds.values()) == len(found) == 4552
    assert all(row.detail for row in found if row.kind != "equal")
    # 1,272 models are priced by both; 859 + 20 + 218 = 1,097 agree in input and output.
    assert kinds == {
        "equal": 859, "dated": 12, "tier": 0, "tariff": 0, "unit": 0, "rounding": 20, "free": 3, "partial": 218,
        "no-output": 17, "borrowed": 11, "other-model": 95, "rate": 37, "not-tokens": 860, "missing-provider": 1248,
        "missing-model": 1172,
    }  # fmt: skip
    assert len(only_here(found)) == 1673


def test_the_three_models_of_the_article_have_the_same_price_in_both_lists(shared_data: Path) -> None:
    text = (shared_data / "prices_litellm" / "prices.jsonl").read_text(encoding="utf-8")
    listed = [row for row in parse_listed(text, "x") if row.model in {"gpt-5.4", "gpt-5.4-mini", "claude-opus-4-8"}]
    assert [(row.model, row.kind) for row in check(listed, NOVEMBER)] == [
        ("claude-opus-4-8", "equal"),
        ("gpt-5.4", "equal"),
        ("gpt-5.4-mini", "equal"),
    ]
