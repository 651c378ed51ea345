"""Two processes with gloo against one: the same recipe, seed and global batch."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from safetensors.torch import load_file

from freehold.core.errors import InputError
from freehold.core.progress import Silent
from freehold.tuning.place import device_type
from freehold.tuning.recipe import Devices, Recipe, load_recipe
from freehold.tuning.train import train

if TYPE_CHECKING:
    from pathlib import Path

    from freehold.core.dataset import Example
    from freehold.core.task import Task
    from freehold.tuning.adapter import TrainedAdapter
    from freehold.tuning.bases import BaseModel

COMMON = ("lora.upper_layers=null", "devices.type=cpu", "training.learning_rate=0.001", "training.epochs=2")


@pytest.mark.parametrize(
    "changes",
    [
        ("devices.parallel=ddp", "method=lora", "training.micro_batch_size=2"),
        ("devices.parallel=fsdp", "method=full"),
        ("devices.parallel=fsdp", "method=qlora", "training.gradient_checkpointing=true"),
    ],
    ids=lambda changes: " ".join(changes[:2]),
)
def test_two_processes_learn_what_one_learns(
    task: Task, rows: list[Example], recipe: Recipe, base: BaseModel, tmp_path: Path, *, changes: tuple[str, ...]
) -> None:
    # 21 rows in batches of 8: the last batch has 5, of which one process gets 3 and the other 2
    def fit(name: str, *more: str) -> TrainedAdapter:
        (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
        return train(
            task=task,
            train_rows=rows[:21],
            validation_rows=rows[:3],
            recipe=load_recipe(str(tmp_path / "recipe.json"), [*COMMON, *changes, *more]),
            base=base,
            run_folder=tmp_path / name,
            progress=Silent(),
        )

    one, two = fit("one"), fit("two", "devices.count=2")
    assert two.losses == pytest.approx(one.losses, abs=5e-4)
    assert two.validation_losses == pytest.approx(one.validation_losses, abs=5e-4)
    ours, theirs = (load_file(next(run.folder.glob("*.safetensors"))) for run in (one, two))
    assert ours.keys() == theirs.keys()
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < 2e-3
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["adapter", "metrics.jsonl", "processes.log"]


def test_a_fault_in_the_processes_is_told_as_if_there_were_none(
    task: Task, rows: list[Example], recipe: Recipe, base: BaseModel, tmp_path: Path
) -> None:
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    with pytest.raises(InputError, match=r"training\.max_tokens is 4096; tiny reads at most 512 tokens\."):
        train(
            task=task,
            train_rows=rows,
            validation_rows=(),
            recipe=load_recipe(str(tmp_path / "recipe.json"), [*COMMON, "devices.count=2", "training.max_tokens=4096"]),
            base=base,
            run_folder=tmp_path / "run",
            progress=Silent(),
        )


def test_devices_that_are_not_there_are_told() -> None:
    with pytest.raises(InputError, match=r"devices\.type is 'cuda'; this machine has cpu\. Set devices\.type=cpu\."):
        device_type(Devices(type="cuda"))
    assert device_type(Devices(type="auto")) == "cpu"


def test_few_products_that_were_compiled_for_one_shape_are_kept() -> None:
    """A thousand took a gigabyte that no batch read again; torch reads the variables at its first product."""
    assert int(os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"]) <= 64
    assert int(os.environ["LRU_CACHE_CAPACITY"]) <= 64
