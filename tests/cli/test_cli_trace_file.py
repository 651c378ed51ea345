from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from freehold.cli.row_faults import lines_named
from freehold.cli.trace_file import read_lengths, read_trace
from freehold.cli.trace_rows import LeftOut, NoTraffic, arrival
from freehold.cli.volume_file import read_volumes
from freehold.core.errors import InputError
from freehold.economics.trace import Lengths

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

GOOD = [
    {"t_s": 0.5, "input_tokens": 100, "output_tokens": 10},
    {"t_s": 1.5, "input_tokens": 200, "output_tokens": 20},
    {"t_s": 1.5, "input_tokens": 300, "output_tokens": 30},
]


def write(folder: Path, rows: Sequence[Any], name: str = "trace.jsonl") -> Path:
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def columns(path: Path, **how: Any) -> list[tuple[float, int, int]]:
    found = read_trace(path, **how)
    return list(zip(found.t_s.tolist(), found.input_tokens.tolist(), found.output_tokens.tolist(), strict=True))


EXPECTED = [(0.5, 100, 10), (1.5, 200, 20), (1.5, 300, 30)]


def test_the_same_calls_in_every_format(tmp_path: Path) -> None:
    text = write(tmp_path, GOOD).read_bytes()
    (tmp_path / "trace.jsonl.gz").write_bytes(gzip.compress(text))
    (tmp_path / "trace.json").write_text(json.dumps(GOOD), encoding="utf-8")
    csv = "t_s,input_tokens,output_tokens\n0.5,100,10\n1.5,200,20\n1.5,300,30\n"
    (tmp_path / "trace.csv").write_text(csv, encoding="utf-8")
    write(tmp_path, ["", json.dumps(GOOD[0]), "", *GOOD[1:]], "blank.jsonl")

    for name in ("trace.jsonl", "trace.jsonl.gz", "trace.json", "trace.csv", "blank.jsonl"):
        assert columns(tmp_path / name) == EXPECTED, name


def test_columns_of_published_traces_and_of_logs_are_known(tmp_path: Path) -> None:
    azure = tmp_path / "azure.csv"
    head, first, second = (
        "TIMESTAMP,ContextTokens,GeneratedTokens",
        "18:15:46.6805900,374,44",
        "18:15:50.9951690,396,109",
    )
    azure.write_text(f"{head}\n2023-11-16 {first}\n2023-11-16 {second}\n", encoding="utf-8")
    burst = tmp_path / "burst.csv"
    head = "Timestamp,Model,Request tokens,Response tokens"
    burst.write_text(f"{head}\n5,ChatGPT,472,18\n45,GPT-4,1087,230\n", encoding="utf-8")
    log = {"started_at": "2026-06-01T08:00:00Z", "input_tokens": 5, "output_tokens": 6}

    found = read_trace(azure)
    assert found.span_s == pytest.approx(4.314579, abs=1e-5)
    assert found.output_tokens.tolist() == [44, 109]
    assert columns(burst) == [(5.0, 472, 18), (45.0, 1087, 230)]
    assert columns(write(tmp_path, [log], "log.jsonl")) == [(1780300800.0, 5, 6)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('{"t_s": 1.5, "input_tokens": 200', "not JSON"),
        ("[1, 2]", "must be a JSON object"),
        ({"input_tokens": 1, "output_tokens": 1}, "t_s is missing"),
        ({"t_s": None, "input_tokens": 1, "output_tokens": 1}, "t_s is missing"),
        ({"t_s": 1.5, "client": 4, "requests": 7}, "the row counts calls by window"),
        ({"t_s": 1.5, "input_tokens": 9, "output_tokens": 1, "cached_tokens": 10}, "cached_tokens is 10, more than"),
        ({"t_s": 1.5, "input_tokens": 9, "output_tokens": 1, "cached_tokens": -1}, "cached_tokens is -1, not a whole"),
        ({"t_s": "soon", "input_tokens": 1, "output_tokens": 1}, "neither seconds nor a moment"),
        ({"t_s": "nan", "input_tokens": 1, "output_tokens": 1}, "t_s is of type str, not a finite number"),
        ({"t_s": True, "input_tokens": 1, "output_tokens": 1}, "t_s is of type bool"),
        ({"t_s": [1], "input_tokens": 1, "output_tokens": 1}, "t_s is of type list"),
        ({"t_s": -1, "input_tokens": 1, "output_tokens": 1}, "t_s is -1, before the beginning"),
        ('{"t_s": NaN, "input_tokens": 1, "output_tokens": 1}', "t_s is nan, not a finite"),
        ('{"t_s": 1e999, "input_tokens": 1, "output_tokens": 1}', "t_s is inf, not a finite"),
        ({"t_s": 1.5, "input_tokens": 0, "output_tokens": 1}, "input_tokens is 0, not a whole number between 1"),
        ({"t_s": 1.5, "input_tokens": -5, "output_tokens": 1}, "input_tokens is -5"),
        ({"t_s": 1.5, "input_tokens": 1.5, "output_tokens": 1}, "input_tokens is 1.5"),
        ({"t_s": 1.5, "input_tokens": 1, "output_tokens": 10**12}, "output_tokens is 1000000000000"),
        ({"t_s": 1.5, "input_tokens": 1, "output_tokens": 10**400}, "output_tokens is"),
        ({"t_s": 1.5, "input_tokens": 1, "output_tokens": "<secret>"}, "output_tokens is of type str"),
    ],
)
def test_a_broken_row_is_named_by_its_line(tmp_path: Path, row: Any, reason: str) -> None:
    path = write(tmp_path, [GOOD[0], row, GOOD[2]])

    with pytest.raises(InputError) as error:
        read_trace(path)

    assert f"{path} has 1 faulty row. line 2: " in str(error.value)
    assert reason in str(error.value)
    assert "<secret>" not in str(error.value)


def test_many_broken_rows_are_counted_and_the_first_ones_named(tmp_path: Path) -> None:
    path = write(tmp_path, [{"input_tokens": number} for number in range(9)])

    with pytest.raises(
        InputError, match=r"has 9 faulty rows \(lines 1–9\). line 1: .*; line 5: [^;]*; and 4 more. Correct"
    ):
        read_trace(path)


def test_every_faulty_line_is_named_of_every_kind_of_fault(tmp_path: Path) -> None:
    late = [GOOD[0], GOOD[1], GOOD[0], {**GOOD[2], "t_s": 0.25}, GOOD[2], "{", GOOD[2]]

    with pytest.raises(InputError) as error:
        read_trace(write(tmp_path, late))

    with pytest.raises(InputError, match=r"has 1 faulty row. line 1: [^;]* Correct or remove it.$"):
        read_trace(write(tmp_path, [{"t_s": -1}], "only.jsonl"))
    assert str(error.value).split(". ", 1)[0].endswith("has 1 faulty row")
    assert "line 6: not JSON" in str(error.value)
    assert "line 3: the call arrived before the one on line 2; so did those on line 4 (2 rows in all)" in str(
        error.value
    )
    assert "2 rows are there twice (lines 3, 7)" in str(error.value)
    falling = [{**GOOD[0], "t_s": number} for number in range(40, 0, -1)]
    with pytest.raises(InputError, match=r"so did those on lines 3–40 \(39 rows in all\)"):
        read_trace(write(tmp_path, falling))


def test_of_very_many_faulty_lines_a_thousand_are_named() -> None:
    assert lines_named([7]) == "line 7"
    assert lines_named([9, 2, 3, 4, 3]) == "lines 2–4, 9"
    words = lines_named(range(1, 5001, 2))
    assert words.startswith("lines 1, 3, 5, ")
    assert words.endswith(", 1999 and 1,500 more")


def test_an_empty_file_holds_no_calls(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.csv", "a.json"):
        with pytest.raises(InputError, match="holds no calls"):
            read_trace(write(tmp_path, [], name))
    with pytest.raises(InputError, match="1 faulty row"):
        read_trace(write(tmp_path, ["{", "}"]))
    assert len(read_trace(write(tmp_path, GOOD, "trace.txt")).t_s) == len(GOOD)


def test_calls_out_of_order_are_refused_unless_sorting_was_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, [GOOD[1], GOOD[2], GOOD[0]])

    with pytest.raises(InputError, match=r"line 3: the call arrived before the one on line 2.*--sort"):
        read_trace(path)
    notes: list[str] = []
    assert columns(path, sort=True, warnings=notes) == EXPECTED
    assert notes == ["1 row stood before an earlier one, the first on line 3; the calls were sorted."]


def test_copied_rows_are_refused_kept_or_dropped(tmp_path: Path) -> None:
    path = write(tmp_path, [GOOD[0], GOOD[1], "", GOOD[1], GOOD[2]])

    with pytest.raises(InputError, match=r"1 row is there twice \(line 4\).*--duplicates"):
        read_trace(path)
    assert len(columns(path, duplicates="keep")) == 4
    notes: list[str] = []
    assert columns(path, duplicates="drop", warnings=notes) == EXPECTED
    assert notes == ["1 row was there before and was left out (line 4)."]


def test_calls_with_names_repeat_by_their_name_alone(tmp_path: Path) -> None:
    same_numbers = [{"id": name, **GOOD[0]} for name in "abc"]
    twice = [*same_numbers, {"id": "a", **GOOD[1]}]

    assert len(columns(write(tmp_path, same_numbers))) == 3
    with pytest.raises(InputError, match=r"1 row is there twice \(line 4\)"):
        read_trace(write(tmp_path, twice))
    assert len(columns(write(tmp_path, twice), duplicates="drop")) == 3


def test_equal_rows_pass_where_chance_explains_them(tmp_path: Path) -> None:
    # 2,000 calls of one length in 100 moments cannot but coincide; among calls of many lengths a copy stands out.
    alike = [{"t_s": number // 20, "input_tokens": 7, "output_tokens": 7} for number in range(2000)]
    various = [{"t_s": number / 2, "input_tokens": 1 + number, "output_tokens": 7} for number in range(2000)]
    notes: list[str] = []

    assert len(columns(write(tmp_path, alike), warnings=notes)) == 2000
    assert notes[0].startswith("1,900 rows equal another one (lines 2–20, 22–40, ")
    assert " and 900 more), as few as chance explains" in notes[0]
    with pytest.raises(InputError, match=r"1 row is there twice \(line 2001\)"):
        read_trace(write(tmp_path, [*various, various[-1]]))


def test_arrivals_alone_take_lengths_from_elsewhere(tmp_path: Path) -> None:
    path = write(tmp_path, [{"t_s": 1}, {"t_s": 1}, {"t_s": 3}])
    pairs = Lengths(input_tokens=np.array([5, 6]), output_tokens=np.array([50, 60]))

    assert {call[1:] for call in columns(path, lengths=pairs)} <= {(5, 50), (6, 60)}
    only = write(tmp_path, [{"input_tokens": 3, "output_tokens": 4}], "l.jsonl")
    assert read_lengths(only).input_tokens.tolist() == [3]


def test_times_in_milliseconds_are_suspected(tmp_path: Path) -> None:
    rows = [{**GOOD[0], "t_s": 0}, {**GOOD[0], "t_s": 86_400_000}]

    with pytest.raises(InputError, match="milliseconds"):
        read_trace(write(tmp_path, rows))


def test_rows_without_tokens_are_left_out_and_told_with_their_lines(tmp_path: Path) -> None:
    gone, notes = LeftOut(), list[str]()
    without = [{"t_s": 0.75}, {"t_s": 0.8, "input_tokens": None, "output_tokens": 4}]
    path = write(tmp_path, [GOOD[0], *without, *GOOD[1:], {"t_s": 9, "input_tokens": 3}])

    assert columns(path, left_out=gone, warnings=notes) == EXPECTED
    assert notes == [
        "3 rows of the trace were left out: 3 without input_tokens or output_tokens (lines 2–3, 6).",
    ]
    assert gone.as_record() == {
        "rows": 3,
        "reasons": [{"reason": "without input_tokens or output_tokens", "rows": 3}],
    }
    csv = tmp_path / "trace.csv"
    csv.write_text("t_s,input_tokens,output_tokens\n0.5,100,10\n0.7,,5\n1.5,200,20\n1.5,300,30\n", encoding="utf-8")
    assert columns(csv) == EXPECTED
    with pytest.raises(InputError, match=r"holds no calls that count. 2 rows .* \(lines 1–2\)\. .*--input-tokens"):
        read_trace(write(tmp_path, without))


LEDGER = {
    "id": "a", "task": "desk", "started_at": "2026-06-01T08:00:00+00:00", "route": "rent", "model_requested": "gpt-5.4",
    "status": 200, "error_type": None, "input_tokens": 9, "output_tokens": 3, "cache_read_tokens": 4,
}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "replayed", "rented"),
    [
        ({}, None, None),
        ({"route": "own"}, None, "answered by an own model"),
        ({"route": "canary"}, None, "answered by an own model"),
        ({"route": "cascade"}, None, None),
        ({"route": "shadow"}, "in the shadow of another call", "in the shadow of another call"),
        ({"split": "test"}, "held-out test cases", "held-out test cases"),
        (
            {"route": None, "status": None, "input_tokens": None, "output_tokens": None},
            "never sent to a model",
            "never sent to a model",
        ),
        ({"status": 500, "output_tokens": 0}, "failed without an answer", "failed without an answer"),
        ({"error_type": "timeout", "output_tokens": None}, "failed without an answer", "failed without an answer"),
        ({"status": 500, "output_tokens": 2}, None, None),
        ({"started_at": None}, "without a time", "without a time"),
        ({"input_tokens": None}, "without input_tokens or output_tokens", "without input_tokens or output_tokens"),
    ],
)
def test_rows_of_a_ledger_count_where_they_are_traffic(
    row: dict[str, Any], replayed: str | None, rented: str | None
) -> None:
    for counting, reason in (("replayed", replayed), ("rented", rented)):
        if reason is None:
            call = arrival(LEDGER | row, counting=counting)  # type: ignore[arg-type]  # a literal of two
            assert (call.t_s, call.input_tokens, call.cached_tokens, call.name) == (1780300800.0, 9, 4, "a")
        else:
            with pytest.raises(NoTraffic, match=reason):
                arrival(LEDGER | row, counting=counting)  # type: ignore[arg-type]  # a literal of two


def test_parquet_is_read_like_the_same_rows_of_text(tmp_path: Path) -> None:
    moments = [datetime(2026, 6, 1, 8, minute, tzinfo=UTC) for minute in (0, 1, 2)]
    rows = [
        LEDGER | {"id": str(place), "started_at": moment, "request": "{}", "route": route}
        for place, (moment, route) in enumerate(zip(moments, ("rent", "own", "rent"), strict=True))
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    text = write(tmp_path, [row | {"started_at": str(row["started_at"])} for row in rows])
    gone = LeftOut()

    assert columns(tmp_path / "t.parquet") == columns(text) == [(1780300800.0 + 60 * at, 9, 3) for at in range(3)]
    assert len(columns(tmp_path / "t.parquet", counting="rented", left_out=gone)) == 2
    assert gone.sentence() == "1 row of the trace was left out: 1 answered by an own model (line 2)."
    (tmp_path / "no.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(InputError, match=r"no.parquet: this is no Parquet file that can be read"):
        read_trace(tmp_path / "no.parquet")
    with pytest.raises(InputError, match=r"none.parquet: there is no such file"):
        read_trace(tmp_path / "none.parquet")


def test_cached_tokens_of_a_trace_are_kept(tmp_path: Path) -> None:
    rows = [{**row, "cache_read_tokens": cached} for row, cached in zip(GOOD, (0, 50, 100), strict=True)]
    shared = read_trace(write(tmp_path, rows))

    assert shared.cached_tokens is not None
    assert shared.cached_tokens.tolist() == [0, 50, 100]
    assert shared.cached_share == pytest.approx(150 / 600)
    notes: list[str] = []
    some = read_trace(write(tmp_path, [*rows[:2], GOOD[2]]), warnings=notes)
    assert some.cached_tokens is not None
    assert some.cached_tokens.tolist() == [0, 50, 0]
    assert notes == ["1 call does not tell how much a prompt cache held: none is assumed."]
    assert read_trace(write(tmp_path, GOOD)).cached_share is None


def test_real_traces_are_read_whole(shared_data: Path) -> None:
    conv = read_trace(shared_data / "trace_azure2023" / "conv.jsonl")
    notes: list[str] = []
    client = read_trace(shared_data / "trace_servegen_msmall" / "requests_client22.jsonl", warnings=notes)

    assert (conv.calls, int(conv.input_tokens.sum())) == (19_366, 22_361_870)
    assert client.calls == 75_545
    assert notes[0].startswith("5 rows equal another one")


WINDOWS = [
    {"client": 2, "t_s": 600, "requests": 5, "cv": 2.5},
    {"client": 2, "t_s": 0, "requests": 0},
    {"client": "x", "t_s": 600, "requests": 7, "cv": None},
]


def test_volumes_that_go_back_in_time_are_refused_unless_sorting_was_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, WINDOWS)

    with pytest.raises(
        InputError, match=r"line 2: its window begins before the one above of the same client \(1 row in"
    ):
        read_volumes(path)
    falling = [{"t_s": 600 * (9 - number), "requests": 1} for number in range(9)]
    with pytest.raises(InputError, match=r"lines 2–9: their windows begin before .* \(8 rows in all\). .*--sort"):
        read_volumes(write(tmp_path, falling, "falling.jsonl"))
    one_after_the_other = [{"client": client, "t_s": t_s, "requests": 1} for client in "ab" for t_s in (0, 600)]
    assert read_volumes(write(tmp_path, one_after_the_other, "clients.jsonl")).requests.tolist() == [1, 1, 1, 1]
    with pytest.raises(InputError, match=r"has 1 faulty row. line 3: .* line 2: its window begins"):
        read_volumes(write(tmp_path, [*WINDOWS[:2], "{"], "both.jsonl"))


def test_volumes_are_read_in_any_order_if_they_may_be(tmp_path: Path) -> None:
    found = read_volumes(write(tmp_path, WINDOWS), sort=True)

    assert found.requests.tolist() == [5, 0, 7]
    assert found.window_s == 600.0
    assert found.cv is not None
    assert found.cv.tolist() == [2.5, 1.0, 1.0]
    one = read_volumes(write(tmp_path, WINDOWS), clients=["x"], window_s=900.0, sort=True)
    assert (one.requests.tolist(), one.window_s, one.cv) == ([7], 900.0, None)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{", "not JSON"),
        ({"client": 2, "t_s": 600, "requests": 9}, "the same client and window as line 1"),
        ({"client": 2, "t_s": 1200, "requests": -1}, "requests is no whole number"),
        ({"client": 2, "t_s": 1200, "requests": 1.5}, "requests is no whole number"),
        ({"client": 2, "t_s": 1200, "requests": True}, "requests is no whole number"),
        ({"client": 2, "t_s": 1200, "requests": "many"}, "requests is no whole number"),
        ('{"client": 2, "t_s": 1200, "requests": NaN}', "requests is no whole number"),
        ({"client": 2, "t_s": 1200}, "requests is no whole number"),
        ({"client": 2, "requests": 1}, "t_s is missing"),
        ({"client": 2, "t_s": 1200, "requests": 1, "cv": 0}, "cv is no positive number"),
        ({"client": 2, "t_s": 1200, "requests": 1, "cv": [1]}, "cv is no positive number"),
    ],
)
def test_a_broken_row_of_volumes_is_named_by_its_line(tmp_path: Path, row: Any, reason: str) -> None:
    with pytest.raises(InputError, match=f"line 4: .*{reason}"):
        read_volumes(write(tmp_path, [*WINDOWS, row]))


def test_unknown_clients_and_widths_that_cannot_be_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, WINDOWS)

    with pytest.raises(InputError, match="no client '7'"):
        read_volumes(path, clients=["7"], sort=True)
    with pytest.raises(InputError, match="600 s apart; they cannot be 601 s wide"):
        read_volumes(path, window_s=601.0, sort=True)
    with pytest.raises(InputError, match="--window-s"):
        read_volumes(path, clients=["x"], sort=True)
    for width in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="positive"):
            read_volumes(path, window_s=width, sort=True)
    with pytest.raises(InputError, match="holds no volumes"):
        read_volumes(write(tmp_path, [], "empty.jsonl"))


def test_a_trace_is_not_read_from_counted_calls(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="counts calls by window"):
        read_trace(write(tmp_path, WINDOWS))


@pytest.mark.parametrize(
    "text",
    [
        "t_s,input_tokens,output_tokens\n0.5,100,10\n1.5,200,20\n1.5,300,30\n",
        "\ufefft_s;input_tokens;output_tokens\r\n0.5;100;10\r\n1.5;200;20\r\n1.5;300;30",
        '"t_s"\t"output_tokens"\t"input_tokens"\n"0.5"\t10\t100\n1.5\t20\t200\n1.5\t30\t300\n',
        "t_s,note,input_tokens,output_tokens\n0.5,a,100,10\n1.5,,200,20\n1.5,b,300,30\n",
    ],
)
def test_tables_of_text_are_read_in_one_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text, encoding="utf-8", newline="")
    slow = columns(path, counting="rented")

    monkeypatch.setattr("freehold.cli.trace_file._read_by_row", None)
    assert columns(path) == slow == EXPECTED


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("t_s,input_tokens,output_tokens\n0.5,100,10\n1.5,x,20\n", 3, "input_tokens is of type str"),
        ("t_s,input_tokens,output_tokens\n0.5,100,10\n\n1.5,0,20\n", 4, "output_tokens|input_tokens is"),
        ("t_s,input_tokens,output_tokens\n0.5,100,10\nnan,5,20\n", 3, "t_s is of type str"),
        ("t_s,input_tokens,output_tokens\n0.5,100,10\n1,5\n", 3, "not the 3 columns"),
        ("t_s,input_tokens,output_tokens\n0.5,100,10\n0.25,5,20\n", 3, "arrived before the one on line 2"),
        ("t_s,input_tokens,output_tokens\n0.5,100,10\n0.5,100,10\n", 3, "there twice"),
    ],
)
def test_a_faulty_line_of_a_table_is_named(tmp_path: Path, text: str, line: int, reason: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(InputError, match=reason) as error:
        read_trace(path)
    assert f"line {line}" in str(error.value)


def test_signs_of_what_is_no_traffic_are_seen_in_tables_too(tmp_path: Path) -> None:
    csv = tmp_path / "t.csv"
    csv.write_text(
        "t_s,input_tokens,output_tokens,route\n0.5,100,10,rent\n1,5,5,shadow\n1.5,200,20,own\n", encoding="utf-8"
    )
    rows = [
        dict(zip(("t_s", "input_tokens", "output_tokens", "route"), row, strict=True))
        for row in ((0.5, 100, 10, "rent"), (1, 5, 5, "shadow"), (1.5, 200, 20, "own"))
    ]

    for path in (csv, write(tmp_path, rows)):
        assert columns(path) == [(0.5, 100, 10), (1.5, 200, 20)]
        assert columns(path, counting="rented") == [(0.5, 100, 10)]
