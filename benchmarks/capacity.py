"""The capacity model against published and measured serving rates, by GPU and model.

    .venv/bin/python benchmarks/capacity.py [--data ../shared/data] [--refit]

Points fall into four parts: those that `--refit` fits, those it sets aside by a hash of model and GPU, odd rows
(attention copied over devices, or devices counted twice) which were never fitted, and rows that are impossible: at
their rate the devices would multiply faster than their data sheet allows. The shipped constants were fitted to the
first two together: with them the part set aside is no proof. `--refit` is: it fits the constants again, on the first
part and then with each GPU and each model left out in turn.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from capacity_fit import arrays, fitted_text, log_ratios, refit
from capacity_tuning import tuning
from freehold.core.errors import InputError
from freehold.economics.capacity import Capacity, capacity
from freehold.economics.facts import hardware, model_facts
from freehold.economics.machine import GPU_ENGINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from freehold.economics.decoder import ModelFacts
    from freehold.economics.machine import Engine, Hardware

ONLY_CARRIERS = {"qwen3.5-397b-a17b": "linear attention", "kimi-k2.5": "experts in int4", "mi300x": "AMD"}
"""Groups without which a constant could not be found at all: they are always fitted."""

MLPERF = {  # mean input and output tokens of the MLPerf data sets, and devices of a replica by accelerator
    "llama2-70b": (294, 294),
    "llama3.1-8b": (870, 128),
    "mixtral-8x7b": (270, 145),
    "llama3.1-405b": (9500, 680),
}


@dataclass(frozen=True)
class Point:
    """One published or measured rate."""

    source: str
    model: ModelFacts
    gpu: Hardware
    gpus: int
    """Devices in truth."""
    labelled: int
    """Devices as published."""
    precision: str
    tokens: tuple[int, int]
    concurrency: float | None
    measured: float
    is_odd: bool
    engine: str
    first_token_ms: float | None = None

    @property
    def part(self) -> str:
        """Fitted, aside, odd or impossible."""
        given, written = self.tokens
        needed = 2.0 * self.model.active_parameters * (given + written) * self.measured / written
        if needed > self.gpus * self.gpu.flops(self.precision):
            return "impossible"
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


def devices(row: dict[str, int | None]) -> int:
    """Devices of a run in truth.

    Rows that tell experts or attention in parallel have them multiplied with the tensor parallel degree, though both
    share the same devices: a row of 16 devices and its twin of 4 have the same times to the last digit.
    """
    gpus, attention = row["gpus"], row["attention_dp"]
    is_twice = (row["moe_tp"] > 1 and row["moe_ep"] > 1) or (row["tp"] > 1 and (attention or 1) > 1)
    return math.isqrt(gpus) if is_twice and attention is not None else gpus


def silicon(folder: Path) -> Iterable[Point]:
    """Serving runs of vLLM, SGLang and TensorRT-LLM."""
    for line in (folder / "bench_silicon_dev" / "agg.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        yield Point(
            source="silicon",
            model=model_facts(row["model"]),
            gpu=hardware(row["gpu"]),
            gpus=devices(row),
            labelled=row["gpus"],
            precision=row["precision"] or model_facts(row["model"]).published_precision,
            tokens=(row["isl"], row["osl"]),
            concurrency=row["concurrency"] or row["batch_size"],
            measured=row["out_tok_s_per_gpu_derived"] * row["gpus"],
            is_odd=devices(row) != row["gpus"] or (row["attention_dp"] or 1) > 1,
            engine=row["engine"],
            first_token_ms=row["ttft_ms"],
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
                labelled=int(row["n_gpu"]),
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
            labelled=gpus,
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


def first_tokens(points: Sequence[Point]) -> None:
    """How far the time to the first token is off where all clients had room."""
    print(f"\n{'time to first token: kind':46}     n    median      p90     worst  predicted/measured")
    for name in ("dense", "mixture"):
        ratios = []
        for point in points:
            if point.first_token_ms is None or kind(point) != name:
                continue
            found = point.predicted()
            if found.concurrency == point.concurrency:
                ratios.append(math.log(found.ttft_ms / point.first_token_ms))
        print(f"{name:46} {errors(ratios)}")


def leave_out(points: Sequence[Point], key: Callable[[Point], str]) -> None:
    """Errors on each GPU or model when nothing of it was fitted."""
    together: list[float] = []
    for name in sorted({key(point) for point in points}):
        engine = refit([point for point in points if key(point) != name])
        left = [point for point in points if key(point) == name]
        ratios = [point.log_ratio(engine) for point in left]
        together += ratios
        print(f"{'without ' + name:46} {errors(ratios)}   {100 * coverage(left, engine):.0f} % inside", flush=True)
    print(f"{'all, each when it was left out':46} {errors(together)}")


def check(points: Sequence[Point]) -> None:
    """The formula over arrays says what the product says."""
    off = np.abs(log_ratios(arrays(points), GPU_ENGINE) - [point.log_ratio() for point in points]).max()
    if off > 1e-9:
        raise SystemExit(f"capacity_fit.py and the product differ by {off:.1e}; bring them together.")


def left_out(fitted: Sequence[Point], aside: Sequence[Point]) -> None:
    """Fits that do not see what they are judged by."""
    check([*fitted, *aside])
    engine = refit([*fitted, *aside])
    print("\nfitted to both parts:", fitted_text(engine))
    engine = refit(fitted)
    print("fitted to the first part:", fitted_text(engine))
    table("refit, fitted", fitted, kind, engine)
    table("refit, aside", aside, kind, engine)
    for name in ("dense", "mixture"):
        part = [point for point in aside if kind(point) == name]
        print(f"aside, {name}: inside the interval {100 * coverage(part, engine):.0f} %, 90 % meant")
    leave_out([*fitted, *aside], lambda p: p.gpu.name)
    # V3 and R1 are one network, and many of their rows are the same runs
    leave_out([*fitted, *aside], lambda p: p.model.name.replace("-v3", "-r1"))


def kind(point: Point) -> str:
    """Dense or mixture."""
    return "mixture" if point.model.experts else "dense"


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
    print(f"Impossible by their own numbers and left out: {len(points) - sum(map(len, parts.values()))}")
    for name, part in parts.items():
        table(f"{name}: GPU, model", part, lambda p: f"{p.gpu.name:14} {p.model.name:20} {p.precision}")
    for name, part in parts.items():
        table(f"{name}: kind", part, kind)
        print(f"inside the interval: {100 * coverage(part):.0f} %, 90 % meant")
    published_devices = [replace(point, gpus=point.labelled) for point in parts["odd"]]
    table("odd, devices as published", published_devices, lambda p: f"{p.labelled:2} devices")
    print(f"inside the interval: {100 * coverage(published_devices):.0f} %, 90 % meant")
    tuning(options.data)
    table("fitted and aside: engine", sound, lambda p: f"{p.source:10} {p.engine}")
    table("fitted and aside: kind", sound, kind)
    first_tokens(sound)
    if options.refit:
        left_out(parts["fitted"], parts["aside"])


if __name__ == "__main__":
    main()
