"""Our training loop against TRL's SFTTrainer as it comes: speed on a processor, and accuracy, in one run.

Same base model, rows, adapter rank and modules, epochs, batch, rate and schedule; seeds 0, 1, 2. TRL puts the
adapter into all layers, as its examples do. Ours does so too, and a second time adapts the upper layers alone, as the
shipped recipe says; --same-layers lets TRL do that as well. Needs the extra `bench`. Close other programs: a thread
that waits for a busy core counts as work.

    .venv/bin/python benchmarks/tuning_cpu.py --out build/tuning_cpu
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

from datasets import Dataset
from freehold.core.chat import Message
from freehold.core.dataset import Example
from freehold.core.progress import Silent
from freehold.core.task import Split, Task
from freehold.tuning.bases import BaseModel, fetch_base
from freehold.tuning.predict import LocalModel
from freehold.tuning.recipe import Recipe, load_recipe
from freehold.tuning.train import train

if TYPE_CHECKING:
    from collections.abc import Sequence

PROMPT = "Name the intent of the customer's message."
LABELS = 10
TEST_ROWS_PER_LABEL = 30


@dataclass(frozen=True, slots=True)
class Run:
    """One training run and what its adapter answered."""

    who: str
    seed: int
    examples: int
    """Rows times epochs."""
    cpu_seconds: float
    seconds: float
    hits: list[bool]
    """One per test row."""


def read(path: Path, split: Split, labels: Sequence[str], per_label: int) -> list[Example]:
    """The first rows of each label."""
    seen: Counter[str] = Counter()
    examples = []
    for number, line in enumerate(path.read_text("utf-8").splitlines()):
        row = json.loads(line)
        seen[row["output"]] += 1
        if row["output"] in labels and seen[row["output"]] <= per_label:
            messages = (Message("system", PROMPT), Message("user", row["input"]))
            examples.append(
                Example(
                    id=f"{split}-{number}",
                    messages=messages,
                    target=row["output"],
                    split=split,
                    provenance="human-labelled",
                    group=str(number),
                )
            )
    return examples


def ours(task: Task, rows: list[Example], recipe: Recipe, base: BaseModel, folder: Path) -> Path:
    """Our loop; the adapter's folder."""
    return train(
        task=task,
        train_rows=rows,
        validation_rows=(),
        recipe=recipe,
        base=base,
        run_folder=folder,
        progress=Silent(),
    ).folder


def theirs(_task: Task, rows: list[Example], recipe: Recipe, base: BaseModel, folder: Path) -> Path:
    """SFTTrainer with its own defaults for all that the recipe does not name; the adapter's folder."""
    upper_layers = recipe.lora.upper_layers
    depth = json.loads((base.folder / "config.json").read_text("utf-8"))["num_hidden_layers"]
    data = Dataset.from_list(
        [
            {
                "prompt": [message.as_dict() for message in row.messages],
                "completion": [{"role": "assistant", "content": row.target}],
            }
            for row in rows
        ]
    )
    training = recipe.training
    config = SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=training.batch_size,
        num_train_epochs=training.epochs,
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.schedule,
        warmup_steps=training.warmup,
        weight_decay=training.weight_decay,
        max_grad_norm=training.clip_norm,
        seed=recipe.seed,
        bf16=recipe.precision == "bfloat16",
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        model_init_kwargs={"dtype": "float32"},
    )
    lora = LoraConfig(
        r=recipe.lora.rank,
        lora_alpha=recipe.lora.alpha,
        lora_dropout=recipe.lora.dropout,
        target_modules=list(recipe.lora.target_modules),
        layers_to_transform=None if upper_layers is None else list(range(depth - upper_layers, depth)),
        task_type="CAUSAL_LM",
    )
    trainer = SFTTrainer(model=str(base.folder), args=config, train_dataset=data, peft_config=lora)
    trainer.train()
    trainer.save_model(str(folder))
    return folder


def difference_line(name: str, other: str, by_name: dict[str, list[Run]]) -> str:
    """Speed ratio, and the paired difference of accuracy with its 95 % interval over test rows."""
    mine, others = by_name[name], by_name[other]
    speed = [sum(run.examples for run in runs) / sum(run.cpu_seconds for run in runs) for runs in (mine, others)]
    gap = np.mean([run.hits for run in mine], axis=0) - np.mean([run.hits for run in others], axis=0, dtype=float)
    spread = 1.96 * gap.std(ddof=1) / np.sqrt(len(gap))
    return (
        f"{name} against {other}: {speed[0] / speed[1]:.1f} times the examples per CPU-second; accuracy "
        f"{gap.mean():+.4f} [{gap.mean() - spread:+.4f}, {gap.mean() + spread:+.4f}]"
    )


def main() -> None:
    """Train everything, print the table, write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/intent_banking77"))
    parser.add_argument("--out", type=Path, default=Path("build") / "tuning_cpu")
    parser.add_argument("--rows-per-label", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--same-layers", action="store_true", help="also TRL with the adapter on our layers alone")
    parser.add_argument("overrides", nargs="*", help="changes to the recipe, such as precision=float32")
    options = parser.parse_args()
    if not (options.data / "train.jsonl").exists():
        sys.exit(f"Skipped: {options.data} does not hold train.jsonl and test.jsonl.")
    names = [json.loads(line)["output"] for line in (options.data / "train.jsonl").read_text("utf-8").splitlines()]
    labels = tuple(sorted(set(names))[:LABELS])
    rows = read(options.data / "train.jsonl", "train", labels, options.rows_per_label)
    test_rows = read(options.data / "test.jsonl", "test", labels, TEST_ROWS_PER_LABEL)
    task = Task(name="banking10", kind="classification", labels=labels, own_prompt=PROMPT)
    base = fetch_base("smollm2-135m", progress=Silent())
    torch.set_num_threads(options.threads)
    runs: list[Run] = []
    for seed in range(options.seeds):
        changes = [f"seed={seed}", f"threads={options.threads}", *options.overrides]
        shipped = load_recipe("smollm2-135m-cpu", changes)
        whole = load_recipe("smollm2-135m-cpu", [*changes, "lora.upper_layers=null"])
        contenders = {"ours": whole, "ours, upper layers": shipped, "TRL": whole}
        if options.same_layers:
            contenders["TRL, upper layers"] = shipped
        for who, recipe in contenders.items():
            folder = options.out / f"{who.replace(', ', '-').replace(' ', '-').lower()}-{seed}"
            begun = time.perf_counter(), time.process_time()
            loop = ours if who.startswith("ours") else theirs
            adapter = loop(task, rows, recipe, base, folder)
            wall, cpu = time.perf_counter() - begun[0], time.process_time() - begun[1]
            answers = LocalModel(base, adapter, threads=options.threads).answer(
                [row.messages for row in test_rows],
                constraint=task.constraint,
                max_output_tokens=1,
                progress=Silent(),
            )
            hits = [answer.text == row.target for answer, row in zip(answers, test_rows, strict=True)]
            run = Run(who, seed, len(rows) * recipe.training.epochs, cpu, wall, hits)
            runs.append(run)
            print(
                f"{who:18} seed {seed}: {run.examples / cpu:6.2f} examples per CPU-second, "
                f"{cpu:6.1f} CPU-s, accuracy {np.mean(hits):.4f}",
                flush=True,
            )
    by_name = {name: [run for run in runs if run.who == name] for name in dict.fromkeys(run.who for run in runs)}
    for name in ("ours", "ours, upper layers"):
        for other in by_name:
            if other.startswith("TRL"):
                print(difference_line(name, other, by_name))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "runs.json").write_text(json.dumps([asdict(run) for run in runs]))


if __name__ == "__main__":
    main()
