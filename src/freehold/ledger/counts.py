"""Counts how often numbers came before, for more of them than memory should hold: sorted runs on the disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_Number = TypeVar("_Number", np.uint64, np.int64)

_ON_DISK = 1 << 17
"""Longer runs leave memory."""
_LONGEST_RUN = 1 << 21
"""Two runs of this length stay two: merging them would need memory for both."""


@dataclass(frozen=True, slots=True)
class _Run:
    numbers: NDArray[np.uint64]
    """Sorted, each once."""
    counts: NDArray[np.int64]


class Counts:
    """How often each number was seen. Exact; the memory it needs does not grow with how many there are."""

    def __init__(self, folder: Path) -> None:
        """`folder` takes the runs; whoever made it removes it."""
        self._folder = folder
        self._runs: list[_Run] = []
        self._written = 0

    def add(self, numbers: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Count these, and tell for each how often it came before, here or in earlier ones."""
        if not len(numbers):
            return np.empty(0, dtype=np.int64)
        order = np.argsort(numbers, kind="stable")
        ordered = numbers[order]
        starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        distinct = ordered[starts]
        counts = np.diff(np.append(starts, len(ordered)))
        rank = np.arange(len(ordered)) - np.repeat(starts, counts)
        before = np.empty(len(ordered), dtype=np.int64)
        before[order] = rank + np.repeat(self._counted(distinct), counts)
        self._runs.append(_Run(distinct, counts))
        while len(self._runs) > 1 and self._should_merge():
            last = self._runs.pop()
            self._runs[-1] = self._merged(self._runs[-1], last)
        return before

    def _counted(self, distinct: NDArray[np.uint64]) -> NDArray[np.int64]:
        found = np.zeros(len(distinct), dtype=np.int64)
        for run in self._runs:
            places = np.minimum(np.searchsorted(run.numbers, distinct), len(run.numbers) - 1)
            found += np.where(run.numbers[places] == distinct, run.counts[places], 0)
        return found

    def _should_merge(self) -> bool:
        older, newer = len(self._runs[-2].numbers), len(self._runs[-1].numbers)
        return older <= 2 * newer and older + newer <= _LONGEST_RUN

    def _merged(self, one: _Run, other: _Run) -> _Run:
        numbers = np.concatenate([one.numbers, other.numbers])
        order = np.argsort(numbers, kind="stable")
        numbers = numbers[order]
        counts = np.concatenate([one.counts, other.counts])[order]
        starts = np.flatnonzero(np.concatenate([[True], numbers[1:] != numbers[:-1]]))
        run = _Run(numbers[starts], np.add.reduceat(counts, starts))
        return self._on_disk(run) if len(run.numbers) > _ON_DISK else run

    def _on_disk(self, run: _Run) -> _Run:
        return _Run(self._kept(run.numbers), self._kept(run.counts))

    def _kept(self, values: NDArray[_Number]) -> NDArray[_Number]:
        self._written += 1
        path = self._folder / f"run-{self._written}.npy"
        np.save(path, values)
        mapped: NDArray[_Number] = np.load(path, mmap_mode="r")
        path.unlink()  # the mapping holds it until it is let go
        return mapped
