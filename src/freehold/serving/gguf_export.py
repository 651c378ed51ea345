"""Writes what llama.cpp reads: a LoRA adapter or a whole base of the Llama architecture, as GGUF."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from gguf import GGUFType, GGUFWriter, LlamaFileType
from gguf.constants import Keys

from freehold.core.errors import InputError
from freehold.serving._gguf_tokenizer import read_bpe_tokenizer, read_json
from freehold.serving._safetensors import read_tensors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from freehold.serving._safetensors import FloatArray

_ARCHITECTURE = "llama"
_BLOCK_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_OUTER_NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)")
_FACTOR = re.compile(r"base_model\.model\.(.+)\.lora_(A|B)\.weight")


@dataclass(frozen=True, slots=True)
class _Shape:
    """Sizes of a Llama, from its config.json."""

    layers: int
    heads: int
    key_value_heads: int
    hidden: int
    head_size: int


def export_adapter(folder: Path, target: Path, *, base_folder: Path) -> Path:
    """Write the LoRA adapter of a PEFT folder as a GGUF file that llama.cpp applies to the base.

    llama.cpp scales the product of the factors by alpha / rank. Where PEFT scales a module otherwise
    (rank-stabilised LoRA, patterns of ranks or alphas), the difference goes into its B factor.

    Args:
        folder: Holds adapter_model.safetensors and adapter_config.json.
        target: The file to write; an older one is replaced once the new one is whole.
        base_folder: Hugging Face folder of the base, for its head counts.

    Raises:
        InputError: another architecture, or a kind of adapter that GGUF cannot carry.
    """
    config = read_json(folder / "adapter_config.json")
    _check_adapter(config, folder)
    shape = _read_shape(base_folder)
    factors = _read_factors(folder)
    alpha = float(config["lora_alpha"])
    with _gguf_file(target) as writer:
        writer.add_type(GGUFType.ADAPTER)
        writer.add_string(Keys.Adapter.TYPE, "lora")
        writer.add_float32(Keys.Adapter.LORA_ALPHA, alpha)
        for module, (a, b) in sorted(factors.items()):
            rank = a.shape[0]
            name = _gguf_name(module, folder)
            correction = _peft_scale(config, module, rank) * rank / alpha
            writer.add_tensor(f"{name}.weight.lora_a", a)
            writer.add_tensor(f"{name}.weight.lora_b", _llama_cpp_rows(name, b, shape) * np.float32(correction))
    return target


def export_base(folder: Path, target: Path) -> Path:
    """Write a Hugging Face folder of the Llama architecture as a GGUF file: matrices F16, vectors F32.

    Args:
        folder: config.json, model*.safetensors, tokenizer.json and a chat template.
        target: The file to write; an older one is replaced once the new one is whole.

    Raises:
        InputError: another architecture or tokenizer, or a tensor that is not known.
    """
    config = read_json(folder / "config.json")
    shape = _read_shape(folder)
    tokenizer = read_bpe_tokenizer(folder, config["vocab_size"])
    with _gguf_file(target) as writer:
        _add_sizes(writer, config, shape)
        tokenizer.write_to(writer)
        for file in _weight_files(folder):
            for full_name, stored in read_tensors(file):
                module, _, kind = full_name.rpartition(".")
                name = _gguf_name(module, folder)
                if name == "output" and config.get("tie_word_embeddings"):
                    continue
                values = _llama_cpp_rows(name, stored, shape)
                is_matrix = values.ndim == 2
                writer.add_tensor(f"{name}.{kind}", values.astype(np.float16) if is_matrix else values)
        frequencies = _rope_factors(config, shape, folder)
        if frequencies is not None:
            writer.add_tensor("rope_freqs.weight", frequencies)
    return target


def _read_shape(folder: Path) -> _Shape:
    config = read_json(folder / "config.json")
    architectures = config.get("architectures") or [config.get("model_type")]
    if architectures != ["LlamaForCausalLM"]:
        raise InputError(
            f"{folder / 'config.json'}: the architecture is {architectures[0]!r}; the CPU engine's export "
            "knows 'LlamaForCausalLM' alone. Choose such a base: SmolLM2 and Llama are."
        )
    heads = config["num_attention_heads"]
    return _Shape(
        layers=config["num_hidden_layers"],
        heads=heads,
        key_value_heads=config.get("num_key_value_heads") or heads,
        hidden=config["hidden_size"],
        head_size=config.get("head_dim") or config["hidden_size"] // heads,
    )


def _check_adapter(config: dict[str, Any], folder: Path) -> None:
    faults = []
    if config.get("peft_type") != "LORA":
        faults.append(f"peft_type is {config.get('peft_type')!r}, it must be 'LORA'")
    if not config.get("lora_alpha"):
        faults.append(f"lora_alpha is {config.get('lora_alpha')!r}, it must be above 0")
    if config.get("use_dora"):
        faults.append("use_dora is set")
    if config.get("bias", "none") != "none":
        faults.append(f"bias is {config['bias']!r}, it must be 'none'")
    if config.get("modules_to_save"):
        faults.append(f"modules_to_save names {config['modules_to_save']!r}, it must be empty")
    if faults:
        raise InputError(
            f"{folder / 'adapter_config.json'}: {'; '.join(faults)}. "
            "A GGUF adapter holds LoRA factors and nothing else."
        )


def _read_factors(folder: Path) -> dict[str, tuple[FloatArray, FloatArray]]:
    file = folder / "adapter_model.safetensors"
    found: dict[str, dict[str, FloatArray]] = {}
    for key, values in read_tensors(file):
        matched = _FACTOR.fullmatch(key)
        if matched is None:
            raise InputError(f"{file}: tensor {key!r} is no LoRA factor of a linear layer.")
        found.setdefault(matched[1], {})[matched[2]] = values
    if not found:
        raise InputError(f"{file}: it holds no LoRA factors.")
    for module, factors in found.items():
        if len(factors) != 2:
            raise InputError(f"{file}: module {module!r} lacks one of its two LoRA factors; it is damaged.")
    return {module: (factors["A"], factors["B"]) for module, factors in found.items()}


def _peft_scale(config: dict[str, Any], module: str, rank: int) -> float:
    """What PEFT multiplies B @ A by. A pattern's key is a regular expression for the end of a module name."""
    alpha = float(config["lora_alpha"])
    for pattern, value in (config.get("alpha_pattern") or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            alpha = float(value)
            break
    return alpha / (sqrt(rank) if config.get("use_rslora") else rank)


def _gguf_name(module: str, folder: Path) -> str:
    """`model.layers.3.self_attn.q_proj` -> `blk.3.attn_q`."""
    in_layer = _LAYER.fullmatch(module)
    if in_layer is not None and in_layer[2] in _BLOCK_NAMES:
        return f"blk.{in_layer[1]}.{_BLOCK_NAMES[in_layer[2]]}"
    if module in _OUTER_NAMES:
        return _OUTER_NAMES[module]
    raise InputError(f"{folder}: module {module!r} has no place in llama.cpp's Llama.")


def _llama_cpp_rows(name: str, values: FloatArray, shape: _Shape) -> FloatArray:
    """Rows of q and k in llama.cpp's order.

    Its rotary embedding turns neighbouring rows of a head, Hugging Face's turns row i with row i + half.
    """
    heads = {"attn_q": shape.heads, "attn_k": shape.key_value_heads}.get(name.rpartition(".")[2])
    if heads is None:
        return values
    by_half = values.reshape(heads, 2, shape.head_size // 2, *values.shape[1:])
    return np.ascontiguousarray(by_half.swapaxes(1, 2).reshape(values.shape))


def _weight_files(folder: Path) -> list[Path]:
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise InputError(f"{folder} has no model*.safetensors; the export reads weights as safetensors alone.")
    return files


def _add_sizes(writer: GGUFWriter, config: dict[str, Any], shape: _Shape) -> None:
    writer.add_type(GGUFType.MODEL)
    writer.add_file_type(LlamaFileType.MOSTLY_F16)
    writer.add_block_count(shape.layers)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(shape.hidden)
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.key_value_heads)
    writer.add_key_length(shape.head_size)
    writer.add_value_length(shape.head_size)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(shape.head_size)
    writer.add_rope_freq_base(_rope(config)["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])


def _rope(config: dict[str, Any]) -> dict[str, Any]:
    """Settings of the rotary embedding; older config files keep the base frequency outside."""
    settings = {"rope_theta": config.get("rope_theta", 10000.0), "rope_type": "default"}
    settings.update(config.get("rope_scaling") or {})
    settings.update(config.get("rope_parameters") or {})
    return settings


def _rope_factors(config: dict[str, Any], shape: _Shape, folder: Path) -> FloatArray | None:
    """What each rotary frequency is divided by; None when frequencies are as they were born.

    Short wavelengths stay, long ones are stretched by `factor`, those between are blended.

    Source: the `llama3` rule of Hugging Face transformers, modeling_rope_utils.
    """
    rope = _rope(config)
    if rope["rope_type"] == "default":
        return None
    if rope["rope_type"] != "llama3":
        raise InputError(f"{folder / 'config.json'}: rope_type {rope['rope_type']!r} cannot be exported; 'llama3' can.")
    exponents = np.arange(0, shape.head_size, 2, dtype=np.float64) / shape.head_size
    wavelengths = 2 * np.pi * rope["rope_theta"] ** exponents
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    share = (rope["original_max_position_embeddings"] / wavelengths - low) / (high - low)
    kept = np.clip(share, 0.0, 1.0)
    divisors: FloatArray = (1 / (kept + (1 - kept) / rope["factor"])).astype(np.float32)
    return divisors


@contextmanager
def _gguf_file(target: Path) -> Iterator[GGUFWriter]:
    """A writer whose file takes its name only when it is whole."""
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.partial")
    writer = GGUFWriter(unfinished, _ARCHITECTURE)
    try:
        yield writer
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        unfinished.replace(target)
    except OSError as error:
        raise InputError(
            f"{target} cannot be written: {error.strerror}. Free some space or choose another folder."
        ) from error
    finally:
        writer.close()
        unfinished.unlink(missing_ok=True)
