"""Finds personal data in text and masks it so that it can be put back.

Found: e-mail addresses, IBANs, payment card numbers, telephone numbers, IP addresses, street addresses that
carry a house number, and what is called an account number, a sort code, a customer or social security number,
or a date of birth. Full-width and invisible characters hide nothing. **Names of people are not found**: no rule
finds them, it takes a language model. Whoever must mask names has to do it before the text comes here.

IBANs and cards count only when their check digits are right, so that order numbers, amounts and dates stay.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from stdnum import ean, iban, luhn, numdb

from freehold.text.known_values import find_known
from freehold.text.named_numbers import find_accounts, find_birthdates, find_ids
from freehold.text.phones import find_phones
from freehold.text.plain import plain_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

Kind = Literal["EMAIL", "IBAN", "CARD", "BIRTHDATE", "ACCOUNT", "ID", "PHONE", "IP", "ADDRESS"]

_NOTHING_TO_FIND = re.compile(r"[^\d@(\[:]*\Z")
_EMAIL = re.compile(
    r"(?<![\w.+%-])[\w.+%-]{1,64}+(?:@|[ ]?[(\[](?:at|AT)[)\]][ ]?)"
    r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?(?:\.|[ ]?[(\[](?:dot|DOT)[)\]][ ]?)){1,8}[^\W\d_]{2,24}(?![\w-])"
)
_IBAN_START = re.compile(r"(?<![^\W_])[A-Za-z]{2} ?[0-9]{2}(?=[ .\u00a0-]?[A-Za-z0-9])")
_CARD = re.compile(
    r"(?<!\w)(?<!\w[-./,])"
    r"(?:(?P<four>[0-9]{4}(?P<gap>[ .\u00a0-]{1,2})[0-9]{4}(?P=gap)[0-9]{4}(?P=gap)[0-9]{4})(?:(?P=gap)[0-9]{3})?"
    r"|[0-9]{4}([ .\u00a0-]{1,2})[0-9]{6}\3[0-9]{4,5}|[0-9]{13,19})"
    r"(?!\w|[-./,]\d)"
)
_CARD_ISSUER_BY_LENGTH = {
    13: re.compile(r"4"),
    14: re.compile(r"3[0689]"),
    15: re.compile(r"3[47]"),
    16: re.compile(r"2[2-7]|3[0589]|[456]|81|9792"),
    19: re.compile(r"[46]|81"),
}
"""First digits of the networks that issue cards of a length. Source: ISO/IEC 7812 issuer ranges."""
_IPV4 = re.compile(
    r"(?<![\w.,-])(?<![Vv]ersion )(?<![Ss]ection )(?<!§ )"
    r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w-]|[.,]\d|[ \u00a0]?(?:[€$£]|EUR|USD))"
)
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])")
_WORD = "[A-ZÄÖÜ][a-zäöüß]{1,24}"
_ADDRESS = re.compile(
    rf"\b(?:{_WORD}-){{0,3}}(?:{_WORD}(?:straße|strasse|str\.|weg|allee|gasse|platz|damm)"
    rf"|(?:{_WORD}[ -])?(?:Straße|Strasse|Str\.|Weg|Allee|Gasse|Platz|Damm))"
    r"[ ][0-9]{1,4}(?:[ ]?[a-h])?\b(?![.,:/]\d|[ \u00a0]?(?:[€$£%]|EUR|USD|Uhr|Euro|[Mm]in|[Kk]m\b|Stunde))"
    r"|(?<![£€$])\b[0-9]{1,4}[a-h]?[ ](?:[A-Z][a-z]{1,24}[ ]){1,3}"
    r"(?:Street|St|Avenue|Ave|Road|Rd|Lane|Drive|Terrace|Crescent)\b"
)
_PLACEHOLDER = re.compile(r"\[([A-Z]{1,16})_(\d{1,9})\]")
_IBAN_SEPARATORS = " .-\u00a0"
_SPELLED_AT = re.compile(r" ?[(\[]at[)\]] ?")
_SPELLED_DOT = re.compile(r" ?[(\[]dot[)\]] ?")
_SEPARATORS = re.compile(r"[ .\u00a0()/-]")


@dataclass(frozen=True, slots=True)
class Span:
    """One piece of personal data: `text[start:end]`."""

    kind: Kind
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Masked:
    """A text without its personal data, and what stood there."""

    text: str
    mapping: Mapping[str, str]
    """Placeholder such as `[EMAIL_1]` -> what it replaces."""


def find_pii(text: str) -> list[Span]:
    """Personal data of a text, from left to right; spans never overlap. Takes time linear in its length."""
    plain = plain_text(text)
    if _NOTHING_TO_FIND.match(plain.text):
        return []
    taken = bytearray(len(text))
    spans = []
    for kind, find in _FINDERS:
        for start, end in itertools.starmap(plain.span, find(plain.text)):
            if not any(taken[start:end]):
                taken[start:end] = b"\x01" * (end - start)
                spans.append(Span(kind, start, end))
    return sorted(spans, key=lambda span: span.start)


def mask_pii(text: str, *, known: Mapping[str, str] | None = None) -> Masked:
    """Replace personal data by placeholders that are numbered per kind in the order of appearance.

    Args:
        text: What to mask.
        known: Placeholders that the same conversation has got already. A value among them gets its placeholder
            wherever it stands, also with other separators or none, and with no word before it that tells what it is.

    Returns:
        The masked text and all placeholders, the known ones first.
    """
    return _mask(text, dict(known or {}), reserved=set(_PLACEHOLDER.findall(text)))


def mask_texts(texts: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Mask the turns of one conversation with one mapping for all of them."""
    reserved = {literal for text in texts for literal in _PLACEHOLDER.findall(text)}
    mapping: dict[str, str] = {}
    masked = []
    for text in texts:
        result = _mask(text, mapping, reserved=reserved)
        masked.append(result.text)
        mapping = dict(result.mapping)
    return masked, mapping


def unmask(text: str, mapping: Mapping[str, str]) -> str:
    """Put back what the placeholders replaced; placeholders that are not in the mapping stay."""
    return _PLACEHOLDER.sub(lambda match: mapping.get(match[0], match[0]), text)


def kind_of(placeholder: str) -> str:
    """The kind in a placeholder: `EMAIL` of `[EMAIL_2]`."""
    return placeholder[1 : placeholder.rindex("_")]


def _mask(text: str, known: Mapping[str, str], *, reserved: Iterable[tuple[str, str]]) -> Masked:
    mapping = dict(known)
    by_value = {value: placeholder for placeholder, value in known.items()}
    by_compact = {_compact(value): placeholder for placeholder, value in known.items()}
    taken = {f"[{kind}_{number}]" for kind, number in reserved} | mapping.keys()
    count = Counter(kind_of(placeholder) for placeholder in mapping)
    pieces = []
    position = 0
    for start, end, kind, shown in _places(text, known):
        value = text[start:end]
        placeholder = shown or by_value.get(value) or by_compact.get(_compact(value))
        if placeholder is None:
            placeholder = _next_placeholder(kind, count, taken)
            mapping[placeholder] = value
            by_value[value] = placeholder
        pieces += [text[position:start], placeholder]
        position = end
    return Masked("".join([*pieces, text[position:]]), mapping)


def _places(text: str, known: Mapping[str, str]) -> list[tuple[int, int, str, str | None]]:
    """What to mask, as (start, end, kind, placeholder if known): known values first, unless part of a longer find."""
    spans = find_pii(text)
    if not known:
        return [(span.start, span.end, span.kind, None) for span in spans]
    starts = [span.start for span in spans]
    places: list[tuple[int, int, str, str | None]] = []
    for start, end, placeholder in find_known(text, known):
        before = bisect_right(starts, start) - 1
        is_part = before >= 0 and end <= spans[before].end and (starts[before], spans[before].end) != (start, end)
        if not is_part:
            places.append((start, end, kind_of(placeholder), placeholder))
    taken = bytearray(len(text))
    for start, end, _, _ in places:
        taken[start:end] = b"\x01" * (end - start)
    places += [(span.start, span.end, span.kind, None) for span in spans if not any(taken[span.start : span.end])]
    return sorted(places)


def _next_placeholder(kind: str, count: Counter[str], taken: set[str]) -> str:
    """The next free number of a kind; a text that holds `[EMAIL_1]` by itself keeps it for itself."""
    while True:
        count[kind] += 1
        placeholder = f"[{kind}_{count[kind]}]"
        if placeholder not in taken:
            return placeholder


def _compact(value: str) -> str:
    """A value without the separators that people choose freely; an e-mail differs by case only."""
    value = _SPELLED_DOT.sub(".", _SPELLED_AT.sub("@", plain_text(value).text.casefold()))
    return value if "@" in value else _SEPARATORS.sub("", value)


def _emails(text: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in _EMAIL.finditer(text))


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    for match in _IBAN_START.finditer(text):
        length = _iban_length(match[0][:2].upper())
        end = _end_of_iban(text, match.start(), length)
        if end is not None and iban.is_valid(text[match.start() : end].translate(_NO_IBAN_SEPARATORS)):
            yield match.start(), end


def _end_of_iban(text: str, start: int, length: int) -> int | None:
    """Where `length` letters and digits end, single separators allowed; None if there are fewer."""
    position, count = start, 0
    while count < length and position < len(text):
        if text[position].isascii() and text[position].isalnum():
            count += 1
        elif text[position] not in _IBAN_SEPARATORS or text[position - 1] in _IBAN_SEPARATORS:
            return None
        position += 1
    is_whole = count == length > 0 and not text[position : position + 1].isalnum()
    return position if is_whole else None


@cache
def _iban_length(country: str) -> int:
    """Characters of a country's IBAN, 0 where there is none. The registry writes its form as `8!n10!n`."""
    properties = numdb.get("iban").info(country)[0][1]
    parts = re.findall(r"(\d+)!", properties.get("bban", ""))
    return 4 + sum(map(int, parts)) if parts else 0


def _cards(text: str) -> Iterator[tuple[int, int]]:
    for match in _CARD.finditer(text):
        if _is_card(match[0]):
            yield match.span()
        elif match["four"] and match["gap"].isspace() and _is_card(match["four"]):  # three other digits follow
            yield match.span("four")


def _is_card(text: str) -> bool:
    """An issuer's number with the right check digit; 13 digits may be the number of an article instead."""
    digits = _SEPARATORS.sub("", text)
    issuer = _CARD_ISSUER_BY_LENGTH.get(len(digits))
    if issuer is None or not issuer.match(digits) or not luhn.is_valid(digits):
        return False
    return len(digits) != 13 or not ean.is_valid(digits)


def _ip_addresses(text: str) -> Iterator[tuple[int, int]]:
    for match in _IPV4.finditer(text):
        if _is_ip(match[0]) and any(int(octet) >= 10 for octet in match[0].split(".")):  # 3.1.2.4 is a section
            yield match.span()
    for match in _IPV6.finditer(text):
        if len(match[0]) >= 6 and any(map(str.isdigit, match[0])) and _is_ip(match[0]):
            yield match.span()


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _addresses(text: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in _ADDRESS.finditer(text))


_NO_IBAN_SEPARATORS = str.maketrans("", "", _IBAN_SEPARATORS)
_FINDERS: tuple[tuple[Kind, Callable[[str], Iterable[tuple[int, int]]]], ...] = (
    ("EMAIL", _emails),
    ("IBAN", _ibans),
    ("CARD", _cards),
    ("BIRTHDATE", find_birthdates),
    ("ACCOUNT", find_accounts),
    ("ID", find_ids),
    ("PHONE", find_phones),
    ("IP", _ip_addresses),
    ("ADDRESS", _addresses),
)
"""Where two kinds claim the same characters, the earlier one has them."""
