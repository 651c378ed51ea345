"""A causal language model taken apart into embedding, layers and head, run on packed tokens."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors import SafetensorError
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig

from freehold.core.errors import InputError, MissingExtra
from freehold.tuning.packing import ATTENTION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor, nn

    from freehold.tuning.packing import Memory, Packing
    from freehold.tuning.recipe import Quantization

ARCHITECTURES = ("llama", "mistral", "qwen2", "qwen3", "gemma3_text", "gemma3")
"""Model types whose layers take states, rotary positions and a packing, and hand on states; one head on top."""
CPU = torch.device("cpu")

# In bfloat16 a processor compiles each product for its shape, and two caches keep the last 1,024. Packed batches hardly
# ever have the same shape twice, so most of that is a gigabyte that nobody reads; the layers of one step share some 40.
# Both variables are read at the first product.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
os.environ.setdefault("LRU_CACHE_CAPACITY", "64")

logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)  # recommends a package nobody here needs


class Decoder:
    """One loaded model. Its weights do not learn unless someone adds adapters to `model` or lets them."""

    def __init__(
        self,
        folder: Path,
        *,
        device: torch.device = CPU,
        dtype: torch.dtype = torch.float32,
        quantization: Quantization | None = None,
    ) -> None:
        """Load the model from a Hugging Face folder.

        Args:
            folder: config and safetensors.
            device: where the weights shall lie.
            dtype: of the weights; with `quantization` of those that stay whole, and of the products.
            quantization: pack the linear layers of the blocks into 4 bits; None: leave them whole.

        Raises:
            InputError: the folder holds no model, or one of a type that is not supported.
            MissingExtra: 4 bits are wanted and bitsandbytes is not there.
        """
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            if config.model_type not in ARCHITECTURES:
                known = ", ".join(ARCHITECTURES)
                raise InputError(f"{folder}: model type {config.model_type!r} is not supported; known: {known}.")
            model = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=dtype,
                attn_implementation=ATTENTION,
                local_files_only=True,
                **_loading(device, dtype, quantization),
            )
        except (OSError, ValueError, SafetensorError) as error:
            reason = (str(error).splitlines() or [""])[0].rstrip(".")
            raise InputError(
                f"{folder} holds no model that transformers can read: {reason}. Get the folder anew, or name another "
                "base."
            ) from error
        self.model = cast("nn.Module", model.eval().requires_grad_(requires_grad=False))
        if quantization is None:
            self.model.to(device)
        text = config.get_text_config()
        inner = model.get_decoder()
        self._embedding, self._rotary, self._norm = inner.embed_tokens, inner.rotary_emb, inner.norm
        self.layers = cast("list[nn.Module]", list(inner.layers))
        self._head = model.get_output_embeddings()
        self._kinds = _rotary_kinds(text, len(self.layers))
        self.other_senses = r".*(vision|audio|multi_modal).*" if text is not config else None
        """Names of modules that do not read text, as a pattern; None: there are none."""
        self.tied: tuple[str, ...] = tuple(getattr(model, "_tied_weights_keys", None) or ())
        """Names of weights that are another one's by another name, where the model ties them."""
        if not text.tie_word_embeddings:
            self.tied = ()
        self._text = (inner, self._head)
        self.embeddings = cast("int", self._embedding.weight.shape[0])
        """Tokens that the model has states for."""
        self.device = device
        self.width = cast("int", text.hidden_size)
        self.vocabulary = cast("int", text.vocab_size)
        self.longest = cast("int", text.max_position_embeddings)
        self.window: int | None = _window(text)
        """The shortest way back that some layer looks; None: all layers see everything before them."""
        self.recomputes = False
        """Whether layers keep only their input for the backward pass and compute the rest again."""

    def let_all_learn(self) -> None:
        """Every weight that reads or writes text gets a gradient from now on."""
        for part in self._text:
            part.requires_grad_(requires_grad=True)

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
        layers = self.layers[first:last]
        rotary = {
            kind: self._rotary(states, packing.positions, *((kind,) if kind else ()))
            for kind in dict.fromkeys(self._kinds[first:last])
        }
        for layer, kind in zip(layers, self._kinds[first:last], strict=True):
            known = {"position_embeddings": rotary[kind], "packing": packing, "memory": memory}
            if self.recomputes and torch.is_grad_enabled():
                states = cast("Tensor", checkpoint(layer, states, use_reentrant=False, **known))
            else:
                states = layer(states, **known)
        return states

    def logits(self, states: Tensor, vocabulary: Tensor | None = None) -> Tensor:
        """[tokens, width] that left the last layer -> [tokens, vocabulary], all of it or these token ids alone."""
        states = self._norm(states)
        if vocabulary is None:
            return cast("Tensor", self._head(states))
        bias = None if self._head.bias is None else self._head.bias[vocabulary]
        return functional.linear(states, self._head.weight[vocabulary], bias)

    def before_head(self, states: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """States as the head reads them, and the head's weight and bias, for a loss that goes on in pieces."""
        return self._norm(states), self._head.weight, self._head.bias


def _loading(device: torch.device, dtype: torch.dtype, quantization: Quantization | None) -> dict[str, Any]:
    """What transformers needs to know to pack weights while it reads them. Any: its keyword arguments."""
    if quantization is None:
        return {}
    try:
        import bitsandbytes  # noqa: F401, PLC0415 -- an extra of its own: it is loaded for 4 bits alone
    except ImportError as error:
        raise MissingExtra("Method qlora", "bitsandbytes", "tune") from error
    packed = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantization.kind,
        bnb_4bit_use_double_quant=quantization.double,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_quant_storage=dtype,
    )
    return {"quantization_config": packed, "device_map": {"": device}}


def _rotary_kinds(config: Any, layers: int) -> list[str | None]:  # Any: transformers' config
    """Which rotary positions each layer takes; None where the model has one kind only."""
    parameters = getattr(config, "rope_parameters", None) or {}
    kinds = getattr(config, "layer_types", None)
    if kinds and all(isinstance(parameters.get(kind), dict) for kind in set(kinds)):
        return list(kinds[:layers])
    return [None] * layers


def _window(config: Any) -> int | None:  # Any: transformers' config
    """Length of the sliding windows that the attention of some layer has."""
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if window is None or (kinds and "sliding_attention" not in kinds):
        return None
    return int(window)


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
