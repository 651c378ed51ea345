"""Many small files: they appear in the ledger together, and yet as if each had been imported alone."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.core.progress import Silent
from freehold.ledger.logs import together
from freehold.ledger.logs.engine import Choices, Stores, import_logs
from freehold.ledger.logs.files import find_logs
from freehold.ledger.logs.tasks import assign
from freehold.ledger.store import Ledger
from freehold.ledger.volumes import Volumes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from freehold.core.call import Call
    from freehold.ledger.logs.format import HumanWord
    from freehold.ledger.logs.imported import Imported

TODAY = datetime(2026, 11, 23, 9, tzinfo=UTC)


class _Words:
    """Keeps humans' words, each once."""

    def __init__(self) -> None:
        self.kept: list[tuple[HumanWord, str]] = []

    def __call__(self, words: Sequence[tuple[HumanWord, Call]]) -> dict[str, int]:
        before = len(self.kept)
        for word, call in words:
            if (word, call.id) not in self.kept:
                self.kept.append((word, call.id))
        return {"labelled": len(self.kept) - before}


def _import(folder: Path, logs: Path, words: _Words, *, is_dry: bool = False) -> Imported:
    stores = Stores(ledger=Ledger(folder / "calls"), volumes=Volumes(folder / "volumes"), keep=words, assign=assign)
    return import_logs(find_logs([logs]), stores, Choices(is_dry=is_dry), progress=Silent(), today=TODAY)


def _row(number: int) -> dict[str, Any]:
    moment = f"2026-10-{1 + number % 3:02}T00:00:{number:02}Z"
    return {"id": f"r{number}", "input": f"question {number}", "model_output": "a", "started_at": moment}


_ROWS = st.one_of(
    st.integers(0, 9).map(_row),
    st.integers(0, 9).map(lambda number: {**_row(number), "id": None, "output": "b"}),
    st.just({"input": "", "output": "a"}),
)
_FILES = st.one_of(
    st.lists(_ROWS, min_size=1, max_size=4),
    st.lists(st.integers(0, 9).map(lambda number: {"call_id": f"r{number}", "output": "c"}), min_size=1, max_size=2),
    st.lists(
        st.integers(0, 9).map(lambda number: {"t_s": number, "input_tokens": number, "output_tokens": 1}),
        min_size=1,
        max_size=3,
    ),
    st.none(),
)


@settings(max_examples=40, deadline=None)
@given(files=st.lists(_FILES, min_size=1, max_size=8), together_rows=st.sampled_from([3, 1_000]), is_dry=st.booleans())
def test_files_that_appear_together_give_what_each_gives_alone(
    tmp_path_factory: pytest.TempPathFactory,
    files: list[list[dict[str, Any]] | None],
    together_rows: int,
    is_dry: bool,
) -> None:
    logs = tmp_path_factory.mktemp("logs")
    (logs / "first.jsonl").write_text(json.dumps(_row(0)) + "\n")
    for number, rows in enumerate(files):
        text = "".join(json.dumps(row) + "\n" for row in rows or [_row(1)] * 50).encode()
        if rows is None:
            (logs / f"{number}.jsonl.gz").write_bytes(gzip.compress(text)[:-9])
        else:
            (logs / f"{number}.jsonl").write_bytes(text)
    seen = []
    for most in (1, together_rows):
        folder, words = tmp_path_factory.mktemp("desk"), _Words()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(together, "MOST_ROWS", most)
            record = _import(folder, logs, words, is_dry=is_dry).as_record() | {"rows_per_s": None}
        calls = {call.id: call for call in Ledger(folder / "calls").read()}
        seen.append((record, calls, words.kept))
    assert seen[0] == seen[1]
    assert len(seen[0][0]["refused"]) == sum(rows is None for rows in files)


def test_a_day_of_many_files_is_one_file_of_the_ledger(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    for number in range(60):
        (logs / f"{number:02}.json").write_text(json.dumps(_row(number)))
    assert _import(tmp_path, logs, _Words()).tally.imported == 60
    stored = sorted((tmp_path / "calls").glob("day=*/*.parquet"))
    assert [pq.read_metadata(path).num_rows for path in stored] == [20, 20, 20]
    again = _import(tmp_path, logs, _Words())
    assert (again.tally.imported, again.tally.duplicates, len(again.files)) == (0, 60, 60)


def test_a_damaged_day_costs_only_the_files_that_need_it(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "0.json").write_text(json.dumps(_row(0)))
    _import(tmp_path, logs, _Words())
    (stored,) = (tmp_path / "calls").glob("day=*/*.parquet")
    stored.write_bytes(b"no Parquet")
    for number in range(6):
        (logs / f"{number}.json").write_text(json.dumps(_row(number)))
    result = _import(tmp_path, logs, _Words())
    assert [one.file for one in result.refused] == [str(logs / "0.json"), str(logs / "3.json")]
    assert result.tally.imported == 4


_IMPORT_AND_DIE = """
import os, signal, sys
from pathlib import Path
from freehold.core.progress import Silent
from freehold.ledger import bulk, publish
from freehold.ledger.logs import together
from freehold.ledger.logs.engine import Choices, Stores, import_logs
from freehold.ledger.logs.files import find_logs
from freehold.ledger.logs.tasks import assign
from freehold.ledger.store import Ledger
from freehold.ledger.volumes import Volumes

together.MOST_ROWS = 12
steps, last = 0, int(sys.argv[2])

def mortal(function):
    def step(*arguments, **options):
        global steps
        steps += 1
        if steps == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return step

bulk.stage, bulk.swap, publish.settle = mortal(bulk.stage), mortal(bulk.swap), mortal(publish.settle)
folder = Path(sys.argv[1])
stores = Stores(
    ledger=Ledger(folder / "calls"), volumes=Volumes(folder / "volumes"), keep=lambda words: {}, assign=assign
)
print(import_logs(find_logs([folder / "logs"]), stores, Choices(), progress=Silent()).tally.imported)
"""


@pytest.mark.parametrize("dies_at", [3, 6, 9, 12, 15])
def test_a_death_leaves_whole_files_and_the_same_again_adds_the_rest(tmp_path: Path, dies_at: int) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    of_file: list[set[str]] = []
    randomly = random.Random(dies_at)
    number = 0
    while number < 60:
        rows = [_row(n) for n in range(number, min(60, number + randomly.randint(1, 5)))]
        number += len(rows)
        (logs / f"{len(of_file):02}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        of_file.append({row["id"] for row in rows})

    def run(last: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", _IMPORT_AND_DIE, str(tmp_path), str(last)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    assert run(dies_at).returncode == -signal.SIGKILL
    there = {call.request_id for call in Ledger(tmp_path / "calls").read()}
    assert all(ids <= there or not ids & there for ids in of_file)
    assert len(there) < 60
    assert run(-1).stdout == f"{60 - len(there)}\n"
    assert len(list(Ledger(tmp_path / "calls").read())) == 60
