"""Reads weights from safetensors files into float32 arrays, one after the other, without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import dequantize
from gguf.utility import SafetensorsLocal

from freehold.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32]


def read_tensors(file: Path) -> Iterator[tuple[str, FloatArray]]:
    """Names and values of all tensors, sorted by name; bfloat16 and float16 become float32.

    Raises:
        InputError: the file is missing, damaged, or holds numbers of another kind.
    """
    try:
        tensors = SafetensorsLocal(file).tensors
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is no safetensors file, or is damaged. Make it again.") from error
    size = file.stat().st_size
    for name, stored in tensors.items():
        if stored.data_range.offset + stored.data_range.size > size:
            raise InputError(f"{file} ends in the middle of tensor {name!r}. Make it again.")
        yield name, _as_float32(stored, file)


def _as_float32(stored: Any, file: Path) -> FloatArray:  # Any: gguf's record of a tensor on disk
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
