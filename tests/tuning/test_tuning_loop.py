from __future__ import annotations

import math
import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.core.errors import FreeholdError, InputError
from freehold.core.progress import Silent
from freehold.tuning import checkpoint
from freehold.tuning.loop import epoch_batches, learning_rate
from freehold.tuning.recipe import Recipe, load_recipe
from freehold.tuning.train import train

if TYPE_CHECKING:
    from pathlib import Path

    from freehold.core.dataset import Example
    from freehold.core.task import Task
    from freehold.tuning.adapter import TrainedAdapter
    from freehold.tuning.bases import BaseModel


class Stopper(Silent):
    """Progress that does something after so many steps."""

    def __init__(self, steps: int, action: str) -> None:
        self._left, self._action, self.notes = steps, action, list[str]()

    def update(self, done: int, note: str = "") -> None:
        if not note.startswith("loss"):
            return
        self.notes.append(note)
        self._left -= done
        if self._left == 0:
            if self._action == "die":
                raise MemoryError("killed")
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def fit(task: Task, rows: list[Example], recipe: Recipe, base: BaseModel) -> FitOnce:
    return FitOnce(task, rows, recipe, base)


class FitOnce:
    """Trains with small changes; what most tests here need."""

    def __init__(self, task: Task, rows: list[Example], recipe: Recipe, base: BaseModel) -> None:
        self.task, self.rows, self.recipe, self.base = task, rows, recipe, base

    def __call__(self, folder: Path, *changes: str, progress: Silent | None = None, held: int = 4) -> TrainedAdapter:
        recipe = load_recipe(str(_written(self.recipe, folder.parent)), changes)
        return train(
            task=self.task,
            train_rows=self.rows,
            validation_rows=self.rows[:held],
            recipe=recipe,
            base=self.base,
            run_folder=folder,
            progress=progress or Silent(),
        )


def _written(recipe: Recipe, folder: Path) -> Path:
    path = folder / "recipe.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(recipe.model_dump_json())
    return path


def test_the_first_losses_are_always_the_same(fit: FitOnce, run_folder: Path) -> None:
    adapter = fit(run_folder)
    assert adapter.losses[:5] == pytest.approx([7.6855, 5.8951, 4.5007, 4.0266, 3.7651], abs=1e-3)
    assert len(adapter.losses) == 9  # 24 rows in batches of 8, three epochs


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(fit: FitOnce, tmp_path: Path) -> None:
    first, second, other = fit(tmp_path / "a"), fit(tmp_path / "b"), fit(tmp_path / "c", "seed=1")
    assert (first.losses, first.sha256) == (second.losses, second.sha256)
    assert first.sha256 != other.sha256


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("step", [1, 3, 4, 8])
def test_a_killed_run_continues_and_ends_with_the_bytes_of_a_straight_one(
    fit: FitOnce, tmp_path: Path, step: int, dropout: float
) -> None:
    change = f"lora.dropout={dropout}"
    straight = fit(tmp_path / "straight", change)
    with pytest.raises(MemoryError):
        fit(tmp_path / "killed", change, progress=Stopper(step, "die"))
    resumed = fit(tmp_path / "killed", change)
    assert resumed.losses == straight.losses
    assert resumed.validation_losses == straight.validation_losses
    assert resumed.tokens == straight.tokens
    assert resumed.sha256 == straight.sha256


def test_ctrl_c_leaves_a_checkpoint_of_the_step_that_was_running(fit: FitOnce, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "stopped", progress=Stopper(5, "interrupt"))
    assert signal.getsignal(signal.SIGINT) is before
    assert (tmp_path / "stopped" / checkpoint.FILE).exists()
    rest = Stopper(99, "die")
    assert fit(tmp_path / "stopped", progress=rest).sha256 == fit(tmp_path / "straight").sha256
    assert len(rest.notes) == 4  # steps 6 to 9


def test_training_works_outside_the_main_thread(fit: FitOnce, tmp_path: Path) -> None:
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(fit(tmp_path / "thread").sha256))
    thread.start()
    thread.join()
    assert found == [fit(tmp_path / "main").sha256]


def test_a_checkpoint_of_another_run_or_a_broken_one_is_left_aside(fit: FitOnce, tmp_path: Path) -> None:
    straight = fit(tmp_path / "straight")
    with pytest.raises(MemoryError):
        fit(tmp_path / "run", "seed=7", progress=Stopper(4, "die"))
    assert fit(tmp_path / "run").sha256 == straight.sha256
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / checkpoint.FILE).write_bytes(b"\x08\0\0\0\0\0\0\0{broken}")
    assert fit(tmp_path / "broken").sha256 == straight.sha256


def test_a_batch_can_be_learned_by_heart(fit: FitOnce, run_folder: Path) -> None:
    adapter = fit(
        run_folder,
        "lora.rank=32",
        "lora.upper_layers=4",
        "training.epochs=60",
        "training.learning_rate=0.01",
        "training.batch_size=24",
    )
    assert adapter.losses[0] > 4
    assert adapter.final_loss < 0.2


def test_the_best_epoch_is_kept_or_the_last(fit: FitOnce, tmp_path: Path) -> None:
    wild = ("training.learning_rate=0.3", "training.schedule=constant", "training.epochs=4")
    best, last = fit(tmp_path / "best", *wild), fit(tmp_path / "last", *wild, "training.keep=last")
    assert best.validation_losses == last.validation_losses
    assert best.best_epoch == 1 + best.validation_losses.index(min(best.validation_losses))
    assert (best.sha256 == last.sha256) == (best.best_epoch == 4)


def test_patience_ends_a_run_that_no_longer_improves(fit: FitOnce, tmp_path: Path) -> None:
    changes = ("training.learning_rate=0.5", "training.schedule=constant", "training.epochs=30", "training.patience=2")
    adapter = fit(tmp_path / "run", *changes)
    assert adapter.best_epoch is not None
    assert len(adapter.validation_losses) == adapter.best_epoch + 2 < 30


def test_without_validation_rows_the_last_weights_are_kept(fit: FitOnce, run_folder: Path) -> None:
    adapter = fit(run_folder, held=0)
    assert (adapter.validation_losses, adapter.best_epoch) == ((), None)


def test_a_loss_that_is_no_number_is_told(fit: FitOnce, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freehold.tuning.answers._losses", lambda states, *_: states.sum(-1) * math.nan)
    with pytest.raises(
        InputError, match=r"The loss is nan at step 1 \(epoch 1\): training has diverged\. Lower training\."
    ):
        fit(run_folder)
    assert not (run_folder / "adapter").exists()


def test_a_full_disk_is_one_clear_line(fit: FitOnce, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("freehold.tuning._files.os.fsync", full)
    with pytest.raises(FreeholdError, match=r"The disk of .* is full\. Free some space and run the same command"):
        fit(run_folder)
    assert [file.name for file in run_folder.iterdir()] == ["metrics.jsonl"]


@given(rows=st.integers(1, 120), batch_size=st.integers(1, 9), seed=st.integers(0, 99), epoch=st.integers(0, 3))
def test_an_epoch_holds_each_row_once_in_full_batches_but_the_last(
    rows: int, batch_size: int, seed: int, epoch: int
) -> None:
    batches = epoch_batches(rows, batch_size=batch_size, seed=seed, epoch=epoch)
    assert sorted(row for batch in batches for row in batch) == list(range(rows))
    assert {len(batch) for batch in batches[:-1]} <= {batch_size}
    assert len(batches) == math.ceil(rows / batch_size)
    assert batches == epoch_batches(rows, batch_size=batch_size, seed=seed, epoch=epoch)


def test_each_epoch_and_each_seed_has_its_own_order() -> None:
    orders = [epoch_batches(64, batch_size=8, seed=seed, epoch=epoch) for seed in range(2) for epoch in range(2)]
    assert len({str(order) for order in orders}) == 4


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        # warm-up of two steps, eight steps down from 1
        ("constant", [0.5, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        ("linear", [0.5, 1, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]),
        ("cosine", [0.5, 1] + [(1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]),
    ],
)
def test_the_rate_rises_and_follows_its_schedule(recipe: Recipe, schedule: str, expected: list[float]) -> None:
    training = recipe.training.model_copy(update={"schedule": schedule, "warmup": 0.2, "learning_rate": 1.0})
    assert [learning_rate(step, steps=10, training=training) for step in range(10)] == pytest.approx(expected)
