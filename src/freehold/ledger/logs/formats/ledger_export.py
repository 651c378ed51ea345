"""Reads the rows that `freehold ledger export` writes: the same calls again, with every field that they had."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

from freehold.core.call import Call
from freehold.core.task import fault_of_name
from freehold.ledger.columns import BODIES, SCHEMA
from freehold.ledger.logs.format import BadRow, Context, Format, Item, LoggedCall, Values
from freehold.ledger.logs.values import clean, count_of, moment_of, number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import pyarrow as pa

_MARKS = frozenset({"id", "task", "started_at", "route", "error_type", "request", "response"})
"""No other tool's rows have all of them."""


def is_exported(values: Mapping[str, Any]) -> bool:  # Any: nothing has been checked yet
    """Whether a row has the fields of an export."""
    return values.keys() >= _MARKS


def read_exported(values: Mapping[str, Any]) -> Call:  # Any: as above
    """The call of one row. A field that an older export does not have is unknown.

    Raises:
        BadRow: a field is missing or of the wrong type.
    """
    fields = {name: read(values, name) for name, read in _READERS.items()}
    for name in ("id", "task"):
        if not fields[name]:
            raise BadRow(f"{name!r} is empty")
    fault = fault_of_name(fields["task"])
    if fault is not None:
        raise BadRow(f"the task's name {fault}")
    fields["id"] = _identifier(fields["id"])
    return Call(**fields)


def unused_fields(values: Mapping[str, Any]) -> set[str]:  # Any: as above
    """Fields that the ledger does not have, such as those of a later version."""
    return set(values) - set(SCHEMA.names)


class ExportReader:
    """Reads rows of an export."""

    def __init__(self, context: Context) -> None:
        self._is_test = context.is_test

    def read(self, values: Values, _line: int) -> Iterable[Item]:
        """The call of one row, with the id that it had."""
        if not is_exported(values):
            raise BadRow("not all of the fields that a ledger's export has")
        if self._is_test:
            raise BadRow(
                "a ledger's export holds no human's answers, so it is no test set: import it without "
                "--split test, and then the answers as corrections"
            )
        yield LoggedCall(call=read_exported(values))

    def finish(self) -> Iterable[Item]:
        """Nothing waits."""
        return ()


def _flag(values: Mapping[str, Any], name: str) -> bool | None:
    value = values.get(name)
    if value is not None and not isinstance(value, bool):
        raise BadRow(f"{name!r} must be true or false")
    return value


def _text(values: Mapping[str, Any], name: str) -> str | None:
    value = values.get(name)
    if value is not None and not isinstance(value, str):
        raise BadRow(f"{name!r} must be text")
    return None if value is None else clean(value)


def _body(values: Mapping[str, Any], name: str) -> dict[str, Any] | None:  # Any: the body as it passed
    """An object in JSON Lines, its text in Parquet."""
    value = values.get(name)
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise BadRow(f"{name!r} is no JSON") from error
    if not isinstance(value, dict):
        raise BadRow(f"{name!r} must be a JSON object")
    return value


def _identifier(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError as error:
        raise BadRow("'id' must be a UUID") from error


def _reader_of(column: pa.Field) -> Callable[[Mapping[str, Any], str], Any]:
    if column.name in BODIES:
        return _body
    readers = {"timestamp[us, tz=UTC]": moment_of, "double": number_of, "bool": _flag, "string": _text}
    return readers.get(str(column.type), count_of)


_READERS = {column.name: _reader_of(column) for column in SCHEMA}

LEDGER = Format(
    name="ledger",
    recognises=is_exported,
    reader=ExportReader,
    unused=unused_fields,
    says="all fields of an export of a ledger",
)
