"""A base and its LoRA adapter as one set of weights, made and written one tensor at a time."""

from __future__ import annotations

import json
import os
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors import SafetensorError, safe_open

from freehold.core.errors import InputError
from freehold.tuning.lora_files import check_plain_lora, factor_names, scale_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from freehold.core.progress import Progress

WeightType = Literal["f32", "bf16", "f16"]
"""How the numbers of a merged model are stored."""
WEIGHT_TYPES: dict[WeightType, tuple[str, torch.dtype]] = {
    "f32": ("F32", torch.float32),
    "bf16": ("BF16", torch.bfloat16),
    "f16": ("F16", torch.float16),
}
"""In a safetensors file, and in torch."""
INDEX = "model.safetensors.index.json"
_ENDS = ("lm_head", "model.embed_tokens")
_HEADER_ALIGNMENT = 8
"""Bytes; safetensors aligns its header so that numbers can be mapped."""


class MergedWeights:
    """The weights of a model folder, with those of an adapter added, as PEFT's `merge_and_unload` has them in float32.

    Only one tensor and its two factors are in memory at a time.
    """

    def __init__(self, folder: Path, adapter: Path | None = None) -> None:
        """Look at the files; no weight is read yet.

        Args:
            folder: config.json and model*.safetensors.
            adapter: PEFT folder of a plain LoRA adapter of this model; None: the weights as they are.

        Raises:
            InputError: a file is missing or damaged, or the adapter is of another kind or does not fit.
        """
        self._files: dict[str, Any] = {}  # Any: safetensors' open files are not typed
        shapes: dict[str, tuple[int, ...]] = {}
        kinds: set[str] = set()
        for file in _weight_files(folder):
            opened = _open(file)
            for name in opened.keys():  # noqa: SIM118 -- an open file is no mapping
                stored = opened.get_slice(name)
                kinds.add(stored.get_dtype())
                shapes[name] = tuple(stored.get_shape())
                self._files[name] = opened
        if odd := sorted(kinds - {stored for stored, _ in WEIGHT_TYPES.values()}):
            raise InputError(f"{folder} holds {', '.join(odd)} numbers; F32, F16 and BF16 can be merged.")
        self.shapes: Mapping[str, tuple[int, ...]] = shapes
        """Name -> shape, in the order in which the folder has them."""
        self.stored_as: WeightType = next((kind for kind in WEIGHT_TYPES if WEIGHT_TYPES[kind][0] in kinds), "f32")
        """The widest kind of number in the folder."""
        self._factors: dict[str, tuple[str, str]] = {}
        if adapter is not None:
            self._add(adapter, folder)

    def read(self, name: str) -> Tensor:
        """One tensor in float32, merged if the adapter changes it."""
        weight: Tensor = self._files[name].get_tensor(name).to(torch.float32)
        pair = self._factors.get(name)
        if pair is not None:
            down, up = (self._adapter.get_tensor(factor).to(torch.float32) for factor in pair)
            weight = weight.clone()  # a float32 tensor may be the mapped file itself
            module = name.removesuffix(".weight")
            weight += (up @ down) * scale_of(self._config, module, down.shape[0])
        return weight

    def _add(self, adapter: Path, folder: Path) -> None:
        config_file, file = adapter / "adapter_config.json", adapter / "adapter_model.safetensors"
        try:
            self._config: dict[str, Any] = json.loads(config_file.read_text("utf-8"))  # Any: JSON
        except (OSError, ValueError) as error:
            raise InputError(f"{config_file} cannot be read: {error}") from error
        check_plain_lora(self._config, config_file, because="Only LoRA factors of linear layers can be merged.")
        self._adapter = _open(file)
        is_tied = bool(_config(folder).get("tie_word_embeddings"))
        for module, (a, b) in factor_names(self._adapter.keys(), file).items():
            if is_tied and module in _ENDS:
                raise InputError(
                    f"{file}: it adapts {module!r}, which this base shares between its first and its last layer. "
                    "Merging would change both; leave it out of lora.target_modules and tune again."
                )
            shape = self.shapes.get(f"{module}.weight")
            (rank, width), (height, other) = (self._adapter.get_slice(each).get_shape() for each in (a, b))
            if shape is None or shape != (height, width) or rank != other:
                found = "has no such layer" if shape is None else f"has one of {' x '.join(map(str, shape))}"
                raise InputError(
                    f"{file}: module {module!r} of {height} x {width} does not fit: the base {found}. "
                    "The adapter belongs to another base, or to another revision of it."
                )
            self._factors[f"{module}.weight"] = (a, b)


class MergedArrays:
    """The same weights as numpy arrays."""

    def __init__(self, weights: MergedWeights) -> None:
        """Wrap them."""
        self._weights = weights

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Name -> shape."""
        return self._weights.shapes

    def read(self, name: str) -> Any:  # Any: numpy's array of float32
        """One tensor."""
        return self._weights.read(name).numpy()


def write_merged(
    weights: MergedWeights, folder: Path, *, kind: WeightType, shard_bytes: int, progress: Progress
) -> list[Path]:
    """Write weights as safetensors files of about `shard_bytes` each, with an index if there are several.

    A file takes its name when it is whole; one that is there already, of the right size, is not written again.

    Args:
        weights: what to write.
        folder: that exists, and holds nothing else of this name.
        kind: how numbers are stored.
        shard_bytes: a file is closed before it grows beyond that; a larger tensor has one of its own.
        progress: is told of the bytes.

    Raises:
        InputError: a weight does not fit into the kind of number.
    """
    shards = _shards(weights.shapes, kind, shard_bytes)
    sizes = {name: _size(shape, kind) for name, shape in weights.shapes.items()}
    names = (
        ["model.safetensors"]
        if len(shards) == 1
        else [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    )
    progress.start("Writing merged weights", sum(sizes.values()), unit="bytes")
    for name, shard in zip(names, shards, strict=True):
        _write_shard(weights, folder / name, shard, kind, progress)
    progress.finish()
    if len(shards) > 1:
        index = {
            "metadata": {"total_size": sum(sizes.values())},
            "weight_map": {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard},
        }
        (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", "utf-8")
    return [folder / name for name in names]


def _write_shard(
    weights: MergedWeights, file: Path, tensors: Sequence[str], kind: WeightType, progress: Progress
) -> None:
    stored, dtype = WEIGHT_TYPES[kind]
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # Any: JSON
    end = 0
    for name in tensors:
        begin, end = end, end + _size(weights.shapes[name], kind)
        header[name] = {"dtype": stored, "shape": list(weights.shapes[name]), "data_offsets": [begin, end]}
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % _HEADER_ALIGNMENT)
    if file.exists() and file.stat().st_size == 8 + len(head) + end:
        progress.update(end)
        return
    draft = file.with_name(f".{file.name}.partial")
    with draft.open("wb") as out:
        out.write(len(head).to_bytes(8, "little") + head)
        for name in tensors:
            weight = weights.read(name)
            narrow = weight.to(dtype)
            if not torch.isfinite(narrow).all():
                reason = "cannot hold" if torch.isfinite(weight).all() else "should not hold: it is no number"
                raise InputError(f"{file.name}: tensor {name!r} has a weight that {kind} {reason}.")
            out.write(narrow.contiguous().flatten().view(torch.uint8).numpy().tobytes())
            progress.update(_size(weights.shapes[name], kind))
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)


def _shards(shapes: Mapping[str, tuple[int, ...]], kind: WeightType, most: int) -> list[list[str]]:
    shards: list[list[str]] = [[]]
    filled = 0
    for name, shape in shapes.items():
        size = _size(shape, kind)
        if shards[-1] and filled + size > most:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards


def _size(shape: Sequence[int], kind: WeightType) -> int:
    return prod(shape) * WEIGHT_TYPES[kind][1].itemsize


def _open(file: Path) -> Any:  # Any: safetensors' open files are not typed
    try:
        return safe_open(file, framework="pt")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}.") from error
    except SafetensorError as error:
        raise InputError(f"{file} is no safetensors file, or is damaged ({error}). Make it again.") from error


def _weight_files(folder: Path) -> list[Path]:
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise InputError(f"{folder} has no model*.safetensors; weights are read as safetensors alone.")
    return files


def _config(folder: Path) -> dict[str, Any]:  # Any: JSON
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))  # Any: as above
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / 'config.json'} cannot be read: {error}") from error
    return config
