"""Rents of machines: dated, sourced, and refused where nobody's price was found."""

from __future__ import annotations

from datetime import date

import pytest

from freehold.core.errors import InputError
from freehold.economics import rentals as table
from freehold.economics.facts import known_hardware
from freehold.economics.plans import STALE_DAYS, default_scenario, own_plan
from freehold.economics.rentals import rental, rentals

JUNE = date(2026, 6, 15)


def test_the_newest_row_that_is_not_after_the_day_is_taken() -> None:
    assert rental("h100", JUNE).usd_per_hour == (1.99, 2.95, 5.0)
    assert rental("h100", date(2026, 10, 24)).usd_per_hour == (2.58, 3.64, 6.16)
    assert rental("NVIDIA H100") == rental("h100", date(2030, 1, 1))


def test_a_day_before_the_first_row_is_refused() -> None:
    with pytest.raises(InputError, match=r"h100 has no rental price for 2025-01-01; the first is from 2026-05-20"):
        rental("h100", date(2025, 1, 1))


def test_a_contract_is_taken_when_it_is_asked_for_and_never_otherwise() -> None:
    assert rental("h100", JUNE, "contract").usd_per_hour == (2.35, 2.35, 2.35)
    assert rental("h100", date(2025, 12, 1), "1-year contract").usd_per_hour == (1.7, 1.7, 1.7)
    with pytest.raises(InputError, match="the first is from 2026-05-20"):
        rental("h100", date(2025, 12, 1))
    with pytest.raises(InputError, match=r"b200 has no contract rental price .*; there are prices for on demand, spot"):
        rental("b200", terms="contract")


def test_a_machine_without_a_found_price_has_none() -> None:
    with pytest.raises(InputError, match=r"gb300 has no on demand rental price .* State it yourself with --gpu-usd"):
        rental("gb300")
    with pytest.raises(InputError, match="nearest"):
        rental("h1000")


@pytest.mark.parametrize(
    "name",
    ["a100-40gb", "a100-80gb", "h100", "h100-pcie", "h100-nvl", "h200", "b200", "b300", "gb200", "l40s", "l4", "a10g",
     "rtx-4090", "rtx-5090", "rtx-pro-6000", "a40", "mi300x", "cpu-2vcpu"],
)  # fmt: skip
def test_the_machines_people_ask_for_have_a_price_today(name: str) -> None:
    low, typical, high = rental(name).usd_per_hour
    assert 0 < low <= typical <= high < 20


def test_every_row_names_a_known_machine_and_a_source_and_is_in_the_past() -> None:
    rows = rentals()
    assert {row.hardware for row in rows} <= set(known_hardware())
    assert len({(row.hardware, row.as_of, row.terms) for row in rows}) == len(rows)
    assert all("." in row.source and len(row.source) > 10 for row in rows)
    assert all(row.as_of is not None and date(2025, 1, 1) <= row.as_of <= date(2026, 11, 23) for row in rows)


def test_rows_of_a_machine_come_in_the_order_of_their_days() -> None:
    days = [row.as_of for row in rentals("h100")]
    assert days == sorted(days, key=str)
    assert rentals("h100", JUNE) == rentals("h100")[:3]
    assert all(row.hardware == "h100" for row in rentals("h100"))


def test_a_row_whose_range_does_not_rise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"hardware": "h100", "usd_per_hour": [2, 1, 3], "as_of": JUNE, "terms": "on demand", "source": "example.org"}
    monkeypatch.setattr(table, "read", lambda _file: [row])
    table._rows.cache_clear()
    with pytest.raises(ValueError, match="low, typical and high must rise"):
        rental("h100")
    table._rows.cache_clear()


DAYS = (date(2020, 1, 1), date(2026, 6, 15), date(2026, 8, 18), date(2026, 11, 23), date(2031, 1, 1))


@pytest.mark.parametrize("day", DAYS)
@pytest.mark.parametrize("name", known_hardware())
def test_on_any_day_a_machine_has_a_dated_rent_an_assumption_that_names_one_or_an_error(name: str, day: date) -> None:
    dated = [row.as_of for row in rentals(name) if "on demand" in row.terms and row.as_of is not None]
    if not dated:
        with pytest.raises(InputError, match="has no on demand rental price"):
            own_plan(f"smollm2-135m@{name}", as_of=day)
        return
    rent = default_scenario(own_plan(f"smollm2-135m@{name}", as_of=day)).assumptions["gpu_usd_per_hour"]
    known = [row for row in dated if row <= day]
    nearest = max(known) if known else min(dated)

    assert f"as of {nearest}" in rent.source
    assert rent.is_assumption == (not known or (day - nearest).days > STALE_DAYS)
    if rent.is_assumption:
        assert rent.source.startswith("assumption: ")
        assert str(day) in rent.source
    if not known:
        with pytest.raises(InputError, match=f"no rental price for {day}; the first is from {nearest}"):
            rental(name, day)
