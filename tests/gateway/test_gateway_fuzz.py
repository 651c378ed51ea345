"""Anything at all on the wire, from either side: the gateway answers in order, or closes, and goes on."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.conftest import running_gateway
from tests.gateway.upstream import ScriptedUpstream, answer, chat_events, chunk, completion, raw, stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gateway.conftest import Running

CHAT = "/v1/chat/completions"
ASK = b'{"model":"m","messages":[]}'
ASK_STREAM = b'{"model":"m","messages":[],"stream":true}'
CLOSE = b"connection: close\r\n"
WHOLE = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n%scontent-length: %d\r\n\r\n%s" % (CLOSE, len(ASK), ASK)
CHUNKED = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n%stransfer-encoding: chunked\r\n\r\n%s0\r\n\r\n" % (
    CLOSE,
    chunk(ASK),
)
BODY = json.dumps(completion()).encode()
WHOLE_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)
STREAMED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n" + b"".join(
    map(chunk, chat_events("a", "b"))
)
FUZZ = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)

WOUNDS = st.lists(
    st.tuples(
        st.integers(0, 400),
        st.sampled_from([b"", b"\r", b"\n", b"\r\n", b"\x00", b":", b" ", b"\t", b",", b"\xff", b"9", b"-", b";"])
        | st.binary(max_size=6),
        st.integers(0, 5),
    ),
    min_size=1,
    max_size=4,
)


def wounded(data: bytes, wounds: list[tuple[int, bytes, int]]) -> bytes:
    for place, foreign, cut in wounds:
        at = place % (len(data) + 1)
        data = data[:at] + foreign + data[at + cut :]
    return data


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, ScriptedUpstream]]:
    """One gateway and one provider for all examples."""
    with ScriptedUpstream([answer(BODY)]) as upstream:
        fake = {"base_url": upstream.base_url, "retries": 0, "idle_timeout_s": 2.0, "timeout_s": 5.0}
        wanted = {"providers": {"fake": fake}, "gateway": {"client_timeout_s": 0.5}}
        with running_gateway(tmp_path_factory.mktemp("fuzz"), wanted) as gateway:
            yield gateway, upstream


@FUZZ
@given(st.sampled_from([WHOLE, CHUNKED]), WOUNDS)
def test_a_wounded_request_is_answered_once_or_closed_and_never_an_error_of_the_gateway(
    both: tuple[Running, ScriptedUpstream], data: bytes, wounds: list[tuple[int, bytes, int]]
) -> None:
    gateway, upstream = both
    upstream.scripts = [answer(BODY)]
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as client:
        client.sendall(wounded(data, wounds))
        client.shutdown(socket.SHUT_WR)
        try:
            got = b"".join(iter(lambda: client.recv(65536), b""))
        except ConnectionResetError:
            got = b""
    if got:
        assert got.startswith(b"HTTP/1.1 ")
        assert got[9:12] not in {b"500", b"502"}
    assert all(name.strip() == name and "\n" not in value for seen in upstream.seen for name, value in seen.headers)
    upstream.seen.clear()


@FUZZ
@given(st.sampled_from([WHOLE_ANSWER, STREAMED + b"0\r\n\r\n"]), WOUNDS, st.booleans())
def test_a_wounded_answer_is_an_answer_or_an_error_and_the_next_call_is_served(
    both: tuple[Running, ScriptedUpstream], data: bytes, wounds: list[tuple[int, bytes, int]], streams: bool
) -> None:
    gateway, upstream = both
    upstream.scripts = [raw(wounded(data, wounds))]
    request = WHOLE.replace(b"%d\r\n\r\n%s" % (len(ASK), ASK), b"%d\r\n\r\n%s" % (len(ASK_STREAM), ASK_STREAM))
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as client:
        client.sendall(request if streams else WHOLE)
        got = b"".join(iter(lambda: client.recv(65536), b""))
    assert got.startswith(b"HTTP/1.1 ")
    assert not got.startswith(b"HTTP/1.1 500")
    upstream.scripts = [answer(BODY)]
    while gateway.post(CHAT, ASK)[0] == 503:
        pass  # it was left alone for a moment after so many faults


EVENTS = [*chat_events("é", "\u2028", "[DONE]", "data: x", usage=True)]


@FUZZ
@given(st.lists(st.integers(1, 60), max_size=40), st.booleans(), st.sampled_from([b"\n", b"\r\n"]))
def test_a_stream_passes_however_the_wire_cuts_it(
    both: tuple[Running, ScriptedUpstream], sizes: list[int], asks_usage: bool, end: bytes
) -> None:
    gateway, upstream = both
    data = b"".join(EVENTS).replace(b"\n", end)
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    upstream.scripts = [stream([piece for piece in [*pieces, data[at:]] if piece])]
    asked = b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}' if asks_usage else ASK_STREAM
    got = gateway.post(CHAT, asked)[2]

    kept = EVENTS if asks_usage else [*EVENTS[:-2], EVENTS[-1]]
    assert got == b"".join(kept).replace(b"\n", end)


@FUZZ
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
                        ["model", "stream", "stream_options", "messages", "metadata", "task", "user", "max_tokens"]
                    ), inner, max_size=4), max_leaves=10), st.booleans())  # fmt: skip
def test_any_json_is_passed_on_as_it_is_or_refused(
    both: tuple[Running, ScriptedUpstream], value: object, is_pretty: bool
) -> None:
    gateway, upstream = both
    upstream.scripts = [answer(BODY)]
    upstream.seen.clear()
    sent = json.dumps(value, indent=1 if is_pretty else None, ensure_ascii=is_pretty).encode("utf-8", "surrogatepass")
    status, _, got = gateway.post(CHAT, sent)

    assert (status, got) == (200, BODY) or 400 <= status < 500
    for seen in upstream.seen:
        asks = isinstance(value, dict) and value.get("stream") is True
        assert seen.body == sent or asks
