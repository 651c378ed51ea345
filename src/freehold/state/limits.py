"""How much a key may use: of what, in which period, in which unit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, get_args

from freehold.core.errors import InputError

Measure = Literal["requests", "tokens", "usd"]
Period = Literal["minute", "day", "month"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
PERIODS: tuple[Period, ...] = get_args(Period)
UNITS_PER_USD = 1_000_000_000
"""Dollars are counted in billionths: a token of a small model costs some ten of them."""

_MOST_UNITS = 1 << 62
_FORM = re.compile(rf"({'|'.join(MEASURES)})/({'|'.join(PERIODS)})=([0-9][0-9_]*(?:\.[0-9]+)?)")


@dataclass(frozen=True, slots=True)
class Limit:
    """How much a key may use in each minute, day or month of the calendar in UTC."""

    measure: Measure
    period: Period
    amount: int
    """Requests, tokens, or billionths of a US dollar."""

    @property
    def name(self) -> str:
        """`tokens/day`."""
        return f"{self.measure}/{self.period}"

    @property
    def fault(self) -> str | None:
        """Why no key can have it; None if one can."""
        if 0 < self.amount < _MOST_UNITS:
            return None
        return f"the limit {self.name} is {in_unit(self.measure, self.amount)}; it must be above 0 and below 4 billion"


def in_unit(measure: Measure, amount: int) -> int | float:
    """The amount as people count it: requests, tokens, US dollars."""
    return amount / UNITS_PER_USD if measure == "usd" else amount


def parse_limit(text: str) -> Limit:
    """A limit in words: `requests/minute=60`, `usd/month=199.50`.

    Raises:
        InputError: it has another form, or an amount that cannot be counted.
    """
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise InputError(
            f"The limit {text!r} is not understood. It is MEASURE/PERIOD=AMOUNT, as in requests/minute=60, "
            f"tokens/day=2000000 or usd/month=199.50; measures: {', '.join(MEASURES)}; periods: {', '.join(PERIODS)}."
        )
    groups: Any = found.groups()  # Any: the pattern allows the words of Measure and Period alone
    measure, period, number = groups
    return limit_of(measure, period, Decimal(number))


def limit_of(measure: Measure, period: Period, amount: Decimal) -> Limit:
    """A limit of an amount as people count it: requests, tokens, US dollars.

    Raises:
        InputError: it cannot be counted in the measure's units.
    """
    units = amount * (UNITS_PER_USD if measure == "usd" else 1)
    if units != units.to_integral_value():
        least = "a billionth of a dollar" if measure == "usd" else "whole ones"
        name = f"{measure}/{period}={amount}"
        raise InputError(f"The limit {name!r} cannot be counted: {measure} are counted in {least}.")
    return Limit(measure, period, int(units))
