"""Endpoints over the tiny model or over an engine that misbehaves, for the tests of what they answer."""

from __future__ import annotations

import http.client
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import openai

from freehold.core.task import Task
from freehold.serving._app import EndpointApp
from freehold.serving.endpoint import ServedModel, _listen, _running_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from freehold.core.call import Call

LABELS = ("card_lost", "card_swallowed", "transfer_pending")
TOPIC = Task(name="topic", kind="classification", labels=LABELS, own_prompt="Name the topic.")
DISPUTE = Task(
    name="dispute",
    kind="extraction",
    json_schema={
        "type": "object",
        "properties": {"currency": {"enum": ["EUR", "USD"]}, "wants": {"enum": ["refund", "info"]}},
        "required": ["currency", "wants"],
    },
    own_prompt="Extract as JSON: currency, wants.",
)
REPLY = Task(name="reply", kind="text", own_prompt="Reply.")
QUESTION: Any = [
    {"role": "system", "content": "Long list of labels"},
    {"role": "user", "content": "My card is gone"},
]


@dataclass
class Served:
    """A running endpoint, and what it recorded."""

    base_url: str
    calls: list[Call] = field(default_factory=list)

    @property
    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.base_url, api_key="none is needed", max_retries=0)

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, Any]:
        address = urlsplit(self.base_url)
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)
        try:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, names)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()


def ask(client: openai.OpenAI, model: str, **more: Any) -> Any:
    return client.chat.completions.create(model=model, messages=QUESTION, **more)


class FakeEngine:
    """Answers like llama.cpp's server with whatever a function writes."""

    headers: Mapping[str, str] = {}
    is_alive = True

    def __init__(self, write: Callable[[BaseHTTPRequestHandler], None]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                write(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self.server.server_port}"

    def lora(self, adapter: Path | None) -> list[dict[str, float]]:
        return []


@contextmanager
def endpoint_over(
    write: Callable[[BaseHTTPRequestHandler], None],
    recorder: Callable[[Call], None],
    host: str = "127.0.0.1",
) -> Iterator[Served]:
    engine = FakeEngine(write)
    thread = threading.Thread(target=engine.server.serve_forever, args=(0.01,))
    thread.start()
    app = EndpointApp(
        [ServedModel("topic-1", TOPIC, None)],
        engine=engine,  # type: ignore[arg-type]  # a class attribute is as good as a property
        recorder=recorder,
        mask=None,
        max_body_bytes=1000,
    )
    try:
        with _listen(host, 0) as listener, _running_server(app, listener) as address:
            yield Served(f"{address}/v1")
    finally:
        engine.server.shutdown()
        thread.join()
        engine.server.server_close()


def event(handler: BaseHTTPRequestHandler, value: Any) -> None:
    handler.wfile.write(f"data: {value if isinstance(value, str) else json.dumps(value)}\n\n".encode())
    handler.wfile.flush()


def piece(text: str, finish_reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}]}


def begin(handler: BaseHTTPRequestHandler, status: int = 200) -> None:
    handler.send_response(status)
    handler.end_headers()


def break_off(handler: BaseHTTPRequestHandler) -> None:
    begin(handler)
    event(handler, piece("card"))


def refuse(handler: BaseHTTPRequestHandler) -> None:
    begin(handler, 503)
    handler.wfile.write(b'{"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}')
