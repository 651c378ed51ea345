"""A provider that answers as OpenAI and Anthropic document it: whole and streamed, text, tools, schemas, errors.

It knows no language. What it says follows from what the request asks for: a tool is called where one must be, a schema
gets `LABEL`, everything else gets `TEXT`. Used behind the gateway by the official clients and by `tools/comply.py`.
"""

from __future__ import annotations

import base64
import json
import struct
from typing import TYPE_CHECKING, Any

from tests.gateway.upstream import DONE, answer, event, stream

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from tests.gateway.upstream import Seen

    Json = dict[str, Any]  # Any: JSON

TEXT = "Hello to you"
LABEL = '{"label":"refund","urgent":true}'
ARGUMENTS = '{"location":"San Francisco"}'
THOUGHT = "Fifteen times thirty-seven is 555."
VECTOR = [0.25, -0.5, 1.0]
CREATED = 1_790_000_000


async def faithful(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """One answer, by the path."""
    path = seen.target.partition("?")[0].removeprefix("/v1")
    if path.startswith("/models"):
        model = {"id": "gpt-5-mini", "object": "model", "created": CREATED, "owned_by": "system"}
        script = answer(model if path.count("/") == 2 else {"object": "list", "data": [model]})
    else:
        script = _posted(path, seen)
    await script(seen, writer)


def _posted(path: str, seen: Seen) -> Any:  # Any: a script
    answers: dict[str, Callable[[Json], Any]] = {
        "/chat/completions": _chat,
        "/completions": _completion,
        "/embeddings": _embeddings,
        "/responses": _responses,
        "/responses/compact": _compact,
        "/messages": _message,
        "/messages/count_tokens": lambda _: answer({"input_tokens": 11}),
    }
    try:
        asked = json.loads(seen.body)
    except ValueError:
        return _error("We could not parse the JSON body of your request.", path)
    if not isinstance(asked.get("model"), str):
        return _error("you must provide a model parameter", path)
    if path == "/messages" and not isinstance(asked.get("max_tokens"), int):
        return _error("max_tokens: Field required", path)
    found = answers.get(path)
    return _error(f"Unknown request URL: POST {path}", path, 404) if found is None else found(asked)


def _error(message: str, path: str, status: int = 400) -> Any:  # Any: a script
    if path.startswith("/messages"):
        return answer({"type": "error", "error": {"type": "invalid_request_error", "message": message}}, status)
    return answer({"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}, status)


def _calls_tool(asked: Json) -> bool:
    return bool(asked.get("tools")) and asked.get("tool_choice") not in (None, "auto", "none")


def _wants_schema(format_: object) -> bool:
    return isinstance(format_, dict) and format_.get("type") in {"json_schema", "json_object"}


# OpenAI: chat completions, completions, embeddings


def _chat_usage(asked: Json) -> Json:
    thought = 4 if asked.get("reasoning_effort") else 0
    return {
        "prompt_tokens": 9, "completion_tokens": 3 + thought, "total_tokens": 12 + thought,
        "prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": thought, "audio_tokens": 0,
                                      "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
    }  # fmt: skip


def _chat(asked: Json) -> Any:  # Any: a script
    text = LABEL if _wants_schema(asked.get("response_format")) else TEXT
    tool = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": ARGUMENTS}}
    finish = "tool_calls" if _calls_tool(asked) else "stop"
    outer = {"id": "chatcmpl-1", "created": CREATED, "model": asked["model"], "service_tier": "default",
             "system_fingerprint": "fp_1"}  # fmt: skip
    if not asked.get("stream"):
        message: Json = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
        if finish == "tool_calls":
            message |= {"content": None, "tool_calls": [tool]}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        return answer({**outer, "object": "chat.completion", "choices": [choice], "usage": _chat_usage(asked)})
    deltas: list[Json] = [{"role": "assistant", "content": "", "refusal": None}]
    if finish == "tool_calls":
        function = {"name": "get_weather", "arguments": ""}
        deltas = [{"role": "assistant", "content": None, "tool_calls": [{"index": 0, **tool, "function": function}]}]
        deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": part}}]} for part in _cut(ARGUMENTS)]
    else:
        deltas += [{"content": part} for part in _cut(text)]
    with_usage = (asked.get("stream_options") or {}).get("include_usage") is True
    usage: Json = {"usage": None} if with_usage else {}
    chunk: Json = {**outer, "object": "chat.completion.chunk"}
    choices: list[Json] = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "logprobs": None, "finish_reason": finish})
    events = [event({**chunk, "choices": [choice], **usage}) for choice in choices]
    if with_usage:
        events.append(event({**chunk, "choices": [], "usage": _chat_usage(asked)}))
    return stream([*events, DONE])


def _completion(asked: Json) -> Any:  # Any: a script
    choice = {"text": TEXT, "index": 0, "logprobs": None, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    outer = {"id": "cmpl-1", "object": "text_completion", "created": CREATED, "model": asked["model"]}
    if not asked.get("stream"):
        return answer({**outer, "choices": [choice], "usage": usage})
    parts = [event({**outer, "choices": [{**choice, "text": part, "finish_reason": None}]}) for part in _cut(TEXT)]
    return stream([*parts, event({**outer, "choices": [{**choice, "text": ""}]}), DONE])


def _embeddings(asked: Json) -> Any:  # Any: a script
    inputs = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
    packed = base64.b64encode(struct.pack(f"<{len(VECTOR)}f", *VECTOR)).decode()
    vector = packed if asked.get("encoding_format") == "base64" else VECTOR
    data = [{"object": "embedding", "index": index, "embedding": vector} for index in range(len(inputs))]
    usage = {"prompt_tokens": 4 * len(inputs), "total_tokens": 4 * len(inputs)}
    return answer({"object": "list", "data": data, "model": asked["model"], "usage": usage})


# OpenAI: responses


def _items(asked: Json) -> list[Json]:
    if _calls_tool(asked):
        return [{"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "get_weather",
                 "arguments": ARGUMENTS, "status": "completed"}]  # fmt: skip
    text = LABEL if _wants_schema((asked.get("text") or {}).get("format")) else TEXT
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    said = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [part]}
    if not asked.get("reasoning"):
        return [said]
    return [{"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": THOUGHT}]}, said]


def _response(asked: Json, items: list[Json], status: str = "completed") -> Json:
    thought = 4 if asked.get("reasoning") else 0
    usage = {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 3 + thought,
             "output_tokens_details": {"reasoning_tokens": thought}, "total_tokens": 12 + thought}  # fmt: skip
    is_done = status == "completed"
    return {
        "id": "resp_1", "object": "response", "created_at": CREATED, "completed_at": CREATED + 1 if is_done else None,
        "status": status, "incomplete_details": None, "model": asked["model"], "previous_response_id": None,
        "instructions": None, "output": items, "error": None, "tools": [_tool(one) for one in asked.get("tools", ())],
        "tool_choice": asked.get("tool_choice", "auto"), "truncation": "disabled", "parallel_tool_calls": True,
        "text": asked.get("text") or {"format": {"type": "text"}}, "top_p": 1, "presence_penalty": 0,
        "frequency_penalty": 0, "top_logprobs": 0, "temperature": 1,
        "reasoning": asked.get("reasoning") or {"effort": None, "summary": None}, "usage": usage if is_done else None,
        "max_output_tokens": None, "max_tool_calls": None, "store": True, "background": False,
        "service_tier": "default", "metadata": {}, "safety_identifier": None, "prompt_cache_key": None,
    }  # fmt: skip


def _tool(asked: Json) -> Json:
    return {"type": "function", "name": asked["name"], "description": asked.get("description"),
            "parameters": asked.get("parameters"), "strict": bool(asked.get("strict"))}  # fmt: skip


def _responses(asked: Json) -> Any:  # Any: a script
    items = _items(asked)
    if not asked.get("stream"):
        return answer(_response(asked, items))
    told: list[Json] = [{"type": f"response.{word}", "response": _response(asked, [], "in_progress")}
                        for word in ("created", "in_progress")]  # fmt: skip
    for index, item in enumerate(items):
        told += _item_events(index, item)
    told.append({"type": "response.completed", "response": _response(asked, items)})
    return stream([event({**one, "sequence_number": number}, one["type"]) for number, one in enumerate(told)])


def _item_events(index: int, item: Json) -> list[Json]:
    at: Json = {"output_index": index, "item_id": item["id"]}
    if item["type"] == "function_call":
        begun = {**item, "arguments": "", "status": "in_progress"}
        name = "response.function_call_arguments"
        inner = [{"type": f"{name}.delta", **at, "delta": part} for part in _cut(item["arguments"])]
        inner.append({"type": f"{name}.done", **at, "arguments": item["arguments"], "name": item["name"]})
    elif item["type"] == "message":
        begun = {**item, "content": [], "status": "in_progress"}
        part = item["content"][0]
        at["content_index"] = 0
        inner = [{"type": "response.content_part.added", **at, "part": {**part, "text": ""}}]
        inner += [{"type": "response.output_text.delta", **at, "delta": one, "logprobs": []}
                  for one in _cut(part["text"])]  # fmt: skip
        inner.append({"type": "response.output_text.done", **at, "text": part["text"], "logprobs": []})
        inner.append({"type": "response.content_part.done", **at, "part": part})
    else:
        begun, inner = {**item, "summary": []}, []
    return [
        {"type": "response.output_item.added", "output_index": index, "item": begun},
        *inner,
        {"type": "response.output_item.done", "output_index": index, "item": item},
    ]


def _compact(asked: Json) -> Any:  # Any: a script
    usage = _response(asked, [])["usage"]
    packed = {"type": "compaction", "id": "cmp_1", "encrypted_content": "c2VjcmV0"}
    return answer({"id": "resp_2", "object": "response.compaction", "created_at": CREATED, "output": [packed],
                   "usage": usage})  # fmt: skip


# Anthropic


def _message(asked: Json) -> Any:  # Any: a script
    blocks: list[Json] = [{"type": "text", "text": TEXT, "citations": None}]
    if _calls_tool(asked):
        blocks = [{"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": json.loads(ARGUMENTS),
                   "caller": {"type": "direct"}}]  # fmt: skip
    elif (asked.get("thinking") or {}).get("type") == "enabled":
        blocks.insert(0, {"type": "thinking", "thinking": THOUGHT, "signature": "c2ln"})
    reason = "tool_use" if _calls_tool(asked) else "end_turn"
    usage = {"input_tokens": 9, "cache_creation_input_tokens": 1, "cache_read_input_tokens": 3, "output_tokens": 3,
             "service_tier": "standard", "cache_creation": None, "inference_geo": None, "server_tool_use": None,
             "output_tokens_details": None}  # fmt: skip
    body = {"id": "msg_1", "type": "message", "role": "assistant", "model": asked["model"], "content": blocks,
            "stop_reason": reason, "stop_sequence": None, "stop_details": None,
            "container": None, "usage": usage}  # fmt: skip
    if not asked.get("stream"):
        return answer(body)
    told: list[Json] = [{"type": "message_start", "message": {**body, "content": [], "stop_reason": None,
                                                              "usage": {**usage, "output_tokens": 1}}},
                        {"type": "ping"}]  # fmt: skip
    for index, block in enumerate(blocks):
        told += _block_events(index, block)
    told.append({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None},
                 "usage": {"output_tokens": 3}})  # fmt: skip
    told.append({"type": "message_stop"})
    return stream([event(one, one["type"]) for one in told])


def _block_events(index: int, block: Json) -> list[Json]:
    match block["type"]:
        case "tool_use":
            begun: Json = {**block, "input": {}}
            deltas: list[Json] = [{"type": "input_json_delta", "partial_json": part} for part in _cut(ARGUMENTS)]
        case "thinking":
            begun = {**block, "thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": part} for part in _cut(block["thinking"])]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        case _:
            begun = {**block, "text": ""}
            deltas = [{"type": "text_delta", "text": part} for part in _cut(block["text"])]
    return [
        {"type": "content_block_start", "index": index, "content_block": begun},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def _cut(text: str) -> list[str]:
    return [text[at : at + 5] for at in range(0, len(text), 5)]
