"""What the ledger costs: writing per call, ingesting, and asking for the cost by task by day.

    .venv/bin/python benchmarks/ledger.py [--rows 10000000] [--calls 20000] [--rounds 5]

Prints one JSON object. With --upkeep, retention (one task's rows beyond 30 days go) and the merging of 200 small files
are measured after the rest: the rows are no longer the same then.
The rows are made here, seeded: 365 days, 20 tasks, 4 models (one with long-context tiers).
The cost is asked from the Parquet files and from the rollup, in turns; both must give the same dollars.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from freehold.audit.pricing import Pricing
from freehold.audit.spending import Spending, spending
from freehold.ledger.columns import SCHEMA
from freehold.ledger.index import HOT_FROM, Index, set_fact
from freehold.ledger.ingest import ingest
from freehold.ledger.policy import Policy, TaskPolicy
from freehold.ledger.publish import changing, publish
from freehold.ledger.records import CloseRecord, OpenRecord, new_call_id
from freehold.ledger.rollup import EDGES, stored_sums, sums_of_files
from freehold.ledger.segments import SegmentWriter
from freehold.ledger.upkeep import keep_up

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_DAY = datetime(2025, 11, 1, tzinfo=UTC)
DAYS, TASKS = 365, 20
MODELS = ("openai/gpt-5.4", "openai/gpt-4o-mini", "anthropic/claude-sonnet-4-5", "google/gemini-2.5-pro")
REQUEST = json.dumps({"model": "gpt-5.4", "messages": [{"role": "user", "content": "word " * 300}]}).encode()
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-5.4",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 300}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 310, "completion_tokens": 300, "total_tokens": 610},
    }
).encode()


def write_calls(folder: Path, calls: int, durability: Any) -> float:  # Any: one of two words
    """CPU microseconds of one call: records, both bodies, and the thread that syncs."""
    writer = SegmentWriter(folder, worker="bench", durability=durability)

    async def run() -> None:
        for number in range(calls):
            call_id = new_call_id()
            head = OpenRecord(
                task="desk", started_at_us=1_790_000_000_000_000 + number, endpoint="/v1/chat/completions",
                provider="openai", model_requested="gpt-5.4", key_id="key", request_id="client", stream=False,
            )  # fmt: skip
            writer.opened(call_id, head, REQUEST)
            writer.commit()
            writer.closed(call_id, CloseRecord(status=200, duration_ms=812.5, ttft_ms=201.0), ANSWER)
            writer.commit()
            if not writer.is_durable and (durability == "process" or number % 100 == 0):
                await writer.durable()
            if not writer.room:
                await writer.wait_for_room()

    before = time.process_time()
    asyncio.run(run())
    writer.seal()
    return (time.process_time() - before) / calls * 1e6


def make_day(random: np.random.Generator, day: int, rows: int) -> pa.Table:
    """Rows of one day; one call in fifty has more than 200,000 input tokens."""
    start_us = int((FIRST_DAY + timedelta(days=day)).timestamp() * 1e6)
    moments = np.sort(random.integers(start_us, start_us + 86_400_000_000, rows))
    bits = random.integers(0, 1 << 62, rows)
    ids = [
        f"{ms >> 16:08x}-{ms & 0xFFFF:04x}-7{low & 0xFFF:03x}-8{low >> 12 & 0xFFF:03x}-{low >> 14:012x}"
        for ms, low in zip((moments // 1000).tolist(), bits.tolist(), strict=True)
    ]
    long = random.random(rows) < 0.02
    inside = np.where(long, random.integers(200_001, 400_000, rows), random.integers(50, 4_000, rows))
    models = pa.DictionaryArray.from_arrays(random.integers(0, len(MODELS), rows), list(MODELS)).cast(pa.string())
    tasks = pa.DictionaryArray.from_arrays(
        random.integers(0, TASKS, rows), [f"task_{number:02d}" for number in range(TASKS)]
    ).cast(pa.string())
    columns: dict[str, Any] = {
        "id": ids,
        "task": tasks,
        "started_at": pa.array(moments, pa.timestamp("us", tz="UTC")),
        "provider": pa.array(["main"] * rows),
        "model_requested": models,
        "model_served": models,
        "route": pa.array(["rent"] * rows),
        "status": np.full(rows, 200, np.int32),
        "input_tokens": inside,
        "cache_read_tokens": inside // 4,
        "output_tokens": random.integers(1, 1_000, rows),
        "duration_ms": random.gamma(2.0, 400.0, rows),
    }
    return pa.table(
        [pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(rows, f.type) for f in SCHEMA],
        schema=SCHEMA,
    )


def make_ledger(calls: Path, rows: int) -> float:
    """Seconds to write so many rows, without bodies, a file a day."""
    random = np.random.default_rng(7)
    started = time.perf_counter()
    with changing(calls) as index:
        with index.transaction() as connection:
            set_fact(connection, HOT_FROM, (FIRST_DAY + timedelta(days=DAYS - 30)).date().toordinal())
        for day in range(DAYS):
            count = rows * (day + 1) // DAYS - rows * day // DAYS
            name = (FIRST_DAY + timedelta(days=day)).date().isoformat()
            publish(calls, index, {name: make_day(random, day, count)})
    return time.perf_counter() - started


def costs_from(sums: Callable[[], pa.Table]) -> tuple[float, Spending]:
    """Seconds from nothing to every dollar of every task and day."""
    started = time.perf_counter()
    found = spending(sums(), Pricing({}))
    return time.perf_counter() - started, found


def rollup_sums(calls: Path) -> pa.Table:
    """The rollup, from a connection of its own."""
    index = Index(calls)
    found = stored_sums(index.connection)
    index.close()
    return found


def upkeep(events: Path) -> dict[str, Any]:  # Any: figures
    """Retention over all files, then the same again with nothing left to do, then the merging of small files."""
    today = (FIRST_DAY + timedelta(days=DAYS)).date()
    policy = Policy(tasks={"task_00": TaskPolicy(rows_days=30)})
    told: dict[str, Any] = {}
    for name in ("retention", "retention_again"):
        started, cpu = time.perf_counter(), time.process_time()
        done = keep_up(events, policy=policy, today=today, wait=True)
        told[f"{name}_s"], told[f"{name}_cpu_s"] = time.perf_counter() - started, time.process_time() - cpu
        told[f"{name}_rows"] = done.rows_removed
    random = np.random.default_rng(8)
    with changing(events / "calls") as index:
        for _ in range(200):
            publish(events / "calls", index, {today.isoformat(): make_day(random, DAYS, 500)})
    started = time.perf_counter()
    done = keep_up(events, policy=policy, today=today, wait=True)
    told["merging_s"] = time.perf_counter() - started
    told["files"] = [done.files_before, done.files_after]
    told["most_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return told


def main() -> None:
    """Run all measurements and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="Where the rows are kept for another run.")
    parser.add_argument("--upkeep", action="store_true", help="Retention and merging, too.")
    options = parser.parse_args()
    result: dict[str, Any] = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "cpus": os.cpu_count()}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for durability in ("process", "power"):
            each = [
                write_calls(folder / f"{durability}{number}" / "segments", options.calls, durability)
                for number in range(options.rounds)
            ]
            result[f"write_cpu_us_per_call_{durability}"] = {"median": statistics.median(each), "all": each}
        started, cpu = time.perf_counter(), time.process_time()
        done = ingest(folder / "process0")
        assert done.calls == options.calls
        result["ingest_rows_per_s"] = options.calls / (time.perf_counter() - started)
        result["ingest_cpu_us_per_row"] = (time.process_time() - cpu) / options.calls * 1e6

        calls = (options.folder or folder) / "calls"
        if not calls.is_dir():
            result["rows_written_s"] = make_ledger(calls, options.rows)
        result["rows"] = options.rows
        rounds = [(costs_from(lambda: sums_of_files(calls, EDGES)), costs_from(lambda: rollup_sums(calls)))
                  for _ in range(options.rounds)]  # fmt: skip
        result["cost_from_files_s"] = [files[0] for files, _ in rounds]
        result["cost_from_rollup_s"] = [rollup[0] for _, rollup in rounds]
        files, rollup = rounds[0][0][1], rounds[0][1][1]
        assert files.days == rollup.days
        assert files.total_usd is not None
        result["lines"] = len(rollup.days)
        result["total_usd"] = float(files.total_usd)
        result["unpriced"] = dict(files.unpriced)
        if options.upkeep:
            result["upkeep"] = upkeep(calls.parent)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
