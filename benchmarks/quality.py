"""Tuned against untuned few-shot and a linear model, on any labelled set, through the product's own commands.

A task is a data folder with train.jsonl and test.jsonl of {"input", "output"} and a TOML file in
benchmarks/quality_tasks: `folder`, `kind`, `shots` and `recipe` (overrides, chosen before any test row was looked at);
`fields_by` where answers are lists of objects, which become one object by that field. Each task gets a workspace under
--out, where `freehold import`, `dataset build`, `tune` and `evaluate` run as a user runs them; the untuned base gets
the same system message, the labels if there are any, and examples of the training set, and its answers are handed to
`freehold evaluate --answers`. Intervals are over cases, 95 %. What was stopped goes on with the same command.

    .venv/bin/python benchmarks/quality.py [TASK ...] [--rows N] [--test-rows N] [--epochs N]

Prints a table for the log. Dollars are processor hours at --usd-per-core-hour, an assumption.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold.cli.session import open_session
from freehold.core.chat import Message
from freehold.core.progress import Silent
from freehold.datasets.read import read_dataset, read_examples
from freehold.evaluation.baselines import LINEAR
from freehold.tuning.bases import fetch_base
from freehold.tuning.predict import LocalModel

if TYPE_CHECKING:
    from freehold.core.dataset import Example
    from freehold.core.task import Task

Record = dict[str, Any]  # Any: JSON
TASKS = Path(__file__).with_name("quality_tasks")
COMMAND = (sys.executable, "-c", "import sys; from freehold.cli.main import run; sys.exit(run(sys.argv[1:]))")
BASE = "smollm2-135m"
_AT_ONCE = 32
"""Cases that are asked before their answers are written down."""
_SPARE_TOKENS = 16


def freehold(workspace: Path, *arguments: str) -> Record:
    """Run one command there and give what it printed.

    Raises:
        SystemExit: it failed, and said why.
    """
    print(f"  freehold {' '.join(arguments)}", file=sys.stderr, flush=True)
    done = subprocess.run([*COMMAND, *arguments], cwd=workspace, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(f"freehold {arguments[0]} ended with code {done.returncode} in {workspace}.")
    shown: Record = json.loads(done.stdout) if "--json" in arguments else {}
    return shown


def prepared(source: Path, target: Path, *, rows: int | None, seed: int, fields_by: str | None) -> Path:
    """The rows of a file, capped by a seeded draw, as they are imported."""
    lines = [line for line in source.read_text("utf-8").splitlines() if line.strip()]
    if rows is not None and rows < len(lines):
        lines = random.Random(seed).sample(lines, rows)
    with target.open("w", encoding="utf-8") as file:
        for line in lines:
            row = json.loads(line)
            answer = row["output"] if fields_by is None else json.dumps(as_object(row["output"], fields_by))
            file.write(json.dumps({"input": row["input"], "output": answer}, ensure_ascii=False) + "\n")
    return target


def as_object(answer: str, fields_by: str) -> Record:
    """A list of {field, text} as one object: for each value of the field the texts in their order."""
    found: Record = {}
    for each in json.loads(answer):
        found.setdefault(each[fields_by], []).append(each["text"])
    return {key: found[key] for key in sorted(found)}


def few_shot(task: Task, train: list[Example], *, shots: int, seed: int) -> tuple[Message, ...]:
    """What stands before each case: the system message, the labels, and examples, as many of each label as can be."""
    short = sorted(train, key=lambda row: (sum(len(turn.content) for turn in row.messages), row.id))
    short = short[: max(shots, len(short) // 2)]  # the longer half would fill the context
    random.Random(seed).shuffle(short)
    chosen: list[Example] = []
    while len(chosen) < min(shots, len(short)):
        counted = {target: sum(row.target == target for row in chosen) for target in {row.target for row in short}}
        rest = [row for row in short if row not in chosen]
        chosen.append(min(rest, key=lambda row: counted[row.target]))
    wanted = f" Answer with one of: {', '.join(task.labels)}." if task.labels else " Answer with JSON alone."
    turns = [Message("system", task.own_prompt + (wanted if task.kind != "text" else ""))]
    for row in chosen:
        turns += [turn for turn in row.messages if turn.role != "system"]
        turns.append(Message("assistant", row.target))
    return tuple(turns)


def ask_few_shot(workspace: Path, dataset_id: str, *, shots: int, seed: int) -> tuple[Path, float]:
    """Answers of the untuned base to the test cases, in a file that grows, and processor seconds of this call."""
    session = open_session(workspace)
    dataset = read_dataset(session.workspace.datasets, dataset_id, engine=session.state)
    train, cases = read_examples(dataset, "train"), read_examples(dataset, "test")
    before = few_shot(dataset.task, train, shots=shots, seed=seed)
    named = hashlib.sha256(json.dumps([turn.as_dict() for turn in before]).encode()).hexdigest()[:8]
    path = workspace / f"few-shot-{dataset_id}-{named}.jsonl"
    whole = (
        [line for line in path.read_text("utf-8").splitlines(keepends=True) if line.endswith("\n")]
        if path.exists()
        else []
    )
    path.write_text("".join(whole), "utf-8")  # what a stop cut off goes
    known = {json.loads(line)["call_id"] for line in whole}
    left = [case for case in cases if case.id not in known]
    began = time.process_time()
    if left:
        model = LocalModel(fetch_base(BASE, progress=Silent()))
        longest = max(len(case.target) for case in cases) // 2 + _SPARE_TOKENS
        for start in range(0, len(left), _AT_ONCE):
            some = left[start : start + _AT_ONCE]
            answers = model.answer(
                [(*before, *(turn for turn in case.messages if turn.role != "system")) for case in some],
                constraint=dataset.task.constraint,
                max_output_tokens=longest,
                progress=Silent(),
            )
            with path.open("a", encoding="utf-8") as file:
                for case, answer in zip(some, answers, strict=True):
                    row = {"call_id": case.id, "output": answer.text, "model": f"{BASE} (untuned, {shots} examples)"}
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
            print(f"  few-shot: {min(start + _AT_ONCE, len(left))}/{len(left)}", file=sys.stderr, flush=True)
    return path, time.process_time() - began


def measure(name: str, options: argparse.Namespace) -> Record:
    """One task from its data to its evaluation; a finished one is read, not made again."""
    told = tomllib.loads((TASKS / f"{name}.toml").read_text("utf-8"))
    source = options.data / told["folder"]
    if not (source / "train.jsonl").exists():
        return {"task": name, "skipped": f"{source} does not hold train.jsonl and test.jsonl"}
    overrides = [*told["recipe"], f"seed={options.seed}", *options.override]
    overrides += [f"training.epochs={options.epochs}"] if options.epochs else []
    asked = [told, overrides, options.rows, options.test_rows, options.seed]
    workspace = options.out / f"{name}-{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:8]}"
    finished = workspace / "result.json"
    if finished.exists():
        result: Record = json.loads(finished.read_text("utf-8"))
        return result
    print(f"{name}: {workspace}", file=sys.stderr, flush=True)
    workspace.mkdir(parents=True, exist_ok=True)
    if not (workspace / "freehold.toml").exists():
        freehold(workspace, "init")
    for split, rows in (("train", options.rows), ("test", options.test_rows)):
        file = prepared(
            source / f"{split}.jsonl",
            workspace / f"{split}.jsonl",
            rows=rows,
            seed=options.seed,
            fields_by=told.get("fields_by"),
        )
        freehold(workspace, "import", file.name, "--task", name, "--split", split, "--kind", told["kind"], "--quiet")
    dataset = freehold(workspace, "dataset", "build", name, "--json", "--quiet")["dataset"]
    tuned = freehold(workspace, "tune", name, "--dataset", dataset, *overrides, "--json", "--quiet")
    few, few_cpu_seconds = ask_few_shot(workspace, dataset, shots=told["shots"], seed=options.seed)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = freehold(
        workspace, "evaluate", name, "--model", tuned["model"], "--answers", f"base:{few.name}", "--json", "--quiet"
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    evaluate_cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    result = {
        "task": name,
        "metric": found["metric"],
        "n": found["n"],
        "examples": tuned["examples"],
        "left_out": tuned["left_out"],
        "seconds": tuned["seconds"],
        "cpu_seconds": tuned["cpu_seconds"],
        "few_shot_cpu_seconds": few_cpu_seconds,
        "evaluate_cpu_seconds": evaluate_cpu_seconds,
        "contenders": found["contenders"],
        "comparisons": found["comparisons"],
    }
    part = finished.with_suffix(".part")
    part.write_text(json.dumps(result, indent=1), "utf-8")
    part.replace(finished)
    return result


def line_of(result: Record, usd_per_core_hour: float) -> str:
    """One row of the table."""
    if "skipped" in result:
        return f"| {result['task']} | skipped: {result['skipped']} | | | | | | | |"
    by_kind: dict[str, Record] = {}
    for one in result["contenders"]:
        by_kind[one["name"] if one["kind"] == "baseline" else one["kind"]] = one
    usd = result["cpu_seconds"] / 3600 * usd_per_core_hour

    def shown(name: str) -> str:
        one = by_kind.get(name)
        return "none" if one is None else f"{one['value']:.3f} [{one['ci_low']:.3f}, {one['ci_high']:.3f}]"

    simplest = next((name for name in by_kind if name.startswith("majority") or name.startswith("commonest")), "")
    return (
        f"| {result['task']} | {result['metric']} | {result['examples']} | {result['n']} | {shown('own')} | "
        f"{shown('base')} | {shown(LINEAR)} | {shown(simplest)} | {result['seconds'] / 60:.0f} min, "
        f"{result['cpu_seconds'] / 60:.1f} CPU-min, ${usd:.2g} |"
    )


def main() -> None:
    """Measure each task and print the table as it grows."""
    known = sorted(path.stem for path in TASKS.glob("*.toml"))
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"of {', '.join(known)}; none: all")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("build") / "quality")
    parser.add_argument("--rows", type=int, help="training rows at most")
    parser.add_argument("--test-rows", type=int, help="test rows at most")
    parser.add_argument("--epochs", type=int, help="in place of the recipe's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--override", action="append", default=[], metavar="KEY=VALUE", help="of the recipe; repeat it")
    parser.add_argument("--usd-per-core-hour", type=float, default=0.04)
    options = parser.parse_args()
    unknown = sorted({*options.tasks} - {*known})
    if unknown:
        parser.error(f"unknown task {', '.join(unknown)}; known: {', '.join(known)}")
    options.out = options.out.resolve()
    caps = f"rows {options.rows or 'all'}, test rows {options.test_rows or 'all'}, epochs {options.epochs or 'recipe'}"
    print(f"{BASE}, seed {options.seed}, {caps}; {os.cpu_count()} cores; 95 % intervals over cases\n")
    print("| task | metric | rows | cases | tuned | untuned, few-shot | linear | trivial | tuning |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in options.tasks or known:
        print(line_of(measure(name, options), options.usd_per_core_hour), flush=True)


if __name__ == "__main__":
    main()
