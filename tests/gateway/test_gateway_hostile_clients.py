"""Clients that try what they should not, or leave when they should not, byte by byte over sockets."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from freehold.gateway.http.server import HttpLimits
from tests.gateway.conftest import running_gateway
from tests.gateway.upstream import DONE, STREAM_HEAD, Seen, answer, chat_events, chunk, completion, event, stream

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from tests.gateway.conftest import Running
    from tests.gateway.upstream import ScriptedUpstream

CHAT = "/v1/chat/completions"
ASK = b'{"model":"m","messages":[]}'
ASK_STREAM = b'{"model":"m","messages":[],"stream":true}'
SMUGGLED = b"POST /v1/smuggled HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"


def connected(gateway: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=10)


def whole(body: bytes, more: bytes = b"") -> bytes:
    return POST + more + b"content-length: %d\r\n\r\n" % len(body) + body


def all_of(client: socket.socket) -> bytes:
    """Everything until the gateway closes; what came before a reset counts too."""
    parts = []
    try:
        while part := client.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def talk(gateway: Running, data: bytes) -> bytes:
    """Send these bytes, end the sending side only when the answer is there, and give all that came back."""
    with connected(gateway) as client:
        client.sendall(data)
        return all_of(client)


AMBIGUOUS = {
    "length and chunks": b"content-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"transfer-encoding: chunked\r\ncontent-length: 6\r\n\r\n0\r\n\r\n",
    "two lengths": b"content-length: 0\r\ncontent-length: %d\r\n\r\n" % len(SMUGGLED),
    "a list of lengths": b"content-length: 0, %d\r\n\r\n" % len(SMUGGLED),
    "a signed length": b"content-length: +0\r\n\r\n",
    "a hexadecimal length": b"content-length: 0x0\r\n\r\n",
    "a length beyond all numbers": b"content-length: 18446744073709551616\r\n\r\n",
    "an unknown coding": b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked is not last": b"transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
    "a space before the length's colon": b"content-length : 0\r\n\r\n",
    "a folded line": b"x: a\r\n transfer-encoding: chunked\r\n\r\n",
    "a folded coding": b"transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a return alone": b"x: a\rtransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a zero byte": b"x: a\x00b\r\n\r\n",
    "a name with a line break": b"x\n: a\r\n\r\n",
    "no name": b": a\r\n\r\n",
    "a chunk beyond all numbers": b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    "a negative chunk": b"transfer-encoding: chunked\r\n\r\n-1\r\n\r\n",
    "a chunk without its end": b"transfer-encoding: chunked\r\n\r\n2\r\n{}X\r\n0\r\n\r\n",
    "a chunk size that is none": b"transfer-encoding: chunked\r\n\r\nzz\r\n\r\n",
}


@pytest.mark.parametrize("head", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_a_request_that_could_be_read_in_two_ways_is_refused_and_smuggles_nothing(
    gateway: Running, upstream: ScriptedUpstream, head: bytes
) -> None:
    upstream.scripts = [answer(completion())]
    got = talk(gateway, POST + head + SMUGGLED)

    assert got.startswith(b"HTTP/1.1 400")
    assert got.count(b"HTTP/1.1 ") == 1
    assert [seen.target for seen in upstream.seen] == []
    assert gateway.post(CHAT, ASK)[0] == 200  # and the next one is served


@pytest.mark.parametrize(
    "data",
    [
        b"POST /v1/chat/completions HTTP/1.1\nhost: x\ncontent-length: %d\n\n%s" % (len(ASK), ASK),
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\ncontent-length: %d\r\n\r\n%s"
        % (len(ASK), len(ASK), ASK),
    ],
    ids=["lines that end in a line feed alone", "the same length twice"],
)
def test_what_some_servers_take_is_refused_or_means_one_thing_alone(
    gateway: Running, upstream: ScriptedUpstream, data: bytes
) -> None:
    upstream.scripts = [answer(completion())]
    with connected(gateway) as client:
        client.sendall(data + SMUGGLED.replace(b"host: x", b"host: x\r\nconnection: close"))
        all_of(client)

    bodies = [(seen.target, seen.body) for seen in upstream.seen]
    assert bodies in ([], [(CHAT, ASK)], [(CHAT, ASK), ("/v1/smuggled", b"")])  # as pipelined, or not at all


@pytest.mark.parametrize(
    "line",
    [
        b"GET http://evil.example/v1/models HTTP/1.1",
        b"CONNECT evil.example:443 HTTP/1.1",
        b"GET //evil.example/v1/models HTTP/1.1",
        b"GET /v1/models\thttp://evil HTTP/1.1",
        b"GET /v1/models HTTP/9.9",
        b"GET /v1/mod\x00els HTTP/1.1",
        b"GET /v1/../../etc/passwd HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"BREW /v1/models HTTP/1.1",
        b"get /v1/models HTTP/1.1",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_request_lines_lead_nowhere_but_to_the_provider(
    gateway: Running, upstream: ScriptedUpstream, line: bytes
) -> None:
    upstream.scripts = [answer({"object": "list", "data": []})]
    got = talk(gateway, line + b"\r\nhost: x\r\nconnection: close\r\n\r\n")

    assert got[:12] in {b"HTTP/1.1 400", b"HTTP/1.1 404", b"HTTP/1.1 405", b"HTTP/1.1 200", b""}
    assert all(seen.target == "/v1/models" for seen in upstream.seen)
    assert b"root:" not in got


def test_extensions_and_trailers_of_chunks_stay_at_the_gateway(gateway: Running, upstream: ScriptedUpstream) -> None:
    upstream.scripts = [answer(completion())]
    body = b'9;name="va;lue"\r\n{"model":\r\n12;x=y\r\n"m","messages":[]}\r\n0;last\r\n'
    body += b"x-freehold-task: evil\r\nx-trailer: 1\r\n\r\n"
    got = talk(gateway, POST + b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n" + body)

    assert got.startswith(b"HTTP/1.1 200")
    (seen,) = upstream.seen
    assert json.loads(seen.body) == {"model": "m", "messages": []}
    assert seen.header("x-trailer") is None
    assert seen.header("content-length") == str(len(seen.body))
    (row,) = gateway.closed_rows(1)
    assert row.open is not None
    assert row.open.task == "default"


def test_no_header_of_the_client_becomes_two_at_the_provider(gateway: Running, upstream: ScriptedUpstream) -> None:
    upstream.scripts = [answer(completion())]
    sent = b"x-a: caf\xc3\xa9 \xff\r\nconnection: close, x-private\r\nx-private: 1\r\nkeep-alive: 9\r\nproxy-x: 2\r\n"
    query = b"POST /v1/chat/completions?a=%0d%0aevil:%201&b=%00 HTTP/1.1\r\nhost: x\r\n"
    got = talk(gateway, query + sent + b"content-length: %d\r\n\r\n%s" % (len(ASK), ASK))

    assert got.startswith(b"HTTP/1.1 200")
    (seen,) = upstream.seen
    assert seen.target == f"{CHAT}?a=%0d%0aevil:%201&b=%00"
    assert seen.header("evil") is None
    assert {seen.header("x-private"), seen.header("keep-alive")} == {None}
    assert (seen.header("x-a") or "").encode("latin-1") == b"caf\xc3\xa9 \xff"


@pytest.mark.parametrize("task", ["a\tb", "../x", "x" * 300, "a/b"])
def test_a_task_that_is_no_name_is_refused_and_not_recorded(
    gateway: Running, upstream: ScriptedUpstream, task: str
) -> None:
    status, _, body = gateway.post(CHAT, ASK, x_freehold_task=task.encode().decode("latin-1"))

    assert (status, json.loads(body)["error"]["type"]) == (400, "invalid_request_error")
    assert upstream.seen == []
    assert gateway.rows() == []


def test_heads_that_are_too_long_are_refused_wherever_they_grow(gateway: Running, upstream: ScriptedUpstream) -> None:
    upstream.scripts = [answer(completion())]
    line = b"GET /v1/models?" + b"a" * 70_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n"
    assert talk(gateway, line).startswith((b"HTTP/1.1 431", b"HTTP/1.1 414", b"HTTP/1.1 400"))
    name = POST + b"x" * 70_000 + b": 1\r\n\r\n"
    assert talk(gateway, name)[:12] in {b"HTTP/1.1 431", b"HTTP/1.1 400", b""}
    chunks = b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    trailer = POST + chunks + b"2\r\n{}\r\n0\r\n" + b"x: y\r\n" * 50_000 + b"\r\n"
    assert talk(gateway, trailer)[:12] in {b"HTTP/1.1 431", b"HTTP/1.1 400", b"HTTP/1.1 200", b""}
    assert gateway.post(CHAT, ASK)[0] == 200


def test_requests_that_come_together_are_answered_one_after_the_other(
    gateway: Running, upstream: ScriptedUpstream
) -> None:
    upstream.scripts = [
        answer(completion("first")), stream(chat_events("second")), answer(completion("third")),
    ]  # fmt: skip
    with connected(gateway) as client:
        client.sendall(whole(ASK) + whole(ASK_STREAM) + whole(ASK, b"connection: close\r\n"))
        got = all_of(client)

    places = [got.index(word) for word in (b'"first"', b"second", b'"third"')]
    assert places == sorted(places)
    assert got.count(b"HTTP/1.1 200") == 3
    assert [seen.json.get("stream") for seen in upstream.seen] == [None, True, None]
    assert [row.close.status for row in gateway.closed_rows(3) if row.close] == [200, 200, 200]


def test_a_request_in_single_bytes_is_a_request(gateway: Running, upstream: ScriptedUpstream) -> None:
    upstream.scripts = [answer(completion())]
    with connected(gateway) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in whole(ASK, b"connection: close\r\n"):
            client.send(bytes([byte]))
        assert all_of(client).startswith(b"HTTP/1.1 200")
    assert upstream.seen[0].body == ASK


def test_clients_that_hang_up_before_their_request_is_whole_leave_nothing_behind(
    gateway: Running, upstream: ScriptedUpstream
) -> None:
    upstream.scripts = [answer(completion())]
    data = whole(ASK)
    for end in (0, 3, len(POST), len(data) - len(ASK), len(data) - 1):
        with connected(gateway) as client:
            client.sendall(data[:end])
    chunks = POST + b"transfer-encoding: chunked\r\n\r\n" + chunk(ASK)
    for end in (len(chunks), len(chunks) - 3):
        with connected(gateway) as client:
            client.sendall(chunks[:end])
    large = POST + b"content-length: 3000000\r\n\r\n" + b"x" * 2_000_000
    with connected(gateway) as client:
        client.sendall(large)

    assert gateway.post(CHAT, ASK)[0] == 200
    assert len(gateway.closed_rows(1)) == 1
    assert len(upstream.seen) == 1
    for _ in range(500):
        page = gateway.post("/metrics", b"", method="GET")[2]
        if b"freehold_requests_in_progress 0\n" in page:
            break
        threading.Event().wait(0.01)  # the end of a connection is noticed a moment later
    else:
        pytest.fail("a request that never was is still under way")


@pytest.mark.parametrize("how", ["reset", "closed"])
def test_a_client_that_leaves_in_the_middle_of_a_whole_answer_stops_the_provider(
    gateway: Running, upstream: ScriptedUpstream, how: str
) -> None:
    async def half(seen: Seen, writer: asyncio.StreamWriter) -> None:
        del seen
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9000000\r\n\r\n")
        writer.write(b"x" * 2_000_000)
        await writer.drain()

    half.watches = True  # type: ignore[attr-defined]
    upstream.scripts = [half]
    client = connected(gateway)
    client.sendall(whole(ASK))
    assert client.recv(1000).startswith(b"HTTP/1.1 200")
    if how == "reset":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    client.close()

    assert upstream.peer_left.wait(10)
    (row,) = gateway.closed_rows(1)
    assert row.close is not None
    assert (row.close.status, row.close.client_closed) == (499, True)


def test_a_client_that_ends_its_sending_side_is_answered_or_has_left(
    gateway: Running, upstream: ScriptedUpstream
) -> None:
    upstream.scripts = [answer(completion())]
    with connected(gateway) as client:
        client.sendall(whole(ASK))
        client.shutdown(socket.SHUT_WR)
        got = all_of(client)

    if got:
        assert got.startswith(b"HTTP/1.1 200")
        assert got.endswith(b"}")
    for row in gateway.rows():
        assert row.close is None or row.close.status in {200, 499}
    assert gateway.post(CHAT, ASK)[0] == 200


def test_a_hundred_clients_that_dawdle_keep_nobody_waiting(gateway: Running, upstream: ScriptedUpstream) -> None:
    upstream.scripts = [answer(completion())]
    with ExitStack() as stack:
        for number in range(100):
            client = stack.enter_context(connected(gateway))
            client.sendall(whole(ASK)[: number % len(whole(ASK))])
        assert [gateway.post(CHAT, ASK)[0] for _ in range(5)] == [200] * 5
    assert len(upstream.seen) == 5


def test_a_head_that_never_ends_is_given_up(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    settings = {"providers": {"fake": {"base_url": upstream.base_url}}, "gateway": {"client_timeout_s": 0.3}}
    with running_gateway(tmp_path, settings, limits=HttpLimits(head_s=0.3)) as gateway:
        for start in (b"", b"POST /v1/chat", POST, POST + b"x: "):
            with connected(gateway) as client:
                client.sendall(start)
                assert all_of(client)[:12] in {b"", b"HTTP/1.1 408"}
        with connected(gateway) as client:  # a drop now and then buys no time
            client.sendall(POST)
            ended = False
            for _ in range(200):
                try:
                    client.sendall(b"x: y\r\n")
                    client.settimeout(0.05)
                    ended = client.recv(1000)[:12] in {b"", b"HTTP/1.1 408"}
                except TimeoutError:
                    continue
                except OSError:
                    ended = True
                break
            assert ended
        with connected(gateway) as client:  # nor does it for the body
            client.sendall(POST + b"content-length: 100000\r\n\r\n{")
            assert all_of(client).startswith(b"HTTP/1.1 408")
    assert upstream.seen == []


def test_a_client_that_reads_slowly_holds_the_provider_back_and_loses_nothing(
    gateway: Running, upstream: ScriptedUpstream
) -> None:
    pieces = [event({"choices": [{"delta": {"content": "x" * 65_000}}]}) for _ in range(800)]
    written = 0

    async def gushes(seen: Seen, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        del seen
        writer.write(STREAM_HEAD)
        for piece in [*pieces, DONE]:
            writer.write(chunk(piece))
            await writer.drain()
            written += len(piece)
        writer.write(b"0\r\n\r\n")

    upstream.scripts = [gushes]
    with connected(gateway) as client:
        client.sendall(whole(ASK_STREAM, b"connection: close\r\n"))
        head = client.recv(100)
        before = -1
        while before != written:
            before = written
            threading.Event().wait(0.5)  # until the provider stands still
        assert written < 40_000_000, "the gateway buffers what its client does not read"
        got = head + all_of(client)
    assert got.count(b'"content": "xxxx') == 800
    assert got.endswith(b"0\r\n\r\n")
    assert len(gateway.closed_rows(1)[0].response) == sum(map(len, [*pieces, DONE]))
