"""What `freehold tune` foresees: the plan of a dry run, the forecast of a real one, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from freehold.core.errors import InputError
from freehold.tuning.bases import cached_bases, known_bases
from freehold.tuning.forecast import (
    RUN_LOG_SD,
    FirstSteps,
    Stopwatch,
    as_actual,
    as_forecast,
    counted_threads,
    keep_pace,
    known_pace,
    read_forecast,
    shape_of,
    write_forecast,
)
from freehold.tuning.plan import Plan, plan_run
from freehold.tuning.plan_inputs import base_facts, machine_for, machine_here, other_gpus
from freehold.tuning.plan_remedies import plan_with_remedies
from freehold.tuning.plan_rows import count_rows, stated_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date
    from pathlib import Path

    from freehold.cli.session import Session
    from freehold.core.dataset import Dataset, Example
    from freehold.core.progress import Progress
    from freehold.tuning.adapter import TrainedAdapter
    from freehold.tuning.bases import BaseModel
    from freehold.tuning.plan import Machine, Pace, Rows
    from freehold.tuning.recipe import Recipe

SCHEMA = "freehold.tuneplan/1"


def plan_stated(recipe: Recipe, *, rows: int, row_tokens: int, as_of: date | None) -> Plan:
    """The plan of a run on rows that somebody states, without a dataset; on a GPU, as nothing can be measured.

    Raises:
        InputError: the recipe names no GPU, or what it names is unknown.
    """
    machine = machine_for(recipe, as_of)
    if machine.hardware is None:
        raise InputError(
            "--rows plans for GPUs alone: on a processor the pace is measured on real rows. Name a GPU, such as "
            "devices.hardware=h100, or build a dataset and leave out --rows."
        )
    stated = stated_rows(rows, row_tokens, max_tokens=recipe.training.max_tokens)
    return plan_with_remedies(recipe, base_facts(recipe.base), machine, stated, others=other_gpus(machine, as_of))


def plan_dataset(
    session: Session, task: str, recipe: Recipe, *, dataset: Dataset, as_of: date | None, progress: Progress
) -> Plan:
    """The plan of a run on a dataset. On a processor a few steps are made, unless the pace is known from before.

    Raises:
        InputError: something of the recipe, the base or the rows is wrong.
        UpstreamError: the base had to be fetched for the calibration, and could not be.
    """
    from freehold.datasets.read import read_examples

    model, machine = base_facts(recipe.base), machine_for(recipe, as_of)
    train = _learned(recipe, read_examples(dataset, "train"))
    validation = _validation(recipe, read_examples(dataset, "validation"))
    longest = recipe.training.max_tokens
    if machine.hardware is not None:
        rows = count_rows(train, validation=validation, max_tokens=longest, count=_tokens_at_hand(recipe.base))
        return plan_with_remedies(recipe, model, machine, rows, others=other_gpus(machine, as_of))
    from freehold.tuning.bases import fetch_base

    base = fetch_base(recipe.base, revision=recipe.revision, progress=progress)
    rows = count_rows(train, validation=validation, max_tokens=longest, count=_tokens_of(base))
    runs = session.workspace.runs
    from freehold.tuning.train import resolve  # torch takes seconds: all that was named is there

    recipe = resolve(recipe)
    shape = shape_of(recipe, task=task)
    measured = known_pace(runs, shape)
    if measured is None:
        from freehold.tuning.calibrate import calibrate

        measured = calibrate(task=dataset.task, rows=train, recipe=recipe, base=base, progress=progress)
        if measured is None:
            raise InputError(f"Dataset {dataset.id} has too few rows to measure the pace on.")
        keep_pace(runs, shape, measured)
    found = measured

    def repaced(changed: Recipe) -> Pace:
        return found.pace(changed, rows)

    return plan_with_remedies(recipe, model, machine, rows, pace=found.pace(recipe, rows), repace=repaced)


def as_record(plan: Plan, *, task: str, dataset: str | None) -> dict[str, Any]:  # Any: JSON
    """The plan as `tune --dry-run --json` prints it."""
    return {"schema": SCHEMA, "task": task, "dataset": dataset, **plan.as_record()}


class Foresight:
    """The forecast of one real run, kept in its folder, and what came of it."""

    def __init__(
        self,
        session: Session,
        task: str,
        recipe: Recipe,
        *,
        base: BaseModel,
        train: Sequence[Example],
        validation: Sequence[Example],
    ) -> None:
        self.recipe, self._runs = recipe, session.workspace.runs
        self._shape = shape_of(recipe, task=task)
        self._plan: Callable[[Pace | None], Plan] | None = None
        self.reason: str | None = None
        """Why nothing is foreseen; None where something is."""
        self._rows: Rows | None = None
        self._machine: Machine | None = None
        try:
            self._rows = count_rows(
                _learned(recipe, train),
                validation=_validation(recipe, validation),
                max_tokens=recipe.training.max_tokens,
                count=_tokens_of(base),
            )
            self._machine = machine_here(recipe)
            model = base_facts(str(base.folder))
            machine, rows = self._machine, self._rows
            self._plan = lambda pace: plan_run(recipe, model, machine, rows, pace=pace)
        except InputError as error:
            self.reason = str(error)

    def before(self, folder: Path, *, anyway: bool) -> None:
        """Say what the run will take, if that is known before its first step.

        Raises:
            InputError: a GPU is too small for it, and nobody said to try anyway.
        """
        if self._plan is None or self._rows is None or self._machine is None:
            click.echo(f"Nothing is foreseen of this run: {self.reason}", err=True)
            return
        measured = known_pace(self._runs, self._shape) if self._machine.hardware is None else None
        if self._machine.hardware is None and measured is None:
            return
        plan = self._plan(measured.pace(self.recipe, self._rows) if measured else None)
        if not plan.fits and self._machine.hardware is not None and not anyway:
            whole = plan_with_remedies(
                self.recipe, base_facts(self.recipe.base), self._machine, self._rows, others=other_gpus(self._machine)
            )
            raise InputError(
                f"{self._machine.name} has room for {self._machine.room_bytes / 2**30:,.1f} GiB, and the run is "
                f"foreseen to take {plan.memory.total / 2**30:,.1f}. What would fit: {whole.suggestion()} "
                "Or try it with --anyway."
            )
        self._keep(folder, plan)

    def watch(self, folder: Path, progress: Progress) -> Stopwatch:
        """Progress for the run, from which it is foreseen if it was not before."""
        plan, rows = self._plan, self._rows
        if plan is None or rows is None or read_forecast(folder) is not None:
            return Stopwatch(progress)
        return Stopwatch(
            progress, at_step=FirstSteps(self.recipe, rows, foresee=lambda pace: self._keep(folder, plan(pace)))
        )

    def after(self, folder: Path, trained: TrainedAdapter, watch: Stopwatch) -> dict[str, Any]:  # Any: JSON
        """`forecast` and `actual` of a finished run; its pace is kept for the next one's forecast."""
        forecast = read_forecast(folder)
        memory = trained.peak_memory_bytes or None
        epochs = len(trained.validation_losses) or self.recipe.training.epochs
        hourly = self._machine.usd_per_hour if self._machine else None
        usd = None if hourly is None else trained.seconds / 3600.0 * hourly * self.recipe.devices.count
        actual = as_actual(
            seconds=trained.seconds,
            samples=trained.examples * epochs,
            memory_bytes=memory,
            usd=usd,
            forecast=forecast,
        )
        self._remember(trained, watch, memory)
        return {"forecast": forecast, "actual": actual}

    def _keep(self, folder: Path, plan: Plan) -> None:
        if read_forecast(folder) is not None:
            return
        write_forecast(folder, as_forecast(plan))
        from freehold.report.numbers import usd

        low, high = plan.interval_hours()
        cost = "" if plan.usd is None else f", {usd(plan.usd)} rented"
        click.echo(
            f"Foreseen: {_time(plan.hours)} ({_time(low)} to {_time(high)}), {_gib(plan.memory.total)}{cost}; "
            f"by {plan.pace.source}.",
            err=True,
        )

    def _remember(self, trained: TrainedAdapter, watch: Stopwatch, memory: int | None) -> None:
        """Keep the pace of a run that was made in one sitting."""
        if watch.behind or self._machine is None or self._machine.hardware is not None:
            return
        measured = watch.measured(
            rows=trained.examples,
            batch_size=self.recipe.training.batch_size,
            threads=counted_threads(self.recipe),
            memory_bytes=memory,
            source="an earlier run on this machine",
            log_sd=RUN_LOG_SD,
        )
        if measured is not None:
            keep_pace(self._runs, self._shape, measured)


def _validation(recipe: Recipe, rows: Sequence[Example]) -> int:
    """Rows that an epoch is judged by; of preferences there may be none."""
    if recipe.method != "dpo":
        return len(rows)
    from freehold.tuning.preference import pairs

    return len(pairs(rows))


def _learned(recipe: Recipe, rows: Sequence[Example]) -> Sequence[Example]:
    """The rows that the method learns from: of preferences the corrections alone."""
    if recipe.method != "dpo":
        return rows
    from freehold.tuning.preference import pairs

    found = pairs(rows)
    if rows and not found:
        raise InputError(
            f"Method dpo learns from corrections whose original answer is known; none of {len(rows)} rows is one. "
            "Import or make corrections, or use lora, which learns from all rows."
        )
    return found


def _tokens_of(base: BaseModel) -> Callable[[Example], tuple[int, int]]:
    """Tokens of a row, and of its answer, as training will have them."""
    from freehold.tuning.tokens import Tokens

    tokens = Tokens(base.folder)

    def count(row: Example) -> tuple[int, int]:
        encoded = tokens.example(row)
        return len(encoded), len(encoded.answer)

    return count


def _tokens_at_hand(name: str) -> Callable[[Example], tuple[int, int]] | None:
    """The same for a base that lies on this machine; None for another, which a plan does not fetch."""
    from pathlib import Path

    from freehold.core.progress import Silent
    from freehold.tuning.bases import fetch_base

    is_here = name in cached_bases() if name in known_bases() else (Path(name) / "tokenizer_config.json").is_file()
    return _tokens_of(fetch_base(name, progress=Silent())) if is_here else None


def _time(hours: float) -> str:
    from freehold.report.numbers import duration

    return duration(hours * 3600.0)


def _gib(size: float) -> str:
    return f"{size / 2**30:,.1f} GiB"
