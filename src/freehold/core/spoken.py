"""What was asked and what was answered, read from the bodies of a call in whatever dialect it was made.

Bodies are kept as they passed, so anything may stand in them: what cannot be read as text is left out.
Dialects: OpenAI's chat completions, completions and responses, and Anthropic's messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from freehold.core.chat import Message

Body = Mapping[str, Any]  # Any: JSON of somebody else's making


def asked(request: Body | None) -> list[Message]:
    """The turns of a request that are text, the system's first; parts of one turn are joined by line breaks."""
    body = request or {}
    turns = [Message("system", text) for name in ("system", "instructions") if (text := _text(body.get(name)))]
    for name in ("messages", "input", "prompt"):
        given = body.get(name)
        may_be_text = name != "messages"
        if may_be_text and isinstance(given, str):
            turns.append(Message("user", given))
        elif isinstance(given, list):
            turns += [turn for each in given if (turn := _turn(each, may_be_text=may_be_text)) is not None]
    return turns


def answered(response: Body | None) -> str | None:
    """The text of the first answer; None if there is none, such as in an error or a call of a tool."""
    body = response or {}
    choice = _first(body.get("choices"))
    said = choice.get("message") or choice
    text = _text(said.get("content") or said.get("text")) if isinstance(said, Mapping) else ""
    if not text:
        text = _text(body.get("content"))
    if not text:
        items = body.get("output")
        spoken = [each for each in items if _is_message(each)] if isinstance(items, list) else []
        text = "\n".join(_text(each.get("content")) for each in spoken)
    return text or None


def _turn(each: Any, *, may_be_text: bool) -> Message | None:
    if may_be_text and isinstance(each, str):
        return Message("user", each)
    if not isinstance(each, Mapping) or not isinstance(each.get("role"), str):
        return None
    return Message(each["role"], _text(each.get("content")))


def _text(content: Any) -> str:
    """Text as it is, or the texts of a list of typed parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, Mapping))
    return "\n".join(text for text in texts if isinstance(text, str))


def _first(values: Any) -> Body:
    is_list = isinstance(values, list) and values and isinstance(values[0], Mapping)
    return values[0] if is_list else {}


def _is_message(item: Any) -> bool:
    return isinstance(item, Mapping) and item.get("type") == "message"
