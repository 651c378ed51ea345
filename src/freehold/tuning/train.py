"""From rows and a recipe to an adapter or a model: checks, preparation, the loop, the folder."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from freehold.core.errors import FreeholdError, InputError
from freehold.core.identity import content_hash
from freehold.tuning._files import told_when_full
from freehold.tuning.adapter import TrainedAdapter, adapter_filler, model_filler, read_adapter, write_result
from freehold.tuning.answers import AnswerLosses
from freehold.tuning.checkpoint import remove_checkpoints
from freehold.tuning.decoder import Decoder, has_fast_bfloat16, processor
from freehold.tuning.job import Job
from freehold.tuning.launch import is_launched, launch
from freehold.tuning.loop import Diverged, fit
from freehold.tuning.lora import PREFIX, add_adapter, first_adapted_layer, learning_weights, start_from
from freehold.tuning.metrics import told_end
from freehold.tuning.objective import Answers, Preferences
from freehold.tuning.place import device_type, shared, taken_place, weights_dtype, whole
from freehold.tuning.preference import pairs
from freehold.tuning.source import TokenRows
from freehold.tuning.states import LowerStates
from freehold.tuning.tokens import Encoded, Tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from peft import LoraConfig
    from torch import Tensor, nn

    from freehold.core.dataset import Example
    from freehold.core.progress import Progress
    from freehold.core.task import Task
    from freehold.tuning.adapter import Filler
    from freehold.tuning.bases import BaseModel
    from freehold.tuning.lora import Weights
    from freehold.tuning.objective import Objective
    from freehold.tuning.place import Place
    from freehold.tuning.recipe import Recipe

LOOP = 3
"""Raised when the loop makes something else of the same recipe, so that no old checkpoint is continued."""
MINIMUM_ROWS = 20
MOST_LEFT_OUT = 0.1
"""A larger share of rows that are too long is a mistake in the recipe, not a few odd rows."""
LAST_GOOD = "last-good"
"""Folder of the run that holds the best epoch's weights after training has diverged."""


@dataclass(frozen=True, slots=True)
class _Material:
    """What is learned from, as tokens."""

    rows: list[Encoded]
    """Training rows, then validation rows; with `dpo` two for each pair, the better one first."""
    train: range
    """Cases: rows, or pairs."""
    validation: range
    left_out: int


@dataclass(frozen=True, slots=True)
class _Learner:
    """A model that is ready to learn."""

    decoder: Decoder
    module: nn.Module
    weights: Weights
    config: LoraConfig | None
    first_layer: int

    def filler(self, kept: Mapping[str, Tensor], base: BaseModel) -> Filler:
        """Writes what was learned."""
        weights = {name: whole(tensor) for name, tensor in kept.items()}
        return (
            model_filler(weights, self.decoder, base) if self.config is None else adapter_filler(weights, self.config)
        )


def train(
    *,
    task: Task,
    train_rows: Sequence[Example],
    validation_rows: Sequence[Example],
    recipe: Recipe,
    base: BaseModel,
    run_folder: Path,
    progress: Progress,
    start: Path | None = None,
) -> TrainedAdapter:
    """Train one adapter or model in `run_folder`; its finished form is the folder `adapter` there.

    A run that was stopped continues from its checkpoint, and ends with the same bytes as one that was not. A run
    that is finished is not repeated. Rows longer than `max_tokens` are left out and counted. Where the recipe asks for
    several devices, torchrun is started with one process for each; under torchrun this process takes its place.

    Args:
        task: what the rows are of.
        train_rows: to learn from; with `dpo` those of them that are corrections.
        validation_rows: to choose the best epoch by.
        recipe: everything that decides the run.
        base: the model to learn on.
        run_folder: of this run alone.
        progress: is told of rows and steps.
        start: folder of the adapter or model that `dpo` begins with, as `dpo.start` names it; None: the base itself.

    Raises:
        InputError: too few rows or labels, too many rows too long, a recipe that does not fit the model or diverges.
        FreeholdError: the disk or the device's memory is full.
    """
    learned, held = list(train_rows), list(validation_rows)
    _check_rows(task, learned)
    if recipe.method == "dpo":
        learned, held = _check_pairs(task, learned), pairs(held)
    recipe = resolve(recipe)
    fingerprint = _fingerprint(task, learned, held, recipe, base, start=start)
    folder = run_folder / "adapter"
    finished = read_adapter(folder, fingerprint)
    if finished is not None:
        return finished
    run_folder.mkdir(parents=True, exist_ok=True)
    advice = "run the same command again; it continues where it stopped."
    if recipe.devices.count > 1 and not is_launched():
        with told_when_full(run_folder, advice):
            launch(
                Job(
                    task=task,
                    train_rows=train_rows,
                    validation_rows=validation_rows,
                    recipe=recipe,
                    base=base,
                    run_folder=run_folder,
                    start=start,
                ),
                progress,
            )
        found = read_adapter(folder, fingerprint)
        if found is None:
            raise FreeholdError(f"The processes ended well but left no result in {folder}. See {run_folder}.")
        return found
    tokens = Tokens(base.folder)
    material = _material(tokens, learned, held, recipe)
    with (
        told_when_full(run_folder, advice),
        _told_when_memory_is_full(recipe),
        processor(threads=recipe.threads, products=recipe.precision),
        torch.random.fork_rng(devices=[]),
        taken_place(recipe) as place,
    ):
        started = time.perf_counter(), time.process_time()
        learner = _learner(recipe, base, place, material, start)
        objective = _objective(learner, material, recipe, place=place, run_folder=run_folder, progress=progress)
        try:
            with told_end(run_folder if place.leads else None, diverged=Diverged):
                record, kept = fit(
                    module=learner.module,
                    weights=learner.weights,
                    objective=objective,
                    train_cases=material.train,
                    validation_cases=material.validation,
                    recipe=recipe,
                    place=place,
                    guessing=math.log(learner.decoder.vocabulary),
                    fingerprint=fingerprint,
                    run_folder=run_folder,
                    progress=progress,
                    started=started,
                )
            place_to_write, diverged = folder, None
        except Diverged as error:
            if not error.best:
                raise
            record, kept, place_to_write, diverged = error.record, dict(error.best), run_folder / LAST_GOOD, error
        if isinstance(objective, Preferences) and record.preference:
            record.notes += objective.warnings(record.preference[-1]["length_correlation"], material.train)
        fill = learner.filler(kept, base)
        if place.leads:
            write_result(
                place_to_write,
                fill,
                record=record,
                recipe=recipe,
                base=base,
                task=task,
                examples=len(material.train),
                left_out=material.left_out,
                fingerprint=fingerprint,
            )
        place.wait()
    if diverged is not None:
        raise InputError(f"{diverged} The weights of epoch {record.best_epoch} are kept in {place_to_write}.")
    if place.leads:
        remove_checkpoints(run_folder)
    adapter = read_adapter(folder, fingerprint)
    assert adapter is not None
    return adapter


def resolve(recipe: Recipe) -> Recipe:
    """The recipe with what this machine decides filled in: device, threads and precision."""
    kind = device_type(recipe.devices)
    precision = recipe.precision
    if precision == "auto":
        is_fast = has_fast_bfloat16() if kind == "cpu" else kind == "cuda" and torch.cuda.is_bf16_supported()
        precision = "bfloat16" if is_fast else "float32"
    threads = recipe.threads or max(1, torch.get_num_threads() // (recipe.devices.count if kind == "cpu" else 1))
    devices = recipe.devices.model_copy(update={"type": kind})
    return recipe.model_copy(update={"precision": precision, "threads": threads, "devices": devices})


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


def _check_pairs(task: Task, rows: Sequence[Example]) -> list[Example]:
    """The corrections among the rows."""
    found = pairs(rows)
    if len(found) < MINIMUM_ROWS:
        raise InputError(
            f"Method dpo learns from corrections whose original answer is known; of the {len(rows)} training rows of "
            f"task {task.name!r} {len(found)} are such, and it needs {MINIMUM_ROWS} or more. Import or make more "
            "corrections, or use lora, which learns from all rows."
        )
    return found


def _material(tokens: Tokens, train: Sequence[Example], validation: Sequence[Example], recipe: Recipe) -> _Material:
    """The rows that are short enough, as tokens."""
    limit = recipe.training.max_tokens
    cases = [[_encoded(tokens, row, recipe) for row in rows] for rows in (train, validation)]
    fitting = [[case for case in part if max(map(len, case)) <= limit] for part in cases]
    left_out = len(cases[0]) - len(fitting[0])
    if left_out > MOST_LEFT_OUT * len(cases[0]):
        longest = max(len(row) for case in cases[0] for row in case)
        raise InputError(
            f"{left_out} of {len(cases[0])} rows have more than {limit} tokens (the longest {longest}). "
            f"Raise training.max_tokens to {longest}, or shorten the rows."
        )
    mute = sum(len(row.answer) < 2 for case in fitting[0] for row in case)
    if mute:
        raise InputError(
            f"{mute} training answers become no token but the end of the turn, so there is nothing in them to learn: "
            "the base's tokenizer drops what they consist of. Correct or exclude them."
        )
    count = len(fitting[0])
    rows = [row for part in fitting for case in part for row in case]
    return _Material(rows, range(count), range(count, count + len(fitting[1])), left_out)


def _encoded(tokens: Tokens, row: Example, recipe: Recipe) -> tuple[Encoded, ...]:
    """A row as tokens; with `dpo` the better answer and the worse one."""
    better = tokens.example(row)
    if recipe.method != "dpo":
        return (better,)
    return better, Encoded(better.prompt, tokens.answer(row.rented_output or ""))


def _learner(recipe: Recipe, base: BaseModel, place: Place, material: _Material, start: Path | None) -> _Learner:
    """The base, made ready to learn as the recipe says."""
    is_full = recipe.weights == "full"
    folder = start if is_full and start is not None else base.folder
    is_dealt_out = place.world > 1 and recipe.devices.parallel == "fsdp" and recipe.weights != "qlora"
    decoder = Decoder(
        folder,
        device=torch.device("cpu") if is_dealt_out else place.device,  # layer by layer: a device holds its part alone
        dtype=weights_dtype(recipe, place.device),
        quantization=recipe.quantization if recipe.weights == "qlora" else None,
    )
    _check_fit(decoder, recipe, base, material)
    decoder.recomputes = recipe.training.gradient_checkpointing
    config = None
    if is_full:
        decoder.let_all_learn()
    else:
        config = add_adapter(decoder, recipe.lora, hub_id=base.hub_id, revision=base.revision, seed=recipe.seed)
        if start is not None:
            start_from(decoder, start, recipe.lora)
    module = shared(AnswerLosses(decoder), decoder, recipe, place)
    weights = learning_weights(decoder, prefix="" if is_full else PREFIX)
    return _Learner(decoder, module, weights, config, 0 if is_full else first_adapted_layer(decoder, recipe.lora))


def _check_fit(decoder: Decoder, recipe: Recipe, base: BaseModel, material: _Material) -> None:
    """Whether recipe, rows and base go together."""
    if recipe.training.max_tokens > decoder.longest:
        raise InputError(
            f"training.max_tokens is {recipe.training.max_tokens}; {base.name} reads at most {decoder.longest} tokens."
        )
    highest = max(max(row.prompt + row.answer) for row in material.rows)
    if highest >= decoder.embeddings:
        raise InputError(
            f"The tokenizer of {base.name} makes token {highest}; the model knows {decoder.embeddings} tokens, 0 to "
            f"{decoder.embeddings - 1}. The tokenizer in its folder belongs to another model; put its own there."
        )


def _objective(
    learner: _Learner, material: _Material, recipe: Recipe, *, place: Place, run_folder: Path, progress: Progress
) -> Objective:
    """What the cases cost, with whatever can be computed once."""
    decoder, first = learner.decoder, learner.first_layer
    source: LowerStates | TokenRows
    if place.device.type == "cpu" and place.world == 1 and learner.config is not None and recipe.training.packing:
        source = LowerStates(decoder, material.rows, layers=first, folder=run_folder, progress=progress)
    else:
        source = TokenRows(material.rows, first_layer=first, device=place.device, packed=recipe.training.packing)
    if recipe.method != "dpo":
        return Answers(source, material.rows)
    objective = Preferences(source, material.rows, recipe.dpo)
    learner.module.eval()
    objective.refer(learner.module, material.validation or material.train, place)
    return objective


@contextmanager
def _told_when_memory_is_full(recipe: Recipe) -> Iterator[None]:
    """Turn the end of a device's memory into what would help, in the order of what it costs."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        training, ways = recipe.training, []
        if (training.micro_batch_size or training.batch_size) > 1:
            ways.append("training.micro_batch_size=1")
        if not training.gradient_checkpointing:
            ways.append("training.gradient_checkpointing=true")
        if recipe.weights == "full":
            ways += ["training.optimizer=adamw_8bit", "method=lora"]
        if recipe.weights == "lora":
            ways.append("method=qlora")
        ways.append(f"a training.max_tokens below {training.max_tokens}")
        raise FreeholdError(
            f"The memory of the {recipe.devices.type} device is full. What makes the run smaller, the cheapest first: "
            f"{', '.join(ways)}. freehold tune --dry-run tells what fits."
        ) from error


def _fingerprint(
    task: Task,
    train_rows: Sequence[Example],
    validation_rows: Sequence[Example],
    recipe: Recipe,
    base: BaseModel,
    *,
    start: Path | None,
) -> str:
    """What decides the result: two runs with one fingerprint end with the same weights on one machine."""
    return content_hash(
        {
            "loop": LOOP,
            "recipe": recipe.model_dump(mode="json"),
            "base": [base.hub_id, base.revision],
            "task": [task.name, task.kind, task.own_prompt],
            "rows": [
                [
                    [message.as_dict() for message in row.messages],
                    row.target,
                    *([row.rented_output] if recipe.method == "dpo" else []),
                ]
                for row in (*train_rows, *validation_rows)
            ],
            "validation": len(validation_rows),
            "start": None if start is None else start.name,
        }
    )
