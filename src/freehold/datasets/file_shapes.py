"""What a row of a training file says, whichever tool wrote it.

Known: OpenAI's SFT and DPO lines, ShareGPT, Alpaca, TRL's prompt with completion or with chosen and rejected, and plain
columns. A row is told by its fields; nothing depends on the name of a file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from freehold.core.chat import Message

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Values = Mapping[str, Any]  # Any: a row that a stranger brought

COLUMNS = (
    ("input", "output"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("question", "answer"),
    ("text", "label"),
    ("sentence", "label"),
    ("text", "target"),
)
"""Names of plain columns that are understood, the first that fits counts."""
_ROLES = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "model": "assistant",
    "system": "system", "observation": "tool", "tool": "tool", "function_call": "tool",
}  # fmt: skip


class BadShape(ValueError):
    """The row cannot be used; the message says why, without quoting it."""


@dataclass(frozen=True, slots=True)
class Case:
    """One answer to learn, or a pair to prefer."""

    turns: tuple[Message, ...]
    answer: str
    rejected: str | None = None
    """An answer that was found worse."""


def cases_of(values: Values, columns: tuple[str, str] | None = None) -> Iterator[Case]:
    """What a row holds; a conversation holds a case for each turn of the assistant that is trained on.

    Args:
        values: The row.
        columns: Names of input and output, where the user gave them.

    Raises:
        BadShape: it is of no known shape, or something in it is missing.
    """
    if columns is not None:
        yield _plain(values, *columns)
    elif "preferred_output" in values and "non_preferred_output" in values:
        asked = _structure(values.get("input"))
        turns = _messages(asked.get("messages") if isinstance(asked, dict) else asked)
        yield Case(turns, _last(values["preferred_output"]), _last(values["non_preferred_output"]))
    elif "chosen" in values and "rejected" in values:
        yield _preference(values)
    elif "messages" in values:
        worse = values.get("rejected")
        *earlier, last = _conversation(_structure(values["messages"]))
        yield from earlier
        yield last if worse in (None, "") else replace(last, rejected=_last(worse))
    elif "conversations" in values:
        yield from _conversation(_sharegpt(values))
    elif "instruction" in values and "output" in values:
        yield _alpaca(values)
    else:
        found = next((pair for pair in COLUMNS if pair[0] in values and pair[1] in values), None)
        if found is None:
            raise BadShape("no known shape: see docs/reference/datasets.md, or name the columns with --columns")
        yield _plain(values, *found)


def _plain(values: Values, asked: str, answer: str) -> Case:
    missing = [name for name in (asked, answer) if values.get(name) is None]
    if missing:
        raise BadShape(f"no value in column {missing[0]!r}")
    given = _structure(values[asked])
    turns = _messages(given) if _is_turns(given) else (Message("user", _said(given, asked)),)
    model, said = values.get("model_output"), _structure(values[answer])
    return Case(
        turns,
        _last(said) if _is_turns(said) else _said(said, answer),
        None if model in (None, "") else _said(model, "model_output"),
    )


def _alpaca(values: Values) -> Case:
    parts = [_said(values[name], name) for name in ("instruction", "input") if values.get(name)]
    history = _structure(values.get("history")) or []
    turns = [Message("system", _said(values["system"], "system"))] if values.get("system") else []
    for pair in history:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise BadShape("'history' must be a list of pairs")
        turns += [Message("user", _said(pair[0], "history")), Message("assistant", _said(pair[1], "history"))]
    return Case((*turns, Message("user", "\n\n".join(parts))), _said(values["output"], "output"))


def _preference(values: Values) -> Case:
    chosen, rejected = _structure(values["chosen"]), _structure(values["rejected"])
    asked = _structure(values.get("prompt", values.get("input")))
    if asked is None and isinstance(chosen, list):  # both hold the whole conversation
        asked = chosen[:-1]
    turns = _messages(asked) if isinstance(asked, list) else (Message("user", _said(asked, "prompt")),)
    return Case(turns, _last(chosen), _last(rejected))


def _conversation(messages: Any) -> Iterator[Case]:  # Any: JSON
    turns = _messages(messages)
    taught = 0
    for place, (turn, given) in enumerate(zip(turns, messages, strict=True)):
        is_taught = turn.role == "assistant" and given.get("weight") not in (0, False, "0")
        if is_taught and turn.content.strip() and any(each.role == "user" for each in turns[:place]):
            taught += 1
            yield Case(turns[:place], turn.content)
    if not taught:
        raise BadShape("no turn of the assistant that has text and is trained on")


def _sharegpt(values: Values) -> list[dict[str, str]]:
    given = _structure(values["conversations"])
    if not isinstance(given, list):
        raise BadShape("'conversations' must be a list")
    turns = [{"role": "system", "content": _said(values["system"], "system")}] if values.get("system") else []
    for turn in given:
        role = _ROLES.get(str(turn.get("from", turn.get("role")))) if isinstance(turn, dict) else None
        if role is None:
            raise BadShape("'conversations' has a turn whose 'from' is neither human, gpt, system nor a tool")
        turns.append({"role": role, "content": _said(turn.get("value", turn.get("content")), "conversations")})
    return turns


def _messages(given: Any) -> tuple[Message, ...]:  # Any: JSON
    if not isinstance(given, list) or not given:
        raise BadShape("'messages' must be a list with at least one message")
    turns = []
    for turn in given:
        if not isinstance(turn, dict) or not isinstance(turn.get("role"), str):
            raise BadShape("'messages' has a message without a role")
        turns.append(Message(turn["role"], _content(turn.get("content"))))
    return tuple(turns)


def _content(given: Any) -> str:  # Any: JSON; a list holds typed parts
    if isinstance(given, list):
        return "\n".join(part["text"] for part in given if isinstance(part, dict) and isinstance(part.get("text"), str))
    return given if isinstance(given, str) else ""


def _last(given: Any) -> str:  # Any: JSON
    turns: Sequence[Any] = _structure(given)
    if isinstance(turns, str):
        return turns
    if not isinstance(turns, list) or not turns or not isinstance(turns[-1], dict):
        raise BadShape("an answer must be text or a list with the assistant's message")
    return _content(turns[-1].get("content"))


def _is_turns(given: Any) -> bool:  # Any: JSON
    return isinstance(given, list) and all(isinstance(turn, dict) and "role" in turn for turn in given) and bool(given)


def _said(given: Any, name: str) -> str:  # Any: JSON
    """Text as it is; numbers, truth values and objects as JSON writes them."""
    if given is None:
        raise BadShape(f"no value in {name!r}")
    return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)


def _structure(given: Any) -> Any:  # Any: JSON
    """A cell of a CSV file may hold a list as JSON."""
    if isinstance(given, str) and given.lstrip()[:2] in ("[{", '{"'):
        try:
            return json.loads(given)
        except ValueError:
            return given
    return given
