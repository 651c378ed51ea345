"""OpenPipe: its export of request logs, `{"input": <chat request>, "output": <answer or error>, "tags": {…}}`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freehold.ledger.logs.format import BadRow, Format
from freehold.ledger.logs.formats._bodies import answer_of, request_of
from freehold.ledger.logs.formats._calls import error_name, logged_call, status_of
from freehold.ledger.logs.formats._each_row import each_row
from freehold.ledger.logs.formats._fields import Values, flag, inner, mapping_of, moment, number, text, word
from freehold.ledger.logs.formats._keys import first_key, of_metadata, of_prompt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from freehold.ledger.logs.format import Context, Item
    from freehold.ledger.logs.formats._each_row import Row


def read_log(row: Row, context: Context) -> Iterator[Item]:
    """One request with its answer."""
    del context
    asked = mapping_of(row.get("input"))
    if not asked:
        raise BadRow("'input' must be the request, an object with 'messages'")
    output = mapping_of(row.get("output"))
    tags = mapping_of(row.get("tags"))
    fault = _fault(output)
    answer = answer_of(row.get("output") if "error" in output or not fault else {"error": output})
    started_at = moment(row, "requestedAt", "requested_at", "createdAt") or moment(answer.body or {}, "created")
    source = word(row, "id") or word(answer.body or {}, "id")
    yield logged_call(
        source_id=None if source is None else f"openpipe:{source}",
        request=request_of(asked),
        answer=answer,
        key=first_key(of_metadata(tags), of_prompt(tags, "prompt_id", "$prompt_id", "prompt")),
        is_failed=fault is not None,
        error_type=fault,
        status=status_of(_status(output, tags)),
        started_at=started_at,
        duration_ms=number(row, "durationMs", "duration_ms"),
        stream=flag(asked, "stream"),
        request_id=text(row, "id"),
    )


def _status(output: Values, tags: Values) -> object:
    """A status, wherever the log has one."""
    return tags.get("$status") or output.get("status") or inner(output, "error").get("status")


def _fault(output: Values) -> str | None:
    """The kind of error that stands in the place of an answer; None: an answer stands there."""
    if "choices" in output:
        return None
    error = inner(output, "error") or (output if {"message", "code"} <= output.keys() else {})
    if not error and not isinstance(output.get("error"), str):
        return None
    return word(error, "type", "code", "name") or error_name(word(output, "error")) or "error"


def _is_openpipe(values: Values) -> bool:
    if "output" not in values or values.keys() & {"traceId", "trace_id"}:
        return False
    asked = values.get("input")
    if isinstance(asked, str) and asked.lstrip().startswith("{") and "tags" in values:
        asked = mapping_of(asked)  # a cell of a CSV file
    return isinstance(asked, dict) and isinstance(asked.get("messages"), list)


FORMATS = (
    Format(
        name="openpipe",
        recognises=_is_openpipe,
        reader=each_row(read_log),
        says="OpenPipe's logs have 'input' with the request's 'messages', 'output' and 'tags'",
    ),
)
