"""The server's side of HTTP, over real sockets: whatever a client sends, and however it is cut."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.gateway.http.request import HIGH_WATER_BYTES, ClientRequest
from freehold.gateway.http.server import HttpLimits, HttpServer
from freehold.gateway.server import listen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LIMITS = HttpLimits()
LARGE = 24 * 1024 * 1024


@dataclass
class Echo:
    """Answers with what it understood. The path says how: `/early`, `/stream`, `/hang`, `/large`, `/fails`."""

    port: int = 0
    began: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)
    most_waiting: int = 0
    written: int = 0

    async def serve(self, request: ClientRequest) -> None:
        self.began.set()
        try:
            await self._answer(request)
        except asyncio.CancelledError:
            if not request.has_left:
                raise
            self.left.set()

    async def _answer(self, request: ClientRequest) -> None:
        match request.target.partition(b"?")[0]:
            case b"/early":
                self._tell(request, 413, b"too much")
            case b"/hang":
                await asyncio.sleep(60)
            case b"/fails":
                request.begin(200, [(b"content-length", b"10")])
                request.write(b"abc")
            case b"/large":
                request.begin(200, [])
                for _ in range(LARGE // 65536):
                    await request.drained()
                    request.write(b"x" * 65536)
                    self.written += 65536
                request.write(b"", is_last=True)
            case path:
                body = b""
                is_last = False
                while not is_last:
                    self.most_waiting = max(self.most_waiting, request.waiting_bytes)
                    piece, is_last = await request.read(5)
                    body += piece
                understood = {
                    "method": request.method,
                    "target": request.target.decode("latin-1"),
                    "headers": [[name.decode(), value.decode("latin-1")] for name, value in request.headers],
                    "body": body.decode("latin-1") if len(body) < 100_000 else len(body),
                }
                if path == b"/stream":
                    request.begin(200, [(b"content-type", b"text/event-stream")])
                    for piece in (b"one", b"", b"two"):
                        request.write(piece)
                    request.write(b"three", is_last=True)
                else:
                    self._tell(request, 200, json.dumps(understood).encode())

    @staticmethod
    def _tell(request: ClientRequest, status: int, body: bytes) -> None:
        request.begin(status, [(b"content-length", b"%d" % len(body))])
        request.write(body, is_last=True)

    def connect(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client


@contextlib.contextmanager
def running(drain_s: float = 5.0, limits: HttpLimits | None = None) -> Iterator[Echo]:
    echo = Echo()
    ready, loop = threading.Event(), uvloop.new_event_loop()
    stopping = asyncio.Event()

    async def main() -> None:
        server = HttpServer(echo.serve, limits)
        await server.start(listener)
        ready.set()
        await stopping.wait()
        await server.stop(drain_s)

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(main())

    with listen("127.0.0.1", 0) as listener:
        echo.port = listener.getsockname()[1]
        thread = threading.Thread(target=work)
        thread.start()
        assert ready.wait(10)
        try:
            yield echo
        finally:
            loop.call_soon_threadsafe(stopping.set)
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def shared() -> Iterator[Echo]:
    with running() as echo:
        yield echo


@pytest.fixture
def echo(shared: Echo) -> Echo:
    shared.began.clear()
    shared.left.clear()
    shared.most_waiting = shared.written = 0
    return shared


def answers_in(data: bytes, methods: Sequence[str] = ()) -> list[tuple[int, dict[str, str], bytes]]:
    """Parse answers, one after the other, with lengths or chunks."""
    found: list[tuple[int, dict[str, str], bytes]] = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name: value for name, _, value in (line.partition(": ") for line in lines)}
        body = b""
        status = int(first.split()[1])
        is_bare = status == 100 or (len(found) < len(methods) and methods[len(found)] == "HEAD")
        if headers.get("transfer-encoding") == "chunked" and not is_bare:
            while True:
                size, _, data = data.partition(b"\r\n")
                piece, data = data[: int(size, 16)], data[int(size, 16) + 2 :]
                if not piece:
                    break
                body += piece
        elif not is_bare and "content-length" in headers:
            length = int(headers["content-length"])
            body, data = data[:length], data[length:]
        elif not is_bare:
            body, data = data, b""
        found.append((status, headers, body))
    return found


def told(
    echo: Echo, pieces: Sequence[bytes], methods: Sequence[str] = (), *, ends: bool = False
) -> list[tuple[int, dict[str, str], bytes]]:
    """What comes back for these pieces, each in a packet of its own, until the server closes."""
    with echo.connect() as client:
        with contextlib.suppress(OSError):  # it may close while more is being sent
            for piece in pieces:
                client.sendall(piece)
            if ends:
                client.shutdown(socket.SHUT_WR)
        data = b""
        with contextlib.suppress(ConnectionResetError):
            while more := client.recv(65536):
                data += more
    return answers_in(data, methods)


def echoed(answer: tuple[int, dict[str, str], bytes]) -> dict[str, Any]:
    assert answer[0] == 200, answer
    value: dict[str, Any] = json.loads(answer[2])
    return value


GET = b"GET /a?b=%20c HTTP/1.1\r\nHost: x\r\nX-One: 1 \r\nx-one: 2\r\nconnection: close\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc"
CHUNKED = (
    b"POST /c HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: no\r\n\r\n"
)
LAST = b"GET /last HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_requests_are_understood_however_they_are_cut_and_answered_in_order(echo: Echo, size: int) -> None:
    data = POST + CHUNKED + POST + LAST
    answers = told(echo, [data[at : at + size] for at in range(0, len(data), size)])
    assert [echoed(one)["body"] for one in answers] == ["abc", "abcde", "abc", ""]
    assert [echoed(one)["target"] for one in answers] == ["/p", "/c", "/p", "/last"]
    assert all(name != "trailer" for one in answers for name, _ in echoed(one)["headers"])


def test_headers_keep_their_order_and_their_values_and_lose_their_case(echo: Echo) -> None:
    (answer,) = told(echo, [GET])
    value = echoed(answer)
    assert (value["method"], value["target"]) == ("GET", "/a?b=%20c")
    assert [[name, text.strip()] for name, text in value["headers"]] == [
        ["host", "x"], ["x-one", "1"], ["x-one", "2"], ["connection", "close"],
    ]  # fmt: skip
    assert answer[1]["connection"] == "close"


def test_a_stream_is_chunked_for_new_clients_and_ends_with_the_connection_for_old_ones(echo: Echo) -> None:
    ask = b"GET /stream HTTP/%s\r\nhost: x\r\n%s\r\n"
    ((_, headers, body),) = told(echo, [ask % (b"1.1", b"connection: close\r\n")])
    assert headers["transfer-encoding"] == "chunked"
    assert body == b"onetwothree"
    ((_, headers, body),) = told(echo, [ask % (b"1.0", b"connection: keep-alive\r\n")])
    assert "transfer-encoding" not in headers
    assert headers["connection"] == "close"
    assert body == b"onetwothree"


def test_an_old_client_may_keep_its_connection(echo: Echo) -> None:
    first = b"GET /1 HTTP/1.0\r\nconnection: keep-alive\r\n\r\n"
    answers = told(echo, [first + b"GET /2 HTTP/1.0\r\n\r\n"])
    assert [echoed(one)["target"] for one in answers] == ["/1", "/2"]
    assert [one[1]["connection"] for one in answers] == ["keep-alive", "close"]


def test_the_answer_to_head_has_no_body(echo: Echo) -> None:
    answers = told(echo, [b"HEAD /h HTTP/1.1\r\nhost: x\r\n\r\n" + LAST], ["HEAD"])
    assert [one[0] for one in answers] == [200, 200]
    assert int(answers[0][1]["content-length"]) > 0
    assert echoed(answers[1])["target"] == "/last"


def test_a_client_that_asks_first_is_told_to_go_on_once(echo: Echo) -> None:
    with echo.connect() as client:
        client.sendall(b"POST /p HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n")
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"a")
        time.sleep(0.05)
        client.sendall(b"bc")
        ((status, _, body),) = answers_in(client.recv(65536))
    assert (status, json.loads(body)["body"]) == (200, "abc")


@pytest.mark.parametrize(
    "bad",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1 x\r\n\r\n",
        b"GET /\r\nhost: x\r\n\r\n",
        b"GET / HTTP/3.7\r\nhost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\na",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: +1\r\n\r\na",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\n folded: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nho st: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\x00b\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    ],
)
def test_what_is_no_http_gets_400_and_the_connection_ends(echo: Echo, bad: bytes) -> None:
    for pieces in ([bad + LAST], [bad[at : at + 1] for at in range(len(bad))]):
        answers = told(echo, pieces, ends=True)
        assert [one[0] for one in answers] == [400], pieces
        assert json.loads(answers[0][2])["error"]["code"] == "bad_http"
        assert answers[0][1]["connection"] == "close"


def test_a_good_request_before_a_bad_one_is_answered(echo: Echo) -> None:
    answers = told(echo, [POST + b"\x00\x00\x00"])
    assert [one[0] for one in answers] == [200]


def test_heads_are_limited_in_bytes_and_in_number(echo: Echo) -> None:
    many = b"".join(b"x-%d: y\r\n" % number for number in range(LIMITS.headers + 1))
    for head in (b"x: " + b"y" * LIMITS.head_bytes, many[:-2]):
        answers = told(echo, [b"GET / HTTP/1.1\r\n" + head + b"\r\n\r\n"])
        assert [one[0] for one in answers] == [431]
    endless = [b"GET / HTTP/1.1\r\nx: "] + [b"y" * 8192] * 20
    assert [one[0] for one in told(echo, endless)] == [431]


def test_an_upgrade_is_passed_over_and_ends_the_connection(echo: Echo) -> None:
    ask = b"GET /u HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n\r\n"
    answers = told(echo, [ask + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])
    assert [echoed(one)["target"] for one in answers] == ["/u"]
    assert answers[0][1]["connection"] == "close"


def test_an_early_answer_reaches_a_client_that_is_still_sending(echo: Echo) -> None:
    head = b"POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: 50000000\r\n\r\n"
    (answer,) = told(echo, [head, *[b"x" * 65536] * 100], ends=True)
    assert answer[0] == 413
    assert answer[1]["connection"] == "close"


def test_a_client_that_leaves_stops_its_call(echo: Echo) -> None:
    client = echo.connect()
    client.sendall(b"GET /hang HTTP/1.1\r\nhost: x\r\n\r\n")
    assert echo.began.wait(10)
    client.close()
    assert echo.left.wait(10)


def test_a_client_that_leaves_within_its_body_stops_its_call(echo: Echo) -> None:
    client = echo.connect()
    client.sendall(b"POST /p HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc")
    assert echo.began.wait(10)
    client.close()
    assert echo.left.wait(10)


def test_an_answer_that_was_not_finished_is_cut_and_never_looks_whole(echo: Echo) -> None:
    with echo.connect() as client:
        client.sendall(b"GET /fails HTTP/1.1\r\nhost: x\r\n\r\n")
        data = b""
        with contextlib.suppress(ConnectionResetError):
            while more := client.recv(1000):
                data += more
    assert not data.endswith(b"\r\n\r\nabc" + b"x" * 7)


def test_a_large_body_is_not_read_faster_than_it_is_taken(echo: Echo) -> None:
    body = b"x" * (8 * HIGH_WATER_BYTES)
    (answer,) = told(
        echo, [b"POST /p HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body), body]
    )
    assert echoed(answer)["body"] == len(body)
    assert echo.most_waiting <= 3 * HIGH_WATER_BYTES


def test_a_client_that_does_not_read_is_waited_for(echo: Echo) -> None:
    with echo.connect() as client:
        client.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        before = -1
        while before != echo.written:
            before = echo.written
            time.sleep(0.2)
        assert 0 < echo.written < LARGE
        received = 0
        while more := client.recv(1 << 20):
            received += len(more)
    assert received > LARGE
    assert echo.written == LARGE


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nhost: x\r\nx: "])
def test_a_head_that_does_not_come_is_not_waited_for_for_ever(sent: bytes) -> None:
    with running(limits=HttpLimits(head_s=0.2)) as echo, echo.connect() as client:
        client.sendall(sent)
        assert client.recv(1000) == b""


def test_a_connection_without_requests_is_closed_after_a_while() -> None:
    with running(limits=HttpLimits(keep_alive_s=0.2)) as echo, echo.connect() as client:
        client.sendall(POST)
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        assert client.recv(1000) == b""


def test_one_connection_too_many_is_told_so() -> None:
    with running(limits=HttpLimits(connections=1)) as echo, echo.connect() as client:
        client.sendall(POST)
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        assert [one[0] for one in told(echo, [LAST])] == [503]


def test_stopping_ends_idle_connections_at_once_and_calls_when_their_time_is_over() -> None:
    with running(drain_s=0.3) as echo:
        idle, busy = echo.connect(), echo.connect()
        busy.sendall(b"GET /hang HTTP/1.1\r\nhost: x\r\n\r\n")
        assert echo.began.wait(10)
    for client in (idle, busy):
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(100) == b""
        client.close()
    with pytest.raises(ConnectionRefusedError):
        echo.connect()


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.sampled_from([POST, CHUNKED, GET.replace(b"close", b"x"), b"\r\n", b"GET", b"\x00", b"0\r\n"]), max_size=5
    ),
    st.lists(st.integers(1, 60), max_size=30),
)
def test_nothing_that_a_client_sends_brings_the_server_down(shared: Echo, parts: list[bytes], sizes: list[int]) -> None:
    data, pieces = b"".join(parts), []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    answers = told(shared, [*pieces, data], ends=True)
    assert {one[0] for one in answers} <= {200, 400}
    assert [one[0] for one in told(shared, [LAST])] == [200]
