"""Training files of OpenAI's fine-tuning, which Together, Fireworks and others take as well.

What an assistant says in them is what a human wants it to say: such turns become labelled rows, one for each turn that
is trained on, with the turns before it as what was asked. `weight: 0` marks turns that are shown and not learnt. In a
file of preferences the answer that was not preferred is what a model said, and the preferred one is the human's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.core.call import Call
from freehold.core.identity import content_hash
from freehold.core.spoken import answered
from freehold.ledger.logs.format import BadRow, Format, HumanWord, LoggedCall, Skipped
from freehold.ledger.logs.formats._bodies import Kept, answer_of, request_of
from freehold.ledger.logs.formats._each_row import each_row
from freehold.ledger.logs.formats._fields import Values, mapping_of, objects
from freehold.ledger.logs.formats._keys import first_key, of_metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from freehold.ledger.logs.format import Context, Item, TaskKey
    from freehold.ledger.logs.formats._each_row import Row

_CHAT = "/v1/chat/completions"
_ASKED = ("messages", "tools", "parallel_tool_calls", "functions", "response_format")
_OTHERS_HAVE = frozenset(
    {"choices", "response", "output", "model_output", "custom_id", "completion_id", "call_type", "request_id", "usage"}
)
"""A row with one of these is the log of a call."""


def read_example(row: Row, context: Context) -> Iterator[Item]:
    """Conversations to be learnt (SFT): a labelled call for each turn that is trained on."""
    messages = _messages(row)
    taught = [place for place, message in enumerate(messages) if _is_taught(message)]
    if not taught:
        yield Skipped("conversation without a turn of the assistant that is trained on")
    for place in taught:
        said = answered({"choices": [{"message": messages[place]}]})
        asked = [{name: each[name] for name in each if name != "weight"} for each in messages[:place]]
        if said is None or not said.strip():
            yield Skipped("turn of the assistant without text, such as a call of a tool")
        elif not any(message["role"] == "user" for message in asked):
            yield Skipped("turn of the assistant that answers no user")
        else:
            request = request_of({**_asked(row), "messages": asked})
            yield _labelled(request, said.strip(), None, _key(row), is_test=context.is_test)


def read_preference(row: Row, context: Context) -> Iterator[Item]:
    """Pairs of answers (DPO): a call with the answer that was not preferred, and the human's."""
    asked = mapping_of(row.get("input"))
    messages = _messages(asked)
    preferred, other = _last(row, "preferred_output"), _last(row, "non_preferred_output")
    said = answered(preferred.body)
    if said is None or not said.strip():
        yield Skipped("pair whose preferred answer has no text, such as a call of a tool")
        return
    request = request_of({**_asked(asked), "messages": messages})
    yield _labelled(request, said.strip(), other, first_key(_key(row), _key(asked)), is_test=context.is_test)


def _asked(row: Row) -> dict[str, Any]:  # Any: JSON
    return {name: row[name] for name in _ASKED if name in row}


def _labelled(request: Kept, said: str, answer: Kept | None, key: TaskKey | None, *, is_test: bool) -> LoggedCall:
    """A row that somebody made to learn from. It is no traffic: when it was asked, and by whom, is not told."""
    call = Call(
        id="",
        task="",
        endpoint=_CHAT,
        request=request.body,
        response=None if answer is None else answer.body,
        truncated=True if request.is_cut or (answer is not None and answer.is_cut) else None,
    )
    human = HumanWord(call="", output=said, is_test=is_test)
    # A row may hold several calls, and a held-out case is another one than the same case to be learnt.
    content = content_hash([is_test, request.body, None if answer is None else answer.body, said])
    return LoggedCall(call=call, human=human, key=key, content=f"openai-example:{content}")


def _messages(row: Values) -> list[dict[str, Any]]:
    messages = row.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRow("'messages' must be a list with at least one message")
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise BadRow("'messages' has a message without a role")
    return messages


def _is_taught(message: Values) -> bool:
    return message["role"] == "assistant" and message.get("weight") not in (0, False, "0")


def _last(row: Values, name: str) -> Kept:
    """The answer of one side: its last turn."""
    turns = list(objects(row.get(name)))
    if not turns:
        raise BadRow(f"{name!r} must be a list with the assistant's message")
    return answer_of(turns[-1])


def _key(row: Values) -> TaskKey | None:
    return first_key(of_metadata(row.get("metadata")), of_metadata({"task": row.get("task")}))


def _is_example(values: Values) -> bool:
    turns = values.get("messages")
    if not isinstance(turns, list) or _OTHERS_HAVE & values.keys():
        return False
    return any(isinstance(turn, dict) and turn.get("role") == "assistant" for turn in turns)


def _is_pair(values: Values) -> bool:
    return {"input", "preferred_output", "non_preferred_output"} <= values.keys()


FORMATS = (
    Format(
        name="openai-preferences",
        recognises=_is_pair,
        reader=each_row(read_preference),
        says="preferences have 'input' with 'preferred_output' and 'non_preferred_output'",
    ),
    Format(
        name="openai-fine-tuning",
        recognises=_is_example,
        reader=each_row(read_example),
        unused=lambda values: set(values) - {*_ASKED, "metadata", "task"},
        says="fine-tuning files have 'messages' with turns of an assistant",
    ),
)
