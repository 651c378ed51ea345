"""From rows and a recipe to an adapter: checks, preparation, the loop, the folder."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from freehold.core.errors import InputError
from freehold.core.identity import content_hash
from freehold.tuning._files import told_when_full
from freehold.tuning.adapter import TrainedAdapter, read_adapter, write_adapter
from freehold.tuning.checkpoint import FILE
from freehold.tuning.decoder import Decoder, has_fast_bfloat16, processor
from freehold.tuning.loop import fit
from freehold.tuning.lora import adapter_weights, add_adapter, first_adapted_layer
from freehold.tuning.states import LowerStates
from freehold.tuning.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from freehold.core.dataset import Example
    from freehold.core.progress import Progress
    from freehold.core.task import Task
    from freehold.tuning.bases import BaseModel
    from freehold.tuning.recipe import Recipe
    from freehold.tuning.tokens import Encoded

LOOP = 2
"""Raised when the loop makes something else of the same recipe, so that no old checkpoint is continued."""
MINIMUM_ROWS = 20
MOST_LEFT_OUT = 0.1
"""A larger share of rows that are too long is a mistake in the recipe, not a few odd rows."""


def train(
    *,
    task: Task,
    train_rows: Sequence[Example],
    validation_rows: Sequence[Example],
    recipe: Recipe,
    base: BaseModel,
    run_folder: Path,
    progress: Progress,
) -> TrainedAdapter:
    """Train one adapter in `run_folder`; its finished form is the folder `adapter` there.

    A run that was stopped continues from its checkpoint, and ends with the same bytes as one that was not. A run
    that is finished is not repeated. Rows longer than `max_tokens` are left out and counted.

    Raises:
        InputError: too few rows or labels, too many rows too long, a recipe that does not fit the model or diverges.
        FreeholdError: the disk is full.
    """
    _check_rows(task, train_rows)
    recipe = resolve(recipe)
    fingerprint = _fingerprint(task, train_rows, validation_rows, recipe, base)
    folder = run_folder / "adapter"
    finished = read_adapter(folder, fingerprint)
    if finished is not None:
        return finished
    run_folder.mkdir(parents=True, exist_ok=True)
    tokens = Tokens(base.folder)
    rows, left_out = _fitting(tokens, train_rows, recipe.training.max_tokens)
    validation, _ = _fitting(tokens, validation_rows, recipe.training.max_tokens)
    advice = "run the same command again; it continues where it stopped."
    with (
        told_when_full(run_folder, advice),
        processor(threads=recipe.threads, products=recipe.precision),
        torch.random.fork_rng(devices=[]),
    ):
        started = time.perf_counter(), time.process_time()
        decoder = Decoder(base.folder)
        _check_length(decoder, recipe, base)
        first_layer = first_adapted_layer(decoder, recipe.lora)
        states = LowerStates(decoder, [*rows, *validation], layers=first_layer, folder=run_folder, progress=progress)
        config = add_adapter(decoder, recipe.lora, hub_id=base.hub_id, revision=base.revision, seed=recipe.seed)
        record, kept = fit(
            decoder=decoder,
            weights=adapter_weights(decoder),
            states=states,
            train_rows=range(len(rows)),
            validation_rows=range(len(rows), len(rows) + len(validation)),
            first_layer=first_layer,
            recipe=recipe,
            fingerprint=fingerprint,
            run_folder=run_folder,
            progress=progress,
            started=started,
        )
        adapter = write_adapter(
            folder,
            weights=kept,
            config=config,
            record=record,
            recipe=recipe,
            base=base,
            task=task,
            examples=len(rows),
            left_out=left_out,
            fingerprint=fingerprint,
        )
    (run_folder / FILE).unlink(missing_ok=True)
    return adapter


def resolve(recipe: Recipe) -> Recipe:
    """The recipe with what this machine decides filled in: threads and precision."""
    precision = recipe.precision
    if precision == "auto":
        precision = "bfloat16" if has_fast_bfloat16() else "float32"
    return recipe.model_copy(update={"precision": precision, "threads": recipe.threads or torch.get_num_threads()})


def _check_rows(task: Task, rows: Sequence[Example]) -> None:
    if len(rows) < MINIMUM_ROWS:
        raise InputError(
            f"Task {task.name!r} has {len(rows)} training rows; tuning needs {MINIMUM_ROWS} or more. "
            "Import more calls or corrections and build the dataset again."
        )
    if task.kind == "classification" and len({row.target for row in rows}) < 2:
        raise InputError(
            f"All {len(rows)} training rows of task {task.name!r} have one and the same label. A classification "
            "needs rows of at least two labels; with one there is nothing to learn."
        )
    empty = sum(not row.target.strip() for row in rows)
    if empty:
        raise InputError(f"{empty} training rows of task {task.name!r} have an empty answer. Correct or exclude them.")


def _check_length(decoder: Decoder, recipe: Recipe, base: BaseModel) -> None:
    if recipe.training.max_tokens > decoder.longest:
        raise InputError(
            f"training.max_tokens is {recipe.training.max_tokens}; {base.name} reads at most {decoder.longest} tokens."
        )


def _fitting(tokens: Tokens, rows: Sequence[Example], max_tokens: int) -> tuple[list[Encoded], int]:
    """The rows that are short enough, as tokens, and how many are not."""
    encoded = [tokens.example(row) for row in rows]
    fitting = [row for row in encoded if len(row) <= max_tokens]
    left_out = len(encoded) - len(fitting)
    if left_out > MOST_LEFT_OUT * len(encoded):
        longest = max(len(row) for row in encoded)
        raise InputError(
            f"{left_out} of {len(encoded)} rows have more than {max_tokens} tokens (the longest {longest}). "
            f"Raise training.max_tokens to {longest}, or shorten the rows."
        )
    return fitting, left_out


def _fingerprint(
    task: Task,
    train_rows: Sequence[Example],
    validation_rows: Sequence[Example],
    recipe: Recipe,
    base: BaseModel,
) -> str:
    """What decides the result: two runs with one fingerprint end with the same weights on one machine."""
    return content_hash(
        {
            "loop": LOOP,
            "recipe": recipe.model_dump(mode="json"),
            "base": [base.hub_id, base.revision],
            "task": [task.name, task.kind, task.own_prompt],
            "rows": [
                [[message.as_dict() for message in row.messages], row.target] for row in (*train_rows, *validation_rows)
            ],
            "validation": len(validation_rows),
        }
    )
