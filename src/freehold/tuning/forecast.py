"""How fast a run goes on this machine: foreseen from what was measured here, and compared with what happened.

Three sources, the best first: an earlier run of the same shape on this machine, a calibration (a few steps on a few
rows), and the first steps of the run itself. Each says which it was.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold.core.identity import content_hash
from freehold.economics.montecarlo import number
from freehold.tuning._files import write_whole
from freehold.tuning.plan import Pace

if TYPE_CHECKING:
    from collections.abc import Callable

    from freehold.core.progress import Progress, Unit
    from freehold.tuning.plan import Plan, Rows
    from freehold.tuning.recipe import Recipe

PACES, FORECAST = "paces.jsonl", "forecast.json"
TUNING = "Tuning"
"""What the loop calls its piece of work."""

RUN_LOG_SD, CALIBRATION_LOG_SD, FIRST_STEPS_LOG_SD = 0.10, 0.25, 0.15
"""Of the logarithm of measured over foreseen seconds. Chosen by eight runs on a shared machine, too few to measure it
(docs/decisions/0021-recipe-and-plan.md)."""

FORWARD_SHARE = 0.5
"""Of a training step of an adapter, the forward pass: what a validation row costs beside a training row."""

FIRST_STEPS = 5

UNREST = 0.5
"""How far the wall time of a run strays, in logarithms, for each unit by which others slowed the measurement: they may
go, or more may come. An assumption."""

FREE_SHARE = 0.7
"""A smaller share of the processor's time is told. An assumption."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one sitting took, in the parts that grow with different things."""

    fixed_s: float
    """Loading the base."""
    prepared_s_per_row: float
    """Before the first step: tokens, states of frozen layers."""
    trained_s_per_row: float
    """In a step, forward and backward."""
    memory_bytes: int | None
    source: str
    """How it was measured."""
    log_sd: float
    busy_share: float = 1.0
    """Processor time of the steps over wall time and threads: below 1 where others worked on the machine too."""

    def seconds(self, rows: Rows, *, epochs: int) -> float:
        """Of a whole run on these rows."""
        each = rows.train + rows.validation * FORWARD_SHARE
        return (
            self.fixed_s
            + self.prepared_s_per_row * (rows.train + rows.validation)
            + self.trained_s_per_row * each * epochs
        )

    def pace(self, recipe: Recipe, rows: Rows) -> Pace:
        """The same as a plan has it."""
        epochs = recipe.training.epochs
        seconds = self.seconds(rows, epochs=epochs)
        samples = rows.train * epochs
        return Pace(
            samples_per_s=samples / seconds,
            tokens_per_s=samples * rows.tokens / seconds,
            seconds=seconds,
            log_sd=math.hypot(self.log_sd, UNREST * math.log(1.0 / min(1.0, self.busy_share))),
            source=self.source if self.busy_share > FREE_SHARE else f"{self.source}, which others used too",
        )


class Stopwatch:
    """Progress that notes when each piece of work began and each step ended, and passes everything on."""

    def __init__(
        self,
        watched: Progress,
        *,
        clock: Callable[[], float] = time.perf_counter,
        processor_clock: Callable[[], float] = time.process_time,
        at_step: Callable[[Stopwatch], None] | None = None,
    ) -> None:
        self._watched, self._clock, self._at_step = watched, clock, at_step
        self._processor_clock = processor_clock
        self._processor: list[float] = []
        self._open: list[str] = []
        self.began = clock()
        self.preparing: float | None = None
        """When the first piece of work began."""
        self.steps: list[float] = []
        """When tuning began, and when each step of this sitting ended."""
        self.behind = 0
        """Steps of earlier sittings."""
        self.total: int | None = None
        """Steps of the whole run."""

    def start(self, what: str, total: int | None, *, unit: Unit = "pieces") -> None:
        """Begin a piece of work."""
        self._open.append(what)
        now = self._clock()
        self.preparing = self.preparing or now
        if what == TUNING:
            self.steps, self.total, self.behind = [now], total, 0
            self._processor = [self._processor_clock()]
        self._watched.start(what, total, unit=unit)

    def update(self, done: int, note: str = "") -> None:
        """`done` further units are finished."""
        self._watched.update(done, note)
        if self._open and self._open[-1] == TUNING and done:
            if len(self.steps) == 1 and not note:
                self.behind = done  # a run that continues first reports what is behind it
                return
            self.steps += [self._clock()] * done
            self._processor += [self._processor_clock()] * done
            if self._at_step is not None:
                self._at_step(self)

    def finish(self) -> None:
        """The piece of work that was started last is over."""
        if self._open:
            self._open.pop()
        self._watched.finish()

    def step_s(self) -> float | None:
        """Seconds of a step: the mean without the first, which warms up; None before there are two."""
        steps = len(self.steps) - 1
        return None if steps < 2 else (self.steps[-1] - self.steps[1]) / (steps - 1)

    def busy_share(self, threads: int | None) -> float:
        """Processor time of the steps without the first, over wall time and threads; 1 where that is not known."""
        if threads is None or len(self.steps) < 3 or self.steps[-1] <= self.steps[1]:
            return 1.0
        return (self._processor[-1] - self._processor[1]) / (self.steps[-1] - self.steps[1]) / threads

    def measured(
        self, *, rows: int, batch_size: int, threads: int | None, memory_bytes: int | None, source: str, log_sd: float
    ) -> Measured | None:
        """What a sitting over `rows` rows on so many threads took; None if it had fewer than two steps."""
        step = self.step_s()
        if step is None or self.preparing is None:
            return None
        return Measured(
            fixed_s=self.preparing - self.began,
            prepared_s_per_row=(self.steps[0] - self.preparing) / rows,
            trained_s_per_row=step / batch_size,
            memory_bytes=memory_bytes,
            source=source,
            log_sd=log_sd,
            busy_share=max(0.01, self.busy_share(threads)),
        )


class FirstSteps:
    """Foresees a run from its own first steps, once."""

    def __init__(self, recipe: Recipe, rows: Rows, *, foresee: Callable[[Pace], None]) -> None:
        self._recipe, self._rows, self._foresee = recipe, rows, foresee

    def __call__(self, watch: Stopwatch) -> None:
        """After a step: when there are enough, say what the whole run will take."""
        step, done, total = watch.step_s(), len(watch.steps) - 1, watch.total or 0
        if step is None or done != min(FIRST_STEPS, total) or watch.behind:
            return
        training = self._recipe.training
        first = watch.steps[1] - watch.steps[0]
        validation = self._rows.validation * FORWARD_SHARE * step / training.batch_size
        seconds = watch.steps[0] - watch.began + first + (total - 1) * step + validation * training.epochs
        samples = self._rows.train * training.epochs
        self._foresee(
            Pace(
                samples_per_s=samples / seconds,
                tokens_per_s=samples * self._rows.tokens / seconds,
                seconds=seconds,
                log_sd=math.hypot(
                    FIRST_STEPS_LOG_SD,
                    UNREST * math.log(1.0 / min(1.0, watch.busy_share(counted_threads(self._recipe)))),
                ),
                source=f"the first {done} steps of this run",
            )
        )


def counted_threads(recipe: Recipe) -> int | None:
    """Threads of this process that compute; None where other processes do, whose time is not counted here."""
    return (recipe.threads or 1) if recipe.devices.count == 1 else None


def as_forecast(plan: Plan) -> dict[str, Any]:  # Any: JSON
    """What is foreseen, as `forecast` in `tune --json`."""
    record = plan.as_record()
    return {
        "seconds": number(plan.pace.seconds),
        "hours": record["hours"],
        "samples_per_s": record["samples_per_s"],
        "memory_gib": record["memory_gib"]["total"],
        "usd": record["usd"],
        "interval": record["interval"],
        "log_sd": record["log_sd"],
        "source": record["hours_source"],
    }


def as_actual(
    *, seconds: float, samples: int, memory_bytes: int | None, usd: float | None, forecast: dict[str, Any] | None
) -> dict[str, Any]:  # Any: JSON
    """What happened, as `actual` in `tune --json`; `ratio` is measured over foreseen."""
    memory = None if memory_bytes is None else memory_bytes / 2**30
    found = {
        "seconds": seconds,
        "hours": seconds / 3600.0,
        "samples_per_s": samples / seconds if seconds > 0 else None,
        "memory_gib": memory,
        "usd": usd,
    }
    ratio = {}
    for name in ("seconds", "memory_gib", "usd"):
        foreseen, happened = (forecast or {}).get(name), found[name]
        ratio[name] = happened / foreseen if foreseen and happened is not None else None
    return {**found, "ratio": ratio}


def write_forecast(folder: Path, forecast: dict[str, Any]) -> None:  # Any: JSON
    """Keep what was foreseen of a run, unless something was before: a run that continues is held to its first word."""
    if not (folder / FORECAST).exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / FORECAST, (json.dumps(forecast, indent=2, sort_keys=True) + "\n").encode())


def read_forecast(folder: Path) -> dict[str, Any] | None:  # Any: JSON
    """What was foreseen of a run; None where nothing was."""
    try:
        found = json.loads((folder / FORECAST).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def shape_of(recipe: Recipe, *, task: str) -> str:
    """What decides the pace of a row on one machine, as a hash."""
    fields = recipe.model_dump(mode="json")
    for key in ("seed", "revision"):
        del fields[key]
    for key in ("epochs", "learning_rate", "schedule", "warmup", "weight_decay", "clip_norm", "patience", "keep"):
        del fields["training"][key]
    return content_hash({"task": task, "machine": machine_name(), **fields})


def keep_pace(folder: Path, shape: str, measured: Measured) -> None:
    """Add a measurement to those of this workspace."""
    folder.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"shape": shape, **asdict(measured)}, separators=(",", ":"))
    with (folder / PACES).open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def known_pace(folder: Path, shape: str) -> Measured | None:
    """The latest measurement of this shape, of a whole run before a calibration; None where there is none."""
    try:
        lines = (folder / PACES).read_text("utf-8").splitlines()
    except OSError:
        return None
    found: list[Measured] = []
    for line in lines:
        try:
            fields = json.loads(line)
            if fields.pop("shape") == shape:
                found.append(Measured(**fields))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # a line that was cut off, or of another release
    return min(reversed(found), key=lambda each: each.log_sd, default=None)


def machine_name() -> str:
    """The processor and how many of its cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {cores} cores"
