"""What the CPU engine delivers with the small base model: tokens a second read and written, by concurrency.

    .venv/bin/python benchmarks/cpu_engine.py

Prints one JSON object; the capacity model's constants for a two-core machine come from it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx2

from freehold.core.progress import Silent
from freehold.serving.cpu_engine import CpuEngine
from freehold.tuning.bases import fetch_base

PROMPT_WORDS = 100
OUTPUT_TOKENS = 64
ROUNDS = 3


def ask(client: httpx2.Client, number: int, words: int, output_tokens: int) -> tuple[int, int]:
    """One completion that nothing cached helps; tokens read and written."""
    text = f"Message {number}. " + " ".join(f"word{(number * 7919 + i * 31) % 9973}" for i in range(words))
    body = {"prompt": text, "max_tokens": output_tokens, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
    reply = client.post("/v1/completions", json=body)
    reply.raise_for_status()
    usage = reply.json()["usage"]
    return usage["prompt_tokens"], usage["completion_tokens"]


def prefill(client: httpx2.Client) -> float:
    """Tokens a second read: long prompts, one token of answer."""
    started = time.perf_counter()
    read = sum(ask(client, number, PROMPT_WORDS, 1)[0] for number in range(4))
    return read / (time.perf_counter() - started)


def decode(client: httpx2.Client, concurrency: int) -> float:
    """Tokens a second written by so many calls at once: prompts of a few tokens, long answers."""
    started = time.perf_counter()
    with ThreadPoolExecutor(concurrency) as pool:
        counts = list(pool.map(lambda number: ask(client, number, 1, OUTPUT_TOKENS), range(concurrency)))
    return sum(written for _, written in counts) / (time.perf_counter() - started)


def main() -> None:
    """Run all measurements and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    threads = parser.parse_args().threads
    base = fetch_base("smollm2-135m", progress=Silent())
    assert base.gguf is not None
    result: dict[str, object] = {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "threads": threads,
        "load_before": os.getloadavg()[0],
    }
    log = Path(tempfile.mkdtemp()) / "engine.log"
    with (
        CpuEngine(base.gguf, log_file=log, threads=threads, parallel=16, context_tokens=16 * 1024) as engine,
        httpx2.Client(base_url=engine.base_url, headers=engine.headers, timeout=600) as client,
    ):
        prefill(client)
        result["prefill_tokens_per_s"] = round(statistics.median(prefill(client) for _ in range(ROUNDS)), 1)
        for concurrency in (1, 4, 16):
            rates = [decode(client, concurrency) for _ in range(ROUNDS)]
            result[f"decode_tokens_per_s_at_{concurrency}"] = round(statistics.median(rates), 1)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
