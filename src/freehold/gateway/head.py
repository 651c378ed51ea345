"""What the gateway must know of a body before it can pass it on, and how it changes the little that it may change."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from freehold.gateway.refusal import Refused
from freehold.gateway.scanner import Span, find_members

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MEMBERS = (
    "model", "stream", "stream_options", "metadata", "max_tokens", "max_completion_tokens", "max_output_tokens", "n",
    "user", "conversation", "service_tier",
)  # fmt: skip
"""Top-level members that are read; whatever else a body holds passes unseen."""

_USAGE_OPTION = b'"stream_options":{"include_usage":true},'
_LARGEST_VALUE = 64 * 1024
"""Bytes of a value that is read out of a body which is not held in memory."""


class _Fields(msgspec.Struct):
    """The members as msgspec finds them: it skips the rest of a body at 1.5 GB/s."""

    model: object = None
    stream: object = None
    stream_options: object = None
    metadata: object = None
    max_tokens: object = None
    max_completion_tokens: object = None
    max_output_tokens: object = None
    n: object = None
    user: object = None
    conversation: object = None
    service_tier: object = None


_DECODER = msgspec.json.Decoder(_Fields)
_NOT_FOR_MSGSPEC = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass(slots=True, frozen=True)
class Head:
    """What a body says of itself. Members of another type than the documented one count as absent."""

    values: Mapping[str, Any]  # Any: whatever the client wrote
    """Name -> value, of MEMBERS alone."""
    is_object: bool = True
    """The body is a JSON object, so that it may be edited."""

    @property
    def model(self) -> str | None:
        """The model that the client names."""
        return self._text("model")

    @property
    def is_stream(self) -> bool:
        """The client asks for server-sent events."""
        return self.values.get("stream") is True

    @property
    def asks_usage(self) -> bool:
        """The client wants the usage chunk of a stream."""
        options = self.values.get("stream_options")
        return isinstance(options, dict) and options.get("include_usage") is True

    @property
    def task(self) -> str | None:
        """The task in `metadata.task`."""
        metadata = self.values.get("metadata")
        task = metadata.get("task") if isinstance(metadata, dict) else None
        return task if isinstance(task, str) else None

    @property
    def user(self) -> str | None:
        """The end user, as the client calls them."""
        return self._text("user")

    @property
    def conversation(self) -> str | None:
        """The conversation of the Responses API, by its id."""
        value = self.values.get("conversation")
        value = value.get("id") if isinstance(value, dict) else value
        return value if isinstance(value, str) else None

    @property
    def most_output_tokens(self) -> int | None:
        """Output tokens that the client allows, of all choices together; None if it sets no limit."""
        counts = (self.values.get(name) for name in ("max_completion_tokens", "max_output_tokens", "max_tokens"))
        limit = next((count for count in counts if _is_count(count)), None)
        choices = self.values.get("n")
        return None if limit is None else limit * (choices if _is_count(choices) else 1)

    def _text(self, name: str) -> str | None:
        value = self.values.get(name)
        return value if isinstance(value, str) else None


NO_HEAD = Head({}, is_object=False)
"""Of a body that is no JSON object, or of none."""


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def read_head(body: bytes) -> Head:
    """The head of a body in memory.

    Raises:
        Refused: 400, it names two models. A limit would be checked against one and the call made with the other.
    """
    # The letters of "model" are escaped as \\u006x: a second one cannot hide from the count behind an escape.
    if b"\\u006" not in body and body.count(b'"model"') < 2:
        try:
            fields = _DECODER.decode(body)
        except _NOT_FOR_MSGSPEC:
            pass
        else:
            return Head({name: value for name in MEMBERS if (value := getattr(fields, name)) is not None})
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
    return Head(values)


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
    if not head.is_object or (model is None and not adds_usage):
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
    options = head.values.get("stream_options")
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
