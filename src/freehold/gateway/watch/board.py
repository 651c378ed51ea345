"""What each worker is doing at this moment, in mapped files that every other worker can read.

A fixed number of places: calls under way, the last calls, the last errors, the slowest call of each minute, calls per
second, and how the providers are. Writing one costs the same whatever happened before, and nothing is allocated. Who
reads while another process writes may see a call half written: this is for looking at, the ledger is for counting.
"""

from __future__ import annotations

import mmap
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from freehold.ledger.records import id_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from freehold.ledger.records import CloseRecord, OpenRecord

_HEAD = struct.Struct("<16sQ48s48s32s40s?7x")
"""Id, beginning (µs), task, model, provider, the client's id of the request, streamed."""
_TAIL = struct.Struct("<ddqqi24s4x")
"""Duration and time to the first event (ms), input and output tokens, status, error. Below 0: unknown."""
_RECORD = _HEAD.size + _TAIL.size
_NO_TAIL = bytes(_TAIL.size)
_SECOND = struct.Struct("<QII")
"""Second since 1970, attempts that ended in it, those of them that failed."""
_HEALTH = struct.Struct("<48sId")
"""Provider, failures in a row, and until when it is left alone (seconds since 1970)."""

Shown = tuple[bytes, int]
"""Of an attempt under way: the first part of its record, and where it stands (-1: all places were taken)."""

OPEN, LAST, ERRORS, MINUTES, SECONDS, PROVIDERS = 128, 128, 64, 15, 128, 64
_OPEN_AT = 0
_LAST_AT = _OPEN_AT + OPEN * _RECORD
_ERRORS_AT = _LAST_AT + LAST * _RECORD
_MINUTES_AT = _ERRORS_AT + ERRORS * _RECORD
_SECONDS_AT = _MINUTES_AT + MINUTES * _RECORD
_HEALTH_AT = _SECONDS_AT + SECONDS * _SECOND.size
_BYTES = _HEALTH_AT + PROVIDERS * _HEALTH.size
_SUFFIX = ".board"
_FIRST_ERROR = 400
_MOST_NAMES = 1024


class Board:
    """One worker's file."""

    def __init__(self, folder: Path, worker: str) -> None:
        """Open the worker's file in `folder`, or make it. What a dead worker had under way is over."""
        path = folder / f"{worker}{_SUFFIX}"
        with path.open("ab") as file:
            file.truncate(_BYTES)
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _BYTES)
        self._map[_OPEN_AT:_LAST_AT] = bytes(_LAST_AT - _OPEN_AT)
        self._map[_HEALTH_AT:] = bytes(_BYTES - _HEALTH_AT)
        self._free = list(range(_OPEN_AT, _LAST_AT, _RECORD))
        self._names: dict[str | None, bytes] = {}
        self._last = _newest(self._map, _LAST_AT, LAST)
        self._error = _newest(self._map, _ERRORS_AT, ERRORS)
        self._minute = self._slowest_ms = -1.0
        self._second = self._calls = self._failed = 0
        self._health: dict[str, int] = {}

    def opened(self, call_id: bytes, head: OpenRecord) -> Shown:
        """An attempt is about to be made; what is given is to be handed back at its end."""
        names = self._names
        packed = _HEAD.pack(
            call_id,
            head.started_at_us,
            names.get(head.task) or self._name(head.task),
            names.get(head.model_requested) or self._name(head.model_requested),
            names.get(head.provider) or self._name(head.provider),
            head.request_id.encode("utf-8", "replace") if head.request_id else b"",
            head.stream or False,
        )
        place = self._free.pop() if self._free else -1
        if place >= 0:
            self._map[place : place + _RECORD] = packed + _NO_TAIL
        return packed, place

    def closed(self, shown: Shown, head: OpenRecord, tail: CloseRecord) -> None:
        """It is over."""
        packed, place = shown
        if place >= 0:
            self._map[place : place + 16] = bytes(16)
            self._free.append(place)
        status, kind = tail.status, tail.error_type
        duration = tail.duration_ms or 0.0
        record = packed + _TAIL.pack(
            duration,
            -1.0 if tail.ttft_ms is None else tail.ttft_ms,
            -1 if tail.input_tokens is None else tail.input_tokens,
            -1 if tail.output_tokens is None else tail.output_tokens,
            -1 if status is None else status,
            b"" if kind is None else kind.encode("utf-8", "replace"),
        )
        self._last = (self._last + 1) % LAST
        start = _LAST_AT + self._last * _RECORD
        self._map[start : start + _RECORD] = record
        is_error = kind is not None or status is None or status >= _FIRST_ERROR
        if is_error:
            self._error = (self._error + 1) % ERRORS
            start = _ERRORS_AT + self._error * _RECORD
            self._map[start : start + _RECORD] = record
        second = (head.started_at_us + int(duration * 1000)) // 1_000_000
        self._count(second, is_error)
        if second // 60 != self._minute or duration > self._slowest_ms:
            self._minute, self._slowest_ms = second // 60, duration
            start = _MINUTES_AT + int(self._minute % MINUTES) * _RECORD
            self._map[start : start + _RECORD] = record

    def _count(self, second: int, is_error: bool) -> None:
        if second != self._second:
            self._second, self._calls, self._failed = second, 0, 0
        self._calls += 1
        self._failed += is_error
        _SECOND.pack_into(self._map, _SECONDS_AT + second % SECONDS * _SECOND.size, second, self._calls, self._failed)

    def health_of(self, provider: str) -> Callable[[int, float], None]:
        """What to call when a provider's failures in a row change, with their number and the seconds that it rests."""
        place = self._health.setdefault(provider, len(self._health) % PROVIDERS)
        name = provider.encode()[:48]

        def note(failures: int, rests_s: float) -> None:
            until = time.time() + rests_s if rests_s else 0.0
            _HEALTH.pack_into(self._map, _HEALTH_AT + place * _HEALTH.size, name, failures, until)

        note(0, 0.0)
        return note

    def _name(self, name: str | None) -> bytes:
        if len(self._names) >= _MOST_NAMES:
            self._names.clear()
        packed = self._names[name] = b"\0" if name is None else name.encode("utf-8", "replace")[:48]
        return packed


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenCall:
    """An attempt as the board shows it. No content of it is here."""

    id: str
    worker: str
    started_at: float
    """Seconds since 1970."""
    task: str
    model: str
    provider: str
    request_id: str
    is_stream: bool
    duration_ms: float | None = None
    """None: it is under way, as far as the rest is concerned too."""
    ttft_ms: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    status: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class SeenProvider:
    """How a provider is, as one worker sees it."""

    name: str
    failures: int
    """In a row."""
    rests_until: float
    """Seconds since 1970; 0: it does not rest."""


@dataclass(slots=True)
class SeenWorker:
    """One worker's board, read."""

    name: str
    under_way: list[SeenCall] = field(default_factory=list)
    last: list[SeenCall] = field(default_factory=list)
    errors: list[SeenCall] = field(default_factory=list)
    slowest: list[SeenCall] = field(default_factory=list)
    """Of each of the last minutes one."""
    seconds: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Second since 1970 -> attempts that ended in it, and how many of them failed."""
    providers: list[SeenProvider] = field(default_factory=list)


def read_boards(folder: Path) -> list[SeenWorker]:
    """The boards of all workers, by name."""
    return [_read(path) for path in sorted(folder.glob(f"*{_SUFFIX}"))]


def _read(path: Path) -> SeenWorker:
    data = path.read_bytes().ljust(_BYTES, b"\0")
    seen = SeenWorker(path.name.removesuffix(_SUFFIX))
    for place, count, found in (
        (_OPEN_AT, OPEN, seen.under_way),
        (_LAST_AT, LAST, seen.last),
        (_ERRORS_AT, ERRORS, seen.errors),
        (_MINUTES_AT, MINUTES, seen.slowest),
    ):
        found.extend(_calls(data, place, count, seen.name, is_over=place != _OPEN_AT))
    for second, calls, failed in _SECOND.iter_unpack(data[_SECONDS_AT:_HEALTH_AT]):
        if second:
            seen.seconds[second] = calls, failed
    for name, failures, until in _HEALTH.iter_unpack(data[_HEALTH_AT:_BYTES]):
        if name[0]:
            seen.providers.append(SeenProvider(_text(name), failures, until))
    return seen


def _calls(data: bytes, place: int, count: int, worker: str, *, is_over: bool) -> Iterator[SeenCall]:
    for start in range(place, place + count * _RECORD, _RECORD):
        call_id, began, task, model, provider, request_id, is_stream = _HEAD.unpack_from(data, start)
        if call_id == bytes(16):
            continue
        duration, ttft, read, written, status, error = _TAIL.unpack_from(data, start + _HEAD.size)
        yield SeenCall(
            id=id_text(call_id),
            worker=worker,
            started_at=began / 1e6,
            task=_text(task),
            model=_text(model),
            provider=_text(provider),
            request_id=_text(request_id),
            is_stream=is_stream,
            duration_ms=duration if is_over else None,
            ttft_ms=ttft if is_over and ttft >= 0 else None,
            input_tokens=read if is_over and read >= 0 else None,
            output_tokens=written if is_over and written >= 0 else None,
            status=status if is_over and status >= 0 else None,
            error=_text(error) or None,
        )


def _newest(data: mmap.mmap, place: int, count: int) -> int:
    """Where the last one was written, of a worker that takes a dead one's place."""
    began = [_HEAD.unpack_from(data, place + index * _RECORD)[1] for index in range(count)]
    return began.index(max(began))


def _text(packed: bytes) -> str:
    return packed.rstrip(b"\0").decode("utf-8", "ignore")
