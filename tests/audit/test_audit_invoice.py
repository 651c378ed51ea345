"""Invoices here are synthetic: written from the providers' published shapes, not exported from an account."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.audit.amounts import Unreadable, amount_of, date_order, day_of, decimal_mark
from freehold.audit.invoice import InvoiceLine, model_of, read_invoice, tier_of
from freehold.core.errors import InputError

_START = 1_781_049_600  # 2026-06-10T00:00:00Z
_DAY = date(2026, 6, 10)


def _bucket(*results: dict[str, Any], start: int = _START) -> dict[str, Any]:
    return {"object": "bucket", "start_time": start, "end_time": start + 86_400, "results": list(results)}


def _page(*buckets: dict[str, Any]) -> str:
    return json.dumps({"object": "page", "data": list(buckets), "has_more": False, "next_page": None})


_USAGE = {
    "object": "organization.usage.completions.result", "input_tokens": 1000, "output_tokens": 500,
    "input_cached_tokens": 800, "num_model_requests": 5, "project_id": None, "user_id": None, "api_key_id": None,
    "model": "gpt-4o-mini-2024-07-18", "batch": False, "service_tier": "default",
}  # fmt: skip
_COST = {
    "object": "organization.costs.result", "amount": {"value": 0.06, "currency": "usd"},
    "line_item": "gpt-4o-mini-2024-07-18, cached input", "project_id": "proj_abc",
}  # fmt: skip


def test_buckets_of_the_usage_and_of_the_costs_export_are_read() -> None:
    usage = read_invoice(_page(_bucket(_USAGE), _bucket(_USAGE | {"batch": True}, start=_START + 86_400)), "usage.json")
    assert usage.lines[0] == InvoiceLine(
        day=_DAY, model="gpt-4o-mini-2024-07-18", usd=None, requests=5, input_tokens=1000, cached_tokens=800,
        output_tokens=500, tier="default",
    )  # fmt: skip
    assert (usage.lines[1].day, usage.lines[1].tier, usage.has_amounts) == (date(2026, 6, 11), "batch", False)
    costs = read_invoice(_page(_bucket(_COST, _COST | {"line_item": None})), "costs.json")
    assert [(line.model, line.usd) for line in costs.lines] == [
        ("gpt-4o-mini-2024-07-18", Decimal("0.06")), (None, Decimal("0.06")),
    ]  # fmt: skip
    assert costs.places == 2


def test_pages_one_a_line_and_lists_of_buckets_are_read_too_and_no_digit_is_lost() -> None:
    exact = json.dumps(_bucket(_COST)).replace("0.06", "0.1234567890123456789")
    assert read_invoice(f"{exact}\n\n{exact}\n", "x").lines[1].usd == Decimal("0.1234567890123456789")
    assert len(read_invoice(f"[{exact}, {exact}]", "x").lines) == 2


@pytest.mark.parametrize(
    ("text", "usd"),
    [
        ("Date,Model,Cost (USD)\n2026-06-10,gpt-4o,12.50\n", "12.50"),
        ("day;model;amount\n10.06.2026;gpt-4o;1.234,56\n", "1234.56"),
        (
            'usage_date,line_item,amount_value,amount_currency\n2026-06-10T00:00:00Z,"gpt-4o, input","1,234.56",usd\n',
            "1234.56",
        ),
        ("\ufeffDATE\tMODEL NAME\tTOTAL COST\n06/25/2026\tgpt-4o\t$1,234.50\n", "1234.50"),
        ("date,model,amount\nJune 10 2026,gpt-4o,(3.20)\n", "-3.20"),
        ("date,model,amount\n10 Jun 2026,gpt-4o,−3.20\n", "-3.20"),
        ("date,model,cost_usd\n1781049600,gpt-4o,1.2E-5\n", "0.000012"),
        ("ChargePeriodStart,SkuName,BilledCost,BillingCurrency\n2026-06-10,gpt-4o,7,USD\n", "7"),
        ("date,model,amount\n2026-06-10,gpt-4o,1 234.5\n", "1234.5"),
    ],
)
def test_tables_are_read_under_their_usual_headings(text: str, usd: str) -> None:
    (line,) = read_invoice(text, "invoice.csv").lines
    assert (line.model, line.usd, line.day.month) == ("gpt-4o", Decimal(usd), 6)


def test_lines_that_sum_others_up_are_left_out_and_counted() -> None:
    text = "date,model,amount\n2026-06-10,gpt-4o,2.00\n,,\n2026-06-10,Total,2.00\nGrand total,,2.00\n"
    found = read_invoice(text, "x")
    assert (len(found.lines), found.skipped) == (1, 2)


def test_amounts_in_another_currency_need_a_rate_and_say_so() -> None:
    text = "date,model,amount (EUR)\n2026-06-10,gpt-4o,2.00\n"
    with pytest.raises(InputError, match=r"line 2: an amount in 'EUR'.*--exchange EUR=US_DOLLARS"):
        read_invoice(text, "x.csv")
    found = read_invoice(text, "x.csv", usd_per={"EUR": Decimal("1.08")})
    assert (found.lines[0].usd, found.notes) == (Decimal("2.16"), ["Amounts in EUR are taken at 1.08 US dollars."])
    with pytest.raises(InputError, match="an amount in 'GBP'"):
        read_invoice("date,model,amount\n2026-06-10,gpt-4o,£2.00\n", "x.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("  \n", "the file is empty"),
        ("[]", "no usage or cost buckets"),
        ('{"data": [', "not JSON"),
        ('{"error": {"message": "no"}}', "no usage or cost buckets"),
        ("[" * 100_000, "nested too deep|not JSON"),
        ("who,what\n1,2\n", "no column for the day and the amount"),
        ("date,model,amount\n", "no line with a day"),
        ("date,model,amount\n2026-13-40,gpt-4o,1.00\n", "line 2: '2026-13-40' is no day"),
        ("date,model,amount\n2026-06-10,gpt-4o,free\n", "line 2: 'free' is no amount"),
        ("date,model,amount\n2026-06-10,gpt-4o,=1+1\n", "is no amount"),
        ("date,model,amount\n2026-06-10,a,\"1,234\"\n", "read in two ways"),
        ("date,model,amount\n2026-06-10,a,\"1.234,50\"\n2026-06-10,a,\"1,234.50\"\n", "decimal point and others"),
        ("date,model,amount\n03/04/2026,a,1.00\n", "day or the month first"),
        ("date,model,amount\n13/04/2026,a,1.00\n04/13/2026,a,1.00\n", "name the day first and others"),
        ("date,model,amount,requests\n2026-06-10,a,1.00,3.5\n", "line 2: '3.5' is no count"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read_invoice(text, "inv.csv")
    assert str(caught.value).startswith("inv.csv: ")


def test_a_moment_with_a_zone_is_counted_to_its_day_in_utc() -> None:
    assert day_of("2026-06-10T23:30:00-05:00", None) == date(2026, 6, 11)
    assert day_of("2026-06-10 01:30+02:00", None) == date(2026, 6, 9)
    assert day_of("1781049600000", None) == _DAY
    # A day of a bill that counts by its own zone; where that moves calls, the reconciliation says so.
    assert day_of("2026-06-10T00:00:00+02:00", None) == date(2026, 6, 10)
    assert day_of("2026-06-10T00:00:00-05:00", None) == date(2026, 6, 10)
    assert day_of("2026-06-10T00:30:00+02:00", None) == date(2026, 6, 9)
    assert date_order(["01/02/2026", "25/02/2026"]) == "dmy"


@pytest.mark.parametrize(
    ("item", "model"),
    [("gpt-4o, input", "gpt-4o"), ("GPT-4o | cached input tokens", "GPT-4o"), ("gpt-4o, input, batch", "gpt-4o"),
     ("Web search", "Web search"), ("", None), ("input", "input")],
)  # fmt: skip
def test_a_line_item_names_its_model_before_what_it_counts(item: str, model: str | None) -> None:
    assert model_of(item) == model


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=2), st.sampled_from([".", ","]), st.booleans())
def test_an_amount_is_read_as_it_was_written(value: Decimal, mark: Any, grouped: bool) -> None:
    text = f"{value:,.2f}" if grouped else f"{value:.2f}"
    if mark == ",":
        text = text.translate(str.maketrans(".,", ",."))
    assert amount_of(text, mark).value == value
    assert decimal_mark([text]) == mark


@given(st.text(max_size=30))
def test_no_text_is_more_than_unreadable(text: str) -> None:
    for read in (lambda: amount_of(text, "."), lambda: day_of(text, "dmy"), lambda: decimal_mark([text])):
        try:
            read()
        except Unreadable:
            continue


@given(st.text(max_size=200) | st.text(alphabet=",;\n\"' .0123456789abdemotu[{", max_size=200))
def test_no_file_is_more_than_refused(text: str) -> None:
    try:
        read_invoice(text, "x")
        read_invoice("date,model,amount\n" + text, "x")
    except InputError:
        return


@pytest.mark.parametrize(
    ("item", "model", "tier"),
    [
        ("gpt-5-mini-2025-08-07 batch, input", "gpt-5-mini-2025-08-07", "batch"),
        ("gpt-5-mini-2025-08-07, batch input", "gpt-5-mini-2025-08-07", "batch"),
        ("gpt-5-mini-2025-08-07 (flex), cached input", "gpt-5-mini-2025-08-07", "flex"),
        ("gpt-5-mini-2025-08-07, batch, output", "gpt-5-mini-2025-08-07", "batch"),
        ("gpt-5-mini-2025-08-07, output", "gpt-5-mini-2025-08-07", None),
        ("batch", "batch", None),
        ("minibatch, input", "minibatch", None),
    ],
)
def test_a_tariff_in_a_line_item_is_no_part_of_the_models_name(item: str, model: str, tier: str | None) -> None:
    assert (model_of(item), tier_of(item)) == (model, tier)


def test_an_amount_that_went_through_a_binary_fraction_is_read_as_it_was_meant() -> None:
    text = json.dumps(_bucket(_COST)).replace("0.06", "0.20350000000000004")
    invoice = read_invoice(text, "x")
    assert (invoice.lines[0].usd, invoice.places) == (Decimal("0.2035"), 4)
