"""The ways of learning beside an adapter on one processor: all of them on a model of some thousand weights."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.nn import functional
from transformers import AutoModelForCausalLM

from freehold.core.errors import FreeholdError, InputError
from freehold.core.progress import Silent
from freehold.tuning import answers, loop, train
from freehold.tuning.answers import token_losses
from freehold.tuning.loop import parts_of
from freehold.tuning.predict import LocalModel
from freehold.tuning.recipe import Recipe, load_recipe
from tests.tuning.test_tuning_loop import Stopper

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from freehold.core.dataset import Example
    from freehold.core.task import Task
    from freehold.tuning.adapter import TrainedAdapter
    from freehold.tuning.bases import BaseModel

    Fit = Callable[..., TrainedAdapter]


@pytest.fixture
def fit(task: Task, rows: list[Example], recipe: Recipe, base: BaseModel, tmp_path: Path) -> Fit:
    """Trains in a folder of that name with changes to the recipe."""

    def run(
        name: str,
        *changes: str,
        base: BaseModel = base,
        rows: list[Example] = rows,
        progress: Silent | None = None,
    ) -> TrainedAdapter:
        (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
        return train.train(
            task=task,
            train_rows=rows,
            validation_rows=rows[:4],
            recipe=load_recipe(str(tmp_path / "recipe.json"), changes),
            base=base,
            run_folder=tmp_path / name,
            progress=progress or Silent(),
        )

    return run


ALL_LAYERS = "lora.upper_layers=null"


@pytest.mark.parametrize(
    "change",
    [
        "training.micro_batch_size=4",
        "training.gradient_checkpointing=true",
        "training.packing=false",
    ],
)
@pytest.mark.parametrize("method", ["lora", "full"])
def test_how_a_batch_is_computed_does_not_change_what_is_learned(fit: Fit, method: str, change: str) -> None:
    common = (ALL_LAYERS, f"method={method}", "training.learning_rate=0.001", "training.epochs=2")
    plain, other = fit("plain", *common), fit("other", *common, change)
    assert other.losses == pytest.approx(plain.losses, abs=2e-4)
    assert other.validation_losses == pytest.approx(plain.validation_losses, abs=2e-4)


def test_the_first_losses_of_each_method_are_always_the_same(fit: Fit) -> None:
    found = {
        method: fit(method, f"method={method}", ALL_LAYERS, "training.learning_rate=0.001", "training.epochs=1").losses
        for method in ("lora", "qlora", "full")
    }
    assert found["lora"] == pytest.approx(GOLDEN["lora"], abs=1e-3)
    assert found["qlora"] == pytest.approx(GOLDEN["qlora"], abs=1e-3)
    assert found["full"] == pytest.approx(GOLDEN["full"], abs=1e-3)


GOLDEN = {"lora": [7.6855, 6.2833, 5.2142], "qlora": [7.6212, 6.2905, 5.2309], "full": [7.6855, 4.6639, 3.2567]}


def test_qlora_starts_near_the_whole_base_and_learns(fit: Fit) -> None:
    whole, packed = fit("whole", ALL_LAYERS), fit("packed", ALL_LAYERS, "method=qlora")
    assert packed.losses[0] == pytest.approx(whole.losses[0], abs=0.3)
    assert packed.losses[0] != whole.losses[0]
    assert packed.losses[-1] < 0.7 * packed.losses[0]


def test_dropout_over_a_base_in_four_bits_learns_too(fit: Fit) -> None:
    adapter = fit("run", ALL_LAYERS, "method=qlora", "lora.dropout=0.1", "training.epochs=1")
    assert adapter.losses[-1] < adapter.losses[0]


def test_moments_in_eight_bits_learn_and_continue(fit: Fit) -> None:
    changes = (ALL_LAYERS, "method=full", "training.optimizer=adamw_8bit", "training.learning_rate=0.001")
    straight = fit("straight", *changes)
    assert straight.losses[-1] < straight.losses[0]
    with pytest.raises(MemoryError):
        fit("killed", *changes, progress=Stopper(5, "die"))
    assert fit("killed", *changes).sha256 == straight.sha256


def test_a_whole_model_is_a_folder_that_transformers_and_we_load(fit: Fit, base: BaseModel, task: Task) -> None:
    model = fit("run", "method=full", "training.learning_rate=0.001")
    line = torch.tensor([[4, 5, 6, 7, 8]])
    with torch.inference_mode():
        tuned = AutoModelForCausalLM.from_pretrained(model.folder).eval()(line).logits
        untuned = AutoModelForCausalLM.from_pretrained(base.folder).eval()(line).logits
    assert (tuned - untuned).abs().max() > 0.01
    before, after = (load_file(folder / "model.safetensors") for folder in (base.folder, model.folder))
    assert before.keys() == after.keys()
    assert all(not torch.equal(before[name], after[name]) for name in before)
    assert str(base.folder) not in (model.folder / "config.json").read_text()
    question = [[*row.messages] for row in [_row(task)]]
    found = [
        LocalModel(base, folder).label_probabilities(question, labels=task.labels, progress=Silent())
        for folder in (model.folder, None)
    ]
    assert found[0] != found[1]


def _row(task: Task) -> Example:
    from tests.tuning.conftest import example

    return example("lost my card 3", task.labels[0])


@pytest.mark.parametrize("seen", [0, 3, 9])
def test_a_run_away_loss_stops_and_the_best_epoch_is_kept(fit: Fit, monkeypatch: pytest.MonkeyPatch, seen: int) -> None:
    calls = iter(range(100))
    real = loop._backward

    def poisoned(*given: object, **options: object) -> object:
        step = real(*given, **options)  # type: ignore[arg-type]
        return loop._Step(float("inf"), step.tokens, {}, stops=False, is_due=False) if next(calls) == seen else step

    monkeypatch.setattr(loop, "_backward", poisoned)
    if seen == 9:  # the run has nine steps: it ends before that
        assert fit("run").losses
        return
    with pytest.raises(InputError, match=rf"The loss is inf at step {seen + 1} \(epoch {1 + seen // 3}\)") as error:
        fit("run")
    assert ("The weights of epoch 1 are kept in" in str(error.value)) == (seen == 3)


def test_a_full_device_tells_what_would_fit(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(train, "Decoder", full)
    with pytest.raises(FreeholdError, match=r"memory of the cpu device is full.*micro_batch_size=1, .*method=qlora"):
        fit("run")


def test_a_tokenizer_of_another_model_is_told(fit: Fit, base: BaseModel, tmp_path: Path) -> None:
    from dataclasses import replace
    from shutil import copytree

    folder = copytree(base.folder, tmp_path / "mixed")
    weights = {name: tensor.clone() for name, tensor in load_file(folder / "model.safetensors").items()}
    weights["model.embed_tokens.weight"] = weights["model.embed_tokens.weight"][:300].clone()
    from safetensors.torch import save_file

    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 300}))
    with pytest.raises(InputError, match=r"tokenizer of tiny makes token \d+; the model knows 300 tokens"):
        fit("run", base=replace(base, folder=folder))


@given(tokens=st.integers(1, 9), chunk=st.integers(1, 4), bias=st.booleans(), learns=st.booleans())
@settings(deadline=None, max_examples=30)
def test_losses_in_pieces_are_the_losses_at_once_gradients_included(
    tokens: int, chunk: int, bias: bool, learns: bool
) -> None:
    made = torch.Generator().manual_seed(tokens * 7 + chunk)
    states, weight = torch.randn(tokens, 6, generator=made), torch.randn(11, 6, generator=made)
    extra = torch.randn(11, generator=made) if bias else None
    targets = torch.randint(11, (tokens,), generator=made)
    pull = torch.randn(tokens, generator=made)

    def gradients(in_pieces: bool) -> list[torch.Tensor]:
        leaves = [states.clone().requires_grad_(), weight.clone().requires_grad_(learns)]
        leaves += [] if extra is None else [extra.clone().requires_grad_(learns)]
        inner = leaves[2] if extra is not None else None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(answers, "MOST_LOGITS", 11 * chunk)
            losses = (
                token_losses(leaves[0], leaves[1], inner, targets)
                if in_pieces
                else functional.cross_entropy(functional.linear(leaves[0], leaves[1], inner), targets, reduction="none")
            )
        torch.autograd.backward((losses * pull).sum())
        return [losses.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]

    for mine, plain in zip(gradients(True), gradients(False), strict=True):
        torch.testing.assert_close(mine, plain)


@given(rows=st.integers(1, 40), micro=st.none() | st.integers(1, 9), world=st.integers(1, 5))
def test_processes_share_a_batch_once_and_do_equally_many_passes(rows: int, micro: int | None, world: int) -> None:
    batch = list(range(100, 100 + rows))
    parts = [parts_of(batch, micro=micro, rank=rank, world=world) for rank in range(world)]
    assert len({len(mine) for mine in parts}) == 1
    counted = [row for mine in parts for some, counts in mine if counts for row in some]
    assert sorted(counted) == batch
    assert all(0 < len(some) <= (micro or rows) for mine in parts for some, _ in mine)
