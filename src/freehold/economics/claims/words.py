"""Numbers inside generated sentences and lines of arithmetic."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_DIGITS = 6
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_WORDS = ((1e12, 1e12, " trillion"), (1e9, 1e9, " billion"), (1e7, 1e6, " million"))


def number_words(value: float) -> str:
    """Whole below ten million or six significant digits; millions, billions and trillions by name."""
    amount = abs(value)
    sign = "−" if value < 0 else ""
    if amount >= 1e15 or 0 < amount < 1e-6:
        mantissa, exponent = f"{amount:.{_DIGITS - 1}e}".split("e")
        return f"{sign}{mantissa.rstrip('0').rstrip('.')} × {_power_of_ten(int(exponent))}"
    for least, divisor, word in _WORDS:
        if amount >= least:
            return f"{sign}{_plain(amount / divisor)}{word}"
    return sign + _plain(amount)


def constant_words(value: float) -> str:
    """A number that belongs to a formula: a large power of ten as such."""
    exponent = round(math.log10(value)) if value > 0 else 0
    return _power_of_ten(exponent) if exponent >= 9 and value == 10.0**exponent else number_words(value)


def amount_words(value: float, unit: str) -> str:
    """A number with its unit; dollars carry their sign in front."""
    if unit == "USD" or unit.startswith("USD/"):
        sign = "−" if value < 0 else ""
        return f"{sign}${_with_cents(number_words(abs(value)))}{unit.removeprefix('USD')}"
    return f"{number_words(value)} {unit}".rstrip()


def _with_cents(digits: str) -> str:
    """`2.5` is written `2.50` where it is money; a price with more digits keeps them."""
    whole, point, cents = digits.partition(".")
    return f"{whole}.{cents:0<2}" if point and cents.isdigit() else digits


def range_words(values: Iterable[float], unit: str) -> str:
    """`4 to 16 GPU-h`; a single number when both ends are the same."""
    ends = sorted(set(values))
    if len(ends) == 1:
        return amount_words(ends[0], unit)
    money = unit == "USD" or unit.startswith("USD/")
    first = amount_words(ends[0], "USD") if money else number_words(ends[0])
    return f"{first} to {amount_words(ends[-1], unit)}"


def short(value: float) -> float:
    """The number as people say it: four significant digits, whole from ten thousand to ten million."""
    return float(round(value)) if 1e4 <= abs(value) < 1e7 else float(f"{value:.4g}")


def about_words(values: Iterable[float], unit: str) -> str:
    """A range or a number in few digits, for sentences; lines of arithmetic keep more."""
    return range_words((short(value) for value in values), unit)


def input_words(value: float | tuple[float, float] | str, unit: str) -> str:
    """An input inside a line of arithmetic: no unit but the sign of dollars, a range with a dash."""
    if isinstance(value, str):
        return value
    money = "USD" if unit == "USD" or unit.startswith("USD/") else ""
    ends = value if isinstance(value, tuple) else (value,)
    return "–".join(dict.fromkeys(amount_words(end, money) for end in ends))


def _power_of_ten(exponent: int) -> str:
    return f"10{str(exponent).translate(_SUPERSCRIPTS)}"


def _plain(amount: float) -> str:
    if amount == 0:
        return "0"
    decimals = max(0, _DIGITS - 1 - math.floor(math.log10(amount)))
    text = f"{amount:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text
