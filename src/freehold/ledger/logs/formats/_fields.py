"""Takes fields out of rows whose tools write them in several ways: as they are, as text, as JSON inside of text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from freehold.ledger.logs.format import BadRow
from freehold.ledger.logs.values import clean, count_of, json_of, moment_from, moment_of, number_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Values = Mapping[str, Any]  # Any: JSON of somebody else

_MARKS_OF_JSON = ("{", "[", '"')
_DECODER = json.JSONDecoder(strict=False)
_CUT_OFF = re.compile(
    r"""\s*+(?:"(?:[^"\\]++|\\.)*+(?:\\(?:u[0-9a-fA-F]{0,3})?)?|u[0-9a-fA-F]{0,4}|t|tr|tru|f|fa|fal|fals|n|nu|nul"""
    r"""|N|Na|-|-I\w*|I\w*|\.|[eE][+-]?|\.\d+[eE][+-]?)?""",
    re.DOTALL,
)
"""What is left of JSON where its parser stops because it ends: nothing, an open string, half a word, half a number."""
_TRUE, _FALSE = frozenset({"true", "t", "1", "yes"}), frozenset({"false", "f", "0", "no", "none", "null"})


def present(values: Values, names: Iterable[str] | None = None) -> dict[str, Any]:  # Any: as above
    """The fields that hold something, of all or of these, which must be there.

    Empty text is how most exports write what is missing, NaN how pandas does.
    """
    return {
        name: value
        for name in (values if names is None else names)
        if (value := values[name]) is not None and value != "" and (value.__class__ is not float or value == value)  # noqa: PLR0124 (NaN)
    }


def _is_nothing(value: object) -> bool:
    return value == "" if isinstance(value, str) else isinstance(value, float) and math.isnan(value)


def parsed(value: object) -> Any:  # Any: JSON
    """What a text that is JSON says; everything else, other texts too, as it is.

    A text that is a number or a word of JSON stays text: `42` is what somebody wrote.
    """
    if not isinstance(value, str) or not value.lstrip().startswith(_MARKS_OF_JSON):
        return value
    return json_of(value)


def is_half_json(value: object) -> bool:
    """Whether a text is JSON that ends in the middle: an object or a list as far as it goes, without a fault in it.

    Prose that begins with a bracket is none: it stops being JSON before it ends.
    """
    if not isinstance(value, str) or not value.lstrip().startswith(("{", "[")):
        return False
    text = value.strip()
    try:
        _DECODER.raw_decode(text)
    except json.JSONDecodeError as error:
        has_begun = error.pos > 1 or text[error.pos : error.pos + 1] == '"'
        return has_begun and _CUT_OFF.fullmatch(text, error.pos) is not None
    except (ValueError, RecursionError):
        return False
    return False


def mapping_of(value: object) -> dict[str, Any]:  # Any: JSON
    """An object, also as text or as the pairs in which Parquet gives a map; {} if it is none. Not to be changed."""
    if isinstance(value, str):
        value = parsed(value)
    if type(value) is dict:
        return value
    if isinstance(value, Mapping):
        return {str(name): each for name, each in value.items()}
    if isinstance(value, list) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
        return {str(name): each for name, each in value}
    return {}


def list_of(value: object) -> list[Any]:  # Any: JSON
    """A list, also as text; [] if it is none."""
    value = parsed(value)
    return value if isinstance(value, list) else []


def inner(values: Values, name: str) -> dict[str, Any]:  # Any: JSON
    """The object in a field; {} if there is none. Not to be changed."""
    value = values.get(name)
    return {} if value is None else mapping_of(value)


def first(values: Values, *names: str) -> Any:  # Any: JSON
    """The first of several fields that holds something."""
    return next((value for name in names if (value := values.get(name)) is not None and not _is_nothing(value)), None)


def text(values: Values, *names: str) -> str | None:
    """The first of several fields that is text.

    Raises:
        BadRow: it is neither text nor a number.
    """
    for name in names:
        if values.get(name) is not None and (found := text_of(values, name)) is not None:
            return found
    return None


def word(values: Values, *names: str) -> str | None:
    """The first of several fields that is text and not blank; other values are passed over."""
    for name in names:
        value = values.get(name)
        if isinstance(value, str) and (found := value.strip()):
            return clean(found)
    return None


def count(values: Values, *names: str) -> int | None:
    """The first of several fields that is a whole number.

    Raises:
        BadRow: it is something else.
    """
    for name in names:
        if values.get(name) is not None and (found := count_of(values, name)) is not None:
            return found
    return None


def number(values: Values, *names: str) -> float | None:
    """The first of several fields that is a number of 0 or more.

    Raises:
        BadRow: it is something else.
    """
    for name in names:
        if values.get(name) is not None and (found := number_of(values, name)) is not None:
            return found
    return None


def moment(values: Values, *names: str) -> datetime | None:
    """The first of several fields that is a time. Written without a zone, or as databases do with ` UTC`, it is UTC.

    Raises:
        BadRow: it is something else.
    """
    for name in names:
        value = values.get(name)
        if isinstance(value, str):
            value = value.removesuffix(" UTC")
        if value is not None and value != "":
            return moment_from(value, name)
    return None


def unix_nanoseconds(values: Values, *names: str) -> datetime | None:
    """The first of several fields as a time: nanoseconds since 1970, as text or as a number; 0 is unset.

    Raises:
        BadRow: it is something else.
    """
    for name in names:
        value = values.get(name)
        if value in (None, "", 0, "0"):
            continue
        try:
            seconds, rest = divmod(int(value), 1_000_000_000)
            whole = datetime.fromtimestamp(seconds, UTC)
        except (TypeError, ValueError, OverflowError, OSError) as error:
            raise BadRow(f"{name!r} must be nanoseconds since 1970") from error
        return moment_of({name: whole.replace(microsecond=rest // 1_000)}, name)
    return None


def milliseconds(start: datetime | None, end: datetime | None) -> float | None:
    """From one moment to a later one; None where one is unknown or they stand in the wrong order."""
    if start is None or end is None or end < start:
        return None
    return round((end - start).total_seconds() * 1000, 3)


def flag(values: Values, *names: str) -> bool | None:
    """The first of several fields that is true or false, written in whatever way; None: none is."""
    for name in names:
        value = values.get(name)
        if isinstance(value, bool):
            return value
        if isinstance(value, str):
            if value.strip().lower() in _TRUE:
                return True
            if value.strip().lower() in _FALSE:
                return False
    return None


def objects(value: object) -> Iterator[dict[str, Any]]:  # Any: JSON
    """The objects of a list; whatever else stands in it is passed over."""
    return (each for each in list_of(value) if isinstance(each, dict))
