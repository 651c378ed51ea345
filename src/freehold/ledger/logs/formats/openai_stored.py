"""Stored completions of OpenAI (`GET /v1/chat/completions`), and their messages, which are listed apart.

The list of completions has no prompts: those come from `GET /v1/chat/completions/{id}/messages`, one list for each. The
id of a message is that of its completion and a number, so the two find each other in whatever files they lie. Without
its messages a completion is imported with its facts, as a call whose request is not whole.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from freehold.ledger.logs.format import BadRow, Format, Skipped
from freehold.ledger.logs.formats._bodies import Kept, answer_of, endpoint_of, plain, request_of
from freehold.ledger.logs.formats._calls import logged_call, subject_of
from freehold.ledger.logs.formats._each_row import each_row
from freehold.ledger.logs.formats._fields import Values, inner, list_of, moment, objects, text, word
from freehold.ledger.logs.formats._keys import first_key, of_metadata, of_prompt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from freehold.ledger.logs.format import Context, Item
    from freehold.ledger.logs.formats._each_row import Row

SPACE = "openai-messages"
_USED = "openai-messages-used"
_PARAMETERS = (
    "tools", "tool_choice", "parallel_tool_calls", "seed", "top_p", "temperature", "presence_penalty",
    "frequency_penalty", "response_format", "metadata", "max_tokens", "max_completion_tokens", "reasoning_effort",
    "instructions", "prompt", "text", "reasoning", "max_output_tokens",
)  # fmt: skip
_NO_PART_OF_ANSWERS = ("request_id", "input_user")
"""The list of stored completions adds them to each."""
_MESSAGE = ("role", "content", "name", "tool_calls", "tool_call_id")
_READ = frozenset(
    {
        "id", "object", "created", "created_at", "model", "choices", "output", "usage", "service_tier", "request_id",
        "input_user", "user", "messages", "input", "error", "status", "incomplete_details", "safety_identifier",
        *_PARAMETERS,
    }
)  # fmt: skip


def read_completion(values: Row, context: Context) -> Iterator[Item]:
    """One completion of either API, with its messages if the row or the shelf has them."""
    row = dict(values)
    completion = text(row, "id")
    if completion is None:
        raise BadRow("a stored completion without an 'id'")
    asked = row.pop("messages", None) or row.pop("input", None) or _messages_of(completion, context)
    request = _request(asked, is_chat=_is_chat(row))
    parameters = {name: plain(row.pop(name)) for name in _PARAMETERS if name in row}
    answer = answer_of({name: row[name] for name in row if name not in _NO_PART_OF_ANSWERS})
    yield logged_call(
        source_id=f"openai:{completion}",
        request=request,
        answer=answer,
        parameters=parameters,
        key=first_key(of_metadata(parameters.get("metadata")), of_prompt(inner(parameters, "prompt"), "id")),
        endpoint=endpoint_of(None, answer.body),
        provider="openai",
        started_at=moment(row, "created", "created_at"),
        completion_id=completion,
        request_id=text(row, "request_id"),
        subject=subject_of(word(row, "input_user", "user", "safety_identifier")),
    )


def read_messages(row: Row, context: Context) -> Iterator[Item]:
    """One message, a list of them as the API gives it, or all of a completion under its id: laid on the shelf."""
    whose = word(row, "completion_id")
    found: dict[str, list[Any]] = {}
    for each in list_of(row.get("messages")) or list_of(row.get("data")) or [row]:
        if not _is_message(each):
            raise BadRow("a message of a stored completion has no 'role'")
        found.setdefault(whose or _completion_of(each), []).append(each)
    for completion, messages in found.items():
        _lay(completion, messages, context)
    yield Skipped("message of a stored completion, kept with it")


def unused_messages(context: Context) -> Iterator[Item]:
    """Messages whose completion is in no file: it is missing, or was imported without them before."""
    for completion, _ in context.shelf.left(SPACE):
        if context.shelf.look(_USED, completion) is None:
            yield Skipped("messages of a stored completion that is in no file of this import")


def _request(asked: object, *, is_chat: bool) -> Kept:
    """What was asked. Without its messages a request is not whole, whatever else is known of it."""
    kept = request_of({"messages": asked} if isinstance(asked, list) else asked)
    if kept.body is None:
        return Kept({}, is_cut=True)
    return kept if is_chat else Kept({"input": kept.body["messages"]}, is_cut=kept.is_cut)


def _messages_of(completion: str, context: Context) -> list[Any] | None:
    lies = context.shelf.look(SPACE, completion)
    if lies is None:
        return None
    context.shelf.put(_USED, completion, b"")
    by_place = {int(place): each for place, each in json.loads(lies).items()}
    return [by_place[place] for place in sorted(by_place)] or None


def _lay(completion: str, messages: Sequence[Values], context: Context) -> None:
    """Add messages to those that lie there; the same list twice, as in two exports of one month, is one list."""
    lies = context.shelf.look(SPACE, completion)
    by_place = {} if lies is None else {int(place): each for place, each in json.loads(lies).items()}
    for message in messages:
        kept = {name: plain(message[name]) for name in _MESSAGE if message.get(name) is not None}
        if list_of(message.get("content_parts")):
            kept["content"] = plain(message["content_parts"])
        place = str(message.get("id") or "").rpartition("-")[2]
        by_place[int(place) if place.isdecimal() and len(place) < 9 else len(by_place)] = kept
    context.shelf.put(SPACE, completion, json.dumps(by_place).encode())


def _is_chat(row: Values) -> bool:
    return row.get("object") != "response"


def _completion_of(message: Values) -> str:
    completion, _, place = str(message.get("id") or "").rpartition("-")
    if not completion or not place.isdecimal():
        raise BadRow("a message names its completion neither in 'completion_id' nor in its 'id'")
    return completion


def _is_message(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("role"), str)


def _is_listed_message(value: object) -> bool:
    if not isinstance(value, dict) or not _is_message(value):
        return False
    completion, _, place = str(value.get("id") or "").rpartition("-")
    return completion.startswith("chatcmpl-") and place.isdecimal() and "choices" not in value


def _is_stored(values: Values) -> bool:
    is_chat = values.get("object") == "chat.completion" and isinstance(values.get("choices"), list)
    is_response = values.get("object") == "response" and isinstance(values.get("output"), list)
    return is_chat or is_response


def _are_messages(values: Values) -> bool:
    if isinstance(values.get("completion_id"), str):
        return any(_is_message(each) for name in ("messages", "data") for each in objects(values.get(name)))
    if values.get("object") == "list":
        return any(_is_listed_message(each) for each in objects(values.get("data")))
    return _is_listed_message(values)


FORMATS = (
    Format(
        name="openai-stored-messages",
        recognises=_are_messages,
        reader=each_row(read_messages),
        finish=unused_messages,
        order=-1,
        says="messages of a stored completion have an 'id' of the form 'chatcmpl-…-0' and a 'role'",
    ),
    Format(
        name="openai-stored-completions",
        recognises=_is_stored,
        reader=each_row(read_completion),
        order=1,  # a completion of a batch may be stored as well, and there it does not say how it was billed
        unused=lambda values: set(values) - _READ - {"system_fingerprint", "moderation"},
        says="stored completions have 'object': 'chat.completion' with 'choices'",
    ),
)
