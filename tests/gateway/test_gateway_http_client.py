"""The connection to a provider, against answers of every shape that HTTP/1.1 allows, and many that it does not."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.gateway.http.client import Connection
from freehold.gateway.http.outbox import Outbox
from freehold.gateway.http.pool import Pool
from freehold.gateway.http.upstream import Request, UpstreamFailure
from freehold.gateway.providers.routes import routes_of
from freehold.state.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path


class FakeTransport(asyncio.Transport):
    """Swallows what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.is_aborted = False

    def write(self, data: Any) -> None:
        pass

    def abort(self) -> None:
        self.is_aborted = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def exchange(pieces: Sequence[bytes], *, method: str = "POST", ends: bool = True) -> Any:
    """What comes of an answer in these pieces: status, body and whether the connection is good, or the failure."""
    loop = asyncio.get_running_loop()
    connection = Connection(loop, Outbox(), idle_timeout_s=30)
    connection.connection_made(FakeTransport())

    async def feed() -> None:
        for piece in pieces:
            if connection.is_open and piece:
                connection.data_received(piece)
            await asyncio.sleep(0)
        if ends and not connection.is_lost:
            connection.connection_lost(None)

    feeding = asyncio.ensure_future(feed())
    try:
        await connection.send(method, b"x", b"", deadline=asyncio.get_running_loop().time() + 30)
        body = b""
        while data := await connection.read():
            body += data
        return connection.status, body
    except UpstreamFailure as failure:
        return failure.kind
    finally:
        await feeding
        connection.close()


def cut(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    pieces, position = [], 0
    for size in sizes:
        pieces.append(data[position : position + size])
        position += size
    return [*pieces, data[position:]]


ANSWERS: list[tuple[str, bytes, Any]] = [
    ("POST", b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", (200, b"abc")),
    ("POST", b"HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n", (200, b"")),
    ("POST",
     b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;x=y\r\nab\r\n"
     b"1\r\nc\r\n0\r\nt: u\r\n\r\n", (200, b"abc")),
    ("POST", b"HTTP/1.1 200 OK\r\n\r\nuntil the end", (200, b"until the end")),
    ("POST", b"HTTP/1.0 200 OK\r\n\r\nold", (200, b"old")),
    ("POST",
     b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\nlink: y\r\n\r\n"
     b"HTTP/1.1 201 C\r\ncontent-length: 1\r\n\r\nz", (201, b"z")),
    ("POST", b"HTTP/1.1 204 No\r\n\r\n", (204, b"")),
    ("POST", b"HTTP/1.1 304 No\r\ncontent-length: 5\r\n\r\n", (304, b"")),
    ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n", (200, b"")),
    ("POST",
     b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n"
     b"content-length: 4\r\n\r\nevil", (200, b"{}")),
    ("POST", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}garbage", (200, b"{}")),
    ("POST", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", "upstream_closed"),
    ("POST", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab", "upstream_closed"),
    ("POST", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "upstream_protocol"),
    ("POST", b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd", "upstream_protocol"),
    ("POST",
     b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n"
     b"content-length: 4\r\n\r\n0\r\n\r\n", "upstream_protocol"),
    ("POST", b"nonsense\r\n\r\n", "upstream_protocol"),
    ("POST", b"HTTP/1.1 200 OK\r\nx: " + b"a" * 300_000, "upstream_protocol"),
    ("POST", b"", "upstream_closed"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "data", "expected"), ANSWERS)
def test_an_answer_is_read_as_http_has_it_however_it_is_cut(method: str, data: bytes, expected: Any) -> None:
    for size in {1, 2, 3, 7, 50, len(data) + 1}:
        if len(data) > 10_000 and size < 50:
            continue
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        assert uvloop.run(exchange(pieces, method=method)) == expected


@settings(deadline=None, max_examples=200)
@given(st.lists(st.binary(min_size=1, max_size=50), max_size=6), st.lists(st.integers(1, 30), max_size=20))
def test_chunks_come_out_as_they_went_in(parts: list[bytes], sizes: list[int]) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    data = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"

    assert uvloop.run(exchange(cut(data, sizes))) == (200, b"".join(parts))


@settings(deadline=None, max_examples=300)
@given(
    st.binary(max_size=80),
    st.sampled_from([answer for _, answer, _ in ANSWERS if len(answer) < 1000]),
    st.integers(0, 60),
)
def test_no_bytes_break_the_client(noise: bytes, data: bytes, at: int) -> None:
    got = uvloop.run(exchange([data[:at] + noise, data[at:]]))

    assert got in {"upstream_closed", "upstream_protocol"} or isinstance(got, tuple)


def provider_of(url: str, **more: Any) -> Any:
    from pathlib import Path

    read = Settings.model_validate({"providers": {"p": {"base_url": url, **more}}})
    return routes_of(read, Path(), {}).providers["p"]


async def served(
    handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    ask: Callable[[str], Awaitable[Any]],
    tls: ssl.SSLContext | None = None,
) -> Any:
    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(closing, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    try:
        return await ask(f"http{'s' if tls else ''}://127.0.0.1:{port}/v1")
    finally:
        server.close()


def test_a_slow_reader_holds_the_provider_back() -> None:
    written = 0

    async def pours(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
        while written < 100_000_000:
            writer.write(b"x" * 100_000)
            written += 100_000
            await writer.drain()

    async def ask(url: str) -> None:
        pool = Pool(provider_of(url))
        answer = await pool.send(Request("GET", url, [], None, 30))
        await asyncio.sleep(0.2)  # long enough to pour all of it, if nothing held it back
        assert written < 20_000_000
        assert await answer.read()
        answer.abort()
        await pool.close()

    uvloop.run(served(pours, ask))


def test_connections_are_used_again_one_after_the_other_and_no_more_than_allowed() -> None:
    connections = 0

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx")

    async def ask(url: str) -> None:
        pool = Pool(provider_of(url, max_connections=3))

        async def one() -> bytes:
            answer = await pool.send(Request("GET", url, [], None, 30))
            data = await answer.read()
            assert await answer.read() == b""
            return data

        assert await asyncio.gather(*(one() for _ in range(40))) == [b"x"] * 40
        assert connections <= 3
        await pool.close()

    uvloop.run(served(answers, ask))


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that signs itself, and a server that shows it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    file = folder / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    authority = folder / "ca.pem"
    authority.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return authority, context


def test_tls_is_checked_against_the_configured_authority(tmp_path: Path) -> None:
    authority, context = certificate(tmp_path)

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx")
        await writer.drain()

    async def ask(url: str) -> None:
        trusting = Pool(provider_of(url, ca_file=str(authority)))
        answer = await trusting.send(Request("GET", url, [], None, 30))
        assert await answer.read() == b"x"
        await trusting.close()
        wary = Pool(provider_of(url))
        with pytest.raises(UpstreamFailure) as caught:
            await wary.send(Request("GET", url, [], None, 30))
        assert (caught.value.kind, caught.value.is_unsent) == ("connect_failed", True)
        await wary.close()

    asyncio.run(served(answers, ask, context))


def test_a_line_break_never_leaves_in_a_head() -> None:
    async def ask() -> None:
        pool = Pool(provider_of("http://127.0.0.1:9/v1"))
        with pytest.raises(AssertionError):
            await pool.send(Request("GET", "http://127.0.0.1:9/v1", [(b"x", b"a\r\nb: c")], None, 30))
        await pool.close()

    uvloop.run(ask())
