"""JSON inside an answer: found, read, and compared as a reader would."""

from __future__ import annotations

import unicodedata
from decimal import Decimal, InvalidOperation
from json import JSONDecoder
from typing import Any

from freehold.evaluation.metrics.score import LONGEST_ANSWER

_DEEPEST = 32
_FIRST_BRACES = 8


def first_object(text: str) -> dict[str, Any] | None:  # Any: JSON
    """The first JSON object in `text`, whatever stands around it; numbers become Decimal.

    None when there is none, or when the text is too long or nested too deeply to be an honest answer.
    """
    if len(text) > LONGEST_ANSWER:
        return None
    decoder = JSONDecoder(parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse_constant)
    start = text.find("{")
    for _ in range(_FIRST_BRACES):
        if start < 0:
            break
        try:
            value, _end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError, InvalidOperation):
            start = text.find("{", start + 1)
        else:
            return None if _is_too_deep(value) else value
    return None


def _refuse_constant(name: str) -> None:
    raise ValueError(name)  # NaN and infinities are no JSON


def _is_too_deep(value: Any) -> bool:  # Any: JSON
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(level)


def is_missing(value: Any) -> bool:  # Any: JSON
    """Null, or a text of nothing but blanks."""
    return value is None or (isinstance(value, str) and not value.strip())


def is_same_value(right: Any, given: Any) -> bool:  # noqa: PLR0911 -- one line per type; Any: JSON
    """Equal for a reader: numbers by value (also quoted), texts without case, spacing and punctuation."""
    if is_missing(right) or is_missing(given):
        return is_missing(right) and is_missing(given)
    if isinstance(right, bool) or isinstance(given, bool):
        return right is given
    if isinstance(right, dict) and isinstance(given, dict):
        return all(is_same_value(right.get(name), given.get(name)) for name in {*right, *given})
    if isinstance(right, list) and isinstance(given, list):
        return len(right) == len(given) and all(map(is_same_value, right, given))
    if isinstance(right, Decimal | str) and isinstance(given, Decimal | str):
        numbers = _as_number(right), _as_number(given)
        if None not in numbers:
            return numbers[0] == numbers[1]
        return _normalised(str(right)) == _normalised(str(given))
    return False


def _as_number(value: Decimal | str) -> Decimal | None:
    try:
        number = Decimal(value.strip()) if isinstance(value, str) else value
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _normalised(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold().replace("'", "").replace("’", "")
    spaced = "".join(" " if unicodedata.category(char).startswith("P") else char for char in folded)
    return " ".join(spaced.split()) or folded
