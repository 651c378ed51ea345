"""Damage of every kind at every kind of place: good records before and after it are kept, and the loss is told.

What is damaged here was promised: it had been handed to the kernel whole before the worker died.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from freehold.ledger.frames import HEADER_BYTES, Frame, Kind, frames_in
from freehold.ledger.ingest import ingest
from freehold.ledger.policy import KEEP_ALL
from freehold.ledger.records import id_text
from freehold.ledger.repair import repair
from freehold.ledger.segment_files import writer_folders
from freehold.ledger.store import Ledger
from freehold.ledger.summary import summarise
from freehold.ledger.verify import verify
from tests.ledger.traffic import begin_call, end_call, open_writer, record_call

if TYPE_CHECKING:
    from collections.abc import Iterator

PLACES = {
    "magic": (0, 4), "check of the header": (4, 8), "check of the payload": (8, 12), "length": (12, 16),
    "sequence": (16, 24), "kind": (24, 25), "call id": (25, 41), "payload": (HEADER_BYTES, None),
}  # fmt: skip
"""Of a frame: first and last byte of each part."""


@dataclass(frozen=True)
class Origin:
    """Segments of a worker that died, and what they hold."""

    folder: Path
    ids: list[str]
    segments: list[str]
    frames: list[tuple[str, Frame]]


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    """Twelve calls in three segments or more; the last one is open."""
    with tempfile.TemporaryDirectory() as name:
        events = Path(name) / "events"
        writer = open_writer(events, max_segment_bytes=2_500)
        ids = [id_text(record_call(writer, number)) for number in range(10)]
        held = begin_call(writer, 10)
        ids.append(id_text(record_call(writer, 11)))
        end_call(writer, held, b'{"late": true}')
        ids += [id_text(held), id_text(begin_call(writer, 12))]
        shutil.copytree(events, Path(name) / "dead")  # without its lock: the worker is no more
        writer.seal()
        (folder,) = writer_folders(Path(name) / "dead" / "segments")
        frames = [
            (segment.path.name, item)
            for segment in folder.segments()
            for item in frames_in(segment.path.read_bytes(), salt=folder.salt)
            if isinstance(item, Frame)
        ]
        yield Origin(folder.path.parent.parent, ids, [one.path.name for one in folder.segments()], frames)


def check(origin: Origin, events: Path, harmed: set[bytes], *, at_least: int = 1) -> None:
    """The loss is told; every call that was not harmed is there as it was; after a repair all is in order."""
    told = verify(events)
    assert not told.ok
    assert not (events / "calls").exists(), "verify changes nothing"
    done = ingest(events)
    assert done.lost_records >= at_least
    rows = {call.id: call for call in Ledger(events / "calls").read()}
    assert len(rows) == done.calls
    gone = {id_text(one) for one in harmed}
    assert set(rows) <= set(origin.ids)
    for call_id in set(origin.ids[:-1]) - gone:
        call = rows[call_id]
        assert (call.error_type, call.status) == (None, 200)
        assert call.request is not None
        assert call.response is not None
    assert not verify(events).ok
    repair(events, policy=KEEP_ALL)
    assert verify(events).damaged == []
    assert ingest(events).calls == 0
    assert summarise(events).lost_records == done.lost_records
    assert {call.id for call in Ledger(events / "calls").read()} == set(rows)


def harmed_by(origin: Origin, segment: str, start: int, end: int) -> set[bytes]:
    """Calls of which a frame lies between two bytes of a segment."""
    return {frame.call_id for name, frame in origin.frames
            if name == segment and frame.start < end and frame.end > start}  # fmt: skip


class Copy:
    """A copy that may be damaged."""

    def __init__(self, origin: Origin) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.events = Path(self._folder.name) / "events"
        shutil.copytree(origin.folder, self.events)
        (found,) = writer_folders(self.events / "segments")
        self.folder = found.path

    def __enter__(self) -> Copy:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


@pytest.mark.parametrize("part", PLACES)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(number=st.integers(0), offset=st.integers(0), bit=st.integers(0, 7))
def test_a_flipped_bit_in_any_part_of_any_record_costs_that_record(
    origin: Origin, part: str, number: int, offset: int, bit: int
) -> None:
    segment, frame = origin.frames[number % len(origin.frames)]
    start, end = PLACES[part]
    width = (end or frame.end - frame.start) - start
    assume(width > 0)
    place = frame.start + start + offset % width
    with Copy(origin) as copy:
        path = copy.folder / segment
        data = bytearray(path.read_bytes())
        data[place] ^= 1 << bit
        path.write_bytes(data)
        check(origin, copy.events, {frame.call_id})


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(which=st.integers(0), keep=st.integers(0))
def test_a_segment_that_is_cut_anywhere_costs_what_stood_behind_the_cut(origin: Origin, which: int, keep: int) -> None:
    segment = origin.segments[which % len(origin.segments)]
    with Copy(origin) as copy:
        path = copy.folder / segment
        size = path.stat().st_size
        cut = keep % size
        path.write_bytes(path.read_bytes()[:cut])
        check(origin, copy.events, harmed_by(origin, segment, cut, size))


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(which=st.integers(0), first=st.integers(0), size=st.sampled_from([1, 40, 512, 4096]), zeros=st.booleans())
def test_a_page_of_zeros_or_of_noise_costs_what_it_covers(
    origin: Origin, which: int, first: int, size: int, zeros: bool
) -> None:
    segment = origin.segments[which % len(origin.segments)]
    with Copy(origin) as copy:
        path = copy.folder / segment
        data = bytearray(path.read_bytes())
        start = first % len(data)
        end = min(len(data), start + size)
        assume(not zeros or any(data[start:end]))
        data[start:end] = bytes(end - start) if zeros else bytes(byte ^ 0x5A for byte in data[start:end])
        path.write_bytes(data)
        check(origin, copy.events, harmed_by(origin, segment, start, end))


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(which=st.integers(0), place=st.integers(0), size=st.integers(1, 300))
def test_bytes_that_somebody_pushed_in_cost_the_record_they_cut(
    origin: Origin, which: int, place: int, size: int
) -> None:
    segment = origin.segments[which % len(origin.segments)]
    with Copy(origin) as copy:
        path = copy.folder / segment
        data = path.read_bytes()
        at = place % len(data)
        path.write_bytes(data[:at] + b"\xfe\xf7\xffF" * size + data[at:])
        starts = {frame.start for name, frame in origin.frames if name == segment}
        told = verify(copy.events)
        assert not told.ok
        if not {at, at - 4} & starts:  # between two records, or behind a magic of which these are the next: none is cut
            check(origin, copy.events, harmed_by(origin, segment, at, at + 1))


@pytest.mark.parametrize("number", [0, 1, -1])
def test_a_segment_that_is_missing_costs_its_records_and_no_others(origin: Origin, number: int) -> None:
    segment = origin.segments[number]
    with Copy(origin) as copy:
        path = copy.folder / segment
        size = path.stat().st_size
        path.unlink()
        frames = sum(name == segment for name, _ in origin.frames)
        check(origin, copy.events, harmed_by(origin, segment, 0, size), at_least=frames)


def test_two_segments_that_changed_their_names_cost_no_more_than_both(origin: Origin) -> None:
    one, other = origin.segments[0], origin.segments[1]
    with Copy(origin) as copy:
        (copy.folder / one).rename(copy.folder / "x")
        (copy.folder / other).rename(copy.folder / one)
        (copy.folder / "x").rename(copy.folder / other)
        sizes = 1 << 30
        check(origin, copy.events, harmed_by(origin, one, 0, sizes) | harmed_by(origin, other, 0, sizes))


def test_damage_in_two_segments_and_in_the_word_of_the_dead_worker_is_told_too(origin: Origin) -> None:
    with Copy(origin) as copy:
        harmed = set()
        for segment in (origin.segments[0], origin.segments[-1]):
            path = copy.folder / segment
            data = bytearray(path.read_bytes())
            data[-3] ^= 1
            harmed |= harmed_by(origin, segment, len(data) - 3, len(data))
            path.write_bytes(data)
        (copy.folder / "live").write_bytes(b"\x00" * 40)
        check(origin, copy.events, harmed, at_least=2)


def test_every_kind_of_record_is_among_those_that_were_harmed(origin: Origin) -> None:
    assert Counter(frame.kind for _, frame in origin.frames).keys() == set(Kind)
    assert len(origin.segments) >= 3
