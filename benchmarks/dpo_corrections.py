"""DPO on experts' corrections against plain tuning on the corrected texts alone, on one processor.

Both begin with the same plain adapter. One stops there; the other learns on from pairs of the corrected and the
original answer. Measured on held-out rows: edit rate of greedy answers to the corrected text (words changed, added or
removed, by words of the corrected text), paired by row with a 95 % interval; and how often the corrected text is the
likelier one, by the margins that training itself reports. Data: any folder with train.jsonl and test.jsonl of rows
{"input", "model_output", "output"}.

    .venv/bin/python benchmarks/dpo_corrections.py --data ../shared/data/corrections_mlqe_pe_ro_en
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from freehold.core.chat import Constraint, Message
from freehold.core.dataset import Example
from freehold.core.progress import Silent
from freehold.core.task import Split, Task
from freehold.tuning.bases import fetch_base
from freehold.tuning.predict import LocalModel
from freehold.tuning.recipe import load_recipe
from freehold.tuning.train import train

PROMPT = "Translate the text into English."


def read(path: Path, split: Split, count: int) -> list[Example]:
    """The first rows whose original answer was corrected."""
    rows = []
    for number, line in enumerate(path.read_text("utf-8").splitlines()):
        row = json.loads(line)
        if row["model_output"] != row["output"] and len(rows) < count:
            rows.append(
                Example(
                    id=f"{split}-{number}",
                    messages=(Message("system", PROMPT), Message("user", row["input"])),
                    target=row["output"],
                    split=split,
                    provenance="human-corrected",
                    group=str(number),
                    rented_output=row["model_output"],
                )
            )
    return rows


def edit_rate(answer: str, corrected: str) -> float:
    """Words to change, add or remove, by words of the corrected text."""
    words, wanted = answer.split(), corrected.split()
    row = list(range(len(wanted) + 1))
    for above, word in enumerate(words, start=1):
        diagonal, row[0] = row[0], above
        for place, other in enumerate(wanted, start=1):
            diagonal, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, diagonal + (word != other))
    return row[-1] / max(1, len(wanted))


def main() -> None:
    """Train both, answer the test rows, print the difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/corrections_mlqe_pe_ro_en"))
    parser.add_argument("--out", type=Path, default=Path("build") / "dpo_corrections")
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--test-rows", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("overrides", nargs="*", help="changes to the dpo recipe, such as dpo.beta=0.3")
    options = parser.parse_args()
    if not (options.data / "train.jsonl").exists():
        sys.exit(f"Skipped: {options.data} does not hold train.jsonl and test.jsonl.")
    rows = read(options.data / "train.jsonl", "train", options.rows)
    test_rows = read(options.data / "test.jsonl", "test", options.test_rows)
    held = rows[: max(20, len(rows) // 10)]
    task = Task(name="corrections", kind="text", own_prompt=PROMPT)
    base = fetch_base("smollm2-135m", progress=Silent())
    common = [f"threads={options.threads}", "training.max_tokens=256", "training.keep=last", "training.epochs=2"]
    plain = load_recipe("smollm2-135m-cpu", common)
    pairs = load_recipe(
        "smollm2-135m-cpu",
        [*common, "method=dpo", "training.learning_rate=0.0003", "training.epochs=1", *options.overrides],
    )
    rates: dict[str, np.ndarray] = {}
    start = None
    for who, recipe in (("SFT", plain), ("SFT, then DPO", pairs)):
        begun = time.perf_counter()
        trained = train(
            task=task,
            train_rows=rows[len(held) :],
            validation_rows=held,
            recipe=recipe,
            base=base,
            run_folder=options.out / who.replace(", ", "-").replace(" ", "-").lower(),
            progress=Silent(),
            start=start,
        )
        start = trained.folder
        answers = LocalModel(base, trained.folder, threads=options.threads).answer(
            [row.messages for row in test_rows], constraint=Constraint(), max_output_tokens=64, progress=Silent()
        )
        rates[who] = np.array(
            [edit_rate(answer.text, row.target) for answer, row in zip(answers, test_rows, strict=True)]
        )
        words = np.mean([len(answer.text.split()) for answer in answers])
        print(
            f"{who}: edit rate {rates[who].mean():.4f}, {words:.1f} words an answer, "
            f"{time.perf_counter() - begun:.0f} s",
            flush=True,
        )
        for moment in trained.preference:
            print("  held-out pairs:", {name: value and round(value, 4) for name, value in moment.items()})
        for note in trained.notes:
            print(" ", note)
    gap = rates["SFT, then DPO"] - rates["SFT"]
    spread = 1.96 * gap.std(ddof=1) / np.sqrt(len(gap))
    print(f"difference {gap.mean():+.4f} [{gap.mean() - spread:+.4f}, {gap.mean() + spread:+.4f}], {len(gap)} rows")


if __name__ == "__main__":
    main()
