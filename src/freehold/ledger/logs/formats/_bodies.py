"""Bodies of calls as logs keep them: whole, as text, cut off, taken out, or as an SDK would show them.

What comes out is what the ledger keeps: a request with its messages, an answer with its choices, in the words of the
API that they were made in. What a log has cut is marked, so that it is never taken for the whole.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from freehold.core.identity import canonical_json
from freehold.ledger.assemble import assemble
from freehold.ledger.logs.format import BadRow
from freehold.ledger.logs.formats._fields import is_half_json, parsed
from freehold.ledger.logs.values import clean

if TYPE_CHECKING:
    from collections.abc import Callable

Body = dict[str, Any]  # Any: JSON of somebody else

DEEPEST = 200
"""Levels of a body. No API takes so many."""

_CUT = re.compile(
    r"\(litellm_truncated skipped \d+ chars|\.\.\. ?\(truncated \d+ chars\)|<truncated due to size exceeding limit>"
)
"""LiteLLM, also of older versions, and Langfuse write these where they leave something out."""
_TAKEN_OUT = frozenset({"redacted-by-litellm", "<fully masked due to failed mask function>", "__REDACTED__"})
"""What stands there instead of a text that the log was not to hold."""
_SECRETS = frozenset(
    {
        "api_key", "api-key", "authorization", "secret_fields", "aws_access_key_id", "aws_secret_access_key",
        "aws_session_token", "vertex_credentials", "azure_ad_token", "extra_headers", "proxy_server_request",
    }
)  # fmt: skip
"""Fields of a request to LiteLLM that may hold credentials."""
_ASKING = ("messages", "input", "prompt", "contents")
_ANSWERING = ("choices", "output", "candidates", "error", "data", "content")
_ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant", "system": "system", "tool": "tool"}
"""LangChain's types of messages."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A body as it can be kept."""

    body: Body | None
    is_cut: bool = False
    """The log has left a part of it out."""


_NOTHING = Kept(None)


def request_of(value: object) -> Kept:
    """The request that a log shows: a body, the messages alone, one message, or the bare text that was asked."""
    return _kept(value, _as_request)


def answer_of(value: object) -> Kept:
    """The answer that a log shows: a body, streamed or not, a message, a list of them, or the bare text."""
    return _kept(value, _as_answer)


def body_of(value: object) -> Kept:
    """A body from a field that holds JSON and nothing else: text that is no whole JSON was cut off."""
    if isinstance(value, str) and value.strip() and isinstance(parsed(value), str):
        streamed = _streamed(value)
        return Kept(None, is_cut=True) if streamed is None else _kept(streamed, _as_answer)
    found = parsed(value)
    return _kept(found if isinstance(found, Mapping) else None, dict)


def with_facts(request: Body | None, **facts: object) -> Body | None:
    """A request with the parameters that a log has beside it; what the request itself says counts."""
    if request is None:
        return None
    return {**{name: value for name, value in facts.items() if value is not None and value != {}}, **request}


def without_vectors(kept: Kept) -> Kept:
    """An answer without the numbers of its embeddings: megabytes of which nothing is read."""
    data = None if kept.body is None else kept.body.get("data")
    if kept.body is None or not isinstance(data, list) or not any(_is_vector(each) for each in data):
        return kept
    bare = [{name: each[name] for name in each if name != "embedding"} if _is_vector(each) else each for each in data]
    return Kept({**kept.body, "data": bare}, is_cut=kept.is_cut)


def endpoint_of(request: Body | None, answer: Body | None) -> str | None:
    """The path that bodies of this form belong to; None where they do not tell."""
    given, made = request or {}, answer or {}
    if made.get("object") == "list" or any(_is_vector(each) for each in _list(made.get("data"))):
        return "/v1/embeddings"
    if made.get("type") == "message":
        return "/v1/messages"
    if made.get("object") == "response" or ("input" in given and "messages" not in given):
        return "/v1/responses"
    if made.get("object") == "text_completion" or ("prompt" in given and "messages" not in given):
        return "/v1/completions"
    return "/v1/chat/completions" if "messages" in given or "choices" in made else None


def plain(value: object, depth: int = 0) -> Any:  # Any: JSON
    """A value as JSON can hold it: no NaN, no halves of characters, no times and bytes of a database.

    Raises:
        BadRow: it is nested deeper than any body.
    """
    if depth > DEEPEST:
        raise BadRow(f"a body is nested deeper than {DEEPEST} levels")
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {clean(str(name)): plain(each, depth + 1) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each, depth + 1) for each in value]
    if value is None or isinstance(value, bool | int):
        return value
    return _plain_number_or_text(value)


def _plain_number_or_text(value: object) -> float | str | None:
    match value:
        case float() | Decimal():
            return float(value) if math.isfinite(value) else None
        case datetime() | date():
            return value.isoformat()
        case bytes():
            return value.decode("utf-8", "replace")
        case _:
            return clean(str(value))


def _kept(value: object, read: Callable[[Any], Body]) -> Kept:  # Any: JSON
    if not value and not isinstance(value, int | float):
        return _NOTHING
    found = plain(parsed(value))
    if found is None or found in ("", {}, []) or _holds(found, _is_taken_out):
        return _NOTHING
    body = read(found)
    return Kept(body, is_cut=is_half_json(found) or _holds(body, _is_cut))


def _as_request(value: Any) -> Body:  # Any: JSON
    match value:
        case dict() if any(name in value for name in _ASKING):
            body = {name: each for name, each in value.items() if name.lower() not in _SECRETS}
            return {**body, "messages": _messages(body["messages"])} if "messages" in body else body
        case dict() | list():
            return {"messages": _messages(value)}
        case _:
            return {"messages": [{"role": "user", "content": _as_text(value)}]}


def _as_answer(value: Any) -> Body:  # Any: JSON
    match value:
        case dict() if _is_message(value):
            return {"choices": [{"message": _message(value)}]}
        case dict() if _is_answer(value):
            return value
        case str():
            streamed = _streamed(value)
            return {"choices": [{"message": _assistant(value)}]} if streamed is None else streamed
        case list() if value and all(isinstance(each, dict) and _is_message(each) for each in value):
            said = [_message(each) for each in value if _message(each)["role"] == "assistant"]
            return {"choices": [{"message": (said or [_message(value[-1])])[-1]}]}
        case list() if value and all(isinstance(each, dict) and isinstance(each.get("text"), str) for each in value):
            return {"choices": [{"message": _assistant(value)}]}
        case _:
            return {"choices": [{"message": _assistant(_as_text(value))}]}


def _messages(value: Any) -> Any:  # Any: JSON
    """The messages of a request, each with a role. What is of no such form stays as it is."""
    if isinstance(value, dict):
        return [_message(value)] if _is_message(value) else [{"role": "user", "content": _as_text(value)}]
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]  # LangChain asks in batches
    if isinstance(value, list):
        if value and all(isinstance(each, dict) and not _is_message(each) and "type" in each for each in value):
            return [{"role": "user", "content": value}]  # the parts of one message
        return [_message(each) for each in value]
    return [{"role": "user", "content": _as_text(value)}]


def _message(value: Any) -> Body:  # Any: JSON
    if not isinstance(value, dict):
        return {"role": "user", "content": _as_text(value)}
    if isinstance(value.get("role"), str):
        return value
    role = _role_of(value)
    if role is None:
        return value
    return {"role": role, **{name: each for name, each in value.items() if name != "type"}}


def _is_message(value: Mapping[str, Any]) -> bool:
    if isinstance(value.get("role"), str):
        return value.get("type") in (None, "message") and "usage" not in value
    return _role_of(value) is not None and "content" in value


def _role_of(value: Mapping[str, Any]) -> str | None:
    """The role that a message of LangChain's has by its type."""
    kind = value.get("type")
    return _ROLES.get(kind) if isinstance(kind, str) else None


def _is_answer(value: Mapping[str, Any]) -> bool:
    """The body of an API's answer, and not an object that a model was asked to write."""
    is_typed = isinstance(value.get("object"), str) or value.get("type") in ("message", "error")
    has_list = any(isinstance(value.get(name), list) for name in _ANSWERING)
    is_error = isinstance(value.get("error"), dict) and len(value) <= 3
    return (is_typed and any(name in value for name in _ANSWERING)) or is_error or (
        has_list and (isinstance(value.get("choices"), list) or "usage" in value or "usageMetadata" in value)
    )  # fmt: skip


def _assistant(content: Any) -> Body:  # Any: text, or parts of it
    return {"role": "assistant", "content": content}


def _as_text(value: Any) -> str:  # Any: JSON
    return value if isinstance(value, str) else canonical_json(value)


def _streamed(value: str) -> Body | None:
    """The answer that a recorded stream of events adds up to; None: the text is no such stream."""
    if not value.lstrip("\ufeff\n\r ").startswith(("data:", "event:")):
        return None
    return assemble(None, value.encode())


def _holds(value: object, is_meant: Callable[[str], bool]) -> bool:
    """Whether a text somewhere inside is meant."""
    match value:
        case str():
            return is_meant(value)
        case dict():
            return any(_holds(each, is_meant) for each in value.values())
        case list():
            return any(_holds(each, is_meant) for each in value)
        case _:
            return False


def _is_cut(text: str) -> bool:
    return "truncated" in text and _CUT.search(text) is not None


def _is_taken_out(text: str) -> bool:
    return text in _TAKEN_OUT


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_vector(value: object) -> bool:
    return isinstance(value, dict) and "embedding" in value
