"""The ASGI application: an OpenAI-compatible face of one engine and the models it holds."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from freehold.core.chat import Message
from freehold.core.errors import UpstreamError
from freehold.serving._chat_request import ChatRequest, Refused, engine_body, read_chat_request
from freehold.serving._engine_client import ask_engine, open_session
from freehold.serving._exchange import Exchange
from freehold.serving._grammar import task_grammar
from freehold.serving._http import read_body, send_event, send_json, start_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import aiohttp

    from freehold.core.call import Call
    from freehold.serving._chat_request import Mask
    from freehold.serving._engine_client import Engine
    from freehold.serving._http import Event, Receive, Scope, Send
    from freehold.serving.endpoint import ServedModel

_LOG = logging.getLogger(__name__)
_ENGINE_FAILED = "engine_failed"
_OWN_FAULT = "internal_error"
_CLIENT_LEFT = 499
"""Status of a call whose client did not wait; nobody received it. nginx's number."""


class EndpointApp:
    """Routes requests, has the engine answer them, and records each call before its last byte leaves."""

    def __init__(
        self,
        models: Sequence[ServedModel],
        *,
        engine: Engine,
        recorder: Callable[[Call], None],
        mask: Mask | None,
        max_body_bytes: int,
    ) -> None:
        """Take what `running_endpoint` was given; `engine` runs already."""
        self._engine = engine
        self._recorder = recorder
        self._mask = mask
        self._max_body_bytes = max_body_bytes
        self._created = int(time.time())
        self._models = _by_name(models)
        self._grammars = {model.id: task_grammar(model.task) for model in models}
        self._session: aiohttp.ClientSession
        # One thread: calls reach the ledger one after the other, and never hold up another call's bytes.
        self._recording = ThreadPoolExecutor(1, thread_name_prefix="freehold-recorder")
        self._in_flight: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the life of the server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        has_begun = False

        async def watched_send(event: Event) -> None:
            nonlocal has_begun
            has_begun = True
            await send(event)

        try:
            await self._route(scope, receive, watched_send)
        except Refused as refusal:
            await _send_error(send, refusal.status, str(refusal), code=refusal.code, param=refusal.param)
        except UpstreamError as error:
            await _send_error(send, 502, str(error), code=_ENGINE_FAILED)
        except Exception:
            _LOG.exception("the endpoint failed at %s", scope["path"])
            if has_begun:
                raise
            await _send_error(send, 500, "The endpoint failed; its log says why.", code=_OWN_FAULT)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._session = open_session(self._engine)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.gather(*self._in_flight, return_exceptions=True)
        await self._session.close()
        self._recording.shutdown()
        await send({"type": "lifespan.shutdown.complete"})

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        match path:
            case "/healthz":
                _allow(method, "GET")
                is_alive = self._engine.is_alive
                status = {"status": "ok" if is_alive else "engine down", "models": list(self._models)}
                await send_json(send, 200 if is_alive else 503, status)
            case "/v1/models":
                _allow(method, "GET")
                await send_json(send, 200, {"object": "list", "data": [self._card(name) for name in self._models]})
            case "/v1/chat/completions":
                _allow(method, "POST")
                await self._chat(scope, receive, send)
            case _ if path.startswith("/v1/models/"):
                _allow(method, "GET")
                name = path.removeprefix("/v1/models/")
                self._find(name)
                await send_json(send, 200, self._card(name))
            case _:
                known = "/v1/chat/completions, /v1/models and /healthz"
                raise Refused(404, f"{path!r} does not exist; there are {known}.")

    def _card(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._created, "owned_by": "freehold"}

    def _find(self, name: str) -> ServedModel:
        if name not in self._models:
            known = ", ".join(map(repr, self._models))
            message = f"Model {name!r} is not served; known are {known}."
            raise Refused(404, message, code="model_not_found", param="model")
        return self._models[name]

    async def _chat(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != b"application/json":
            # A page in a browser cannot send this type to another origin unasked.
            raise Refused(415, "The body must be sent as 'Content-Type: application/json'.")
        request = read_chat_request(await read_body(receive, self._max_body_bytes))
        model = self._find(request.model)
        request_id = headers.get(b"x-request-id")
        exchange = Exchange(
            request=request, model=model, request_id=None if request_id is None else request_id.decode("latin-1")
        )
        answering = asyncio.create_task(self._answer(exchange, send))
        self._in_flight.add(answering)
        answering.add_done_callback(self._in_flight.discard)
        leaving = asyncio.ensure_future(receive())  # after the body, the next event is the client's leaving
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            exchange.has_client_left = leaving.done()
            if not exchange.is_recorded:
                answering.cancel()
            leaving.cancel()
        await answering

    def _masked(self, request: ChatRequest) -> tuple[list[Message], Mapping[str, str]]:
        if self._mask is None:
            return list(request.turns), {}
        texts, placeholders = self._mask([turn.content for turn in request.turns])
        return [Message(turn.role, text) for turn, text in zip(request.turns, texts, strict=True)], placeholders

    async def _answer(self, exchange: Exchange, send: Send) -> None:
        try:
            body = self._asked(exchange)
            if exchange.request.stream:
                await self._answer_in_pieces(exchange, body, send)
            else:
                await self._answer_at_once(exchange, body, send)
        except Refused as refusal:
            await self._record(exchange, status=refusal.status, error_type=refusal.code)
            raise
        except UpstreamError:
            await self._record(exchange, status=502, error_type=_ENGINE_FAILED)
            raise
        except asyncio.CancelledError:
            # The client left, or the server was told to stop: what was said until then is kept all the same.
            if exchange.has_client_left:
                await self._record(exchange, status=_CLIENT_LEFT)
            else:
                await self._record(exchange, status=503, error_type="shutdown")
        except Exception:
            if not exchange.is_recorded:
                await self._record(exchange, status=500, error_type=_OWN_FAULT)
            raise

    def _asked(self, exchange: Exchange) -> Mapping[str, Any]:
        """What the engine is asked: the conversation masked, and the task's prompt and form."""
        model, request = exchange.model, exchange.request
        turns, exchange.placeholders = self._masked(request)
        return engine_body(model.task, self._grammars[model.id], turns, request, self._engine.lora(model.adapter_gguf))

    async def _answer_at_once(self, exchange: Exchange, body: Mapping[str, Any], send: Send) -> None:
        async with aclosing(ask_engine(self._session, self._engine, body)) as pieces:
            async for piece in pieces:
                exchange.add(piece)
        await self._record(exchange, status=200)
        await send_json(send, 200, exchange.completion())

    async def _answer_in_pieces(self, exchange: Exchange, body: Mapping[str, Any], send: Send) -> None:
        has_begun = False
        # A placeholder could arrive cut in two: where there are some, the answer is sent whole.
        is_held_back = bool(exchange.placeholders)
        try:
            async with aclosing(ask_engine(self._session, self._engine, body)) as pieces:
                async for piece in pieces:
                    exchange.add(piece)
                    if not has_begun:
                        await start_stream(send)
                        await send_event(send, exchange.chunk({"role": "assistant", "content": ""}))
                        has_begun = True
                    if piece.text and not is_held_back:
                        await send_event(send, exchange.chunk({"content": piece.text}))
        except UpstreamError as error:
            if not has_begun:
                raise
            await self._record(exchange, status=502, error_type=_ENGINE_FAILED)
            await send_event(send, _error_body(502, str(error), code=_ENGINE_FAILED), is_last=True)
            return
        if is_held_back:
            await send_event(send, exchange.chunk({"content": exchange.text}))
        await send_event(send, exchange.chunk({}, exchange.finish_reason))
        if exchange.request.include_usage:
            await send_event(send, exchange.usage_chunk())
        await self._record(exchange, status=200)
        await send_event(send, None, is_last=True)

    async def _record(self, exchange: Exchange, *, status: int, error_type: str | None = None) -> None:
        """Hand the call over. If that fails the log tells of it, and the customer still gets the answer."""
        exchange.is_recorded = True
        call = exchange.call(status=status, error_type=error_type)
        try:
            await asyncio.get_running_loop().run_in_executor(self._recording, self._recorder, call)
        except Exception:
            _LOG.exception("call %s could not be recorded", call.id)


def _by_name(models: Sequence[ServedModel]) -> dict[str, ServedModel]:
    """An id means its version, and a task's name the first of its versions."""
    names: dict[str, ServedModel] = {}
    for model in models:
        names.setdefault(model.task.name, model)
        names[model.id] = model
    return names


def _allow(method: str, allowed: str) -> None:
    if method != allowed:
        raise Refused(405, f"Method {method} is not allowed here; use {allowed}.")


def _error_body(status: int, message: str, *, code: str | None, param: str | None = None) -> dict[str, Any]:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


async def _send_error(send: Send, status: int, message: str, *, code: str | None, param: str | None = None) -> None:
    await send_json(send, status, _error_body(status, message, code=code, param=param))
