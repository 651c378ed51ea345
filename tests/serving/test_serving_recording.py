from __future__ import annotations

import json
import logging
import queue
import socket
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import openai
import pytest

from tests.serving.endpoints import QUESTION, Served, ask, begin, endpoint_over, event, piece

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler

    from freehold.core.call import Call


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
