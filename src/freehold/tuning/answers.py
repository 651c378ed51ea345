"""What the loss asks of a pass: -log p of each answer token, and no logits anywhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from freehold.tuning.decoder import Decoder
    from freehold.tuning.packing import Packing

MOST_LOGITS = 2**27
"""Logits that stand in memory at once (512 MiB in float32); more are made in pieces, and made again going back."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one pass."""

    inputs: Tensor
    """[1, tokens]: token ids, or [1, tokens, width]: states that enter the first adapted layer."""
    packing: Packing
    places: Tensor
    """[answers]: where the next token belongs to an answer."""
    targets: Tensor
    """[answers]: that token."""
    owners: Tensor
    """[answers]: which row of the batch it belongs to, counted from 0."""
    first_layer: int
    """Lowest layer that learns. Token ids are carried up to it without a gradient."""

    @property
    def tokens(self) -> int:
        """Tokens that the pass computes."""
        return self.inputs.shape[1]


class AnswerLosses(nn.Module):
    """One pass over a batch. A module, so that it can be wrapped by what shares it among devices."""

    def __init__(self, decoder: Decoder) -> None:
        """Take over the decoder's weights as this module's own."""
        super().__init__()
        self.model = decoder.model
        self._decoder = decoder

    def forward(self, batch: Batch, *, distributions: bool = False) -> Tensor:
        """-log p of each answer token, float32, [answers]; or log p of every token, [answers, vocabulary]."""
        decoder, states = self._decoder, batch.inputs
        if not states.is_floating_point():
            states = decoder.embed(states)
            if batch.first_layer:
                with torch.no_grad():
                    states = decoder.run(states, batch.packing, last=batch.first_layer)
        states = decoder.run(states, batch.packing, first=batch.first_layer)[0][batch.places]
        if distributions:
            return decoder.logits(states).float().log_softmax(-1)
        return token_losses(*decoder.before_head(states), batch.targets)


def token_losses(states: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """-log p of each target, [tokens], from states as the head reads them, [tokens, width]."""
    chunk = max(1, MOST_LOGITS // weight.shape[0])
    if len(targets) <= chunk:
        return _losses(states, weight, bias, targets)
    apply = cast("Any", _InPieces).apply  # Any: torch leaves it untyped
    return cast("Tensor", apply(states, weight, bias, targets, chunk))


def _losses(states: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    logits = functional.linear(states, weight.to(states.dtype), None if bias is None else bias.to(states.dtype))
    return functional.cross_entropy(logits.float(), targets, reduction="none")


class _InPieces(torch.autograd.Function):
    """The same losses without ever holding all logits: each piece is made twice, forwards and backwards."""

    @staticmethod
    def forward(  # noqa: PLR0917 -- torch passes them by place
        ctx: Any,  # Any: torch's context takes any attribute
        states: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        chunk: int,
    ) -> Tensor:
        pieces = zip(torch.split(states, chunk), torch.split(targets, chunk), strict=True)
        losses = [_losses(piece, weight, bias, wanted) for piece, wanted in pieces]
        ctx.save_for_backward(states, weight, bias, targets)
        ctx.chunk = chunk
        kind = states.device.type
        ctx.casts = {
            "device_type": kind,
            "dtype": torch.get_autocast_dtype(kind),
            "enabled": torch.is_autocast_enabled(kind),
        }
        return torch.cat(losses)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # Any: as above
        states, weight, bias, targets = ctx.saved_tensors
        wanted = [ctx.needs_input_grad[place] for place in range(3)]
        leaves = [
            None if tensor is None else tensor.detach().requires_grad_(needed)
            for tensor, needed in zip((states, weight, bias), wanted, strict=True)
        ]
        sums = [
            None if tensor is None or not needed else torch.zeros_like(tensor)
            for tensor, needed in zip(leaves, wanted, strict=True)
        ]
        for begin in range(0, len(states), ctx.chunk):
            span = slice(begin, begin + ctx.chunk)
            piece = states[span].detach().requires_grad_(wanted[0])
            with torch.enable_grad(), torch.autocast(**ctx.casts):
                losses = _losses(piece, cast("Tensor", leaves[1]), leaves[2], targets[span])
            inputs = [tensor for tensor, needed in zip((piece, *leaves[1:]), wanted, strict=True) if needed]
            found = iter(torch.autograd.grad(losses, inputs, gradient[span]))
            for place, total in enumerate(sums):
                if total is not None:
                    (total[span] if place == 0 else total).add_(next(found))
        return sums[0], sums[1], sums[2], None, None
