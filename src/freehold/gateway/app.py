"""The application: reads a request, has it admitted, and passes it on."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from freehold.gateway.aside import Aside
from freehold.gateway.body.body import body_at_hand, read_body
from freehold.gateway.call import ClientCall
from freehold.gateway.exchange import DEADLINE_HEADER, Exchange, Place
from freehold.gateway.http.headers import request_id_of, seconds_of
from freehold.gateway.http.upstream import UpstreamFailure
from freehold.gateway.providers.breaker import Breaker
from freehold.gateway.refusal import Refused, error_body
from freehold.gateway.surface import Surface, surface_of
from freehold.gateway.watch.live_page import ALL_PATHS as LIVE_PATHS
from freehold.gateway.watch.watched import log_refusal
from freehold.ledger.records import id_text, new_call_id
from freehold.ledger.segments import LedgerFull

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from pathlib import Path

    from freehold.core.subject import Subjects
    from freehold.gateway.attempt import Writer
    from freehold.gateway.http.headers import Header
    from freehold.gateway.http.request import ClientRequest
    from freehold.gateway.http.upstream import Upstream
    from freehold.gateway.limits.admission import Admission
    from freehold.gateway.providers.providers import Provider
    from freehold.gateway.providers.routes import Routes
    from freehold.gateway.watch.live_page import LivePage
    from freehold.gateway.watch.metrics import Counters
    from freehold.ledger.policy import Policy

_LOG = logging.getLogger(__name__)
_OWN_PAGES = frozenset(("/healthz", "/readyz", "/metrics"))
_NO_SURFACE = Surface("")
_IN_PROGRESS = "freehold_requests_in_progress"
_LONGEST_PAUSE_S = 60.0
"""The official clients do not wait longer than this for another try, whatever Retry-After says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """All that a reload replaces."""

    routes: Routes
    admission: Admission
    policy: Policy
    subjects: Subjects
    max_body_bytes: int
    client_timeout_s: float
    max_calls: int
    """Under way at once."""
    log_calls: bool


@dataclass(slots=True)
class _Running:
    """A setup with its connections, and the calls that use them."""

    setup: Setup
    places: dict[str, Place]
    calls: int = 0
    is_retired: bool = False

    async def close(self) -> None:
        """Let go of all connections."""
        for place in self.places.values():
            with suppress(OSError):
                await place.upstream.close()


class Gateway:
    """One worker's gateway: no framework stands between the socket and the provider."""

    def __init__(
        self,
        setup: Setup,
        *,
        writer: Writer,
        counters: Counters,
        open_upstream: Callable[[Provider], Upstream],
        spool: Path | None = None,
        lifetime: Callable[[], AbstractAsyncContextManager[object]] = nullcontext,
        live: LivePage | None = None,
        new_breaker: Callable[[str], Breaker] = lambda _provider: Breaker(),
    ) -> None:
        """Put a worker's gateway together.

        Args:
            setup: What to do; `reload` replaces it.
            writer: Records attempts.
            counters: For `/metrics`.
            open_upstream: Opens connections to a provider, inside the running loop.
            spool: Folder for large bodies that are under way; None: the system's.
            lifetime: Surrounds the life of the worker: entered before its first call, left after its last.
            live: Answers for the live page; None: there is none.
            new_breaker: Makes the breaker of a provider, by its name.
        """
        self._writer = writer
        self._aside = Aside(writer, counters)
        self._counters = counters
        self._in_progress = counters.gauge(_IN_PROGRESS)
        self._open_upstream = open_upstream
        self._spool = spool
        self._lifetime = lifetime
        self._page = live
        self._new_breaker = new_breaker
        self._running = _Running(setup, {})
        self._under_way = 0
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[None]:
        """The life of the worker: requests may come from inside it alone."""
        async with self._lifetime():
            self._loop = asyncio.get_running_loop()
            self._running = self._opened(self._running.setup)
            yield
            await self._running.close()
            await asyncio.gather(*self._closing)

    async def serve(self, request: ClientRequest) -> None:
        """Answer one request. The task that runs this is cancelled when the client leaves."""
        path, _, query = request.target.decode("latin-1").partition("?")
        if path in _OWN_PAGES:
            self._tell(path, request)
        elif path in LIVE_PATHS and self._page is not None:
            shown = await self._page.answer(request.method, path, request.headers)
            _answer(request, shown.status, shown.body, content_type=None, more=[*shown.headers])
        else:
            await self._serve(request, path, query)

    def reload(self, setup: Setup) -> None:
        """Use another setup for calls that come; those under way end with what they began with."""
        old, self._running = self._running, self._opened(setup)
        old.is_retired = True
        self._close_if_unused(old)

    def _opened(self, setup: Setup) -> _Running:
        providers = setup.routes.providers.items()
        return _Running(
            setup, {name: Place(self._open_upstream(provider), self._new_breaker(name)) for name, provider in providers}
        )

    def _close_if_unused(self, running: _Running) -> None:
        if running.is_retired and running.calls == 0:
            task = self._loop.create_task(running.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _tell(self, path: str, request: ClientRequest) -> None:
        match path:
            case "/metrics":
                _answer(request, 200, self._counters.page(), content_type=b"text/plain; version=0.0.4")
            case "/readyz" if not self._writer.room:
                _answer(request, 503, b'{"status":"the ledger has no room"}')
            case _:
                _answer(request, 200, b'{"status":"ok"}')

    async def _serve(self, request: ClientRequest, path: str, query: str) -> None:
        own_id = request_id_of(request.named)
        request_id = own_id or id_text(new_call_id())
        surface = _NO_SURFACE
        self._under_way += 1
        self._in_progress.add(1)
        try:
            surface = surface_of(path)
            call = await self._admitted(request, surface=surface, query=query, own_id=own_id, id_=request_id)
            await self._answer(call)
        except (Refused, LedgerFull) as error:
            refusal = error if isinstance(error, Refused) else _no_room()
            self._counters.add("freehold_refused_total", (("status", str(refusal.status)),))
            if self._running.setup.log_calls:
                endpoint = surface.endpoint if surface.tail else path[:200]
                log_refusal(
                    refusal.status, refusal.code, request_id=request_id, method=request.method, endpoint=endpoint
                )
            if not request.has_begun:
                _refuse(request, refusal, surface, request_id)
        except UpstreamFailure:
            pass  # the client was told in the stream, and the broken end tells the rest
        except asyncio.CancelledError:
            if not request.has_left:
                raise
        except Exception:
            _LOG.exception("the gateway failed", extra={"request_id": request_id, "endpoint": surface.endpoint})
            if not request.has_begun:
                _refuse(request, Refused(500, "The gateway failed; its log says why."), surface, request_id)
        finally:
            self._under_way -= 1
            self._in_progress.add(-1)

    async def _admitted(
        self, request: ClientRequest, *, surface: Surface, query: str, own_id: str | None, id_: str
    ) -> ClientCall:
        setup = self._running.setup
        named = request.named
        if self._under_way > setup.max_calls:
            raise Refused(503, "Too many calls are under way.", code="overloaded", retry_after_s=1)
        if not self._writer.room:
            raise _no_room()
        if surface.reads_model and named.get(b"content-encoding", b"identity") != b"identity":
            raise Refused(415, "Send the body without Content-Encoding: the gateway must find the model in it.")
        limit = setup.max_body_bytes
        body = body_at_hand(request, limit=limit) or await read_body(
            request, limit=limit, silence_s=setup.client_timeout_s, folder=self._spool
        )
        try:
            model = surface.deployment or body.head.model
            admitted = await setup.admission.admit(
                request.headers, body, method=request.method, model=model, path=surface.endpoint
            )
        except BaseException:
            body.close()
            raise
        seconds = seconds_of(named.get(DEADLINE_HEADER))
        return ClientCall(
            client=request,
            method=request.method,
            surface=surface,
            query=query,
            body=body,
            model=model,
            request_id=id_,
            has_own_request_id=own_id is not None,
            admitted=admitted,
            deadline=None if seconds is None else self._loop.time() + seconds,
        )

    async def _answer(self, call: ClientCall) -> None:
        running = self._running
        running.calls += 1
        setup, routes = running.setup, running.setup.routes
        writer = self._writer if call.surface.asks_model(call.method) else self._aside
        exchange = Exchange(
            call, running.places, writer=writer, counters=self._counters, policy=setup.policy, subjects=setup.subjects
        )
        try:
            if call.surface.tail == "/models" and call.method == "GET" and routes.sole is None:
                _answer(call.client, 200, _list_of(filter(call.admitted.sees_model, routes.names)))
            else:
                await exchange.run(routes.targets(call.model, is_anthropic=call.surface.is_anthropic))
        finally:
            call.body.close()
            running.calls -= 1
            if running.is_retired:
                self._close_if_unused(running)
            self._settle(call, exchange)

    def _settle(self, call: ClientCall, exchange: Exchange) -> None:
        attempt = exchange.last
        if attempt is None:
            call.admitted.settle(None, is_sent=False, may_cost=False)
        else:
            sent, may_cost = attempt.is_sent, attempt.may_cost
            usage = attempt.usage if call.admitted.is_limited else None
            call.admitted.settle(usage, is_sent=sent, may_cost=may_cost)


def _no_room() -> Refused:
    return Refused(503, "The gateway's ledger has no room.", code="ledger_full", retry_after_s=1)


def _list_of(names: Iterable[str]) -> bytes:
    data = [{"id": name, "object": "model", "created": 0, "owned_by": "freehold"} for name in names]
    return json.dumps({"object": "list", "data": data}).encode()


def _answer(
    request: ClientRequest,
    status: int,
    body: bytes,
    *,
    content_type: bytes | None = b"application/json",
    more: list[Header] | None = None,
) -> None:
    headers = [(b"content-length", b"%d" % len(body)), *(more or ())]
    if content_type is not None:
        headers.append((b"content-type", content_type))
    request.begin(status, headers)
    request.write(body, is_last=True)


def _refuse(request: ClientRequest, refusal: Refused, surface: Surface, request_id: str) -> None:
    dialect = "anthropic" if surface.is_anthropic else "openai"
    more: list[Header] = [(b"x-request-id", request_id.encode("latin-1")), *refusal.headers]
    if refusal.retry_after_s is not None:
        more.append((b"retry-after", b"%d" % max(1, round(refusal.retry_after_s))))
    if refusal.status == 429 and (refusal.retry_after_s is None or refusal.retry_after_s > _LONGEST_PAUSE_S):
        more.append((b"x-should-retry", b"false"))  # the official clients would try again at once
    body = error_body(refusal, dialect=dialect, request_id=request_id)
    _answer(request, refusal.status, body, more=more)
