"""Tune on the full banking77 (77 intents, 10,003 rows) on a processor, and score its 3,080 test rows.

Run from the checkout, with the data beside it:

    .venv/bin/python benchmarks/banking77.py --out build/banking77

A run that was stopped continues when the same command is given again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from scipy.stats import binomtest

from freehold.core.chat import Message
from freehold.core.dataset import Example
from freehold.core.task import Split, Task
from freehold.evaluation.baselines import LINEAR, baseline_contenders
from freehold.tuning.bases import fetch_base
from freehold.tuning.predict import LocalModel
from freehold.tuning.recipe import load_recipe
from freehold.tuning.train import train

PROMPT = "Name the intent of the customer's message."
RECIPE = (
    "lora.upper_layers=14",
    "training.epochs=3",
    "training.batch_size=32",
    "training.learning_rate=0.0015",
    "training.keep=last",
    "training.max_tokens=256",
)
"""Chosen before looking at any test row."""
VALIDATION_EVERY = 40
"""Each so-manieth training row is held back to watch the loss; nothing is chosen by it."""
PUBLISHED = {
    "BERT-large, fine-tuned": 0.9366,
    "USE + ConveRT, frozen encoders and a small network": 0.9336,
}
"""Full training set. Source: Casanueva et al. 2020, Efficient Intent Detection with Dual Sentence Encoders,
table 3, https://aclanthology.org/2020.nlp4convai-1.5/."""


class Lines:
    """Progress as a line every 30 seconds."""

    def start(self, what: str, total: int | None) -> None:
        """Begin a piece of work."""
        self._what, self._total, self._done, self._begun = what, total or 0, 0, time.monotonic()
        self._told = self._begun

    def update(self, done: int, note: str = "") -> None:
        """Count units, and say so now and then."""
        self._done += done
        now = time.monotonic()
        if now - self._told > 30:
            self._told = now
            left = (now - self._begun) / max(1, self._done) * (self._total - self._done)
            print(f"{self._what}: {self._done}/{self._total}, {left / 60:.0f} min left {note}", file=sys.stderr)

    def finish(self) -> None:
        """Nothing is owed at the end."""


def read(path: Path, split: Split) -> list[Example]:
    """One file of labelled rows as examples."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [
        Example(
            id=f"{split}-{number}",
            messages=(Message("system", PROMPT), Message("user", row["input"])),
            target=row["output"],
            split=split,
            provenance="human-labelled",
            group=str(number),
        )
        for number, row in enumerate(rows)
    ]


def accuracy_line(name: str, answers: list[str], targets: list[str]) -> str:
    """Accuracy with its 95 % Wilson interval."""
    hits = sum(answer == target for answer, target in zip(answers, targets, strict=True))
    interval = binomtest(hits, len(targets)).proportion_ci(method="wilson")
    return f"{name:44} {hits / len(targets):.4f}  [{interval.low:.4f}, {interval.high:.4f}]  n={len(targets)}"


def main() -> None:
    """Tune, score, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/intent_banking77"))
    parser.add_argument(
        "--out", type=Path, default=Path("build") / "banking77", help="folder of the run and its predictions"
    )
    parser.add_argument("overrides", nargs="*", help="changes to the recipe, such as training.epochs=1")
    options = parser.parse_args()
    if not (options.data / "train.jsonl").exists():
        sys.exit(f"Skipped: {options.data} does not hold train.jsonl and test.jsonl.")
    rows, test_rows = read(options.data / "train.jsonl", "train"), read(options.data / "test.jsonl", "test")
    targets = [row.target for row in test_rows]
    labels = tuple(sorted({row.target for row in rows}))
    task = Task(name="banking77", kind="classification", labels=labels, own_prompt=PROMPT)
    baselines = {one.name: one.answers or {} for one in baseline_contenders(task, train=rows, cases=test_rows)}
    linear = [baselines[LINEAR][row.id].text for row in test_rows]
    print(accuracy_line(LINEAR, linear, targets), flush=True)
    base = fetch_base("smollm2-135m", progress=Lines())
    adapter = train(
        task=task,
        train_rows=[row for number, row in enumerate(rows) if number % VALIDATION_EVERY],
        validation_rows=rows[::VALIDATION_EVERY],
        recipe=load_recipe("smollm2-135m-cpu", [*RECIPE, *options.overrides]),
        base=base,
        run_folder=options.out,
        progress=Lines(),
    )
    minutes, cpu_minutes = adapter.seconds / 60, adapter.cpu_seconds / 60
    print(f"tuned on {adapter.examples} rows in {minutes:.1f} min, {cpu_minutes:.1f} CPU-min", flush=True)
    begun = time.perf_counter(), time.process_time()
    answers = LocalModel(base, adapter.folder).answer(
        [row.messages for row in test_rows], constraint=task.constraint, max_output_tokens=1, progress=Lines()
    )
    wall, cpu = time.perf_counter() - begun[0], time.process_time() - begun[1]
    print(f"answered {len(answers)} rows in {wall / 60:.1f} min, {cpu / 60:.1f} CPU-min")
    print(accuracy_line("SmolLM2-135M-Instruct, LoRA", [answer.text for answer in answers], targets))
    for name, accuracy in PUBLISHED.items():
        print(f"{name + ' (published)':44} {accuracy:.4f}")
    predictions = [
        {
            "id": row.id,
            "target": row.target,
            "own": answer.text,
            "confidence": answer.confidence,
            "linear": other,
        }
        for row, answer, other in zip(test_rows, answers, linear, strict=True)
    ]
    (options.out / "predictions.json").write_text(json.dumps(predictions, indent=1))


if __name__ == "__main__":
    main()
