"""Reads weights from safetensors files into float32 arrays, one at a time, without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import dequantize
from gguf.utility import SafetensorsLocal

from freehold.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32]


class Weights(Protocol):
    """Named tensors that are read one at a time."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Name -> shape, in the order in which they are to be written."""
        ...

    def read(self, name: str) -> FloatArray:
        """The values of one."""
        ...


class StoredWeights:
    """The tensors of some safetensors files; bfloat16 and float16 become float32."""

    def __init__(self, *files: Path) -> None:
        """Read what the files say of themselves; values are read later.

        Raises:
            InputError: a file is missing or damaged.
        """
        self._tensors: dict[str, tuple[Path, Any]] = {}  # Any: gguf's record of a tensor on disk
        for file in files:
            try:
                tensors = SafetensorsLocal(file).tensors
            except OSError as error:
                raise InputError(f"{file} cannot be read: {error.strerror}.") from error
            except (ValueError, KeyError, TypeError, AttributeError, MemoryError) as error:
                raise InputError(f"{file} is no safetensors file, or is damaged. Make it again.") from error
            size = file.stat().st_size
            for name, stored in tensors.items():
                if stored.data_range.offset + stored.data_range.size > size:
                    raise InputError(f"{file} ends in the middle of tensor {name!r}. Make it again.")
                self._tensors[name] = file, stored
        self.shapes: Mapping[str, tuple[int, ...]] = {
            name: tuple(stored.shape) for name, (_, stored) in self._tensors.items()
        }

    def read(self, name: str) -> FloatArray:
        """The values of one tensor.

        Raises:
            InputError: its numbers are of a kind that is not known.
        """
        file, stored = self._tensors[name]
        data = stored.mmap_bytes()
        values: FloatArray
        match stored.dtype:
            case "F32":
                values = data.view(np.float32)
            case "F16":
                values = data.view(np.float16).astype(np.float32)
            case "BF16":
                values = dequantize(data, GGMLQuantizationType.BF16)
            case _:
                raise InputError(f"{file} holds {stored.dtype} numbers; F32, F16 and BF16 can be exported.")
        return values.reshape(stored.shape)


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a model's weights, sorted.

    Raises:
        InputError: there are none.
    """
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise InputError(f"{folder} has no model*.safetensors; the export reads weights as safetensors alone.")
    return files
