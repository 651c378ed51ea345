from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from freehold.core.errors import InputError
from freehold.tuning.decoder import Decoder
from freehold.tuning.lora import PREFIX, add_adapter, first_adapted_layer, learning_weights
from freehold.tuning.packing import pack

if TYPE_CHECKING:
    from torch import Tensor

    from freehold.tuning.bases import BaseModel
    from freehold.tuning.recipe import Lora, Recipe


def _loss_and_gradients(base: BaseModel, lora: Lora, *, by_peft: bool) -> tuple[float, dict[str, Tensor]]:
    """One pass through an adapter whose second factor is not zero."""
    decoder = Decoder(base.folder)
    add_adapter(decoder, lora, hub_id="owner/tiny", revision=None, seed=3)
    weights = learning_weights(decoder, prefix=PREFIX)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        for weight in weights.values():
            weight.data.normal_(std=0.2)
    if by_peft:
        for module in decoder.model.modules():
            module.__dict__.pop("forward", None)
    states = decoder.embed(torch.tensor([[4, 5, 6, 7, 8, 9]]))
    loss = decoder.logits(decoder.run(states, pack(2, [1, 3]))[0]).square().mean()
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    gradients = {name: weight.grad for name, weight in weights.items() if weight.grad is not None}
    assert len(gradients) == len(weights)
    return loss.item(), gradients


def test_the_fused_layer_computes_what_peft_computes(base: BaseModel, recipe: Recipe) -> None:
    loss, gradients = _loss_and_gradients(base, recipe.lora, by_peft=False)
    expected_loss, expected = _loss_and_gradients(base, recipe.lora, by_peft=True)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-6, rtol=1e-3)


def test_dropout_leaves_the_layers_to_peft(base: BaseModel, recipe: Recipe) -> None:
    decoder = Decoder(base.folder)
    add_adapter(decoder, recipe.lora.model_copy(update={"dropout": 0.1}), hub_id="o/t", revision=None, seed=0)
    assert not any("forward" in module.__dict__ for module in decoder.model.modules())


def test_only_the_upper_layers_get_an_adapter_and_keep_their_index(base: BaseModel, recipe: Recipe) -> None:
    decoder = Decoder(base.folder)
    config = add_adapter(decoder, recipe.lora, hub_id="owner/tiny", revision="abc", seed=0)
    names = learning_weights(decoder, prefix=PREFIX)
    assert config.layers_to_transform == [2, 3]
    assert {name.split(".layers.")[1][0] for name in names} == {"2", "3"}
    assert "base_model.model.model.layers.3.mlp.up_proj.lora_A.weight" in names
    assert (config.base_model_name_or_path, config.revision) == ("owner/tiny", "abc")


def test_no_limit_on_layers_means_all_of_them(base: BaseModel, recipe: Recipe) -> None:
    lora = recipe.lora.model_copy(update={"upper_layers": None})
    assert first_adapted_layer(Decoder(base.folder), lora) == 0
    assert first_adapted_layer(Decoder(base.folder), recipe.lora.model_copy(update={"upper_layers": 99})) == 0


def test_an_unknown_module_name_is_told(base: BaseModel, recipe: Recipe) -> None:
    lora = recipe.lora.model_copy(update={"target_modules": ("wqkv",)})
    with pytest.raises(InputError, match=r"lora\.target_modules: owner/tiny has no linear layer named wqkv\."):
        add_adapter(Decoder(base.folder), lora, hub_id="owner/tiny", revision=None, seed=0)
