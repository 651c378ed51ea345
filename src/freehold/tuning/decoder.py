"""A causal language model taken apart into embedding, layers and head, run on packed tokens."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM

from freehold.core.errors import InputError
from freehold.tuning.packing import ATTENTION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor, nn

    from freehold.tuning.packing import Memory, Packing

ARCHITECTURES = ("llama", "mistral", "qwen2", "qwen3")
"""Model types whose layers are plain: normalise, attend, add; normalise, widen, add; one head on top."""


class Decoder:
    """One loaded model in float32. Its weights do not learn unless someone adds adapters to `model`."""

    def __init__(self, folder: Path) -> None:
        """Load the model from a Hugging Face folder.

        Raises:
            InputError: the folder holds no model, or one of a type that is not supported.
        """
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            if config.model_type not in ARCHITECTURES:
                known = ", ".join(ARCHITECTURES)
                raise InputError(f"{folder}: model type {config.model_type!r} is not supported; known: {known}.")
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, attn_implementation=ATTENTION, local_files_only=True
            )
        except (OSError, ValueError) as error:
            raise InputError(f"{folder} holds no model that transformers can read: {error}") from error
        self.model = cast("nn.Module", model.eval().requires_grad_(requires_grad=False))
        inner = model.get_decoder()
        self._embedding, self._rotary, self._norm = inner.embed_tokens, inner.rotary_emb, inner.norm
        self.layers = cast("list[nn.Module]", list(inner.layers))
        self._head = model.get_output_embeddings()
        self.width = cast("int", config.hidden_size)
        self.longest = cast("int", config.max_position_embeddings)

    def embed(self, tokens: Tensor) -> Tensor:
        """[1, tokens] -> [1, tokens, width]."""
        return cast("Tensor", self._embedding(tokens))

    def run(
        self,
        states: Tensor,
        packing: Packing,
        *,
        first: int = 0,
        last: int | None = None,
        memory: Memory | None = None,
    ) -> Tensor:
        """States that enter layer `first` -> states that leave the layer before `last`, [1, tokens, width]."""
        position_embeddings = self._rotary(states, packing.positions)
        for layer in self.layers[first:last]:
            states = layer(states, position_embeddings=position_embeddings, packing=packing, memory=memory)
        return states

    def logits(self, states: Tensor, vocabulary: Tensor | None = None) -> Tensor:
        """[tokens, width] that left the last layer -> [tokens, vocabulary], all of it or these token ids alone."""
        states = self._norm(states)
        if vocabulary is None:
            return cast("Tensor", self._head(states))
        bias = None if self._head.bias is None else self._head.bias[vocabulary]
        return functional.linear(states, self._head.weight[vocabulary], bias)


@contextmanager
def processor(*, threads: int | None, products: str) -> Iterator[None]:
    """Set how this process computes while the block runs, and put it back afterwards.

    `products` is `float32` or `bfloat16`: the precision of matrix products. Tensors stay float32 either way.
    """
    matmul = cast("Any", torch.backends.mkldnn).matmul  # Any: torch makes this module at run time
    before = torch.get_num_threads(), matmul.fp32_precision
    torch.set_num_threads(threads or before[0])
    torch.set_flush_denormal(True)
    matmul.fp32_precision = "bf16" if products == "bfloat16" else "ieee"
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.set_flush_denormal(False)
        matmul.fp32_precision = before[1]


def has_fast_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 matrices in hardware (AMX)."""
    return bool(torch.cpu._is_amx_tile_supported())
