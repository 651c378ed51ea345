"""Providers that speak another HTTP, lie about what they send, or fail by the hundred."""

from __future__ import annotations

import gzip
import http.client
import json
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from freehold.ledger.ingest import ingest
from freehold.ledger.store import Ledger
from tests.gateway.conftest import running_gateway
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
    event,
    raw,
    stream,
)

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from tests.gateway.conftest import Running

CHAT = "/v1/chat/completions"
ASK = b'{"model":"m","messages":[]}'
ASK_STREAM = b'{"model":"m","messages":[],"stream":true}'
BODY = json.dumps(completion("hello")).encode()
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
LENGTH = b"content-length: %d\r\n\r\n" % len(BODY)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n" + BODY,
        b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n" + LENGTH + BODY,
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n" + LENGTH + BODY,
        OK + b"\r\n" + BODY,
        OK + b"connection: close\r\n" + LENGTH + BODY,
        b"HTTP/1.1 200\r\n" + LENGTH + BODY,
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK + LENGTH + BODY,
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + OK + LENGTH + BODY,
        OK + b"transfer-encoding: chunked\r\n\r\n%x;ext=1\r\n%s\r\n0\r\nx-trailer: 1\r\n\r\n" % (len(BODY), BODY),
    ],
    ids=[
        "1.0 to the end of the connection", "1.0 with a length", "1.0 kept alive", "1.1 to the end of the connection",
        "closes after it", "no reason", "a 100 before it", "a 102 and a 103 before it", "extensions and trailers",
    ],
)  # fmt: skip
def test_old_and_odd_answers_are_answers(gateway: Running, upstream: ScriptedUpstream, data: bytes) -> None:
    upstream.scripts = [raw(data)]
    for _ in range(2):
        status, headers, got = gateway.post(CHAT, ASK)
        assert (status, got) == (200, BODY)
        assert headers.get("link") is headers.get("x-trailer") is None
    rows = [row for row in gateway.closed_rows(2) if row.close and row.close.status]
    assert [row.response for row in rows] == [BODY] * 2


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nraw",
        OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        OK + b"transfer-encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}",
        OK + b"x: a\rset-cookie: b=c\r\n" + LENGTH + BODY,
        OK + b"x\x00y: a\r\n" + LENGTH + BODY,
        OK + b"x: " + b"a" * 2_000_000 + b"\r\n" + LENGTH + BODY,
        b"HTTP/1.1 99 X\r\n" + LENGTH + BODY,
        b"HTTP/9.9 200 OK\r\n" + LENGTH + BODY,
        b"\x00" * 2000,
    ],
    ids=[
        "switches protocols", "a length and chunks", "two lengths", "a negative chunk", "an endless chunk",
        "a return in a header", "a zero byte in a name", "2 MB of headers", "status 99", "HTTP/9.9", "zeros",
    ],
)  # fmt: skip
def test_what_is_no_answer_is_a_502_and_a_row_and_the_connection_is_not_used_again(
    gateway: Running, upstream: ScriptedUpstream, data: bytes
) -> None:
    upstream.scripts = [raw(data), answer(BODY)]
    status, headers, got = gateway.post(CHAT, ASK)

    code = json.loads(got)["error"]["code"]
    assert (status, code in {"upstream_protocol", "upstream_closed"}) == (502, True)
    assert "set-cookie" not in headers
    assert gateway.post(CHAT, ASK)[2] == BODY
    assert [seen.connection for seen in upstream.seen] == [1, 2]
    assert [row.close.error_type for row in gateway.closed_rows(2) if row.close] == [code, None]


def test_bytes_behind_an_answer_are_never_taken_for_the_next_one(gateway: Running, upstream: ScriptedUpstream) -> None:
    forged = b'HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n"forged"'
    upstream.scripts = [raw(OK + LENGTH + BODY + forged, closes=False), answer(b'"real"')]

    assert gateway.post(CHAT, ASK)[2] == BODY
    assert gateway.post(CHAT, ASK)[2] == b'"real"'


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body_end_with_their_head(gateway: Running, upstream: ScriptedUpstream, status: int) -> None:
    upstream.scripts = [raw(b"HTTP/1.1 %d X\r\netag: a\r\n\r\n" % status, closes=False)]

    assert gateway.post("/v1/models", b"", method="GET")[0] == status
    assert gateway.post("/v1/models", b"", method="GET")[0] == status


def test_a_redirect_is_passed_on_and_not_followed(gateway: Running, upstream: ScriptedUpstream) -> None:
    with ScriptedUpstream([answer({"secret": 1})]) as elsewhere:
        upstream.scripts = [answer(b"", status=307, location=f"{elsewhere.base_url}/x")]
        status, headers, _ = gateway.post(CHAT, ASK)
        assert (status, headers["location"]) == (307, f"{elsewhere.base_url}/x")
        assert elsewhere.seen == []


def packed(codec: str, data: bytes) -> bytes:
    if codec == "gzip":
        return gzip.compress(data)
    if codec == "deflate":
        return zlib.compress(data)
    if codec == "raw deflate":
        deflate = zlib.compressobj(wbits=-15)
        return deflate.compress(data) + deflate.flush()
    return bytes(pa.compress(data, codec="brotli" if codec == "br" else codec, asbytes=True))


@pytest.mark.parametrize("codec", ["gzip", "deflate", "raw deflate", "br", "zstd"])
def test_packed_answers_pass_as_they_are_and_are_read_when_they_become_rows(
    gateway: Running, upstream: ScriptedUpstream, tmp_path: Path, codec: str
) -> None:
    body = packed(codec, BODY)
    events = packed(codec, b"".join(chat_events("a")))
    encoding = codec.removeprefix("raw ")
    head = STREAM_HEAD.replace(b"\r\n\r\n", b"\r\ncontent-encoding: %s\r\n\r\n" % encoding.encode())
    upstream.scripts = [answer(body, content_encoding=encoding), stream([events[:9], events[9:]], head=head)]
    asked = b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}'

    assert gateway.post(CHAT, ASK, accept_encoding=encoding)[2] == body
    assert gateway.post(CHAT, asked, accept_encoding=encoding)[2] == events
    assert [row.response for row in gateway.closed_rows(2)] == [body, events]
    ingest(tmp_path)
    calls = list(Ledger(tmp_path / "calls").read())
    texts = [call.response["choices"][0]["message"]["content"] for call in calls if call.response]
    assert texts == ["hello", "a"]
    assert [(call.input_tokens, call.output_tokens) for call in calls] == [(7, 3)] * 2


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "gzip, gzip", "nonsense", ","])
def test_an_encoding_that_is_a_lie_harms_nobody(
    gateway: Running, upstream: ScriptedUpstream, tmp_path: Path, encoding: str
) -> None:
    head = STREAM_HEAD.replace(b"\r\n\r\n", b"\r\ncontent-encoding: %s\r\n\r\n" % encoding.encode())
    upstream.scripts = [answer(BODY, content_encoding=encoding), stream(chat_events("a"), head=head)]
    asked = b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}'

    assert gateway.post(CHAT, ASK)[2] == BODY
    assert gateway.post(CHAT, asked)[2] == b"".join(chat_events("a"))
    gateway.closed_rows(2)
    ingest(tmp_path)
    assert [call.response is not None for call in Ledger(tmp_path / "calls").read()] == [True, True]


def test_a_bomb_of_every_encoding_becomes_a_row_of_bounded_size(
    gateway: Running, upstream: ScriptedUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("freehold.ledger.bodies.MOST_UNPACKED_BYTES", 1 << 20)
    codecs = ["gzip", "deflate", "br", "zstd"]
    bomb = b'{"x":"' + b"a" * (40 << 20) + b'"}'
    twice = gzip.compress(gzip.compress(bomb))
    bombs = {codec: packed(codec, bomb) for codec in codecs}
    upstream.scripts = [
        *(answer(bombs[codec], content_encoding=codec) for codec in codecs),
        answer(twice, content_encoding="gzip, gzip"),
    ]
    for codec in codecs:
        assert gateway.post(CHAT, ASK)[2] == bombs[codec]
    assert gateway.post(CHAT, ASK)[2] == twice
    gateway.closed_rows(5)
    ingest(tmp_path)
    for call in Ledger(tmp_path / "calls").read():
        assert len(json.dumps(call.response)) < 3 << 20


@pytest.mark.parametrize("status", [429, 500, 529])
def test_a_storm_of_refusals_ends_in_answers_or_refusals_and_every_attempt_is_a_row(
    upstream: ScriptedUpstream, tmp_path: Path, status: int
) -> None:
    left = 60

    async def storm(seen: Seen, writer: asyncio.StreamWriter) -> None:
        nonlocal left
        left -= 1
        error = {"error": {"message": "busy", "type": "overloaded", "param": None, "code": None}}
        await (answer(error, status=status, retry_after="0") if left >= 0 else answer(BODY))(seen, writer)

    upstream.scripts = [storm]
    settings = {"providers": {"fake": {"base_url": upstream.base_url, "retries": 2}}}
    with running_gateway(tmp_path, settings) as gateway, ThreadPoolExecutor(20) as threads:
        told = list(threads.map(lambda _: gateway.post(CHAT, ASK), range(100)))
        rows = gateway.closed_rows(len(upstream.seen))
    statuses = [one[0] for one in told]
    assert set(statuses) <= {200, status, 503}  # 503: the provider is left alone for a while
    assert len(rows) == len(upstream.seen) <= 100 * 3
    assert sum(row.close.status == 200 for row in rows if row.close) == statuses.count(200)
    for code, headers, body in told:
        if code != 200:
            assert json.loads(body)["error"]["message"]
        if code == 503:
            assert int(headers["retry-after"]) >= 1


def test_usage_that_is_told_twice_in_the_middle_or_wrong_is_counted_once(
    gateway: Running, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    first, second, *rest = chat_events("a", "b", usage=False)
    running = [event({**json.loads(piece[6:]), "usage": {"prompt_tokens": 7, "completion_tokens": count}})
               for count, piece in enumerate([first, second], start=1)]  # fmt: skip
    odd = event({"choices": [], "usage": {"prompt_tokens": "many", "completion_tokens": -1, "total_tokens": None}})
    upstream.scripts = [
        stream([*running, *rest[:-1], USAGE_EVENT, USAGE_EVENT, DONE]),
        stream([first, odd, USAGE_EVENT, DONE]),
        stream([first, USAGE_EVENT, odd, DONE]),
    ]
    for _ in range(3):
        assert b"[DONE]" in gateway.post(CHAT, ASK_STREAM)[2]
    closes = [row.close for row in gateway.closed_rows(3) if row.close]
    assert [(one.input_tokens, one.output_tokens) for one in closes[:2]] == [(7, 3)] * 2
    assert closes[2].input_tokens in {7, None}
    ingest(tmp_path)
    for call in Ledger(tmp_path / "calls").read():
        assert call.output_tokens is None or call.output_tokens >= 0


def test_a_stream_that_stalls_is_cut_with_an_error_event(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    async def stalls(seen: Seen, writer: asyncio.StreamWriter) -> None:
        del seen
        writer.write(STREAM_HEAD + chunk(chat_events("a")[0]))
        await writer.drain()

    stalls.watches = True  # type: ignore[attr-defined]
    upstream.scripts = [stalls]
    settings = {"providers": {"fake": {"base_url": upstream.base_url, "idle_timeout_s": 0.3}}}
    with running_gateway(tmp_path, settings) as gateway:
        with pytest.raises(http.client.IncompleteRead) as caught:
            gateway.post(CHAT, ASK_STREAM)
        assert b'"code":"upstream_timeout"' in caught.value.partial
        (row,) = gateway.closed_rows(1)
        assert row.close is not None
        assert (row.close.status, row.close.error_type) == (200, "upstream_timeout")
    assert upstream.peer_left.wait(10)


@pytest.mark.parametrize("cut", [0, 1, 9, 60, 200])
def test_a_provider_that_resets_while_a_large_request_is_sent_is_an_error_and_a_row(
    gateway: Running, upstream: ScriptedUpstream, cut: int
) -> None:
    """It does not read the body: it answers a part of its head, or nothing, and resets."""
    upstream.reads_bodies = False
    upstream.scripts = [raw((OK + b"content-length: 5000\r\n\r\n" + b"x" * 500)[:cut], resets=True)]
    sent = b'{"model":"m","messages":["' + b"a" * (8 << 20) + b'"]}'
    status, _, body = gateway.post(CHAT, sent)

    assert (status, json.loads(body)["error"]["code"]) == (502, "upstream_closed")
    (row,) = gateway.closed_rows(1)
    assert row.close is not None
    assert row.close.error_type == "upstream_closed"


def test_an_answer_before_the_request_was_read_is_passed_on(gateway: Running, upstream: ScriptedUpstream) -> None:
    """The provider closes with half of the request unread, so its answer may be lost on the way (RFC 9112, 9.6)."""
    upstream.reads_bodies = False
    upstream.scripts = [answer(b"{}", status=413, connection="close")]
    status, _, body = gateway.post(CHAT, b'{"model":"m","messages":["' + b"a" * (8 << 20) + b'"]}')

    assert (status, body) == (413, b"{}") or json.loads(body)["error"]["code"] == "upstream_closed"
    assert len(gateway.closed_rows(1)) == 1
