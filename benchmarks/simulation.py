"""What a replay of real arrivals says, how fast it is, and the picture of one: rows for log.md.

    .venv/bin/python benchmarks/simulation.py [--data FOLDER] [--picture docs/pictures/load.svg]

Traces: one hour of two services of Azure (2023), and counted calls of a small model's tenants (ServeGen), see the
SOURCE.md beside each of them. Without the folder only the speed is measured.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from freehold.cli.simulation_record import Question, simulation_record
from freehold.cli.traced_calls import TraceReading
from freehold.economics.capacity import capacity
from freehold.economics.facts import hardware, model_facts
from freehold.economics.service import Goals, Server
from freehold.economics.simulation import simulate
from freehold.economics.sizing import fewest_replicas
from freehold.economics.steps import step_costs
from freehold.economics.trace import Trace
from freehold.report.simulation_page import load_picture

ROOT = Path(__file__).parent.parent
GPUS = (("llama-3.1-8b", "h100", 1), ("llama-3.1-8b", "l4", 1), ("llama-3.3-70b", "h100", 4))
AZURE = ("trace_azure2023/conv.jsonl", "trace_azure2023/code.jsonl")
SERVEGEN = "trace_servegen_msmall"
HEAD = "| trace | times | replica | replicas (fast–slow) | TTFT p95 ms | TPOT p95 ms | at work | full | $/1,000 |"


def row(name: str, question: Question) -> str:
    """One line of the table."""
    started = time.perf_counter()
    found = simulation_record(question)
    interval = "–".join(str(each) for each in found["replicas_interval"] or ())
    replicas = "none" if found["replicas"] is None else f"{found['replicas']} ({interval})"
    usd = found["usd_per_1000_calls"]
    cells = (
        name,
        f"{question.times:g}",
        f"{question.model} on {question.gpus} × {question.gpu}",
        replicas,
        *(f"{found[wait]['p95']:.3g}" for wait in ("ttft_ms", "tpot_ms")),
        f"{100 * found['utilisation']:.0f} %",
        f"{100 * (found['capacity_used'] or 0.0):.0f} %",
        "unknown" if usd is None else f"{usd:.3g}",
    )
    seconds = time.perf_counter() - started
    return f"| {' | '.join(cells)} |  <!-- {found['calls']:,} calls, {seconds:.1f} s -->"


def traces(data: Path) -> None:
    """All real traces on three kinds of replica."""
    print(HEAD)
    print("|" + "---|" * (HEAD.count("|") - 1))
    for model, gpu, gpus in GPUS:
        for file in AZURE:
            for times in (1.0, 10.0, 100.0):
                asked = Question(trace=data / file, model=model, gpu=gpu, gpus=gpus, times=times)
                print(row(Path(file).stem, asked), flush=True)
    for client in ("2", "22"):
        asked = Question(trace=data / SERVEGEN / f"requests_client{client}.jsonl", model="llama-3.1-8b", gpu="h100")
        print(row(f"client {client}, 14 days", asked), flush=True)
    asked = Question(
        trace=data / SERVEGEN / "windows.jsonl",
        reading=TraceReading(lengths=data / SERVEGEN / "requests_client2.jsonl", share=0.001),
        model="llama-3.1-8b",
        gpu="h100",
    )
    print(row("all clients, one call of 1,000", asked), flush=True)


def speed() -> None:
    """A million calls on one core, the compiled code warm; the search and one replay."""
    random = np.random.default_rng(0)
    calls = Trace(
        t_s=np.cumsum(random.exponential(1 / 100.0, 1_000_000)),
        input_tokens=random.integers(10, 2000, 1_000_000),
        output_tokens=random.integers(1, 400, 1_000_000),
    )
    server = Server(costs=step_costs(model_facts("llama-3.1-8b"), hardware("h100")))
    started = time.process_time()
    simulate(calls.times(1e-3), server, replicas=1)
    print(f"compile or load, and a first replay: {time.process_time() - started:.1f} CPU-s")
    started = time.process_time()
    simulate(calls, server, replicas=6)
    print(f"1,000,000 calls on 6 replicas: {time.process_time() - started:.2f} CPU-s")
    started = time.process_time()
    found = fewest_replicas(calls, server, Goals(ttft_p95_ms=500.0, tpot_p95_ms=50.0))
    print(f"1,000,000 calls, the fewest replicas ({found.replicas}): {time.process_time() - started:.2f} CPU-s")


def saturation() -> None:
    """Throughput of a replica that is always full, over that of the capacity model."""
    for model, gpu, gpus in GPUS:
        for prompt, answer, together in ((1000, 500, 8), (1000, 500, 64), (200, 200, 256), (1000, 500, 1024)):
            facts, device = model_facts(model), hardware(gpu)
            said = capacity(
                facts, device, input_tokens=prompt, output_tokens=answer, gpus=gpus, concurrency=float(together)
            )
            costs = step_costs(facts, device, gpus=gpus, context_tokens=prompt + answer / 2)
            count = int(40 * said.concurrency)
            full = Trace(t_s=np.zeros(count), input_tokens=np.full(count, prompt), output_tokens=np.full(count, answer))
            capped = Server(costs=costs, chunk_tokens=2048)
            closed = _closed_loop(full, capped, together)
            print(
                f"{model} on {gpus} × {gpu}, {prompt}+{answer}, {together} together: {closed / said.requests_per_s:.3f}"
            )


def _closed_loop(trace: Trace, server: Server, together: int) -> float:
    capped = replace(
        server, costs=replace(server.costs, most_requests=min(server.costs.most_requests, float(together)))
    )
    found = simulate(trace, capped, replicas=1)
    return trace.calls / found.lasted_s


def main() -> None:
    """Print everything, and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "pictures" / "load.svg")
    options = parser.parse_args()
    speed()
    saturation()
    if options.data.is_dir():
        traces(options.data)
        asked = Question(trace=options.data / AZURE[1], model="llama-3.1-8b", gpu="h100")
        options.picture.write_text(load_picture(simulation_record(asked)), encoding="utf-8")


if __name__ == "__main__":
    main()
