"""How well tasks are found in a mixed log whose tasks were taken off, and what a call costs that is known by rule.

    .venv/bin/python -m benchmarks.task_discovery [--data ../shared/data] [--rows 60 300 1200] [--seeds 2] [--large 0]
        [--held-out 0]

Ten public data sets are mixed, with eight ways of writing prompts around them (tests/tasks/mixed_logs.py). Told of
each mix: V-measure (harmonic mean of homogeneity and completeness), tasks found (a cluster that is at least half
theirs holds at least half of them), clusters, calls that are unassigned, seconds. --large N also runs one log of N
calls, copies numbered apart, with its time and peak memory. --held-out runs mixes that discovery was not made on
(tests/tasks/held_out.py): other rows, 40 to 900 calls a task, other prompts. Seconds are of the processor. Prints one
JSON object per line.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from sklearn.metrics import homogeneity_completeness_v_measure

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from freehold.core.progress import Silent
from freehold.ledger.store import Ledger
from freehold.state.settings import TasksSection
from freehold.tasks.discover import Discovery, discover
from freehold.tasks.learned import Learned
from freehold.tasks.rules import TaskRules
from tests.tasks.held_out import WRAPPERS, held_out_log
from tests.tasks.mixed_logs import SETS, STYLES, Row, calls_of, mixed_log

UNASSIGNED = "unassigned"


class _Nobody:
    task = None

    def may_use_task(self, task: str) -> bool:
        """Any."""
        del task
        return True


def found_in(log: list[Row]) -> tuple[dict[str, Any], Discovery]:
    """One mix, measured."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "calls")
        calls = list(calls_of(log))
        ledger.append(calls)
        given: dict[str, str] = {}
        began = time.process_time()
        found = discover(ledger.folder, UNASSIGNED, known=(), taken={UNASSIGNED}, move=given.update, progress=Silent())
        seconds = time.process_time() - began
    truth = {call.id: row.task for call, row in zip(calls, log, strict=True)}
    labels = [given.get(call_id, UNASSIGNED) for call_id in truth]
    homogeneity, completeness, v = homogeneity_completeness_v_measure(list(truth.values()), labels)
    clusters = Counter(labels)
    both = Counter(zip(truth.values(), labels, strict=True))
    tasks = Counter(truth.values())
    held = {task for (task, label), count in both.items()
            if label != UNASSIGNED and 2 * count >= tasks[task] and 2 * count >= clusters[label]}  # fmt: skip
    record = {
        "calls": len(truth), "v_measure": round(v, 4), "homogeneity": round(homogeneity, 4),
        "completeness": round(completeness, 4), "tasks": len(tasks), "tasks_found": len(held),
        "clusters": len(clusters.keys() - {UNASSIGNED}),
        "unassigned_share": round(clusters[UNASSIGNED] / len(truth), 4), "seconds": round(seconds, 1),
    }  # fmt: skip
    return record, found


def request_path(found: Discovery, log: list[Row]) -> dict[str, Any]:
    """Time of giving one request its task, with the rules that were learned and without any."""
    bodies = [json.dumps(call.request).encode() for call in calls_of(log)]
    result: dict[str, Any] = {"requests": len(bodies), "rules": len(found.rules)}
    for name, learned in (("without_rules_us", Learned()), ("with_rules_us", Learned(found.rules))):
        rules = TaskRules(TasksSection(), learned)
        times = []
        for body in bodies:
            began = time.perf_counter_ns()
            rules.task_of((), "gpt-5-mini", body, _Nobody())
            times.append((time.perf_counter_ns() - began) / 1_000)
        times.sort()
        result[name] = {"median": round(times[len(times) // 2], 1), "p99": round(times[len(times) * 99 // 100], 1)}
    rules = TaskRules(TasksSection(), Learned(found.rules))
    named = [rules.task_of((), "gpt-5-mini", body, _Nobody()) for body in bodies]
    result["share_named"] = round(sum(task != "default" for task in named) / len(named), 4)
    pairs = [(row.task, task) for row, task in zip(log, named, strict=True) if task != "default"]
    best = Counter(pairs)
    owner = {task: max((n, t) for (t, name), n in best.items() if name == task)[1] for task in {n for _, n in pairs}}
    result["share_right_of_named"] = round(sum(owner[name] == task for task, name in pairs) / max(1, len(pairs)), 4)
    return result


def main() -> None:
    """Run all mixes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--rows", type=int, nargs="*", default=[60, 300, 1200])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--styles", nargs="*", default=list(STYLES))
    parser.add_argument("--large", type=int, default=0)
    parser.add_argument("--held-out", type=int, default=0, metavar="SEEDS")
    options = parser.parse_args()
    for wrapper in WRAPPERS if options.held_out else ():
        for seed in range(options.held_out):
            record, _ = found_in(held_out_log(options.data, wrapper, seed=seed))
            print(json.dumps({"held_out": wrapper, "seed": seed, **record}), flush=True)
    for style in options.styles:
        for rows in options.rows:
            for seed in range(options.seeds):
                log = mixed_log(options.data, style, rows, seed=seed)
                record, found = found_in(log)
                if rows == max(options.rows) and seed == 0:
                    fresh = mixed_log(options.data, style, 60, seed=1_000)
                    record["request_path"] = request_path(found, fresh)
                print(json.dumps({"style": style, "rows_per_task": rows, "seed": seed, **record}), flush=True)
    if options.large:
        log = mixed_log(options.data, "no prompt", 1_000_000, seed=0)
        times = options.large // len(log) + 1
        large = [replace(row, asked=f"{row.asked} {copy}") for copy in range(times) for row in log][: options.large]
        record, _ = found_in(large)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"style": "large", "sets": len(SETS), **record, "peak_mib": round(peak)}))


if __name__ == "__main__":
    main()
