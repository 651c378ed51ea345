"""Writes what llama.cpp reads: a LoRA adapter, or a whole model in 16, 8 or 4 bits a weight, as GGUF."""

from __future__ import annotations

import os
from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, Literal

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFType, GGUFWriter, LlamaFileType
from gguf.constants import Keys
from gguf.quants import quantize

from freehold.core.errors import FreeholdError, InputError
from freehold.serving._gguf_architectures import Network
from freehold.serving._gguf_tokenizer import read_json, read_tokenizer
from freehold.serving._safetensors import StoredWeights, weight_files
from freehold.tuning._files import FULL
from freehold.tuning.lora_files import check_plain_lora, factor_names, scale_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from freehold.core.progress import Progress
    from freehold.serving._safetensors import FloatArray, Weights

GgufType = Literal["f16", "q8_0", "q4_0"]
"""How the matrices of a model are stored."""
GGUF_TYPES: dict[GgufType, tuple[LlamaFileType, GGMLQuantizationType]] = {
    "f16": (LlamaFileType.MOSTLY_F16, GGMLQuantizationType.F16),
    "q8_0": (LlamaFileType.MOSTLY_Q8_0, GGMLQuantizationType.Q8_0),
    "q4_0": (LlamaFileType.MOSTLY_Q4_0, GGMLQuantizationType.Q4_0),
}
_OUTER = ("token_embd", "output")
"""The matrices at both ends: each token meets them once, and every answer is read off the last."""
_F32, _F16, _Q8_0 = GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.Q8_0


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
    because = "A GGUF adapter holds LoRA factors and nothing else."
    check_plain_lora(config, folder / "adapter_config.json", because=because)
    network = Network(base_folder)
    file = folder / "adapter_model.safetensors"
    factors = StoredWeights(file)
    alpha = float(config["lora_alpha"])
    with _gguf_file(target, network.architecture) as writer:
        writer.add_type(GGUFType.ADAPTER)
        writer.add_string(Keys.Adapter.TYPE, "lora")
        writer.add_float32(Keys.Adapter.LORA_ALPHA, alpha)
        for module, (a_name, b_name) in factor_names(factors.shapes, file).items():
            a = factors.read(a_name)
            rank = a.shape[0]
            name = network.name_of(module, folder)
            correction = scale_of(config, module, rank) * rank / alpha
            writer.add_tensor(f"{name}.weight.lora_a", a)
            b = network.rows_of(name, factors.read(b_name))
            writer.add_tensor(f"{name}.weight.lora_b", b * np.float32(correction))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    return target


def export_base(folder: Path, target: Path, *, kind: GgufType = "f16", progress: Progress | None = None) -> Path:
    """Write a Hugging Face folder as a GGUF file.

    Args:
        folder: config.json, model*.safetensors, tokenizer.json and a chat template.
        target: The file to write; an older one is replaced once the new one is whole.
        kind: How its matrices are stored.
        progress: Is told of the bytes.

    Raises:
        InputError: another architecture or tokenizer, or a tensor that is not known.
    """
    Network(folder)  # before the weights: a base that cannot be written is told at once
    return export_model(folder, StoredWeights(*weight_files(folder)), target, kind=kind, progress=progress)


def export_model(
    folder: Path, weights: Weights, target: Path, *, kind: GgufType = "f16", progress: Progress | None = None
) -> Path:
    """Write a model as a GGUF file, one tensor after the other: vectors F32, matrices as `kind` says.

    With `q4_0` the embedding and the output stay in 8 bits. A matrix whose rows are no multiple of 32 long stays F16.

    Args:
        folder: config.json, tokenizer.json and a chat template.
        weights: Its tensors, by Hugging Face's names.
        target: The file to write; an older one is replaced once the new one is whole.
        kind: How its matrices are stored.
        progress: Is told of the bytes.

    Raises:
        InputError: another architecture or tokenizer, or a tensor that is not known or does not fit into its kind.
    """
    network = Network(folder)
    tokenizer = read_tokenizer(folder, network.vocabulary)
    plan: list[tuple[str, GGMLQuantizationType, int, Callable[[], FloatArray]]] = []
    with _gguf_file(target, network.architecture) as writer:
        writer.add_type(GGUFType.MODEL)
        writer.add_file_type(GGUF_TYPES[kind][0])
        network.write_to(writer)
        tokenizer.write_to(writer)
        for full_name, shape in weights.shapes.items():
            module, _, part = full_name.rpartition(".")
            name = network.name_of(module, folder)
            if name == "output" and network.is_tied:
                continue
            plan.append((f"{name}.{part}", *_stored_as(name, shape, kind), _reader(network, weights, name, full_name)))
            writer.add_tensor_info(plan[-1][0], shape, np.dtype(np.float32), plan[-1][2], raw_dtype=plan[-1][1])
        if not network.is_tied and "output.weight" not in {each[0] for each in plan}:
            raise InputError(f"{folder} lacks lm_head.weight, which its config.json does not tie to the embedding.")
        factors = network.rope_factors()
        if factors is not None:
            plan.append(("rope_freqs.weight", _F32, factors.nbytes, lambda: factors))
            writer.add_tensor_info("rope_freqs.weight", factors.shape, factors.dtype, factors.nbytes)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        if progress is not None:
            progress.start(f"Writing {target.name}", sum(size for _, _, size, _ in plan), unit="bytes")
        for name, stored_as, size, read in plan:
            writer.write_tensor_data(_encoded(read(), stored_as, name, target))
            if progress is not None:
                progress.update(size)
        if progress is not None:
            progress.finish()
    return target


def _reader(network: Network, weights: Weights, name: str, full_name: str) -> Callable[[], FloatArray]:
    return lambda: network.rows_of(name, weights.read(full_name))


def _stored_as(name: str, shape: tuple[int, ...], kind: GgufType) -> tuple[GGMLQuantizationType, int]:
    """How a tensor is stored, and how many bytes that takes."""
    stored_as = GGUF_TYPES[kind][1] if len(shape) == 2 else _F32
    if stored_as == GGMLQuantizationType.Q4_0 and name in _OUTER:
        stored_as = _Q8_0
    block, block_bytes = GGML_QUANT_SIZES[stored_as]
    if shape[-1] % block:
        stored_as = _F16
        block, block_bytes = GGML_QUANT_SIZES[stored_as]
    return stored_as, prod(shape) // block * block_bytes


def _encoded(
    values: FloatArray, stored_as: GGMLQuantizationType, name: str, target: Path
) -> np.ndarray[tuple[int, ...], np.dtype[np.float16 | np.float32 | np.uint8]]:
    if not np.isfinite(values).all():
        raise InputError(f"{target.name}: tensor {name!r} holds numbers that are not finite. The model is damaged.")
    if stored_as == _F32:
        return np.ascontiguousarray(values)
    if stored_as != _F16:
        packed: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = quantize(values, stored_as)
        return packed
    if np.abs(values).max(initial=0.0) > np.finfo(np.float16).max:
        raise InputError(
            f"{target.name}: tensor {name!r} has weights beyond ±65,504, which 16 bits of this kind cannot hold. "
            "Choose q8_0."
        )
    return values.astype(np.float16)


@contextmanager
def _gguf_file(target: Path, architecture: str) -> Iterator[GGUFWriter]:
    """A writer whose file takes its name only when it is whole."""
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.partial")
    writer = GGUFWriter(unfinished, architecture)
    try:
        yield writer
        writer.close()
        unfinished.replace(target)
    except OSError as error:
        if error.errno is None or error.errno in FULL:  # numpy says how much it wrote, and not why it stopped
            raise FreeholdError(
                f"The disk of {target.parent} is full: {target.name} could not be written whole, and nothing of it was "
                "kept. Free some space and run the same command again."
            ) from error
        raise InputError(
            f"{target} cannot be written: {error.strerror}. Free some space or choose another folder."
        ) from error
    finally:
        writer.close()
        unfinished.unlink(missing_ok=True)
