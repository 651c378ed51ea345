"""Server-sent events as they pass: whole events go on at once, and what must be seen of them is seen.

Lines end with LF, CRLF or CR, in any mixture; an event ends with an empty line. Events are told apart only as far as
needed: bytes that need no look are never cut or joined.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from freehold.ledger.records import Dialect

_END_OF_EVENT = re.compile(rb"\n\r?\n|\r\r")
_ENDS = (b"\n\n", b"\r\n\r\n")
_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_LAST_WORDS: dict[Dialect, tuple[bytes, ...]] = {
    "openai-chat": (b"[DONE]", b"event:"),
    "openai-completions": (b"[DONE]", b"event:"),
    "anthropic": (b"message_stop", b"error"),
}
"""Without one of these there is no line of `_LAST_LINE`. Looking for a word costs as much as passing the bytes on."""
_ANY_LAST_WORDS = (b"[DONE]", b"message_stop", b"response.", b"error")
_LAST_LINE = (
    rb"(?:data: ?(?:\[DONE\]|\{\s*\"type\"\s*:\s*\"(?:response\.(?:completed|incomplete|failed)|message_stop)\")"
    rb"|event: ?(?:message_stop|response\.completed|response\.incomplete|response\.failed|(error))[ ]?[\r\n])"
)
_LAST_AT_START = re.compile(_LAST_LINE)
_LAST_AFTER_LF = re.compile(rb"\n" + _LAST_LINE)
_LAST_AFTER_CR = re.compile(rb"\r" + _LAST_LINE)
_REASON = re.compile(rb'"finish_reason"\s*:\s*"')
_TAIL_BYTES = 4096
_RECENT_PIECES = 4
"""The reason why an answer ended comes before its usage and its end mark, each of which may come by itself."""
_LARGEST_EVENT = 1024 * 1024
"""Bytes that are held back for the end of an event. More than that is no event that must be looked at."""


class EventTee:
    """Splits a stream after its last whole event, notes usage and the end, and leaves out what was not asked for."""

    def __init__(self, *, drops_usage: bool, dialect: Dialect = "other") -> None:
        """`drops_usage`: the chunk that tells the usage and no choice is not for the client."""
        self._last_words = _LAST_WORDS.get(dialect, _ANY_LAST_WORDS)
        self.usage_events: list[bytes] = []
        """The first and the last events that told a usage: Anthropic tells input first and output last."""
        self.has_ended = False
        """The event that ends an answer has passed."""
        self.has_failed = False
        """The provider told of an error inside the stream."""
        self._recent: deque[bytes] = deque(maxlen=_RECENT_PIECES)
        self._drops_usage = drops_usage
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """Take what came; return what can go on to the client now."""
        whole = chunk
        if self._held or not chunk.endswith(_ENDS):
            data = self._held + chunk
            cut = _end_of_last_event(data)
            if cut == 0 and len(data) > _LARGEST_EVENT:
                cut = len(data)
            self._held, whole = data[cut:], data[:cut]
        self._recent.append(whole)
        find = whole.find  # takes half the time of `in`
        if find(b'"usage"') >= 0 and _USAGE.search(whole) is not None:
            whole = self._look(whole)
            find = whole.find
        if not self.has_ended:
            for word in self._last_words:
                if find(word) >= 0:
                    self._look_for_end(whole)
                    break
        return whole

    def telling(self) -> list[bytes]:
        """Events that tell something of the answer: with a usage, and near the end, with the reason for it."""
        tail = b"".join(self._recent)[-_TAIL_BYTES:]
        return [*self.usage_events, *(_event_at(tail, found.start()) for found in _REASON.finditer(tail))]

    def rest(self) -> bytes:
        """What was held back when the stream ended inside an event."""
        held, self._held = self._held, b""
        return held

    def _look(self, whole: bytes) -> bytes:
        """Note the events that tell a usage; without those that are not for the client."""
        kept = []
        position = 0
        for found in _USAGE.finditer(whole):
            if found.start() < position:
                continue  # a second mention inside an event that was looked at
            start = _end_of_last_event(whole[position : found.start()]) + position
            end_of_event = _END_OF_EVENT.search(whole, found.end())
            end = len(whole) if end_of_event is None else end_of_event.end()
            event = whole[start:end]
            self._note(event)
            is_dropped = self._drops_usage and _NO_CHOICES.search(event) is not None
            kept.append(whole[position : start if is_dropped else end])
            position = end
        return b"".join((*kept, whole[position:]))

    def _look_for_end(self, whole: bytes) -> None:
        # Three patterns with a fixed first byte: one with a choice there takes twenty times as long.
        found = _LAST_AT_START.match(whole) or _LAST_AFTER_LF.search(whole)
        if found is None and b"\r" in whole:
            found = _LAST_AFTER_CR.search(whole)
        if found is not None:
            self.has_ended = True
            self.has_failed = found[1] is not None

    def _note(self, event: bytes) -> None:
        if len(self.usage_events) == 2:
            self.usage_events.pop()
        self.usage_events.append(event)


def _end_of_last_event(data: bytes) -> int:
    """Bytes up to and including the last empty line; 0 if there is none."""
    if data.endswith(_ENDS):
        return len(data)
    marks = (b"\n\n", b"\n\r\n", b"\r\r") if b"\r" in data else (b"\n\n",)
    places = [(data.rfind(mark), len(mark)) for mark in marks]
    return max(0, *(place + length if place >= 0 else 0 for place, length in places))


def _event_at(data: bytes, position: int) -> bytes:
    """The event that this place is in."""
    end = _END_OF_EVENT.search(data, position)
    return data[_end_of_last_event(data[:position]) : len(data) if end is None else end.end()]


def data_of(event: bytes) -> bytes:
    """The data of one event, its lines joined."""
    lines = event.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:"))
