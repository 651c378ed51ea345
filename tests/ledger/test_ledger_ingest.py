from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.ledger import ingest as ingest_module
from freehold.ledger.ingest import ingest
from freehold.ledger.policy import Policy, TaskPolicy
from freehold.ledger.records import id_text, new_call_id
from freehold.ledger.rows import NEVER_CLOSED, NO_OPEN_RECORD
from freehold.ledger.store import Ledger
from freehold.ledger.verify import verify
from tests.ledger.deaths import Died, Mortal
from tests.ledger.traffic import answer, begin_call, end_call, head, open_writer, record_call, request, started_us, tail

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

    from freehold.core.call import Call


def _calls(events: Path) -> list[Call]:
    return list(Ledger(events / "calls").read())


def test_a_call_becomes_a_row_with_all_that_its_records_and_its_answer_say(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    call_id = new_call_id(started_us(0))
    writer.opened(call_id, head(0, key_id="k1", subject="u1", route="rent"), request("hello"))
    writer.closed(call_id, tail(ttft_ms=3.0), answer("hi", inside=7, outside=2))
    writer.commit()
    writer.seal()

    done = ingest(tmp_path)

    assert (done.calls, done.duplicates, done.lost_records, done.never_closed) == (1, 0, 0, 0)
    (call,) = _calls(tmp_path)
    assert (call.id, call.task, call.key_id, call.subject, call.route) == (id_text(call_id), "desk", "k1", "u1", "rent")
    assert (call.status, call.duration_ms, call.ttft_ms, call.error_type) == (200, 12.5, 3.0, None)
    assert (call.input_tokens, call.output_tokens, call.finish_reason) == (7, 2, "stop")
    assert (call.model_requested, call.model_served, call.completion_id) == (
        "gpt-5.4",
        "gpt-5.4-2026-03-05",
        "chatcmpl-1",
    )
    assert call.started_at is not None
    assert call.started_at.isoformat() == "2026-11-20T12:00:00+00:00"
    assert call.request == {"model": "gpt-5.4", "messages": [{"role": "user", "content": "hello"}]}
    assert call.response is not None
    assert call.response["choices"][0]["message"]["content"] == "hi"


def test_what_was_read_is_removed_and_reading_again_adds_nothing(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    for number in range(5):
        record_call(writer, number)
    writer.seal()

    first, second = ingest(tmp_path), ingest(tmp_path)

    assert (first.calls, first.segments_removed) == (5, 1)
    assert (second.calls, second.duplicates, second.segments_removed) == (0, 0, 0)
    assert list((tmp_path / "segments").iterdir()) == []
    assert verify(tmp_path).ok


def test_beside_a_running_writer_calls_that_ended_are_taken_and_open_ones_wait(tmp_path: Path) -> None:
    writer = open_writer(tmp_path, max_segment_bytes=2_000)
    open_id = begin_call(writer, 0)
    for number in range(1, 20):
        record_call(writer, number)

    done = ingest(tmp_path)
    assert (done.calls, done.open_calls, done.never_closed) == (19, 1, 0)
    assert ingest(tmp_path).calls == 0
    assert (writer.folder / "00000001.seg").exists()  # the open call's first record is in it
    assert not (writer.folder / "00000002.seg").exists()

    record_call(writer, 20)
    end_call(writer, open_id, answer("at last"))
    assert ingest(tmp_path).calls == 2
    assert not (writer.folder / "00000001.seg").exists()
    (late,) = [call for call in _calls(tmp_path) if call.id == id_text(open_id)]
    assert late.request == {"model": "gpt-5.4", "messages": [{"role": "user", "content": "question 0"}]}
    assert late.status == 200
    writer.seal()
    ingest(tmp_path)
    assert verify(tmp_path).ok


def _record_and_die(events: Path, calls: int) -> None:
    writer = open_writer(events)
    for number in range(calls):
        record_call(writer, number)
    open_id = begin_call(writer, calls)
    writer.response_of(open_id).add(b"half an ans")
    record_call(writer, calls + 1)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_loses_no_call_that_ended_and_its_open_ones_are_seen(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_record_and_die, args=(tmp_path, 50))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL

    done = ingest(tmp_path)

    assert (done.calls, done.never_closed, done.lost_records) == (52, 1, 0)
    calls = _calls(tmp_path)
    assert Counter(call.error_type for call in calls) == {None: 51, NEVER_CLOSED: 1}
    (aborted,) = [call for call in calls if call.error_type == NEVER_CLOSED]
    assert (aborted.request_id, aborted.status, aborted.duration_ms) == ("client-50", None, None)
    assert aborted.response == {"unparsed_text": "half an ans"}
    assert verify(tmp_path).ok


def _segments_of_two_workers(events: Path) -> set[str]:
    """Two workers' segments; one has died with a call open."""
    ids = set()
    for worker in ("w0", "w1"):
        writer = open_writer(events, worker, max_segment_bytes=1_500)
        for number in range(-600, 600, 300):  # over two midnights
            ids.add(id_text(record_call(writer, number)))
        if worker == "w1":
            ids.add(id_text(begin_call(writer, 900)))
        writer.seal()
    return ids


def test_whenever_the_ingester_dies_the_next_one_goes_on_and_each_call_stands_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = tmp_path / "original"
    ids = _segments_of_two_workers(original)
    monkeypatch.setattr(ingest_module, "_BATCH_ROWS", 5)
    deaths = 0
    for at in range(1, 10_000):
        events = tmp_path / f"died-at-{at}"
        shutil.copytree(original, events)
        mortal = Mortal(at)
        with monkeypatch.context() as dying:
            mortal.install(dying)
            try:
                ingest(events)
            except Died:
                deaths += 1
        ingest(events)
        calls = _calls(events)
        assert sorted(call.id for call in calls) == sorted(ids), f"died at change {at}"
        assert all((call.request or {}).get("model") == "gpt-5.4" for call in calls)
        assert list((events / "segments").iterdir()) == []
        assert verify(events).damaged == []
        shutil.rmtree(events)
        if not mortal.is_dead:
            break
    assert deaths > 30


def _ingest_and_die(events: Path, at: int) -> None:
    ingest_module._BATCH_ROWS = 5
    with pytest.MonkeyPatch.context() as dying:
        Mortal(at, die=lambda: os.kill(os.getpid(), signal.SIGKILL)).install(dying)
        ingest(events)


@pytest.mark.parametrize("at", [2, 9, 17])
def test_an_ingester_that_is_killed_with_signal_9_leaves_nothing_twice_and_nothing_out(tmp_path: Path, at: int) -> None:
    ids = _segments_of_two_workers(tmp_path)
    process = multiprocessing.get_context("spawn").Process(target=_ingest_and_die, args=(tmp_path, at))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL

    # A reader that comes first finds a whole ledger; what was noted is there, what was not will come.
    seen = [call.id for call in _calls(tmp_path)]
    assert len(seen) == len(set(seen))
    assert set(seen) <= ids
    ingest(tmp_path)

    assert sorted(call.id for call in _calls(tmp_path)) == sorted(ids)
    assert verify(tmp_path).damaged == []


def test_two_ingesters_at_once_take_turns(tmp_path: Path) -> None:
    ids = _segments_of_two_workers(tmp_path)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=ingest, args=(tmp_path,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert sorted(call.id for call in _calls(tmp_path)) == sorted(ids)


def test_an_index_that_is_lost_is_made_again_and_segments_that_were_read_are_not_read_twice(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    for number in range(5):
        record_call(writer, number)
    ingest(tmp_path)
    for path in (tmp_path / "calls").glob("_index.db*"):
        path.unlink()
    record_call(writer, 5)

    done = ingest(tmp_path)
    writer.seal()

    assert (done.calls, done.duplicates) == (1, 5)
    assert len(_calls(tmp_path)) == 6
    assert verify(tmp_path).ok


def _damage(segment: Path, place: int) -> None:
    data = bytearray(segment.read_bytes())
    data[place] ^= 0x10
    segment.write_bytes(data)


def test_a_flipped_bit_costs_one_record_which_is_counted_and_all_calls_around_it_stay(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    ids = [id_text(record_call(writer, number)) for number in range(9)]
    writer.seal()
    segment = writer.folder / "00000001.seg"
    _damage(segment, segment.read_bytes().index(b"question 4"))
    assert [(one.reason, one.lost) for one in verify(tmp_path).damaged] == [("bytes are damaged", 1)]

    assert ingest(tmp_path).lost_records == 1

    calls = {call.id: call for call in _calls(tmp_path)}
    assert set(calls) == set(ids)
    assert [number for number, one in enumerate(ids) if calls[one].request is None] == [4]
    assert not verify(tmp_path).ok  # until repair has taken note of it


def test_a_lost_first_record_leaves_a_row_that_says_so(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    record_call(writer, 0)
    writer.seal()
    segment = writer.folder / "00000001.seg"
    _damage(segment, segment.read_bytes().index(b"client-0"))

    done = ingest(tmp_path)

    (call,) = _calls(tmp_path)
    assert done.lost_records == 1
    assert (call.error_type, call.task, call.route, call.input_tokens) == (NO_OPEN_RECORD, "unknown", None, 10)


@pytest.mark.parametrize("end_missing", [1, 40, 700])
def test_a_segment_whose_end_is_missing_is_told_by_what_its_writer_had_promised(
    tmp_path: Path, end_missing: int
) -> None:
    writer = open_writer(tmp_path)
    ids = [id_text(record_call(writer, number)) for number in range(9)]
    writer.seal()
    segment = writer.folder / "00000001.seg"
    segment.write_bytes(segment.read_bytes()[:-end_missing])
    assert not verify(tmp_path).ok

    assert ingest(tmp_path).lost_records >= 1
    assert {call.id for call in _calls(tmp_path)} <= set(ids)
    assert len(_calls(tmp_path)) >= 8


def test_a_whole_segment_that_is_missing_is_counted(tmp_path: Path) -> None:
    writer = open_writer(tmp_path, max_segment_bytes=2_000)
    for number in range(20):
        record_call(writer, number)
    writer.seal()
    segments = sorted(writer.folder.glob("*.seg"))
    segments[1].unlink()

    done = ingest(tmp_path)

    assert done.lost_records > 0
    assert done.calls + done.lost_records // 4 >= 18


def test_the_piece_of_a_record_that_a_killed_worker_was_writing_is_no_loss(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "living")
    record_call(writer, 0)
    # A copy has no lock: this is what a killed worker leaves.
    shutil.copytree(tmp_path / "living", tmp_path / "dead")
    writer.seal()
    with (tmp_path / "dead" / "segments" / writer.folder.name / "00000001.seg").open("ab") as file:
        file.write(b"\xfe\xf7\xffF half a header")

    assert verify(tmp_path / "dead").ok
    done = ingest(tmp_path / "dead")
    assert (done.calls, done.lost_records) == (1, 0)


def _serve_until_killed(events: Path, worker: str, told: Connection) -> None:
    """Calls that overlap; each id is told when its call may be answered."""
    writer = open_writer(events, worker, max_segment_bytes=40_000)
    under_way: list[bytes] = []
    for number in range(1_000_000):
        under_way.append(begin_call(writer, number % 3_000))
        if len(under_way) > 5:
            call_id = under_way.pop(number % 5)
            end_call(writer, call_id, answer("done"))
            assert writer.is_durable
            told.send_bytes(call_id)


def test_workers_that_are_killed_under_load_while_others_ingest_lose_no_call_that_was_answered(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    answered: set[str] = set()
    for life in range(4):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_serve_until_killed, args=(tmp_path, f"w{life}", theirs))
        process.start()
        theirs.close()
        for number in range(700):
            answered.add(id_text(ours.recv_bytes()))
            if number % 200 == 199:
                ingest(tmp_path)
        process.kill()
        process.join()
        with suppress(EOFError):
            while True:
                answered.add(id_text(ours.recv_bytes()))
        ours.close()

    ingest(tmp_path)

    calls = {call.id: call for call in _calls(tmp_path)}
    assert answered <= {one for one, call in calls.items() if call.error_type is None and call.response}
    never_closed = [call for call in calls.values() if call.error_type == NEVER_CLOSED]
    assert 4 <= len(never_closed) <= 4 * 6
    assert all(call.request for call in never_closed)
    assert verify(tmp_path).damaged == []


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """What a worker leaves after twelve calls in several segments, and the calls' ids."""
    events = tmp_path_factory.mktemp("recorded")
    writer = open_writer(events, max_segment_bytes=3_000)
    ids = {id_text(record_call(writer, number)) for number in range(12)}
    writer.seal()
    return events, ids


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0), st.integers(0), st.binary(max_size=40), st.integers(0, 900)), max_size=4))
def test_whatever_happens_to_segments_every_loss_is_counted_and_no_call_is_invented(
    recorded: tuple[Path, set[str]],
    tmp_path_factory: pytest.TempPathFactory,
    wounds: list[tuple[int, int, bytes, int]],
) -> None:
    original, ids = recorded
    events = tmp_path_factory.mktemp("wounded") / "events"
    shutil.copytree(original, events)
    segments = sorted((events / "segments").glob("*/*.seg"))
    for which, place, foreign, cut in wounds:
        segment = segments[which % len(segments)]
        data = segment.read_bytes()
        at = place % (len(data) + 1)
        segment.write_bytes(data[:at] + foreign + data[at + cut :])

    done = ingest(events)

    calls = {call.id: call for call in _calls(events)}
    whole = {one for one, call in calls.items() if call.error_type is None and call.request and call.response}
    assert set(calls) <= ids
    assert done.calls == len(calls)
    assert done.lost_records > 0 or whole == ids
    assert all((call.request or {}).get("model", "gpt-5.4") == "gpt-5.4" for call in calls.values())
    assert ingest(events).calls == 0
    shutil.rmtree(events)


def test_bodies_can_be_masked_sampled_or_left_out_per_task(tmp_path: Path) -> None:
    tasks = {"masked": TaskPolicy(bodies="mask"), "none": TaskPolicy(bodies="none"), "half": TaskPolicy(sample=0.5)}
    writer = open_writer(tmp_path)
    for number in range(40):
        record_call(writer, number, "half")
    for number, task in enumerate(("masked", "none", "desk")):
        call_id = new_call_id(started_us(number))
        text = "Write to ada@example.org or +49 30 901820, please"
        writer.opened(call_id, head(number, task), request(text))
        end_call(writer, call_id, answer("To ada@example.org: done"))
    writer.seal()

    ingest(tmp_path, policy=Policy(tasks=tasks))

    by_task = {call.task: call for call in _calls(tmp_path) if call.task != "half"}
    assert by_task["desk"].request is not None
    assert "ada@example.org" in str(by_task["desk"].request)
    assert (by_task["none"].request, by_task["none"].response, by_task["none"].input_tokens) == (None, None, 10)
    masked = by_task["masked"]
    assert masked.request is not None
    assert masked.response is not None
    assert masked.request["messages"][0]["content"] == "Write to [EMAIL_1] or [PHONE_1], please"
    assert masked.response["choices"][0]["message"]["content"] == "To [EMAIL_1]: done"
    assert masked.response["model"] == "gpt-5.4-2026-03-05"
    kept = sum(call.request is not None for call in _calls(tmp_path) if call.task == "half")
    assert 0 < kept < 40
    assert list((tmp_path / "segments").iterdir()) == []  # the raw text went with the segment


def test_a_full_disk_stops_the_ingester_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = _segments_of_two_workers(tmp_path)

    def full(_table: object, where: Path, **_options: object) -> None:
        where.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(where))

    with monkeypatch.context() as patched:
        patched.setattr(pq, "write_table", full)
        with pytest.raises(OSError, match="No space left"):
            ingest(tmp_path)
    assert list(tmp_path.rglob("*.parquet")) == []

    ingest(tmp_path)
    assert sorted(call.id for call in _calls(tmp_path)) == sorted(ids)


def test_nothing_to_ingest_makes_nothing(tmp_path: Path) -> None:
    assert ingest(tmp_path / "events").calls == 0
    assert not (tmp_path / "events").exists()
