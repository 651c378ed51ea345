"""Many rows appear in the ledger together or not at all, and what counts them is exact."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.core.call import Call
from freehold.core.errors import InputError
from freehold.core.identity import call_id
from freehold.ledger import bulk, counts
from freehold.ledger.bulk import Bulk, importing
from freehold.ledger.columns import table_of
from freehold.ledger.counts import Counts
from freehold.ledger.identifiers import call_ids, fingerprints_of
from freehold.ledger.index import Index
from freehold.ledger.publish import locked
from freehold.ledger.rollup import stored_sums
from freehold.ledger.store import Ledger
from tests.ledger.deaths import Died, Mortal

if TYPE_CHECKING:
    from pathlib import Path

NOON = datetime(2026, 10, 5, 12, tzinfo=UTC)


def _calls(count: int, *, first: int = 0) -> list[Call]:
    """Calls of several days, each tenth without a date."""
    found = []
    for number in range(first, first + count):
        moment = None if number % 10 == 9 else NOON + timedelta(hours=7 * number)
        found.append(Call(id=call_id(moment, str(number)), task="t", started_at=moment, input_tokens=number))
    return found


def _add(folder: Path, calls: list[Call], *, is_dry: bool = False) -> int:
    with importing(folder) as place:
        many = Bulk(folder, place, is_dry=is_dry)
        new = sum(many.add(table_of(calls[start : start + 7])) for start in range(0, len(calls), 7))
        if not is_dry:
            many.commit()
        many.close()
    return new


def _counted(folder: Path) -> int:
    index = Index(folder)
    try:
        return sum(stored_sums(index.connection).column("calls").to_pylist())
    finally:
        index.close()


def test_rows_appear_when_all_of_them_are_there(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    calls = _calls(40)
    ledger.append(calls[:5])
    with importing(tmp_path) as place:
        many = Bulk(tmp_path, place)
        assert many.add(table_of(calls[:30])) == 25
        assert many.add(table_of(calls[20:])) == 10
        assert len(list(ledger.read())) == 5
        many.commit()
    assert {call.id: call for call in ledger.read()} == {call.id: call for call in calls}
    assert _counted(tmp_path) == 40
    assert ledger.get(calls[33].id) == calls[33]
    assert _add(tmp_path, calls) == 0
    assert _add(tmp_path, _calls(41), is_dry=True) == 1
    assert not list(tmp_path.glob("_imports/*"))


def test_calls_of_a_large_import_are_found_in_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "_MOST_INDEXED", 20)
    monkeypatch.setattr(bulk, "_MOST_BUFFERED_BYTES", 2_000)
    calls = _calls(60)
    assert _add(tmp_path, calls) == 60
    index = Index(tmp_path)
    assert index.connection.execute("select count(*) from calls").fetchone() == (0,)
    index.close()
    ledger = Ledger(tmp_path)
    assert ledger.get(calls[33].id) == calls[33]
    assert _add(tmp_path, calls) == 0
    assert ledger.append(calls[:3]).new == 0


def test_whenever_the_process_dies_all_rows_are_there_or_none(tmp_path: Path) -> None:
    before, calls = _calls(4), _calls(30)
    at = 0
    while True:
        at += 1
        folder = tmp_path / str(at)
        Ledger(folder).append(before)
        with pytest.MonkeyPatch.context() as patch:
            Mortal(at).install(patch)
            try:
                _add(folder, calls)
            except Died:
                is_dead = True
            else:
                is_dead = False
        assert len(list(Ledger(folder).read())) in {4, 30}
        _add(folder, calls)
        assert {call.id for call in Ledger(folder).read()} == {call.id for call in calls}
        assert _counted(folder) == 30
        if not is_dead:
            break
    assert at > 20


_IMPORT_AND_DIE = """
import os, signal, sys
from pathlib import Path
from freehold.core.progress import Silent
from freehold.ledger import bulk
from freehold.ledger.logs.engine import Choices, Stores, import_logs
from freehold.ledger.logs.files import find_logs
from freehold.ledger.store import Ledger
from freehold.ledger.volumes import Volumes

bulk._MOST_BUFFERED_BYTES = 200_000
written, last = 0, int(sys.argv[2])
stage = bulk.stage

def counted(*arguments, **options):
    global written
    written += 1
    if written == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return stage(*arguments, **options)

bulk.stage = counted
folder = Path(sys.argv[1])
stores = Stores(
    ledger=Ledger(folder / "calls"), volumes=Volumes(folder / "volumes"), keep=lambda words: {}, assign=lambda call: "t"
)
result = import_logs(find_logs([folder / "log"]), stores, Choices(), progress=Silent())
print(result.tally.imported)
"""


def _import(folder: Path, dies_at: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _IMPORT_AND_DIE, str(folder), str(dies_at)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_an_import_that_was_killed_leaves_nothing_and_can_be_done_again(tmp_path: Path) -> None:
    rows = [{"started_at": f"2026-10-0{1 + n % 9}", "input_tokens": n % 5, "output_tokens": 1} for n in range(9_000)]
    (tmp_path / "log").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    killed = _import(tmp_path, 5)
    assert killed.returncode == -signal.SIGKILL
    assert list(Ledger(tmp_path / "calls").read()) == []
    assert _import(tmp_path, -1).stdout == "9000\n"
    assert _import(tmp_path, -1).stdout == "0\n"
    assert len(list(Ledger(tmp_path / "calls").read())) == 9_000
    assert not list((tmp_path / "calls").glob("_imports/*"))


def test_one_import_at_a_time(tmp_path: Path) -> None:
    with locked(tmp_path, "_importing"), pytest.raises(InputError, match="another import is under way"):
        _add(tmp_path, _calls(1))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), max_size=12), max_size=30))
def test_counts_are_exact_however_they_are_kept(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[int]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counts, "_ON_DISK", 4)
        patch.setattr(counts, "_LONGEST_RUN", 20)
        counted, plain = Counts(tmp_path_factory.mktemp("runs")), Counter[int]()
        for batch in batches:
            expected = []
            for number in batch:
                expected.append(plain[number])
                plain[number] += 1
            assert counted.add(np.array(batch, dtype=np.uint64)).tolist() == expected


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.none() | st.datetimes(datetime(1970, 1, 2), datetime(2099, 1, 1)), st.text(max_size=5)), min_size=1
    )
)
def test_many_identifiers_are_those_that_are_made_one_by_one(rows: list[tuple[datetime | None, str]]) -> None:
    moments = [None if moment is None else moment.replace(tzinfo=UTC) for moment, _ in rows]
    epoch = datetime.fromtimestamp(0, UTC)
    us = np.array([-1 if moment is None else (moment - epoch) // timedelta(microseconds=1) for moment in moments])
    made = call_ids(us, [text.encode() for _, text in rows])
    expected = [call_id(moment, text) for moment, (_, text) in zip(moments, rows, strict=True)]
    assert made.to_pylist() == expected
    assert len(set(fingerprints_of(made).tolist())) == len(set(expected))
    assert fingerprints_of(pa.chunked_array([made[:1], made[1:]])).tolist() == fingerprints_of(made).tolist()
