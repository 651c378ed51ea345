"""Providers that fail in every way they know, and clients that try what they should not."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from freehold.gateway.providers.breaker import Breaker
from freehold.ledger.segments import SegmentWriter
from tests.gateway.conftest import running_gateway, setup_from
from tests.gateway.upstream import (
    DONE,
    STREAM_HEAD,
    USAGE_EVENT,
    ScriptedUpstream,
    Seen,
    answer,
    chat_events,
    chunk,
    completion,
    held_back,
    raw,
    stream,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from freehold.ledger.records import CloseRecord
    from freehold.ledger.waiting import GrowingBody
    from tests.gateway.conftest import Running

CHAT = "/v1/chat/completions"
ASK = b'{"model":"m","messages":[]}'
ASK_STREAM = b'{"model":"m","messages":[],"stream":true}'
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


def error_of(body: bytes) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def closes(gateway: Running, count: int) -> list[CloseRecord]:
    rows = gateway.closed_rows(count)
    assert len(rows) == count
    return [row.close for row in rows if row.close is not None]


def two(first: str, second: str, **more: Any) -> dict[str, Any]:
    """Settings of two providers, the second of which is asked when the first one fails."""
    one = {"base_url": first, "retries": 0, "idle_timeout_s": 5.0, **more}
    return {
        "providers": {"one": one, "two": {"base_url": second, "retries": 0}},
        "gateway": {"models": {"*": ["one", "two/other-name"]}},
    }


@pytest.mark.parametrize(
    ("data", "options", "code"),
    [
        (b"", {}, "upstream_closed"),
        (b"", {"resets": True}, "upstream_closed"),
        (OK + b"content-length: 100\r\n\r\n{", {}, "upstream_closed"),
        (OK + b"content-length: 100\r\n\r\n{", {"resets": True}, "upstream_closed"),
        (OK + b"transfer-encoding: chunked\r\n\r\n5\r\nab", {}, "upstream_closed"),
        (OK + b"content-le", {}, "upstream_closed"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", {}, "upstream_protocol"),
        (OK + b"content-length: -5\r\n\r\n", {}, "upstream_protocol"),
    ],
)
def test_a_provider_that_breaks_off_is_a_502_and_a_row(
    gateway: Running, upstream: ScriptedUpstream, data: bytes, options: dict[str, bool], code: str
) -> None:
    upstream.scripts = [raw(data, **options)]
    status, _, body = gateway.post(CHAT, ASK)

    assert (status, error_of(body)["code"]) == (502, code)
    (close,) = closes(gateway, 1)
    assert (close.status, close.error_type) == (None, code)


def test_an_answer_longer_than_it_said_is_cut_at_what_it_said(gateway: Running, upstream: ScriptedUpstream) -> None:
    upstream.scripts = [raw(OK + b"content-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\nevil: 1\r\n\r\n", closes=False)]

    assert gateway.post(CHAT, ASK)[2] == b"{}"
    assert gateway.post(CHAT, ASK)[2] == b"{}"


def test_a_provider_that_stalls_is_a_504(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    async def stalls(seen: Seen, writer: asyncio.StreamWriter) -> None:
        del seen, writer

    stalls.watches = True  # type: ignore[attr-defined]
    upstream.scripts = [stalls]
    settings = {"providers": {"fake": {"base_url": upstream.base_url, "idle_timeout_s": 0.2}}}
    with running_gateway(tmp_path, settings) as gateway:
        status, _, body = gateway.post(CHAT, ASK)
        assert (status, error_of(body)["code"]) == (504, "upstream_timeout")
        status, _, body = gateway.post(CHAT, ASK, x_freehold_timeout_s="0.05")
        assert (status, error_of(body)["code"]) == (504, "upstream_timeout")
        assert {close.error_type for close in closes(gateway, 2)} == {"upstream_timeout"}
        assert 0 < float(upstream.seen[1].header("x-freehold-timeout-s") or 0) <= 0.05


def test_a_stream_that_dies_ends_with_an_error_event_and_without_an_end(
    gateway: Running, upstream: ScriptedUpstream
) -> None:
    first = chat_events("a")[:2]
    upstream.scripts = [stream([*first, b"data: {half"], ends=False)]
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(
            b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s"
            % (CHAT.encode(), len(ASK_STREAM), ASK_STREAM)
        )
        got = b"".join(iter(lambda: client.recv(65536), b""))

    assert not got.endswith(b"0\r\n\r\n")
    assert first[1] in got
    assert b'"code":"upstream_closed"' in got
    assert b"{half" not in got
    (close,) = closes(gateway, 1)
    assert (close.status, close.error_type) == (200, "upstream_closed")
    assert gateway.rows()[0].response == b"".join(first) + b"data: {half"


def test_a_reset_after_the_last_event_harms_nobody(gateway: Running, upstream: ScriptedUpstream) -> None:
    upstream.scripts = [stream(chat_events("a"), ends=False)]
    _, _, got = gateway.post(CHAT, ASK_STREAM)

    assert got == b"".join(chat_events("a", usage=False))
    assert closes(gateway, 1)[0].error_type is None


class NeighbourlyWriter(SegmentWriter):
    """A writer that other calls use, too: right after a record is closed it is safe, then their pieces wait."""

    is_quiet = True
    waits = 0

    @property
    def is_durable(self) -> bool:
        return self.is_quiet

    def closed(self, call_id: bytes, tail: CloseRecord, body: bytes = b"") -> None:
        super().closed(call_id, tail, body)
        self.is_quiet = True

    def response_of(self, call_id: bytes) -> GrowingBody:
        self.is_quiet = False
        return super().response_of(call_id)

    async def durable(self) -> None:
        self.waits += 1


def test_a_stream_that_is_on_record_does_not_wait_for_the_pieces_of_others(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    writers: list[NeighbourlyWriter] = []

    def made(folder: Path) -> NeighbourlyWriter:
        writers.append(NeighbourlyWriter(folder, worker="w0", min_free_bytes=0))
        return writers[0]

    async def good_bye(seen: Any, writer: asyncio.StreamWriter) -> None:
        await stream(chat_events("a", "b"), ends=None)(seen, writer)
        await asyncio.sleep(0.1)  # in a packet of its own
        writer.write(chunk(b": good-bye\n\n") + b"0\r\n\r\n")

    upstream.scripts = [good_bye]
    settings = {"providers": {"fake": {"base_url": upstream.base_url}}}
    with running_gateway(tmp_path, settings, writer=made) as gateway:
        got = gateway.post(CHAT, ASK_STREAM)[2]
    assert got.endswith(b"[DONE]\n\n: good-bye\n\n")
    assert writers[0].waits == 0


def test_events_may_come_in_any_pieces_and_usage_twice(gateway: Running, upstream: ScriptedUpstream) -> None:
    data = b"".join([*chat_events("é", "\u2028")[:-1], USAGE_EVENT, DONE])
    upstream.scripts = [stream([data[at : at + 7] for at in range(0, len(data), 7)])]
    _, _, got = gateway.post(CHAT, ASK_STREAM)

    assert got == b"".join(chat_events("é", "\u2028", usage=False))
    page = gateway.post("/metrics", b"", method="GET")[2]
    assert b'direction="output"} 3\n' in page  # told twice, counted once


def test_bytes_that_are_no_utf8_pass_both_ways(gateway: Running, upstream: ScriptedUpstream) -> None:
    pieces = [b'data: {"choices":[{"delta":{"content":"\xff\xc3"}}]}\n\n', b"\xfe\x00\n\n", DONE]
    sent = b'{"model":"m","stream":true,"messages":["\xff\xfe"]}'
    upstream.scripts = [stream(pieces), answer(b"\xff\xfe{")]

    assert gateway.post(CHAT, sent)[2] == b"".join(pieces)
    assert b"\xff\xfe" in upstream.seen[0].body
    assert gateway.post(CHAT, b"\xff{no json")[2] == b"\xff\xfe{"
    assert upstream.seen[1].body == b"\xff{no json"


def test_packed_answers_pass_packed_and_are_still_counted(gateway: Running, upstream: ScriptedUpstream) -> None:
    packed = gzip.compress(json.dumps(completion()).encode())
    upstream.scripts = [answer(packed, content_encoding="gzip")]
    _, headers, got = gateway.post(CHAT, ASK, accept_encoding="gzip")

    assert (headers["content-encoding"], got) == ("gzip", packed)
    assert upstream.seen[0].header("accept-encoding") == "gzip"
    assert b'direction="input"} 7\n' in gateway.post("/metrics", b"", method="GET")[2]


def test_a_packed_stream_loses_the_usage_that_was_not_asked_for_all_the_same(
    gateway: Running, upstream: ScriptedUpstream
) -> None:
    packed = gzip.compress(b"".join(chat_events("a")))
    head = STREAM_HEAD.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")
    upstream.scripts = [stream([packed[:20], packed[20:]], head=head)]
    _, headers, got = gateway.post(CHAT, ASK_STREAM, accept_encoding="gzip")

    assert upstream.seen[0].header("accept-encoding") == "identity"
    assert "content-encoding" not in headers
    assert got == b"".join(chat_events("a", usage=False))
    asked = b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}'
    _, headers, got = gateway.post(CHAT, asked, accept_encoding="gzip")
    assert (headers["content-encoding"], got) == ("gzip", packed)


def test_a_decompression_bomb_is_not_unpacked(gateway: Running, upstream: ScriptedUpstream) -> None:
    bomb = gzip.compress(b"data: x\n\n" + b" " * (64 << 20))
    head = STREAM_HEAD.replace(b"\r\n\r\n", b"\r\ncontent-encoding: gzip\r\n\r\n")
    upstream.scripts = [answer(bomb, content_encoding="gzip"), stream([bomb], head=head)]

    assert gateway.post(CHAT, ASK)[2] == bomb
    with pytest.raises(http.client.IncompleteRead) as caught:
        gateway.post(CHAT, ASK_STREAM)
    assert b"upstream_protocol" in caught.value.partial


@pytest.mark.parametrize("status", [429, 500, 502, 503, 529])
def test_a_refusal_is_tried_again_and_each_attempt_is_a_row(
    upstream: ScriptedUpstream, tmp_path: Path, status: int
) -> None:
    upstream.scripts = [answer({"error": {}}, status=status, retry_after="0"), answer(completion())]
    settings = {"providers": {"fake": {"base_url": upstream.base_url, "retries": 1}}}
    with running_gateway(tmp_path, settings) as gateway:
        assert gateway.post(CHAT, ASK)[0] == 200
        rows = gateway.closed_rows(2)
        assert [row.close.status for row in rows if row.close] == [status, 200]
        assert rows[1].open is not None
        assert rows[1].open.parent_id == rows[0].id


def test_a_pause_that_is_too_long_is_left_to_the_client(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.scripts = [answer({"error": {"message": "slow down"}}, status=429, retry_after="3600")]
    settings = {"providers": {"fake": {"base_url": upstream.base_url, "retries": 3}}}
    with running_gateway(tmp_path, settings) as gateway:
        status, headers, body = gateway.post(CHAT, ASK)
    assert (status, headers["retry-after"], json.loads(body)["error"]["message"]) == (429, "3600", "slow down")
    assert len(upstream.seen) == 1


def test_what_changes_something_is_not_tried_again_unless_it_is_marked(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.scripts = [answer({}, status=503, retry_after="0")]
    settings = {"providers": {"fake": {"base_url": upstream.base_url, "retries": 1}}}
    with running_gateway(tmp_path, settings) as gateway:
        gateway.post("/v1/batches", b"{}")
        assert len(upstream.seen) == 1
        gateway.post("/v1/batches", b"{}", idempotency_key="x")
        assert len(upstream.seen) == 3


def test_the_next_provider_answers_when_one_cannot_be_reached(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.scripts = [answer(completion())]
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
    with running_gateway(tmp_path, two(nowhere, upstream.base_url)) as gateway:
        assert gateway.post(CHAT, ASK)[0] == 200
        rows = gateway.closed_rows(2)
    assert [row.close.error_type for row in rows if row.close] == ["connect_failed", None]
    assert [row.open.provider for row in rows if row.open] == ["one", "two"]
    assert upstream.seen[0].json["model"] == "other-name"


@pytest.mark.parametrize("script", [raw(STREAM_HEAD), raw(b""), answer({"error": {}}, status=500)])
def test_a_stream_falls_back_before_its_first_byte(tmp_path: Path, script: Any) -> None:
    with (
        ScriptedUpstream([script]) as one,
        ScriptedUpstream([stream(chat_events("a"))]) as other,
        running_gateway(tmp_path, two(one.base_url, other.base_url)) as gateway,
    ):
        _, _, got = gateway.post(CHAT, ASK_STREAM)
        assert got == b"".join(chat_events("a", usage=False))
        assert len(gateway.closed_rows(2)) == 2


def test_a_stream_that_has_begun_is_never_begun_again(tmp_path: Path) -> None:
    broken = stream(chat_events("a")[:1], ends=False)
    with (
        ScriptedUpstream([broken]) as one,
        ScriptedUpstream([stream(chat_events("b"))]) as other,
        running_gateway(tmp_path, two(one.base_url, other.base_url)) as gateway,
    ):
        with pytest.raises(http.client.IncompleteRead):
            gateway.post(CHAT, ASK_STREAM)
        assert other.seen == []


def test_a_provider_that_fails_again_and_again_is_left_alone(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.scripts = [answer({"error": {}}, status=500)]
    settings = {"providers": {"fake": {"base_url": upstream.base_url, "retries": 0}}}
    with running_gateway(tmp_path, settings) as gateway:
        assert [gateway.post(CHAT, ASK)[0] for _ in range(5)] == [500] * 5
        status, headers, body = gateway.post(CHAT, ASK)
        assert (status, error_of(body)["code"]) == (503, "provider_resting")
        assert int(headers["retry-after"]) >= 1
        assert len(upstream.seen) == 5


def test_a_breaker_lets_one_call_try_and_waits_longer_each_time() -> None:
    now = [0.0]
    breaker = Breaker(clock=lambda: now[0])
    for _ in range(5):
        assert breaker.admit()
        breaker.failed()
    assert not breaker.admit()
    now[0] = 2.5
    assert [breaker.admit(), breaker.admit()] == [True, False]
    breaker.failed()
    now[0] = 5.0
    assert not breaker.admit()
    now[0] = 7.0
    assert breaker.admit()
    breaker.let_go()
    assert breaker.admit()
    breaker.succeeded()
    assert [breaker.admit() for _ in range(3)] == [True] * 3


def test_a_connection_that_was_closed_while_it_waited_costs_nobody_an_error(
    gateway: Running, upstream: ScriptedUpstream
) -> None:
    async def closes_later(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.connection == 1 and len(upstream.seen) == 2:
            writer.close()  # as a server does whose keep-alive ran out just now
        else:
            await answer(completion())(seen, writer)

    upstream.scripts = [closes_later]
    assert [gateway.post(CHAT, ASK)[0] for _ in range(2)] == [200, 200]
    assert [seen.connection for seen in upstream.seen] == [1, 1, 2]
    assert [close.error_type for close in closes(gateway, 3)] == [None, "upstream_closed", None]


def test_a_body_of_24_megabytes_passes_in_pieces(gateway: Running, upstream: ScriptedUpstream) -> None:
    upstream.scripts = [answer(completion())]
    picture = b"A" * (24 << 20)
    sent = b'{"messages":[{"role":"user","content":"' + picture + b'"}],"stream":false,"model":"at the end"}'
    status, _, _ = gateway.post(CHAT, sent)

    assert status == 200
    assert upstream.seen[0].body == sent
    row = gateway.closed_rows(1)[0]
    assert row.request == sent
    assert row.open is not None
    assert row.open.model_requested == "at the end"


def test_a_large_stream_request_gets_its_option_though_it_goes_through_a_file(
    gateway: Running, upstream: ScriptedUpstream
) -> None:
    upstream.scripts = [stream(chat_events("a"))]
    sent = b' {"messages":["' + b"B" * (3 << 20) + b'"],"stream":true,"model":"m"}'
    _, _, got = gateway.post(CHAT, sent)

    assert got == b"".join(chat_events("a", usage=False))
    assert upstream.seen[0].body == b' {"stream_options":{"include_usage":true},' + sent[2:]


def test_large_answers_pass_as_they_come(gateway: Running, upstream: ScriptedUpstream) -> None:
    vectors = json.dumps({"data": [0.123456] * 300_000, "usage": {"prompt_tokens": 21, "total_tokens": 21}}).encode()
    upstream.scripts = [answer(vectors)]

    assert gateway.post("/v1/embeddings", ASK)[2] == vectors
    assert gateway.closed_rows(1)[0].response == vectors
    assert b'direction="input"} 21\n' in gateway.post("/metrics", b"", method="GET")[2]


def exchange(gateway: Running, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as client:
        client.sendall(data)
        try:
            return b"".join(iter(lambda: client.recv(65536), b""))
        except ConnectionResetError:
            return b"reset"


@pytest.mark.parametrize(
    "head",
    [
        b"content-length: 5\r\ntransfer-encoding: chunked\r\n",
        b"content-length: 5\r\ncontent-length: 6\r\n",
        b"transfer-encoding: chunked, identity\r\n",
        b"content-length: +5\r\n",
        b"x: a\rb\r\n",
        b"bad header: x\r\n",
    ],
)
def test_requests_that_two_servers_could_read_in_two_ways_are_refused(
    gateway: Running, upstream: ScriptedUpstream, head: bytes
) -> None:
    got = exchange(gateway, b"POST /v1/x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" + head + b"\r\n0\r\n\r\n{}")

    assert got.startswith(b"HTTP/1.1 400")
    assert upstream.seen == []


def test_headers_without_end_are_refused_and_too_many_too(gateway: Running, upstream: ScriptedUpstream) -> None:
    start = b"GET /v1/models HTTP/1.1\r\nhost: x\r\n"

    assert exchange(gateway, start + b"x: " + b"a" * 100_000).startswith((b"HTTP/1.1 431", b"reset"))
    assert exchange(gateway, start + b"a: b\r\n" * 300 + b"\r\n").startswith((b"HTTP/1.1 431", b"reset"))
    assert upstream.seen == []


def test_bodies_beyond_the_limit_and_silent_clients_are_refused(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    settings = {
        "providers": {"fake": {"base_url": upstream.base_url}},
        "gateway": {"max_body_mb": 2, "client_timeout_s": 0.2},
    }
    with running_gateway(tmp_path, settings) as gateway:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
        assert exchange(gateway, head + b"content-length: 3000000\r\n\r\n").startswith(b"HTTP/1.1 413")
        chunked = head + b"transfer-encoding: chunked\r\n\r\n" + chunk(b"a" * 3_000_000)
        assert exchange(gateway, chunked).startswith((b"HTTP/1.1 413", b"reset"))
        assert exchange(gateway, head + b"content-length: 30\r\n\r\n{").startswith(b"HTTP/1.1 408")
        assert upstream.seen == []
        assert gateway.post(CHAT, ASK, content_encoding="gzip")[0] == 415


@pytest.mark.parametrize(
    "path", ["/", "/v2/x", "/v1/../admin", "/v1/%2e%2e/admin", "/v1/a%2fb", "//evil/v1/x", "/v1\\x", "/admin"]
)
def test_paths_lead_nowhere_else(gateway: Running, upstream: ScriptedUpstream, path: str) -> None:
    status, _, body = gateway.post(path, b"", method="GET")

    assert (status, error_of(body)["code"]) == (404, "unknown_path")
    assert upstream.seen == []


def test_a_request_id_that_could_split_a_header_is_not_repeated(gateway: Running, upstream: ScriptedUpstream) -> None:
    upstream.scripts = [answer(completion(), x_request_id="req_9")]

    assert gateway.post(CHAT, ASK, x_request_id="a b")[1]["x-request-id"] == "req_9"
    headers = gateway.post(CHAT, ASK, x_request_id="mine")[1]
    assert (headers["x-request-id"], headers["x-upstream-request-id"]) == ("mine", "req_9")


def test_a_reload_changes_what_comes_and_not_what_is_under_way(
    gateway: Running, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.scripts = [held_back(upstream)]
    with (
        ScriptedUpstream([answer(completion("from the new one"))]) as other,
        socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as client,
    ):
        client.sendall(
            b"POST %s HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"
            % (CHAT.encode(), len(ASK_STREAM), ASK_STREAM)
        )
        assert upstream.arrived.wait(10)
        setup = setup_from(tmp_path, {"providers": {"new": {"base_url": other.base_url}}})
        gateway.loop.call_soon_threadsafe(gateway.app.reload, setup)
        assert b"from the new one" in gateway.post(CHAT, ASK)[2]
        upstream.go_on.set()
        got = b"".join(iter(lambda: client.recv(65536), b""))
    assert DONE in got
    assert got.endswith(b"0\r\n\r\n")


def test_a_full_ledger_takes_no_calls_and_says_so(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    from freehold.ledger.segments import SegmentWriter

    def full(folder: Path) -> SegmentWriter:
        return SegmentWriter(folder, worker="w0", min_free_bytes=1 << 60)

    settings = {"providers": {"fake": {"base_url": upstream.base_url}}}
    with running_gateway(tmp_path, settings, writer=full) as gateway:
        status, headers, body = gateway.post(CHAT, ASK)
        assert (status, error_of(body)["code"], headers["retry-after"]) == (503, "ledger_full", "1")
        assert gateway.post("/readyz", b"", method="GET")[0] == 503
        assert gateway.post("/healthz", b"", method="GET")[0] == 200
    assert upstream.seen == []


def test_shutting_down_lets_a_call_end_and_records_one_that_does_not(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    async def never(seen: Seen, writer: asyncio.StreamWriter) -> None:
        del seen
        writer.write(STREAM_HEAD + chunk(chat_events("a")[0]))
        await writer.drain()

    never.watches = True  # type: ignore[attr-defined]
    upstream.scripts = [never]
    settings = {"providers": {"fake": {"base_url": upstream.base_url}}}
    with running_gateway(tmp_path, settings, drain_s=1) as gateway:
        client = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
        client.sendall(
            b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s"
            % (CHAT.encode(), len(ASK_STREAM), ASK_STREAM)
        )
        assert upstream.arrived.wait(10)
        assert client.recv(10)
        began = time.monotonic()
        gateway.stop()
        assert gateway.over.wait(20)
        assert time.monotonic() - began < 15
        client.close()
    (close,) = closes(gateway, 1)
    assert (close.error_type, close.status) == ("shutdown", None)


MANY: Mapping[str, Any] = {
    "providers": {
        "openai": {"base_url": "http://a.example"},
        "claude": {"base_url": "http://b.example", "dialect": "anthropic", "prefixes": ["claude-"]},
        "own": {"base_url": "http://c.example/v1/", "models": {"mine": "mine-v2"}, "route": "own"},
    },
    "gateway": {"models": {"fast": "openai/gpt-mini", "fast-*": ["own", "openai"]}},
}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("fast", [("openai", "gpt-mini")]),
        ("fast-2", [("own", None), ("openai", None)]),
        ("mine", [("own", "mine-v2")]),
        ("claude-x", [("claude", None)]),
        ("openai/gpt-x", [("openai", "gpt-x")]),
        ("nobody/x", None),
        (None, None),
    ],
)
def test_models_find_their_providers(tmp_path: Path, model: str | None, expected: list[Any] | None) -> None:
    from freehold.gateway.refusal import Refused

    routes = setup_from(tmp_path, MANY).routes
    if expected is None:
        with pytest.raises(Refused, match="model") as caught:
            routes.targets(model, is_anthropic=False)
        assert caught.value.status == 404
        assert [one.provider.name for one in routes.targets(model, is_anthropic=True)] == ["claude"]
    else:
        targets = routes.targets(model, is_anthropic=False)
        assert [(one.provider.name, one.model) for one in targets] == expected


def test_wrong_settings_are_told_all_at_once_and_without_the_key(tmp_path: Path) -> None:
    from freehold.core.errors import InputError

    providers = {
        "a": {"base_url": "ftp://x", "api_key_env": "MISSING", "ca_file": "no.pem"},
        "b": {"base_url": "http://user:secret-word@x/v1?y", "headers": {"x": "a\r\nb: c"}},
        "c": {"base_url": "http://x", "api_key_env": "BAD"},
    }
    settings = {"providers": providers, "gateway": {"models": {"m": "nobody"}, "default_provider": "zz"}}
    with pytest.raises(InputError) as caught:
        setup_from(tmp_path, settings, environment={"BAD": "key\nsplit-secret"})
    told = str(caught.value)
    for words in ("http://", "MISSING", "no.pem", "credential", "'?'", "'x' holds", "line break", "nobody", "zz"):
        assert words in told
    assert "secret" not in told
    with pytest.raises(InputError, match="No provider"):
        setup_from(tmp_path, {})
