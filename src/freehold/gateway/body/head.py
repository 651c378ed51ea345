"""What the gateway must know of a body before it can pass it on, and how it changes the little that it may change."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeGuard

import msgspec

from freehold.gateway.body.scanner import Span, find_members
from freehold.gateway.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_USAGE_OPTION = b'"stream_options":{"include_usage":true},'
_LARGEST_VALUE = 64 * 1024
"""Bytes of a value that is read out of a body which is not held in memory."""


class Head(msgspec.Struct, frozen=True):
    """What a body says of itself: the values of MEMBERS as the client wrote them, and what follows from them.

    msgspec finds them, and skips the rest of a body at 1.5 GB/s. Members of another type than the documented one
    count as absent.
    """

    named_model: object = msgspec.field(default=None, name="model")
    stream: object = None
    stream_options: object = None
    metadata: object = None
    max_tokens: object = None
    max_completion_tokens: object = None
    max_output_tokens: object = None
    n: object = None
    named_user: object = msgspec.field(default=None, name="user")
    safety_identifier: object = None
    named_conversation: object = msgspec.field(default=None, name="conversation")
    service_tier: object = None

    @property
    def is_object(self) -> bool:
        """The body is a JSON object, so that it may be edited."""
        return self is not NO_HEAD

    @property
    def model(self) -> str | None:
        """The model that the client names."""
        return self.named_model if isinstance(self.named_model, str) else None

    @property
    def is_stream(self) -> bool:
        """The client asks for server-sent events."""
        return self.stream is True

    @property
    def asks_usage(self) -> bool:
        """The client wants the usage chunk of a stream."""
        options = self.stream_options
        return isinstance(options, dict) and options.get("include_usage") is True

    @property
    def task(self) -> str | None:
        """The task in `metadata.task`."""
        metadata = self.metadata
        task = metadata.get("task") if isinstance(metadata, dict) else None
        return task if isinstance(task, str) else None

    @property
    def user(self) -> str | None:
        """The end user, as the client calls them: OpenAI's two words for it, or Anthropic's."""
        metadata = self.metadata
        user_id = metadata.get("user_id") if isinstance(metadata, dict) else None
        named = (self.named_user, self.safety_identifier, user_id)
        return next((name for name in named if isinstance(name, str) and name), None)

    @property
    def conversation(self) -> str | None:
        """The conversation of the Responses API, by its id."""
        value = self.named_conversation
        value = value.get("id") if isinstance(value, dict) else value
        return value if isinstance(value, str) else None

    @property
    def most_output_tokens(self) -> int | None:
        """Output tokens that the client allows, of all choices together; None if it sets no limit."""
        for limit in (self.max_completion_tokens, self.max_output_tokens, self.max_tokens):
            if _is_count(limit):
                return limit * (self.n if _is_count(self.n) else 1)
        return None


MEMBERS = tuple(field.encode_name for field in msgspec.structs.fields(Head))
"""Top-level members that are read; whatever else a body holds passes unseen."""
NO_HEAD = Head()
"""Of a body that is no JSON object, or of none."""
_DECODER = msgspec.json.Decoder(Head)
_NOT_FOR_MSGSPEC = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def read_head(body: bytes) -> Head:
    """The head of a body in memory.

    Raises:
        Refused: 400, it names two models. A limit would be checked against one and the call made with the other.
    """
    # The letters of "model" are escaped as \\u006x: a second one cannot hide from the count behind an escape.
    if b"\\u006" not in body and body.count(b'"model"') < 2:
        with suppress(*_NOT_FOR_MSGSPEC):
            return _DECODER.decode(body)
    spans = find_members(body, MEMBERS)
    return NO_HEAD if spans is None else head_of_spans(spans, lambda start, end: body[start:end])


def head_of_spans(spans: Mapping[str, list[Span]], read: Callable[[int, int], bytes]) -> Head:
    """The head of a body whose members were found by a scanner; `read` fetches bytes of it.

    Raises:
        Refused: 400, it names two models.
    """
    values = {}
    for name, places in spans.items():
        read_values = [_value(read(start, end)) for start, end in places if end - start <= _LARGEST_VALUE]
        if name == "model" and any(value != read_values[0] for value in read_values[1:]):
            raise Refused(400, "The body names two models. Name one.", code="duplicate_member", param="model")
        if read_values:
            values[name] = read_values[-1]  # as every JSON decoder has it, the last one counts
    return msgspec.convert(values, Head)


def _value(text: bytes) -> Any:  # Any: JSON
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def edits_of(
    head: Head,
    spans: Callable[[], Mapping[str, list[Span]] | None],
    read: Callable[[int, int], bytes],
    *,
    model: str | None,
    adds_usage: bool,
) -> dict[Span, bytes]:
    """What must be replaced on the way to the provider.

    Args:
        head: Of the body.
        spans: Finds the members; called only if something must be replaced.
        read: Fetches bytes of the body.
        model: The provider's name of the model; None leaves the client's. Where there is none it is put in.
        adds_usage: Ask for the usage chunk.
    """
    if (model is None and not adds_usage) or not head.is_object:
        return {}
    places = spans() or {}
    edits: dict[Span, bytes] = {}
    new_members = b""
    if model is not None:
        value = json.dumps(model).encode()
        edits.update(dict.fromkeys(places.get("model", ()), value))
        if "model" not in places:
            new_members += b'"model":' + value + b","
    if adds_usage and "stream_options" in places:
        edits.update(_usage_edits(head, places["stream_options"]))
    elif adds_usage:
        new_members += _USAGE_OPTION
    if new_members:
        start = _first_member(read)
        edits[start, start] = new_members
    return edits


def _usage_edits(head: Head, places: list[Span]) -> dict[Span, bytes]:
    options = head.stream_options
    if options is not None and not isinstance(options, dict):
        return {}  # the provider shall say what is wrong with it
    value = json.dumps({**(options or {}), "include_usage": True}, separators=(",", ":")).encode()
    return dict.fromkeys(places, value)


def _first_member(read: Callable[[int, int], bytes]) -> int:
    """Where the first member of the object begins, blanks included."""
    start = 0
    while read(start, start + 1) != b"{":
        start += 1
    return start + 1
