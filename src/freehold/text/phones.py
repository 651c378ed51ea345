"""Telephone numbers in running text, told from amounts, dates and order numbers."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

import phonenumbers

if TYPE_CHECKING:
    from collections.abc import Iterator

_REGIONS = ("DE", "AT", "CH", "GB", "FR", "IT", "ES", "NL")
"""National numbers with a leading zero are tried as numbers of these countries."""

_GAP = r"[ \-./()\u00a0]"
_INTERNATIONAL = re.compile(rf"(?<![\w+])(?:\+|00)[ (]?\d(?:{_GAP}{{0,2}}\d){{6,18}}(?!\w)")
_PAIRS = re.compile(r"(?<![\w+.,/-])0[1-9](?:[ .-]\d\d){4}(?![\w]|[.,/-]\d)")
_NATIONAL = re.compile(
    r"(?<![\w+.,/-])(?:\(0\d{1,4}\)[ ]?|0\d{1,4}(?:[ /-]|[ ]?[/-][ ]))\d{2,8}(?:[ -]?\d{2,8}){0,4}"
    r"(?![\w]|[.,/:-]\d)"
)
_BARE = re.compile(r"(?<![\w+.,/-])0[1-9]\d{8,10}(?![\w]|[.,/:-]\d)")
_NORTH_AMERICAN = re.compile(r"(?<![\w+.,/-])(?:\([2-9]\d\d\) ?|[2-9]\d\d[-. ]?)\d{3}[-. ]?\d{4}(?![\w]|[.,/:-]\d)")
_SEPARATED = re.compile(r"\(?\d{3}(?:\) ?|[-.])\d{3}[-. ]\d{4}")

_CUE = re.compile(
    r"(?P<phone>phone|telefon|handy|mobil|\b(?:tel|call|ring|reach|whats ?app|fax|cell|text me|my number)\b"
    r"|meine nummer|rückruf|anruf|rufen|erreich)"
    r"|(?:order|bestell|auftrag|invoice|rechnung|kunde|customer|ticket|vorgang|tracking|sendung|account|konto"
    r"|transaction|transaktion|\b(?:ref|reference|case|id|n[or])\b|\bnr|#)",
    re.IGNORECASE,
)
_CUE_WINDOW = 32
_MONEY_OR_MORE = re.compile(
    r"[.,:/-]\d|[ \u00a0]?(?:[€$£%]|(?:eur|euros?|usd|gbp|chf|pounds?|dollars?)\b)", re.IGNORECASE
)
_THOUSANDS = re.compile(r"\+\d{1,3}(?:[ .\u00a0]\d{3})+\Z")
_DATE_LIKE = re.compile(r"\(?0\d[ /-]{1,3}(?:19|20)\d\d\b|\(?0\d[ /-]{1,3}\d\d[ /-]{1,3}(?:19|20)?\d\d\b")


def find_phones(text: str) -> list[tuple[int, int]]:
    """Start and end of each telephone number, in the order in which its form is tried.

    International numbers (`+` or `00` first) count when they fit their country's plan. National ones
    count only when they are written as telephone numbers are, are valid in one of a few countries, and no
    word before them (order, invoice, customer number) says that they are something else.
    """
    spans = []
    for match in _INTERNATIONAL.finditer(text):
        end = _end_of_international(text, match.start(), match.end())
        if end is not None:
            spans.append((match.start(), end))
    spans += [match.span() for match in _PAIRS.finditer(text) if _is_national(text, match)]
    spans += [
        match.span()
        for match in _NATIONAL.finditer(text)
        if not _DATE_LIKE.match(match[0]) and _is_national(text, match)
    ]
    spans += [match.span() for match in _BARE.finditer(text) if _is_national(text, match, mobile_unless_named=True)]
    spans += [match.span() for match in _NORTH_AMERICAN.finditer(text) if _is_north_american(text, match)]
    return spans


def _end_of_international(text: str, start: int, end: int) -> int | None:
    """End of the longest number that begins at `start`, ends between groups and eats no amount.

    A valid number comes first; one whose country exists and whose length is possible there comes second, for
    plans change and some ranges are reserved. That takes a `+`, and no grouping like that of a large amount.
    """
    ends = list(_ends_between_groups(text, start, end))
    for close in ends:
        if _is_valid(_with_plus(text[start:close]), None):
            return close
    for close in ends:
        if (
            text[start] == "+"
            and not _THOUSANDS.match(text[start:close])
            and _is_possible(_with_plus(text[start:close]))
        ):
            return close
    return None


def _ends_between_groups(text: str, start: int, end: int) -> Iterator[int]:
    """Where a group of digits ends after 8 to 15 digits and no amount or date begins, the last first."""
    while len(number := _with_plus(text[start:end])) > 8:
        if len(number) <= 16 and not _MONEY_OR_MORE.match(text, end):
            yield end
        while text[end - 1].isdigit():
            end -= 1
        while end > start and not text[end - 1].isdigit():
            end -= 1


def _with_plus(text: str) -> str:
    digits = _digits(text)
    return f"+{digits.removeprefix('00') if text.startswith('0') else digits}"


def _named(text: str, start: int) -> str | None:
    """What the nearest telling word before a number calls it: phone, other, or None without such a word."""
    cues = list(_CUE.finditer(text[max(0, start - _CUE_WINDOW) : start]))
    return (cues[-1].lastgroup or "other") if cues else None


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit())


def _is_national(text: str, match: re.Match[str], *, mobile_unless_named: bool = False) -> bool:
    digits = _digits(match[0])
    name = _named(text, match.start())
    mobile_only = mobile_unless_named and name is None
    return (
        9 <= len(digits) <= 12
        and name != "other"
        and any(_is_valid(digits, region, mobile_only=mobile_only) for region in _REGIONS)
    )


def _is_north_american(text: str, match: re.Match[str]) -> bool:
    """Ten digits need a word before them that says telephone, or separators and a valid area code."""
    name = _named(text, match.start())
    if name == "phone":
        return not _MONEY_OR_MORE.match(text, match.end())
    return name is None and bool(_SEPARATED.fullmatch(match[0])) and _is_valid(_digits(match[0]), "US")


@lru_cache(maxsize=65536)
def _is_possible(number: str) -> bool:
    try:
        return len(number) > 10 and bool(phonenumbers.is_possible_number(phonenumbers.parse(number, None)))
    except phonenumbers.NumberParseException:
        return False


@lru_cache(maxsize=65536)
def _is_valid(number: str, region: str | None, *, mobile_only: bool = False) -> bool:
    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return False
    if mobile_only:
        return bool(phonenumbers.number_type(parsed) == phonenumbers.PhoneNumberType.MOBILE)
    return bool(phonenumbers.is_valid_number(parsed))
