"""A few real steps on a few real rows: how fast this machine trains, before it is asked to for hours."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from freehold.core.progress import Silent
from freehold.tuning.forecast import CALIBRATION_LOG_SD, Measured, Stopwatch, counted_threads
from freehold.tuning.metrics import peak_memory_bytes
from freehold.tuning.train import MINIMUM_ROWS, train

if TYPE_CHECKING:
    from collections.abc import Sequence

    from freehold.core.dataset import Example
    from freehold.core.progress import Progress
    from freehold.core.task import Task
    from freehold.tuning.bases import BaseModel
    from freehold.tuning.recipe import Recipe

STEPS = 5
"""The first warms up and does not count."""


def calibrate(
    *, task: Task, rows: Sequence[Example], recipe: Recipe, base: BaseModel, progress: Progress
) -> Measured | None:
    """Train on a sample of the rows for a few steps in a folder that vanishes, and return what they took.

    Returns:
        The measurement; None when there are too few rows for two steps.

    Raises:
        InputError: what training itself would say of the rows or the recipe.
    """
    sample = _sample(task, rows, max(MINIMUM_ROWS, STEPS * recipe.training.batch_size), seed=recipe.seed)
    steps = -(-len(sample) // recipe.training.batch_size)
    training = recipe.training.model_copy(
        update={
            "epochs": max(1, -(-3 // steps)), "patience": None, "keep": "last", "checkpoint_steps": 10**9,
            "checkpoint_minutes": None,
        }
    )  # fmt: skip
    progress.start("Measuring the pace", None)
    watch = Stopwatch(Silent())
    with tempfile.TemporaryDirectory(prefix="freehold-pace-") as folder:
        train(
            task=task,
            train_rows=sample,
            validation_rows=[],
            recipe=recipe.model_copy(update={"training": training}),
            base=base,
            run_folder=Path(folder),
            progress=watch,
        )
    progress.finish()
    return watch.measured(
        rows=len(sample),
        batch_size=recipe.training.batch_size,
        threads=counted_threads(recipe),
        memory_bytes=peak_memory_bytes(),
        log_sd=CALIBRATION_LOG_SD,
        source=f"calibration of {len(watch.steps) - 1} steps on this machine",
    )


def _sample(task: Task, rows: Sequence[Example], size: int, *, seed: int) -> list[Example]:
    """So many rows at random, of two labels at least where there are two."""
    order = list(rows)
    random.Random(f"{seed}/pace").shuffle(order)  # noqa: S311 -- an order, not a secret
    sample, others = order[:size], order[size:]
    if task.kind == "classification" and len({row.target for row in sample}) == 1:
        other = next((row for row in others if row.target != sample[0].target), None)
        sample[-1:] = [sample[-1] if other is None else other]
    return sample
