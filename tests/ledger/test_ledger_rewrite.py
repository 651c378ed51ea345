from __future__ import annotations

import shutil
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from freehold.ledger.columns import SCHEMA
from freehold.ledger.index import Index
from freehold.ledger.ingest import ingest
from freehold.ledger.rollup import stored_sums
from freehold.ledger.store import Ledger
from freehold.ledger.verify import verify
from tests.ledger.deaths import Died, Mortal
from tests.ledger.traffic import open_writer, record_call

if TYPE_CHECKING:
    from pathlib import Path

    from freehold.core.call import Call

_DAY_MINUTES = 24 * 60


def _two_days(events: Path) -> None:
    """Tasks "a" and "b" on each of two days, three calls of each."""
    writer = open_writer(events)
    for number in range(6):
        record_call(writer, number, "ab"[number % 2])
        record_call(writer, number - _DAY_MINUTES, "ab"[number % 2])
    writer.seal()
    ingest(events)


def _rename(rows: pa.Table) -> pa.Table:
    """Task "a" becomes "c"."""
    is_a = pc.equal(rows.column("task"), "a")
    task = pc.if_else(is_a, pa.scalar("c"), rows.column("task"))
    return rows.set_column(rows.schema.get_field_index("task"), rows.schema.field("task"), task)


def _drop_a(rows: pa.Table) -> pa.Table:
    return rows.filter(pc.not_equal(rows.column("task"), "a"))


def _calls(events: Path) -> list[Call]:
    return list(Ledger(events / "calls").read())


def _sums(events: Path, *, removed: bool = True) -> dict[str, int]:
    index = Index(events / "calls")
    sums = stored_sums(index.connection, removed=removed)
    index.close()
    found: Counter[str] = Counter()
    for task, calls in zip(sums.column("task").to_pylist(), sums.column("calls").to_pylist(), strict=True):
        found[task] += calls
    return dict(found)


def test_a_column_gets_other_values_and_index_and_sums_follow(tmp_path: Path) -> None:
    _two_days(tmp_path)
    ledger = Ledger(tmp_path / "calls")
    before = {call.id: call for call in _calls(tmp_path)}

    done = ledger.rewrite(_rename)

    assert (done.rows_changed, done.rows_removed, done.files) == (6, 0, 2)
    assert ledger.tasks() == _sums(tmp_path) == {"b": 6, "c": 6}
    for call_id, old in before.items():
        new = ledger.get(call_id)
        assert new is not None
        assert (new.task, new.request) == ("c" if old.task == "a" else "b", old.request)
    assert verify(tmp_path).damaged == []
    assert ledger.rewrite(_rename).files == 0


def test_rows_that_are_dropped_are_found_no_more_and_their_sums_stay_or_go(tmp_path: Path) -> None:
    for keeps in (True, False):
        events = tmp_path / str(keeps)
        _two_days(events)
        ledger = Ledger(events / "calls")
        gone = [call.id for call in ledger.read("a")]

        assert ledger.rewrite(_drop_a, keeps_sums=keeps).rows_removed == 6

        assert [ledger.get(call_id) for call_id in gone] == [None] * 6
        assert _sums(events, removed=False) == {"b": 6}
        assert _sums(events) == ({"a": 6, "b": 6} if keeps else {"b": 6})
        assert verify(events).damaged == []


def test_a_day_that_loses_all_its_rows_leaves_no_folder(tmp_path: Path) -> None:
    _two_days(tmp_path)
    ledger = Ledger(tmp_path / "calls")
    ledger.rewrite(lambda rows: rows.slice(0, 0), days=["2026-11-19"])
    assert [path.name for path in (tmp_path / "calls").glob("day=*")] == ["day=2026-11-20"]
    assert verify(tmp_path).damaged == []


def test_only_the_days_that_are_named_and_the_files_that_are_concerned_are_read_whole(tmp_path: Path) -> None:
    _two_days(tmp_path)
    ledger = Ledger(tmp_path / "calls")
    seen: list[int] = []

    def change(rows: pa.Table) -> pa.Table:
        seen.append(len(rows))
        return _rename(rows)

    assert ledger.rewrite(change, concerns=lambda rows: "z" in rows.column("task").to_pylist()).files == 0
    assert seen == []
    assert ledger.rewrite(change, days=["2026-11-20"]).rows_changed == 3
    assert seen == [6]
    assert ledger.tasks() == {"a": 3, "b": 6, "c": 3}


def test_the_sums_of_rows_that_went_earlier_take_the_new_name_too(tmp_path: Path) -> None:
    _two_days(tmp_path)
    ledger = Ledger(tmp_path / "calls")
    ledger.rewrite(_drop_a)
    ledger.rewrite(_rename, change_retired=_rename)
    assert _sums(tmp_path) == {"b": 6, "c": 6}
    ledger.rewrite(_rename, change_retired=lambda sums: sums.slice(0, 0))
    assert _sums(tmp_path) == {"b": 6}


def test_a_change_that_makes_rows_up_is_refused_and_nothing_happens(tmp_path: Path) -> None:
    _two_days(tmp_path)
    ledger = Ledger(tmp_path / "calls")
    before = _calls(tmp_path)
    stranger = pa.table({name: pa.nulls(1, SCHEMA.field(name).type) for name in SCHEMA.names}, schema=SCHEMA)
    with pytest.raises(ValueError, match="was not given"):
        ledger.rewrite(lambda rows: pa.concat_tables([rows, stranger]))
    with pytest.raises(ValueError, match="twice"):
        ledger.rewrite(lambda rows: pa.concat_tables([rows, rows]))
    assert _calls(tmp_path) == before
    assert verify(tmp_path).damaged == []


def test_an_empty_ledger_can_be_rewritten(tmp_path: Path) -> None:
    assert Ledger(tmp_path / "calls").rewrite(_rename).files == 0


@pytest.mark.parametrize("change", [_rename, _drop_a], ids=["renaming", "dropping"])
def test_whenever_a_rewrite_dies_the_same_one_again_completes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: type
) -> None:
    original = tmp_path / "original"
    _two_days(original)
    others = [call for call in _calls(original) if call.task == "b"]
    for at in range(1, 1_000):
        events = tmp_path / f"died-at-{at}"
        shutil.copytree(original, events)
        mortal = Mortal(at)
        with monkeypatch.context() as dying:
            mortal.install(dying)
            with suppress(Died):
                Ledger(events / "calls").rewrite(change)
        # Half done is seen by day, never by row: of each day all of it happened or nothing.
        by_day = Counter((str(call.started_at)[:10], call.task) for call in _calls(events) if call.task != "b")
        assert set(by_day.values()) <= {3}, f"died at change {at}"
        assert [call for call in _calls(events) if call.task == "b"] == others
        assert verify(events).damaged == [], f"died at change {at}"

        Ledger(events / "calls").rewrite(change)

        assert Ledger(events / "calls").tasks() == ({"b": 6, "c": 6} if change is _rename else {"b": 6})
        assert sum(_sums(events).values()) == 12
        assert verify(events).damaged == []
        shutil.rmtree(events)
        if not mortal.is_dead:
            return
    pytest.fail("the rewrite never came to its end")
