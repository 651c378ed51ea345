"""The gateway under everything at once for a long time, and with bodies that do not fit: is its memory flat?

    .venv/bin/python benchmarks/gateway_soak.py --minutes 10      # mixed load, housekeeping on
    .venv/bin/python benchmarks/gateway_soak.py --large           # 24 MB bodies, streams of 10,000 chunks

The soak asks in turns: whole answers, streams, bodies of 3 MB, clients that leave in the middle of a stream, and
nonsense. Every answer is looked at. At the end the ledger must be sound and hold each call that was answered.
Raw figures are kept in --out.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from gateway import MESSAGES, System, start_freehold, start_upstream, tree_of

MIB = 1 << 20
KINDS = ("whole", "stream", "whole", "left", "whole", "stream", "nonsense")
"""In turns; one call in 64 is large."""


def memory_mb(pid: int) -> dict[str, float]:
    """Resident memory of each process of the tree now, and the most it ever was, in MB."""
    told: dict[str, float] = {}
    for number, one in enumerate(tree_of(pid)):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{one}/status").read_text(encoding="utf-8").splitlines()
            fields = {name: value for name, _, value in (line.partition(":") for line in lines)}
            told[f"{number} now"] = int(fields["VmRSS"].split()[0]) * 1024 / 1e6
            told[f"{number} most"] = int(fields["VmHWM"].split()[0]) * 1024 / 1e6
    return told


def post(port: int, body: bytes) -> tuple[int, bytes]:
    """One call on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def leave(port: int, body: bytes) -> None:
    """Begin a stream, read a little of it, and be gone."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
        client.sendall(head + body)
        client.recv(2000)


class Load:
    """Threads that ask, and what came of it."""

    def __init__(self, port: int) -> None:
        """Ask the gateway at this port."""
        self.counts: Counter[str] = Counter()
        self.is_over = threading.Event()
        self._port = port
        self._lock = threading.Lock()
        whole = {"messages": MESSAGES, "model": "m"}
        self._whole = json.dumps(whole).encode()
        self._stream = json.dumps({**whole, "stream": True}).encode()
        self._large = json.dumps({**whole, "padding": "x" * 3 * MIB}).encode()

    def run(self, number: int) -> None:
        """One thread: kinds in turns."""
        turn = number
        while not self.is_over.is_set():
            kind = "large" if turn % 64 == 7 else KINDS[turn % len(KINDS)]
            turn += 1
            try:
                found = self._ask(kind)
            except (OSError, http.client.HTTPException) as error:
                found = f"{kind}: {type(error).__name__}"
            with self._lock:
                self.counts[found] += 1

    def _ask(self, kind: str) -> str:
        if kind == "left":
            leave(self._port, self._stream)
            return "left"
        if kind == "nonsense":
            with socket.create_connection(("127.0.0.1", self._port), timeout=60) as client:
                client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n")
                return "nonsense refused" if b" 400 " in client.recv(1000) else "nonsense taken"
        status, body = post(self._port, {"whole": self._whole, "stream": self._stream, "large": self._large}[kind])
        is_right = status == 200 and (b"[DONE]" in body if kind == "stream" else b'"usage"' in body)
        return kind if is_right else f"{kind}: {status}"


def soak(minutes: float, folder: Path, *, threads: int) -> dict[str, object]:
    """Mixed load, and the memory of every process every few seconds."""
    told: list[dict[str, float]] = []
    began = time.monotonic()
    with ExitStack() as stack:
        upstream = start_upstream(stack)
        system = start_freehold(stack, folder, upstream, housekeeping=True)
        load = Load(system.port)
        asking = [threading.Thread(target=load.run, args=(number,)) for number in range(threads)]
        for thread in asking:
            thread.start()
        while (passed := time.monotonic() - began) < minutes * 60:
            time.sleep(min(10.0, minutes * 6))
            told.append({"s": round(passed), "calls": sum(load.counts.values()), **memory_mb(system.pid)})
            print(told[-1], file=sys.stderr)
        load.is_over.set()
        for thread in asking:
            thread.join()
    ledger = {name: freehold(folder / system.name, "ledger", name) for name in ("stats", "verify")}
    return {"memory": told, "growth_mb": growth(told), "counts": dict(load.counts), "ledger": ledger}


def growth(told: list[dict[str, float]]) -> dict[str, float]:
    """By how much each process grew from the second quarter of the time to the last one (medians)."""
    quarter = max(1, len(told) // 4)
    names = [name for name in told[-1] if name.endswith("now")]
    return {
        name.split()[0]: round(
            statistics.median(one[name] for one in told[-quarter:])
            - statistics.median(one.get(name, one["s"] * 0) for one in told[quarter : 2 * quarter] or told),
            2,
        )
        for name in names
    }


def freehold(workspace: Path, *words: str) -> dict[str, object]:
    """What a command says as JSON."""
    command = [str(Path(sys.executable).with_name("freehold")), *words, "--json"]
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=False)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def large(folder: Path) -> dict[str, object]:
    """Peak memory of a worker before and after large bodies and long streams, four at a time."""
    told: dict[str, object] = {}
    with ExitStack() as stack:
        upstream = start_upstream(stack)
        system = start_freehold(stack, folder, upstream)
        small = json.dumps({"messages": MESSAGES, "model": "m"}).encode()
        for _ in range(200):
            assert post(system.port, small)[0] == 200
        told["after 200 small calls"] = memory_mb(system.pid)
        picture = json.dumps({"messages": [{"role": "user", "content": "x" * 24 * MIB}], "model": "m"}).encode()
        told["after 40 bodies of 24 MB"] = _many(system, picture, 40)
        stream = json.dumps({"messages": MESSAGES, "model": "m", "stream": True, "events": 10_000}).encode()
        told["after 40 streams of 10,000 chunks"] = _many(system, stream, 40, events=10_000)
        told["after 160 more"] = _many(system, stream, 160, events=10_000)
        told["after 80 more bodies"] = _many(system, picture, 80)
    return told


def _many(system: System, body: bytes, times: int, *, events: int | None = None) -> dict[str, float]:
    def ask(count: int) -> None:
        for _ in range(count):
            status, got = post(system.port, body)
            assert status == 200
            assert events is None or got.count(b"data: ") >= events

    threads = [threading.Thread(target=ask, args=(times // 4,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return memory_mb(system.pid)


def main() -> None:
    """Run one of both, print it, keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/gateway"))
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--large", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="freehold-soak-"))
    try:
        result = large(folder) if options.large else soak(options.minutes, folder, threads=options.threads)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    file = options.out / f"{'large' if options.large else 'soak'}-{int(time.time())}.json"
    file.write_text(json.dumps(result, indent=1), encoding="utf-8")
    print(json.dumps({name: value for name, value in result.items() if name != "memory"}, indent=1))
    print(f"raw figures: {file}", file=sys.stderr)


if __name__ == "__main__":
    main()
