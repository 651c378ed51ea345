"""One attempt at one provider, on record from before it is sent until its last byte is about to leave."""

from __future__ import annotations

import time
import zlib
from typing import TYPE_CHECKING, Protocol

from freehold.core.chat import Usage
from freehold.ledger.answer_facts import AnswerFacts
from freehold.ledger.records import CloseRecord, OpenRecord, id_text, new_call_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from freehold.core.subject import Subjects
    from freehold.gateway.call import ClientCall
    from freehold.gateway.providers.routes import Target
    from freehold.gateway.watch.metrics import Counters, Series
    from freehold.ledger.policy import Policy

NO_FACTS = AnswerFacts()
"""Of an attempt without an answer."""
CLIENT_LEFT = 499
"""Status of an attempt whose client did not wait for the end. nginx's number."""
LONGEST_PLAIN_BYTES = 8 * 1024 * 1024
"""Bytes to which one piece of an answer is unpacked; what unpacks to more is a bomb."""


class Pieces(Protocol):
    """Where a body is recorded as it passes."""

    def add(self, piece: bytes) -> bool:
        """Take the next bytes; True: the disk keeps up, False: wait until it does."""
        ...


class Writer(Protocol):
    """Where attempts are recorded: one worker's segments."""

    def opened(self, call_id: bytes, head: OpenRecord, body: bytes = b"") -> None:
        """An attempt is about to be made; `body` is as much of the request as there is.

        Raises:
            LedgerFull: there is no room to record it.
        """
        ...

    def request_of(self, call_id: bytes) -> Pieces:
        """Takes the further bytes of the request, as the client sends them."""
        ...

    def response_of(self, call_id: bytes) -> Pieces:
        """Takes the bytes of the answer, as the provider sends them."""
        ...

    def closed(self, call_id: bytes, tail: CloseRecord, body: bytes = b"") -> None:
        """The attempt is over; `body` is the rest of the answer."""
        ...

    @property
    def is_durable(self) -> bool:
        """What was written is as safe as the settings want it, or will be before anything leaves by the outbox."""
        ...

    async def durable(self) -> None:
        """Return when it is."""
        ...

    @property
    def room(self) -> bool:
        """The disk keeps up."""
        ...

    async def wait_for_room(self) -> None:
        """Return when it does."""
        ...


class Attempt:
    """Writes the records and the counters of one attempt."""

    __slots__ = (
        "_began", "_content_type", "_counters", "_encoding", "_records_bodies", "_series", "_ttft_ms", "_writer",
        "facts", "id", "is_closed", "is_sent", "may_cost", "model",
    )  # fmt: skip

    def __init__(
        self, call: ClientCall, target: Target, *, writer: Writer, counters: Counters, policy: Policy,
        subjects: Subjects, parent: Attempt | None,
    ) -> None:  # fmt: skip
        """Write the first record, with the request as far as it is in memory.

        Raises:
            LedgerFull: there is no room to record it.
        """
        now_us = time.time_ns() // 1000
        task, provider = call.admitted.task, target.provider
        self.id = new_call_id(now_us)
        self.model = target.model or call.model
        self.is_closed = False
        self.may_cost = True
        """The provider has, or may have, done work: it did not refuse, and it was reached."""
        self.is_sent: bool = parent is not None and parent.is_sent
        """This attempt or one before it may have reached a provider: the call counts as a request."""
        self.facts: AnswerFacts | None = None
        """What the answer tells of itself; None: nothing yet, or never."""
        self._began = time.perf_counter()
        self._ttft_ms: float | None = None
        self._content_type: str | None = None
        self._encoding: str | None = None
        self._writer = writer
        self._counters = counters
        self._series: Series = counters.series(task, provider.route, self.model or "", provider.name)
        rules = policy.of(task)
        self._records_bodies = rules.keeps_bodies(self.id)
        named, user = call.client.named, call.body.head.user
        writer.opened(
            self.id,
            OpenRecord(
                task=task,
                started_at_us=now_us,
                key_id=call.admitted.key_id,
                endpoint=call.surface.endpoint,
                provider=provider.name,
                model_requested=call.model,
                route=provider.route,
                parent_id=None if parent is None else id_text(parent.id),
                request_id=call.request_id,
                conversation_id=call.body.head.conversation,
                subject=None if user is None else subjects.hashed(user),
                stream=call.body.head.is_stream,
                dialect=call.surface.dialect,
                request_content_type=_text(named.get(b"content-type")),
                request_encoding=_text(named.get(b"content-encoding")),
                masks_bodies=rules.bodies == "mask",
                traceparent=_text(named.get(b"traceparent")),
            ),
            call.body.data if self._records_bodies else b"",
        )

    @property
    def id_text(self) -> str:
        """The id as rows have it."""
        return id_text(self.id)

    @property
    def usage(self) -> Usage | None:
        """Tokens as the provider counted them; None if it told none."""
        facts = self.facts
        if facts is None or (facts.input_tokens is None and facts.output_tokens is None):
            return None
        return Usage(
            input_tokens=facts.input_tokens,
            output_tokens=facts.output_tokens,
            cache_read_tokens=facts.cache_read_tokens,
            cache_write_tokens=facts.cache_write_tokens,
            reasoning_tokens=facts.reasoning_tokens,
        )

    @property
    def elapsed_ms(self) -> float:
        """Since it began."""
        return (time.perf_counter() - self._began) * 1000

    def sending(self) -> Callable[[bytes], bool]:
        """What records a request that is not in memory, as it leaves; it says whether the disk keeps up."""
        return self._writer.request_of(self.id).add if self._records_bodies else self._unrecorded

    def is_answered(self, content_type: bytes | None, encoding: bytes | None) -> None:
        """The head of an answer has come."""
        self._content_type, self._encoding = _text(content_type), _text(encoding)

    def receiving(self) -> Callable[[bytes], bool]:
        """What records the answer as it comes; it says whether the disk keeps up."""
        return self._writer.response_of(self.id).add if self._records_bodies else self._unrecorded

    def first_event(self) -> None:
        """The first event of a stream goes on to the client."""
        self._ttft_ms = self.elapsed_ms

    def close(self, status: int | None, error_type: str | None = None, body: bytes = b"") -> None:
        """Write the rest of the answer and the last record, and count. A second time nothing happens."""
        if self.is_closed:
            return
        self.is_closed = True
        is_sent = error_type != "connect_failed"
        self.is_sent = self.is_sent or is_sent
        self.may_cost = is_sent and (status is None or status < 400 or status == CLIENT_LEFT)
        duration_ms = self.elapsed_ms
        facts = self.facts or NO_FACTS
        self._writer.closed(
            self.id,
            CloseRecord(
                duration_ms=duration_ms,
                ttft_ms=self._ttft_ms,
                status=status,
                error_type=error_type,
                client_closed=True if status == CLIENT_LEFT else None,
                model_served=facts.model_served,
                completion_id=facts.completion_id,
                service_tier=facts.service_tier,
                finish_reason=facts.finish_reason,
                input_tokens=facts.input_tokens,
                cache_read_tokens=facts.cache_read_tokens,
                cache_write_tokens=facts.cache_write_tokens,
                output_tokens=facts.output_tokens,
                reasoning_tokens=facts.reasoning_tokens,
                response_content_type=self._content_type,
                response_encoding=self._encoding,
            ),
            body if self._records_bodies else b"",
        )
        self._count(str(status) if status is not None else error_type or "unknown", duration_ms)

    @property
    def is_durable(self) -> bool:
        """Its records are as safe as the settings want them."""
        return self._writer.is_durable

    async def durable(self) -> None:
        """Return when its records are as safe as the settings want them."""
        if not self._writer.is_durable:
            await self._writer.durable()

    async def room(self) -> None:
        """Return when the disk keeps up: what passes slows down with it."""
        if not self._writer.room:
            await self._writer.wait_for_room()

    def _unrecorded(self, _piece: bytes) -> bool:
        return self._writer.room

    def _count(self, status: str, duration_ms: float) -> None:
        series = self._series
        series.answered(status)
        series.took(duration_ms / 1000)
        if self._ttft_ms is not None:
            series.began_after(self._ttft_ms / 1000)
        facts = self.facts
        if facts is None:
            return
        for direction, count in (
            ("input", facts.input_tokens),
            ("output", facts.output_tokens),
            ("cache_read", facts.cache_read_tokens),
            ("cache_write", facts.cache_write_tokens),
            ("reasoning", facts.reasoning_tokens),
        ):
            if count:
                series.tokens(direction, count)


class Unpacker:
    """Undoes gzip or deflate piece by piece."""

    def __init__(self) -> None:
        """Nothing has been read yet."""
        self._inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
        self.is_broken = False
        """The bytes are not packed as they were said to be, or one piece holds more than LONGEST_PLAIN_BYTES."""

    def feed(self, chunk: bytes) -> bytes:
        """The plain bytes of this piece; empty once something is wrong."""
        if self.is_broken:
            return b""
        try:
            plain = self._inflate.decompress(chunk, LONGEST_PLAIN_BYTES)
        except zlib.error:
            plain, self.is_broken = b"", True
        if self._inflate.unconsumed_tail:
            plain, self.is_broken = b"", True
        return plain


def is_packed(encoding: bytes | None) -> bool:
    """The Content-Encoding is one that can be undone here."""
    return encoding is not None and encoding.strip().lower() in {b"gzip", b"x-gzip", b"deflate"}


def _text(value: bytes | None) -> str | None:
    return None if value is None else value[:200].decode("latin-1")
