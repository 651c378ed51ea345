"""From the records of one attempt to its row."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from freehold.ledger.answer_facts import AnswerFacts, error_of, facts_of
from freehold.ledger.bodies import is_event_stream, json_text, mask_bodies, read_answer, read_request, unpack
from freehold.ledger.columns import COLUMNS
from freehold.ledger.records import CloseRecord, OpenRecord, id_text

if TYPE_CHECKING:
    from freehold.ledger.policy import Policy
    from freehold.ledger.records import Dialect

Row = dict[str, Any]  # Any: one value per column of the ledger; bodies are JSON text

NEVER_CLOSED = "never_closed"
"""`error_type` of a call whose worker died before it ended."""
NO_OPEN_RECORD = "open_record_lost"
"""`error_type` of a call of which only the end could be read."""
UNKNOWN_TASK = "unknown"
_LONGEST_ERROR = 200
_EARLIEST_US, _LATEST_US = 946_684_800_000_000, 4_102_444_800_000_000
"""Years 2000 to 2099: a clock outside them is no clock."""

_BY_PATH: tuple[tuple[str, Dialect], ...] = (
    ("/chat/completions", "openai-chat"),
    ("/completions", "openai-completions"),
    ("/responses", "openai-responses"),
    ("/embeddings", "openai-embeddings"),
    ("/messages", "anthropic"),
)


class Attempt(msgspec.Struct, frozen=True):
    """All that segments hold of one call."""

    call_id: bytes
    head: OpenRecord | None
    """None: it was lost."""
    tail: CloseRecord | None
    """None: there is none."""
    request: bytes
    response: bytes


def row_of(attempt: Attempt, policy: Policy) -> Row:
    """The row of an attempt. What the gateway did not know is taken from the answer."""
    head = attempt.head or OpenRecord(task=UNKNOWN_TASK, started_at_us=_time_of(attempt.call_id), route=None)
    tail = attempt.tail or CloseRecord()
    dialect = head.dialect or _dialect_of(head.endpoint)
    bodies = _Bodies(attempt, head, tail, dialect)
    facts = _facts(bodies, tail, dialect)
    row: Row = dict.fromkeys(COLUMNS)
    # The answer knows better than the request (its tier), the gateway better than the answer (what it counted).
    for record in (head, facts, tail):
        for name in _TOLD[type(record)]:
            value = getattr(record, name)
            if value is not None:
                row[name] = value
    row["error_type"] = _error_type(attempt, facts)
    row["id"] = id_text(attempt.call_id)
    row["started_at"] = _moment(head.started_at_us)
    row["request"], row["response"] = bodies.texts(policy, attempt.call_id)
    return row


_TOLD: dict[type, tuple[str, ...]] = {
    kind: tuple(name for name in kind.__struct_fields__ if name in COLUMNS)
    for kind in (OpenRecord, AnswerFacts, CloseRecord)
}
"""Columns that each record fills."""


def _facts(bodies: _Bodies, tail: CloseRecord, dialect: Dialect | None) -> AnswerFacts:
    """What the answer says and the gateway has not told already, by the same rules."""
    if bodies.answer is None:
        return AnswerFacts()
    if tail.completion_id is None or tail.model_served is None or tail.input_tokens is None:
        return facts_of(dialect, bodies.answer)
    return AnswerFacts(error_type=error_of(bodies.answer))


class _Bodies:
    """The two bodies, read once for their facts and their text."""

    def __init__(self, attempt: Attempt, head: OpenRecord, tail: CloseRecord, dialect: Dialect | None) -> None:
        self._head = head
        self._raw: list[bytes | None] = [None, None]
        self._objects: list[dict[str, Any] | None] = [None, None]  # Any: JSON
        if attempt.request:
            raw = unpack(attempt.request, head.request_encoding)
            self._raw[0], self._objects[0] = raw, read_request(raw)
        if attempt.response:
            raw = unpack(attempt.response, tail.response_encoding)
            is_stream = is_event_stream(tail.response_content_type, raw)
            self._raw[1] = None if is_stream else raw
            self._objects[1] = read_answer(raw, tail.response_content_type, dialect)

    @property
    def answer(self) -> dict[str, Any] | None:
        return self._objects[1]

    def texts(self, policy: Policy, call_id: bytes) -> list[str | None]:
        """JSON text of both, as the policy of the task has it."""
        rule = policy.of(self._head.task)
        if not rule.keeps_bodies(call_id):
            return [None, None]
        objects, raw = self._objects, self._raw
        try:
            if self._head.masks_bodies or rule.bodies == "mask":
                objects, raw = mask_bodies(objects), [None, None]
            return [None if body is None else json_text(body, raw[place]) for place, body in enumerate(objects)]
        except RecursionError:  # nested so deeply that nobody can say what it holds
            return [None, None]


def _error_type(attempt: Attempt, facts: AnswerFacts) -> str | None:
    if attempt.head is None:
        return NO_OPEN_RECORD
    if attempt.tail is None:
        return NEVER_CLOSED
    found = attempt.tail.error_type or facts.error_type
    return None if found is None else found[:_LONGEST_ERROR]


def _dialect_of(endpoint: str | None) -> Dialect | None:
    path = (endpoint or "").partition("?")[0].rstrip("/")
    return next((dialect for end, dialect in _BY_PATH if path.endswith(end)), None)


def _time_of(call_id: bytes) -> int:
    """Microseconds since 1970 of a UUIDv7."""
    return int.from_bytes(call_id[:6]) * 1_000


def _moment(microseconds: int) -> datetime | None:
    if not _EARLIEST_US <= microseconds < _LATEST_US:
        return None
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC).replace(microsecond=microseconds % 1_000_000)
