"""Reads the fields of a Hugging Face `config.json`, which say the same thing under many names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freehold.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.economics.precision import Precision

MOST = 10**9
"""No width, vocabulary or context is larger; a larger number is a fault of the file."""

ENCODERS = frozenset(
    {"bert", "roberta", "xlm-roberta", "distilbert", "deberta", "deberta-v2", "electra", "albert", "modernbert"}
)
UNCOUNTED = {
    "attn_layer_period": "state-space layers (Jamba)",
    "hybrid_override_pattern": "state-space layers (Nemotron-H)",
    "attn_type_list": "lightning attention (MiniMax-Text-01)",
    "linear_attn_config": "delta attention (Kimi Linear)",
    "num_attention_groups": "multi-matrix attention (Step)",
    "ssm_cfg": "state-space layers (Mamba)",
    "state_size": "state-space layers (Mamba)",
    "mamba_d_state": "state-space layers (Mamba)",
}
"""Fields of layers whose weights and states are not counted here, and what such layers are."""

ATTENDING = ("full", "sliding", "chunked", "linear_attention", "attention", "global", "local")
"""Words of the kinds of layers that are."""


class Fields:
    """One configuration; every fault names the field and the file."""

    def __init__(self, record: Mapping[str, object], source: str) -> None:
        self._source = source
        if not isinstance(record, dict):
            raise InputError(f"{source} holds no JSON object; a Hugging Face config.json is one.")
        inner = record.get("text_config") or record.get("llm_config") or record.get("language_config")
        self._outer = record
        self._record = {**record, **inner} if isinstance(inner, dict) else record
        self.kind = str(self._record.get("model_type", ""))
        self._refuse_others()

    def _refuse_others(self) -> None:
        """A file that would be read wrongly in silence is refused: no decoder, or layers that nothing here counts."""
        if self.kind in ENCODERS or self._record.get("is_encoder_decoder") is True:
            raise InputError(
                f"{self._source}: {self.kind or 'it'} writes no text by itself. Give the file of a decoder."
            )
        found = [what for name, what in UNCOUNTED.items() if self._record.get(name)]
        kinds = self._record.get("layer_types")
        if isinstance(kinds, list):
            odd = sorted({str(kind) for kind in kinds if not any(word in str(kind) for word in ATTENDING)})
            found += [f"layers of type {', '.join(odd)}"] if odd else []
        if found:
            raise InputError(f"{self._source}: {found[0]} cannot be counted yet. Choose another model.")

    def count(self, *names: str, default: int | None = None, most: int = MOST) -> int:
        """The first of these fields that is there, a whole number from 0 to `most`."""
        for name in names:
            value = self._record.get(name)
            if isinstance(value, list) and value and all(each == value[0] for each in value):
                value = value[0]  # told for each layer
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:  # NaN fails
                raise InputError(f"{self._source}: {name} is {value!r}; it must be a whole number from 0 to {most:,}.")
            if value != int(value):
                raise InputError(f"{self._source}: {name} is {value!r}; it must be a whole number.")
            if value > 0 or default is not None:
                return int(value)
            raise InputError(f"{self._source}: {name} is 0; it must be 1 or more.")
        if default is None:
            raise InputError(
                f"{self._source} has no {' or '.join(names)}; a decoder's config.json has one. "
                "Give the file of a text model."
            )
        return default

    def flag(self, name: str, default: bool) -> bool:
        value = self._record.get(name, self._outer.get(name))
        return default if value is None else bool(value)

    def attention_kind(self, index: int, layers: int, *, has_window: bool) -> str:
        """How a layer attends: `full`, `window` or `linear`."""
        kinds = self._record.get("layer_types")
        if isinstance(kinds, list) and len(kinds) == layers:
            kind = str(kinds[index])
            if "linear" in kind:
                return "linear"
            return "window" if has_window and ("sliding" in kind or "chunked" in kind) else "full"
        every = self.count("full_attention_interval", default=0)
        if every:
            return "full" if (index + 1) % every == 0 else "linear"
        if not has_window or not self.flag("use_sliding_window", True):
            return "full"
        letters = self._record.get("sliding_window_pattern")
        if isinstance(letters, str) and letters and set(letters) <= {"L", "G"}:
            return "window" if letters[index % len(letters)] == "L" else "full"
        period = self.count("sliding_window_pattern", "_sliding_window_pattern", default=0) or self._known_period()
        return "window" if period == 0 or (index + 1) % period else "full"

    def _known_period(self) -> int:
        """Every how many layers one attends to all; 0 where all layers have a window."""
        return {"gemma3": 6, "gemma3_text": 6, "gemma2": 2, "gpt_oss": 2}.get(self.kind, 0)

    def has_experts(self, index: int, experts: int) -> bool:
        """Whether the feed-forward of this layer is a mixture."""
        if experts == 0 or index < self.count("first_k_dense_replace", "moe_layer_start_index", default=0):
            return False
        dense = self._record.get("mlp_only_layers")
        if isinstance(dense, list) and index in dense:
            return False
        step = self.count("decoder_sparse_step", "interleave_moe_layer_step", "moe_layer_freq", default=1) or 1
        return (index + 1) % step == 0

    def precision(self) -> Precision:
        """How the weights were published."""
        quantised = self._record.get("quantization_config", self._outer.get("quantization_config"))
        if not isinstance(quantised, dict):
            return "fp16" if self._dtype() == "float16" else "bf16"
        method = f"{quantised.get('quant_method', '')} {quantised.get('quant_algo', '')}".lower()
        if "fp4" in method or "fp4" in str(quantised.get("format", "")):
            return "fp4"
        if "fp8" in method:
            return "fp8"
        bits = quantised.get("bits", 4 if "awq" in method or "gptq" in method or quantised.get("load_in_4bit") else 8)
        if "compressed" in method:
            return "int4" if "'num_bits': 4" in str(quantised) else "fp8" if "float" in str(quantised) else "int8"
        return "int4" if bits == 4 else "int8"

    def _dtype(self) -> str:
        found = self._record.get("dtype") or self._record.get("torch_dtype") or self._outer.get("torch_dtype")
        return str(found).removeprefix("torch.")
