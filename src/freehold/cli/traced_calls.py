"""Calls for a break-even from a file: recorded one by one, or counted by window of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from freehold.cli.trace_file import first_row, is_windowed, read_trace
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


def traced_calls(path: Path, reading: TraceReading, warnings: list[str], *, seed: int) -> Trace:
    """Calls as they were recorded; of counted ones each at some moment of its window, all of the lengths given.

    Raises:
        InputError: the file cannot be read, or lengths are missing or told twice.
    """
    typed = (reading.input_tokens, reading.output_tokens)
    if not is_windowed(first_row(path)):
        if typed != (None, None):
            raise InputError(
                f"{path} tells how long its calls are; --input-tokens and --output-tokens are for files that count "
                "calls by window. Leave one of them out."
            )
        return read_trace(path, sort=reading.sort, duplicates=reading.duplicates, warnings=warnings)
    tokens = [int(each) for each in typed if each is not None and 1 <= each <= MOST_TOKENS and each == each // 1]
    if len(tokens) != len(typed):
        raise InputError(
            f"{path} counts calls by window of time and tells no lengths: give both --input-tokens and "
            f"--output-tokens, whole numbers from 1 to {MOST_TOKENS:,}."
        )
    volumes = read_volumes(path, sort=reading.sort)
    warnings.append("The file counts calls: all clients together, each call at some moment of its window.")
    lengths = Lengths(input_tokens=np.array(tokens[:1]), output_tokens=np.array(tokens[1:]))
    return spread(volumes, lengths, seed=seed)
