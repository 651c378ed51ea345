"""Finds volumes of a stretch of time of which others tell already, in longer or shorter buckets.

A usage API gives one stretch by the minute, the hour or the day. Two such exports are the same calls twice, though no
bucket of the one is a bucket of the other.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

    from freehold.ledger.logs.format import Volume

_EPOCH = datetime.fromtimestamp(0, UTC)
_COLUMNS = ["series", "started_at", "window_s"]
_SLIGHT_S = 1e-6


class Overlaps:
    """The buckets of each series: those that are stored and those that are on their way."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the store's; it is read when the first volume of a series comes."""
        self._folder = folder
        self._begin: dict[str, dict[float, list[float]]] | None = None
        """Series -> length of a bucket -> when buckets begin, all in seconds, sorted."""

    def is_told_otherwise(self, volume: Volume) -> bool:
        """Whether buckets of another length tell of a part of the same time. A volume of which none does is noted."""
        if volume.series is None or volume.started_at is None or not volume.window_s:
            return False
        if self._begin is None:
            self._begin = self._stored()
        lengths = self._begin[volume.series]
        begins, lasts = (volume.started_at - _EPOCH).total_seconds(), volume.window_s
        for length, starts in lengths.items():
            place = bisect_left(starts, begins - length + _SLIGHT_S)
            if length != lasts and place < len(starts) and starts[place] < begins + lasts - _SLIGHT_S:
                return True
        insort(lengths[lasts], begins)
        return False

    def _stored(self) -> dict[str, dict[float, list[float]]]:
        found: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
        for path in sorted(self._folder.glob("day=*/*.parquet")):
            with pq.ParquetFile(path) as file:
                if "series" not in file.schema_arrow.names:
                    continue  # of an earlier version, which did not note it
                columns = file.read(columns=_COLUMNS).drop_null().to_pydict()
            for series, start, length in zip(*(columns[name] for name in _COLUMNS), strict=True):
                found[series][length].append((start - _EPOCH).total_seconds())
        for lengths in found.values():
            for starts in lengths.values():
                starts.sort()
        return found
