"""Reads single fields of a row that a stranger brought, or says what is wrong with them."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from freehold.ledger.logs.format import BadRow

if TYPE_CHECKING:
    from collections.abc import Mapping

EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
"""Moments outside of these years are mistakes."""
_LEAST_MS = 1e11
"""So many seconds lie thousands of years ahead: from here on they are milliseconds."""
MOST = 2**53
"""No count and no duration is larger: from here on numbers are not told apart any more."""


def text_of(values: Mapping[str, Any], field: str) -> str | None:  # Any: nothing has been checked yet
    """Text without blanks around it; a number is written as text. None: absent or blank."""
    value = values.get(field)
    if value is None or isinstance(value, str):
        return clean(value).strip() or None if value else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise BadRow(f"{field!r} must be text")


def clean(text: str) -> str:
    """The text without halves of surrogate pairs: they are no characters and cannot be written as UTF-8."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def json_of(text: str) -> Any:  # Any: JSON
    """What a text that is JSON says, NaN and halves of surrogates as Python's own reader takes them; else the text."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def number_of(values: Mapping[str, Any], field: str) -> float | None:  # Any: as above
    """A number of 0 or more, also one that is written as text."""
    value = values.get(field)
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not 0 <= number <= MOST:
        raise BadRow(f"{field!r} must be a number of 0 or more")
    return number


def count_of(values: Mapping[str, Any], field: str) -> int | None:  # Any: as above
    """A whole number of 0 or more."""
    value = values.get(field)
    if value.__class__ is int and 0 <= value <= MOST:
        return value
    number = number_of(values, field)
    if number is not None and number != int(number):
        raise BadRow(f"{field!r} must be a whole number")
    return None if number is None else int(number)


def moment_of(values: Mapping[str, Any], field: str) -> datetime | None:  # Any: as above
    """ISO 8601 text, seconds or milliseconds since 1970, or a moment as Parquet has it; without a zone it is UTC."""
    value = values.get(field)
    return None if value is None or value == "" else moment_from(value, field)


def moment_from(value: object, field: str) -> datetime:
    """The same of a value; `field` is where it stands."""
    try:
        if isinstance(value, datetime):
            moment = value
        elif isinstance(value, str) and (":" in value or not value.replace(".", "", 1).isdigit()):
            moment = datetime.fromisoformat(value)
        else:
            since = float(value)  # type: ignore[arg-type]  # its TypeError is caught
            moment = datetime.fromtimestamp(since if since < _LEAST_MS else since / 1000, UTC)
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise BadRow(f"{field!r} must be ISO 8601, or seconds or milliseconds since 1970") from error
    zone = moment.tzinfo
    if zone is not UTC:
        moment = moment.replace(tzinfo=UTC) if zone is None else moment.astimezone(UTC)
    if not EARLIEST <= moment < LATEST:
        raise BadRow(f"{field!r} lies outside the years 2000 to 2099")
    return moment
