"""Puts a streamed answer together: the body that the provider would have sent in one piece.

A stream that broke off gives what had arrived. Nothing here raises on what a provider sends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from freehold.ledger.records import Dialect

Body = dict[str, Any]  # Any: providers' JSON is open by nature

_LINE_END = re.compile(rb"\r\n|\r|\n")
_DONE = b"[DONE]"


def events_of(stream: bytes) -> Iterator[Body]:
    """The JSON objects of a stream of server-sent events, in order; what is none is passed over.

    Source: WHATWG HTML, section 9.2.6. The last event counts without its empty line too: a connection may have died.
    """
    data: list[bytes] = []
    for line in _LINE_END.split(stream.removeprefix(b"\xef\xbb\xbf")):
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif not line and data:
            yield from _event(b"\n".join(data))
            data = []
    if data:
        yield from _event(b"\n".join(data))


def parse_json(data: bytes) -> Any:  # Any: JSON
    """What JSON says, lone halves of surrogates and NaN included as Python's own reader takes them.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        try:
            return json.loads(data)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def assemble(dialect: Dialect | None, stream: bytes) -> Body | None:
    """The whole body of a streamed answer; None if the stream holds not one event that is JSON."""
    events = list(events_of(stream))
    if not events:
        return None
    return _ASSEMBLERS.get(dialect or "", _by_looks(events))(events)


def _event(data: bytes) -> Iterator[Body]:
    if data.strip() == _DONE:
        return
    try:
        value = parse_json(data)
    except ValueError:
        return
    if isinstance(value, dict):
        yield value


def _by_looks(events: list[Body]) -> Callable[[list[Body]], Body]:
    """The assembler for a stream whose dialect nobody named."""
    kind = str(events[0].get("type", ""))
    if kind.startswith("response."):
        return _responses
    if kind in {"message_start", "ping", "error"}:
        return _anthropic
    if any("text" in choice for event in events for choice in _objects(event.get("choices"))):
        return _completions
    return _chat


def _chat(events: list[Body]) -> Body:
    body, choices = _outer(events, "chat.completion")
    for index, parts in choices.items():
        message: Body = {"role": "assistant", "content": None}
        choice: Body = {"index": index, "message": message, "finish_reason": None}
        for part in parts:
            _merge_delta(message, _object(part.get("delta")))
            _merge_choice(choice, part, skip="delta")
        body["choices"].append(choice)
    return body


def _completions(events: list[Body]) -> Body:
    body, choices = _outer(events, "text_completion")
    for index, parts in choices.items():
        choice: Body = {"index": index, "text": "", "finish_reason": None}
        for part in parts:
            choice["text"] += _text(part.get("text"))
            _merge_choice(choice, part, skip="text")
        body["choices"].append(choice)
    return body


def _outer(events: list[Body], kind: str) -> tuple[Body, dict[int, list[Body]]]:
    """The members around the choices, and the pieces of each choice."""
    body: Body = {}
    choices: dict[int, list[Body]] = {}
    for event in events:
        for choice in _objects(event.get("choices")):
            index = choice.get("index")
            choices.setdefault(index if isinstance(index, int) else 0, []).append(choice)
        body.update({name: value for name, value in event.items() if value is not None and name != "choices"})
    body["object"] = kind
    return {**body, "choices": []}, dict(sorted(choices.items()))


def _merge_choice(choice: Body, part: Body, *, skip: str) -> None:
    for name, value in part.items():
        if name == "logprobs" and isinstance(value, dict):
            choice["logprobs"] = _object(choice.get("logprobs"))
            for key, values in value.items():
                _append(choice["logprobs"], key, values)
        elif name not in {skip, "index"} and value is not None:
            choice[name] = value


def _merge_delta(message: Body, delta: Body) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            _merge_tool_calls(message.setdefault("tool_calls", []), _objects(value))
        elif name == "function_call" and isinstance(value, dict):
            message["function_call"] = _object(message.get("function_call"))
            _merge_text(message["function_call"], value, {"name", "arguments"})
        elif name == "role":
            message["role"] = value or message["role"]
        elif isinstance(value, str):
            message[name] = _text(message.get(name)) + value
        elif isinstance(value, list):
            _append(message, name, value)
        elif value is not None:
            message[name] = value


def _merge_tool_calls(calls: list[Body], parts: list[Body]) -> None:
    for part in parts:
        index = part.get("index")
        place = index if isinstance(index, int) else max(0, len(calls) - 1)
        # Indices come in order; a provider that skips one is not followed into a list of holes.
        while len(calls) <= place and len(calls) < 1024:
            calls.append({"id": None, "type": "function", "function": {"name": "", "arguments": ""}})
        call = calls[min(place, len(calls) - 1)]
        call.update({name: value for name, value in part.items() if name in {"id", "type"} and value})
        _merge_text(call["function"], _object(part.get("function")), {"name", "arguments"})


def _merge_text(target: Body, part: Body, names: set[str]) -> None:
    for name in names & part.keys():
        target[name] = _text(target.get(name)) + _text(part[name])


def _responses(events: list[Body]) -> Body:
    """The last event holds the whole response; without it, what the items had come to."""
    body: Body = {}
    items: dict[int, Body] = {}
    for event in events:
        kind, whole = str(event.get("type")), event.get("response")
        if isinstance(whole, dict):
            body = whole
        index = event.get("output_index")
        if kind == "error":
            body["error"] = event.get("error", {name: event.get(name) for name in ("code", "message", "param")})
        if not isinstance(index, int):
            continue
        if kind in {"response.output_item.added", "response.output_item.done"}:
            items[index] = _object(event.get("item"))
        elif isinstance(event.get("delta"), str):
            _merge_item(items.setdefault(index, {}), kind, event)
    if not body.get("output") and items:
        body = {**body, "output": [items[index] for index in sorted(items)]}
    return body


def _merge_item(item: Body, kind: str, event: Body) -> None:
    """A piece of text or of arguments; the item's last event brings it whole, if it comes."""
    if kind == "response.function_call_arguments.delta":
        item["arguments"] = _text(item.get("arguments")) + event["delta"]
        return
    name = {"response.output_text.delta": "text", "response.refusal.delta": "refusal"}.get(kind)
    if name is None:
        return
    item.setdefault("type", "message")
    content = item["content"] if isinstance(item.get("content"), list) else []
    item["content"] = content
    index = event.get("content_index")
    place = index if isinstance(index, int) and 0 <= index < 1024 else 0
    while len(content) <= place:
        content.append({"type": "output_text" if name == "text" else "refusal", name: ""})
    part = _object(content[place])
    part[name] = _text(part.get(name)) + event["delta"]
    content[place] = part


_ANTHROPIC_TEXTS = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}


def _anthropic(events: list[Body]) -> Body:
    body: Body = {}
    blocks: dict[int, Body] = {}
    arguments: dict[int, str] = {}
    for event in events:
        kind, index = event.get("type"), event.get("index")
        place = index if isinstance(index, int) else 0
        delta = _object(event.get("delta"))
        if kind == "message_start":
            body = _object(event.get("message"))
        elif kind == "content_block_start":
            blocks[place] = dict(_object(event.get("content_block")))
        elif kind == "content_block_delta":
            _merge_block(blocks.setdefault(place, {}), delta)
            if delta.get("type") == "input_json_delta":
                arguments[place] = arguments.get(place, "") + _text(delta.get("partial_json"))
        elif kind == "message_delta":
            body.update(delta)
            body["usage"] = {**_object(body.get("usage")), **_known(_object(event.get("usage")))}
        elif kind == "error":
            body["error"] = event.get("error")
    for place, text in arguments.items():
        blocks[place]["input"] = _arguments(text)
    if blocks or "error" not in body:
        body["content"] = [blocks[place] for place in sorted(blocks)]
    return body


def _merge_block(block: Body, delta: Body) -> None:
    name = _ANTHROPIC_TEXTS.get(str(delta.get("type")))
    if name is not None:
        block.setdefault("type", "thinking" if name in {"thinking", "signature"} else "text")
        block[name] = _text(block.get(name)) + _text(delta.get(name))
    elif delta.get("type") == "citations_delta":
        block["citations"] = [*(block.get("citations") or []), delta.get("citation")]


def _arguments(text: str) -> Any:  # Any: what the model wrote
    """A tool's input; text that broke off stays text."""
    try:
        return parse_json(text.encode("utf-8", "surrogatepass")) if text else {}
    except ValueError:
        return text


def _known(values: Body) -> Body:
    return {name: value for name, value in values.items() if value is not None}


def _append(target: Body, name: str, values: object) -> None:
    if isinstance(values, list):
        target[name] = [*target[name], *values] if isinstance(target.get(name), list) else list(values)
    elif values is not None:
        target[name] = values


def _object(value: object) -> Body:
    return dict(value) if isinstance(value, Mapping) else {}


def _objects(value: object) -> list[Body]:
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


_ASSEMBLERS: dict[str, Callable[[list[Body]], Body]] = {
    "openai-chat": _chat,
    "openai-completions": _completions,
    "openai-responses": _responses,
    "anthropic": _anthropic,
}
