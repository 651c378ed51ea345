from __future__ import annotations

import asyncio
import errno
import os
import shutil
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from freehold.ledger.frames import LONGEST_PAYLOAD, Frame, Kind, frames_in
from freehold.ledger.ingest import ingest
from freehold.ledger.records import decode_close, decode_open, id_text, new_call_id
from freehold.ledger.scan import Scan
from freehold.ledger.segment_files import WriterFolder, writer_folders
from freehold.ledger.segments import LedgerFull, SegmentWriter
from freehold.ledger.store import Ledger
from tests.ledger.traffic import answer, begin_call, end_call, head, open_writer, record_call, request, started_us, tail

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _folder(writer: SegmentWriter) -> WriterFolder:
    (found,) = writer_folders(writer.folder.parent)
    return found


def _frames(writer: SegmentWriter) -> list[tuple[int, int, bytes]]:
    """Sequence, kind and payload of all that stands in a writer's segments."""
    folder, found, sequence = _folder(writer), [], None
    for segment in folder.segments():
        data = segment.path.read_bytes()
        for item in frames_in(data, salt=folder.salt, sequence=sequence):
            assert isinstance(item, Frame)
            found.append((item.sequence, item.kind, data[item.payload_start : item.end]))
            sequence = item.sequence + 1
    return found


def test_records_are_with_the_kernel_when_they_are_committed(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    call_id = new_call_id()
    writer.opened(call_id, head(1), b"the request")
    assert writer.commit()
    assert [frame[1] for frame in _frames(writer)] == [Kind.START, Kind.OPEN, Kind.REQUEST]
    assert decode_open(_frames(writer)[1][2]) == head(1)

    writer.response_of(call_id).add(b"half")
    writer.closed(call_id, tail(), b" the answer")
    assert writer.commit()
    *pieces, last = _frames(writer)[3:]
    assert ({piece[1] for piece in pieces}, last[1]) == ({Kind.RESPONSE}, Kind.CLOSE)
    assert b"".join(piece[2] for piece in pieces) == b"half the answer"
    assert decode_close(_frames(writer)[-1][2]) == tail()
    writer.seal()
    assert _frames(writer)[-1][1] == Kind.SEAL
    assert [frame[0] for frame in _frames(writer)] == list(range(1, len(_frames(writer)) + 1))


def test_ids_are_uuids_of_version_7_with_the_time_in_front() -> None:
    first, second = new_call_id(1_700_000_000_000_000), new_call_id(1_700_000_000_000_000)
    assert first != second
    assert id_text(first)[:13] == id_text(second)[:13] == "018bcfe5-6800"
    assert id_text(first)[14] == "7"
    assert id_text(first)[19] in "89ab"


def test_a_long_body_is_cut_into_frames_and_read_back_whole(tmp_path: Path) -> None:
    writer = open_writer(tmp_path, max_segment_bytes=1 << 20)
    call_id = new_call_id(started_us(0))
    text = "ü" * (2 * LONGEST_PAYLOAD)
    writer.opened(call_id, head(0), request(text))
    end_call(writer, call_id, answer("ok"))
    writer.seal()
    assert max(len(payload) for _, _, payload in _frames(writer)) == LONGEST_PAYLOAD
    assert len(_folder(writer).segments()) == 2

    ingest(tmp_path)
    (call,) = Ledger(tmp_path / "calls").read()
    assert call.request is not None
    assert call.request["messages"][0]["content"] == text


def test_a_full_segment_is_followed_by_the_next_and_numbers_run_on(tmp_path: Path) -> None:
    writer = open_writer(tmp_path, max_segment_bytes=3_000)
    for number in range(30):
        record_call(writer, number)
    writer.seal()
    frames = _frames(writer)
    assert len(_folder(writer).segments()) > 5
    assert [frame[0] for frame in frames] == list(range(1, len(frames) + 1))


def test_a_writer_is_alive_until_it_is_sealed(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    assert _folder(writer).is_alive()
    progress = _folder(writer).progress()
    assert progress is not None
    assert (progress.number, progress.offset) == (1, (writer.folder / "00000001.seg").stat().st_size)
    writer.seal()
    writer.seal()
    assert not _folder(writer).is_alive()


def test_the_name_of_a_worker_may_be_anything(tmp_path: Path) -> None:
    writer = open_writer(tmp_path, "host.example/7:é")
    writer.seal()
    assert _folder(writer).worker == "host-example-7--"


class _Disk:
    """A disk that can be full: it takes a part of what is written, and then nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = False
        self._pwritev = os.pwritev
        monkeypatch.setattr(os, "pwritev", self.pwritev)

    def pwritev(self, descriptor: int, pieces: Sequence[bytes], offset: int) -> int:
        if self.is_full:
            os.pwrite(descriptor, b"".join(pieces)[:20], offset)
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._pwritev(descriptor, pieces, offset)


def test_a_full_disk_holds_calls_back_and_drops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    disk = _Disk(monkeypatch)
    writer = open_writer(tmp_path, on_trouble=told.append)
    first = begin_call(writer, 0)

    async def fill_and_free() -> None:
        disk.is_full = True
        writer.closed(first, tail(), answer("ended while the disk was full"))
        assert not writer.commit()
        assert not writer.room
        assert not writer.is_durable
        with pytest.raises(LedgerFull, match="No space left on device"):
            begin_call(writer, 1)
        waiting = asyncio.ensure_future(writer.durable())
        await asyncio.wait([waiting], timeout=0.3)
        assert not waiting.done()
        disk.is_full = False
        await asyncio.wait_for(waiting, 5)
        await asyncio.wait_for(writer.wait_for_room(), 5)

    asyncio.run(fill_and_free())
    assert told == ["The ledger's segment cannot be written (No space left on device). Calls wait until it can."]
    record_call(writer, 1)
    writer.seal()
    done = ingest(tmp_path)
    assert (done.calls, done.lost_records, done.never_closed) == (2, 0, 0)


def test_a_disk_that_writes_a_part_is_asked_for_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwritev = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda descriptor, pieces, offset: pwritev(descriptor, pieces[:1], offset))
    writer = open_writer(tmp_path)
    record_call(writer, 0)
    writer.seal()
    assert ingest(tmp_path).calls == 1


def test_what_waits_when_a_worker_must_go_is_told_as_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = _Disk(monkeypatch)
    writer = open_writer(tmp_path)
    call_id = begin_call(writer, 0)
    disk.is_full = True
    end_call(writer, call_id)
    with pytest.raises(LedgerFull, match="1 records could not be written"):
        writer.seal()
    assert ingest(tmp_path).never_closed == 1


def test_with_durability_power_a_call_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    may_sync = threading.Event()
    synced: list[int] = []
    fdatasync = os.fdatasync

    def slow(descriptor: int) -> None:
        assert may_sync.wait(10)
        fdatasync(descriptor)
        synced.append(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow)
    writer = open_writer(tmp_path, durability="power", max_unsynced_bytes=100)

    async def wait_for_disk() -> None:
        record_call(writer, 0)
        assert not writer.is_durable
        assert not writer.room
        waiting = asyncio.ensure_future(writer.durable())
        await asyncio.sleep(0)
        assert not waiting.done()
        may_sync.set()
        await asyncio.wait_for(waiting, 5)
        assert writer.is_durable

    asyncio.run(wait_for_disk())
    assert synced
    writer.seal()


def test_a_disk_that_is_nearly_full_takes_no_new_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 99, 1))
    told: list[str] = []
    writer = open_writer(tmp_path / "a")
    assert writer.room
    writer.seal()
    full = SegmentWriter(tmp_path / "b", worker="w", min_free_bytes=1 << 20, on_trouble=told.append)
    assert not full.room
    assert told == ["The ledger's disk has 0 MiB left; 1 are kept free."]
    full.seal()


def test_segments_that_nobody_ingests_take_no_new_calls(tmp_path: Path) -> None:
    first = open_writer(tmp_path)
    for number in range(100):
        record_call(first, number)
    first.seal()
    behind = open_writer(tmp_path, max_backlog_bytes=10_000)
    assert behind.trouble == "The segments hold more than 0 MiB: the ingester is behind."
    with pytest.raises(LedgerFull, match="the ingester is behind"):
        record_call(behind, 0)
    behind.seal()


def test_a_segment_is_closed_after_its_time_so_that_raw_bodies_go(tmp_path: Path) -> None:
    writer = open_writer(tmp_path, max_segment_age_s=0.01)
    record_call(writer, 0)

    async def wait() -> None:
        for _ in range(500):
            if len(_folder(writer).segments()) > 1:
                return
            await asyncio.sleep(0.01)

    asyncio.run(wait())
    ingest(tmp_path)
    assert not (writer.folder / "00000001.seg").exists()
    writer.seal()


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not come to pass in five seconds")


def test_a_sync_that_fails_is_told_and_a_new_segment_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    fails = [True]
    fdatasync = os.fdatasync

    def sync(descriptor: int) -> None:
        if fails and fails.pop():
            raise OSError(errno.EIO, "Input/output error")
        fdatasync(descriptor)

    monkeypatch.setattr(os, "fdatasync", sync)
    writer = open_writer(tmp_path, on_trouble=told.append)
    record_call(writer, 0)
    asyncio.run(_until(lambda: len(_folder(writer).segments()) == 2 and writer.room))
    record_call(writer, 1)
    writer.seal()

    assert told == ["The ledger's segment cannot be synced (Input/output error): look at the disk."]
    assert [frame[0] for frame in _frames(writer)] == list(range(1, len(_frames(writer)) + 1))
    assert ingest(tmp_path).calls == 2


def test_a_segment_that_can_be_neither_written_nor_cut_is_left_for_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = _Disk(monkeypatch)
    writer = open_writer(tmp_path)
    first = record_call(writer, 0)
    pwritev = disk.pwritev
    bad: list[int] = []

    def fail_once(descriptor: int, pieces: Sequence[bytes], offset: int) -> int:
        if not bad:
            bad.append(descriptor)
            os.pwrite(descriptor, b"".join(pieces)[:20], offset)
            raise OSError(errno.EIO, "Input/output error")
        return pwritev(descriptor, pieces, offset)

    def cannot(_descriptor: int, _size: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "pwritev", fail_once)
        broken.setattr(os, "ftruncate", cannot)
        second = record_call(writer, 1)
        asyncio.run(_until(lambda: writer.is_durable))
    writer.seal()

    done = ingest(tmp_path)
    assert (done.calls, done.lost_records) == (2, 0)
    assert {call.id for call in Ledger(tmp_path / "calls").read()} == {id_text(first), id_text(second)}


def test_a_new_segment_that_cannot_be_begun_leaves_the_old_one_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    writer = open_writer(tmp_path, max_segment_bytes=1_000, on_trouble=told.append)

    def cannot(*_arguments: object, **_options: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as broken:
        broken.setattr(os, "open", cannot)
        for number in range(3):
            with suppress(LedgerFull):
                record_call(writer, number)
    assert told[0] == "A new segment of the ledger cannot be begun (Too many open files). The old one is used on."
    asyncio.run(_until(lambda: writer.room))
    record_call(writer, 9)
    writer.seal()
    assert ingest(tmp_path).lost_records == 0


def test_a_reader_holds_one_segment_and_not_all_that_it_has_passed(tmp_path: Path) -> None:
    writer = open_writer(tmp_path, max_segment_bytes=1_500)
    held = begin_call(writer, 0)
    for number in range(1, 20):
        record_call(writer, number)
    end_call(writer, held, answer("late"))
    writer.seal()
    most = 0
    for _ in Scan(_folder(writer)).read():
        mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if ".seg" in line}
        most = max(most, len(mapped))
    assert len(_folder(writer).segments()) > 8
    assert most <= 2
