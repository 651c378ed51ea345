from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from freehold.core.errors import InputError
from freehold.core.progress import Silent
from freehold.ledger import stored, upkeep
from freehold.ledger.columns import COLUMNS
from freehold.ledger.export import export
from freehold.ledger.index import Index
from freehold.ledger.ingest import ingest
from freehold.ledger.policy import KEEP_ALL, Policy, TaskPolicy
from freehold.ledger.publish import reading
from freehold.ledger.purged import Purged
from freehold.ledger.records import id_text
from freehold.ledger.repair import repair
from freehold.ledger.rollup import stored_sums
from freehold.ledger.store import Ledger
from freehold.ledger.stored import parquet_files
from freehold.ledger.summary import summarise
from freehold.ledger.upkeep import keep_up
from freehold.ledger.verify import verify
from tests.ledger.deaths import Died, Mortal
from tests.ledger.traffic import begin_call, open_writer, record_call

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from freehold.core.call import Call

_DAY_MINUTES = 24 * 60
_TODAY = date(2026, 11, 22)  # two days after the calls of traffic.py


def _calls(events: Path) -> list[Call]:
    return list(Ledger(events / "calls").read())


def _many_small_files(events: Path, files: int = 5) -> list[str]:
    """Each pass over the segments makes a file of each of two days."""
    writer, ids = open_writer(events), []
    for number in range(files):
        ids.append(id_text(record_call(writer, number, "a")))
        ids.append(id_text(record_call(writer, number - _DAY_MINUTES, "b")))
        ingest(events)
    writer.seal()
    ingest(events)
    return ids


def _usage(events: Path, *, removed: bool = True) -> dict[str, int]:
    index = Index(events / "calls")
    sums = stored_sums(index.connection, removed=removed)
    index.close()
    return {name: sum(sums.column(name).to_pylist()) for name in ("calls", "input_tokens", "output_tokens")}


def test_small_files_of_a_day_become_one_and_no_row_changes(tmp_path: Path) -> None:
    ids = _many_small_files(tmp_path)
    before, sums = _calls(tmp_path), _usage(tmp_path)

    done = keep_up(tmp_path, policy=KEEP_ALL, fewest_files=2, today=_TODAY)

    assert (done.files_before, done.files_after, done.was_busy) == (10, 2, False)
    assert _calls(tmp_path) == before
    assert _usage(tmp_path) == sums == {"calls": 10, "input_tokens": 100, "output_tokens": 50}
    assert [Ledger(tmp_path / "calls").get(one) for one in sorted(ids)] == sorted(before, key=lambda call: call.id)
    assert verify(tmp_path).damaged == []
    assert keep_up(tmp_path, policy=KEEP_ALL, fewest_files=2, today=_TODAY).files_after == 2


def test_nothing_is_replaced_while_somebody_reads(tmp_path: Path) -> None:
    _many_small_files(tmp_path)
    calls = Ledger(tmp_path / "calls").read()
    next(calls)
    assert keep_up(tmp_path, policy=KEEP_ALL, fewest_files=2, today=_TODAY).was_busy
    assert len(list(calls)) == 9
    assert not keep_up(tmp_path, policy=KEEP_ALL, fewest_files=2, today=_TODAY).was_busy


def test_bodies_and_rows_go_when_their_time_is_over_and_the_sums_stay(tmp_path: Path) -> None:
    _many_small_files(tmp_path)
    sums = _usage(tmp_path)
    rules = {"a": TaskPolicy(bodies_days=1), "b": TaskPolicy(rows_days=2)}

    # Calls of "a" are two days old, those of "b" three.
    early = keep_up(tmp_path, policy=Policy(tasks=rules), today=date(2026, 11, 21))
    assert (early.bodies_removed, early.rows_removed) == (0, 0)
    done = keep_up(tmp_path, policy=Policy(tasks=rules), today=_TODAY)

    assert (done.bodies_removed, done.rows_removed) == (5, 5)
    calls = _calls(tmp_path)
    assert {call.task for call in calls} == {"a"}
    assert all(call.request is None and call.response is None and call.input_tokens == 10 for call in calls)
    assert _usage(tmp_path) == sums
    assert _usage(tmp_path, removed=False)["calls"] == 5
    assert not (tmp_path / "calls" / "day=2026-11-19").exists()
    assert verify(tmp_path).damaged == []
    again = keep_up(tmp_path, policy=Policy(tasks=rules), today=_TODAY)
    assert (again.bodies_removed, again.rows_removed) == (0, 0)


def test_rows_whose_time_is_over_do_not_come_back_with_their_log_to_be_counted_twice(tmp_path: Path) -> None:
    _many_small_files(tmp_path)
    before, sums = _calls(tmp_path), _usage(tmp_path)
    keep_up(tmp_path, policy=Policy(tasks={"b": TaskPolicy(rows_days=2)}), today=_TODAY)
    back = Ledger(tmp_path / "calls").append(before)
    assert (back.new, back.duplicates, back.purged) == (0, 5, 5)
    assert _usage(tmp_path) == sums
    assert Purged(tmp_path / "calls").counts() == {"aged": 5, "row": 0, "bodies": 0}


def test_old_bodies_are_looked_for_once_a_day_and_not_every_ten_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _many_small_files(tmp_path)
    policy = Policy(tasks={"a": TaskPolicy(bodies_days=1)})
    keep_up(tmp_path, policy=policy, today=_TODAY)
    read: list[object] = []

    def told(*arguments: Any) -> pa.Table:  # Any: passed through
        read.append(arguments)
        return stored.read_rows(*arguments)

    monkeypatch.setattr(upkeep, "read_rows", told)

    keep_up(tmp_path, policy=policy, today=_TODAY)
    assert read == []
    keep_up(tmp_path, policy=policy, today=date(2026, 11, 23))
    assert len(read) > 0
    read.clear()
    other = Policy(tasks={"a": TaskPolicy(bodies_days=1), "b": TaskPolicy(bodies_days=1)})
    assert keep_up(tmp_path, policy=other, today=date(2026, 11, 23)).bodies_removed == 5
    assert len(read) > 0
    old = _calls(tmp_path)[0]
    Ledger(tmp_path / "calls").append([replace(old, id="0199aa00-0000-7000-8000-000000000001", request={"late": 1})])
    assert keep_up(tmp_path, policy=other, today=date(2026, 11, 23)).bodies_removed == 1


def test_whenever_upkeep_dies_the_next_one_goes_on_and_no_call_is_lost_or_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = tmp_path / "original"
    _many_small_files(original, files=2)
    policy = Policy(tasks={"b": TaskPolicy(rows_days=2)})
    for at in range(1, 1_000):
        events = tmp_path / f"died-at-{at}"
        shutil.copytree(original, events)
        mortal = Mortal(at)
        with monkeypatch.context() as dying:
            mortal.install(dying)
            with suppress(Died):
                keep_up(events, policy=policy, fewest_files=2, today=_TODAY)
        assert [call.task for call in _calls(events)].count("a") == 2
        keep_up(events, policy=policy, fewest_files=2, today=_TODAY)
        assert [call.task for call in _calls(events)] == ["a", "a"], f"died at change {at}"
        assert _usage(events) == {"calls": 4, "input_tokens": 40, "output_tokens": 20}
        assert verify(events).damaged == []
        shutil.rmtree(events)
        if not mortal.is_dead:
            return
    pytest.fail("upkeep never came to its end")


def test_old_days_leave_the_index_and_are_still_found_and_not_doubled(tmp_path: Path) -> None:
    ids = _many_small_files(tmp_path)
    copies = _calls(tmp_path)
    keep_up(tmp_path, policy=KEEP_ALL, hot_days=1, today=date(2026, 12, 24))
    ledger = Ledger(tmp_path / "calls")

    assert [call.id for call in copies if ledger.get(call.id) == call] == sorted(ids)
    assert ledger.append(copies).duplicates == 10
    assert verify(tmp_path).damaged == []
    index = Index(tmp_path / "calls")
    assert index.connection.execute("select count(*) from calls").fetchone() == (0,)
    index.close()


def test_the_summary_counts_what_there_is(tmp_path: Path) -> None:
    _many_small_files(tmp_path)
    writer = open_writer(tmp_path)
    begin_call(writer, 7)
    record_call(writer, 8, route="own")
    ingest(tmp_path)

    found = summarise(tmp_path)

    assert (found.calls, found.in_flight, found.open_without_close, found.lost_records) == (11, 1, 0, 0)
    assert (found.by_route, found.by_task) == ({"own": 1, "rent": 10}, {"a": 5, "b": 5, "desk": 1})
    assert (found.first_day, found.last_day, found.segments) == ("2026-11-19", "2026-11-20", 1)
    assert found.bytes > found.segment_bytes > 0
    writer.seal()
    ingest(tmp_path)
    assert (summarise(tmp_path).open_without_close, summarise(tmp_path).in_flight) == (1, 0)


def test_an_empty_ledger_has_a_summary(tmp_path: Path) -> None:
    found = summarise(tmp_path)
    assert (found.calls, found.segments, found.bytes, found.by_route) == (0, 0, 0, {})
    assert verify(tmp_path).ok
    assert repair(tmp_path, policy=KEEP_ALL).found == []


def test_the_export_has_a_row_per_attempt_with_the_fields_of_a_call(tmp_path: Path) -> None:
    _many_small_files(tmp_path)
    lines, table = tmp_path / "out.jsonl", tmp_path / "out.parquet"

    assert export(tmp_path, lines, form="jsonl", progress=Silent()) == 10
    assert export(tmp_path, table, form="parquet", progress=Silent()) == 10

    rows = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    assert all(list(row) == list(COLUMNS) for row in rows)
    assert [row["id"] for row in rows] == [call.id for call in _calls(tmp_path)]
    assert rows[0]["started_at"] == "2026-11-19T12:00:00+00:00"
    assert rows[0]["request"]["messages"][0]["content"] == "question -1440"
    assert pq.read_table(table).column("id").to_pylist() == [row["id"] for row in rows]
    assert pq.read_table(table).column_names == list(COLUMNS)


def test_a_part_of_the_ledger_is_exported(tmp_path: Path) -> None:
    _many_small_files(tmp_path)
    out = tmp_path / "out.jsonl"

    def rows(**options: str | bool) -> list[dict[str, object]]:
        export(tmp_path, out, form="jsonl", progress=Silent(), **options)  # type: ignore[arg-type]  # of several types
        return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]

    assert {row["task"] for row in rows(task="b")} == {"b"}
    assert len(rows(since="2026-11-20")) == len(rows(until="2026-11-19")) == 5
    assert {row["request"] for row in rows(with_bodies=False)} == {None}
    with pytest.raises(InputError, match="no file can be written there"):
        export(tmp_path, tmp_path / "none" / "out.jsonl", form="jsonl", progress=Silent())


def _flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x40
    path.write_bytes(data)


def test_a_flipped_bit_in_a_parquet_file_is_found_wherever_it_is(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    for number in range(200):
        record_call(writer, number)
    writer.seal()
    ingest(tmp_path)
    ((day, name),) = parquet_files(tmp_path / "calls")
    path = tmp_path / "calls" / f"day={day}" / name
    size = path.stat().st_size
    for place in range(0, size, size // 60):
        _flip(path, place)
        assert [one.reason for one in verify(tmp_path).damaged] == ["the Parquet file is not what was written"]
        _flip(path, place)
    assert verify(tmp_path).ok


def test_a_damaged_parquet_file_is_put_aside_and_its_rows_are_counted(tmp_path: Path) -> None:
    _many_small_files(tmp_path)
    day, name = parquet_files(tmp_path / "calls")[0]
    path = tmp_path / "calls" / f"day={day}" / name
    path.write_bytes(path.read_bytes()[:-20])
    found = verify(tmp_path)
    assert [(one.place, one.reason) for one in found.damaged] == [
        (f"calls/day={day}/{name}", "the Parquet file is not what was written")
    ]

    done = repair(tmp_path, policy=KEEP_ALL)

    assert (done.files_put_aside, done.rows_saved, done.rows_lost) == ([f"calls/day={day}/{name}"], 0, 1)
    assert verify(tmp_path).ok
    assert (len(_calls(tmp_path)), summarise(tmp_path).lost_records) == (9, 1)
    assert len(list((tmp_path / "calls" / "_damaged").iterdir())) == 1


def test_a_damaged_index_is_made_anew_from_the_files(tmp_path: Path) -> None:
    _many_small_files(tmp_path)
    index = tmp_path / "calls" / "_index.db"
    index.write_bytes(b"SQLite format 3\x00" + b"\xff" * 4096)
    assert not verify(tmp_path).ok
    with pytest.raises(InputError, match="freehold ledger repair"):
        ingest(tmp_path)

    repair(tmp_path, policy=KEEP_ALL)

    assert verify(tmp_path).ok
    assert _usage(tmp_path)["calls"] == len(_calls(tmp_path)) == 10


def test_files_that_were_copied_into_the_ledger_are_left_once_by_repair(tmp_path: Path) -> None:
    _many_small_files(tmp_path)
    day, name = parquet_files(tmp_path / "calls")[0]
    path = tmp_path / "calls" / f"day={day}" / name
    shutil.copy(path, path.with_name("copy.parquet"))
    assert "1 rows stand twice" in [one.reason for one in verify(tmp_path).damaged]

    repair(tmp_path, policy=KEEP_ALL)

    assert verify(tmp_path).ok
    assert _usage(tmp_path)["calls"] == len(_calls(tmp_path)) == 10


def test_losses_are_told_until_repair_takes_note_of_them_and_counted_for_ever(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    for number in range(4):
        record_call(writer, number)
    writer.seal()
    segment = writer.folder / "00000001.seg"
    _flip(segment, segment.read_bytes().index(b"question 2"))
    ingest(tmp_path)

    (finding,) = verify(tmp_path).damaged
    assert (finding.lost, finding.reason) == (1, "bytes are damaged: found when it was read, and counted")
    repair(tmp_path, policy=KEEP_ALL)
    assert verify(tmp_path).ok
    assert summarise(tmp_path).lost_records == 1


def test_files_of_an_older_version_without_an_index_are_taken_in(tmp_path: Path) -> None:
    _many_small_files(tmp_path)
    for path in (tmp_path / "calls").glob("_*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with reading(tmp_path / "calls"):
        assert len(_calls(tmp_path)) == 10
    ingest(tmp_path)
    assert _usage(tmp_path)["calls"] == 10
    assert verify(tmp_path).ok
