"""`freehold gateway` as a process: workers, signals, kill -9, settings."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from tests.gateway.conftest import rows_in
from tests.gateway.upstream import (
    ScriptedUpstream,
    answer,
    chat_events,
    completion,
    held_back,
    stream,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

CHAT = "/v1/chat/completions"
SECRET = "sk-never-to-be-seen"


@contextmanager
def process(
    folder: Path, settings: str, *options: str, housekeeping: bool = False
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The command as a child of this test, and the port it listens on. Without housekeeping, segments stay."""
    file = folder / "freehold.toml"
    file.write_text(settings, encoding="utf-8")
    child = subprocess.Popen(
        [sys.executable, "-c", "from freehold.cli.main import main; main()",
         "gateway", "--port", "0", "--config", str(file), *options],
        stderr=subprocess.PIPE, text=True,
        env={**os.environ, "FAKE_KEY": SECRET, "FREEHOLD_GATEWAY__HOUSEKEEPING": str(housekeeping)},
    )  # fmt: skip
    assert child.stderr is not None
    try:
        first = child.stderr.readline()
        while not first.startswith("Gateway at "):
            assert child.poll() is None or first, "the gateway did not start"
            first = child.stderr.readline()
        port = int(first.split(":")[2].split(",")[0])
        assert send(port, "/readyz", b"", method="GET")[0] == 200
        yield child, port
    finally:
        if child.poll() is None:
            child.terminate()
        child.wait(30)
        child.stderr.close()


def send(port: int, path: str, body: bytes, method: str = "POST", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def settings_of(upstream: ScriptedUpstream, more: str = "") -> str:
    return f'[providers.fake]\nbase_url = "{upstream.base_url}"\napi_key_env = "FAKE_KEY"\n{more}'


def children_of(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def segments(folder: Path) -> Path:
    return folder / ".freehold" / "events" / "segments"


def ask(number: int) -> bytes:
    return json.dumps({"model": "m", "messages": [], "number": number}).encode()


def test_four_lines_of_settings_serve_every_model(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.scripts = [answer(completion())]
    with process(tmp_path, settings_of(upstream, "[gateway]\nlog_calls = true\n")) as (child, port):
        assert send(port, CHAT, ask(1), authorization="Bearer client-secret")[0] == 200
        child.terminate()
        assert child.wait(20) == 0
        assert child.stderr is not None
        logged = child.stderr.read()
    line = json.loads(next(line for line in logged.splitlines() if '"event": "call"' in line))
    assert (line["endpoint"], line["task"], line["model"]) == (CHAT, "default", "m")
    assert SECRET not in logged
    assert "client-secret" not in logged
    assert upstream.seen[0].header("authorization") == f"Bearer {SECRET}"
    written = b"".join(file.read_bytes() for file in segments(tmp_path).rglob("*.seg"))
    assert SECRET.encode() not in written
    assert b"client-secret" not in written


def test_workers_count_together_and_one_that_is_killed_is_replaced(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.scripts = [answer(completion())]
    with process(tmp_path, settings_of(upstream), "--workers", "2") as (child, port):
        done = 0
        while len(rows_in(segments(tmp_path))) < 20 or done < 20:
            assert send(port, CHAT, ask(done))[0] == 200
            done += 1
        workers = children_of(child.pid)
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        while len(alive := children_of(child.pid)) < 2 or workers[0] in alive:
            time.sleep(0.01)  # the parent starts another one
        for number in range(10):
            assert send(port, CHAT, ask(number))[0] == 200
        page = send(port, "/metrics", b"", method="GET")[1].decode()
        counts = [line for line in page.splitlines() if line.startswith("freehold_requests_total{")]
        assert sum(float(line.rpartition(" ")[2]) for line in counts) == done + 10
        child.terminate()
        assert child.wait(20) == 0
    rows = rows_in(segments(tmp_path))
    assert len([row for row in rows if row.close is not None]) == done + 10


def test_every_call_that_was_answered_is_on_disk_after_kill_9(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.scripts = [
        lambda seen, writer: (stream(chat_events("a")) if seen.json.get("stream") else answer(completion()))(
            seen, writer
        )
    ]
    answered: list[int] = []
    stop = threading.Event()

    def load(start: int, port: int) -> None:
        number = start
        while not stop.is_set():
            body = json.loads(ask(number))
            if number % 2:
                body["stream"] = True
            try:
                status, got = send(port, CHAT, json.dumps(body).encode())
            except (OSError, http.client.HTTPException):
                return
            if status == 200 and (not number % 2 or b"[DONE]" in got):
                answered.append(number)
            number += 1

    with process(tmp_path, settings_of(upstream)) as (child, port):
        threads = [threading.Thread(target=load, args=(1_000_000 * one, port)) for one in range(4)]
        for thread in threads:
            thread.start()
        while len(answered) < 200:
            time.sleep(0.01)  # load
        child.kill()
        child.wait()
        stop.set()
        for thread in threads:
            thread.join()
    rows = rows_in(segments(tmp_path))
    kept = {json.loads(row.request)["number"] for row in rows if row.close is not None and row.close.status == 200}
    assert set(answered) <= kept
    assert all(row.response.endswith(b"[DONE]\n\n") for row in rows if row.close and b'"stream"' in row.request)
    assert len(rows) - len(kept) <= 4  # those that were under way are there too, open


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_lets_a_stream_end(upstream: ScriptedUpstream, tmp_path: Path, workers: str) -> None:
    upstream.scripts = [held_back(upstream)]
    with process(tmp_path, settings_of(upstream), "--workers", workers) as (child, port):
        body = b'{"model":"m","stream":true}'
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
            )
            got = client.recv(65536)
            child.terminate()
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                except OSError:
                    break
                time.sleep(0.01)  # until it takes no new calls
                if workers == "2":
                    break  # the parent still holds the socket
            upstream.go_on.set()
            got += b"".join(iter(lambda: client.recv(65536), b""))
        assert got.endswith(b"[DONE]\n\n\r\n0\r\n\r\n") or got.endswith(b"0\r\n\r\n")
        assert child.wait(20) == 0
    (row,) = rows_in(segments(tmp_path))
    assert row.close is not None
    assert (row.close.status, row.close.error_type) == (200, None)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sighup_reads_the_settings_anew_and_wrong_ones_change_nothing(
    upstream: ScriptedUpstream, tmp_path: Path, workers: str
) -> None:
    upstream.scripts = [answer(completion("old"))]
    with (
        ScriptedUpstream([answer(completion("new"))]) as other,
        process(tmp_path, settings_of(upstream), "--workers", workers) as (child, port),
    ):
        assert b"old" in send(port, CHAT, ask(1))[1]
        assert child.stderr is not None
        (tmp_path / "freehold.toml").write_text("[providers.fake]\nbase_ulr = 1\n", encoding="utf-8")
        child.send_signal(signal.SIGHUP)
        assert "the old ones stay" in _line_with("settings", child)
        assert b"old" in send(port, CHAT, ask(2))[1]
        (tmp_path / "freehold.toml").write_text(settings_of(other), encoding="utf-8")
        child.send_signal(signal.SIGHUP)
        for _ in range(int(workers)):
            assert "read again" in _line_with("settings", child)
        assert b"new" in send(port, CHAT, ask(3))[1]


def _line_with(word: str, child: subprocess.Popen[str]) -> str:
    assert child.stderr is not None
    while word not in (line := child.stderr.readline()):
        assert line, "the gateway ended"
    return line


def test_keys_limits_and_rules_hold_at_the_gateway(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    from freehold.state.database import open_state
    from freehold.state.keys import create_key
    from freehold.state.limits import Limit

    upstream.scripts = [answer(completion())]
    rules = '[[tasks.rules]]\ntask = "small"\nmodel = "mini-*"\n'
    with process(tmp_path, settings_of(upstream, rules)) as (_, port):
        assert send(port, CHAT, ask(1))[0] == 200  # open, as no key was ever made
        engine = open_state(f"sqlite:///{tmp_path / '.freehold' / 'state.db'}")
        _, secret = create_key(engine, "desk", models=("m*",), limits=(Limit("requests", "day", 3),))
        engine.dispose()
        deadline = time.monotonic() + 20
        while send(port, CHAT, ask(2))[0] != 401:
            assert time.monotonic() < deadline
            time.sleep(0.05)  # every worker sees a new key within two seconds
        status, body = send(port, CHAT, ask(3), authorization="Bearer fh-wrong")
        assert (status, json.loads(body)["error"]["type"]) == (401, "authentication_error")
        told = [send(port, CHAT, ask(one), x_api_key=secret) for one in range(4)]
        assert [status for status, _ in told] == [200, 200, 200, 429]
        status, body = send(port, CHAT, b'{"model":"other"}', authorization=f"Bearer {secret}")
        assert (status, json.loads(body)["error"]["code"]) == (403, "model_not_allowed")
        assert upstream.seen[-1].header("x-api-key") is None
    rows = rows_in(segments(tmp_path))
    assert {row.open.key_id is not None for row in rows[-3:] if row.open} == {True}
    assert secret.encode() not in b"".join(file.read_bytes() for file in segments(tmp_path).rglob("*.seg"))


def test_what_was_recorded_becomes_rows_without_anybody_asking(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    upstream.scripts = [answer(completion())]
    with process(tmp_path, settings_of(upstream), "--workers", "2", housekeeping=True) as (child, port):
        for number in range(3):
            assert send(port, CHAT, ask(number))[0] == 200
        assert [row["number"] for row in _rows_within(30, tmp_path, 3)] == [0, 1, 2]
        assert child.stderr is not None
        (house,) = (pid for pid in children_of(child.pid) if os.getpriority(os.PRIO_PROCESS, pid) > 0)
        os.kill(house, signal.SIGKILL)
        assert "housekeeping ended and is started again" in _line_with("housekeeping", child)
        while len(children_of(child.pid)) < 3:
            time.sleep(0.01)  # the parent starts another one
        assert send(port, CHAT, ask(3))[0] == 200
        child.terminate()
        assert child.wait(30) == 0
    assert len(_rows_within(0, tmp_path, 4)) == 4  # its last round was after the last call
    assert list(segments(tmp_path).rglob("*.seg")) == []


def _rows_within(seconds: float, folder: Path, count: int) -> list[dict[str, Any]]:
    """Requests in the Parquet files, as soon as there are so many."""
    deadline = time.monotonic() + seconds
    while True:
        files = sorted((folder / ".freehold" / "events" / "calls").glob("day=*/*.parquet"))
        rows = [json.loads(one) for file in files for one in pq.read_table(file).column("request").to_pylist()]
        if len(rows) >= count or time.monotonic() > deadline:
            return sorted(rows, key=lambda row: row["number"])
        time.sleep(0.05)


def test_workers_die_with_a_parent_that_is_killed(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    with process(tmp_path, settings_of(upstream), "--workers", "2") as (child, port):
        workers = children_of(child.pid)
        child.kill()
        child.wait()
        deadline = time.monotonic() + 20
        while any(Path(f"/proc/{pid}/exe").exists() for pid in workers) or not is_free(port):
            assert time.monotonic() < deadline
            time.sleep(0.01)  # the kernel ends them


def is_free(port: int) -> bool:
    """Nobody listens there any more, neither a worker nor what keeps house beside them."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def test_what_cannot_start_says_why(tmp_path: Path) -> None:
    def run(settings: str, *options: str) -> Any:
        (tmp_path / "freehold.toml").write_text(settings, encoding="utf-8")
        command = [sys.executable, "-c", "from freehold.cli.main import main; main()", "gateway", *options]
        config = ["--config", str(tmp_path / "freehold.toml")]
        return subprocess.run([*command, *config], capture_output=True, text=True, timeout=60, check=False)

    none = run("")
    assert (none.returncode, "No provider is set" in none.stderr) == (2, True)
    wrong = run('[providers.x]\nbase_url = "http://x"\napi_key_env = "NOT_SET_ANYWHERE"\n')
    assert (wrong.returncode, "NOT_SET_ANYWHERE" in wrong.stderr) == (2, True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        busy = run('[providers.x]\nbase_url = "http://x"\n', "--port", port)
    assert (busy.returncode, "Choose another --port" in busy.stderr) == (2, True)
