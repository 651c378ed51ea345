from __future__ import annotations

import logging
import os
import signal
from typing import TYPE_CHECKING

import openai
import pytest

from freehold.serving._app import EndpointApp
from freehold.serving.cpu_engine import CpuEngine
from freehold.serving.endpoint import ServedModel, _listen, _running_server
from tests.serving.endpoints import TOPIC, Served, ask, begin, break_off, endpoint_over, event, piece, refuse

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

    from freehold.core.call import Call
    from tests.serving.conftest import TinyModel


def complain_midway(handler: BaseHTTPRequestHandler) -> None:
    begin(handler)
    event(handler, {"error": {"code": 500, "message": "out of slots", "type": "server_error"}})


def complain_by_name(handler: BaseHTTPRequestHandler) -> None:
    begin(handler)
    handler.wfile.write(b'error: {"code": 500, "message": "out of slots", "type": "server_error"}\n\n')


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
    calls: list[Call] = []
    with (
        caplog.at_level(logging.ERROR),
        endpoint_over(refuse, calls.append) as served,
        pytest.raises(openai.InternalServerError) as caught,
    ):
        ask(served.client, "topic")
    assert caught.value.code == "internal_error"
    assert "a bug" in caplog.text
    assert [(call.status, call.error_type, call.response) for call in calls] == [(500, "internal_error", None)]


def test_a_fault_after_the_first_byte_closes_the_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("freehold.serving._exchange.Exchange.chunk", fail)
    calls: list[Call] = []

    def write(handler: BaseHTTPRequestHandler) -> None:
        begin(handler)
        event(handler, piece("card_lost", "stop"))
        event(handler, "[DONE]")

    with (
        caplog.at_level(logging.ERROR),
        endpoint_over(write, calls.append) as served,
        pytest.raises(openai.APIConnectionError),
    ):
        list(ask(served.client, "topic", stream=True))
    assert "a bug" in caplog.text
    assert [(call.status, call.error_type) for call in calls] == [(500, "internal_error")]


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
