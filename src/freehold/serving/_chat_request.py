"""A client's chat request: read, refused with an OpenAI-shaped reason, and put into the engine's words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, assert_never

from freehold.core.chat import Message
from freehold.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from freehold.core.task import Task

    Mask = Callable[[Sequence[str]], tuple[list[str], Mapping[str, str]]]

_EXTRACTION_TOKENS = 512
_TEXT_TOKENS = 1024
_PROMPT_ROLES = frozenset({"system", "developer"})
_KEPT_ROLES = frozenset({"user", "assistant"})


class Refused(InputError):
    """A request that cannot be answered; the client is told by status and an OpenAI-shaped body."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        """Name the HTTP `status`, the reason, and where they exist its `code` and the field it is about."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """What Freehold reads of a chat request. The rest is recorded, and otherwise ignored."""

    body: Mapping[str, Any]  # Any: as the client sent it
    model: str
    turns: tuple[Message, ...]
    """User's and assistant's turns; the client's own instructions are left out."""
    stream: bool
    include_usage: bool
    """A streamed answer ends with its token counts."""
    max_tokens: int | None
    temperature: float | None


def read_chat_request(data: bytes) -> ChatRequest:
    """Decode and check a body.

    Raises:
        Refused: 400, and why.
    """
    try:
        body = json.loads(data, parse_constant=_refuse_constant)
        json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"The body is not JSON: {_reason(error)}.") from error
    if not isinstance(body, dict):
        raise Refused(400, f"The body is a JSON {type(body).__name__}; an object is expected.")
    model = body.get("model")
    if not isinstance(model, str):
        raise Refused(400, "'model' is missing; it is the name of a task or of a model version.", param="model")
    if body.get("n") not in (None, 1):
        raise Refused(400, f"'n' is {body['n']!r}; one answer per call is given.", param="n")
    if body.get("tools") or body.get("functions"):
        raise Refused(400, "An own model was tuned for its task and calls no tools.", param="tools")
    options = body.get("stream_options")
    return ChatRequest(
        body=body,
        model=model,
        turns=_read_turns(body.get("messages")),
        stream=body.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        max_tokens=_read_max_tokens(body),
        temperature=_read_temperature(body),
    )


def engine_body(
    task: Task, grammar: str | None, turns: Sequence[Message], request: ChatRequest, lora: Sequence[Any]
) -> dict[str, Any]:
    """The request as llama.cpp's server understands it.

    A closed task is answered greedily and within its grammar, whatever the client asks for: its answer is a
    fact about the input, not a draw.

    Args:
        task: Gives the prompt.
        grammar: What may be answered; None leaves it open.
        turns: The conversation, as the model was trained to see it.
        request: Gives the sampling options that a text task respects.
        lora: Choice of the adapter.
    """
    messages = [Message("system", task.own_prompt), *turns]
    body: dict[str, Any] = {
        "messages": [message.as_dict() for message in messages],
        "lora": list(lora),
        "temperature": 0.0,
        "cache_prompt": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if grammar is not None:
        body["grammar"] = grammar
    match task.kind:
        case "classification":
            # A token has at least one byte, and one more token ends the answer.
            body["max_tokens"] = 1 + max(len(label.encode()) for label in task.labels)
        case "extraction":
            body["max_tokens"] = request.max_tokens or _EXTRACTION_TOKENS
        case "text":
            body["max_tokens"] = request.max_tokens or _TEXT_TOKENS
            body["temperature"] = request.temperature or 0.0
        case unreachable:
            assert_never(unreachable)
    return body


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


def _reason(error: ValueError | RecursionError) -> str:
    match error:
        case UnicodeEncodeError():
            return "a string holds half of a surrogate pair"
        case UnicodeDecodeError():
            return "it is not UTF-8"
        case RecursionError():
            return "it is nested too deeply"
        case _:
            return str(error)


def _read_turns(messages: object) -> tuple[Message, ...]:
    if not isinstance(messages, list) or not messages:
        raise Refused(400, "'messages' is missing or empty.", param="messages")
    turns = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        role = message.get("role") if isinstance(message, dict) else None
        if role in _PROMPT_ROLES:
            continue
        if role not in _KEPT_ROLES:
            raise Refused(400, f"{where}: role {role!r} is not understood; use system, user, assistant.", param=where)
        turns.append(Message(role, _read_content(message.get("content"), where)))
    if not turns or turns[-1].role != "user":
        raise Refused(400, "The last message must be the user's.", param="messages")
    return tuple(turns)


def _read_content(content: object, where: str) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [part.get("text") if isinstance(part, dict) else None for part in content]
        if all(isinstance(text, str) for text in texts):
            return "".join(map(str, texts))
    raise Refused(400, f"{where}: content must be text, or parts of type 'text'.", param=where)


def _read_max_tokens(body: Mapping[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        value = body.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise Refused(400, f"{name!r} is {value!r}; it must be a whole number of 1 or more.", param=name)
        return value
    return None


def _read_temperature(body: Mapping[str, Any]) -> float | None:
    value = body.get("temperature")
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 2:
        raise Refused(400, f"'temperature' is {value!r}; it must lie between 0 and 2.", param="temperature")
    return float(value)
