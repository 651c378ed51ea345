"""Calls for a break-even from a file: recorded one by one, or counted by window of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from freehold.cli.trace_file import first_row, is_windowed, read_trace
from freehold.cli.trace_rows import LeftOut, tells_lengths
from freehold.cli.volume_file import read_volumes
from freehold.core.errors import InputError
from freehold.economics.trace import MOST_TOKENS, Lengths, spread

if TYPE_CHECKING:
    from pathlib import Path

    from freehold.cli.trace_file import Duplicates
    from freehold.economics.trace import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceReading:
    """How the rows of a trace are taken."""

    sort: bool = False
    duplicates: Duplicates = "refuse"
    input_tokens: float | None = None
    """Of every call, where the file counts calls only."""
    output_tokens: float | None = None


def traced_calls(
    path: Path, reading: TraceReading, warnings: list[str], *, seed: int, left_out: LeftOut | None = None
) -> Trace:
    """Calls to rented models as they were recorded; of counted ones each at some moment of its window.

    Where the file does not tell how long calls are, all have the lengths that `reading` gives.

    Raises:
        InputError: the file cannot be read, or lengths are missing or told twice.
    """
    first = first_row(path)
    counts = is_windowed(first)
    lengths = _given_lengths(path, reading, tells=not counts and tells_lengths(first))
    if not counts:
        return read_trace(
            path, lengths=lengths, seed=seed, sort=reading.sort, duplicates=reading.duplicates, counting="rented",
            warnings=warnings, left_out=left_out,
        )  # fmt: skip
    assert lengths is not None
    volumes = read_volumes(path, sort=reading.sort)
    warnings.append("The file counts calls: all clients together, each call at some moment of its window.")
    return spread(volumes, lengths, seed=seed)


def _given_lengths(path: Path, reading: TraceReading, *, tells: bool) -> Lengths | None:
    """The lengths of every call, or None where the file tells them."""
    typed = (reading.input_tokens, reading.output_tokens)
    if tells:
        if typed != (None, None):
            raise InputError(
                f"{path} tells how long its calls are; --input-tokens and --output-tokens are for files that count "
                "calls by window or tell their arrivals alone. Leave one of them out."
            )
        return None
    tokens = [int(each) for each in typed if each is not None and 1 <= each <= MOST_TOKENS and each == each // 1]
    if len(tokens) != len(typed):
        raise InputError(
            f"{path} does not tell how long its calls are: give both --input-tokens and --output-tokens, "
            f"whole numbers from 1 to {MOST_TOKENS:,}."
        )
    return Lengths(input_tokens=np.array(tokens[:1]), output_tokens=np.array(tokens[1:]))
