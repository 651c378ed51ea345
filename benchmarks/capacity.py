"""The capacity model against published and measured serving rates, by GPU and model.

    .venv/bin/python benchmarks/capacity.py [--data ../shared/data] [--refit]

Points fall into three parts: those that `--refit` fits, those it sets aside by a hash of model and GPU, and odd
rows (more devices than a server has, or attention copied over devices) which were never fitted and are shown apart.
The shipped constants were fitted to the first two together: with them the part set aside is no proof.
`--refit` is: it fits the constants again, on the first part and then with each GPU and each model left out in turn.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import least_squares

from freehold.core.errors import InputError
from freehold.economics.capacity import Capacity, capacity
from freehold.economics.facts import hardware, model_facts
from freehold.economics.finetune import finetuning
from freehold.economics.machine import GPU_ENGINE, Engine, Hardware

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from freehold.economics.decoder import ModelFacts

ONLY_CARRIERS = {"qwen3.5-397b-a17b": "linear attention", "kimi-k2.5": "experts in int4", "mi300x": "AMD"}
"""Groups without which a constant could not be found at all: they are always fitted."""

MLPERF = {  # mean input and output tokens of the MLPerf data sets, and devices of a replica by accelerator
    "llama2-70b": (294, 294),
    "llama3.1-8b": (870, 128),
    "mixtral-8x7b": (270, 145),
    "llama3.1-405b": (9500, 680),
}
MOST_DEVICES = 8


@dataclass(frozen=True)
class Point:
    """One published or measured rate."""

    source: str
    model: ModelFacts
    gpu: Hardware
    gpus: int
    precision: str
    tokens: tuple[int, int]
    concurrency: float | None
    measured: float
    is_odd: bool
    engine: str

    @property
    def part(self) -> str:
        """Fitted, aside or odd."""
        if self.is_odd:
            return "odd"
        if {self.model.name, self.gpu.name} & ONLY_CARRIERS.keys():
            return "fitted"
        digest = hashlib.sha256(f"{self.model.name}|{self.gpu.name}".encode()).digest()
        return "aside" if digest[4] % 3 == 0 else "fitted"

    def log_ratio(self, engine: Engine | None = None) -> float:
        """Logarithm of predicted over measured; infinite where the model refuses."""
        try:
            return math.log(self.predicted(engine).output_tokens_per_s / self.measured)
        except InputError:
            return math.inf

    def predicted(self, engine: Engine | None = None) -> Capacity:
        """What the model says of this point."""
        return capacity(
            self.model,
            self.gpu,
            input_tokens=self.tokens[0],
            output_tokens=self.tokens[1],
            gpus=self.gpus,
            precision=self.precision,
            concurrency=self.concurrency,
            engine=engine,
        )


def silicon(folder: Path) -> Iterable[Point]:
    """Serving runs of vLLM, SGLang and TensorRT-LLM."""
    for line in (folder / "bench_silicon_dev" / "agg.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        yield Point(
            source="silicon",
            model=model_facts(row["model"]),
            gpu=hardware(row["gpu"]),
            gpus=row["gpus"],
            precision=row["precision"] or model_facts(row["model"]).published_precision,
            tokens=(row["isl"], row["osl"]),
            concurrency=row["concurrency"] or row["batch_size"],
            measured=row["out_tok_s_per_gpu_derived"] * row["gpus"],
            is_odd=row["tp"] > MOST_DEVICES or (row["attention_dp"] or 1) > 1,
            engine=row["engine"],
        )


def published(folder: Path) -> Iterable[Point]:
    """Rates that vendors and blogs published."""
    with (folder / "bench_throughput" / "throughput_points.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            together = row["batch_or_concurrency"]
            yield Point(
                source="published",
                model=model_facts(row["model"]),
                gpu=hardware(row["gpu"]),
                gpus=int(row["n_gpu"]),
                precision=row["weight_precision"],
                tokens=(int(row["isl"]), int(row["osl"])),
                concurrency=float(together) if together else None,
                measured=float(row["output_tok_s_total"]),
                is_odd=False,
                engine=row["engine"].split()[0],
            )


def mlperf(folder: Path) -> Iterable[Point]:
    """Offline rates of MLPerf Inference 5.1, per replica of the usual size."""
    for line in (folder / "bench_mlperf51_dev" / "llm.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        name = row["Model"].removesuffix(".9").removesuffix("-99")
        if row["Scenario"] != "Offline" or row["weight_data_types"] not in {"fp8", "fp4"} or name not in MLPERF:
            continue
        if row["Model"].endswith("99.9"):
            continue  # the same runs again
        try:
            gpu = hardware(row["Accelerator"])
        except InputError:
            continue  # Intel Arc is not in our table
        gpus = 8 if "405b" in name else 2 if "70b" in name and gpu.memory_gb < 96 else 1
        yield Point(
            source="mlperf",
            model=model_facts(name),
            gpu=gpu,
            gpus=gpus,
            precision=row["weight_data_types"],
            tokens=MLPERF[name],
            concurrency=None,
            measured=row["Performance_Result"] / row["total_accelerators_guess"] * gpus,
            is_odd=False,
            engine=row["Software"].split()[0],
        )


def errors(log_ratios: Sequence[float]) -> str:
    """Median, 90th percentile and worst of the error, and how far predictions lie from measurements in the middle."""
    ratios = np.array([ratio for ratio in log_ratios if math.isfinite(ratio)])
    refused = len(log_ratios) - len(ratios)
    if not len(ratios):
        return f"{len(log_ratios):5}  all refused"
    error = np.abs(np.exp(ratios) - 1.0) * 100
    worst = math.exp(float(np.abs(ratios).max()))
    text = f"{len(ratios):5} {np.median(error):7.1f} % {np.percentile(error, 90):7.1f} % {worst:7.2f}×"
    return f"{text} {math.exp(float(np.median(ratios))):6.2f}" + (f"   {refused} refused" if refused else "")


def table(title: str, points: Sequence[Point], key: Callable[[Point], str], engine: Engine | None = None) -> None:
    """Errors by group, and of all."""
    groups: dict[str, list[float]] = defaultdict(list)
    for point in points:
        groups[key(point)].append(point.log_ratio(engine))
    print(f"\n{title:46}     n    median      p90     worst  predicted/measured")
    for name in sorted(groups):
        print(f"{name:46} {errors(groups[name])}")
    print(f"{'all':46} {errors([ratio for ratios in groups.values() for ratio in ratios])}")


def tuning(folder: Path) -> None:
    """Published training rates; all were seen when the constants were chosen."""
    groups: dict[str, list[float]] = defaultdict(list)
    with (folder / "bench_throughput" / "finetune_points.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            run = finetuning(
                model_facts(row["model"]),
                hardware(row["gpu"]),
                method=row["method"],
                trained_tokens=1e6,
                gpus=int(row["n_gpu"]),
                sequence_tokens=int(row["seq_len"]),
                micro_batch=int(row["micro_batch"]),
            )
            name = f"{row['method']:8} {row['gpu']:14} {row['model']}"
            groups[name].append(math.log(run.tokens_per_s / float(row["tokens_s_total"])))
    print(f"\n{'training':46}     n    median      p90     worst  predicted/measured")
    for name in sorted(groups):
        print(f"{name:46} {errors(groups[name])}")
    print(f"{'all':46} {errors([ratio for ratios in groups.values() for ratio in ratios])}")


def coverage(points: Sequence[Point], engine: Engine | None = None) -> float:
    """Share of measurements inside the interval from p5 to p95."""
    inside = 0
    for point in points:
        try:
            low, high = point.predicted(engine).interval
        except InputError:
            continue
        inside += low <= point.measured <= high
    return inside / len(points)


FITTED = {  # the constants, and neutral values to start from, which a constant that no point tells of keeps
    "prefill_efficiency": 0.7,
    "bandwidth_efficiency": 0.85,
    "shard_loss": 0.05,
    "half_rate_width": 1000.0,
    "int4_expert_share": 0.6,
    "link_share": 0.5,
    "layer_us": 50.0,
    "expert_layer_us": 20.0,
    "latent_layer_us": 20.0,
    "state_layer_us": 20.0,
    "request_us": 20.0,
}
SHARES = {"fp8": 0.7, "fp4": 0.6}
PULL = 0.3
"""Weight of the neutral values: that of a point or less, where a group of points has 64."""
BOUNDS = {"prefill_efficiency": 0.95, "bandwidth_efficiency": 0.95, "int4_expert_share": 1.0}


def with_values(values: Sequence[float]) -> Engine:
    """The engine with these constants in place of the shipped ones."""
    named = dict(zip(FITTED, (float(value) for value in values), strict=False))
    fp8, fp4 = (float(value) for value in values[len(FITTED) :])
    return replace(GPU_ENGINE, precision_shares={"bf16": 1.0, "fp8": fp8, "int8": fp8, "fp4": fp4}, **named)


def refit(points: Sequence[Point]) -> Engine:
    """Constants by robust least squares of log ratios; a group of n points weighs as much as √n points."""

    def group(point: Point) -> tuple[str, str, str]:
        return point.model.name, point.gpu.name, point.precision

    sizes = Counter(group(point) for point in points)
    usable = [point for point in points if math.isfinite(point.log_ratio())]
    weights = np.array([8.0 / math.sqrt(sizes[group(point)]) for point in usable])
    start = np.log([*FITTED.values(), *SHARES.values()])
    highest = [BOUNDS.get(name, 1e5) for name in FITTED] + [1.0, 1.0]

    upper = np.log(highest)

    def residuals(logs: np.ndarray) -> np.ndarray:
        engine = with_values(np.exp(logs))
        off = np.array([min(5.0, point.log_ratio(engine)) for point in usable]) * weights
        return np.concatenate([off, PULL * (logs - start)])

    found = least_squares(
        residuals, np.minimum(start, upper - 1e-3), bounds=(-20.0, upper), loss="cauchy", f_scale=0.1,
        diff_step=1e-4, max_nfev=40,
    )  # fmt: skip
    return with_values(np.exp(found.x))


def leave_out(points: Sequence[Point], key: Callable[[Point], str]) -> None:
    """Errors on each GPU or model when nothing of it was fitted."""
    for name in sorted({key(point) for point in points}):
        without = [point for point in points if key(point) != name]
        engine = refit(without)
        left = [point for point in points if key(point) == name]
        inside = 100 * coverage(left, engine)
        print(
            f"{'without ' + name:46} {errors([p.log_ratio(engine) for p in left])}   {inside:.0f} % inside", flush=True
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--refit", action="store_true")
    options = parser.parse_args()
    points = [*silicon(options.data), *published(options.data), *mlperf(options.data)]
    parts = {name: [point for point in points if point.part == name] for name in ("fitted", "aside", "odd")}
    sound = parts["fitted"] + parts["aside"]
    print("Shipped constants, which were fitted to both parts; --refit tells how they do on points they did not see.")
    for name, part in parts.items():
        table(f"{name}: GPU, model", part, lambda p: f"{p.gpu.name:14} {p.model.name:20} {p.precision}")
    for name, part in parts.items():
        table(f"{name}: kind", part, lambda p: "mixture" if p.model.experts else "dense")
        print(f"inside the interval: {100 * coverage(part):.0f} %, 90 % meant")
    tuning(options.data)
    table("fitted and aside: engine", sound, lambda p: f"{p.source:10} {p.engine}")
    if options.refit:
        engine = refit(parts["fitted"])
        print("\nfitted again:", engine)
        table("refit, fitted", parts["fitted"], lambda p: "mixture" if p.model.experts else "dense", engine)
        table("refit, aside", parts["aside"], lambda p: "mixture" if p.model.experts else "dense", engine)
        for name in ("dense", "mixture"):
            part = [point for point in parts["aside"] if bool(point.model.experts) == (name == "mixture")]
            print(f"aside, {name}: inside the interval {100 * coverage(part, engine):.0f} %, 90 % meant")
        leave_out(sound, lambda p: p.gpu.name)
        leave_out(sound, lambda p: p.model.name)


if __name__ == "__main__":
    main()
