"""Traces and volumes: many rows at once and one by one give the same calls, and the same trace again adds nothing."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.core.progress import Silent
from freehold.ledger.logs.engine import Choices, Stores, import_logs
from freehold.ledger.logs.files import find_logs
from freehold.ledger.logs.formats.table import FORMATS, format_named
from freehold.ledger.logs.formats.trace import TRACE
from freehold.ledger.logs.tasks import assign
from freehold.ledger.store import Ledger
from freehold.ledger.volumes import Volumes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from freehold.core.call import Call
    from freehold.ledger.logs.format import Format, HumanWord
    from freehold.ledger.logs.imported import Imported

TODAY = datetime(2026, 11, 23, 9, tzinfo=UTC)
ONE_BY_ONE = replace(TRACE, columns=None)


def _none_kept(_words: Sequence[tuple[HumanWord, Call]]) -> dict[str, int]:
    return {}


def _stores(folder: Path) -> Stores:
    volumes = Volumes(folder / "volumes")
    return Stores(ledger=Ledger(folder / "calls"), volumes=volumes, keep=_none_kept, assign=assign)


def take(folder: Path, *paths: str | Path, form: Format | None = None, **options: Any) -> Imported:
    found = find_logs(list(paths))
    return import_logs(found, _stores(folder), Choices(format=form, **options), progress=Silent(), today=TODAY)


def calls_in(folder: Path) -> list[Call]:
    return list(Ledger(folder / "calls").read())


def _lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_trace_without_dates_ends_today_and_the_same_one_again_adds_nothing(tmp_path: Path) -> None:
    rows = [{"t_s": 3600.5 * number, "input_tokens": 10, "output_tokens": number} for number in range(30)]
    path = _lines(tmp_path / "trace", rows)
    result = take(tmp_path, path, task="chat")
    assert (result.tally.imported, result.tally.tasks) == (30, {"chat": 30})
    (assumed,) = result.tally.assumptions
    assert "taken to be 2026-11-21 00:00 UTC" in assumed
    calls = calls_in(tmp_path)
    start = datetime(2026, 11, 21, tzinfo=UTC)
    assert [call.started_at for call in calls] == [start + timedelta(seconds=3600.5 * number) for number in range(30)]
    assert (calls[3].input_tokens, calls[3].output_tokens, calls[3].cache_read_tokens) == (10, 3, None)
    packed = tmp_path / "copy.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    again = import_logs(
        find_logs([packed]),
        Stores(
            ledger=Ledger(tmp_path / "calls"), volumes=Volumes(tmp_path / "volumes"), keep=_none_kept, assign=assign
        ),
        Choices(task="chat"),
        progress=Silent(),
        today=TODAY + timedelta(days=5),
    )
    assert (again.tally.imported, again.tally.duplicates) == (0, 30)


def test_a_trace_that_has_grown_adds_what_is_new(tmp_path: Path) -> None:
    rows = [{"t_s": number, "input_tokens": 10, "output_tokens": number % 7} for number in range(3_000)]
    assert take(tmp_path, _lines(tmp_path / "a", rows[:2_000])).tally.imported == 2_000
    assert take(tmp_path, _lines(tmp_path / "a", rows)).tally.imported == 1_000


def test_two_traces_that_look_alike_are_two(tmp_path: Path) -> None:
    rows = [{"t_s": number, "input_tokens": 10, "output_tokens": 5} for number in range(50)]
    first = _lines(tmp_path / "a", rows)
    second = _lines(tmp_path / "b", [{**rows[0], "output_tokens": 6}, *rows[1:]])
    assert take(tmp_path, first, second).tally.imported == 100


def test_real_repeats_inside_a_file_stay(tmp_path: Path) -> None:
    row = {"timestamp": "2026-10-01T00:00:00Z", "input_tokens": 3, "output_tokens": 4}
    path = _lines(tmp_path / "a", [row] * 5 + [{**row, "output_tokens": 5}] + [row] * 2)
    assert take(tmp_path, path).tally.imported == 8
    assert take(tmp_path, path).tally.duplicates == 8
    assert len(calls_in(tmp_path)) == 8


def test_the_columns_of_azure_are_known(tmp_path: Path) -> None:
    path = tmp_path / "azure.csv"
    path.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46.6805900,374,44\r\n"
        "2023-11-16 18:15:50.9951690,396,109\r\n"
    )
    take(tmp_path, path)
    calls = calls_in(tmp_path)
    assert [(call.started_at, call.input_tokens, call.output_tokens) for call in calls] == [
        (datetime(2023, 11, 16, 18, 15, 46, 680590, tzinfo=UTC), 374, 44),
        (datetime(2023, 11, 16, 18, 15, 50, 995169, tzinfo=UTC), 396, 109),
    ]


_TIMES = st.one_of(
    st.floats(0, 9e8, allow_nan=False).map(lambda value: round(value, 3)),
    st.integers(0, 86_400),
    st.floats(9.5e8, 4e9, allow_nan=False),
    st.datetimes(datetime(2001, 1, 1), datetime(2099, 1, 1)).map(lambda moment: moment.isoformat()),
    st.datetimes(datetime(2001, 1, 1), datetime(2099, 1, 1)).map(lambda moment: f"{moment.isoformat(' ')}Z"),
    st.sampled_from(["soon", -1, None, "", "1e999"]),
)
_COUNTS = st.one_of(st.integers(0, 5_000), st.sampled_from([None, -1, 1.5, "7", "x", True, 2**60]))
_TEXTS = st.sampled_from([None, "m", " m ", "", "=1+1", "a/b", 7])
_TRACES = st.lists(
    st.fixed_dictionaries(
        {"t_s": _TIMES, "input_tokens": _COUNTS, "output_tokens": _COUNTS},
        optional={"cached_tokens": _COUNTS, "model": _TEXTS, "task": _TEXTS, "id": _TEXTS, "mood": _TEXTS},
    ),
    min_size=1,
    max_size=6,
)
_PLAIN = st.lists(
    st.fixed_dictionaries(
        {"t_s": st.floats(0, 9e8, allow_nan=False), "input_tokens": st.integers(0, 9), "output_tokens": st.just(3)},
        optional={"model": st.sampled_from(["m", "n"]), "duration_ms": st.floats(0, 1e6, allow_nan=False)},
    ),
    min_size=1,
    max_size=8,
)


def _csv(rows: list[dict[str, Any]]) -> str:
    names = sorted({name for row in rows for name in row})
    cells = [[("" if row.get(name) is None else str(row[name])) for name in names] for row in rows]
    return "".join(",".join(line) + "\n" for line in [names, *cells])


@settings(max_examples=150, deadline=None)
@given(_TRACES | _PLAIN, st.booleans())
def test_many_rows_at_once_are_what_they_are_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], is_table: bool
) -> None:
    folder = tmp_path_factory.mktemp("trace")
    path = folder / "trace"
    path.write_text(_csv(rows) if is_table else "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    fast = take(folder / "fast", path, form=TRACE, starts_at=start)
    slow = take(folder / "slow", path, form=ONE_BY_ONE, starts_at=start)
    assert calls_in(folder / "fast") == calls_in(folder / "slow")
    assert fast.tally == slow.tally
    assert fast.rejected == slow.rejected


def test_windows_become_volumes_of_unknown_tokens(tmp_path: Path) -> None:
    rows = [{"client": client, "t_s": 600 * window, "requests": 7} for client in (1, "shop") for window in range(5)]
    path = _lines(tmp_path / "w", rows)
    result = take(tmp_path, path, starts_at=datetime(2026, 10, 1, tzinfo=UTC))
    assert (result.tally.imported, result.tally.volumes) == (10, 10)
    assert result.tally.tasks == {"client-1": 5, "shop": 5}
    (batch,) = Volumes(tmp_path / "volumes").read()
    first = batch.to_pylist()[0]
    assert (first["window_s"], first["calls"], first["input_tokens"], first["key_id"]) == (600.0, 7, None, "1")
    assert first["started_at"] == datetime(2026, 10, 1, tzinfo=UTC)
    again = take(tmp_path, path, starts_at=datetime(2026, 10, 1, tzinfo=UTC))
    assert (again.tally.imported, again.tally.duplicates) == (0, 10)


def test_lengths_of_clients_give_the_tokens_of_their_windows(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    _lines(logs / "a_windows", [{"client": client, "t_s": 0, "requests": 10, "cv": 1.0} for client in (1, 2)])
    _lines(
        logs / "clients",
        [
            {"client": 1, "requests_total": 10, "input_tokens": {"mean": 20.25}, "output_tokens": {"mean": 1}},
            {"client": 2, "requests_total": 10},
        ],
    )
    _lines(logs / "calls_client1.jsonl", [{"t_s": 1.5, "input_tokens": 1, "output_tokens": 1}])
    result = take(tmp_path, logs)
    rows = [row for batch in Volumes(tmp_path / "volumes").read() for row in batch.to_pylist()]
    assert {(row["task"], row["calls"], row["input_tokens"], row["output_tokens"]) for row in rows} == {
        ("client-1", 10, 202, 10),
        ("client-2", 10, None, None),
    }
    assert calls_in(tmp_path) == []
    assert any(reason.startswith("a trace beside volumes") for reason in result.tally.skipped)


@pytest.mark.parametrize(
    ("file", "row", "is_counted"),
    [
        ("requests_client1.jsonl", {"t_s": 1150}, True),
        ("requests_client1.jsonl", {"t_s": 1250}, False),
        ("requests_client3.jsonl", {"t_s": 5}, False),
        ("other.jsonl", {"t_s": 5}, False),
        ("other.jsonl", {"t_s": 5, "client": "shop"}, True),
        ("other.jsonl", {"t_s": 5, "client": "another"}, False),
    ],
)
def test_a_trace_is_passed_over_where_windows_count_its_calls(
    tmp_path: Path, file: str, row: dict[str, Any], is_counted: bool
) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    windows = [{"client": client, "t_s": at, "requests": 9} for client in (1, "shop") for at in (0, 600)]
    _lines(logs / "windows.jsonl", windows)
    _lines(logs / file, [{**row, "input_tokens": 1, "output_tokens": 1}])
    assert len(take(tmp_path, logs).tally.skipped) == is_counted
    assert len(calls_in(tmp_path)) == (not is_counted)


def test_all_tenants_of_a_real_trace_are_volumes(tmp_path: Path, shared_data: Path) -> None:
    folder = shared_data / "trace_servegen_msmall"
    result = take(tmp_path, folder)
    rows = [row for batch in Volumes(tmp_path / "volumes").read() for row in batch.to_pylist()]
    totals = {str(row["client"]): row for row in map(json.loads, (folder / "clients.jsonl").read_text().splitlines())}
    calls: dict[str, int] = dict.fromkeys(totals, 0)
    for row in rows:
        calls[row["key_id"]] += row["calls"]
    assert calls == {client: row["requests_total"] for client, row in totals.items()}
    without = {row["key_id"] for row in rows if row["input_tokens"] is None}
    assert without == {client for client, row in totals.items() if "input_tokens" not in row}
    assert (result.tally.rejected, len(result.tally.tasks)) == (0, 43)


def test_a_real_trace_is_imported_call_by_call(tmp_path: Path, shared_data: Path) -> None:
    path = shared_data / "trace_azure2023" / "code.jsonl"
    result = take(tmp_path, path, task="code")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    calls = calls_in(tmp_path)
    assert (result.tally.imported, len(calls)) == (len(rows), len(rows))
    for name in ("input_tokens", "output_tokens"):
        assert sum(getattr(call, name) for call in calls) == sum(row[name] for row in rows)


def test_a_dry_run_writes_nothing_and_counts_the_same(tmp_path: Path) -> None:
    rows = [{"t_s": number, "input_tokens": 1, "output_tokens": 1} for number in range(20)]
    windows = [{"client": 1, "t_s": 600 * number, "requests": 7} for number in range(5)]
    (tmp_path / "logs").mkdir()
    paths = [_lines(tmp_path / "logs" / "t", rows), _lines(tmp_path / "w", windows)]
    dry = take(tmp_path, *paths, is_dry=True)
    assert not list(tmp_path.glob("**/*.parquet"))
    assert not (tmp_path / "trace_starts.json").exists()
    assert dry.tally == take(tmp_path, *paths).tally
    assert take(tmp_path, *paths, is_dry=True).tally.duplicates == 25


def test_every_format_has_a_name_of_its_own() -> None:
    assert [format_named(each.name) for each in FORMATS] == list(FORMATS)


def test_calls_that_name_nothing_are_named_after_the_file_of_their_trace(tmp_path: Path) -> None:
    bare: dict[str, Any] = {"t_s": 0, "input_tokens": 3, "output_tokens": 4}  # Any: JSON
    code = _lines(tmp_path / "code.jsonl", [bare] * 2)
    (tmp_path / "chat.v2.csv.gz").write_bytes(gzip.compress(b"t_s,input_tokens,output_tokens\n5,1,2\n"))
    named: list[dict[str, Any]] = [
        {**bare, "task": "own"},
        {**bare, "model": "m"},
        {**bare, "key_id": "k"},
        {**bare, "client": "c"},
        bare,
    ]
    mixed = _lines(tmp_path / "mixed.jsonl", named)
    for form in (None, ONE_BY_ONE):
        folder = tmp_path / ("columns" if form is None else "rows")
        result = take(folder, code, tmp_path / "chat.v2.csv.gz", mixed, form=form)
        assert result.tally.tasks == {"code": 2, "chat.v2": 1, "mixed": 1, "own": 1, "unassigned": 3}
    assert take(tmp_path / "told", code, task="mine").tally.tasks == {"mine": 2}
