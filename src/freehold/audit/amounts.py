"""Amounts and days as invoices write them. How a file writes them is settled by all of its values together.

`1,234` alone may be a thousand or one and a bit, `03/04/2026` March or April: where no value of the file settles it, it
is refused rather than guessed.
"""

from __future__ import annotations

import re
from calendar import month_abbr
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DecimalMark = Literal[".", ","]
DateOrder = Literal["dmy", "mdy"]

_CURRENCIES = {"$": "USD", "US$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR", "CHF": "CHF"}
_SIGNS = str.maketrans({"−": "-", "–": "-", "\u00a0": " ", "\u202f": " ", "’": "'"})
_AMOUNT = re.compile(r"(?P<number>[0-9][0-9.,' ]*(?:[eE][+-]?[0-9]{1,3})?|[.,][0-9]+)")
_CODE = re.compile(r"\b([A-Z]{3})\b")
_ISO_DAY = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?P<rest>.*)", re.DOTALL)
_LOCAL_DAY = re.compile(r"(\d{1,2})([/.-])(\d{1,2})\2(\d{4})\b.*", re.DOTALL)
_MONTHS = {name.lower(): number for number, name in enumerate(month_abbr) if name}
_NAMED_DAY = re.compile(
    r"(?:(\d{1,2})\.?[ -]([a-z]{3})[a-z]*\.?|([a-z]{3})[a-z]*\.? (\d{1,2})),?[ -]+(\d{4})\b.*", re.DOTALL
)
_EPOCH = re.compile(r"\d{10}(?:\d{3})?(?:\.\d+)?")
_OFFSET = re.compile(r"[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?\s*(?P<sign>[+-])(?P<hours>\d{2}):?(?P<minutes>\d{2})\s*$")
_LARGEST_DIGITS = 40


class Unreadable(ValueError):
    """A value that is no amount or no day; its text says why."""


@dataclass(frozen=True, slots=True)
class Amount:
    """A sum of money."""

    value: Decimal
    currency: str | None
    """As the value itself says; None: it does not."""


def decimal_mark(values: Iterable[str]) -> DecimalMark:
    """Which of point and comma the values write fractions with.

    Raises:
        Unreadable: they contradict each other, or no value tells.
    """
    votes: set[DecimalMark] = set()
    doubtful = ""
    for value in values:
        found = _AMOUNT.search(value.translate(_SIGNS))
        text = "" if found is None else found["number"].partition("e")[0].partition("E")[0]
        points, commas = text.count("."), text.count(",")
        if points and commas:
            votes.add("." if text.rindex(".") > text.rindex(",") else ",")
        elif points > 1 or commas > 1:
            votes.add("," if points else ".")
        elif commas == 1:
            if re.fullmatch(r"[1-9]\d{0,2},\d{3}", text.strip()):
                doubtful = value
            else:
                votes.add(",")
        elif points == 1 and not re.fullmatch(r"[1-9]\d{0,2}\.\d{3}", text.strip()):
            votes.add(".")
    if len(votes) > 1:
        raise Unreadable("some amounts have a decimal point and others a decimal comma")
    if not votes and doubtful:
        raise Unreadable(
            f"{doubtful.strip()[:20]!r} can be read in two ways and no other amount tells which; write 0.00"
        )
    return votes.pop() if votes else "."


def amount_of(text: str, mark: DecimalMark) -> Amount:
    """An amount: a sign or brackets, a currency and separators of thousands are understood.

    Raises:
        Unreadable: it is none.
    """
    plain = text.translate(_SIGNS).strip()
    found = _AMOUNT.search(plain)
    if found is None or not plain:
        raise Unreadable(f"{text[:30]!r} is no amount")
    around = f"{plain[: found.start()]} {plain[found.end() :]}"
    negative = around.count("-") + (plain.startswith("(") and plain.endswith(")"))
    words = around.translate(str.maketrans("", "", "-+()")).split()
    currency = None
    for word in words:
        code = _CURRENCIES.get(word) or (word.upper() if re.fullmatch("[A-Za-z]{3}", word) else None)
        if code is None or currency not in {None, code}:
            raise Unreadable(f"{text[:30]!r} is no amount")
        currency = code
    thousands = "," if mark == "." else "."
    number = found["number"].strip()
    whole, _, fraction = number.partition(mark)
    groups = re.split(f"[{re.escape(thousands)}' ]", whole)
    is_grouped = all(len(group) == 3 for group in groups[1:]) and 1 <= len(groups[0] or "0") <= 3
    if (len(groups) > 1 and not is_grouped) or negative > 1 or len(number) > _LARGEST_DIGITS:
        raise Unreadable(f"{text[:30]!r} is no amount")
    try:
        value = Decimal(f"{''.join(groups) or '0'}.{fraction or '0'}")
    except InvalidOperation:
        raise Unreadable(f"{text[:30]!r} is no amount") from None
    return Amount(-value if negative else value, currency)


def currency_in(heading: str) -> str | None:
    """The currency that a heading names, such as `Cost (EUR)` or `amount_usd`; None: it names none."""
    for sign, code in _CURRENCIES.items():
        if not sign.isalpha() and sign in heading:
            return code
    found = _CODE.findall(re.sub(r"[^A-Z]+", " ", heading.upper()))
    known = [code for code in found if code in {"USD", "EUR", "GBP", "JPY", "INR", "CHF", "CAD", "AUD", "CNY", "SEK"}]
    return known[0] if known else None


def date_order(values: Sequence[str]) -> DateOrder | None:
    """Whether days like 03/04/2026 name the day or the month first; None: there are none.

    Raises:
        Unreadable: they contradict each other, or no value tells.
    """
    votes: set[DateOrder] = set()
    doubtful = ""
    for value in values:
        found = _LOCAL_DAY.fullmatch(value.strip())
        if found is None:
            continue
        first, second = int(found[1]), int(found[3])
        if found[2] == "." or first > 12:
            votes.add("dmy")
        elif second > 12:
            votes.add("mdy")
        elif first != second:
            doubtful = value
    if len(votes) > 1:
        raise Unreadable("some days name the day first and others the month")
    if not votes and doubtful:
        raise Unreadable(f"{doubtful.strip()[:20]!r} may name the day or the month first; write it as YYYY-MM-DD")
    return votes.pop() if votes else None


def day_of(text: str, order: DateOrder | None) -> date:
    """The day of a date, of a moment (in UTC) or of seconds or milliseconds since 1970.

    Raises:
        Unreadable: it is none.
    """
    plain = text.strip()
    try:
        if _EPOCH.fullmatch(plain):
            seconds = float(plain) / (1000 if len(plain.partition(".")[0]) == 13 else 1)
            return datetime.fromtimestamp(seconds, UTC).date()
        if found := _ISO_DAY.fullmatch(plain):
            day = date(int(found[1]), int(found[2]), int(found[3]))
            return _in_utc(day, found["rest"])
        if found := _LOCAL_DAY.fullmatch(plain):
            first, second = int(found[1]), int(found[3])
            return date(int(found[4]), first, second) if order == "mdy" else date(int(found[4]), second, first)
        if found := _NAMED_DAY.fullmatch(plain.lower()):
            month = _MONTHS[found[2] or found[3]]
            return date(int(found[5]), month, int(found[1] or found[4]))
    except (ValueError, KeyError, OverflowError, OSError):
        pass
    raise Unreadable(f"{text[:30]!r} is no day; write it as YYYY-MM-DD")


def _in_utc(day: date, rest: str) -> date:
    """The day in UTC of a moment that says how far its zone is from it.

    Midnight of a zone is no moment but the name of a day, as a bill counts it there.
    """
    found = _OFFSET.search(rest)
    clock = re.match(r"[T ](\d{1,2}):(\d{2})", rest)
    if found is None or clock is None or not int(clock[1]) + int(clock[2]):
        return day
    ahead = timedelta(hours=int(found["hours"]), minutes=int(found["minutes"]))
    moment = datetime(day.year, day.month, day.day, int(clock[1]), int(clock[2]), tzinfo=UTC)
    return (moment - ahead if found["sign"] == "+" else moment + ahead).date()
