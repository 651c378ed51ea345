from __future__ import annotations

import http.client
import json
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import openai
import pytest

from freehold.core.errors import InputError
from freehold.core.task import Task
from freehold.serving._app import EndpointApp
from freehold.serving.cpu_engine import CpuEngine
from freehold.serving.endpoint import ServedModel, _listen, _running_server, running_endpoint, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from freehold.core.call import Call
    from tests.serving.conftest import TinyModel

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


@pytest.fixture(scope="module")
def models(tiny: TinyModel) -> list[ServedModel]:
    one, two = tiny.adapters_gguf
    return [
        ServedModel("topic-111111111111", TOPIC, one),
        ServedModel("topic-222222222222", TOPIC, two),
        ServedModel("dispute-333333333333", DISPUTE, two),
        ServedModel("reply-base", REPLY, None),
    ]


@pytest.fixture(scope="module")
def _endpoint(tiny: TinyModel, models: list[ServedModel], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    calls: list[Call] = []
    log_file = tmp_path_factory.mktemp("endpoint") / "engine.log"
    with running_endpoint(
        models, base_gguf=tiny.base_gguf, recorder=calls.append, log_file=log_file, threads=1
    ) as base_url:
        yield Served(base_url, calls)


@pytest.fixture
def served(_endpoint: Served) -> Served:
    _endpoint.calls.clear()
    return _endpoint


def ask(client: openai.OpenAI, model: str, **more: Any) -> Any:
    return client.chat.completions.create(model=model, messages=QUESTION, **more)


def test_a_task_is_answered_by_its_first_version_with_one_of_its_labels(served: Served) -> None:
    answer = ask(served.client, "topic")
    assert answer.choices[0].message.content in LABELS
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.object, answer.model) == ("chat.completion", "topic-111111111111")
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 2


def test_a_finished_call_is_recorded_with_what_the_client_sent_and_got(served: Served) -> None:
    answer = ask(served.client, "topic-222222222222", extra_headers={"X-Request-Id": "desk-7"})
    (call,) = served.calls
    assert (call.task, call.route, call.provider) == ("topic", "own", "freehold")
    assert call.model_requested == call.model_served == call.model_version == "topic-222222222222"
    assert (call.status, call.error_type, call.stream, call.client_closed) == (200, None, False, False)
    assert (call.completion_id, call.request_id, call.finish_reason) == (answer.id, "desk-7", "stop")
    assert call.request == {"model": "topic-222222222222", "messages": QUESTION}
    assert call.response is not None
    assert call.response["choices"][0]["message"]["content"] == answer.choices[0].message.content
    assert (call.input_tokens, call.output_tokens) == (
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
    )
    assert call.cache_read_tokens is not None
    assert call.ttft_ms is not None
    assert call.duration_ms is not None
    assert 0 < call.ttft_ms <= call.duration_ms
    assert call.endpoint == "/v1/chat/completions"


def test_the_clients_instructions_are_replaced_by_the_tasks_own_prompt(served: Served) -> None:
    tokens = {
        ask(served.client, "topic").usage.prompt_tokens,
        served.client.chat.completions.create(
            model="topic",
            messages=[
                {"role": "developer", "content": "Something much longer than that " * 5},
                {"role": "user", "content": "My card is gone"},
            ],
        ).usage.prompt_tokens,  # type: ignore[union-attr]
    }
    assert len(tokens) == 1


def test_an_extraction_is_a_json_object_of_the_tasks_fields(served: Served) -> None:
    text = ask(served.client, "dispute").choices[0].message.content
    value = json.loads(text)
    assert list(value) == ["currency", "wants"]
    assert text == json.dumps(value)


def test_streamed_pieces_are_the_whole_answer_and_are_recorded_as_one(served: Served) -> None:
    whole = ask(served.client, "dispute").choices[0].message.content
    chunks = list(ask(served.client, "dispute", stream=True, stream_options={"include_usage": True}))
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert len([piece for piece in pieces if piece]) > 1
    assert "".join(pieces) == whole
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    call = served.calls[-1]
    assert call.stream is True
    assert call.response is not None
    assert call.response["choices"][0]["message"]["content"] == whole
    assert chunks[-1].usage.completion_tokens == call.output_tokens


def test_a_stream_tells_its_tokens_only_when_asked(served: Served) -> None:
    assert all(chunk.usage is None for chunk in ask(served.client, "topic", stream=True))


def test_a_text_task_is_answered_freely_and_cut_where_the_client_wants(served: Served) -> None:
    answer = ask(served.client, "reply", max_tokens=3)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 3


def test_several_calls_at_once_get_the_adapter_they_asked_for(served: Served) -> None:
    names = ["topic", "topic-222222222222", "dispute"] * 3
    alone = {name: ask(served.client, name).choices[0].message.content for name in names}
    answers: dict[int, str] = {}

    def one(index: int) -> None:
        answers[index] = ask(served.client, names[index]).choices[0].message.content

    threads = [threading.Thread(target=one, args=(index,)) for index in range(len(names))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answers[index] for index in range(len(names))] == [alone[name] for name in names]


def test_models_are_listed_by_task_and_by_id(served: Served) -> None:
    names = [model.id for model in served.client.models.list()]
    assert names == [
        "topic",
        "topic-111111111111",
        "topic-222222222222",
        "dispute",
        "dispute-333333333333",
        "reply",
        "reply-base",
    ]
    assert served.client.models.retrieve("dispute").owned_by == "freehold"
    with pytest.raises(openai.NotFoundError, match="Model 'nobody' is not served"):
        served.client.models.retrieve("nobody")


def test_health_says_what_is_served(served: Served) -> None:
    status, body = served.send("GET", "/healthz")
    assert (status, body["status"]) == (200, "ok")
    assert "topic" in body["models"]


def test_an_unknown_model_is_told_with_the_known_ones(served: Served) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        ask(served.client, "topics")
    assert caught.value.body == {
        "message": "Model 'topics' is not served; known are "
        "'topic', 'topic-111111111111', 'topic-222222222222', "
        "'dispute', 'dispute-333333333333', 'reply', 'reply-base'.",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }
    assert served.calls == []


def test_a_conversation_beyond_the_context_is_refused_and_recorded(served: Served) -> None:
    long = [{"role": "user", "content": "Where is my card? " * 200}]
    with pytest.raises(openai.BadRequestError) as caught:
        served.client.chat.completions.create(model="topic", messages=long)  # type: ignore[arg-type]
    assert caught.value.code == "context_length_exceeded"
    assert "longer than the model's context of 512 tokens" in str(caught.value)
    (call,) = served.calls
    assert (call.status, call.error_type, call.response) == (400, "context_length_exceeded", None)


@pytest.mark.parametrize(
    ("request_line", "content_type", "status", "message"),
    [
        ("POST /v1/chat/completions", "application/json", 400, "The body is not JSON"),
        ("POST /v1/chat/completions", "text/plain", 415, "The body must be sent as"),
        ("GET /v1/chat/completions", "", 405, "Method GET is not allowed here; use POST."),
        ("POST /v1/models", "", 405, "Method POST is not allowed here; use GET."),
        ("POST /v1/models/topic", "", 405, "Method POST is not allowed here; use GET."),
        ("PUT /healthz", "", 405, "Method PUT is not allowed here; use GET."),
        ("POST /v1/completions", "", 404, "'/v1/completions' does not exist; there are"),
    ],
)
def test_a_request_that_fits_nothing_is_refused_in_openais_words(
    served: Served, request_line: str, content_type: str, status: int, message: str
) -> None:
    method, path = request_line.split()
    found, answer = served.send(method, path, b"{", Content_Type=content_type)
    assert found == status
    assert answer["error"]["message"].startswith(message)
    assert answer["error"]["type"] == "invalid_request_error"


def test_a_huge_body_is_refused_without_being_kept(served: Served) -> None:
    body = b" " * (4 * 1024 * 1024 + 1)
    found, answer = served.send("POST", "/v1/chat/completions", body, Content_Type="application/json")
    assert found == 413
    assert answer["error"]["message"] == "The body has 4194305 bytes; at most 4194304 are read."
    assert answer["error"]["code"] == "body_too_large"


def mask_numbers(texts: Sequence[str]) -> tuple[list[str], Mapping[str, str]]:
    hidden = {"[CARD_1]": '41"11'} if any("4111" in text for text in texts) else {}
    return [text.replace("4111", "[CARD_1]") for text in texts], hidden


@pytest.mark.parametrize("stream", [False, True])
def test_what_was_masked_in_the_question_stands_again_in_the_answer(
    stream: bool, tiny: TinyModel, tmp_path: Path
) -> None:
    schema = {"type": "object", "properties": {"card": {"const": "[CARD_1]"}}, "required": ["card"]}
    task = Task(name="dispute", kind="extraction", json_schema=schema, own_prompt="Extract.")
    words = Task(name="topic", kind="classification", labels=("card [CARD_1]",), own_prompt="Name it.")
    calls: list[Call] = []
    models = [ServedModel("d", task, None), ServedModel("t", words, None)]
    with running_endpoint(
        models,
        base_gguf=tiny.base_gguf,
        recorder=calls.append,
        log_file=tmp_path / "log",
        threads=1,
        mask=mask_numbers,
    ) as base_url:
        client = Served(base_url).client

        def text(model: str, question: str) -> str:
            messages: Any = [{"role": "user", "content": question}]
            answer: Any = client.chat.completions.create(model=model, messages=messages, stream=stream)
            if stream:
                return "".join(chunk.choices[0].delta.content or "" for chunk in answer)
            return str(answer.choices[0].message.content)

        assert json.loads(text("dispute", "I lost 4111")) == {"card": '41"11'}
        assert text("topic", "I lost 4111") == 'card 41"11'
        assert text("topic", "I lost it") == "card [CARD_1]"
    assert calls[0].request is not None
    assert calls[0].request["messages"] == [{"role": "user", "content": "I lost 4111"}]


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


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_is_recorded_with_what_it_had_been_told(stream: bool) -> None:
    calls: queue.Queue[Call] = queue.Queue()
    has_started, client_left = threading.Event(), threading.Event()

    def write(handler: BaseHTTPRequestHandler) -> None:
        begin(handler)
        event(handler, piece("card"))
        has_started.set()
        client_left.wait(20)

    with endpoint_over(write, calls.put) as served:
        address = urlsplit(served.base_url)
        body = json.dumps({"model": "topic", "messages": QUESTION, "stream": stream}).encode()
        with socket.create_connection((str(address.hostname), address.port or 0)) as client:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
            client.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
            assert has_started.wait(20)
            if stream:
                received = b""
                while b'"card"' not in received:
                    received += client.recv(4096)
        call = calls.get(timeout=20)
        client_left.set()
    assert (call.status, call.client_closed, call.stream, call.finish_reason) == (499, True, stream, None)
    if stream:
        assert call.response is not None
        assert call.response["choices"][0]["message"]["content"] == "card"


def test_a_call_under_way_at_the_end_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freehold.serving.endpoint._GRACE_S", 0)
    calls: list[Call] = []
    has_started, is_over = threading.Event(), threading.Event()

    def write(handler: BaseHTTPRequestHandler) -> None:
        begin(handler)
        event(handler, piece("card"))
        has_started.set()
        is_over.wait(20)

    def ask_in_vain(client: openai.OpenAI) -> None:
        with pytest.raises(openai.APIError):
            ask(client, "topic")

    with endpoint_over(write, calls.append) as served:
        asking = threading.Thread(target=ask_in_vain, args=(served.client,))
        asking.start()
        assert has_started.wait(20)
    (call,) = calls
    is_over.set()
    asking.join()
    assert (call.status, call.error_type, call.client_closed) == (503, "shutdown", False)
    assert call.response is not None


def test_the_last_byte_waits_for_the_ledger() -> None:
    may_record, arrived = threading.Event(), queue.Queue[str]()

    def write(handler: BaseHTTPRequestHandler) -> None:
        begin(handler)
        event(handler, piece("card_lost"))
        event(handler, piece("", "stop"))
        event(handler, "[DONE]")

    def record(call: Call) -> None:
        arrived.put("recording")
        may_record.wait(20)
        arrived.put("recorded")

    with endpoint_over(write, record) as served:

        def read() -> None:
            for _ in ask(served.client, "topic", stream=True):
                pass
            arrived.put("last byte")

        reading = threading.Thread(target=read)
        reading.start()
        assert arrived.get(timeout=20) == "recording"
        assert arrived.empty()
        may_record.set()
        reading.join()
        assert [arrived.get(timeout=20), arrived.get(timeout=20)] == ["recorded", "last byte"]


def test_a_ledger_that_fails_is_told_in_the_log_and_the_client_gets_its_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def write(handler: BaseHTTPRequestHandler) -> None:
        begin(handler)
        event(handler, piece("card_lost", "stop"))
        event(handler, "[DONE]")

    def fail(call: Call) -> None:
        raise OSError("disk full")

    with caplog.at_level(logging.ERROR), endpoint_over(write, fail) as served:
        answer = ask(served.client, "topic")
    assert answer.choices[0].message.content == "card_lost"
    assert answer.usage is None
    assert "could not be recorded" in caplog.text
    assert "disk full" in caplog.text


def break_off(handler: BaseHTTPRequestHandler) -> None:
    begin(handler)
    event(handler, piece("card"))


def complain_midway(handler: BaseHTTPRequestHandler) -> None:
    begin(handler)
    event(handler, {"error": {"code": 500, "message": "out of slots", "type": "server_error"}})


def complain_by_name(handler: BaseHTTPRequestHandler) -> None:
    begin(handler)
    handler.wfile.write(b'error: {"code": 500, "message": "out of slots", "type": "server_error"}\n\n')


def refuse(handler: BaseHTTPRequestHandler) -> None:
    begin(handler, 503)
    handler.wfile.write(b'{"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}')


def answer_nonsense(handler: BaseHTTPRequestHandler) -> None:
    begin(handler, 500)
    handler.wfile.write(b"<html>")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (break_off, "The engine broke off in the middle of an answer. Restart the endpoint."),
        (complain_midway, "The engine refused with status 500: out of slots."),
        (complain_by_name, "The engine refused with status 500: out of slots."),
        (refuse, "The engine refused with status 503: Loading model."),
        (answer_nonsense, "The engine refused with status 500: no reason given."),
    ],
)
def test_an_engine_that_fails_gives_502_and_a_recorded_call(
    write: Callable[[BaseHTTPRequestHandler], None], message: str
) -> None:
    calls: list[Call] = []
    with endpoint_over(write, calls.append) as served, pytest.raises(openai.APIStatusError) as caught:
        ask(served.client, "topic")
    assert caught.value.status_code == 502
    assert caught.value.body == {
        "message": message,
        "type": "server_error",
        "param": None,
        "code": "engine_failed",
    }
    (call,) = calls
    assert (call.status, call.error_type) == (502, "engine_failed")


def test_a_stream_that_breaks_after_its_beginning_ends_with_an_error() -> None:
    calls: list[Call] = []
    with endpoint_over(break_off, calls.append) as served, pytest.raises(openai.APIError, match="broke off"):
        list(ask(served.client, "topic", stream=True))
    (call,) = calls
    assert (call.status, call.error_type, call.finish_reason) == (502, "engine_failed", None)
    assert call.response is not None


def test_a_stream_that_fails_before_its_beginning_is_a_plain_error() -> None:
    calls: list[Call] = []
    with endpoint_over(refuse, calls.append) as served, pytest.raises(openai.InternalServerError):
        ask(served.client, "topic", stream=True)
    assert [call.status for call in calls] == [502]


def test_a_fault_of_our_own_is_logged_and_told_as_500(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("freehold.serving._app.engine_body", fail)
    with (
        caplog.at_level(logging.ERROR),
        endpoint_over(refuse, lambda _: None) as served,
        pytest.raises(openai.InternalServerError) as caught,
    ):
        ask(served.client, "topic")
    assert caught.value.code == "internal_error"
    assert "a bug" in caplog.text


def test_a_fault_after_the_first_byte_closes_the_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("freehold.serving._exchange.Exchange.chunk", fail)

    def write(handler: BaseHTTPRequestHandler) -> None:
        begin(handler)
        event(handler, piece("card_lost", "stop"))
        event(handler, "[DONE]")

    with (
        caplog.at_level(logging.ERROR),
        endpoint_over(write, lambda _: None) as served,
        pytest.raises(openai.APIConnectionError),
    ):
        list(ask(served.client, "topic", stream=True))
    assert "a bug" in caplog.text


def test_an_engine_that_died_gives_502_and_bad_health(tiny: TinyModel, tmp_path: Path) -> None:
    calls: list[Call] = []
    with CpuEngine(tiny.base_gguf, log_file=tmp_path / "log", threads=1) as engine:
        app = EndpointApp(
            [ServedModel("topic-1", TOPIC, None)],
            engine=engine,
            recorder=calls.append,
            mask=None,
            max_body_bytes=1000,
        )
        with _listen("127.0.0.1", 0) as listener, _running_server(app, listener) as address:
            served = Served(f"{address}/v1")
            assert engine.pid is not None
            watch = os.pidfd_open(engine.pid)
            os.kill(engine.pid, signal.SIGKILL)
            os.waitid(os.P_PIDFD, watch, os.WEXITED | os.WNOWAIT)
            os.close(watch)
            with pytest.raises(openai.InternalServerError) as caught:
                ask(served.client, "topic")
            status, health = served.send("GET", "/healthz")
    assert caught.value.status_code == 502
    assert "The engine does not answer (" in str(caught.value)
    assert (status, health["status"]) == (503, "engine down")
    assert [(call.status, call.error_type) for call in calls] == [(502, "engine_failed")]


def test_nothing_to_serve_a_foreign_host_and_a_taken_port_are_told(
    tiny: TinyModel, models: list[ServedModel], tmp_path: Path
) -> None:
    def message(served_models: Sequence[ServedModel], **options: Any) -> str:
        endpoint = running_endpoint(
            served_models,
            base_gguf=tiny.base_gguf,
            recorder=lambda _: None,
            log_file=tmp_path / "log",
            **options,
        )
        with pytest.raises(InputError) as caught, endpoint:
            pass
        return str(caught.value)

    assert message([]) == "There is no model to serve. Train one with: freehold tune TASK"
    for host in ("0.0.0.0", "example.org"):
        assert message(models, host=host).startswith(f"Host {host!r} is not this machine's own (127.0.0.1).")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert message(models, host="localhost", port=port).startswith(f"localhost:{port} cannot be listened on (")
    assert message(models, port=70000) == (
        "Port 70000 does not exist; choose one from 1 to 65535, or 0 for any that is free."
    )


def test_an_ipv6_loopback_address_is_written_in_brackets() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with endpoint_over(refuse, lambda _: None, host="::1") as served:
        assert served.base_url.startswith("http://[::1]:")
        assert served.send("GET", "/healthz")[0] == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serving_ends_in_good_order_when_told(number: signal.Signals, tiny: TinyModel, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from freehold.core.task import Task\n"
        "from freehold.serving.endpoint import ServedModel, running_endpoint, serve\n"
        "task = Task(name='topic', kind='classification', labels=('a', 'b'), own_prompt='Name it.')\n"
        "endpoint = running_endpoint(\n"
        "    [ServedModel('topic-1', task, None)], base_gguf=Path(sys.argv[1]), recorder=lambda call: None,\n"
        "    log_file=Path(sys.argv[2]), threads=1)\n"
        "serve(endpoint, on_ready=lambda url: print(url, flush=True))\n"
        "print('ended', flush=True)\n"
    )
    command = [sys.executable, "-W", "error", "-c", program, str(tiny.base_gguf), str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        served = Served(process.stdout.readline().strip())
        assert ask(served.client, "topic").choices[0].message.content in {"a", "b"}
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (out, err, process.returncode) == ("ended\n", "", 0)


def test_signals_are_given_back_after_serving(served: Served) -> None:
    before = signal.getsignal(signal.SIGTERM)

    @contextmanager
    def endpoint() -> Iterator[str]:
        yield "http://127.0.0.1:1/v1"

    serve(endpoint(), on_ready=lambda _: os.kill(os.getpid(), signal.SIGTERM))
    assert signal.getsignal(signal.SIGTERM) is before
