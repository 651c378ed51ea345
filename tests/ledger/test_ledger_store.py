from __future__ import annotations

import multiprocessing
import os
import signal
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.core.call import Call
from freehold.core.errors import InputError
from freehold.core.identity import call_id
from freehold.ledger.store import Appended, Ledger

if TYPE_CHECKING:
    from pathlib import Path

_FIRST = datetime(2026, 10, 1, 23, 30, tzinfo=UTC)


def _call(number: int, *, task: str = "t", dated: bool = True) -> Call:
    moment = _FIRST + timedelta(minutes=20 * number) if dated else None
    return Call(
        id=call_id(moment, f"{task}{number}"),
        task=task,
        started_at=moment,
        request_id=f"client-{number}",
        input_tokens=number,
        request={"messages": [{"role": "user", "content": f"Frage №{number} 🙂"}]},
        response=None if number % 3 else {"choices": [{"message": {"role": "assistant", "content": "a"}}]},
    )


def test_what_was_written_is_read_back_by_time_with_undated_calls_last(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "calls")
    calls = [_call(number) for number in (5, 1, 3)] + [_call(9, dated=False)]
    assert ledger.append(calls) == Appended(new=4, duplicates=0)
    assert list(Ledger(tmp_path / "calls").read()) == [calls[1], calls[2], calls[0], calls[3]]


def test_calls_lie_in_a_folder_per_day_that_other_tools_can_read(tmp_path: Path) -> None:
    Ledger(tmp_path).append([_call(0), _call(10), _call(11, dated=False)])
    days = sorted(path.name for path in tmp_path.glob("day=*"))
    assert days == ["day=2026-10-01", "day=2026-10-02", "day=undated"]
    assert pq.read_table(tmp_path / "day=2026-10-01").column("input_tokens").to_pylist() == [0]


def test_the_same_calls_again_add_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    calls = [_call(number) for number in range(4)]
    ledger.append(calls[:2])
    assert ledger.append(calls) == Appended(new=2, duplicates=2)
    assert Ledger(tmp_path).append(calls) == Appended(new=0, duplicates=4)
    assert len(list(ledger.read())) == 4


def test_an_empty_ledger_reads_as_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "none")
    assert list(ledger.read("t")) == []
    assert ledger.tasks() == {}
    assert ledger.find(["x"]) == {}
    assert ledger.append([]) == Appended(new=0, duplicates=0)


def test_one_task_is_read_alone(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append([_call(1), _call(2, task="o'hara"), _call(3)])
    assert ledger.tasks() == {"o'hara": 1, "t": 2}
    assert [call.input_tokens for call in ledger.read("o'hara")] == [2]


def test_calls_are_found_by_their_own_id_and_by_their_clients(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append([_call(1), _call(2)])
    assert ledger.find(["client-1", _call(2).id, "unknown"]) == {"client-1": _call(1), _call(2).id: _call(2)}
    assert ledger.find([]) == {}


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 30), max_size=25), st.integers(1, 5))
def test_however_calls_are_split_over_appends_each_stands_once(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], parts: int
) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("ledger"))
    for part in range(parts):
        ledger.append([_call(number) for number in numbers[part::parts]])
    assert sorted(call.input_tokens or 0 for call in ledger.read()) == sorted(set(numbers))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    Ledger(tmp_path).append([_call(0), _call(10)])
    damaged = next(tmp_path.glob("day=2026-10-02/*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-20])
    with pytest.raises(InputError, match=rf"{damaged.name} is damaged \(1 of the ledger's files are\)"):
        list(Ledger(tmp_path).read())


def _append_and_die(folder: Path, die_at: int) -> None:
    written = 0
    original = pq.write_table

    def write_table(table: object, where: object, **options: object) -> None:
        nonlocal written
        original(table, where, **options)
        written += 1
        if written == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    pq.write_table = write_table
    Ledger(folder).append([_call(number) for number in range(0, 400, 20)])


@pytest.mark.parametrize("die_at", [1, 3])
def test_killed_in_the_middle_of_an_append_the_same_append_completes_it(tmp_path: Path, die_at: int) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_append_and_die, args=(tmp_path, die_at))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    ledger = Ledger(tmp_path)
    kept = len(list(ledger.read()))
    assert kept < 20
    ledger.append([_call(number) for number in range(0, 400, 20)])
    assert len(list(ledger.read())) == 20


def test_a_full_disk_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_table(_table: object, where: Path, **_options: object) -> None:
        where.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(where))

    monkeypatch.setattr(pq, "write_table", write_table)
    with pytest.raises(OSError, match="No space left"):
        Ledger(tmp_path).append([_call(0)])
    assert list(tmp_path.rglob("*.parquet")) == []
