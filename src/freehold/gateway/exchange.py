"""From a client's request to an answer: attempts at one provider after the other, until one of them counts.

A further attempt is made only while the client has nothing of an answer, and only where it is safe: when the provider
cannot have seen the request, when it refused it (429, 500, 502, 503, 529), or when a connection that had waited
turned out to be closed. A provider that stalls or dies in the middle may have done the work and will bill it: it is
not asked again, but the next provider is.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from freehold.gateway.attempt import CLIENT_LEFT, Attempt
from freehold.gateway.http.headers import seconds_of, to_provider
from freehold.gateway.http.upstream import Request, UpstreamFailure
from freehold.gateway.refusal import Refused
from freehold.gateway.relay import Kept, is_stream, keep, pass_events, pass_on, record_whole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from freehold.core.subject import Subjects
    from freehold.gateway.attempt import Writer
    from freehold.gateway.body.scanner import Span
    from freehold.gateway.call import ClientCall
    from freehold.gateway.http.headers import Header
    from freehold.gateway.http.upstream import Answer, Upstream
    from freehold.gateway.providers.breaker import Breaker
    from freehold.gateway.providers.routes import Target
    from freehold.gateway.watch.metrics import Counters
    from freehold.ledger.policy import Policy

_REFUSALS = frozenset((429, 500, 502, 503, 529))
"""Statuses with which a provider says that it has not done the work."""
_BROKEN = frozenset((500, 502, 503, 504, 529))
"""Statuses that count against a provider's health."""
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 20.0
"""A provider that wants a longer pause gets its answer passed on: the client shall decide."""
_MESSAGES = {
    "connect_failed": (502, "The provider {name!r} cannot be reached."),
    "upstream_closed": (502, "The provider {name!r} closed the connection before its answer was whole."),
    "upstream_timeout": (504, "The provider {name!r} did not answer in time."),
    "upstream_protocol": (502, "The provider {name!r} answered something that is not HTTP."),
}
DEADLINE_HEADER = b"x-freehold-timeout-s"


@dataclass(slots=True)
class Place:
    """One provider of a running gateway: its connections and its health."""

    upstream: Upstream
    breaker: Breaker


@dataclass(slots=True)
class _Outcome:
    """How an attempt ended that gave the client nothing: an answer that is kept, or a failure."""

    attempt: Attempt
    kept: Kept | None = None
    failure: UpstreamFailure | None = None

    @property
    def is_refusal(self) -> bool:
        """The provider has not done the work: it may be asked again."""
        return self.failure is None or self.failure.is_unsent


class Exchange:
    """Makes the attempts of one call."""

    def __init__(
        self,
        call: ClientCall,
        places: Mapping[str, Place],
        *,
        writer: Writer,
        counters: Counters,
        policy: Policy,
        subjects: Subjects,
    ) -> None:
        """Take what attempts need."""
        self._call = call
        self._places = places
        self._writer = writer
        self._counters = counters
        self._policy = policy
        self._subjects = subjects
        self._began = asyncio.get_running_loop().time()
        self.last: Attempt | None = None
        """The attempt that counts: the last one."""

    async def run(self, targets: Sequence[Target]) -> None:
        """Ask the targets in order, and answer the client.

        Raises:
            Refused: no provider could be asked, or none gave an answer.
            UpstreamFailure: the answer broke off after the client had a part of it.
        """
        outcome: _Outcome | None = None
        refused: Refused | None = None
        for index, target in enumerate(targets):
            has_other = index + 1 < len(targets)
            place = self._places[target.provider.name]
            if not place.breaker.admit():
                refused = _resting(target, place.breaker.wait_s)
                continue
            refused = None
            outcome = await self._ask(target, place, has_other=has_other)
            if outcome is None:
                return
        if refused is not None and (outcome is None or outcome.kept is None):
            raise refused
        assert outcome is not None
        if outcome.kept is not None:
            await pass_on(self._call, outcome.attempt, outcome.kept)
            return
        raise _failed(target, outcome.failure)

    async def _ask(self, target: Target, place: Place, *, has_other: bool) -> _Outcome | None:
        """One provider, as often as it may be. None: the client has its answer."""
        call = self._call
        retries = target.provider.retries
        stale_retries = 1 if call.is_repeatable else 0
        while True:
            outcome = await self._attempt(target, place, is_kept=has_other or retries > 0)
            if outcome is None:
                return None
            failure = outcome.failure
            if failure is not None and failure.is_stale and stale_retries:
                stale_retries = 0
                continue
            if has_other or retries <= 0 or not outcome.is_refusal:
                return outcome
            pause = self._pause(outcome, target, attempt=target.provider.retries - retries)
            if pause is None:
                return outcome
            await asyncio.sleep(pause)
            retries -= 1
            if not place.breaker.admit():
                return outcome

    def _pause(self, outcome: _Outcome, target: Target, *, attempt: int) -> float | None:
        """Seconds to wait before the same provider is asked again; None: it is not worth it."""
        pause = _FIRST_PAUSE_S * 2**attempt * (0.5 + random.random())  # noqa: S311 (spreads clients, no secret)
        if outcome.kept is not None:
            asked = seconds_of(outcome.kept.named.get(b"retry-after"))
            pause = pause if asked is None else max(asked, 0.0)
        is_worth_it = pause <= _LONGEST_PAUSE_S and pause < self._time_left(target)
        return pause if is_worth_it else None

    def _time_left(self, target: Target) -> float:
        now = asyncio.get_running_loop().time()
        left = self._began + target.provider.timeout_s - now
        return left if self._call.deadline is None else min(left, self._call.deadline - now)

    async def _attempt(self, target: Target, place: Place, *, is_kept: bool) -> _Outcome | None:
        call = self._call
        time_left = self._time_left(target)
        if time_left <= 0:
            raise Refused(504, "The time that was given for this call is over.", code="deadline")
        attempt = self.last = Attempt(
            call,
            target,
            writer=self._writer,
            counters=self._counters,
            policy=self._policy,
            subjects=self._subjects,
            parent=self.last,
        )
        call.client.is_recorded = True
        answer: Answer | None = None
        try:
            request, drops_usage = self._request(target, attempt, time_left)
            if not attempt.is_durable:
                await attempt.durable()
            answer = await place.upstream.send(request)
            _note_health(place.breaker, answer.status)
            return await self._take(answer, attempt, is_kept=is_kept, drops_usage=drops_usage)
        except UpstreamFailure as failure:
            if failure.is_stale:
                place.breaker.let_go()
            else:
                place.breaker.failed()
            attempt.close(None, failure.kind)
            if call.client.has_begun:
                raise
            return _Outcome(attempt, failure=failure)
        except asyncio.CancelledError:
            place.breaker.let_go()
            if call.client.has_left:
                attempt.close(CLIENT_LEFT, "client_closed")
            else:
                attempt.close(None, "shutdown")
            raise
        finally:
            if answer is not None:
                answer.abort()

    async def _take(self, answer: Answer, attempt: Attempt, *, is_kept: bool, drops_usage: bool) -> _Outcome | None:
        attempt.is_answered(answer.named.get(b"content-type"), answer.named.get(b"content-encoding"))
        if answer.status < 400 and is_stream(answer):
            await pass_events(self._call, attempt, answer, drops_usage=drops_usage)
            return None
        kept = await keep(answer)
        if is_kept and kept.status in _REFUSALS and kept.is_whole and self._call.is_repeatable:
            record_whole(self._call, attempt, kept)
            return _Outcome(attempt, kept=kept)
        await pass_on(self._call, attempt, kept, rest=answer)
        return None

    def _request(self, target: Target, attempt: Attempt, time_left: float) -> tuple[Request, bool]:
        """What is sent to the provider, and whether its streamed usage is for the gateway alone."""
        call, provider = self._call, target.provider
        head = call.body.head
        adds_usage = head.is_stream and call.surface.hides_usage and not head.asks_usage and provider.stream_usage
        edits = call.body.edits(model=_model_in_body(call, target), adds_usage=adds_usage)
        own: list[Header] = list(provider.own_headers)
        if call.deadline is not None:
            own.append((DEADLINE_HEADER, b"%.3f" % time_left))
        if not call.has_own_request_id:
            own.append((b"x-request-id", call.request_id.encode("latin-1")))
        headers = to_provider(call.client.headers, own=own, plain=adds_usage)
        body: bytes | AsyncIterator[bytes] | None = None
        if call.body.is_in_memory:
            body = call.body.edited(edits) or None
        else:
            headers.append((b"content-length", b"%d" % call.body.edited_size(edits)))
            body = _through(call, attempt, edits)
        url = provider.url(call.surface.tail, call.query, target.model or call.model)
        # Streams arrive spread out if they are asked for one by one, which costs less in the end.
        return Request(call.method, url, headers, body, time_left, may_wait=not head.is_stream), adds_usage


async def _through(call: ClientCall, attempt: Attempt, edits: Mapping[Span, bytes]) -> AsyncIterator[bytes]:
    """A large body, read from its file and recorded as it passes."""
    record = attempt.sending()
    for sent, edited in call.body.pieces(edits):
        if sent and not record(sent):
            await attempt.room()
        if edited:
            yield edited


def _model_in_body(call: ClientCall, target: Target) -> str | None:
    """The model's name that must be put into the body; None leaves the body's own.

    Where the client names the model in the path, that is the one which was checked, and the body must not differ.
    """
    if call.surface.deployment is None or target.provider.names_model_in_path:
        return target.model
    model = target.model or call.surface.deployment
    return None if model == call.body.head.model else model


def _note_health(breaker: Breaker, status: int) -> None:
    if status in _BROKEN:
        breaker.failed()
    else:
        breaker.succeeded()


def _resting(target: Target, wait_s: float) -> Refused:
    message = f"The provider {target.provider.name!r} failed several times in a row and is left alone for a moment."
    return Refused(503, message, code="provider_resting", retry_after_s=max(wait_s, 1.0))


def _failed(target: Target, failure: UpstreamFailure | None) -> Refused:
    assert failure is not None
    status, message = _MESSAGES[failure.kind]
    return Refused(status, message.format(name=target.provider.name), code=failure.kind)
