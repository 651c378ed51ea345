"""The started gateway on a bad day: a full disk, processes that stand still, a clock that goes back."""

from __future__ import annotations

import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from freehold.cli.recording import segment_age_s
from freehold.ledger.ingest import ingest
from freehold.ledger.store import Ledger
from freehold.ledger.verify import verify
from freehold.state.settings import LedgerSection
from tests.gateway.conftest import rows_in, running_gateway
from tests.gateway.test_gateway_command import CHAT, ask, children_of, process, segments, send, settings_of
from tests.gateway.upstream import ScriptedUpstream, answer, chat_events, completion, held_back, stream

if TYPE_CHECKING:
    from collections.abc import Iterator


FIELDS = [
    "id", "started_at", "task", "key_id", "key_name", "endpoint", "provider", "model_requested", "model_served",
    "route", "parent_id", "request_id", "completion_id", "conversation_id", "subject", "site_id", "service_tier",
    "model_version", "confidence", "status", "error_type", "stream", "input_tokens", "cache_read_tokens",
    "cache_write_tokens", "output_tokens", "reasoning_tokens", "ttft_ms", "duration_ms", "finish_reason",
    "client_closed", "truncated", "request", "response",
]  # fmt: skip
"""Of a row, as the contract names them."""


def freehold(folder: Path, *words: str) -> Any:  # Any: JSON
    """What a command says as JSON; it must not fail."""
    done = subprocess.run(
        [sys.executable, "-c", "from freehold.cli.main import main; main()", *words, "--json"],
        capture_output=True, text=True, check=False, cwd=folder, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def worker_of(child: subprocess.Popen[str]) -> int:
    """The process that answers, of a gateway with one worker and no housekeeping."""
    return (children_of(child.pid) or [child.pid])[0]


def test_a_full_disk_refuses_new_calls_holds_the_end_of_the_old_ones_and_goes_on_when_there_is_room(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.scripts = [answer(completion()), held_back(upstream), answer(completion())]
    with process(tmp_path, settings_of(upstream, "[ledger]\nmin_free_mib = 0\n")) as (child, port):
        assert send(port, CHAT, ask(0))[0] == 200
        body = b'{"model":"m","stream":true,"number":1,"messages":[]}'
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(b"POST %s HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"
                           % (CHAT.encode(), len(body), body))  # fmt: skip
            got = client.recv(65536)
            size = max(file.stat().st_size for file in segments(tmp_path).rglob("*.seg"))
            worker = worker_of(child)
            # Files of this process may grow by 100 bytes: what a disk does that is full, without being one.
            limit = resource.prlimit(worker, resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
            upstream.go_on.set()
            while send(port, "/readyz", b"", method="GET")[0] == 200:
                threading.Event().wait(0.01)  # until the end of the stream has come, and found no room
            status, told = send(port, CHAT, ask(2))
            assert (status, json.loads(told)["error"]["code"]) == (503, "ledger_full")
            client.setblocking(False)
            try:
                while part := client.recv(65536):
                    got += part
            except BlockingIOError:
                pass
            assert b"[DONE]" not in got  # the last byte waits for the record
            resource.prlimit(worker, resource.RLIMIT_FSIZE, limit)
            client.settimeout(20)
            got += b"".join(iter(lambda: client.recv(65536), b""))
        assert got.endswith(b"0\r\n\r\n")
        assert b"[DONE]" in got
        while send(port, "/readyz", b"", method="GET")[0] != 200:
            threading.Event().wait(0.01)
        assert send(port, CHAT, ask(3))[0] == 200
    found = freehold(tmp_path, "ledger", "stats")
    assert (found["calls"], found["open_without_close"], found["lost_records"]) == (3, 0, 0)


def test_a_worker_that_stands_still_loses_nothing_and_the_ledger_can_be_read_meanwhile(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.scripts = [answer(completion()), held_back(upstream), answer(completion())]
    with process(tmp_path, settings_of(upstream)) as (child, port):
        assert send(port, CHAT, ask(0))[0] == 200
        with ThreadPoolExecutor(5) as threads:
            streamed = threads.submit(send, port, CHAT, b'{"model":"m","stream":true,"number":1,"messages":[]}')
            while len(upstream.seen) < 2:
                threading.Event().wait(0.01)
            worker = worker_of(child)
            os.kill(worker, signal.SIGSTOP)
            waiting = [threads.submit(send, port, CHAT, ask(number)) for number in (2, 3, 4)]
            found = freehold(tmp_path, "ledger", "stats")
            assert (found["calls"], found["in_flight"], found["open_without_close"]) == (1, 1, 0)
            assert freehold(tmp_path, "ledger", "verify")["ok"]
            upstream.go_on.set()
            os.kill(worker, signal.SIGCONT)
            assert b"[DONE]" in streamed.result(20)[1]
            assert [one.result(20)[0] for one in waiting] == [200] * 3
    found = freehold(tmp_path, "ledger", "stats")
    assert (found["calls"], found["in_flight"], found["open_without_close"]) == (5, 0, 0)


def test_one_worker_that_stands_still_leaves_the_calls_to_the_other(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.scripts = [answer(completion())]
    with process(tmp_path, settings_of(upstream), "--workers", "2") as (child, port):
        stopped = children_of(child.pid)[0]
        os.kill(stopped, signal.SIGSTOP)
        try:
            told = []
            for number in range(30):
                try:
                    told.append(send_within(port, ask(number), timeout_s=5))
                except TimeoutError:
                    told.append(0)
        finally:
            os.kill(stopped, signal.SIGCONT)
        assert told.count(200) >= 29  # the kernel may have handed it one connection as it stopped
    assert len([row for row in rows_in(segments(tmp_path)) if row.close is not None]) == len(upstream.seen)


def send_within(port: int, body: bytes, *, timeout_s: float) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        connection.request("POST", CHAT, body)
        return connection.getresponse().status
    finally:
        connection.close()


@contextmanager
def provider_process() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A provider that can be stopped as a whole."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    load = Path(__file__).parent.parent.parent / "benchmarks" / "gateway_load.py"
    child = subprocess.Popen([sys.executable, str(load), "upstream", str(port)])
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.01)  # until it listens
        yield child, port
    finally:
        child.send_signal(signal.SIGCONT)
        child.terminate()
        child.wait(20)


def test_a_provider_that_stands_still_costs_time_outs_and_is_used_again_when_it_moves(tmp_path: Path) -> None:
    with provider_process() as (provider, port):
        fake = {"base_url": f"http://127.0.0.1:{port}/v1", "idle_timeout_s": 0.3, "retries": 0}
        with running_gateway(tmp_path, {"providers": {"fake": fake}}) as gateway:
            assert gateway.post(CHAT, ask(0))[0] == 200
            provider.send_signal(signal.SIGSTOP)
            told = [gateway.post(CHAT, ask(number)) for number in (1, 2)]
            assert [one[0] for one in told] == [504, 504]
            provider.send_signal(signal.SIGCONT)
            assert gateway.post(CHAT, ask(3))[0] == 200
            kinds = [row.close.error_type for row in gateway.closed_rows(4) if row.close]
    assert kinds == [None, "upstream_timeout", "upstream_timeout", None]


def test_a_clock_that_goes_back_reorders_nothing_and_loses_nothing(
    upstream: ScriptedUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.scripts = [answer(completion())]
    true_ns, shift_s = time.time_ns, [0]
    monkeypatch.setattr(time, "time_ns", lambda: true_ns() + shift_s[0] * 1_000_000_000)
    settings = {"providers": {"fake": {"base_url": upstream.base_url}}}
    day = 86_400
    with running_gateway(tmp_path, settings) as gateway:
        for shift_s[0] in (0, -3_600, -40 * day, 0, 2 * day, -60 * 365 * day):
            assert gateway.post(CHAT, ask(0))[0] == 200
            assert gateway.closed_rows(1)
            ingest(tmp_path)
    ingest(tmp_path)
    calls = list(Ledger(tmp_path / "calls").read())
    assert len({call.id for call in calls}) == len(calls) == 6
    assert all((call.duration_ms or 0) >= 0 and call.status == 200 for call in calls)
    assert sum(call.started_at is None for call in calls) == 1  # a clock of 1966 is none
    assert verify(tmp_path).ok


def test_a_ledger_that_cannot_be_written_is_told_before_anybody_calls(tmp_path: Path) -> None:
    (tmp_path / "freehold.toml").write_text('[providers.x]\nbase_url = "http://127.0.0.1:9/v1"\n', encoding="utf-8")
    events = tmp_path / ".freehold" / "events"
    events.mkdir(parents=True)
    (events / "segments").write_text("a file where a folder must be")
    done = subprocess.run(
        [sys.executable, "-c", "from freehold.cli.main import main; main()", "gateway", "--port", "0", "--config",
         str(tmp_path / "freehold.toml")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 2
    assert f"{events / 'segments'}: the ledger cannot be written there" in done.stderr
    assert "Traceback" not in done.stderr


def test_masked_text_is_on_the_disk_for_moments_alone(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.scripts = [answer(completion("write to ada.lovelace@example.org"))]
    settings = settings_of(upstream, '[ledger]\nbodies = "mask"\nsegment_age_s = 1\n')
    with process(tmp_path, settings, housekeeping=True) as (_, port):
        body = {"model": "m", "messages": [{"role": "user", "content": "I am ada.lovelace@example.org"}]}
        assert b"ada.lovelace" in send(port, CHAT, json.dumps(body).encode())[1]
        events = tmp_path / ".freehold" / "events"
        for _ in range(3000):
            files = list((events / "calls").glob("day=*/*.parquet"))
            if files and not _holds(events, b"ada.lovelace"):
                break
            threading.Event().wait(0.02)
        (row,) = (row for file in files for row in pq.read_table(file).to_pylist())
        assert not _holds(events, b"ada.lovelace")
    assert "I am [EMAIL_1]" in row["request"]
    assert "write to [EMAIL_1]" in row["response"]


def _holds(folder: Path, text: bytes) -> bool:
    for file in folder.rglob("*"):
        try:
            if file.is_file() and text in file.read_bytes():
                return True
        except FileNotFoundError:
            continue  # it was removed just now
    return False


@pytest.mark.parametrize(
    ("section", "seconds"),
    [
        ({}, 300),
        ({"bodies": "mask"}, 30),
        ({"tasks": {"support": {"bodies": "mask"}}}, 30),
        ({"bodies": "mask", "segment_age_s": 120}, 120),
        ({"tasks": {"support": {"bodies": "none"}}}, 300),
    ],
)
def test_segments_are_short_where_text_is_masked(section: dict[str, Any], seconds: float) -> None:
    assert segment_age_s(LedgerSection.model_validate(section)) == seconds


def test_after_a_kill_stats_and_export_take_in_what_segments_hold_under_the_names_of_the_contract(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.scripts = [answer(completion()), stream(chat_events("a")), held_back(upstream)]
    with process(tmp_path, settings_of(upstream)) as (child, port):
        assert send(port, CHAT, ask(0))[0] == 200
        assert b"[DONE]" in send(port, CHAT, b'{"model":"m","stream":true,"number":1,"messages":[]}')[1]
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            body = b'{"model":"m","stream":true,"number":2,"messages":[]}'
            client.sendall(b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s"
                           % (CHAT.encode(), len(body), body))  # fmt: skip
            assert client.recv(65536)
            child.kill()
            child.wait()
    export = ("ledger", "export", "--format")
    assert freehold(tmp_path, *export, "jsonl", "--out", str(tmp_path / "rows.jsonl"))["rows"] == 3
    assert freehold(tmp_path, *export, "parquet", "--out", str(tmp_path / "rows.parquet"))["rows"] == 3
    found = freehold(tmp_path, "ledger", "stats")
    assert {name: found[name] for name in ("calls", "open_without_close", "lost_records", "by_route")} == {
        "calls": 3, "open_without_close": 1, "lost_records": 0, "by_route": {"rent": 3}
    }  # fmt: skip
    assert {"segments", "bytes"} <= found.keys()
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [set(row) for row in rows] == [set(FIELDS)] * 3
    assert pq.read_table(tmp_path / "rows.parquet").column_names == list(rows[0])
    assert [row["request"]["number"] for row in rows] == [0, 1, 2]
    assert [row["error_type"] for row in rows] == [None, None, "never_closed"]
    assert (rows[1]["input_tokens"], rows[1]["output_tokens"], rows[1]["stream"]) == (7, 3, True)
    told = freehold(tmp_path, "ledger", "verify")
    assert (told["ok"], told["damaged"]) == (True, [])
