from __future__ import annotations

import json
import random
import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Desk, Terminal

REPLICA = ("--model", "llama-3.1-8b", "--gpu", "h100")


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def calls(nowhere: Terminal) -> Path:
    """Half an hour of 600 calls, three quarters of them in its first third."""
    choice = random.Random(1)
    times = sorted(choice.uniform(0, 600 if number % 4 else 1800) for number in range(600))
    rows = [
        {"t_s": round(t_s, 3), "input_tokens": choice.randint(50, 3000), "output_tokens": choice.randint(1, 400)}
        for t_s in times
    ]
    return write(nowhere.folder / "calls.jsonl", rows)


def without_time(record: dict[str, Any]) -> dict[str, Any]:
    assert record["wall_s"] > 0
    return {name: value for name, value in record.items() if name != "wall_s"}


def test_the_fewest_replicas_as_text(nowhere: Terminal, desk: type[Desk], calls: Path) -> None:
    shown = nowhere.run("simulate", "--trace", calls, *REPLICA, "--times", "60", "--gpu-usd-per-hour", "2")

    assert shown.code == 0, shown.err
    text = shown.out
    assert "hold 500 ms to the first token and 50 ms for each further one (p95)" in " ".join(text.split())
    assert "How long callers wait" in text
    assert all(len(line) <= 100 for line in text.splitlines())
    assert shown.last_line.startswith("Next: freehold breakeven --trace ")


def test_the_record_and_that_it_is_the_same_each_time(nowhere: Terminal, calls: Path) -> None:
    question = ("simulate", "--trace", calls, *REPLICA, "--ttft-p95-ms", "500", "--tpot-p95-ms", "50")

    record = nowhere.json("simulate", *question)
    again = nowhere.run(*question, "--json").record

    assert without_time(record) == without_time(again)
    first, second = (re.sub(r'"wall_s": [0-9.]+', "", nowhere.run(*question, "--json").out) for _ in range(2))
    assert first == second
    assert record["schema"] == "freehold.simulate/1"
    assert (record["replicas"], record["calls"], record["meets_slo"]) == (1, 600, True)
    assert record["ttft_ms"]["p50"] <= record["ttft_ms"]["p95"] <= record["ttft_ms"]["p99"]
    assert sum(window["calls"] for window in record["windows"]) == 600
    hours = record["lasted_s"] / 3600
    assert record["usd_per_1000_calls"] == pytest.approx(record["usd_per_hour"] * hours / 0.6)


def test_a_number_of_replicas_that_was_asked_for(nowhere: Terminal, calls: Path) -> None:
    def record(*more: str) -> dict[str, Any]:
        shown = nowhere.run("simulate", "--trace", calls, *REPLICA, "--times", "200", *more, "--json")
        assert shown.code == 0, shown.err
        return shown.record

    few, many = record("--replicas", "1"), record("--replicas", "40", "--dispatch", "round-robin")

    assert (few["replicas"], few["meets_slo"], few["searched"]) == (1, False, False)
    assert (many["replicas"], many["meets_slo"]) == (40, True)
    assert many["ttft_ms"]["p95"] < few["ttft_ms"]["p95"]
    text = nowhere.run("simulate", "--trace", calls, *REPLICA, "--times", "200", "--replicas", "1").out
    assert "1 replica of 1 × h100 does not hold" in text


def test_a_goal_out_of_reach_has_a_reason_and_no_number(nowhere: Terminal, calls: Path) -> None:
    question = ("simulate", "--trace", calls, *REPLICA, "--tpot-p95-ms", "0.5")
    record = nowhere.run(*question, "--json").record

    assert (record["replicas"], record["meets_slo"]) == (None, False)
    assert "more replicas do not help" in record["reason"]
    assert record["ttft_ms"]["p95"] > 0
    assert "No number of replicas holds" in nowhere.run(*question).out


def test_counted_calls_need_lengths_and_say_what_was_assumed(nowhere: Terminal) -> None:
    rows = [{"client": client, "t_s": 600 * at, "requests": 100, "cv": 2.0} for client in (1, 2) for at in range(3)]
    path = write(nowhere.folder / "windows.jsonl", rows)
    question = ("simulate", "--trace", path, *REPLICA, "--input-tokens", "800", "--output-tokens", "100")

    both = nowhere.run(*question, "--json").record
    one = nowhere.run(*question, "--client", "2", "--share", "0.5", "--seed", "3", "--json").record

    assert both["calls"] == 600
    assert both["trace_s"] == 1800
    assert 110 < one["calls"] < 190
    names = {each["name"] for each in one["assumptions"] if each["is_assumption"]}
    assert {"input_tokens", "output_tokens", "arrivals inside a window"} <= names
    for less in ((), ("--input-tokens", "5"), ("--input-tokens", "0", "--output-tokens", "1")):
        without = nowhere.run("simulate", "--trace", path, *REPLICA, *less)
        assert without.code == 2
        assert "both --input-tokens and --output-tokens" in without.err


def test_prompts_in_a_cache_wait_less_and_are_told(nowhere: Terminal) -> None:
    rows = [
        {"t_s": 5.0 * at, "input_tokens": 4000, "output_tokens": 5, "cache_read_tokens": 2000 + 500 * (at % 2)}
        for at in range(20)
    ]
    path = write(nowhere.folder / "cached.jsonl", rows)
    question = ("simulate", "--trace", path, *REPLICA, "--replicas", "1", "--json")
    none, half, traced = (
        nowhere.run(*question, *more).record for more in ((), ("--cached-share", "0.5"), ("--cached-share", "trace"))
    )

    waits = [record["ttft_ms"]["p50"] for record in (traced, half, none)]
    assert waits == sorted(waits)
    assert waits[2] > 1.5 * waits[1]
    shares = [
        next(each["value"] for each in record["assumptions"] if each["name"] == "prompts found in the cache")
        for record in (none, half, traced)
    ]
    assert shares == [0.0, 0.5, 0.5625]  # 2,250 of 4,000 tokens
    assert (none["inputs"]["cached_share"], traced["inputs"]["cached_share"]) == (None, "trace")
    assert (none["capacity_used"] is None, half["capacity_used"]) == (False, None)


def test_lengths_are_drawn_from_another_file(nowhere: Terminal, calls: Path) -> None:
    rows = [{"client": 1, "t_s": 0, "requests": 50}]
    path = write(nowhere.folder / "windows.jsonl", rows)

    record = nowhere.run("simulate", "--trace", path, *REPLICA, "--lengths", calls, "--window-s", "60", "--json").record

    assert record["calls"] == 50
    assert 500 < record["mean_input_tokens"] < 2500


def test_a_page_of_its_own(nowhere: Terminal, calls: Path) -> None:
    shown = nowhere.run("simulate", "--trace", calls, *REPLICA, "--html", "load.html")

    page = (nowhere.folder / "load.html").read_text(encoding="utf-8")
    assert shown.code == 0
    assert "Wrote load.html." in shown.err
    assert page.count("<svg") >= 2
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page


def test_a_machine_without_a_price_has_no_cost_and_a_reason(nowhere: Terminal, calls: Path) -> None:
    record = nowhere.run("simulate", "--trace", calls, *REPLICA, "--as-of", "2001-01-01", "--json").record

    assert record["usd_per_1000_calls"] is None
    assert record["usd_reason"]


def test_calls_that_no_replica_can_hold_count_as_never_answered(nowhere: Terminal) -> None:
    rows = [{"t_s": float(at), "input_tokens": 200_000 if at < 8 else 100, "output_tokens": 10} for at in range(100)]
    record = nowhere.run("simulate", "--trace", write(nowhere.folder / "l.jsonl", rows), *REPLICA, "--json").record

    assert record["too_long_calls"] == 8
    assert record["ttft_ms"]["p95"] is None
    assert record["replicas"] is None
    assert "8 calls are longer" in record["warnings"][0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--model", "no-such-model", "--gpu", "h100"), "no-such-model"),
        (("--model", "llama-3.1-8b", "--gpu", "h900"), "h900"),
        ((*REPLICA, "--precision", "fp1"), "fp1"),
        (("--model", "llama-3.1-405b", "--gpu", "l4"), "devices"),
        ((*REPLICA, "--ttft-p95-ms", "nan"), "ttft_p95_ms"),
        ((*REPLICA, "--tpot-p95-ms", "-1"), "tpot_p95_ms"),
        ((*REPLICA, "--replicas", "0"), "replicas can be simulated"),
        ((*REPLICA, "--chunk-tokens", "0"), "A step has between"),
        ((*REPLICA, "--times", "inf"), "positive number"),
        ((*REPLICA, "--gpu-usd-per-hour", "nan"), "--gpu-usd-per-hour"),
        ((*REPLICA, "--gpu-usd-per-hour", "1e12"), "from 0 to 1,000,000,000 dollars"),
        ((*REPLICA, "--times", "1e12"), "positive number up to 1,000,000"),
        ((*REPLICA, "--times", "1e-12"), "positive number up to 1,000,000"),
        ((*REPLICA, "--seed", "-1"), "--seed is -1; it must be 0 or more"),
        ((*REPLICA, "--input-tokens", "5"), "tells how long its calls are"),
        ((*REPLICA, "--lengths", "calls.jsonl"), "tells how long its calls are"),
        ((*REPLICA, "--share", "0.5"), "counted by window"),
        ((*REPLICA, "--cached-share", "1.5"), "must be from 0 to 1"),
        ((*REPLICA, "--cached-share", "nan"), "must be from 0 to 1"),
        ((*REPLICA, "--cached-share", "much"), "a share from 0 to 1, or: trace"),
        ((*REPLICA, "--cached-share", "trace"), "no row of the file has cache_read_tokens"),
        ((*REPLICA, "--lengths", "calls.jsonl", "--input-tokens", "5"), "contradict"),
    ],
)
def test_wrong_options_end_with_exit_code_2(
    nowhere: Terminal, calls: Path, options: tuple[str, ...], words: str
) -> None:
    shown = nowhere.run("simulate", "--trace", calls, *options)

    assert shown.code == 2
    assert shown.out == ""
    assert words in shown.err


def test_faulty_rows_end_with_exit_code_2_and_their_line(nowhere: Terminal) -> None:
    path = write(nowhere.folder / "bad.jsonl", [{"t_s": 1, "input_tokens": 5, "output_tokens": 5}, {"t_s": -1}])

    assert "line 2: t_s is -1" in nowhere.run("simulate", "--trace", path, *REPLICA).error
    for share in ("0", "1.5", "nan"):
        windows = write(nowhere.folder / "w.jsonl", [{"t_s": 0, "requests": 5}, {"t_s": 60, "requests": 5}])
        lengths = ("--input-tokens", "5", "--output-tokens", "5")
        shown = nowhere.run("simulate", "--trace", windows, *REPLICA, *lengths, "--share", share)
        assert "--share must be" in shown.error


def test_a_page_for_a_folder_that_is_not_there_is_refused_before_the_replay(nowhere: Terminal, calls: Path) -> None:
    shown = nowhere.run("simulate", "--trace", calls, *REPLICA, "--html", "no/such/load.html")

    assert (shown.code, shown.out) == (2, "")
    assert shown.error.startswith("no/such/load.html cannot be written: there is no folder no/such.")


def test_moments_of_today_can_be_made_denser(nowhere: Terminal) -> None:
    # Beside 1.8 thousand million seconds since 1970 a double has no more than quarters of a microsecond.
    rows = [
        {"started_at": f"2026-06-01T08:{at // 60:02d}:{at % 60:02d}.{137 * at % 1000:03d}Z"} for at in range(0, 3000, 7)
    ]
    path = write(nowhere.folder / "moments.jsonl", [row | {"input_tokens": 50, "output_tokens": 5} for row in rows])
    for times in ("3", "60", "7777.7"):
        shown = nowhere.run("simulate", "--trace", path, *REPLICA, "--times", times, "--replicas", "1", "--json")
        assert shown.code == 0, shown.err
        assert shown.record["trace_s"] == pytest.approx(shown.record["calls"] * 7 / float(times), rel=0.01)


def test_a_trace_may_be_utf_16_and_a_file_that_is_none_is_told_by_its_columns(nowhere: Terminal) -> None:
    (nowhere.folder / "utf16.csv").write_bytes("t_s,input_tokens,output_tokens\n1,5,6\n".encode("utf-16"))
    (nowhere.folder / "other.csv").write_text("name,colour\nrose,red\n", encoding="utf-8")

    assert nowhere.run("simulate", "--trace", "utf16.csv", *REPLICA).code == 0
    assert "has the columns 'colour', 'name'" in nowhere.run("simulate", "--trace", "other.csv", *REPLICA).error


def test_a_fleet_that_follows_costs_no_more_than_a_fixed_one(nowhere: Terminal) -> None:
    rows = [
        {"t_s": 3600.0 * hour + at / (40 if hour == 1 else 0.01), "input_tokens": 900, "output_tokens": 60}
        for hour in range(3)
        for at in range(4000 if hour == 1 else 20)
    ]
    path = write(nowhere.folder / "day.jsonl", rows)
    question = ("simulate", "--trace", path, *REPLICA, "--ttft-p95-ms", "150", "--gpu-usd-per-hour", "2", "--by-hour")

    record = nowhere.run(*question, "--json").record

    hourly = record["by_hour"]
    assert [hour["calls"] for hour in hourly["hours"]] == [20, 4000, 20]
    assert hourly["most_replicas"] == hourly["hours"][1]["replicas"] > hourly["hours"][0]["replicas"] == 1
    assert hourly["usd_per_1000_calls"] < record["usd_per_1000_calls"]
    assert "Hour by hour 1 to" in nowhere.run(*question).out
    assert "leave one out" in nowhere.run(*question, "--replicas", "2").err
    assert nowhere.run("simulate", "--trace", path, *REPLICA, "--json").record["by_hour"] is None
