"""The ASGI application: reads a request, has it admitted, and passes it on."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from freehold.gateway.aside import Aside
from freehold.gateway.body import ClientLeft, read_body
from freehold.gateway.breaker import Breaker
from freehold.gateway.call import ClientCall
from freehold.gateway.exchange import DEADLINE_HEADER, Exchange, Place
from freehold.gateway.headers import request_id_of, seconds_of, value_of
from freehold.gateway.live_page import PATHS as LIVE_PATHS
from freehold.gateway.refusal import Refused, error_body
from freehold.gateway.surface import Surface, surface_of
from freehold.gateway.upstream import UpstreamFailure
from freehold.gateway.watched import log_refusal
from freehold.ledger.records import id_text, new_call_id
from freehold.ledger.segments import LedgerFull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableMapping
    from pathlib import Path

    from freehold.gateway.admission import Admission
    from freehold.gateway.attempt import Writer
    from freehold.gateway.body import Receive
    from freehold.gateway.call import Send
    from freehold.gateway.headers import Header
    from freehold.gateway.live_page import LivePage
    from freehold.gateway.metrics import Counters
    from freehold.gateway.providers import Provider
    from freehold.gateway.routes import Routes
    from freehold.gateway.upstream import Upstream
    from freehold.ledger.policy import Policy

    Scope = MutableMapping[str, Any]  # Any: ASGI leaves values open

_LOG = logging.getLogger(__name__)
_IN_PROGRESS = "freehold_requests_in_progress"
_LONGEST_PAUSE_S = 60.0
"""The official clients do not wait longer than this for another try, whatever Retry-After says."""
_JSON = frozenset(("openai-chat", "openai-completions", "openai-responses", "openai-embeddings", "anthropic"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """All that a reload replaces."""

    routes: Routes
    admission: Admission
    policy: Policy
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
    """One worker's gateway. A raw ASGI application: no framework stands between the socket and the provider."""

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
        self._open_upstream = open_upstream
        self._spool = spool
        self._lifetime = lifetime
        self._page = live
        self._new_breaker = new_breaker
        self._running = _Running(setup, {})
        self._under_way = 0
        self._closing: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the life of the worker."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["path"] in LIVE_PATHS and self._page is not None:
            shown = await self._page.answer(scope["method"], scope["path"], scope["headers"])
            await _answer(send, shown.status, shown.body, content_type=None, more=[*shown.headers])
        elif scope["path"] in {"/healthz", "/readyz", "/metrics"}:
            await self._tell(scope["path"], send)
        else:
            await self._serve(scope, receive, send)

    def reload(self, setup: Setup) -> None:
        """Use another setup for calls that come; those under way end with what they began with."""
        old, self._running = self._running, self._opened(setup)
        old.is_retired = True
        self._close_if_unused(old)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with self._lifetime():
            self._running = self._opened(self._running.setup)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await self._running.close()
            await asyncio.gather(*self._closing)
        await send({"type": "lifespan.shutdown.complete"})

    def _opened(self, setup: Setup) -> _Running:
        providers = setup.routes.providers.items()
        return _Running(
            setup, {name: Place(self._open_upstream(provider), self._new_breaker(name)) for name, provider in providers}
        )

    def _close_if_unused(self, running: _Running) -> None:
        if running.is_retired and running.calls == 0:
            task = asyncio.get_running_loop().create_task(running.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _tell(self, path: str, send: Send) -> None:
        match path:
            case "/metrics":
                await _answer(send, 200, self._counters.page(), content_type=b"text/plain; version=0.0.4")
            case "/readyz" if not self._writer.room:
                await _answer(send, 503, b'{"status":"the ledger has no room"}')
            case _:
                await _answer(send, 200, b'{"status":"ok"}')

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: list[Header] = scope["headers"]
        own_id = request_id_of(headers)
        request_id = own_id or id_text(new_call_id())
        surface = Surface("")
        has_begun = False

        async def watched_send(event: MutableMapping[str, Any]) -> None:  # Any: ASGI
            nonlocal has_begun
            has_begun = True
            await send(event)

        self._under_way += 1
        self._counters.add(_IN_PROGRESS, (), 1)
        try:
            surface = surface_of(scope["raw_path"].decode("latin-1"))
            call = await self._admitted(scope, receive, watched_send, surface=surface, own_id=own_id, id_=request_id)
            await self._answer(call, receive)
        except (Refused, LedgerFull) as error:
            refusal = error if isinstance(error, Refused) else _no_room()
            self._counters.add("freehold_refused_total", (("status", str(refusal.status)),))
            if self._running.setup.log_calls:
                endpoint = surface.endpoint if surface.tail else scope["path"][:200]
                log_refusal(
                    refusal.status, refusal.code, request_id=request_id, method=scope["method"], endpoint=endpoint
                )
            if not has_begun:
                await _refuse(send, refusal, surface, request_id)
        except (ClientLeft, UpstreamFailure):
            pass  # nobody is there to be told; or the client was told in the stream, and the broken end tells the rest
        except Exception:
            _LOG.exception("the gateway failed", extra={"request_id": request_id, "endpoint": surface.endpoint})
            if not has_begun:
                await _refuse(send, Refused(500, "The gateway failed; its log says why."), surface, request_id)
        finally:
            self._under_way -= 1
            self._counters.add(_IN_PROGRESS, (), -1)

    async def _admitted(
        self, scope: Scope, receive: Receive, send: Send, *, surface: Surface, own_id: str | None, id_: str
    ) -> ClientCall:
        setup = self._running.setup
        headers = scope["headers"]
        if self._under_way > setup.max_calls:
            raise Refused(503, "Too many calls are under way.", code="overloaded", retry_after_s=1)
        if not self._writer.room:
            raise _no_room()
        if surface.dialect in _JSON and (value_of(headers, b"content-encoding") or b"identity") != b"identity":
            raise Refused(415, "Send the body without Content-Encoding: the gateway must find the model in it.")
        body = await read_body(
            receive, headers, limit=setup.max_body_bytes, silence_s=setup.client_timeout_s, folder=self._spool
        )
        try:
            model = surface.deployment or body.head.model
            admitted = await setup.admission.admit(
                headers, body, method=scope["method"], model=model, path=surface.endpoint
            )
        except BaseException:
            body.close()
            raise
        seconds = seconds_of(value_of(headers, DEADLINE_HEADER))
        return ClientCall(
            method=scope["method"],
            surface=surface,
            query=scope["query_string"].decode("latin-1"),
            headers=headers,
            body=body,
            model=model,
            request_id=id_,
            has_own_request_id=own_id is not None,
            admitted=admitted,
            deadline=None if seconds is None else asyncio.get_running_loop().time() + seconds,
            send=send,
        )

    async def _answer(self, call: ClientCall, receive: Receive) -> None:
        running = self._running
        running.calls += 1
        routes = running.setup.routes
        writer = self._writer if call.surface.asks_model(call.method) else self._aside
        exchange = Exchange(call, running.places, writer=writer, counters=self._counters, policy=running.setup.policy)
        leaving = _watch(call, receive)
        try:
            if call.surface.tail == "/models" and call.method == "GET" and routes.sole is None:
                await _answer(call.send, 200, _list_of(filter(call.admitted.sees_model, routes.names)))
            else:
                await exchange.run(routes.targets(call.model, is_anthropic=call.surface.is_anthropic))
        except asyncio.CancelledError:
            if not call.has_left:
                raise
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
        finally:
            call.is_over = True
            leaving.cancel()
            call.body.close()
            running.calls -= 1
            self._close_if_unused(running)
            self._settle(call, exchange)

    def _settle(self, call: ClientCall, exchange: Exchange) -> None:
        attempt = exchange.last
        if attempt is None:
            call.admitted.settle(None, is_sent=False, may_cost=False)
        else:
            sent, may_cost = attempt.is_sent, attempt.may_cost
            call.admitted.settle(attempt.usage, is_sent=sent, may_cost=may_cost)


def _no_room() -> Refused:
    return Refused(503, "The gateway's ledger has no room.", code="ledger_full", retry_after_s=1)


def _watch(call: ClientCall, receive: Receive) -> asyncio.Future[Any]:
    """Stop the call when its client leaves: after the body, that is the next thing the server can tell."""
    task = asyncio.current_task()
    assert task is not None
    leaving = asyncio.ensure_future(receive())

    def left(future: asyncio.Future[Any]) -> None:
        if not future.cancelled() and not call.is_over:
            call.has_left = True
            task.cancel()

    leaving.add_done_callback(left)
    return leaving


def _list_of(names: Iterable[str]) -> bytes:
    data = [{"id": name, "object": "model", "created": 0, "owned_by": "freehold"} for name in names]
    return json.dumps({"object": "list", "data": data}).encode()


async def _answer(
    send: Send,
    status: int,
    body: bytes,
    *,
    content_type: bytes | None = b"application/json",
    more: list[Header] | None = None,
) -> None:
    headers = [(b"content-length", b"%d" % len(body)), *(more or ())]
    if content_type is not None:
        headers.append((b"content-type", content_type))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _refuse(send: Send, refusal: Refused, surface: Surface, request_id: str) -> None:
    dialect = "anthropic" if surface.is_anthropic else "openai"
    more: list[Header] = [(b"x-request-id", request_id.encode("latin-1")), *refusal.headers]
    if refusal.retry_after_s is not None:
        more.append((b"retry-after", b"%d" % max(1, round(refusal.retry_after_s))))
    if refusal.status == 429 and (refusal.retry_after_s is None or refusal.retry_after_s > _LONGEST_PAUSE_S):
        more.append((b"x-should-retry", b"false"))  # the official clients would try again at once
    if refusal.status in {408, 413}:
        more.append((b"connection", b"close"))  # the rest of the body is not waited for
    body = error_body(refusal, dialect=dialect, request_id=request_id)
    await _answer(send, refusal.status, body, more=more)
