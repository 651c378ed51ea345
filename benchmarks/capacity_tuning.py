"""The tuning model against published training rates, and each model, GPU and library left out in turn.

    .venv/bin/python benchmarks/capacity_tuning.py [--data ../shared/data]

Three constants (`finetune.Pace`) are fitted to 65 points: 19 of the shared table, and 46 further ones of the table
in the README of QwenLM/Qwen that 11 of those come from. Traffic and launches of each kind of library are counted, the
host's time was read off the shortest rows. `benchmarks/capacity.py` prints the same tables among its own.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections import Counter, defaultdict
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import least_squares

from freehold.economics.facts import hardware, model_facts
from freehold.economics.finetune import PACE, Finetuning, Pace, Trainer, finetuning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

START = Pace(efficiency=0.75, layer_s=2e-3, unpacked_bytes=30.0)
PULL = 0.15
"""Weight of the start: that of a small part of a point."""

QWEN_SOURCE = "Qwen finetune (HF+FA2), further rows"
QWEN = """
qwen-1.8b lora  1  1.0  1.0  1.1  1.7  3.3   6.8
qwen-1.8b qlora 1  1.4  1.4  1.4  2.0  3.4   6.5
qwen-1.8b full  1  2.1  2.2  2.2  2.3  2.8   5.6
qwen-7b   lora  1  1.2
qwen-7b   qlora 1  3.0  3.0
qwen-7b   full  2  4.0
qwen-14b  lora  1  1.6  2.4  4.4  8.4 17.0  36.0
qwen-14b  qlora 1  5.3  6.3  8.2 11.8 20.1  38.3
qwen-72b  lora  4 17.6 20.5 29.4 45.7 83.4 161.5
qwen-72b  qlora 1 27.4 31.5 41.4 59.5 97.7 179.8
"""
"""Seconds for 8 micro-batches of 256, 512, 1,024, 2,048, 4,096 and 8,192 tokens on each A100 of 80 GB; github
QwenLM/Qwen, README.md at 03cd81f, Profiling of Memory and Speed. Rows that the shared table has are left out, and
those whose embeddings learn too or that two servers share."""


@dataclass(frozen=True)
class Run:
    """One published training rate."""

    row: dict[str, str]

    @property
    def trainer(self) -> Trainer:
        """Qwen's script is plain transformers; torchtune was measured compiled, Megatron is fused."""
        return "eager" if self.row["engine"].startswith("Qwen") else "compiled"

    @property
    def library(self) -> str:
        """The first word of its name: torchtune, Qwen's script, Megatron."""
        return self.row["engine"].split()[0]

    @property
    def keeps_activations(self) -> bool:
        """One row of torchtune says so, and Megatron's pre-training does."""
        return self.row["note"] == "packed+compile" or self.row["engine"].startswith("Megatron")

    def predicted(self, pace: Pace = PACE, *, is_named: bool = True) -> Finetuning:
        """With the library named, or as a user asks who does not know it."""
        return finetuning(
            model_facts(self.row["model"]),
            hardware(self.row["gpu"]),
            method=self.row["method"],  # type: ignore[arg-type]  # checked there
            trained_tokens=1e6,
            gpus=int(self.row["n_gpu"]),
            sequence_tokens=int(self.row["seq_len"]),
            micro_batch=int(self.row["micro_batch"]),
            trainer=self.trainer if is_named else "typical",
            recompute=not (is_named and self.keeps_activations),
            precision="fp8" if is_named and "FP8" in self.row["engine"] else "bf16",
            pace=pace,
        )

    def log_ratio(self, pace: Pace = PACE, *, is_named: bool = True) -> float:
        """Logarithm of predicted over measured."""
        return math.log(self.predicted(pace, is_named=is_named).tokens_per_s / float(self.row["tokens_s_total"]))


def runs(folder: Path) -> list[Run]:
    """All points of the shared table."""
    with (folder / "bench_throughput" / "finetune_points.csv").open(encoding="utf-8") as file:
        return [Run(row) for row in csv.DictReader(file)]


def further_runs() -> list[Run]:
    """The other rows of Qwen's table."""
    found = []
    for line in QWEN.split("\n")[1:-1]:
        model, method, gpus, *seconds = line.split()
        for tokens, spent in zip((256, 512, 1024, 2048, 4096, 8192), seconds, strict=False):
            rate = 8 * tokens * int(gpus) / float(spent)
            row = {"model": model, "method": method, "gpu": "A100_SXM_80", "n_gpu": gpus, "seq_len": str(tokens)}
            found.append(
                Run(row | {"micro_batch": "1", "engine": QWEN_SOURCE, "note": "", "tokens_s_total": f"{rate}"})
            )
    return found


def fitted(points: Sequence[Run]) -> Pace:
    """Robust least squares of log ratios; each model, method and GPU weighs the same, n of one library as √n."""

    def group(run: Run) -> tuple[str, ...]:
        return (run.library, *(run.row[name].lower() for name in ("method", "model", "gpu")))

    sizes = Counter(group(run) for run in points)
    tables = Counter(library for library, *_ in sizes)
    weights = np.array([2.0 * sizes[group(run)] ** -0.5 * tables[run.library] ** -0.25 for run in points])
    start = np.log(astuple(START))

    def pace(logs: np.ndarray) -> Pace:
        return Pace(**{field.name: float(math.exp(log)) for field, log in zip(fields(Pace), logs, strict=True)})

    def residuals(logs: np.ndarray) -> np.ndarray:
        off = np.array([run.log_ratio(pace(logs)) for run in points])
        return np.concatenate([weights * off, PULL * (logs - start)])

    return pace(least_squares(residuals, start, loss="soft_l1", f_scale=0.1).x)


def errors(log_ratios: Sequence[float]) -> str:
    """Median, 90th percentile and worst, and the middle of predicted over measured."""
    off = np.abs(np.exp(log_ratios) - 1.0) * 100
    worst = math.exp(max(abs(ratio) for ratio in log_ratios))
    middle = math.exp(float(np.median(log_ratios)))
    return f"{len(off):5} {np.median(off):7.1f} % {np.percentile(off, 90):7.1f} % {worst:7.2f}× {middle:6.2f}"


def leave_out(points: Sequence[Run], what: str, key: Callable[[Run], str]) -> None:
    """Errors on each group when nothing of it was fitted, with the library named and not."""
    named, unnamed = [], []
    for name in sorted({key(run) for run in points}):
        pace = fitted([run for run in points if key(run) != name])
        left = [run for run in points if key(run) == name]
        ratios = [run.log_ratio(pace) for run in left]
        print(f"{'without ' + name:46} {errors(ratios)}")
        named += ratios
        unnamed += [run.log_ratio(pace, is_named=False) for run in left]
    print(f"{'each ' + what + ' left out':46} {errors(named)}")
    print(f"{'the same, library not named':46} {errors(unnamed)}")


def tuning(folder: Path) -> None:
    """All tables."""
    shared, further = runs(folder), further_runs()
    points = [*shared, *further]
    groups: dict[str, list[float]] = defaultdict(list)
    for run in points:
        groups[f"{run.row['method']:8} {run.row['gpu']:14} {run.row['model']}"].append(run.log_ratio())
    print(f"\n{'training, shipped constants':46}     n    median      p90     worst  predicted/measured")
    for name in sorted(groups):
        print(f"{name:46} {errors(groups[name])}")
    short = [run for run in points if int(run.row["seq_len"]) * int(run.row["micro_batch"]) <= 1024]
    for title, part in (
        ("all", points),
        ("shared table", shared),
        ("further rows", further),
        ("to 1,024 tokens", short),
    ):
        print(f"{title:46} {errors([run.log_ratio() for run in part])} {inside(part):4.0f} % inside")
        unnamed = [run.log_ratio(is_named=False) for run in part]
        print(f"{title + ', library not named':46} {errors(unnamed)} {inside(part, is_named=False):4.0f} % inside")
    print("fitted again:", fitted(points))
    leave_out(points, "model", lambda run: run.row["model"].lower())
    leave_out(points, "GPU", lambda run: run.row["gpu"])
    leave_out(points, "library", lambda run: run.library)
    anchor()


def inside(points: Sequence[Run], *, is_named: bool = True) -> float:
    """Percent of the points between p5 and p95."""
    spreads = [1.645 * run.predicted(is_named=is_named).log_sd for run in points]
    found = [abs(run.log_ratio(is_named=is_named)) <= each for run, each in zip(points, spreads, strict=True)]
    return 100 * sum(found) / len(points)


def anchor() -> None:
    """MLPerf Training: Llama 2 70B, adapter, eight H100, rows of 8,192 tokens; 29.1 minutes were measured.

    3,840 rows are the median that the reference needed to converge (mlcommons/logging, training_4.0.0).
    """
    for precision, trainer in (("fp8", "compiled"), ("bf16", "typical")):
        run = finetuning(
            model_facts("llama-2-70b"), hardware("h100"), method="lora", trained_tokens=3840 * 8192, gpus=8,
            sequence_tokens=8192, precision=precision, trainer=trainer, recompute=precision == "bf16",  # type: ignore[arg-type]  # both are literals
        )  # fmt: skip
        print(f"MLPerf, {precision}, {trainer}: {run.hours * 60:.1f} min, {run.gpu_hours:.2f} GPU-h (29.1 and 3.9)")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    tuning(parser.parse_args().data)


if __name__ == "__main__":
    main()
