"""Which ids the files of a day hold, kept between the changes of one import: only what came since is read."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from freehold.core.errors import InputError
from freehold.ledger.counts import Counts
from freehold.ledger.identifiers import fingerprints_of
from freehold.ledger.publish import reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_MOST_REMEMBERED = 4_000_000
"""Ids of stored days that are kept at hand."""


@dataclass(slots=True)
class _Day:
    files: set[str] = field(default_factory=set)
    marks: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, dtype=np.uint64))
    """Of all rows of these files, sorted."""


class StoredMarks:
    """The ids of a ledger, as 64 bits each."""

    def __init__(self, folder: Path, place: Path) -> None:
        """`folder` is the ledger's, `place` takes what memory should not hold."""
        self._folder = folder
        self._days: OrderedDict[str, _Day] = OrderedDict()
        self.seen_dry = Counts(place)
        """Ids that a dry import would have added."""

    def of(self, day: str) -> NDArray[np.uint64]:
        """Marks of all rows of a day, sorted.

        Raises:
            InputError: a file is damaged.
        """
        with reading(self._folder):
            paths = {path.name: path for path in sorted((self._folder / f"day={day}").glob("*.parquet"))}
            known = self._days.pop(day, _Day())
            if known.files - paths.keys():
                known = _Day()  # a file was replaced by another
            news = [marks for name in paths.keys() - known.files for marks in _marks_of(paths[name])]
        if news:
            known = _Day(set(paths), np.sort(np.concatenate([known.marks, *news]), kind="stable"))
        self._days[day] = known
        while len(self._days) > 1 and sum(len(one.marks) for one in self._days.values()) > _MOST_REMEMBERED:
            self._days.popitem(last=False)
        return known.marks


def _marks_of(path: Path) -> Iterator[NDArray[np.uint64]]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(65_536, columns=["id"]):
                yield fingerprints_of(batch.column(0))
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path} is damaged ({type(error).__name__}). Move it away, run freehold ledger repair, and import again: "
            "rows that are there already are not doubled."
        ) from error
