"""The one training loop: forward, loss on answers, backward, step; written straight down."""

from __future__ import annotations

import math
import random
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import torch

from freehold.core.errors import InputError
from freehold.tuning.checkpoint import Record, State, load_checkpoint, save_checkpoint
from freehold.tuning.interruption import interruptible
from freehold.tuning.metrics import MetricsLog
from freehold.tuning.objective import Preferences, mean_loss
from freehold.tuning.place import computing, held_back

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from freehold.core.progress import Progress
    from freehold.tuning.lora import Weights
    from freehold.tuning.objective import Objective
    from freehold.tuning.place import Place
    from freehold.tuning.recipe import Recipe, Training

CALM_STEPS = 20
RUNAWAY = 3.0
"""A mean loss over `CALM_STEPS` steps that is so many times that of guessing, or of the first step, has run away."""


class Diverged(InputError):
    """Training has left every good place; `best` holds the weights of the best epoch, if there was one."""

    def __init__(self, message: str, best: Mapping[str, Tensor], record: Record) -> None:
        """Tell what was seen, and keep what was good."""
        super().__init__(message)
        self.best, self.record = best, record


@dataclass(frozen=True, slots=True)
class _Step:
    """What one step said, over all devices."""

    loss: float
    tokens: int
    figures: dict[str, float]
    stops: bool
    """Some process was asked to stop."""
    is_due: bool
    """The leading process wants a checkpoint."""


def epoch_batches(rows: int, *, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Row indices of one epoch's batches, drawn at random: each row once, the last batch shorter.

    Batches of equal length would save nothing here, since packed rows need no padding, and they cost much: length
    tells something of the answer, so such batches are one-sided (docs/decisions/0003-tuning-on-cpu.md).
    """
    order = list(range(rows))
    random.Random(f"{seed}/{epoch}").shuffle(order)  # noqa: S311 -- an order, not a secret
    return [order[begin : begin + batch_size] for begin in range(0, rows, batch_size)]


def parts_of(batch: Sequence[int], *, micro: int | None, rank: int, world: int) -> list[tuple[list[int], bool]]:
    """One process' part of a batch in micro-batches, and whether each counts.

    All processes get equally many; who has no row left computes one that does not count, since the others wait.
    """
    mine = list(batch[rank::world])
    share = math.ceil(len(batch) / world)
    size = micro or share
    parts = [(mine[begin : begin + size], True) for begin in range(0, len(mine), size)]
    parts += [(list(batch[:1]), False)] * (math.ceil(share / size) - len(parts))
    return parts


def learning_rate(step: int, *, steps: int, training: Training) -> float:
    """The rate of step 0, 1, ... of `steps`: a linear rise, then the schedule's way down to zero."""
    rise = math.ceil(training.warmup * steps)
    if step < rise:
        return training.learning_rate * (step + 1) / rise
    done = (step - rise) / max(1, steps - rise)
    match training.schedule:
        case "constant":
            return training.learning_rate
        case "linear":
            return training.learning_rate * (1 - done)
        case "cosine":
            return training.learning_rate * (1 + math.cos(math.pi * done)) / 2


def fit(  # noqa: PLR0915 -- the one training loop reads from top to bottom
    *,
    module: nn.Module,
    weights: Weights,
    objective: Objective,
    train_cases: Sequence[int],
    validation_cases: Sequence[int],
    recipe: Recipe,
    place: Place,
    guessing: float,
    fingerprint: str,
    run_folder: Path,
    progress: Progress,
    started: tuple[float, float],
) -> tuple[Record, dict[str, Tensor]]:
    """Train the weights; continue from the run's checkpoint if there is one. Return the record and the kept weights.

    Several processes call it alike, each at its place. `guessing` is the loss of one who knows nothing. `started` is
    the wall and processor clock at which this sitting began; preparation counts too.

    Raises:
        Diverged: the loss is no longer a number, or has run away.
        KeyboardInterrupt: Ctrl-C came; a checkpoint of the last finished step has been written.
        SystemExit: SIGTERM came; the same.
    """
    training = recipe.training
    sharded = place.world > 1 and recipe.devices.parallel == "fsdp"
    state = State(record=Record(), weights=weights, optimizer=_optimizer(list(weights.values()), training))
    load_checkpoint(run_folder, fingerprint, state, place, sharded=sharded)
    record, optimizer = state.record, state.optimizer
    steps_per_epoch = math.ceil(len(train_cases) / training.batch_size)
    steps = steps_per_epoch * training.epochs
    clock = _Clock(record, started)
    metrics = MetricsLog(run_folder, steps=steps, done=record.steps, seconds=record.seconds) if place.leads else None
    saved = time.monotonic()

    def checkpoint() -> None:
        nonlocal saved
        clock.stop()
        record.peak_memory_bytes = max(record.peak_memory_bytes, place.peak_memory_bytes())
        save_checkpoint(run_folder, fingerprint, state, place, sharded=sharded)
        saved = time.monotonic()

    progress.start("Tuning", steps)
    progress.update(record.steps)
    with interruptible() as interruption:
        if record.steps == 0:
            _measure_preferences(record, objective, module, validation_cases, place)
        for epoch in range(record.steps // steps_per_epoch, training.epochs):
            if training.patience and record.best_epoch and epoch - record.best_epoch >= training.patience:
                break
            batches = epoch_batches(len(train_cases), batch_size=training.batch_size, seed=recipe.seed, epoch=epoch)
            module.train()
            for batch in batches[record.steps - epoch * steps_per_epoch :]:
                cases = [train_cases[index] for index in batch]
                rate = learning_rate(record.steps, steps=steps, training=training)
                if place.world > 1:  # so that every process draws its own dropout, whenever it joined
                    torch.manual_seed(random.Random(f"{recipe.seed}/{record.steps}/{place.rank}").getrandbits(63))  # noqa: S311
                waited = training.checkpoint_minutes and time.monotonic() - saved >= 60 * training.checkpoint_minutes
                step = _backward(module, objective, cases, recipe, place, stops=interruption.came, is_due=bool(waited))
                norm = _norm(torch.nn.utils.clip_grad_norm_(weights.values(), training.clip_norm))
                _check(step.loss, norm, guessing=guessing, state=state, epoch=epoch + 1, training=training)
                optimizer.param_groups[0]["lr"] = rate
                optimizer.step()
                optimizer.zero_grad()
                record.steps += 1
                record.tokens += step.tokens
                record.losses.append(step.loss)
                if metrics is not None:
                    note = metrics.step(
                        record.steps,
                        loss=step.loss,
                        learning_rate=rate,
                        rows=len(batch),
                        tokens=step.tokens,
                        memory_bytes=place.peak_memory_bytes(),
                        more=step.figures,
                    )
                    progress.update(1, note)
                if record.steps % steps_per_epoch == 0:
                    module.eval()
                    measured = mean_loss(objective, module, validation_cases, place)
                    _measure_preferences(record, objective, module, validation_cases, place)
                    _finish_epoch(state, measured)
                    if measured is not None and metrics is not None:
                        metrics.validation(record.steps, epoch=epoch + 1, loss=measured)
                stops = interruption.came if place.world == 1 else step.stops
                if stops or ((step.is_due or record.steps % training.checkpoint_steps == 0) and record.steps < steps):
                    checkpoint()
                if stops:
                    place.wait()  # others may still be writing, and would be ended with this one
                    interruption.end()
    clock.stop()
    record.peak_memory_bytes = max(record.peak_memory_bytes, place.peak_memory_bytes())
    progress.finish()
    kept = state.best if state.best and training.keep == "best" else dict(weights)
    return record, {name: weight.detach() for name, weight in kept.items()}


def _optimizer(weights: list[nn.Parameter], training: Training) -> torch.optim.Optimizer:
    if training.optimizer == "adamw":
        return torch.optim.AdamW(weights, weight_decay=training.weight_decay, fused=True)
    import bitsandbytes.optim  # noqa: PLC0415 -- loaded for moments in 8 bits alone

    eight_bits = cast("Any", bitsandbytes.optim).AdamW8bit  # Any: it is not typed
    return cast("torch.optim.Optimizer", eight_bits(weights, weight_decay=training.weight_decay))


def _backward(
    module: nn.Module,
    objective: Objective,
    cases: Sequence[int],
    recipe: Recipe,
    place: Place,
    *,
    stops: bool,
    is_due: bool,
) -> _Step:
    """Add up the gradients of one batch over micro-batches and devices, as if it had been one pass."""
    whole = objective.weight(cases)
    if not whole:
        raise InputError("A batch has no answer token to learn from: all of it is prompt. Look at the rows' answers.")
    parts = parts_of(cases, micro=recipe.training.micro_batch_size, rank=place.rank, world=place.world)
    loss, tokens, figures = 0.0, 0, dict[str, float]()
    for number, (some, counts) in enumerate(parts, start=1):
        with held_back(module, until_next=number < len(parts)):
            with computing(recipe, place):
                outcome = objective.outcome(module, some)
            share = outcome.weight / whole if counts else 0.0
            scale = share * place.world  # devices take the mean of their gradients
            torch.autograd.backward(outcome.loss if scale == 1 else outcome.loss * scale)
        if counts:
            loss += outcome.loss.item() * share
            tokens += outcome.tokens
            figures = {name: figures.get(name, 0.0) + value for name, value in outcome.figures.items()}
        else:
            figures = {name: figures.get(name, 0.0) for name in outcome.figures}
    names = list(figures)
    sums = place.sums([loss, tokens, stops, is_due and place.leads, *(figures[name] for name in names)])
    means = {name: value / len(cases) for name, value in zip(names, sums[4:], strict=True)}
    return _Step(sums[0], int(sums[1]), means, stops=sums[2] > 0, is_due=sums[3] > 0)


def _check(loss: float, norm: float, *, guessing: float, state: State, epoch: int, training: Training) -> None:
    """Stop where going on can only make it worse; the weights have not been touched by this step."""
    record = state.record
    recent = [*record.losses[-CALM_STEPS + 1 :], loss]
    first, mean = (record.losses or recent)[0], sum(recent) / len(recent)
    if not math.isfinite(loss):
        what = f"The loss is {loss}"
    elif not math.isfinite(norm):
        what = f"The loss is {loss:.4g} and the length of its gradient {norm}"
    elif len(recent) == CALM_STEPS and mean > RUNAWAY * max(guessing, first):
        what = f"The mean loss of the last {CALM_STEPS} steps, which began with {first:.4g}, is {mean:.4g}"
    else:
        return
    raise Diverged(
        f"{what} at step {record.steps + 1} (epoch {epoch}): training has diverged. Lower training.learning_rate "
        f"(it is {training.learning_rate}) and run again.",
        state.best,
        record,
    )


def _norm(found: Any) -> float:  # Any: a tensor of which each process may hold a part
    return float(found.full_tensor() if hasattr(found, "full_tensor") else found)


def _finish_epoch(state: State, validation_loss: float | None) -> None:
    """Note the validation loss, and these weights if none were better."""
    if validation_loss is None:
        return
    record = state.record
    record.validation_losses.append(validation_loss)
    if validation_loss == min(record.validation_losses):
        record.best_epoch = len(record.validation_losses)
        state.best.update({name: weight.detach().clone() for name, weight in state.weights.items()})


def _measure_preferences(
    record: Record, objective: Objective, module: nn.Module, cases: Sequence[int], place: Place
) -> None:
    """Note how the validation pairs stand, where pairs are learned from."""
    if isinstance(objective, Preferences) and cases:
        module.eval()
        record.preference.append(asdict(objective.margins(module, cases, place)))


class _Clock:
    """Adds the time since it was last stopped to a record."""

    def __init__(self, record: Record, started: tuple[float, float]) -> None:
        self._record = record
        self._wall, self._cpu = started

    def stop(self) -> None:
        """Book the time that has passed."""
        wall, cpu = time.perf_counter(), time.process_time()
        self._record.seconds += wall - self._wall
        self._record.cpu_seconds += cpu - self._cpu
        self._wall, self._cpu = wall, cpu
