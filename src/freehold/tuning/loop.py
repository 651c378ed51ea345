"""The one training loop: forward, loss on answers, backward, step; written straight down."""

from __future__ import annotations

import math
import random
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from freehold.core.errors import InputError
from freehold.tuning.checkpoint import Record, load_checkpoint, save_checkpoint
from freehold.tuning.metrics import MetricsLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from torch import Tensor

    from freehold.core.progress import Progress
    from freehold.tuning.decoder import Decoder
    from freehold.tuning.lora import Weights
    from freehold.tuning.recipe import Recipe, Training
    from freehold.tuning.states import LowerStates


def epoch_batches(rows: int, *, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Row indices of one epoch's batches, drawn at random: each row once, the last batch shorter.

    Batches of equal length would save nothing here, since packed rows need no padding, and they cost much: length
    tells something of the answer, so such batches are one-sided (docs/decisions/0003-tuning-on-cpu.md).
    """
    order = list(range(rows))
    random.Random(f"{seed}/{epoch}").shuffle(order)  # noqa: S311 -- an order, not a secret
    return [order[begin : begin + batch_size] for begin in range(0, rows, batch_size)]


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


def fit(
    *,
    decoder: Decoder,
    weights: Weights,
    states: LowerStates,
    train_rows: Sequence[int],
    validation_rows: Sequence[int],
    first_layer: int,
    recipe: Recipe,
    fingerprint: str,
    run_folder: Path,
    progress: Progress,
    started: tuple[float, float],
) -> tuple[Record, dict[str, Tensor]]:
    """Train the adapter; continue from the run's checkpoint if there is one. Return the record and the kept weights.

    `started` is the wall and processor clock at which this sitting began; preparation counts too.

    Raises:
        InputError: the loss is no longer a number.
        KeyboardInterrupt: Ctrl-C came; a checkpoint of the last finished step has been written.
    """
    training = recipe.training
    optimizer = torch.optim.AdamW(list(weights.values()), weight_decay=training.weight_decay, fused=True)
    record, best = load_checkpoint(run_folder, fingerprint, weights, optimizer)
    steps_per_epoch = math.ceil(len(train_rows) / training.batch_size)
    steps = steps_per_epoch * training.epochs
    clock = _Clock(record, started)
    metrics = MetricsLog(run_folder, steps=steps, done=record.steps, seconds=record.seconds)

    def checkpoint() -> None:
        clock.stop()
        save_checkpoint(
            run_folder, fingerprint=fingerprint, record=record, weights=weights, optimizer=optimizer, best=best
        )

    progress.start("Tuning", steps)
    progress.update(record.steps)
    with _interruptible(checkpoint) as at_step_end:
        for epoch in range(record.steps // steps_per_epoch, training.epochs):
            if training.patience and record.best_epoch and epoch - record.best_epoch >= training.patience:
                break
            batches = epoch_batches(len(train_rows), batch_size=training.batch_size, seed=recipe.seed, epoch=epoch)
            decoder.model.train()
            for batch in batches[record.steps - epoch * steps_per_epoch :]:
                rows = [train_rows[index] for index in batch]
                rate = learning_rate(record.steps, steps=steps, training=training)
                loss, tokens = _batch_loss(decoder, states, rows, first_layer)
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                if not math.isfinite(loss.item()):
                    raise InputError(
                        f"The loss is {loss.item()} at step {record.steps + 1}: training has diverged. Lower "
                        f"training.learning_rate (it is {training.learning_rate}) and run again."
                    )
                torch.nn.utils.clip_grad_norm_(weights.values(), training.clip_norm)
                optimizer.param_groups[0]["lr"] = rate
                optimizer.step()
                optimizer.zero_grad()
                record.steps += 1
                record.tokens += tokens
                record.losses.append(loss.item())
                note = metrics.step(record.steps, loss=loss.item(), learning_rate=rate, rows=len(batch), tokens=tokens)
                progress.update(1, note)
                if record.steps % steps_per_epoch == 0:
                    measured = _mean_loss(decoder, states, validation_rows, first_layer)
                    _finish_epoch(record, best, weights, measured)
                    if measured is not None:
                        metrics.validation(record.steps, epoch=epoch + 1, loss=measured)
                if record.steps % training.checkpoint_steps == 0 and record.steps < steps:
                    checkpoint()
                at_step_end()
    clock.stop()
    progress.finish()
    kept = best if best and training.keep == "best" else {name: weight.detach() for name, weight in weights.items()}
    return record, kept


def _finish_epoch(record: Record, best: dict[str, Tensor], weights: Weights, validation_loss: float | None) -> None:
    """Note the validation loss, and these weights if none were better."""
    if validation_loss is None:
        return
    record.validation_losses.append(validation_loss)
    if validation_loss == min(record.validation_losses):
        record.best_epoch = len(record.validation_losses)
        best.update({name: weight.detach().clone() for name, weight in weights.items()})


def _batch_loss(decoder: Decoder, states: LowerStates, rows: Sequence[int], first_layer: int) -> tuple[Tensor, int]:
    """Mean negative log-likelihood of the batch's answer tokens, and how many tokens were computed for it."""
    inputs, packing = states.batch(rows)
    places, targets = states.answers(rows)
    outputs = decoder.run(inputs, packing, first=first_layer)[0]
    return functional.cross_entropy(decoder.logits(outputs[places]), targets), inputs.shape[1]


def _mean_loss(decoder: Decoder, states: LowerStates, rows: Sequence[int], first_layer: int) -> float | None:
    """Mean negative log-likelihood over all answer tokens of these rows; None without rows."""
    if not rows:
        return None
    decoder.model.eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for begin in range(0, len(rows), 16):
            batch = rows[begin : begin + 16]
            answers = len(states.answers(batch)[1])
            total += _batch_loss(decoder, states, batch, first_layer)[0].item() * answers
            count += answers
    decoder.model.train()
    return total / count


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


@contextmanager
def _interruptible(checkpoint: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Let Ctrl-C wait for the end of a step, where the state is whole; a second one does not wait.

    Yields a function to call at the end of each step.
    """
    asked = threading.Event()

    def at_step_end() -> None:
        if asked.is_set():
            checkpoint()
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield at_step_end
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(_number: int, _frame: object) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield at_step_end
    finally:
        signal.signal(signal.SIGINT, before)
