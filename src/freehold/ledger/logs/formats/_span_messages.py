"""What was asked and answered in a span, in whichever of five ways it is written there, as messages of the chat API.

1.41 and later have lists of messages with typed parts. Before that they were events of the span. OpenLLMetry numbers
attributes (`gen_ai.prompt.0.content`), OpenInference does (`llm.input_messages.0.message.content`) or has bare values.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import chain, repeat, zip_longest
from typing import TYPE_CHECKING, Any

from freehold.core import genai_names as names
from freehold.ledger.logs.formats._bodies import Body, Kept, answer_of, plain, request_of
from freehold.ledger.logs.formats._fields import Values, list_of, mapping_of, objects, parsed, word

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from freehold.ledger.logs.formats._spans import Span

_OLD_EVENT = re.compile(r"gen_ai\.(?P<role>system|user|assistant|tool)\.message")
_CHOICE_EVENT = "gen_ai.choice"
_NUMBERED = (("gen_ai.prompt", "gen_ai.completion"), ("llm.prompts", "llm.completions"))
_PLACE = re.compile(r"(?P<place>\d{1,6})\.(?P<field>.+)", re.DOTALL)


@dataclass(slots=True)
class Spoken:
    """The two sides of a call, as far as a span has them."""

    asked: list[Body] = field(default_factory=list)
    answers: list[Body] = field(default_factory=list)
    """A message for each choice."""
    reasons: list[str | None] = field(default_factory=list)
    """Why each of them ended, as far as it says so itself."""
    is_cut: bool = False
    """Something stood there that is not whole."""

    def __bool__(self) -> bool:
        """Something is there, whole or not."""
        return bool(self.asked or self.answers or self.is_cut)


def bodies_of(span: Span, reasons: Sequence[str] = ()) -> tuple[Kept, Kept]:
    """Request and answer of a span, in the form of the chat API.

    `reasons` say why each choice ended, where its message does not.

    An SDK keeps 128 attributes and drops the rest without saying which, so of a span that it dropped some of, the
    messages may not be all.
    """
    attributes = dict(span.attributes)
    for _, _, told in span.events:
        attributes = {**told, **attributes}
    ways = (_typed, _numbered, _openinference)
    spoken = next((found for way in ways if (found := way(attributes))), None) or _of_events(span)
    if not spoken:
        asked, answer = request_of(attributes.get("input.value")), answer_of(attributes.get("output.value"))
        return asked, answer
    is_cut = spoken.is_cut or span.dropped
    ends = [own or other for own, other in zip_longest(spoken.reasons, reasons)]
    choices = [
        {"index": place, "message": message, **({"finish_reason": end} if end else {})}
        for place, (message, end) in enumerate(zip(spoken.answers, chain(ends, repeat(None)), strict=False))
    ]
    asked = request_of({"messages": spoken.asked}) if spoken.asked else Kept(None)
    answer = answer_of({"object": "chat.completion", "choices": choices}) if choices else Kept(None)
    return Kept(asked.body, is_cut=asked.is_cut or is_cut), answer


def _typed(attributes: Values) -> Spoken:
    """Messages with typed parts; as an attribute of a span they are often JSON text."""
    found = Spoken()
    system = parsed(attributes.get(names.SYSTEM_INSTRUCTIONS))
    if isinstance(system, str) and system:
        system = [{"type": "text", "content": system}]
    if isinstance(system, list):
        found.asked += _from_parts("system", system)
    for name, side in ((names.INPUT_MESSAGES, found.asked), (names.OUTPUT_MESSAGES, found.answers)):
        value = parsed(attributes.get(name))
        found.is_cut |= isinstance(value, str) and bool(value)
        for message in objects(value):
            parts = list_of(message.get("parts")) or _content_parts(message.get("content"))
            turns = list(_from_parts(word(message, "role") or "user", parts))
            side.extend(turns)
            if side is found.answers:
                found.reasons += [word(message, "finish_reason")] * len(turns)
    return found


def _from_parts(role: str, parts: Iterable[Any]) -> Iterator[Body]:  # Any: JSON
    """One message of typed parts, and one more for each answer of a tool among them."""
    content: list[Any] = []
    calls: list[Body] = []
    tools: list[Body] = []
    for part in parts:
        match part:
            case {"type": "tool_call"}:
                calls.append(_tool_call(part.get("id"), part.get("name"), part.get("arguments")))
            case {"type": "tool_call_response"}:
                said = part.get("response", part.get("result"))
                tools.append({"role": "tool", "tool_call_id": part.get("id"), "content": _text(said)})
            case {"type": "reasoning"}:
                continue  # what a model thinks is no part of its answer
            case {"content": str() as text} if part.get("type", "text") == "text":
                content.append({"type": "text", "text": text})
            case _:
                content.append(part)
    if content or calls or not tools:
        yield _message(role, _joined(content), calls)
    yield from tools


def _content_parts(content: object) -> list[Any]:  # Any: JSON
    if isinstance(content, str):
        return [{"type": "text", "content": content}]
    return list_of(content)


def _numbered(attributes: Values) -> Spoken:
    """OpenLLMetry: each part of each message is an attribute. Before it, one attribute held all as JSON."""
    for prompt, completion in _NUMBERED:
        answers = _by_place(attributes, completion)
        found = Spoken(
            [_numbered_message(each, "user") for each in _by_place(attributes, prompt)],
            [_numbered_message(each, "assistant") for each in answers],
            [word(each, "finish_reason") for each in answers],
        )
        if found:
            return found
    asked, answer = request_of(attributes.get("gen_ai.prompt")), answer_of(attributes.get("gen_ai.completion"))
    choices = list(objects((answer.body or {}).get("choices")))
    return Spoken(
        list(objects((asked.body or {}).get("messages"))),
        [mapping_of(choice.get("message")) for choice in choices],
        [word(choice, "finish_reason") for choice in choices],
        asked.is_cut or answer.is_cut,
    )


def _numbered_message(values: Values, role: str) -> Body:
    calls = [
        _tool_call(each.get("id"), each.get("name"), each.get("arguments")) for each in _by_place(values, "tool_calls")
    ]
    content = parsed(values.get("content"))
    is_parts = isinstance(content, list) and all(isinstance(each, dict) and "type" in each for each in content)
    message = _message(word(values, "role") or role, content if is_parts else values.get("content"), calls)
    tool = word(values, "tool_call_id")
    return message if tool is None else {**message, "tool_call_id": tool}


def _openinference(attributes: Values) -> Spoken:
    found = Spoken(
        [_inference_message(each, "user") for each in _by_place(attributes, "llm.input_messages")],
        [_inference_message(each, "assistant") for each in _by_place(attributes, "llm.output_messages")],
    )
    if not found:
        prompts = (each.get("prompt.text") for each in _by_place(attributes, "llm.prompts"))
        choices = (each.get("completion.text") for each in _by_place(attributes, "llm.choices"))
        found.asked = [_message("user", text, []) for text in prompts if isinstance(text, str)]
        found.answers = [_message("assistant", text, []) for text in choices if isinstance(text, str)]
    return found


def _inference_message(values: Values, role: str) -> Body:
    parts = []
    for part in _by_place(values, "message.contents"):
        url = word(part, "message_content.image.image.url")
        if url is not None:
            parts.append({"type": "image_url", "image_url": {"url": url}})
        elif isinstance(part.get("message_content.text"), str):
            parts.append({"type": "text", "text": part["message_content.text"]})
    calls = [
        _tool_call(
            each.get("tool_call.id"), each.get("tool_call.function.name"), each.get("tool_call.function.arguments")
        )
        for each in _by_place(values, "message.tool_calls")
    ]
    message = _message(word(values, "message.role") or role, _joined(parts) or values.get("message.content"), calls)
    tool = word(values, "message.tool_call_id")
    return message if tool is None else {**message, "tool_call_id": tool}


def _of_events(span: Span) -> Spoken:
    """Before 1.37 each message was an event, with its content beside it or inside."""
    found = Spoken()
    for name, _, attributes in span.events:
        told = {**attributes, **mapping_of(attributes.get("gen_ai.event.content"))}
        old = _OLD_EVENT.fullmatch(name)
        if old is not None:
            found.asked.append(_event_message(told, old["role"]))
        elif name == _CHOICE_EVENT:
            inside = mapping_of(told.get("message")) or {
                each.removeprefix("message."): told[each] for each in told if each.startswith("message.")
            }
            found.answers.append(_event_message(inside or told, "assistant"))
            found.reasons.append(word(told, "finish_reason"))
    return found


def _event_message(values: Values, role: str) -> Body:
    message = _message(word(values, "role") or role, values.get("content"), list(objects(values.get("tool_calls"))))
    tool = word(values, "id", "tool_call_id") if role == "tool" else None
    return message if tool is None else {**message, "tool_call_id": tool}


def _by_place(values: Values, prefix: str) -> list[dict[str, Any]]:  # Any: JSON
    """The attributes `prefix.0.…`, `prefix.1.…` as one object for each number, in order."""
    found: defaultdict[int, dict[str, Any]] = defaultdict(dict)
    for name, value in values.items():
        if name.startswith(f"{prefix}."):
            place = _PLACE.fullmatch(name, len(prefix) + 1)
            if place is not None:
                found[int(place["place"])][place["field"]] = value
    return [found[place] for place in sorted(found)]


def _message(role: str, content: Any, calls: list[Body]) -> Body:  # Any: text, or parts
    message: Body = {"role": role, "content": plain(content)}
    return {**message, "tool_calls": calls} if calls else message


def _tool_call(identifier: Any, name: Any, arguments: Any) -> Body:  # Any: JSON
    function = {"name": plain(name), "arguments": _text(arguments)}
    return {"id": plain(identifier), "type": "function", "function": function}


def _joined(parts: list[Any]) -> Any:  # Any: text if all parts are, else the parts; None if there are none
    texts = [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
    return ("\n".join(texts) or None) if len(texts) == len(parts) else parts


def _text(value: Any) -> str | None:  # Any: JSON
    return value if value is None or isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)
