"""LoRA adapters by PEFT, with the forward and backward pass of a plain one fused into few matrix products."""

from __future__ import annotations

import json
import warnings
from types import MethodType
from typing import TYPE_CHECKING, Any, cast

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from freehold.core.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from freehold.tuning.decoder import Decoder
    from freehold.tuning.recipe import Lora

Weights = dict[str, nn.Parameter]
"""Weights that learn, by the names that they have in a file."""
PREFIX = "base_model.model."
"""What PEFT puts before the names of an adapter's weights."""


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
        exclude_modules=decoder.other_senses,
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
            if isinstance(module, LoraLayer) and isinstance(cast("Any", module).base_layer, nn.Linear):
                _fuse(cast("Any", module))
    return config


def learning_weights(decoder: Decoder, *, prefix: str = "") -> Weights:
    """The weights of the decoder that learn: an adapter that was put into it, or all that it reads text with."""
    return {
        f"{prefix}{name.replace('.default.weight', '.weight')}": weight
        for name, weight in decoder.model.named_parameters()
        if weight.requires_grad
    }


def start_from(decoder: Decoder, folder: Path, recipe: Lora) -> None:
    """Let the decoder's fresh adapter begin as the one in a folder.

    Raises:
        InputError: the folder holds no adapter, or one of another shape.
    """
    try:
        config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
        found = load_file(folder / "adapter_model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"dpo.start: {folder.name} holds no adapter that can be read: {error}") from error
    weights = learning_weights(decoder, prefix=PREFIX)
    same = (config.get("r"), config.get("lora_alpha")) == (recipe.rank, recipe.alpha)
    if not same or {name: weight.shape for name, weight in weights.items()} != {
        name: tensor.shape for name, tensor in found.items()
    }:
        raise InputError(
            f"dpo.start: the adapter that shall learn on has rank {config.get('r')}, alpha {config.get('lora_alpha')} "
            f"and {len(found)} matrices; the recipe wants rank {recipe.rank}, alpha {recipe.alpha} and {len(weights)}. "
            "Write the lora section of its own recipe.yaml into this recipe."
        )
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(found[name])


def _fuse(module: Any) -> None:  # Any: PEFT's layer is not typed
    """Give one adapted layer the fused pass; its 4-bit weight, if it has one, becomes a plain tensor with a key."""
    base = module.base_layer
    key = getattr(base.weight, "quant_state", None)
    if key is not None:
        packed = base.weight.data
        base.quant_key = key
        base.weight = nn.Parameter(packed.as_subclass(torch.Tensor), requires_grad=False)
    module.forward = MethodType(_fused, module)  # one instance, not the class


def _fused(module: Any, states: Tensor) -> Tensor:  # Any: PEFT's layer is not typed
    """The forward pass of one adapted linear layer."""
    base = module.base_layer
    down, up = module.lora_A["default"].weight, module.lora_B["default"].weight
    scale = module.scaling["default"]
    apply = cast("Any", _AdaptedLinear).apply  # Any: torch leaves it untyped
    return cast("Tensor", apply(states, base.weight, base.bias, down, up, scale, getattr(base, "quant_key", None)))


def _opened(weight: Tensor, key: Any) -> Tensor:  # Any: bitsandbytes' state of a packed tensor
    """The weight itself, unpacked for one product where it lies in 4 bits."""
    if key is None:
        return weight
    from bitsandbytes.functional import dequantize_4bit  # noqa: PLC0415 -- loaded for 4 bits alone

    return dequantize_4bit(weight, key)


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
        key: Any,  # Any: as above
    ) -> Tensor:
        flat = states.flatten(0, -2)  # [tokens, in]
        down, up = down.to(flat.dtype), up.to(flat.dtype)
        inner = flat @ down.T  # [tokens, rank]
        out = functional.linear(flat, _opened(weight, key).to(flat.dtype), bias)
        out.addmm_(inner, up.T, alpha=scale)
        ctx.save_for_backward(flat, weight, down, up, inner)
        ctx.scale, ctx.shape, ctx.key = scale, states.shape, key
        return out.view(*states.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # Any: as above
        flat, weight, down, up, inner = ctx.saved_tensors
        gradient = gradient.flatten(0, -2)  # [tokens, out]
        scaled = (gradient @ up).mul_(ctx.scale)  # [tokens, rank]
        to_states = None
        if ctx.needs_input_grad[0]:
            opened = _opened(weight, ctx.key).to(gradient.dtype)
            to_states = (gradient @ opened).addmm_(scaled, down).view(ctx.shape)
        return to_states, None, None, scaled.T @ flat, (gradient.T @ inner).mul_(ctx.scale), None, None
