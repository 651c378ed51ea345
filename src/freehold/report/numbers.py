"""Numbers rounded for people, with their unit. The records keep the exact ones.

None, NaN and infinities are shown as "not measured", which differs from 0.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

NOT_MEASURED = "not measured"
_SCALES = ((1e15, 1e15, " × 10¹⁵"), (1e9, 1e9, " bn"), (1e7, 1e6, " M"))


def number(value: Any) -> float | None:  # Any: a field of a JSON record
    """The field as a finite number, or None when the record holds none."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    return float(value) if math.isfinite(value) else None


def usd(value: Any) -> str:  # Any: a field of a JSON record
    """US dollars: cents below 100, four significant digits below one cent."""
    amount = number(value)
    if amount is None:
        return NOT_MEASURED
    return f"{_sign(amount)}${_money(abs(amount))}"


def bill_usd(value: Any) -> str:  # Any: a field of a JSON record
    """A month's bill: as `usd`, but nobody is billed for less than a cent."""
    amount = number(value)
    return "under $0.01" if amount is not None and 0 < amount < 0.01 else usd(value)


def rate_usd(value: Any) -> str:  # Any: a field of a JSON record
    """A price of one unit: four significant digits, cents at least where there are any."""
    amount = number(value)
    if amount is None:
        return NOT_MEASURED
    whole, point, cents = plain_number(abs(amount)).partition(".")
    return f"{_sign(amount)}${whole}{point}{cents + '0' if len(cents) == 1 else cents}"


def brief_usd(value: Any) -> str:  # Any: a field of a JSON record
    """US dollars for a headline: three significant digits, thousands as k."""
    amount = number(value)
    if amount is None:
        return NOT_MEASURED
    size = abs(float(f"{amount:.3g}"))
    for least, unit in ((1e9, " bn"), (1e6, " M"), (1e4, "k")):
        if size >= least:
            digits = float(f"{size / (1e3 if unit == 'k' else least):.3g}")
            return f"{_sign(amount)}${digits:,.12g}{unit}"
    return f"{_sign(amount)}${_money(size)}"


def count(value: Any) -> str:  # Any: a field of a JSON record
    """A whole number with separators of thousands, in millions from ten million on."""
    amount = number(value)
    return NOT_MEASURED if amount is None else f"{_sign(round(amount))}{_scaled(abs(amount), 0)}"


def exact(value: Any) -> str:  # Any: a field of a JSON record
    """A whole number with all of its digits, for what was counted and is compared."""
    amount = number(value)
    return NOT_MEASURED if amount is None else f"{_sign(round(amount))}{abs(round(amount)):,}"


def queries(value: Any) -> str:  # Any: a field of a JSON record
    """Queries a month as somebody asks them: a count, with its fraction where there are hardly any."""
    amount = number(value)
    return plain_number(value, 3) if amount is not None and 0 < amount < 10 else count(value)


def volume(value: Any) -> str:  # Any: a field of a JSON record
    """A count that is a forecast: three significant digits, in millions from a million on."""
    amount = number(value)
    if amount is None:
        return NOT_MEASURED
    if amount == 0 or abs(amount) >= 1e9:
        return count(amount)
    rounded = round(amount, min(0, 2 - math.floor(math.log10(abs(amount)))))
    if abs(rounded) >= 1e9:
        return count(rounded)
    if abs(rounded) >= 1e6:
        return f"{_sign(rounded)}{abs(rounded) / 1e6:.3g} M"
    return count(rounded)


def share(value: Any) -> str:  # Any: a field of a JSON record
    """A share of one, in percent with one decimal."""
    amount = number(value)
    return NOT_MEASURED if amount is None else f"{_signed_fixed(100 * amount, 1)} %"


def bare_points(value: Any) -> str:  # Any: a field of a JSON record
    """Percentage points with their sign, for a column whose head names the unit."""
    return points(value).removesuffix(" points")


def points(value: Any) -> str:  # Any: a field of a JSON record
    """A difference of two shares, in percentage points with its sign."""
    amount = number(value)
    if amount is None:
        return NOT_MEASURED
    text = _signed_fixed(100 * amount, 1)
    return f"{text if amount <= 0 or text == '0.0' else '+' + text} points"


def plain_number(value: Any, digits: int = 4) -> str:  # Any: a field of a JSON record
    """A number without a unit of its own, at most `digits` significant digits below 1,000."""
    amount = number(value)
    if amount is None:
        return NOT_MEASURED
    if abs(amount) >= 1000:
        return count(amount)
    return f"{amount:.{digits}g}".replace("-", "−")


def milliseconds(value: Any) -> str:  # Any: a field of a JSON record
    """A latency: milliseconds below one second, seconds above."""
    amount = number(value)
    if amount is None:
        return NOT_MEASURED
    return f"{amount:.0f} ms" if amount < 1000 else f"{amount / 1000:.1f} s"


def size(value: Any) -> str:  # Any: a field of a JSON record
    """Bytes with the unit that leaves the fewest digits: 812 bytes, 12.3 kB, 4.0 GB."""
    amount = number(value)
    if amount is None:
        return NOT_MEASURED
    for least, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if amount >= least:
            return f"{amount / least:,.1f} {unit}"
    return f"{amount:.0f} bytes"


def duration(value: Any) -> str:  # Any: a field of a JSON record
    """A length of time: 0.4 s, 45 s, 3 min 05 s, 1 h 02 min."""
    amount = number(value)
    if amount is None:
        return NOT_MEASURED
    seconds = max(0.0, amount)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02d} min"


def interval(low: Any, high: Any, form: Callable[[Any], str]) -> str:  # Any: fields of a JSON record
    """`low to high`; "interval not measured" when an end is missing."""
    if number(low) is None or number(high) is None:
        return f"interval {NOT_MEASURED}"
    return f"{_without_unit(form(low), form(high))} to {form(high)}"


def _without_unit(first: str, second: str) -> str:
    """The first text without the unit that both end in."""
    for unit in (" points", " %"):
        if first.endswith(unit) and second.endswith(unit):
            return first.removesuffix(unit)
    return first


def _sign(amount: float) -> str:
    return "−" if amount < 0 else ""


def _signed_fixed(amount: float, decimals: int) -> str:
    text = f"{abs(amount):.{decimals}f}"
    return f"−{text}" if amount < 0 and float(text) != 0 else text


def _money(amount: float) -> str:
    if amount == 0:
        return "0"
    if amount < 0.01:
        digits = 3 - math.floor(math.log10(amount))
        return f"{amount:.{min(digits, 12)}f}".rstrip("0").rstrip(".")
    return _scaled(amount, 2 if amount < 99.995 else 0)


def _scaled(amount: float, decimals: int) -> str:
    for least, divisor, unit in _SCALES:
        if amount >= least:
            return f"{amount / divisor:,.1f}{unit}"
    return f"{amount:,.{decimals}f}"
