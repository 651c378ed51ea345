"""LoRA adapters by PEFT, with the forward and backward pass of a plain one fused into few matrix products."""

from __future__ import annotations

import warnings
from types import MethodType
from typing import TYPE_CHECKING, Any, cast

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import Linear
from torch import nn
from torch.nn import functional

from freehold.core.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from freehold.tuning.decoder import Decoder
    from freehold.tuning.recipe import Lora

Weights = dict[str, nn.Parameter]
"""Weights that learn, by the names that PEFT gives them in a file."""


def first_adapted_layer(decoder: Decoder, recipe: Lora) -> int:
    """Index of the lowest layer that learns."""
    return 0 if recipe.upper_layers is None else max(0, len(decoder.layers) - recipe.upper_layers)


def add_adapter(decoder: Decoder, recipe: Lora, *, hub_id: str, revision: str | None, seed: int) -> LoraConfig:
    """Put a fresh adapter into the decoder's layers, and return what PEFT needs to know to load it elsewhere.

    Raises:
        InputError: no module of the model has one of the target names.
    """
    layers = range(first_adapted_layer(decoder, recipe), len(decoder.layers))
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=list(recipe.target_modules),
        layers_to_transform=list(layers),
        revision=revision,
    )
    torch.manual_seed(seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PEFT asks transformers an outdated question
            get_peft_model(decoder.model, config)
    except ValueError as error:
        names = ", ".join(recipe.target_modules)
        raise InputError(f"lora.target_modules: {hub_id} has no linear layer named {names}.") from error
    config.base_model_name_or_path = hub_id  # PEFT noted the local folder
    config.inference_mode = True
    if recipe.dropout == 0:
        for module in decoder.model.modules():
            if isinstance(module, Linear):
                cast("Any", module).forward = MethodType(_fused, module)  # Any: one instance, not the class
    return config


def adapter_weights(decoder: Decoder) -> Weights:
    """The adapter that was put into the decoder."""
    return {
        f"base_model.model.{name.replace('.default.weight', '.weight')}": weight
        for name, weight in decoder.model.named_parameters()
        if weight.requires_grad
    }


def _fused(module: Any, states: Tensor) -> Tensor:  # Any: PEFT's layer is not typed
    """The forward pass of one adapted linear layer."""
    base = module.base_layer
    down, up = module.lora_A["default"].weight, module.lora_B["default"].weight
    scale = module.scaling["default"]
    apply = cast("Any", _AdaptedLinear).apply  # Any: torch leaves it untyped
    return cast("Tensor", apply(states, base.weight, base.bias, down, up, scale))


class _AdaptedLinear(torch.autograd.Function):
    """y = x Wᵀ + b + s (x Aᵀ) Bᵀ with W and b frozen: no product with W's shape is ever made for a gradient of W."""

    @staticmethod
    def forward(  # noqa: PLR0917 -- torch passes them by place
        ctx: Any,  # Any: torch's context takes any attribute
        states: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        down: Tensor,
        up: Tensor,
        scale: float,
    ) -> Tensor:
        flat = states.flatten(0, -2)  # [tokens, in]
        inner = flat @ down.T  # [tokens, rank]
        out = functional.linear(flat, weight, bias)
        out.addmm_(inner, up.T, alpha=scale)
        ctx.save_for_backward(flat, weight, down, up, inner)
        ctx.scale, ctx.shape = scale, states.shape
        return out.view(*states.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # Any: as above
        flat, weight, down, up, inner = ctx.saved_tensors
        gradient = gradient.flatten(0, -2)  # [tokens, out]
        scaled = (gradient @ up).mul_(ctx.scale)  # [tokens, rank]
        to_states = None
        if ctx.needs_input_grad[0]:
            to_states = (gradient @ weight).addmm_(scaled, down).view(ctx.shape)
        return to_states, None, None, scaled.T @ flat, (gradient.T @ inner).mul_(ctx.scale), None
