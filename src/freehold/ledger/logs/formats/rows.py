"""Turns the row of a log into a call and what a human said about it.

Three kinds of row are known, told apart by their fields: a *call* (`input` with `output`, `model_output` or both), a
*correction* (`call_id` with `output`), and a row that a ledger exported (`exported_rows.py`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from freehold.core.call import Call
from freehold.core.identity import canonical_json
from freehold.core.task import fault_of_name
from freehold.ledger.logs.format import BadRow, Context, Format, HumanWord, Item, LoggedCall, Values
from freehold.ledger.logs.formats._calls import FAILED, FIRST_ERROR
from freehold.ledger.logs.formats._fields import is_half_json
from freehold.ledger.logs.values import clean, count_of, moment_of, number_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_CALL_FIELDS = (
    "input", "output", "model_output", "task", "id", "started_at", "model", "provider", "input_tokens",
    "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "duration_ms", "ttft_ms",
    "finish_reason", "conversation_id", "reviewer", "reviewed_at", "status", "split",
)  # fmt: skip
_SPLITS = ("train", "test")


class CallReader:
    """Reads rows of calls."""

    def __init__(self, context: Context) -> None:
        self._task = context.task
        self._is_test = context.is_test

    def read(self, values: Values, _line: int) -> Iterable[Item]:
        """The call and the human's word of one row."""
        if not _is_call(values):
            raise BadRow(
                "no 'input' with 'output' or 'model_output', nor with a 'status' of 400 or above or 'output_tokens' 0"
            )
        task = text_of(values, "task") or self._task
        fault = None if task is None else fault_of_name(task)
        if fault is not None:
            raise BadRow(f"the task's name {fault}")
        messages = _messages(values["input"])
        answer, human = _output(values, "model_output"), _output(values, "output")
        has_failed = _has_failed(values)
        is_asked = has_failed or (human is None and _has_no_answer(values))
        if answer is None and human is None and not is_asked:
            raise BadRow("neither 'output' (the human's) nor 'model_output' (the model's) holds anything")
        is_test = _is_test(values, self._is_test)
        if is_test and human is None:
            raise BadRow("a test row needs 'output', the human's answer")
        started_at = moment_of(values, "started_at")
        own_id = text_of(values, "id")
        identity = canonical_json([task, is_test, own_id, messages, answer, str(started_at)])
        call = Call(
            id="",
            task=task or "",
            started_at=started_at,
            endpoint="/v1/chat/completions",
            provider=text_of(values, "provider"),
            model_requested=text_of(values, "model"),
            model_served=text_of(values, "model"),
            route=None if answer is None and not is_asked else "rent",
            request_id=own_id,
            conversation_id=text_of(values, "conversation_id"),
            status=count_of(values, "status") or (None if answer is None and not is_asked else 200),
            input_tokens=count_of(values, "input_tokens"),
            cache_read_tokens=count_of(values, "cache_read_tokens"),
            cache_write_tokens=count_of(values, "cache_write_tokens"),
            output_tokens=count_of(values, "output_tokens"),
            reasoning_tokens=count_of(values, "reasoning_tokens"),
            ttft_ms=number_of(values, "ttft_ms"),
            duration_ms=number_of(values, "duration_ms"),
            finish_reason=text_of(values, "finish_reason"),
            error_type=FAILED if has_failed else None,
            request={"messages": messages},
            response=None if answer is None else {"choices": [{"message": _assistant(answer)}]},
            truncated=True if _is_cut(values["input"]) else None,
        )
        yield LoggedCall(
            call=call,
            human=None if human is None else _word(values, "", human, is_test=is_test),
            source_id=identity if own_id else None,
            content=None if own_id else identity,
        )

    def finish(self) -> Iterable[Item]:
        """Nothing waits."""
        return ()


class CorrectionReader:
    """Reads rows of corrections."""

    def __init__(self, context: Context) -> None:
        self._is_test = context.is_test

    def read(self, values: Values, _line: int) -> Iterable[Item]:
        """The human's word of one row."""
        if not _is_correction(values):
            raise BadRow("no 'call_id' with 'output'")
        yield read_correction(values, is_test=self._is_test)

    def finish(self) -> Iterable[Item]:
        """Nothing waits."""
        return ()


def read_correction(values: Mapping[str, Any], *, is_test: bool) -> HumanWord:
    """The human's word of a correction row.

    Raises:
        BadRow: a field is missing or of the wrong type.
    """
    call, output = text_of(values, "call_id"), _output(values, "output")
    if not call or output is None:
        raise BadRow("'call_id' or 'output' is empty")
    return _word(values, call, output, is_test=_is_test(values, is_test))


def _word(values: Mapping[str, Any], call: str, output: str, *, is_test: bool) -> HumanWord:
    return HumanWord(
        call=call,
        output=output,
        reviewer=text_of(values, "reviewer"),
        reviewed_at=_moment_text(values),
        is_test=is_test,
    )


def _is_test(values: Mapping[str, Any], otherwise: bool) -> bool:
    """Whether the row is a held-out case: it may say so itself."""
    said = values.get("split")
    return said == "test" if said in _SPLITS else otherwise


def _is_call(values: Mapping[str, Any]) -> bool:  # Any: not checked yet
    return "input" in values and ("output" in values or "model_output" in values or _has_no_answer(values))


def _has_no_answer(values: Mapping[str, Any]) -> bool:  # Any: as above
    """Whether the row is of a call without an answer by nature: one that failed, or one that writes nothing."""
    try:
        return _has_failed(values) or count_of(values, "output_tokens") == 0
    except BadRow:
        return False


def _has_failed(values: Mapping[str, Any]) -> bool:  # Any: as above
    """Whether the row says that its call failed."""
    try:
        return (count_of(values, "status") or 0) >= FIRST_ERROR
    except BadRow:
        return False


def _is_correction(values: Mapping[str, Any]) -> bool:  # Any: as above
    return "call_id" in values and "output" in values


def unknown_fields(values: Mapping[str, Any]) -> set[str]:
    """Fields of a call row that Freehold does not use, a `split` that is neither `train` nor `test` among them."""
    used = set(_CALL_FIELDS) if values.get("split") in (*_SPLITS, None) else set(_CALL_FIELDS) - {"split"}
    return set(values) - used


def _assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


def _messages(value: object) -> list[dict[str, str]]:
    if isinstance(value, str):
        if value.lstrip().startswith("["):
            value = _decoded(value)
        if isinstance(value, str):
            if not value.strip():
                raise BadRow("'input' is empty")
            return [{"role": "user", "content": clean(value)}]
    if not isinstance(value, list) or not value:
        raise BadRow("'input' must be text or a list of messages")
    messages = []
    for message in value:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise BadRow("'input' has a message without a role")
        messages.append({"role": message["role"], "content": _content(message.get("content"))})
    if not any(message["role"] == "user" and message["content"].strip() for message in messages):
        raise BadRow("'input' has no user message with text")
    return messages


def _is_cut(value: object) -> bool:
    """Whether a cell was to hold a list of messages, which ends in the middle."""
    return isinstance(value, str) and value.lstrip().startswith("[") and is_half_json(value)


def _decoded(value: str) -> object:
    """A CSV cell that holds a list of messages; any other text stays what it is."""
    try:
        parsed = json.loads(value)
    except (json.JSONDecodeError, RecursionError):
        return value
    is_messages = isinstance(parsed, list) and all(isinstance(part, dict) and "role" in part for part in parsed)
    return parsed if is_messages and parsed else value


def _content(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return "\n".join(clean(part["text"]) for part in value if _is_text_part(part))
    raise BadRow("'input' has a message whose content is neither text nor a list of parts")


def _is_text_part(part: object) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str)


def _output(values: Mapping[str, Any], field: str) -> str | None:
    """An answer as text; an object or a number is written as JSON. Blank counts as absent."""
    value = values.get(field)
    if isinstance(value, str):
        return clean(value).strip() or None
    if value is None:
        return None
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise BadRow(f"{field!r} holds NaN or an infinity") from error


def _moment_text(values: Mapping[str, Any]) -> str | None:
    moment = moment_of(values, "reviewed_at")
    return None if moment is None else moment.isoformat(timespec="milliseconds")


ROWS = Format(
    name="rows",
    recognises=_is_call,
    reader=CallReader,
    unused=unknown_fields,
    says="'input' with 'output' or 'model_output'",
)
CORRECTIONS = Format(
    name="corrections",
    recognises=_is_correction,
    reader=CorrectionReader,
    order=9,
    says="'call_id' with 'output'",
)
