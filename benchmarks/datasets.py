"""What building a dataset costs: rows in, a version out, in seconds, processor seconds and memory.

    .venv/bin/python benchmarks/datasets.py [--rows 1000000] [--processes 2]

Prints one JSON object. The rows are made here, seeded: support requests of 60 to 600 characters over 40 labels, one in
twenty a copy, one in ten a reworded copy, one in ten with personal data, half a percent labelled wrong. They go into a
real ledger and a real state database first, which is not counted; the build itself runs in a process of its own, whose
peak of memory is told, and that of the largest of the processes that it starts.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert

from freehold.core.call import Call
from freehold.core.identity import call_id
from freehold.core.progress import Silent
from freehold.core.task import Task
from freehold.datasets.build import build_dataset
from freehold.datasets.policy import Policy
from freehold.ledger.store import Ledger
from freehold.state.database import open_state
from freehold.state.schema import CORRECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

LABELS = tuple(f"reason {number:02d}" for number in range(40))
TASK = Task(name="desk", kind="classification", labels=LABELS, own_prompt="Classify: desk.")
START = datetime(2026, 1, 1, tzinfo=UTC)
_BATCH = 20_000


def texts(rows: int, seed: int) -> Iterator[tuple[str, str]]:
    """(text, label) of each row."""
    chooser = random.Random(seed)
    words = ["".join(chooser.choices("abcdefghilmnoprstuvz", k=chooser.randint(2, 9))) for _ in range(20_000)]
    of_label = {label: chooser.sample(words, 60) for label in LABELS}
    earlier: list[tuple[str, str]] = []
    for _ in range(rows):
        kind = chooser.random()
        if earlier and kind < 0.05:
            yield chooser.choice(earlier)
            continue
        if earlier and kind < 0.15:
            text, label = chooser.choice(earlier)
            yield f"Hello, {text} thanks", label
            continue
        label = chooser.choice(LABELS)
        count = chooser.randint(10, 100)
        said = [chooser.choice(of_label[label] if chooser.random() < 0.3 else words) for _ in range(count)]
        text = " ".join(said)
        if chooser.random() < 0.1:
            text += f" write to {said[0]}.{said[1]}@example.com or call +44 20 7946 {chooser.randint(0, 999):04d}"
        if len(earlier) < 50_000:
            earlier.append((text, label))
        yield text, chooser.choice(LABELS) if chooser.random() < 0.005 else label


def fill(folder: Path, rows: int, seed: int) -> None:
    """A ledger and a state database with so many labelled calls."""
    engine = open_state(f"sqlite:///{folder / 'state.db'}")
    ledger = Ledger(folder / "calls")
    calls: list[Call] = []
    words: list[dict[str, Any]] = []  # Any: columns

    def flush() -> None:
        ledger.append(calls)
        with engine.begin() as connection:
            connection.execute(insert(CORRECTIONS), words)
        calls.clear()
        words.clear()

    for number, (text, label) in enumerate(texts(rows, seed)):
        moment = START + timedelta(seconds=20 * number)
        identifier = call_id(moment, str(number))
        answer = {"choices": [{"message": {"role": "assistant", "content": label}}]}
        request = {"model": "m", "messages": [{"role": "user", "content": text}]}
        calls.append(
            Call(id=identifier, task="desk", started_at=moment, request=request, response=answer, model_served="m")
        )
        words.append(
            {"id": f"{number:064x}", "call_id": identifier, "task": "desk", "kind": "accepted", "output": label}
        )
        if len(calls) == _BATCH:
            flush()
    if calls:
        flush()
    engine.dispose()


def build(folder: str, processes: int | None, told: Any) -> None:  # Any: a queue
    """Build once and tell what it took."""
    place = Path(folder)
    engine = open_state(f"sqlite:///{place / 'state.db'}")
    began = time.perf_counter()
    dataset = build_dataset(
        engine=engine,
        task=TASK,
        calls=Ledger(place / "calls").read("desk"),
        folder=place / "datasets",
        policy=Policy(),
        progress=Silent(),
        processes=processes,
    )
    seconds = time.perf_counter() - began
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    told.put(
        {
            "dataset": dataset.id,
            "rows": dict(dataset.rows),
            "excluded": dict(dataset.excluded),
            "seconds": round(seconds, 1),
            "cpu_seconds": round(own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime, 1),
            "peak_gib_of_this_process": round(own.ru_maxrss / 2**20, 2),
            "peak_gib_of_the_largest_other": round(others.ru_maxrss / 2**20, 2),
        }
    )


def main() -> None:
    """Fill, build, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        fill(Path(folder), given.rows, given.seed)
        filled = time.perf_counter() - began
        context = multiprocessing.get_context("spawn")
        told = context.Queue()
        child = context.Process(target=build, args=(folder, given.processes, told))
        child.start()
        result = told.get()
        child.join()
    print(json.dumps({"asked_rows": given.rows, "fill_seconds": round(filled, 1), **result}))


if __name__ == "__main__":
    main()
