"""Spans of calls: at a real OTLP receiver, at a dead one, and in the conventions' words."""

from __future__ import annotations

import gzip
import http.server
import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from freehold.cli.gateway_spans import check_spans
from freehold.core.errors import InputError
from freehold.gateway.watch.metrics import Counters
from freehold.gateway.watch.span_names import SpanProvider, is_latest, span_attributes, span_name
from freehold.gateway.watch.spans import DROPPED, SpanFeed, channel, place_of, read_told
from freehold.ledger.records import CloseRecord, OpenRecord, new_call_id
from tests.gateway.test_gateway_command import CHAT, process, send, settings_of
from tests.gateway.upstream import ScriptedUpstream, answer, chat_events, completion, stream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEAD = OpenRecord(
    task="support", started_at_us=1_000_000, endpoint=CHAT, dialect="openai-chat", provider="fake",
    model_requested="gpt-5.4", stream=True, route="rent", request_id="r-1",
)  # fmt: skip
TAIL = CloseRecord(
    duration_ms=250.0, ttft_ms=40.0, status=200, model_served="gpt-5.4-2026", completion_id="c-1", finish_reason="stop",
    input_tokens=7, output_tokens=3, cache_write_tokens=2,
)  # fmt: skip


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes what an OpenTelemetry collector takes, and reads it by OpenTelemetry's own protocol files."""

    spans: list[tuple[Any, Any]]
    bodies: list[bytes]

    def do_POST(self) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        assert self.path == "/v1/traces"
        type(self).bodies.append(body)
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in group.scope_spans:
                type(self).spans += [(group.resource, span) for span in scope.spans]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Tests are quiet."""


@contextmanager
def collector() -> Iterator[tuple[str, type[Collector]]]:
    class Own(Collector):
        spans: list[tuple[Any, Any]] = []  # noqa: RUF012 (of this one collector)
        bodies: list[bytes] = []  # noqa: RUF012

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Own)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", Own
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def values(span: Any) -> dict[str, Any]:
    found = {}
    for pair in span.attributes:
        kind = pair.value.WhichOneof("value")
        value = getattr(pair.value, kind)
        found[pair.key] = [one.string_value for one in value.values] if kind == "array_value" else value
    return found


def test_calls_become_spans_at_a_collector_in_the_clients_trace_and_without_content(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed")
    upstream.scripts = [
        answer(completion("a secret answer")), stream(chat_events("one", "two")), answer({"error": {}}, status=400),
    ]  # fmt: skip
    with collector() as (url, got):
        settings = settings_of(upstream, f'retries = 0\n[gateway.spans]\nendpoint = "{url}"\n')
        with process(tmp_path, settings, "--workers", "2") as (child, port):
            asked = json.dumps({"model": "m", "messages": [{"role": "user", "content": "a secret prompt"}]}).encode()
            traced = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x_freehold_task": "support", "x_request_id": "mine"}
            assert send(port, CHAT, asked, **traced)[0] == 200
            assert send(port, CHAT, b'{"model":"m","stream":true}')[0] == 200
            assert send(port, CHAT, b'{"model":"m"}')[0] == 400
            assert send(port, CHAT, asked, traceparent=f"00-{TRACE}-{PARENT}-00")[0] == 400  # its client records none
            assert upstream.seen[0].header("traceparent") == traced["traceparent"]  # it passes unchanged
            child.terminate()
            assert child.wait(40) == 0  # what was told is sent before the gateway ends
        assert len(got.spans) == 3
        resource, first = got.spans[0]
        assert {one.key: one.value.string_value for one in resource.attributes}["service.name"] == "freehold-gateway"
        assert (first.name, first.kind) == ("chat m", 3)  # CLIENT
        assert (first.trace_id.hex(), first.parent_span_id.hex()) == (TRACE, PARENT)
        told = values(first)
        assert told["gen_ai.provider.name"] == "openai"
        assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (7, 3)
        assert told["gen_ai.response.finish_reasons"] == ["stop"]
        assert (told["freehold.task"], told["freehold.request_id"]) == ("support", "mine")
        assert (told["server.address"], told["server.port"]) == ("127.0.0.1", upstream.port)
        assert first.end_time_unix_nano >= first.start_time_unix_nano > 1e18
        by_name = [values(span) for _, span in got.spans]
        assert [one.get("gen_ai.request.stream") for one in by_name].count(True) == 1
        failed = next(span for _, span in got.spans if "error.type" in values(span))
        assert (failed.status.code, values(failed)["error.type"]) == (2, "400")
        assert b"secret" not in b"".join(got.bodies)


def test_a_dead_collector_neither_slows_nor_loses_a_call(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed")
    upstream.scripts = [answer(completion())]
    settings = settings_of(upstream, '[gateway.spans]\nendpoint = "http://127.0.0.1:9"\n')
    with process(tmp_path, settings) as (child, port):
        assert [send(port, CHAT, b'{"model":"m"}')[0] for _ in range(200)] == [200] * 200
        child.terminate()
        assert child.wait(60) == 0


def test_when_nobody_reads_spans_are_dropped_and_counted_and_nobody_waits(tmp_path: Path) -> None:
    reader, writer = channel()
    assert not writer.getblocking()
    counters = Counters(tmp_path, "w0")
    feed = SpanFeed(writer, counters, sample=1.0)
    for _ in range(20_000):
        feed(new_call_id(), HEAD, TAIL)
    dropped = float(next(line for line in counters.page().decode().splitlines() if line.startswith(DROPPED)).split()[1])
    assert 0 < dropped < 20_000
    reader.setblocking(False)
    told = 0
    try:
        while True:
            assert read_told(reader.recv(1 << 20)).head == HEAD
            told += 1
    except BlockingIOError:
        pass
    assert told + dropped == 20_000
    reader.close()
    writer.close()


def test_names_are_those_of_the_convention_that_was_chosen() -> None:
    provider = SpanProvider("azure", "x.example", 443)
    now = span_attributes(HEAD, TAIL, provider, latest=False)
    assert span_name(HEAD) == "chat gpt-5.4"
    assert now == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "azure.ai.openai", "gen_ai.request.model": "gpt-5.4",
        "gen_ai.request.stream": True, "gen_ai.response.id": "c-1", "gen_ai.response.model": "gpt-5.4-2026",
        "gen_ai.response.finish_reasons": ("stop",), "gen_ai.response.time_to_first_chunk": 0.04,
        "gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 3,
        "gen_ai.usage.cache_creation.input_tokens": 2, "http.response.status_code": 200, "server.address": "x.example",
        "server.port": 443, "freehold.task": "support", "freehold.route": "rent", "freehold.provider": "fake",
        "freehold.request_id": "r-1",
    }  # fmt: skip
    assert set(span_attributes(HEAD, TAIL, provider, latest=True)) - set(now) == {
        "gen_ai.usage.cache_write.input_tokens"
    }
    assert is_latest({"OTEL_SEMCONV_STABILITY_OPT_IN": "http, gen_ai_latest_experimental"})
    assert not is_latest({})


def test_a_traceparent_that_is_none_begins_a_new_trace() -> None:
    call_id = bytes(range(16))
    for wrong in (None, "", "00", f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-0x"):
        place = place_of(call_id, wrong, sample=1.0)
        assert place is not None
        assert (place.trace_id, place.parent_id) == (int.from_bytes(call_id), None)
    assert place_of(call_id, None, sample=0.0) is None
    assert place_of(call_id, f"00-{TRACE}-{PARENT}-01", sample=0.0) is not None  # a trace is recorded as a whole
    kept = sum(place_of(new_call_id(), None, sample=0.25) is not None for _ in range(4000))
    assert 800 < kept < 1200


def test_an_endpoint_that_is_no_address_is_refused_at_the_start() -> None:
    with pytest.raises(InputError, match="is no address, such as"):
        check_spans("localhost:4318")
