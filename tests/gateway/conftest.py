"""A gateway on a real socket with a real segment writer, in front of a provider that tests script byte by byte."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from freehold.cli.gateway_worker import setup_of
from freehold.core.subject import Subjects
from freehold.gateway.app import Gateway, Setup
from freehold.gateway.http.outbox import Outbox
from freehold.gateway.http.pool import Pool
from freehold.gateway.http.server import HttpLimits, HttpServer
from freehold.gateway.limits.admission import OpenDoor
from freehold.gateway.providers.routes import routes_of
from freehold.gateway.server import listen
from freehold.gateway.watch.metrics import Counters
from freehold.ledger.frames import Gap, Kind, frames_in
from freehold.ledger.records import decode_close, decode_open, id_text
from freehold.ledger.segment_files import writer_folders
from freehold.ledger.segments import SegmentWriter
from freehold.state.settings import Settings
from tests.gateway.upstream import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from freehold.gateway.limits.admission import Admission
    from freehold.ledger.records import CloseRecord, OpenRecord

SUBJECTS = Subjects(b"a secret of tests")


@dataclass(slots=True)
class Row:
    """One attempt as the segments hold it."""

    id: str
    open: OpenRecord | None = None
    close: CloseRecord | None = None
    request: bytes = b""
    response: bytes = b""


def rows_in(folder: Path) -> list[Row]:
    """Every attempt that any worker recorded, in order."""
    rows: dict[bytes, Row] = {}
    for writer in writer_folders(folder):
        for segment in writer.segments():
            data = segment.path.read_bytes()
            for frame in frames_in(data, salt=writer.salt):
                if isinstance(frame, Gap) or frame.kind in {Kind.START, Kind.SEAL}:
                    continue
                payload = data[frame.payload_start : frame.end]
                row = rows.setdefault(frame.call_id, Row(id_text(frame.call_id)))
                match frame.kind:
                    case Kind.OPEN:
                        row.open = decode_open(payload)
                    case Kind.REQUEST:
                        row.request += payload
                    case Kind.RESPONSE:
                        row.response += payload
                    case Kind.CLOSE:
                        row.close = decode_close(payload)
    return list(rows.values())


@dataclass
class Running:
    """A gateway that can be asked."""

    app: Gateway
    port: int
    segments: Path
    stop: Callable[[], None]
    loop: asyncio.AbstractEventLoop
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def rows(self) -> list[Row]:
        return rows_in(self.segments)

    def closed_rows(self, count: int) -> list[Row]:
        """Wait until so many attempts are over."""
        for _ in range(1000):
            rows = [row for row in self.rows() if row.close is not None]
            if len(rows) >= count:
                return rows
            threading.Event().wait(0.01)  # an attempt whose client left is closed a moment later
        raise AssertionError(f"{len(rows)} of {count} attempts were closed")

    def post(
        self, path: str, body: bytes | Mapping[str, Any], method: str = "POST", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own, without a client library's opinions."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent = {"content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
            connection.request(method, path, data, sent)
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        finally:
            connection.close()


@contextmanager
def running_gateway(
    folder: Path,
    settings: Mapping[str, Any],
    *,
    environment: Mapping[str, str] | None = None,
    admission: Admission | None = None,
    drain_s: float = 5.0,
    writer: Callable[[Path], SegmentWriter] | None = None,
    limits: HttpLimits | None = None,
) -> Iterator[Running]:
    """A gateway in a thread of this process, with these settings."""
    segments = folder / "segments"
    made = writer(segments) if writer else SegmentWriter(segments, worker="w0", min_free_bytes=0)
    setup = setup_from(folder, settings, environment=environment, admission=admission)
    counters = Counters(folder, "w0")
    outbox = Outbox(made)
    app = Gateway(
        setup, writer=made, counters=counters, open_upstream=lambda provider: Pool(provider, outbox), spool=folder
    )
    with listen("127.0.0.1", 0) as listener:
        loop = uvloop.new_event_loop()
        ready = threading.Event()
        stopping = asyncio.Event()

        async def main() -> None:
            server = HttpServer(app.serve, limits, outbox=outbox)
            async with app.alive():
                await server.start(listener)
                ready.set()
                await stopping.wait()
                await server.stop(drain_s)

        def stop() -> None:
            loop.call_soon_threadsafe(stopping.set)

        running = Running(app, listener.getsockname()[1], segments, stop, loop)

        def work() -> None:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(main())
            running.over.set()

        thread = threading.Thread(target=work)
        thread.start()
        assert ready.wait(10)
        try:
            yield running
        finally:
            if not running.over.is_set():
                running.stop()
            thread.join()
            made.seal()


def setup_from(
    folder: Path,
    settings: Mapping[str, Any],
    *,
    environment: Mapping[str, str] | None = None,
    admission: Admission | None = None,
) -> Setup:
    """What the settings say, as a worker uses it."""
    read = Settings.model_validate(settings)
    return setup_of(read, routes_of(read, folder, environment or {}), admission or OpenDoor(), SUBJECTS)


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    """A provider; its scripts are the test's."""
    with ScriptedUpstream() as provider:
        yield provider


@pytest.fixture
def gateway(upstream: ScriptedUpstream, tmp_path: Path) -> Iterator[Running]:
    """A gateway in front of `upstream`, set up in four lines of settings."""
    settings = {"providers": {"fake": {"base_url": upstream.base_url, "api_key_env": "FAKE_KEY", "retries": 0}}}
    with running_gateway(tmp_path, settings, environment={"FAKE_KEY": "sk-upstream"}) as running:
        yield running
