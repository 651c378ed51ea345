"""Many identifiers at once: the same UUIDv7 that `core.identity.call_id` makes, and back, without a loop over rows."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_LENGTH = 36
_DASHES = (8, 13, 18, 23)
_DIGITS = np.array([place for place in range(_LENGTH) if place not in _DASHES])
_HEX = np.frombuffer("".join(f"{byte:02x}" for byte in range(256)).encode(), dtype=np.uint8).reshape(256, 2)
_NIBBLES = np.zeros(256, dtype=np.uint8)
for _digit in range(16):
    _NIBBLES[[ord(f"{_digit:x}"), ord(f"{_digit:X}")]] = _digit
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""An odd number: multiplying by it loses nothing."""


def call_ids(moments_us: NDArray[np.int64], contents: Iterable[bytes]) -> pa.Array:
    """Identifiers of calls from their moments and what tells them apart.

    Args:
        moments_us: Microseconds since 1970; below 0 is unknown.
        contents: UTF-8, one for each moment.

    Source: RFC 9562, section 5.7, and `core.identity.call_id`, whose rounding of milliseconds is kept.
    """
    digests = np.frombuffer(b"".join([sha256(content).digest()[:10] for content in contents]), dtype=np.uint8)
    digests = digests.reshape(-1, 10)
    milliseconds = np.where(moments_us < 0, 0, (moments_us / 1e6 * 1000).astype(np.int64))
    raw = np.empty((len(digests), 16), dtype=np.uint8)
    raw[:, :6] = milliseconds.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 2:]
    raw[:, 6] = 0x70 | digests[:, 0] >> 4
    raw[:, 7] = (digests[:, 0] & 0x0F) << 4 | digests[:, 1] >> 4
    raw[:, 8] = 0x80 | digests[:, 2] & 0x3F
    raw[:, 9:] = digests[:, 3:]
    return _texts(raw)


def _texts(raw: NDArray[np.uint8]) -> pa.Array:
    """[rows, 16] bytes as text with dashes."""
    rows = len(raw)
    text = np.full((rows, _LENGTH), ord("-"), dtype=np.uint8)
    text[:, _DIGITS] = _HEX[raw].reshape(rows, 32)
    offsets = np.arange(rows + 1, dtype=np.int32) * _LENGTH
    return pa.Array.from_buffers(pa.string(), rows, [None, pa.py_buffer(offsets), pa.py_buffer(text)])


def fingerprints_of(identifiers: pa.Array | pa.ChunkedArray) -> NDArray[np.uint64]:
    """64 bits that follow from each UUID: two that differ are the same once in 10^19."""
    if isinstance(identifiers, pa.ChunkedArray):
        parts = [fingerprints_of(chunk) for chunk in identifiers.chunks]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.uint64)
    rows = len(identifiers)
    if not rows:
        return np.empty(0, dtype=np.uint64)
    _, offsets, data = identifiers.buffers()
    first = identifiers.offset
    places = np.frombuffer(offsets, dtype=np.int32)[first : first + rows + 1]
    if not (np.diff(places) == _LENGTH).all():
        raise ValueError("an identifier of a call is no UUID")
    text = np.frombuffer(data, dtype=np.uint8)[places[0] : places[-1]].reshape(rows, _LENGTH)
    nibbles = _NIBBLES[text[:, _DIGITS]]
    raw = np.ascontiguousarray(nibbles[:, ::2] << 4 | nibbles[:, 1::2]).view(">u8").astype(np.uint64)
    mixed: NDArray[np.uint64] = raw[:, 0] * _SPREAD ^ raw[:, 1]
    return mixed


def hashes_of(contents: Iterable[bytes]) -> NDArray[np.uint64]:
    """64 bits that follow from each content."""
    return np.frombuffer(b"".join([sha256(content).digest()[:8] for content in contents]), dtype=np.uint64)
