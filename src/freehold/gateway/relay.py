"""Passes a provider's answer on to the client, unchanged, and has it recorded before its last byte leaves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from freehold.gateway.attempt import Unpacker, is_packed
from freehold.gateway.http.headers import to_client
from freehold.gateway.http.sse import EventTee
from freehold.gateway.http.upstream import UpstreamFailure
from freehold.gateway.limits.limit_headers import with_limits
from freehold.gateway.refusal import Refused, error_event
from freehold.gateway.usage import TAIL_BYTES, facts_of_answer, facts_of_events, facts_of_tail

if TYPE_CHECKING:
    from freehold.gateway.attempt import Attempt
    from freehold.gateway.call import ClientCall
    from freehold.gateway.http.headers import Header
    from freehold.gateway.http.upstream import Answer

_WHOLE_BYTES = 1024 * 1024
"""An answer of this length is passed on when it is whole; a longer one as it comes."""
_NO_BODY = frozenset((204, 304))
_REWRITTEN = frozenset((b"content-encoding", b"content-length"))
_LENGTH = frozenset((b"content-length",))
_REQUEST_ID = frozenset((b"x-request-id",))


class Kept:
    """An answer that was read to its end (or to a limit) and has not been passed on."""

    __slots__ = ("body", "headers", "is_whole", "named", "status")

    def __init__(self, answer: Answer, body: bytes, *, is_whole: bool) -> None:
        """`is_whole`: there is no more of it."""
        self.status = answer.status
        self.headers = answer.headers
        self.named = answer.named
        self.body = body
        self.is_whole = is_whole


def is_stream(answer: Answer) -> bool:
    """The answer is server-sent events."""
    return answer.named.get(b"content-type", b"")[:17].lower() == b"text/event-stream"


async def keep(answer: Answer, limit: int = _WHOLE_BYTES) -> Kept:
    """Read an answer to its end, or until it is longer than `limit`.

    Raises:
        UpstreamFailure: it breaks off.
    """
    whole = answer.whole()
    if whole is not None:
        return Kept(answer, whole, is_whole=True)
    parts, size = [], 0
    while chunk := await answer.read():
        parts.append(chunk)
        size += len(chunk)
        if size > limit:
            return Kept(answer, b"".join(parts), is_whole=False)
    return Kept(answer, b"".join(parts), is_whole=True)


async def pass_on(call: ClientCall, attempt: Attempt, kept: Kept, *, rest: Answer | None = None) -> None:
    """Record a kept answer and send it; `rest` reads what follows of one that is not whole.

    Raises:
        UpstreamFailure: the rest breaks off. The client has a part of it.
    """
    headers = returned_headers(call, attempt, kept)
    if kept.is_whole:
        if call.method != "HEAD" and kept.status not in _NO_BODY and b"content-length" not in kept.named:
            headers.append((b"content-length", b"%d" % len(kept.body)))
        record_whole(call, attempt, kept)
        if not attempt.is_durable:
            await attempt.durable()
        call.client.begin(kept.status, headers)
        call.client.write(kept.body, is_last=True)
        return
    assert rest is not None
    record = attempt.receiving()
    has_room = record(kept.body)
    call.client.begin(kept.status, headers)
    # One piece is always held back: the last one may only leave when the record is complete.
    held, tail = kept.body, kept.body[-TAIL_BYTES:]
    while chunk := await rest.read():
        if not has_room:
            await attempt.room()
        has_room = record(chunk)
        tail = (tail + chunk)[-TAIL_BYTES:]
        await call.client.drained()
        call.client.write(held)
        held = chunk
    attempt.facts = facts_of_tail(tail, call.surface.dialect)
    attempt.close(kept.status)
    await attempt.durable()
    call.client.write(held, is_last=True)


def record_whole(call: ClientCall, attempt: Attempt, kept: Kept) -> None:
    """Close the record of an attempt whose answer is whole."""
    if not attempt.is_closed:
        plain = kept.body
        if is_packed(kept.named.get(b"content-encoding")):
            plain = Unpacker().feed(plain)
        attempt.facts = facts_of_answer(plain, call.surface.dialect)
        attempt.close(kept.status, None, kept.body)


async def pass_events(call: ClientCall, attempt: Attempt, answer: Answer, *, drops_usage: bool) -> None:
    """Pass server-sent events on as they come.

    Args:
        call: Whose answer it is.
        attempt: Records it.
        answer: Its head has come, nothing else yet.
        drops_usage: The usage chunk was asked for by the gateway, not by the client.

    Raises:
        UpstreamFailure: it breaks off; `call.client.has_begun` says whether the client has a part of it.
    """
    relay = _EventRelay(call, attempt, answer, drops_usage=drops_usage)
    try:
        await relay.run()
    except asyncio.CancelledError:
        if not attempt.is_closed:
            facts = facts_of_events(relay.tee.telling(), call.surface.dialect)
            # What was written after the client left, nobody counted.
            attempt.facts = None if facts is None else msgspec.structs.replace(facts, output_tokens=None)
        raise
    except UpstreamFailure as failure:
        if relay.tee.has_ended:  # the answer is whole; how the connection ended is of no interest
            call.client.write(b"", is_last=True)
            return
        attempt.facts = facts_of_events(relay.tee.telling(), call.surface.dialect)
        attempt.close(answer.status, failure.kind)
        if call.client.has_begun:
            # Told in the stream, and by its missing end: nobody shall take a part for the whole.
            error = Refused(502, "The provider broke off in the middle of its answer.", code=failure.kind)
            call.client.write(error_event(error, dialect="anthropic" if call.surface.is_anthropic else "openai"))
        raise


class _EventRelay:
    """One stream on its way."""

    def __init__(self, call: ClientCall, attempt: Attempt, answer: Answer, *, drops_usage: bool) -> None:
        encoding = answer.named.get(b"content-encoding")
        self.tee = EventTee(drops_usage=drops_usage, dialect=call.surface.dialect)
        self._call = call
        self._client = call.client
        self._attempt = attempt
        self._record = attempt.receiving()
        self._answer = answer
        self._unpacker = Unpacker() if is_packed(encoding) else None
        self._sends_plain = self._unpacker is None or drops_usage
        self._held = b""
        """Bytes that may not leave before the record is safe."""

    async def run(self) -> None:
        client, attempt, answer = self._client, self._attempt, self._answer
        chunk = await answer.read()  # until it comes, another provider can still be asked
        without = _REWRITTEN if self._unpacker is not None and self._sends_plain else _LENGTH
        client.begin(answer.status, returned_headers(self._call, attempt, answer, without=without))
        if chunk:
            attempt.first_event()
            self._take(chunk)
            is_over = False
            while not is_over:
                # One after the other, what stands in the way of more: an unsafe record, a slow client, a slow disk.
                # A record is asked about when it was just closed: later it would wait for others' pieces, too.
                if self._held:
                    await attempt.durable()
                    held, self._held = self._held, b""
                    client.write(held)
                await client.drained()
                await attempt.room()
                is_over = await answer.pump(self._take)
        if not attempt.is_closed:
            self._close()
            await attempt.durable()
        client.write(self.tee.rest() if self._sends_plain else b"", is_last=True)

    def _take(self, chunk: bytes) -> bool:
        """Pass on what came; False: something must be waited for before there may be more."""
        client, attempt = self._client, self._attempt
        has_room = self._record(chunk)
        passed = self.tee.feed(chunk) if self._unpacker is None else self._passed(chunk, self._unpacker)
        if self.tee.has_ended and not attempt.is_closed:
            self._close()
            if not attempt.is_durable:
                self._held = passed
                return False
        if passed:
            client.write(passed)
        return has_room and not client.is_slow

    def _passed(self, chunk: bytes, unpacker: Unpacker) -> bytes:
        plain = self.tee.feed(unpacker.feed(chunk))
        if unpacker.is_broken and self._sends_plain:
            raise UpstreamFailure("upstream_protocol")
        return plain if self._sends_plain else chunk

    def _close(self) -> None:
        self._attempt.facts = facts_of_events(self.tee.telling(), self._call.surface.dialect)
        self._attempt.close(self._answer.status, "stream_error" if self.tee.has_failed else None)


def returned_headers(
    call: ClientCall, attempt: Attempt, answer: Answer | Kept, *, without: frozenset[bytes] = frozenset()
) -> list[Header]:
    """Headers of the answer: the provider's, the request's id and the attempt's.

    The id that the client gave comes back; the provider's own, if any, moves to `x-upstream-request-id`.
    """
    own = call.request_id.encode("latin-1")
    upstream = answer.named.get(b"x-request-id")
    returned = to_client(answer.headers, without=without | _REQUEST_ID)
    if call.has_own_request_id or upstream is None:
        if upstream is not None:
            returned.append((b"x-upstream-request-id", upstream))
        returned.append((b"x-request-id", own))
    else:
        returned.append((b"x-request-id", upstream))
    returned.append((b"x-freehold-call-id", attempt.id_text.encode()))
    return with_limits(returned, call.admitted.limit_headers())
