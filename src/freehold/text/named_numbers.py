"""Numbers and dates that are personal only because the words before them say so."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINK = r"[ ]?[.:=#]{0,2}[ ]{0,2}(?:(?:is|was|ist|war|lautet)[ :]{1,3})?"
"""What may stand between the word and the number."""
_NUMBER_WORD = r"(?:[ .-]{0,2}(?:number|nummer|num|no|nr)\b)"
_NO_MORE = r"(?![^\W_]|[.,:/-]\d|[ ]?(?:[€$£%]|(?:eur|euros?|usd|gbp|chf|pounds?|dollars?)\b))"
_NO_DATE = r"(?!\d{4}-\d\d-\d\d\b|\d\d?[ -]\d\d?[ -](?:19|20)\d\d\b)"
_MONTH = r"(?:jan|feb|mar|mär|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez)[a-zä]{0,6}"  # in English and German

_ACCOUNT = re.compile(
    rf"\b(?:(?:account|acct|a/c|konto){_NUMBER_WORD}?{_LINK}{_NO_DATE}(?P<account>\d(?:[ -]?\d){{5,16}}){_NO_MORE}"
    rf"|sort[ -]?code{_LINK}(?P<sort>\d\d(?P<gap>[ -]?)\d\d(?P=gap)\d\d){_NO_MORE})",
    re.IGNORECASE,
)
_ID = re.compile(
    rf"\b(?:(?:ssn|social security){_NUMBER_WORD}?{_LINK}(?P<ssn>\d{{3}}[ -]?\d\d[ -]?\d{{4}}){_NO_MORE}"
    rf"|(?:customer|client){_NUMBER_WORD}{_LINK}(?P<customer>\d(?:[ -]?\d){{4,13}}){_NO_MORE}"
    rf"|kunden{_NUMBER_WORD}{_LINK}(?P<kunde>[1-9](?:[ -]?\d){{4,13}}){_NO_MORE})",
    re.IGNORECASE,
)
_BIRTHDATE = re.compile(
    rf"(?:\b(?:dob|date of birth|birth ?da(?:te|y)|born|geburtsdatum|geburtstag|geboren|geb)\b|\bd\.o\.b)"
    rf"{_LINK}(?:(?:on|am)[ ])?"
    rf"(?P<date>\d{{1,2}}[./ -]\d{{1,2}}[./ -](?:\d{{4}}|\d\d)|\d{{4}}[./-]\d\d[./-]\d\d"
    rf"|\d{{1,2}}(?:st|nd|rd|th|\.)?[ ]{_MONTH}\.?[ ]\d{{4}}|{_MONTH}\.?[ ]\d{{1,2}}(?:st|nd|rd|th)?,?[ ]\d{{4}})"
    r"(?![^\W_])",
    re.IGNORECASE,
)


def find_accounts(text: str) -> Iterator[tuple[int, int]]:
    """Account numbers and sort codes that are called so."""
    return _named(_ACCOUNT, text)


def find_ids(text: str) -> Iterator[tuple[int, int]]:
    """Social security and customer numbers that are called so; a German one with a leading zero is left."""
    return _named(_ID, text)


def find_birthdates(text: str) -> Iterator[tuple[int, int]]:
    """Dates that are called somebody's birth."""
    return _named(_BIRTHDATE, text)


def _named(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    for match in pattern.finditer(text):
        yield match.span(match.lastgroup or 0)
