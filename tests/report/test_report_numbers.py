from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.report.numbers import (
    bare_points,
    count,
    duration,
    interval,
    milliseconds,
    number,
    plain_number,
    points,
    share,
    usd,
    volume,
)

if TYPE_CHECKING:
    from collections.abc import Callable

FORMS = (bare_points, count, duration, milliseconds, plain_number, points, share, usd, volume)


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        (usd, 0, "$0"),
        (usd, 0.000985, "$0.000985"),
        (usd, 0.0011254, "$0.001125"),
        (usd, Decimal("1.239"), "$1.24"),
        (usd, -12, "−$12.00"),
        (usd, 99.994, "$99.99"),
        (usd, 99.996, "$100"),
        (usd, 8801.04, "$8,801"),
        (usd, 12_345_678, "$12.3 M"),
        (usd, 2.5e10, "$25.0 bn"),
        (usd, 2.5e15, "$2.5 × 10¹⁵"),
        (count, 0, "0"),
        (count, 1010.4, "1,010"),
        (count, -3, "−3"),
        (count, 9_999_999, "9,999,999"),
        (count, 12_345_678, "12.3 M"),
        (volume, 0, "0"),
        (volume, 999_900_000, "1.0 bn"),
        (volume, 0.4, "0"),
        (volume, 1147, "1,150"),
        (volume, 999_999, "1 M"),
        (volume, 9_635_291, "9.64 M"),
        (volume, -2_000_000, "−2 M"),
        (volume, 2.5e9, "2.5 bn"),
        (share, 0.9654, "96.5 %"),
        (share, -0.0001, "0.0 %"),
        (points, 0.0123, "+1.2 points"),
        (points, -0.0123, "−1.2 points"),
        (points, 0.0001, "0.0 points"),
        (points, 0, "0.0 points"),
        (bare_points, -0.0123, "−1.2"),
        (plain_number, 0.75612, "0.7561"),
        (plain_number, -0.4, "−0.4"),
        (plain_number, 112_590, "112,590"),
        (milliseconds, 682.4, "682 ms"),
        (milliseconds, 1500, "1.5 s"),
        (duration, 0.44, "0.4 s"),
        (duration, 45.2, "45 s"),
        (duration, 185, "3 min 05 s"),
        (duration, 3721, "1 h 02 min"),
        (duration, -1, "0.0 s"),
    ],
)
def test_numbers_are_rounded_for_people(form: Callable[[Any], str], value: float, text: str) -> None:
    assert form(value) == text


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), True, "12", []])
def test_what_is_no_number_was_not_measured(form: Callable[[Any], str], value: object) -> None:
    assert form(value) == "not measured"


@given(st.floats(), st.sampled_from(FORMS))
def test_every_float_can_be_written(value: float, form: Callable[[Any], str]) -> None:
    assert form(value)


def test_an_interval_names_its_unit_once() -> None:
    assert interval(0.9, 0.96, share) == "90.0 to 96.0 %"
    assert interval(-0.126, 0.011, points) == "−12.6 to +1.1 points"
    assert interval(0.77, 1.64, usd) == "$0.77 to $1.64"


def test_an_interval_without_an_end_was_not_measured() -> None:
    assert interval(None, 1, share) == "interval not measured"
    assert interval(1, None, share) == "interval not measured"


def test_a_decimal_is_a_number() -> None:
    assert number(Decimal("0.1")) == 0.1
