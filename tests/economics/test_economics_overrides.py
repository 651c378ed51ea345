"""A user's own dated prices: from their first day on they come before the catalogue, and nonsense is refused."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from freehold.core.chat import Usage
from freehold.core.errors import InputError
from freehold.economics.overrides import Override, override_text, parse_overrides
from freehold.economics.prices import NoPrice, Price, cost_of_call, find_price

JUNE = date(2026, 6, 15)
ROW = """\
- model: gpt-5.4
  valid_from: 2026-09-01
  input_usd_per_mtok: 2.1
  output_usd_per_mtok: 12.6
  cache_read_usd_per_mtok: 0.21
  tiers:
    - {above_input_tokens: 272000, input_usd_per_mtok: 4.2, output_usd_per_mtok: 18.9}
  source: contract of 2026-08-14, page 3
"""


def rows(text: str = ROW) -> tuple[Override, ...]:
    return parse_overrides(text, "prices.yaml")


def row(**changes: Any) -> str:
    values = {"model": "m", "valid_from": date(2026, 9, 1), "input_usd_per_mtok": 2.0, "source": "contract"}
    kept = {key: value for key, value in (values | changes).items() if value is not None}
    return yaml.safe_dump([kept], sort_keys=False)


def test_an_own_price_counts_from_its_first_day_and_the_catalogue_before() -> None:
    before = find_price("gpt-5.4", date(2026, 8, 31), overrides=rows())
    after = find_price("gpt-5.4", date(2026, 9, 1), overrides=rows())
    assert isinstance(before, Price)
    assert isinstance(after, Price)
    assert (before.input_usd_per_mtok, before.is_override) == (Decimal("2.5"), False)
    assert (after.input_usd_per_mtok, after.is_override) == (Decimal("2.1"), True)
    assert (after.source, after.valid_from) == ("contract of 2026-08-14, page 3", date(2026, 9, 1))
    assert (after.provider, after.assumptions) == ("openai", ())
    # 600 × 2.1/M + 400 × 0.21/M + 500 × 12.6/M = 0.00126 + 0.000084 + 0.0063
    usage = Usage(input_tokens=1000, output_tokens=500, cache_read_tokens=400)
    assert cost_of_call(usage, after) == Decimal("0.007644")
    # 300,000 × 4.2/M = 1.26: the long tier holds for all tokens
    assert cost_of_call(Usage(input_tokens=300_000, output_tokens=0), after) == Decimal("1.26")


def test_the_newest_row_that_has_begun_is_taken() -> None:
    two = rows(ROW + ROW.replace("2026-09-01", "2026-10-01").replace("2.1", "1.9"))
    for day, usd in ((date(2026, 9, 30), "2.1"), (date(2026, 10, 1), "1.9")):
        price = find_price("gpt-5.4", day, overrides=two)
        assert isinstance(price, Price)
        assert price.input_usd_per_mtok == Decimal(usd)


def test_a_row_of_a_provider_speaks_of_that_provider_alone() -> None:
    azure = rows(ROW.replace("model: gpt-5.4", "model: gpt-5.4\n  provider: azure"))
    for name, provider, own in (
        ("azure/gpt-5.4", None, True),
        ("gpt-5.4", "azure", True),
        ("gpt-5.4", None, False),
        ("openai/gpt-5.4", None, False),
    ):
        price = find_price(name, date(2026, 9, 1), provider=provider, overrides=azure)
        assert isinstance(price, Price)
        assert price.is_override is own, (name, provider)


def test_a_tariff_of_ones_own_makes_a_batch_price_where_the_catalogue_has_none() -> None:
    batch = rows(ROW.replace("valid_from: 2026-09-01", "valid_from: 2026-03-01\n  tariff: batch"))
    price = find_price("gpt-5.4", JUNE, tariff="batch", overrides=batch)
    assert isinstance(price, Price)
    assert price.input_usd_per_mtok == Decimal("2.1")
    listed = find_price("gpt-5.4", JUNE, overrides=batch)
    assert isinstance(listed, Price)
    assert not listed.is_override


def test_a_model_of_ones_own_has_no_price_before_its_first_day() -> None:
    own = rows(row(model="house-model"))
    found = find_price("house-model", JUNE, overrides=own)
    assert isinstance(found, NoPrice)
    assert (found.lack, found.first_day) == ("not-dated", date(2026, 9, 1))
    assert "your own first one is from 2026-09-01" in found.sentence
    later = find_price("house-model", date(2026, 9, 1), overrides=own)
    assert isinstance(later, Price)
    assert (later.provider, later.output_usd_per_mtok) == ("unknown", None)


def test_a_name_in_the_log_comes_before_what_it_is_billed_as() -> None:
    aliases = {"ours": "openai/gpt-5.4"}
    day = date(2026, 9, 1)
    both = rows(row(model="gpt-5.4", provider="openai") + row(model="ours", input_usd_per_mtok=7.0))
    named = find_price("ours", day, aliases=aliases, overrides=both)
    billed = find_price("ours", day, aliases=aliases, overrides=both[:1])
    stated = find_price("ours", day, aliases=aliases, provider="our-gateway")
    assert isinstance(named, Price)
    assert isinstance(billed, Price)
    assert isinstance(stated, Price)
    assert (named.input_usd_per_mtok, named.alias_of) == (Decimal(7), None)
    assert (billed.input_usd_per_mtok, billed.alias_of) == (Decimal(2), "openai/gpt-5.4")
    assert (stated.provider, stated.input_usd_per_mtok) == ("openai", Decimal("2.5"))  # the alias decides


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (row(input_usd_per_mtok=0), "line 1: input_usd_per_mtok: Input should be greater than 0"),
        (row(input_usd_per_mtok=-1), "greater than"),
        (row(input_usd_per_mtok=float("nan")), "finite"),
        (row(input_usd_per_mtok=float("inf")), "finite"),
        (row(input_usd_per_mtok=1e9), "less than or equal to 100000"),
        (row(input_usd_per_mtok=True), "it must be a number"),
        (row(input_usd_per_mtok="cheap"), "input_usd_per_mtok"),
        (row(cache_read_usd_per_mtok=3.0), "a cached token never is"),
        (row(source=None), "source: Field required"),
        (row(source="  "), "source"),
        (row(model=""), "model"),
        (row(model="a\nb"), "model"),
        (row(tariff="cheap"), "tariff: Input should be 'list', 'batch', 'flex' or 'priority'"),
        (row(valid_from="soon"), "valid_from"),
        (row(valid_from=date(1999, 1, 1)), "valid_from: Input should be greater than or equal to 2018"),
        (row(colour="red"), "colour: Extra inputs are not permitted"),
        (row(tiers=[{"above_input_tokens": 0, "input_usd_per_mtok": 1}]), "tiers.0.above_input_tokens"),
        (
            row(tiers=[{"above_input_tokens": 9, "input_usd_per_mtok": usd} for usd in (1, 2)]),
            "the thresholds of its tiers must rise",
        ),
        (row() + row(), "line 5: m has that price for 2026-09-01 on line 1 already"),
        ("- 3\n", "line 1: Input should be a valid dictionary"),
        ("model: m\n", "must hold a YAML list of prices"),
        ("- &a {model: m}\n- *a\n", "uses YAML anchors"),
        ("- model: [\n", "line 2: this is no YAML"),
        ("- model: m\n  model: n\n", "line 1: model is given twice"),
        ("- !!python/object/apply:os.system ['true']\n", "this is no YAML"),
        ("- valid_from: 2026-13-45\n", "cannot be read as YAML"),
        ("[" * 5000, "cannot be read as YAML"),
        ("#" * 2_000_001, "an overrides file has 2000000 at most"),
    ],
)
def test_nonsense_is_refused_with_its_line(text: str, fault: str) -> None:
    with pytest.raises(InputError) as raised:
        rows(text)
    assert str(raised.value).startswith("prices.yaml")
    assert fault in str(raised.value)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(InputError) as raised:
        rows(row(input_usd_per_mtok=0) + row(source=None))
    assert "line 1: input_usd_per_mtok" in str(raised.value)
    assert "line 5: source" in str(raised.value)


@pytest.mark.parametrize("text", ["", "\n", "# nothing yet\n", "[]\n"])
def test_a_file_may_be_empty(text: str) -> None:
    assert rows(text) == ()


@given(
    model=st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=40),
    usd=st.decimals(Decimal("0.0001"), Decimal(1000), places=4),
    source=st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=3, max_size=40),
)
def test_what_is_written_is_read_back(model: str, usd: Decimal, source: str) -> None:
    values = {"model": model, "provider": None, "tariff": "list", "valid_from": JUNE, "input_usd_per_mtok": usd}
    (back,) = rows(override_text({**values, "source": source}))
    assert (back.model, back.rates.input_usd_per_mtok, back.source) == (model, usd, source)
