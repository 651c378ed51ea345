"""Learning from corrections: what the loss says, what is measured, and that it learns."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from freehold.core.errors import InputError
from freehold.core.progress import Silent
from freehold.tuning.preference import (
    answer_sums,
    length_correlation,
    length_warnings,
    pairs,
    preference_losses,
)
from freehold.tuning.recipe import Preference, Recipe, load_recipe
from freehold.tuning.train import train

if TYPE_CHECKING:
    from pathlib import Path

    from freehold.core.dataset import Example
    from freehold.core.task import Task
    from freehold.tuning.adapter import TrainedAdapter
    from freehold.tuning.bases import BaseModel

WRONG = {"card_lost": "refund_missing", "card_swallowed": "card_lost", "refund_missing": "card_swallowed"}


@pytest.fixture
def corrections(rows: list[Example]) -> list[Example]:
    """Each row as an expert's correction of a wrong label."""
    return [replace(row, provenance="human-corrected", rented_output=WRONG[row.target]) for row in rows]


def _dpo(
    task: Task,
    rows: list[Example],
    recipe: Recipe,
    base: BaseModel,
    folder: Path,
    *changes: str,
    start: Path | None = None,
) -> TrainedAdapter:
    folder.parent.mkdir(parents=True, exist_ok=True)
    (folder.parent / "recipe.json").write_text(recipe.model_dump_json())
    return train(
        task=task,
        train_rows=rows,
        validation_rows=rows[:6],
        recipe=load_recipe(str(folder.parent / "recipe.json"), ["method=dpo", *changes]),
        base=base,
        run_folder=folder,
        progress=Silent(),
        start=start,
    )


def test_margin_grows_from_zero_and_the_divergence_with_it(
    task: Task, corrections: list[Example], recipe: Recipe, base: BaseModel, run_folder: Path
) -> None:
    found = _dpo(task, corrections, recipe, base, run_folder, "training.epochs=4")
    first, *_, last = found.preference
    assert found.losses[0] == pytest.approx(math.log(2), abs=1e-5)  # the model is its own reference at first
    assert [first["margin"], first["kl"]] == pytest.approx([0, 0], abs=1e-5)
    assert (last["margin"] or 0.0) > 0.05
    assert (last["kl"] or 0.0) > 1e-4
    assert last["accuracy"] == 1.0
    assert found.method == "dpo"
    assert len(found.preference) == 5  # before the first step, and after four epochs


def test_a_killed_run_measures_from_the_same_reference(
    task: Task, corrections: list[Example], recipe: Recipe, base: BaseModel, tmp_path: Path
) -> None:
    from tests.tuning.test_tuning_loop import Stopper

    straight = _dpo(task, corrections, recipe, base, tmp_path / "a" / "run")
    with pytest.raises(MemoryError):
        train(
            task=task,
            train_rows=corrections,
            validation_rows=corrections[:6],
            recipe=load_recipe(str(tmp_path / "a" / "recipe.json"), ["method=dpo"]),
            base=base,
            run_folder=tmp_path / "killed" / "run",
            progress=Stopper(5, "die"),
        )
    resumed = _dpo(task, corrections, recipe, base, tmp_path / "killed" / "run")
    assert (resumed.sha256, resumed.preference) == (straight.sha256, straight.preference)


@pytest.mark.parametrize(("weights", "rate"), [("full", 0.001), ("qlora", 0.003)])
def test_whole_models_and_packed_bases_learn_from_pairs_too(
    task: Task,
    corrections: list[Example],
    recipe: Recipe,
    base: BaseModel,
    *,
    run_folder: Path,
    weights: str,
    rate: float,
) -> None:
    changes = (f"dpo.weights={weights}", f"training.learning_rate={rate}", "training.epochs=8")
    found = _dpo(task, corrections, recipe, base, run_folder, *changes)
    assert found.losses[-1] < found.losses[0] - 0.02


def test_an_adapter_learns_on_and_is_the_reference(
    task: Task, corrections: list[Example], recipe: Recipe, base: BaseModel, tmp_path: Path
) -> None:
    plain = train(
        task=task,
        train_rows=corrections,
        validation_rows=(),
        recipe=recipe,
        base=base,
        run_folder=tmp_path / "sft",
        progress=Silent(),
    )
    found = _dpo(task, corrections, recipe, base, tmp_path / "dpo", start=plain.folder)
    fresh = _dpo(task, corrections, recipe, base, tmp_path / "fresh")
    assert found.losses[0] == pytest.approx(math.log(2), abs=1e-5)
    assert found.losses[1:] != fresh.losses[1:]
    with pytest.raises(InputError, match=r"dpo\.start: the adapter that shall learn on has rank 4.*wants rank 8"):
        _dpo(task, corrections, recipe, base, tmp_path / "other", "lora.rank=8", start=plain.folder)


def test_too_few_corrections_are_told_with_their_count(
    task: Task, corrections: list[Example], rows: list[Example], recipe: Recipe, *, base: BaseModel, run_folder: Path
) -> None:
    with pytest.raises(InputError, match=r"of the 24 training rows of task 'topics' 3 are such, and it needs 20"):
        _dpo(task, [*corrections[:3], *rows[3:]], recipe, base, run_folder)


def test_only_corrections_that_changed_something_are_pairs(corrections: list[Example], rows: list[Example]) -> None:
    same = replace(corrections[0], rented_output=f" {corrections[0].target}\n")
    labelled = replace(corrections[1], provenance="human-labelled")
    assert pairs([*rows, same, labelled, corrections[2]]) == [corrections[2]]


def test_the_loss_of_worked_pairs() -> None:
    preference = Preference(beta=0.5, likelihood=2.0)
    gains = torch.tensor([1.0, 0.0, -1.0, 0.0])  # better: +1 and 0, worse: -1 and 0
    found = preference_losses(gains, torch.tensor([-6.0, -1.0]), torch.tensor([3.0, 1.0]), preference)
    # -log sigmoid(0.5 * 2) + 2 * 6 / 3, and log 2 + 2 * 1
    assert found.tolist() == pytest.approx([math.log(1 + math.exp(-1)) + 4, math.log(2) + 2])


@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=8), normalised=st.booleans())
def test_sums_of_answers_are_those_of_a_walk_row_by_row(lengths: list[int], normalised: bool) -> None:
    owners = torch.tensor([row for row, length in enumerate(lengths) for _ in range(length)])
    losses = torch.arange(1.0, len(owners) + 1)
    expected = []
    for row, length in enumerate(lengths):
        total = -sum(float(loss) for loss, owner in zip(losses, owners, strict=True) if owner == row)
        expected.append(total / length if normalised else total)
    assert answer_sums(losses, owners, len(lengths), normalised=normalised).tolist() == pytest.approx(expected)


def test_lengths_that_alone_decide_are_told() -> None:
    plain = Preference()
    longer, mixed = [(9, 4)] * 8 + [(4, 9)] * 2, [(9, 4), (4, 9)] * 5
    assert "In 80% of the pairs the corrected answer is the longer one" in length_warnings(longer, None, plain)[0]
    assert length_warnings(longer, 0.1, Preference(length_normalised=True)) == []
    assert length_warnings(mixed, 0.1, plain) == []
    assert "follows length (correlation -0.70)" in length_warnings(mixed, -0.7, plain)[0]
    assert length_correlation([1, 2, 3], [2, 4, 6]) == pytest.approx(1)
    assert length_correlation([1, 2, 3], [5, 5, 5]) is None
