"""Puts a call together from what a row says and from what its bodies say of themselves."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from freehold.core.call import Call
from freehold.core.subject import plainly_hashed
from freehold.ledger.answer_facts import AnswerFacts, facts_of
from freehold.ledger.logs.format import LoggedCall, TaskKey
from freehold.ledger.logs.formats._bodies import Kept, endpoint_of, with_facts, without_vectors
from freehold.ledger.logs.formats._fields import inner, word
from freehold.ledger.logs.formats._keys import first_key, of_request
from freehold.ledger.logs.formats._usage import NOBODY_COUNTED, completed, usage_of, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.core.chat import Usage

_NO_BODY = Kept(None)
_SILENT = AnswerFacts()
_ERROR_NAME = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Timeout|Failure)")
FIRST_ERROR = 400
"""Statuses from here on are of calls that failed."""
FAILED = "error"
"""`error_type` of a call that its log calls failed without saying how."""
EARLIER_ATTEMPT = "an earlier attempt"
"""`parent_id` of a call that its log calls a repeat without saying of which."""


def logged_call(
    *,
    source_id: str | None,
    request: Kept = _NO_BODY,
    answer: Kept = _NO_BODY,
    usage: Usage = NOBODY_COUNTED,
    parameters: Mapping[str, Any] | None = None,  # Any: JSON
    key: TaskKey | None = None,
    is_failed: bool = False,
    is_cut: bool = False,
    **facts: Any,  # Any: columns of `Call`
) -> LoggedCall:
    """The call of a row. What the row says of it counts before what its answer says, but for the tokens.

    Args:
        source_id: Tool and id, by which the call is known in every export of the tool.
        request: As the log shows it.
        answer: As the log shows it; an embedding's numbers are left out.
        usage: The row's own counts, for what the answer does not say: an answer is the provider's own word.
        parameters: Of the request, where the log has them beside it.
        key: What the row says it belongs to; else what the request says counts.
        is_failed: The log says that the call failed; an answer that is an error says so itself.
        is_cut: A body of the call is known not to be whole, though what is there of it does not show it.
        facts: Columns that the row tells; None is unknown.
    """
    answer = without_vectors(answer)
    said = _SILENT if answer.body is None else facts_of(None, answer.body)
    asked = with_facts(request.body, **dict(parameters or {}))
    tokens = whole(completed(usage_of(answer.body or {}), usage))
    told = {name: value for name, value in facts.items() if value is not None}
    error = told.pop("error_type", None) or said.error_type
    status = told.get("status")
    if error is None and (is_failed or (status is not None and status >= FIRST_ERROR)):
        error = FAILED
    if status is None and error is None and answer.body is not None:
        told["status"] = 200
    served = told.pop("model_served", None) or said.model_served
    asked_for = told.pop("model_requested", None) or _text(asked, "model")
    if told.get("subject") is None:
        told["subject"] = subject_of(_user_of(asked or {}))
    call = Call(
        **{
            "id": "",
            "task": "",
            "route": "rent",
            "endpoint": endpoint_of(asked, answer.body),
            "completion_id": said.completion_id,
            "service_tier": said.service_tier,
            "finish_reason": said.finish_reason,
            "stream": _flag(asked, "stream"),
            **told,
            "error_type": error,
            "model_requested": asked_for,
            "model_served": served or asked_for,
            "input_tokens": tokens.input_tokens,
            "cache_read_tokens": tokens.cache_read_tokens,
            "cache_write_tokens": tokens.cache_write_tokens,
            "output_tokens": tokens.output_tokens,
            "reasoning_tokens": tokens.reasoning_tokens,
            "request": asked,
            "response": answer.body,
            "truncated": True if request.is_cut or answer.is_cut or is_cut else None,
        }
    )
    return LoggedCall(call=call, key=first_key(key, of_request(asked)), source_id=source_id)


@lru_cache(maxsize=4096)
def subject_of(user: str | None) -> str | None:
    """An end user, hashed: whoever keeps the call seals the hash with the workspace's secret."""
    return None if user is None else plainly_hashed(user)


def _user_of(request: Mapping[str, Any]) -> str | None:  # Any: JSON
    """The end user whom a request names: to OpenAI's APIs, or to Anthropic's."""
    return word(request, "user", "safety_identifier") or word(inner(request, "metadata"), "user_id")


def error_name(message: str | None) -> str | None:
    """The kind of error that a message begins with, such as `openai.RateLimitError`.

    The message itself is never kept as a kind: it may quote what a customer wrote.
    """
    found = _ERROR_NAME.match((message or "").strip())
    return None if found is None else found[0][:100]


def status_of(code: object) -> int | None:
    """An HTTP status that is written as a number or as text."""
    digits = str(code).strip()
    is_status = not isinstance(code, bool) and digits.isascii() and digits.isdigit() and 100 <= int(digits[:4]) <= 599
    return int(digits) if is_status and len(digits) == 3 else None


def _text(body: Mapping[str, Any] | None, name: str) -> str | None:  # Any: JSON
    value = (body or {}).get(name)
    return value if isinstance(value, str) and value else None


def _flag(body: Mapping[str, Any] | None, name: str) -> bool | None:  # Any: JSON
    value = (body or {}).get(name)
    return value if isinstance(value, bool) else None
