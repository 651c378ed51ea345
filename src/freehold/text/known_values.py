"""Finds values that a conversation has shown before, where nothing else tells that they are personal data."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, NamedTuple

from freehold.text.plain import plain_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from freehold.text.plain import Plain

_FREELY_SEPARATED = frozenset({"PHONE", "CARD", "IBAN", "ACCOUNT", "ID", "BIRTHDATE"})
_FREE_FROM = 7
"""Letters and digits from which on a value is known again without its separators; shorter ones are too common."""
_SEPARATORS = frozenset(" .()/-\u00a0")
_LONGEST_GAP = 3
_DATE = re.compile(r"(\d{1,2})\D(\d{1,2})\D(\d{4})|(\d{4})\D(\d{1,2})\D(\d{1,2})")


class Known(NamedTuple):
    """A known value in a text: `text[start:end]`."""

    start: int
    end: int
    placeholder: str


def find_known(text: str, known: Mapping[str, str]) -> list[Known]:
    """Where known values stand, whatever their separators; where two claim a place, the longer one has it."""
    plain = plain_text(text)
    at = [place for place, character in enumerate(plain.text) if character.isalnum()]
    letters = "".join(map(_lower, (plain.text[place] for place in at)))
    found = []
    taken = bytearray(len(text))
    needles = [(needle, placeholder) for placeholder, value in known.items() for needle in _needles(placeholder, value)]
    for needle, placeholder in sorted(needles, key=lambda pair: -len(pair[0])):
        value = plain_text(known[placeholder]).text
        for index in _occurrences(letters, needle):
            place = _place(plain, at[index : index + len(needle)], value, is_free=_is_free(placeholder, needle))
            if place is not None and not any(taken[place[0] : place[1]]):
                taken[place[0] : place[1]] = b"\x01" * (place[1] - place[0])
                found.append(Known(*place, placeholder))
    return sorted(found)


def known_number(number: int, known: Mapping[str, str]) -> str | None:
    """Placeholder of the known value that a number is, for a number has no separators and no leading zeros."""
    digits = str(number)
    for placeholder, value in known.items():
        if any(
            _is_free(placeholder, needle) and needle.lstrip("0") == digits for needle in _needles(placeholder, value)
        ):
            return placeholder
    return None


def _is_free(placeholder: str, needle: str) -> bool:
    return len(needle) >= _FREE_FROM and placeholder[1 : placeholder.rindex("_")] in _FREELY_SEPARATED


def _needles(placeholder: str, value: str) -> set[str]:
    """The letters and digits of a value in each order in which people write it."""
    plain = plain_text(value).text
    needle = "".join(_lower(character) for character in plain if character.isalnum())
    if placeholder.startswith("[PHONE_") and plain.startswith(("+", "00")):
        core = needle.removeprefix("00")
        return {core, f"00{core}"}
    date = _DATE.fullmatch(plain) if placeholder.startswith("[BIRTHDATE_") else None
    if date is None:
        return {needle} - {""}
    first, second, year = (date[1], date[2], date[3]) if date[3] else (date[5], date[6], date[4])
    pairs = {(f"{a:0>2}", f"{b:0>2}") for a, b in ((first, second), (second, first))}
    return {needle, *(f"{a}{b}{year}" for a, b in pairs), *(f"{year}{a}{b}" for a, b in pairs)}


def _lower(character: str) -> str:
    lower = character.lower()
    return lower if len(lower) == 1 else character


def _occurrences(letters: str, needle: str) -> Iterator[int]:
    index = letters.find(needle)
    while index >= 0:
        yield index
        index = letters.find(needle, index + 1)


def _place(plain: Plain, at: list[int], value: str, *, is_free: bool) -> tuple[int, int] | None:
    """Where the value stands whose letters are at these places; None if this is part of something else."""
    text = plain.text
    lead = next(index for index, character in enumerate(value) if character.isalnum())
    start, end = at[0], at[-1] + 1
    if lead and text[max(0, start - lead) : start] == value[:lead]:
        start -= lead
    elif text[start - 1 : start] == "+":
        start -= 1
    is_whole = not (
        text[start - 1 : start].isalnum()
        or text[end : end + 1].isalnum()
        or re.match(r"[.,]\d", text[end : end + 2])
        or re.match(r"\d[.,]", text[max(0, start - 2) : start])
    )
    is_same = " ".join(text[start:end].lower().split()) == " ".join(value.rstrip().lower().split())
    if not is_whole or not (is_same or (is_free and _has_free_gaps(text, at))):
        return None
    return plain.span(start, end)


def _has_free_gaps(text: str, at: list[int]) -> bool:
    gaps = (text[one + 1 : other] for one, other in itertools.pairwise(at))
    return all(len(gap) <= _LONGEST_GAP and _SEPARATORS.issuperset(gap) for gap in gaps)
