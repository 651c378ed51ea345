"""Audits ten million calls without bodies: seconds, CPU seconds and peak memory of the command's work.

    python benchmarks/audit.py [--calls 10000000] [--tasks 30] [--days 90] [--folder FOLDER]

The rows are drawn (lognormal lengths and times, four models of which one has no price, 1 % failures) and written as the
ledger's Parquet files; the audit then runs in a process of its own, whose peak memory is read from the kernel.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from freehold.ledger.columns import SCHEMA

FIRST = date(2026, 7, 1)
MODELS = ("gpt-5.4", "gpt-5.4-mini", "claude-opus-4-8", "house-model")
AUDIT = """
import json, resource, sys, time
from datetime import date
from pathlib import Path
from freehold.audit.examine import Question, examine
from freehold.audit.rows import Source
from freehold.economics.plans import own_plan
day = date(2026, 11, 20)
began, cpu = time.monotonic(), time.process_time()
found = examine(Source(calls=Path(sys.argv[1])), Question(aliases={}, as_of=day,
    plan=own_plan("llama-3.1-8b@h100", as_of=day), with_lines=True))
record = found.as_record()
print(json.dumps({
    "seconds": round(time.monotonic() - began, 1), "cpu_seconds": round(time.process_time() - cpu, 1),
    "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    "calls": record["total"]["calls"], "tasks": len(record["tasks"]), "cost_usd": record["total"]["cost_usd"],
    "lines": len(found.lines)}))
"""


def rows_of(day: int, count: int, tasks: int, random: np.random.Generator) -> pa.Table:
    """One day's calls, by time."""
    midnight = np.datetime64(FIRST + timedelta(days=day), "us").astype(np.int64)
    moments = np.sort(random.integers(0, 86_400_000_000, count)) + midnight
    names = pa.array([f"task-{number:06d}" for number in range(tasks)])
    models = pa.array(MODELS).take(pa.array(random.integers(0, len(MODELS), count)))
    known = {
        "id": pa.array([f"{day:08x}-{number:024x}" for number in range(count)]),
        "task": names.take(pa.array(random.integers(0, tasks, count))),
        "started_at": pa.array(moments, pa.timestamp("us", tz="UTC")),
        "model_requested": models,
        "model_served": models,
        "route": pa.array(["rent"] * count),
        "status": pa.array(np.where(random.random(count) < 0.01, 500, 200).astype(np.int32)),
        "input_tokens": pa.array(random.lognormal(7.0, 1.0, count).astype(np.int64) + 1),
        "output_tokens": pa.array(random.lognormal(5.0, 1.0, count).astype(np.int64) + 1),
        "duration_ms": pa.array(random.lognormal(7.0, 0.7, count)),
        "ttft_ms": pa.array(random.lognormal(5.5, 0.5, count)),
    }
    columns = [known.get(one.name, pa.nulls(count, one.type)) for one in SCHEMA]
    return pa.Table.from_arrays([column.cast(one.type) for column, one in zip(columns, SCHEMA, strict=True)],
                                schema=SCHEMA)  # fmt: skip


def write(folder: Path, calls: int, tasks: int, days: int) -> None:
    """The ledger's files."""
    random = np.random.default_rng(0)
    for day in range(days):
        place = folder / f"day={FIRST + timedelta(days=day)}"
        place.mkdir(parents=True, exist_ok=True)
        rows = rows_of(day, calls // days, tasks, random)
        pq.write_table(rows, place / "rows.parquet", compression="zstd", row_group_size=20_000)


def main() -> None:
    """Write, audit, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=10_000_000)
    parser.add_argument("--tasks", type=int, default=30)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)) / "calls"
        if not folder.exists():
            began = time.monotonic()
            write(folder, given.calls, given.tasks, given.days)
            print(f"written in {time.monotonic() - began:.0f} s", file=sys.stderr)
        done = subprocess.run([sys.executable, "-c", AUDIT, str(folder)], capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        size = sum(file.stat().st_size for file in folder.rglob("*.parquet"))
        print(json.dumps({**json.loads(done.stdout), "parquet_mb": round(size / 1e6)}))


if __name__ == "__main__":
    main()
