"""The worker's end of spans: what is known of an attempt goes into a socket, and another process makes a span of it.

The socket holds some hundred attempts. When it is full, as nobody reads, a span is dropped and counted; a call never
waits for one.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from freehold.ledger.records import CloseRecord, OpenRecord  # noqa: TC001 (msgspec reads the annotations)

if TYPE_CHECKING:
    from freehold.gateway.watch.metrics import Counters

DROPPED = "freehold_spans_dropped_total"
_BUFFER_BYTES = 1 << 20
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?:-.*)?"
)
_SAMPLED = 1


class Told(msgspec.Struct, array_like=True):
    """What a worker tells of an attempt that is over."""

    call_id: bytes
    head: OpenRecord
    tail: CloseRecord


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Told)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a span stands among others."""

    trace_id: int
    span_id: int
    parent_id: int | None
    """The client's span; None: it has none."""


def place_of(call_id: bytes, traceparent: str | None, *, sample: float) -> Place | None:
    """The span's place; None if it is not to be one: not in the sample, or the client does not record its trace.

    A client's trace is recorded or not as a whole, so a sampled one is never thinned out here.

    Args:
        call_id: Of the attempt.
        traceparent: The client's header, as W3C's Trace Context has it; one that has another form counts as none.
        sample: Share of the traces that begin here, in [0, 1].
    """
    span_id = int.from_bytes(call_id[8:]) or 1
    found = _TRACEPARENT.fullmatch(traceparent or "")
    if found is not None and found["trace"].strip("0") and found["span"].strip("0"):
        if not int(found["flags"], 16) & _SAMPLED:
            return None
        return Place(int(found["trace"], 16), span_id, int(found["span"], 16))
    if sample < 1 and int.from_bytes(call_id[-7:]) >= sample * (1 << 56):
        return None
    return Place(int.from_bytes(call_id), span_id, None)


def channel() -> tuple[socket.socket, socket.socket]:
    """What is read from, and what workers write to without ever waiting."""
    reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
    writer.setblocking(False)
    return reader, writer


class SpanFeed:
    """Tells of attempts. A listener of `WatchedWriter`."""

    def __init__(self, writer: socket.socket, counters: Counters, *, sample: float) -> None:
        """Take the end of the channel that is written to, where to count what is dropped, and the share to tell of."""
        self._writer = writer
        self._counters = counters
        self._sample = sample

    def __call__(self, call_id: bytes, head: OpenRecord, tail: CloseRecord) -> None:
        """An attempt is over."""
        if place_of(call_id, head.traceparent, sample=self._sample) is None:
            return
        try:
            self._writer.send(_ENCODER.encode(Told(call_id, head, tail)))
        except OSError:  # nobody reads, or it is too large: not worth a call's time
            self._counters.add(DROPPED, ())


def read_told(message: bytes) -> Told:
    """What a worker has told."""
    return _DECODER.decode(message)
