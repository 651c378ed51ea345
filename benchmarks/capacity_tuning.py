"""The tuning model against published training rates, and each model, GPU and library left out in turn.

    .venv/bin/python benchmarks/capacity_tuning.py [--data ../shared/data]

Three constants (`finetune.Pace`) are fitted to 19 points; traffic and launches of each kind of library are counted.
`benchmarks/capacity.py` prints the same tables among its own.
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


@dataclass(frozen=True)
class Run:
    """One published training rate."""

    row: dict[str, str]

    @property
    def trainer(self) -> Trainer:
        """Qwen's script is plain transformers; torchtune was measured compiled, Megatron is fused."""
        return "eager" if self.row["engine"].startswith("Qwen") else "compiled"

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
    """All published points."""
    with (folder / "bench_throughput" / "finetune_points.csv").open(encoding="utf-8") as file:
        return [Run(row) for row in csv.DictReader(file)]


def fitted(points: Sequence[Run]) -> Pace:
    """Robust least squares of log ratios; n rows of one table weigh as much as √n."""

    def group(run: Run) -> tuple[str, ...]:
        return tuple(run.row[name] for name in ("engine", "method", "model", "gpu"))

    sizes = Counter(group(run) for run in points)
    weights = np.array([sizes[group(run)] ** -0.25 for run in points])
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
    points = runs(folder)
    groups: dict[str, list[float]] = defaultdict(list)
    for run in points:
        groups[f"{run.row['method']:8} {run.row['gpu']:14} {run.row['model']}"].append(run.log_ratio())
    print(f"\n{'training, shipped constants':46}     n    median      p90     worst  predicted/measured")
    for name in sorted(groups):
        print(f"{name:46} {errors(groups[name])}")
    print(f"{'all':46} {errors([run.log_ratio() for run in points])}")
    print(f"{'all, library not named':46} {errors([run.log_ratio(is_named=False) for run in points])}")
    print("fitted again:", fitted(points))
    leave_out(points, "model", lambda run: run.row["model"])
    leave_out(points, "GPU", lambda run: run.row["gpu"])
    leave_out(points, "library", lambda run: run.row["engine"])
    anchor()


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
