"""What llama.cpp must know of a network: its sizes, the names of its tensors, and how it wants their rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, get_tensor_name_map

from freehold.core.errors import InputError
from freehold.serving._gguf_tokenizer import read_json

if TYPE_CHECKING:
    from pathlib import Path

    from gguf import GGUFWriter

    from freehold.serving._safetensors import FloatArray

_GEMMA_PERIOD = 6
"""Of Gemma 3's layers, each sixth looks at everything; llama.cpp takes it as given."""
_GEMMA_LOCAL_THETA = 10000.0
"""Base frequency of the others; as above."""


@dataclass(frozen=True, slots=True)
class _Family:
    """How one family of networks differs from the others."""

    title: str
    arch: MODEL_ARCH
    pairs_neighbours: bool = False
    """llama.cpp's rotary embedding turns neighbouring rows of a head, Hugging Face's row i with row i + half."""
    norm_offset: float = 0.0
    """What the network adds to the weights of its norms before it uses them; llama.cpp wants it added."""


_LLAMA = _Family("Llama", MODEL_ARCH.LLAMA, pairs_neighbours=True)
FAMILIES = {
    "LlamaForCausalLM": _LLAMA,
    "MistralForCausalLM": _LLAMA,
    "Qwen2ForCausalLM": _Family("Qwen 2", MODEL_ARCH.QWEN2),
    "Qwen3ForCausalLM": _Family("Qwen 3", MODEL_ARCH.QWEN3),
    "Gemma3ForCausalLM": _Family("Gemma 3", MODEL_ARCH.GEMMA3, norm_offset=1.0),
}
"""Architectures of Hugging Face that can be written: those whose answers tests compare with PyTorch's."""


class Network:
    """One network of a family that can be written, as its config.json describes it."""

    def __init__(self, folder: Path) -> None:
        """Read the sizes.

        Raises:
            InputError: another architecture, or a variant of a known one that llama.cpp would compute otherwise.
        """
        self._file = folder / "config.json"
        self.config = read_json(self._file)
        found = self.config.get("architectures") or [self.config.get("model_type")]
        if len(found) != 1 or found[0] not in FAMILIES:
            raise InputError(
                f"{self._file}: the architecture is {found[0]!r}; the CPU engine's export "
                f"knows {', '.join(map(repr, FAMILIES))}. Choose such a base: SmolLM2, Llama and Qwen 3 are."
            )
        self._family = FAMILIES[found[0]]
        self.architecture = MODEL_ARCH_NAMES[self._family.arch]
        self.title = self._family.title
        try:
            self.layers: int = self.config["num_hidden_layers"]
            self._heads: int = self.config["num_attention_heads"]
            self._hidden: int = self.config["hidden_size"]
            self.vocabulary: int = self.config["vocab_size"]
        except KeyError as error:
            raise InputError(f"{self._file} lacks {error}; it describes no model that can be written.") from error
        self._kv_heads: int = self.config.get("num_key_value_heads") or self._heads
        self._head_size: int = self.config.get("head_dim") or self._hidden // self._heads
        self.is_tied = bool(self.config.get("tie_word_embeddings", self._family.arch is MODEL_ARCH.GEMMA3))
        self._names = get_tensor_name_map(self._family.arch, self.layers)
        self._check()

    def name_of(self, module: str, folder: Path) -> str:
        """`model.layers.3.self_attn.q_proj` -> `blk.3.attn_q`.

        Raises:
            InputError: llama.cpp has no such tensor in this architecture.
        """
        name: str | None = self._names.get_name(module)
        if name is None:
            raise InputError(f"{folder}: module {module!r} has no place in llama.cpp's {self.title}.")
        return name

    def rows_of(self, name: str, values: FloatArray) -> FloatArray:
        """A tensor, or the B factor of an adapter for it, as llama.cpp wants it."""
        kind = name.rpartition(".")[2]
        if self._family.norm_offset and kind.endswith("norm"):
            return values + np.float32(self._family.norm_offset)
        heads = {"attn_q": self._heads, "attn_k": self._kv_heads}.get(kind)
        if heads is None or not self._family.pairs_neighbours:
            return values
        by_half = values.reshape(heads, 2, self._head_size // 2, *values.shape[1:])
        return np.ascontiguousarray(by_half.swapaxes(1, 2).reshape(values.shape))

    def write_to(self, writer: GGUFWriter) -> None:
        """Add the sizes to the header of a GGUF file."""
        config = self.config
        writer.add_block_count(self.layers)
        writer.add_context_length(config["max_position_embeddings"])
        writer.add_embedding_length(self._hidden)
        writer.add_feed_forward_length(config["intermediate_size"])
        writer.add_head_count(self._heads)
        writer.add_head_count_kv(self._kv_heads)
        writer.add_key_length(self._head_size)
        writer.add_value_length(self._head_size)
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
        writer.add_rope_dimension_count(self._head_size)
        writer.add_rope_freq_base(self._rope()["rope_theta"])
        if self._family.arch is MODEL_ARCH.GEMMA3:
            writer.add_sliding_window(config["sliding_window"])
        writer.add_vocab_size(self.vocabulary)

    def rope_factors(self) -> FloatArray | None:
        """What each rotary frequency is divided by; None when frequencies are as they were born.

        Short wavelengths stay, long ones are stretched by `factor`, those between are blended.

        Source: the `llama3` rule of Hugging Face transformers, modeling_rope_utils.
        """
        rope = self._rope()
        if rope["rope_type"] == "default":
            return None
        exponents = np.arange(0, self._head_size, 2, dtype=np.float64) / self._head_size
        wavelengths = 2 * np.pi * rope["rope_theta"] ** exponents
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        share = (rope["original_max_position_embeddings"] / wavelengths - low) / (high - low)
        kept = np.clip(share, 0.0, 1.0)
        divisors: FloatArray = (1 / (kept + (1 - kept) / rope["factor"])).astype(np.float32)
        return divisors

    def _rope(self) -> dict[str, Any]:  # Any: JSON
        """Settings of the rotary embedding; older config files keep the base frequency outside."""
        settings = {"rope_theta": self.config.get("rope_theta", 10000.0), "rope_type": "default"}
        settings.update(self.config.get("rope_scaling") or {})
        given = self.config.get("rope_parameters") or {}
        settings.update(given.get("full_attention", given))
        return settings

    def _check(self) -> None:
        rope = self._rope()
        allowed = ("default", "llama3") if self._family.arch is MODEL_ARCH.LLAMA else ("default",)
        if rope["rope_type"] not in allowed:
            known = " and ".join(repr(name) for name in allowed if name != "default") or "'default'"
            raise InputError(f"{self._file}: rope_type {rope['rope_type']!r} cannot be exported; {known} can.")
        if self.config.get("quantization_config"):
            raise InputError(
                f"{self._file}: the weights are packed already (quantization_config). Name the model that they were "
                "made from as the base."
            )
        faults = self._gemma_faults() if self._family.arch is MODEL_ARCH.GEMMA3 else self._window_faults()
        if faults:
            raise InputError(f"{self._file}: {'; '.join(faults)}. llama.cpp would compute something else.")

    def _window_faults(self) -> list[str]:
        window = self.config.get("sliding_window")
        kinds = self.config.get("layer_types")
        is_used = "sliding_attention" in kinds if kinds else self.config.get("use_sliding_window", True)
        return [f"sliding_window is {window}, it must be null"] if window is not None and is_used else []

    def _gemma_faults(self) -> list[str]:
        config, faults = self.config, []
        expected = [
            "full_attention" if (layer + 1) % _GEMMA_PERIOD == 0 else "sliding_attention"
            for layer in range(self.layers)
        ]
        if config.get("layer_types", expected) != expected or config.get("sliding_window_pattern", 6) != _GEMMA_PERIOD:
            faults.append(f"not just each {_GEMMA_PERIOD}th layer has full attention")
        parameters = config.get("rope_parameters") or {}
        local = parameters.get("sliding_attention", {}).get("rope_theta", config.get("rope_local_base_freq"))
        if local not in (None, _GEMMA_LOCAL_THETA):
            faults.append(f"rope_theta of sliding layers is {local}, it must be {_GEMMA_LOCAL_THETA:g}")
        if config.get("query_pre_attn_scalar", self._head_size) != self._head_size:
            faults.append(f"query_pre_attn_scalar is not head_dim, {self._head_size}")
        for key in ("attn_logit_softcapping", "final_logit_softcapping", "use_bidirectional_attention"):
            if config.get(key):
                faults.append(f"{key} is set")
        return faults
