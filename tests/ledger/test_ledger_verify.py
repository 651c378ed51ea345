"""`verify` beside writers and ingesters that work on: it finds what is damaged, and nothing else."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from freehold.ledger.ingest import ingest
from freehold.ledger.policy import KEEP_ALL
from freehold.ledger.repair import repair
from freehold.ledger.segment_files import WriterFolder
from freehold.ledger.stored import read_rows
from freehold.ledger.summary import summarise
from freehold.ledger.verify import verify
from tests.ledger.traffic import answer, begin_call, end_call, open_writer, record_call

if TYPE_CHECKING:
    from pathlib import Path


def _flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x10
    path.write_bytes(data)


def test_segments_that_were_read_and_removed_between_others_are_no_loss(tmp_path: Path) -> None:
    writer = open_writer(tmp_path, max_segment_bytes=2_000)
    long_call = begin_call(writer, 0)  # holds the first segment
    for number in range(1, 20):
        record_call(writer, number)
    assert ingest(tmp_path).segments_removed > 0

    assert verify(tmp_path).damaged == []
    end_call(writer, long_call, answer("at last"))
    assert verify(tmp_path).damaged == []
    writer.seal()
    assert verify(tmp_path).damaged == []
    ingest(tmp_path)
    assert verify(tmp_path).damaged == []


def test_a_segment_that_goes_missing_before_it_was_read_is_found(tmp_path: Path) -> None:
    writer = open_writer(tmp_path, max_segment_bytes=2_000)
    for number in range(20):
        record_call(writer, number)
    writer.seal()
    sorted(writer.folder.glob("*.seg"))[1].unlink()

    assert [one.reason for one in verify(tmp_path).damaged] == ["records are missing"]


def test_all_segments_of_a_dead_worker_that_are_missing_are_found(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    record_call(writer, 0)
    writer.seal()
    (writer.folder / "00000001.seg").unlink()

    (finding,) = verify(tmp_path).damaged
    assert finding.reason == "the end is missing"
    assert finding.lost
    assert ingest(tmp_path).lost_records == finding.lost


def test_calls_that_are_ingested_while_verify_looks_are_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = open_writer(tmp_path)
    record_call(writer, 0)
    ingest(tmp_path)
    later = [1]

    def read_and_meanwhile(*arguments: object) -> object:
        if later:
            record_call(writer, later.pop())
            ingest(tmp_path)
        return read_rows(*arguments)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr("freehold.ledger.verify.read_rows", read_and_meanwhile)
    assert verify(tmp_path).damaged == []
    monkeypatch.undo()
    writer.seal()
    ingest(tmp_path)
    assert (verify(tmp_path).damaged, verify(tmp_path).rows) == ([], 2)


def test_segments_and_folders_that_are_removed_while_somebody_looks_are_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = open_writer(tmp_path, max_segment_bytes=1_000)
    for number in range(8):
        record_call(writer, number)
    writer.seal()
    segments = WriterFolder.segments
    is_first = [True]

    def segments_and_gone(folder: WriterFolder) -> object:
        found = segments(folder)
        if is_first.pop() if is_first else False:
            ingest(tmp_path)  # takes the whole folder away
        return found

    monkeypatch.setattr(WriterFolder, "segments", segments_and_gone)
    assert verify(tmp_path).damaged == []
    assert summarise(tmp_path).calls == 8


def test_damage_that_was_counted_and_noted_is_not_told_again_while_its_segment_is_still_there(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    for number in range(4):
        record_call(writer, number)
    segment = writer.folder / "00000001.seg"
    _flip(segment, segment.read_bytes().index(b"question 2"))
    assert [(one.reason, one.lost) for one in verify(tmp_path).damaged] == [("bytes are damaged", 1)]

    ingest(tmp_path)
    assert [one.lost for one in verify(tmp_path).damaged] == [1]  # once, though the index and the segment know of it
    repair(tmp_path, policy=KEEP_ALL)
    assert verify(tmp_path).damaged == []
    assert segment.exists()
    record_call(writer, 5)
    _flip(segment, segment.read_bytes().index(b"question 5"))
    record_call(writer, 6)
    assert [one.lost for one in verify(tmp_path).damaged] == [1]
    writer.seal()


def test_a_ledger_that_was_copied_elsewhere_is_whole_and_can_be_read_where_nobody_may_write(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "here")
    for number in range(5):
        record_call(writer, number)
    ingest(tmp_path / "here")
    record_call(writer, 5)
    begin_call(writer, 6)
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    writer.seal()

    assert verify(tmp_path / "there").damaged == []
    done = ingest(tmp_path / "there")
    assert (done.calls, done.never_closed, done.duplicates, done.lost_records) == (2, 1, 0, 0)
    assert verify(tmp_path / "there").damaged == []
    assert summarise(tmp_path / "there").calls == 7


@pytest.mark.parametrize("umask", [0o022, 0o000])
def test_nobody_else_may_read_what_the_ledger_writes(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        writer = open_writer(tmp_path / "events")
        record_call(writer, 0)
        ingest(tmp_path / "events")
        repair(tmp_path / "events", policy=KEEP_ALL)
        writer.seal()
    finally:
        os.umask(before)
    closed = [path for path in (tmp_path / "events").iterdir() if path.stat().st_mode & 0o077 == 0]
    assert {path.name for path in closed} == {path.name for path in (tmp_path / "events").iterdir()}
    assert len(closed) == 2
