"""Spans in one form, however they were written down: as OTLP's JSON, by an SDK's console exporter, or as a table.

Attributes come as a flat object, nested, as a list of keys with typed values, as JSON text, or as a column each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from freehold.ledger.logs.format import BadRow
from freehold.ledger.logs.formats._fields import (
    Values,
    inner,
    list_of,
    mapping_of,
    moment,
    number,
    objects,
    parsed,
    present,
    text,
    unix_nanoseconds,
    word,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

_SCOPES = ("scopeSpans", "scope_spans", "instrumentationLibrarySpans", "instrumentation_library_spans")
_DEEPEST = 40
_MOST_ATTRIBUTES = 20_000
_ERROR_STATUS = frozenset({"2", "ERROR", "STATUS_CODE_ERROR", "STATUSCODE.ERROR"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One span."""

    trace_id: str
    span_id: str
    name: str
    start: datetime | None
    end: datetime | None
    attributes: dict[str, Any]  # Any: JSON; names with dots, lists as they are
    events: tuple[tuple[str, datetime | None, dict[str, Any]], ...]
    """Name, time, attributes."""
    is_error: bool
    dropped: bool
    """The SDK left attributes out, as there were more than it keeps."""


def otlp_spans(values: Values) -> Iterator[Values]:
    """Spans inside of what OTLP calls a resource's spans, or of several of them."""
    for name in ("resourceSpans", "resource_spans"):
        for resource in objects(values.get(name)):
            yield from otlp_spans(resource)
    for name in _SCOPES:
        for scope in objects(values.get(name)):
            yield from objects(scope.get("spans"))


def span_of(values: Values) -> Span:
    """A span of OTLP, of a console exporter or of a table.

    Raises:
        BadRow: it has no ids, or its times are no times.
    """
    row = present(values)
    context = {**mapping_of(row.get("context")), **_under(row, "context.")}
    trace = text(row, "traceId", "trace_id") or text(context, "trace_id", "traceId")
    span = text(row, "spanId", "span_id") or text(context, "span_id", "spanId")
    if trace is None or span is None:
        raise BadRow("a span without the ids of its trace and of itself")
    return Span(
        trace_id=trace.removeprefix("0x").lower(),
        span_id=span.removeprefix("0x").lower(),
        name=word(row, "name", "span_name", "operationName") or "",
        start=unix_nanoseconds(row, "startTimeUnixNano", "start_time_unix_nano") or _moment(row, "start"),
        end=unix_nanoseconds(row, "endTimeUnixNano", "end_time_unix_nano") or _moment(row, "end"),
        attributes={**flat(row.get("attributes")), **_under(row, "attributes.")},
        events=tuple(_events(row)),
        is_error=_is_error(row),
        dropped=(number(row, "droppedAttributesCount", "dropped_attributes_count") or 0) > 0,
    )


def is_span(values: Values) -> bool:
    """Whether a row is a span, by its fields."""
    context = values.get("context")
    has_context = isinstance(context, dict) and {"trace_id", "span_id"} <= context.keys()
    is_placed = has_context or "context.span_id" in values or bool({"spanId", "span_id"} & values.keys())
    has_attributes = "attributes" in values or any(str(name).startswith("attributes.") for name in values)
    has_time = any(str(name).startswith(("start_time", "startTime")) for name in values)
    return is_placed and has_attributes and has_time


def flat(value: object) -> dict[str, Any]:  # Any: JSON
    """Attributes by their dotted names; what is nested is opened, lists of objects too (`messages.0.role`)."""
    value = parsed(value)
    if isinstance(value, list):
        value = {str(each["key"]): otlp_value(each.get("value")) for each in value if _is_pair(each)}
    found: dict[str, Any] = {}
    _flatten("", mapping_of(value), found, 0)
    return found


def otlp_value(value: object, depth: int = 0) -> Any:  # Any: JSON
    """A typed value of OTLP as plain JSON; 64-bit integers come as text."""
    if not isinstance(value, Mapping) or depth > _DEEPEST:
        return None
    kinds = {name.replace("_value", "Value"): each for name, each in value.items() if isinstance(name, str)}
    if "arrayValue" in kinds:
        return [otlp_value(each, depth + 1) for each in list_of(mapping_of(kinds["arrayValue"]).get("values"))]
    if "kvlistValue" in kinds:
        pairs = list_of(mapping_of(kinds["kvlistValue"]).get("values"))
        return {str(each["key"]): otlp_value(each.get("value"), depth + 1) for each in pairs if _is_pair(each)}
    if "intValue" in kinds and isinstance(kinds["intValue"], str):
        return int(kinds["intValue"]) if kinds["intValue"].lstrip("-").isdecimal() else None
    return next(iter(kinds.values()), None)


def _flatten(prefix: str, values: Mapping[str, Any], found: dict[str, Any], depth: int) -> None:
    for name, value in values.items():
        whole = f"{prefix}{name}"
        if len(found) >= _MOST_ATTRIBUTES or depth > _DEEPEST:
            raise BadRow(f"a span with more than {_MOST_ATTRIBUTES:,} attributes, or nested too deep")
        if isinstance(value, Mapping):
            _flatten(f"{whole}.", value, found, depth + 1)
        elif isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
            found[whole] = value
            _flatten(f"{whole}.", {str(place): each for place, each in enumerate(value)}, found, depth + 1)
        else:
            found[whole] = value


def _is_pair(value: object) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("key"), str)


def _under(row: Values, prefix: str) -> dict[str, Any]:  # Any: JSON
    """Columns of a table that are parts of one thing."""
    columns = {name.removeprefix(prefix): parsed(row[name]) for name in row if name.startswith(prefix)}
    return flat(columns) if columns else {}


def _moment(row: Values, which: str) -> datetime | None:
    names = (f"{which}_time", f"{which}Time", f"{which}_timestamp", f"{which}Timestamp")
    value = next((row[name] for name in names if name in row), None)
    is_nanoseconds = isinstance(value, int | str) and str(value).isdecimal() and len(str(value)) >= 18
    return unix_nanoseconds(row, *names) if is_nanoseconds else moment(row, *names)


def _events(row: Values) -> Iterator[tuple[str, datetime | None, dict[str, Any]]]:
    for event in objects(row.get("events")):
        at = unix_nanoseconds(event, "timeUnixNano", "time_unix_nano") or moment(event, "timestamp", "time")
        yield word(event, "name") or "", at, flat(event.get("attributes"))


def _is_error(row: Values) -> bool:
    status = row.get("status")
    told = inner({"status": status}, "status")
    code = told.get("code", told.get("status_code", row.get("status_code", row.get("statusCode", status))))
    return str(code).upper() in _ERROR_STATUS
