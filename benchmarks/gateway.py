"""CPU per call of the gateway's process tree, against nginx, LiteLLM and TensorZero on the same machine and load.

Each system proxies the same provider (a process of its own that costs next to nothing), in interleaved rounds, so
that whatever else the machine does falls on all alike. The ledger is on, with bodies; the others log nothing. A
system that is not installed is left out, and the result says so. The raw figures of every round are kept.

    .venv/bin/python benchmarks/gateway.py --out build/gateway --rounds 5 --seconds 4
    .venv/bin/python benchmarks/gateway.py --kills 20      # completed calls lost to kill -9 under load
    .venv/bin/python benchmarks/gateway.py --calls 100000  # memory of a worker over so many calls
    .venv/bin/python benchmarks/gateway.py --ledger-share  # the same gateway with and without a ledger, in turns

LiteLLM and TensorZero live in environments of their own, named by --litellm and --tensorzero (their Python):
    python -m venv build/litellm && build/litellm/bin/pip install 'litellm[proxy]'
    python -m venv build/tensorzero && build/tensorzero/bin/pip install tensorzero
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from freehold.ledger.scan import Scan
from freehold.ledger.segment_files import writer_folders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOAD = Path(__file__).with_name("gateway_load.py")
CONNECTIONS = 16
MESSAGES = [
    {"role": "system", "content": "You name the intent of a customer's message. " * 8},
    {"role": "user", "content": "My card was swallowed by the machine at the station and I am leaving tomorrow. " * 3},
]
NGINX = """
daemon off; worker_processes {workers}; error_log {folder}/nginx.err; pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  upstream provider {{ server 127.0.0.1:{upstream}; keepalive 64; }}
  server {{ listen 127.0.0.1:{port}; keepalive_requests 1000000; location / {{
    proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }} }}
}}
"""
LITELLM = """
model_list:
  - model_name: m
    litellm_params: {{model: openai/m, api_base: "http://127.0.0.1:{upstream}/v1", api_key: none}}
litellm_settings: {{telemetry: false}}
"""
TENSORZERO = """
[gateway]
observability.enabled = false
[models.m]
routing = ["p"]
[models.m.providers.p]
type = "openai"
model_name = "m"
api_base = "http://127.0.0.1:{upstream}/v1/"
api_key_location = "none"
"""
TENSORZERO_SERVE = """
import asyncio, sys
from tensorzero.tensorzero import _start_http_gateway
async def main():
    options = {"clickhouse_url": None, "postgres_url": None, "valkey_url": None, "async_setup": False}
    started = _start_http_gateway(config_file=sys.argv[1], **options)
    print(started.base_url, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


WITHOUT_LEDGER = """
import sys
from freehold.cli import recording
class Nothing:
    room = is_durable = True
    has_promised = False
    def opened(self, call_id, head, body=b""): pass
    def request_of(self, call_id): return self
    def response_of(self, call_id): return self
    def add(self, piece): return True
    def commit(self): return True
    def closed(self, call_id, tail, body=b""): pass
    def seal(self): pass
recording.open_writer = lambda *arguments, **options: Nothing()
from freehold.cli.main import main
main()
"""
"""A gateway that records nothing. What is left in it is that the two records are made (RECORDS)."""
RECORDS = """
import time
from freehold.ledger.records import CloseRecord, OpenRecord, new_call_id
before = time.process_time()
for number in range(100_000):
    new_call_id(number)
    OpenRecord(task="default", started_at_us=number, endpoint="/v1/chat/completions", provider="p",
               model_requested="m", route="rent", request_id="r", stream=False, dialect="openai-chat",
               request_content_type="application/json")
    CloseRecord(duration_ms=1.0, status=200, model_served="m", completion_id="c", finish_reason="stop",
                input_tokens=1, output_tokens=1, response_content_type="application/json")
print((time.process_time() - before) * 10)
"""


@dataclass(frozen=True, slots=True)
class System:
    """One proxy under test."""

    name: str
    pid: int
    port: int
    path: str = "/v1/chat/completions"
    model: str = "m"


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def tree_of(pid: int) -> list[int]:
    """A process and all that it started."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += tree_of(int(child))
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds of a process tree so far, as the scheduler counts them: ticks would miss short turns."""
    total = 0
    for one in tree_of(pid):
        for task in Path(f"/proc/{one}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def rss_mb(pid: int) -> float:
    """Resident memory of the largest process of a tree, in MB."""
    pages = [int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in tree_of(pid)]
    return max(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def child(command: list[str], **more: object) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with this block."""
    process = subprocess.Popen(command, **more)  # type: ignore[call-overload]  # passed through
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(port: int, process: subprocess.Popen[bytes], timeout_s: float = 120) -> float:
    """Seconds until somebody listens on the port."""
    began = time.perf_counter()
    while time.perf_counter() - began < timeout_s:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return time.perf_counter() - began
    raise RuntimeError(f"{process.args!r} does not listen")


def start_freehold(
    stack: ExitStack,
    folder: Path,
    upstream: int,
    *,
    name: str = "freehold",
    workers: int = 1,
    housekeeping: bool = False,
    has_ledger: bool = True,
) -> System:
    """The gateway with its ledger, bodies included; `housekeeping` makes Parquet of it beside the calls."""
    port = free_port()
    work = folder / name
    work.mkdir(parents=True)
    file = work / "freehold.toml"
    provider = f'[providers.p]\nbase_url = "http://127.0.0.1:{upstream}/v1"\n'
    file.write_text(f"[gateway]\nhousekeeping = {str(housekeeping).lower()}\n{provider}", encoding="utf-8")
    program = [str(Path(sys.executable).with_name("freehold"))]
    command = [*(program if has_ledger else [sys.executable, "-c", WITHOUT_LEDGER]), "gateway", "--port", str(port)]
    command += ["--workers", str(workers), "--config", str(file)]
    process = stack.enter_context(child(command, stderr=subprocess.DEVNULL))
    wait_for(port, process)
    return System(name, process.pid, port)


def start_nginx(stack: ExitStack, folder: Path, upstream: int) -> System | None:
    """As a reverse proxy that keeps connections."""
    if shutil.which("nginx") is None:
        return None
    port = free_port()
    work = folder / "nginx"
    work.mkdir()
    file = work / "nginx.conf"
    file.write_text(NGINX.format(folder=work, upstream=upstream, port=port, workers=1), encoding="utf-8")
    process = stack.enter_context(child(["nginx", "-c", str(file), "-e", str(work / "err")], stderr=subprocess.DEVNULL))
    wait_for(port, process)
    return System("nginx", process.pid, port)


def elsewhere() -> dict[str, str]:
    """The environment of a program that lives in another Python."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def start_litellm(stack: ExitStack, folder: Path, upstream: int, python: Path | None) -> System | None:
    """LiteLLM's proxy, without a database."""
    if python is None or not python.exists():
        return None
    port = free_port()
    file = folder / "litellm.yaml"
    file.write_text(LITELLM.format(upstream=upstream), encoding="utf-8")
    command = [str(python.with_name("litellm")), "--config", str(file), "--port", str(port), "--num_workers", "1"]
    environment = {
        **elsewhere(),
        "LITELLM_LOG": "ERROR",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # open on loopback, as Freehold is here
    }
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = stack.enter_context(child(command, env=environment, **quiet))
    wait_for(port, process, 180)
    return System("litellm", process.pid, port)


def start_tensorzero(stack: ExitStack, folder: Path, upstream: int, python: Path | None) -> System | None:
    """TensorZero's gateway, as its Python package starts it; observability off."""
    if python is None or not python.exists():
        return None
    file = folder / "tensorzero.toml"
    file.write_text(TENSORZERO.format(upstream=upstream), encoding="utf-8")
    command = [str(python), "-c", TENSORZERO_SERVE, str(file)]
    environment = {**elsewhere(), "RUST_LOG": "error"}
    process = stack.enter_context(child(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
    assert process.stdout is not None
    address = next((line.decode() for line in process.stdout if line.startswith(b"http")), "")
    port = urlsplit(address.strip()).port
    if port is None:
        raise RuntimeError("it told no address")
    wait_for(port, process)
    return System("tensorzero", process.pid, port, "/openai/v1/chat/completions", "tensorzero::model_name::m")


def load(system: System, folder: Path, *, is_stream: bool, seconds: float, connections: int) -> dict[str, float]:
    """One round: what the clients saw, and the CPU that the system took."""
    body = folder / f"{system.name}-{is_stream}.json"
    body.write_text(json.dumps({"messages": MESSAGES, "model": system.model, "stream": is_stream}))
    command = [sys.executable, str(LOAD), "clients", str(system.port), "--path", system.path, "--body", str(body)]
    command += ["--seconds", str(seconds), "--connections", str(connections)]
    before = cpu_s(system.pid) if system.pid else 0.0
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{system.name}: {done.stderr.strip()[-800:]}")
    result: dict[str, float] = json.loads(done.stdout)
    result["cpu_us_per_call"] = ((cpu_s(system.pid) - before) if system.pid else 0.0) / result["calls"] * 1e6
    result["rss_mb"] = rss_mb(system.pid) if system.pid else 0.0
    return result


def compare(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Interleaved rounds over all systems that are there."""
    missing: list[str] = []
    raw: list[dict[str, object]] = []
    with ExitStack() as stack:
        upstream = start_upstream(stack)
        systems = [System("direct", 0, upstream), start_freehold(stack, folder, upstream)]
        if options.housekeeping:
            systems.append(start_freehold(stack, folder, upstream, name="freehold+parquet", housekeeping=True))
        starts: dict[str, Callable[[], System | None]] = {
            "nginx": lambda: start_nginx(stack, folder, upstream),
            "litellm": lambda: start_litellm(stack, folder, upstream, options.litellm),
            "tensorzero": lambda: start_tensorzero(stack, folder, upstream, options.tensorzero),
        }
        for name, start in starts.items():
            try:
                system = start()
            except RuntimeError as error:
                print(f"{name} is left out: {error}", file=sys.stderr)
                system = None
            if system is None:
                missing.append(name)
            else:
                systems.append(system)
        kinds = (("whole", False, CONNECTIONS), ("stream", True, CONNECTIONS), ("alone", False, 1))
        for number in range(options.rounds + 1):  # the first round warms up and is not kept
            for kind, is_stream, connections in kinds:
                for system in systems:
                    seconds = 1.0 if number == 0 else options.seconds
                    got = load(system, folder, is_stream=is_stream, seconds=seconds, connections=connections)
                    if number:
                        raw.append({"system": system.name, "kind": kind, "round": number, **got})
                        print(f"{number} {kind:7} {system.name:10} {got['cpu_us_per_call']:9.1f} us CPU "
                              f"{got['p50_ms']:8.2f} ms p50 {got['calls']:7} calls", file=sys.stderr)  # fmt: skip
    return {"missing": missing, "summary": summary(raw), "raw": raw}


def summary(raw: list[dict[str, object]]) -> dict[str, object]:
    """Medians over the rounds, and how many times the CPU of each other system."""
    medians: dict[str, dict[str, dict[str, float]]] = {}
    for kind in ("whole", "stream", "alone"):
        for name in dict.fromkeys(str(one["system"]) for one in raw):
            rounds = [one for one in raw if (one["system"], one["kind"]) == (name, kind)]
            medians.setdefault(kind, {})[name] = {
                key: statistics.median(float(one[key]) for one in rounds)  # type: ignore[arg-type]  # numbers
                for key in ("cpu_us_per_call", "p50_ms", "p99_ms", "rss_mb")
            }
    ratios = {
        kind: {
            f"freehold / {name}": round(of["freehold"]["cpu_us_per_call"] / one["cpu_us_per_call"], 3)
            for name, one in of.items()
            if name not in {"freehold", "direct"} and one["cpu_us_per_call"]
        }
        for kind, of in medians.items()
    }
    added = medians["alone"]["freehold"]["p50_ms"] - medians["alone"]["direct"]["p50_ms"]
    return {"medians": medians, "ratios": ratios, "added_p50_ms": round(added, 3)}


def ledger_share(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """CPU of one gateway with its ledger, with the process that makes Parquet too, and without any, in turns."""
    raw: list[dict[str, object]] = []
    with ExitStack() as stack:
        upstream = start_upstream(stack)
        systems = [
            start_freehold(stack, folder, upstream),
            start_freehold(stack, folder, upstream, name="without", has_ledger=False),
            start_freehold(stack, folder, upstream, name="parquet", housekeeping=True),
        ]
        for number in range(options.rounds + 1):  # the first round warms up and is not kept
            for kind, is_stream in (("whole", False), ("stream", True)):
                for system in systems[:: 1 if number % 2 else -1]:
                    got = load(system, folder, is_stream=is_stream, seconds=options.seconds, connections=CONNECTIONS)
                    if number:
                        raw.append({"system": system.name, "kind": kind, "round": number, **got})
                        print(f"{number} {kind:7} {system.name:10} {got['cpu_us_per_call']:9.1f} us", file=sys.stderr)
    told = subprocess.run([sys.executable, "-c", RECORDS], capture_output=True, text=True, check=True)
    shares: dict[str, object] = {"records_made_us": round(float(told.stdout), 1)}
    for kind in ("whole", "stream"):
        us = {
            system.name: statistics.median(
                float(one["cpu_us_per_call"])  # type: ignore[arg-type]  # a number
                for one in raw
                if (one["system"], one["kind"]) == (system.name, kind)
            )
            for system in systems
        }
        of_ledger = us["freehold"] - us["without"] + float(told.stdout)
        shares[kind] = {**us, "ledgers_share": round(of_ledger / us["freehold"], 3)}
    return {"shares": shares, "raw": raw}


def start_upstream(stack: ExitStack) -> int:
    """The provider, in a process of its own; its port."""
    port = free_port()
    process = stack.enter_context(child([sys.executable, str(LOAD), "upstream", str(port)]))
    wait_for(port, process)
    return port


def kills(count: int, folder: Path) -> dict[str, object]:
    """Kill the gateway (-9) under load, again and again: answered calls that are not in the ledger."""
    lost, answered_in_all, cut = 0, 0, 0
    with ExitStack() as stack:
        upstream = start_upstream(stack)
        for number in range(count):
            with ExitStack() as one:
                system = start_freehold(one, folder, upstream, name=f"kill-{number}")
                answered = _load_until_killed(system)
            kept, open_calls = _numbers_on_disk(folder / system.name)
            missing = answered - kept
            lost, answered_in_all, cut = lost + len(missing), answered_in_all + len(answered), cut + open_calls
            print(f"kill {number}: {len(answered)} answered, {len(missing)} lost, {open_calls} cut", file=sys.stderr)
    return {"kills": count, "answered": answered_in_all, "lost": lost, "open_without_close": cut}


def _load_until_killed(system: System, *, clients: int = 8, calls: int = 300) -> set[int]:
    answered: set[int] = set()
    stop = threading.Event()

    def ask(start: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", system.port, timeout=20)
        number = start
        while not stop.is_set():
            body = {"messages": MESSAGES, "model": "m", "stream": bool(number % 2), "user": str(number)}
            try:
                connection.request("POST", system.path, json.dumps(body))
                response = connection.getresponse()
                got = response.read()
            except (OSError, http.client.HTTPException):
                return
            if response.status == 200 and (number % 2 == 0 or b"[DONE]" in got):
                answered.add(number)
            number += 1

    threads = [threading.Thread(target=ask, args=(1_000_000 * one,)) for one in range(clients)]
    for thread in threads:
        thread.start()
    while len(answered) < calls:
        time.sleep(0.002)
    os.kill(system.pid, signal.SIGKILL)
    stop.set()
    for thread in threads:
        thread.join()
    return answered


def _numbers_on_disk(workspace: Path) -> tuple[set[int], int]:
    """Numbers of the calls that the segments hold whole, and how many were cut off."""
    kept: set[int] = set()
    cut = 0
    for folder in writer_folders(workspace / ".freehold" / "events" / "segments"):
        for attempt in Scan(folder).read():
            if attempt.tail is not None and attempt.tail.status == 200:
                kept.add(int(json.loads(attempt.request)["user"]))
            else:
                cut += 1
    return kept, cut


def memory(calls: int, folder: Path) -> dict[str, object]:
    """Memory of one worker over many calls."""
    told = []
    with ExitStack() as stack:
        upstream = start_upstream(stack)
        system = start_freehold(stack, folder, upstream)
        done = 0.0
        while done < calls:
            for is_stream in (False, True):
                done += load(system, folder, is_stream=is_stream, seconds=2, connections=CONNECTIONS)["calls"]
            told.append({"calls": done, "rss_mb": rss_mb(system.pid)})
            print(told[-1], file=sys.stderr)
    return {"memory": told}


def cold_start(folder: Path, times: int = 5) -> dict[str, object]:
    """Seconds from the command to the first 200 of /readyz."""
    took = []
    with ExitStack() as stack:
        upstream = start_upstream(stack)
        for number in range(times):
            began = time.perf_counter()
            with ExitStack() as one:
                system = start_freehold(one, folder, upstream, name=f"cold-{number}")
                connection = http.client.HTTPConnection("127.0.0.1", system.port, timeout=20)
                connection.request("GET", "/readyz")
                assert connection.getresponse().status == 200
                took.append(time.perf_counter() - began)
    return {"cold_start_s": took}


def main() -> None:
    """Measure, print the summary, keep the raw figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/gateway"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--litellm", type=Path, default=Path("build/litellm/bin/python"))
    parser.add_argument("--tensorzero", type=Path, default=Path("build/tensorzero/bin/python"))
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--calls", type=int, default=0)
    parser.add_argument("--housekeeping", action="store_true", help="Also with the process that makes Parquet files.")
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--ledger-share", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="freehold-bench-"))
    try:
        if options.kills:
            name, result = "kills", kills(options.kills, folder)
        elif options.calls:
            name, result = "memory", memory(options.calls, folder)
        elif options.ledger_share:
            name, result = "ledger-share", ledger_share(options, folder)
        elif options.cold:
            name, result = "cold", cold_start(folder)
        else:
            name, result = "compare", compare(options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    file = options.out / f"{name}-{int(time.time())}.json"
    file.write_text(json.dumps(result, indent=1), encoding="utf-8")
    print(json.dumps({key: value for key, value in result.items() if key != "raw"}, indent=1))
    print(f"raw figures: {file}", file=sys.stderr)


if __name__ == "__main__":
    main()
