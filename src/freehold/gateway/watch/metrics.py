"""Counters that several workers keep together, and their page for Prometheus.

Each worker writes its own file, mapped into memory: adding to a counter is one store of eight bytes, and whichever
worker is asked reads the files of all. A worker that takes a dead one's place goes on with its file, so no counter
ever falls while the gateway runs.
"""

from __future__ import annotations

import mmap
import struct
from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Labels = tuple[tuple[str, str], ...]

_COUNTERS = {
    "freehold_requests_total": "Attempts at providers, by what came of them.",
    "freehold_tokens_total": "Tokens, as the providers counted them.",
    "freehold_cost_usd_total": "US dollars at list prices of all calls in the ledger whose price is known.",
    "freehold_unpriced_calls_total": "Calls in the ledger that cost something that nobody knows.",
    "freehold_unrecorded_requests_total": "Of these, requests that asked no model, such as lists and token counts.",
    "freehold_spans_dropped_total": "Spans that were not made, as their exporter did not keep up.",
    "freehold_refused_total": "Requests that the gateway answered itself.",
}
_HISTOGRAMS = {
    "freehold_request_duration_seconds": "Time of an attempt, to its last byte.",
    "freehold_time_to_first_token_seconds": "Time of a streamed attempt, to its first event.",
}
_GAUGES = {
    "freehold_requests_in_progress": "Requests that are being answered now.",
    "freehold_cost_today_usd": "US dollars of this day's calls (UTC) that are in the ledger and have a known price.",
    "freehold_unpriced_calls_today": "Calls of this day (UTC) in the ledger whose cost nobody knows.",
    "freehold_cost_as_of_seconds": "When costs were last counted, in seconds since 1970.",
}
BUCKETS_S = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Upper bounds as in OpenTelemetry's conventions for generative models."""

_SUM = len(BUCKETS_S) + 1
_NUMBERS = _SUM + 1
"""Numbers of a histogram: a bucket per bound, the one above all, and the sum."""
_FILE_BYTES = 1 << 21
_HEAD = struct.Struct("<Q")
_LENGTH = struct.Struct("<Q")
_VALUE = struct.Struct("<d")
_MOST_SERIES = 3000
"""Combinations of labels per metric family and worker. Clients choose models' names, so there must be an end."""
_OTHER = "other"


class Counters:
    """The counters of one worker."""

    def __init__(self, folder: Path, worker: str) -> None:
        """Open the worker's file in `folder`, or make it."""
        self._folder = folder
        path = folder / f"{worker}.counters"
        with path.open("ab") as file:
            file.truncate(_FILE_BYTES)
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _FILE_BYTES)
        self._doubles = memoryview(self._map).cast("d")
        """The same bytes as numbers: entries are aligned, so a counter is one of them."""
        (used,) = _HEAD.unpack_from(self._map)
        self._used = used or _HEAD.size
        self._places: dict[str, int] = {}
        for key, place, value in _entries(self._map, self._used):
            self._places[key] = place
            if key.partition("{")[0] in _GAUGES:  # a worker that died took its calls along
                self.add_at(place, -value)
        self._series: dict[tuple[str, ...], Series] = {}

    def add(self, name: str, labels: Labels, amount: float = 1.0) -> None:
        """Add to a counter, or with a negative amount take from a gauge."""
        self.add_at(self.place(name, labels), amount)

    def gauge(self, name: str) -> Gauge:
        """A gauge without labels."""
        return Gauge(self, self.place(name, ()))

    def put(self, name: str, labels: Labels, value: float) -> None:
        """Let a number be what this process has found; the files' numbers are added up."""
        place = self.place(name, labels)
        if place:
            self._doubles[place >> 3] = value

    def series(self, task: str, route: str, model: str, provider: str) -> Series:
        """The counters of attempts with these labels."""
        names = (task, route, model, provider)
        found = self._series.get(names)
        if found is None:
            if len(self._series) >= _MOST_SERIES:
                return self.series(_OTHER, route, _OTHER, provider) if model != _OTHER else Series(self, names)
            found = self._series[names] = Series(self, names)
        return found

    def page(self) -> bytes:
        """All workers' counters, in Prometheus' text format 0.0.4."""
        totals = read_totals(self._folder)
        by_family: dict[str, dict[str, float]] = defaultdict(dict)
        for key, value in totals.items():
            family, _, labels = key.partition("{")
            by_family[family][labels[:-1]] = value
        lines: list[str] = []
        for kind, families in (("counter", _COUNTERS), ("gauge", _GAUGES)):
            for name, told in families.items():
                lines += [f"# HELP {name} {told}", f"# TYPE {name} {kind}"]
                lines += [_line(name, labels, value) for labels, value in sorted(by_family[name].items())]
        for name, told in _HISTOGRAMS.items():
            lines += [f"# HELP {name} {told}", f"# TYPE {name} histogram", *_histogram(name, by_family)]
        return ("\n".join(lines) + "\n").encode()

    def place(self, name: str, labels: Labels) -> int:
        """Where a counter stands in the file; 0 if there is no room for it."""
        key = _key(name, labels)
        place = self._places.get(key)
        if place is not None:
            return place
        text = key.encode()
        size = _LENGTH.size + -(-len(text) // 8) * 8 + _VALUE.size
        if self._used + size > _FILE_BYTES:
            return 0  # no room for another series: its numbers are lost, the calls are not
        place = self._used + size - _VALUE.size
        _LENGTH.pack_into(self._map, self._used, len(text))
        self._map[self._used + _LENGTH.size : self._used + _LENGTH.size + len(text)] = text
        _VALUE.pack_into(self._map, place, 0.0)
        self._used += size
        _HEAD.pack_into(self._map, 0, self._used)  # last: until then a reader does not see the entry
        self._places[key] = place
        return place

    def add_at(self, place: int, amount: float) -> None:
        """Add to the counter at this place."""
        if place:
            self._doubles[place >> 3] += amount


class Gauge:
    """A number that goes up and down, looked up once."""

    __slots__ = ("_counters", "_place")

    def __init__(self, counters: Counters, place: int) -> None:
        """The number at `place`."""
        self._counters = counters
        self._place = place

    def add(self, amount: float) -> None:
        """Add, or with a negative amount take."""
        self._counters.add_at(self._place, amount)


def read_totals(folder: Path) -> dict[str, float]:
    """All processes' counters added up: name and labels, as in `name{label="value"}` -> value."""
    totals: dict[str, float] = defaultdict(float)
    for path in sorted(folder.glob("*.counters")):
        with path.open("rb") as file:
            head = file.read(_HEAD.size)
            (used,) = _HEAD.unpack(head) if head else (0,)
            data = head + file.read(max(0, used - _HEAD.size))
        for key, _, value in _entries(data, len(data)):
            totals[key] += value
    return totals


class Series:
    """Counters of one combination of task, route, model and provider; places in the file are looked up once."""

    __slots__ = ("_counters", "_labels", "_places")

    def __init__(self, counters: Counters, names: tuple[str, ...]) -> None:
        """Labels are `names`, in the order task, route, model, provider."""
        self._counters = counters
        self._labels: Labels = tuple(zip(("task", "route", "model", "provider"), names, strict=True))
        self._places: dict[object, int] = {}

    def answered(self, status: str) -> None:
        """An attempt ended with this status: three digits, or a word where there was no answer."""
        self._add(status, "freehold_requests_total", "status", 1.0)

    def tokens(self, direction: str, count: int) -> None:
        """Tokens of one direction: input, cache_read, cache_write, output or reasoning."""
        self._add(direction, "freehold_tokens_total", "direction", float(count))

    def took(self, seconds: float) -> None:
        """An attempt took so long."""
        self._observe("freehold_request_duration_seconds", seconds, 0)

    def began_after(self, seconds: float) -> None:
        """The first event of a stream came after so long."""
        self._observe("freehold_time_to_first_token_seconds", seconds, _NUMBERS)

    def _observe(self, name: str, seconds: float, first: int) -> None:
        """One observation of a histogram, whose numbers are known by `first` and what follows."""
        index = bisect_left(BUCKETS_S, seconds)
        places = self._places
        if first + index not in places:
            bound = str(BUCKETS_S[index]) if index < len(BUCKETS_S) else "+Inf"
            places[first + _SUM] = self._counters.place(f"{name}_sum", self._labels)
            places[first + index] = self._counters.place(f"{name}_bucket", (*self._labels, ("le", bound)))
        self._counters.add_at(places[first + _SUM], seconds)
        self._counters.add_at(places[first + index], 1.0)

    def _add(self, key: str, name: str, label: str, amount: float) -> None:
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = self._counters.place(name, (*self._labels, (label, key)))
        self._counters.add_at(place, amount)


def _entries(data: bytes | mmap.mmap, used: int) -> Iterator[tuple[str, int, float]]:
    position = _HEAD.size
    while position < used:
        (length,) = _LENGTH.unpack_from(data, position)
        start = position + _LENGTH.size
        place = start + -(-length // 8) * 8
        yield data[start : start + length].decode(), place, _VALUE.unpack_from(data, place)[0]
        position = place + _VALUE.size


def _key(name: str, labels: Labels) -> str:
    pairs = ",".join(f'{label}="{_escaped(value)}"' for label, value in labels)
    return f"{name}{{{pairs}}}"


def _escaped(value: str) -> str:
    shown = value[:120].encode("utf-8", "replace").decode()
    return shown.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _line(name: str, labels: str, value: float) -> str:
    return f"{name}{{{labels}}} {value:.17g}" if labels else f"{name} {value:.17g}"


def _histogram(name: str, by_family: dict[str, dict[str, float]]) -> Iterator[str]:
    """Lines of a histogram. Files keep each bucket by itself; the page adds them up, as the format wants."""
    counts = by_family[f"{name}_bucket"]
    bounds = [*map(str, BUCKETS_S), "+Inf"]
    for labels, total in sorted(by_family[f"{name}_sum"].items()):
        count = 0.0
        for bound in bounds:
            count += counts.get(f'{labels},le="{bound}"', 0.0)
            yield _line(f"{name}_bucket", f'{labels},le="{bound}"', count)
        yield _line(f"{name}_sum", labels, total)
        yield _line(f"{name}_count", labels, count)
