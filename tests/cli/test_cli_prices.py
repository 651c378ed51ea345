"""`freehold prices`: list, show, override, check, price."""

from __future__ import annotations

import errno
import json
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Desk, Terminal

BODY = {"model": "gpt-5.4", "usage": {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}}
OVERRIDE = ("prices", "override", "house-model", "--input", "2.10", "--output", "12.60", "--cache-read", "0.21",
            "--valid-from", "2026-09-01", "--source", "contract of 2026-08-14, page 3")  # fmt: skip


def write(folder: Path, name: str, rows: list[Any]) -> Path:
    file = folder / name
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return file


def test_a_price_is_shown_with_its_day_its_source_and_what_was_assumed(nowhere: Terminal) -> None:
    nowhere.golden("prices-show", "prices", "show", "gpt-5.4", "--as-of", "2026-06-15")
    record = nowhere.json("prices-show", "prices", "show", "gpt-5.4", "--as-of", "2026-06-15")

    assert (record["model"], record["as_of"]) == ("gpt-5.4", "2026-06-15")
    assert (record["input_usd_per_mtok"], record["output_usd_per_mtok"]) == (2.5, 15.0)
    assert (record["cache_read_usd_per_mtok"], record["valid_from"], record["batch"]) == (0.25, None, None)
    assert [each["first_day"] for each in record["tariffs_without_price"]] == ["2026-10-14", "2026-10-12", "2026-10-12"]


def test_other_tariffs_are_shown_once_they_are_dated(nowhere: Terminal) -> None:
    record = nowhere.json("prices-show-dated", "prices", "show", "gpt-5.4", "--as-of", "2026-11-01")
    assert (record["batch"]["input_usd_per_mtok"], record["batch"]["valid_from"]) == (1.25, "2026-10-14")
    batch = nowhere.run("prices", "show", "gpt-5.4", "--as-of", "2026-11-01", "--tariff", "batch", "--json").record
    assert (batch["input_usd_per_mtok"], batch["tariff"]) == (1.25, "batch")
    shown = nowhere.run("prices", "show", "gpt-5.6-sol", "--as-of", "2026-08-20").out
    assert "The next rate that is known begins on 2026-08-21." in shown


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["show", "gpt-5.4", "--as-of", "2026-06-15", "--tariff", "batch"], "the first is from 2026-10-14"),
        (["show", "gpt-5.4-mimi", "--as-of", "2026-06-15"], "Nearest: gpt-5.4-mini"),
        (["show", "no such thing at all, nowhere", "--as-of", "2026-06-15"], "has no price in genai-prices"),
        (["show", "gpt-4o-2024-08-06", "--as-of", "2024-01-01"], "its name says that it is of 2024-08-06"),
        (["show", "gpt-5.4", "--provider", "groq"], "at 'groq'"),
        (["list", "--provider", "nobody"], "The catalogue has no provider 'nobody'; it has anthropic"),
        (
            ["override", "m", "--input", "1", "--valid-from", "2026-09-01", "--source", "x y"],
            "Name a file: --overrides",
        ),
        (["price", "--usages", "missing.jsonl"], "missing.jsonl cannot be read: No such file"),
        (["check", "--against", "missing.json"], "missing.json cannot be read"),
        (["show", "gpt-5.4", "--overrides", "missing.yaml"], "missing.yaml cannot be read"),
    ],
)
def test_what_has_no_answer_is_an_error_of_usage(nowhere: Terminal, arguments: list[str], error: str) -> None:
    shown = nowhere.run("prices", *arguments)
    assert shown.code == 2
    assert error in shown.error


def test_without_a_day_it_is_today_and_that_is_said(nowhere: Terminal) -> None:
    record = nowhere.run("prices", "show", "gpt-5.4", "--json").record
    assert record["assumptions"][0] == f"no --as-of was given: prices are those of today, {record['as_of']}"


def test_the_list_narrows_to_a_provider_and_to_words(nowhere: Terminal) -> None:
    everything = nowhere.run("prices", "list", "--as-of", "2026-06-15").out
    assert "Narrow it with --provider or --search" in everything
    record = nowhere.json("prices-list", "prices", "list", "--provider", "openai", "--search", "gpt-5.4-mini",
                          "--as-of", "2026-11-01")  # fmt: skip
    assert [(row["model"], row["tariffs"]) for row in record["models"]] == [
        ("gpt-5.4-mini", ["batch", "flex", "priority"])
    ]
    nowhere.golden("prices-list", "prices", "list", "--provider", "openai", "--search", "gpt-5.4",
                   "--as-of", "2026-11-01")  # fmt: skip


def test_rents_are_listed_with_their_days_and_sources(nowhere: Terminal) -> None:
    record = nowhere.json("prices-gpus", "prices", "list", "--gpus", "--as-of", "2026-06-15")
    h100 = [row for row in record["rows"] if row["hardware"] == "h100"]
    assert [row["as_of"] for row in h100] == ["2025-10-01", "2026-03-01", "2026-05-20"]
    assert "b300" in record["without_price"]
    assert "Without a dated price" in nowhere.run("prices", "list", "--gpus").out
    assert nowhere.run("prices", "list", "--gpus", "--json").record["as_of"] is None


def test_an_own_price_is_added_and_found(nowhere: Terminal) -> None:
    file = nowhere.folder / "prices.yaml"
    record = nowhere.json("prices-override", *OVERRIDE, "--overrides", "prices.yaml")
    assert (record["rows"], record["input_usd_per_mtok"], record["valid_from"]) == (1, 2.1, "2026-09-01")
    file.write_text("# ours\n" + file.read_text().rstrip("\n"))
    file.chmod(0o600)

    later = nowhere.run(*[word.replace("2026-09-01", "2026-10-01") for word in OVERRIDE], "--overrides", "prices.yaml")

    assert later.code == 0
    assert file.read_text().startswith("# ours\n- model: house-model\n")
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in nowhere.folder.iterdir()] == ["prices.yaml"]
    shown = nowhere.run("prices", "show", "house-model", "--as-of", "2026-09-15", "--overrides", file, "--json").record
    assert (shown["valid_from"], shown["source"]) == ("2026-09-01", "contract of 2026-08-14, page 3")
    listed = nowhere.run("prices", "list", "--search", "house", "--overrides", file)
    assert "house-model (list, from 2026-10-01): contract of 2026-08-14, page 3" in listed.out


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        (["--input", "0"], "greater than 0"),
        (["--input", "nan"], "is no amount of US dollars"),
        (["--input", "1e400"], "the new price: line 1: input_usd_per_mtok: Input should be a finite number"),
        (["--input", "1e6"], "less than or equal to 100000"),
        (["--input", "much"], "'much' is no amount of US dollars"),
        (["--cache-read", "99"], "a cached token never is"),
        (["--source", " "], "source"),
        (["--valid-from", "2026-13-01"], "does not match the format"),
        (["--valid-from", "1999-01-01"], "greater than or equal to 2018-01-01"),
        (["--overrides", "no/such/folder/prices.yaml"], "is no folder that can be used"),
        ([], "has that price for 2026-09-01 on line 1 already"),
    ],
)
def test_an_own_price_that_is_nonsense_leaves_the_file_as_it_was(
    nowhere: Terminal, changes: list[str], error: str
) -> None:
    assert nowhere.run(*OVERRIDE, "--overrides", "prices.yaml").code == 0
    before = (nowhere.folder / "prices.yaml").read_bytes()

    shown = nowhere.run(*OVERRIDE, "--overrides", "prices.yaml", *changes)

    assert shown.code == 2
    assert error in shown.err
    assert (nowhere.folder / "prices.yaml").read_bytes() == before
    assert [path.name for path in nowhere.folder.iterdir()] == ["prices.yaml"]


def test_a_broken_file_of_own_prices_is_not_made_worse(nowhere: Terminal) -> None:
    file = nowhere.folder / "prices.yaml"
    file.write_text("- model: m\n")
    shown = nowhere.run(*OVERRIDE, "--overrides", "prices.yaml")
    assert (shown.code, file.read_text()) == (2, "- model: m\n")
    assert "line 1: input_usd_per_mtok: Field required" in shown.error


def test_two_people_who_add_a_price_at_once_both_succeed(nowhere: Terminal, desk: type[Desk]) -> None:
    def add(day: int) -> int:
        words = [word.replace("2026-09-01", f"2026-09-{day:02d}") for word in OVERRIDE]
        command = [*desk.program, *words, "--overrides", "prices.yaml"]
        return subprocess.run(command, cwd=nowhere.folder, capture_output=True, check=False).returncode

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(add, range(1, 5))) == [0] * 4
    assert (nowhere.folder / "prices.yaml").read_text().count("- model: house-model") == 4


def test_the_workspace_names_its_own_prices(terminal: Terminal) -> None:
    (terminal.folder / "freehold.toml").write_text(
        '[prices]\noverrides = "own.yaml"\n[prices.alias]\n"ours" = "gpt-5.4-mini"\n'
    )
    assert terminal.run(*OVERRIDE).code == 0
    assert (terminal.folder / "own.yaml").exists()
    shown = terminal.run("prices", "show", "house-model", "--as-of", "2026-09-15", "--json").record
    assert shown["input_usd_per_mtok"] == 2.1
    aliased = terminal.run("prices", "show", "ours", "--as-of", "2026-06-15", "--json").record
    assert (aliased["alias_of"], aliased["input_usd_per_mtok"]) == ("gpt-5.4-mini", 0.75)


def test_a_named_workspace_that_is_not_there_is_an_error(nowhere: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FREEHOLD_FOLDER", str(nowhere.folder))
    assert "is not in a workspace" in nowhere.run("prices", "show", "gpt-5.4").error


def test_bodies_are_priced_row_by_row(nowhere: Terminal) -> None:
    rows: list[Any] = [
        {"provider": "openai", "body": BODY},
        {"provider": "openai", "model": "gpt-5.4", "usage": {"input_tokens": 1000, "output_tokens": 500}},
        {"model": "gpt-5.4", "body": BODY, "tariff": "batch", "started_at": "2026-10-31T23:30:00-05:00"},
        {"model": "nobody-sells-this", "usage": {"prompt_tokens": 1, "completion_tokens": 1}},
        {"body": BODY, "timestamp": 1_780_000_000, "extracted": [{"usage": {}, "extractors": [
            {"provider_id": "openai", "input_price": "0.0025", "output_price": "0.0075"}]}]},
    ]  # fmt: skip
    file = write(nowhere.folder, "bodies.jsonl", rows)
    file.write_text("\n" + file.read_text())  # an empty line is no row

    record = nowhere.json("prices-price", "prices", "price", "--usages", "bodies.jsonl", "--as-of", "2026-06-15")
    nowhere.golden("prices-price", "prices", "price", "--usages", "bodies.jsonl", "--as-of", "2026-06-15")

    assert [row["index"] for row in record["rows"]] == [0, 1, 2, 3, 4]
    assert [row["total_usd"] for row in record["rows"]] == [0.01, 0.01, 0.005, None, 0.01]
    assert [row["reason"] for row in record["rows"]] == [None, None, None, "unknown-model", None]
    assert record["rows"][2]["as_of"] == "2026-11-01"  # half past eleven in the evening, five hours west
    assert record["rows"][4]["recorded"] == "equal"
    assert (record["priced"], record["total_usd"], record["unpriced"]) == (4, 0.035, {"unknown-model": 1})
    today = nowhere.run("prices", "price", "--usages", "bodies.jsonl", "--json").record
    assert "no --as-of was given" in today["assumptions"][0]


def test_a_list_of_bodies_is_read_too(nowhere: Terminal) -> None:
    (nowhere.folder / "bodies.json").write_text(json.dumps([{"body": BODY}, {"body": {}}]))
    record = nowhere.run("prices", "price", "--usages", "bodies.json", "--as-of", "2026-06-15", "--json").record
    assert [row["reason"] for row in record["rows"]] == [None, "no-usage"]
    assert record["recorded"] is None


def test_a_row_that_is_no_body_has_a_reason_and_the_others_their_price(nowhere: Terminal) -> None:
    rows = [3, {"body": BODY}, {"body": 3}, {"model": "m"}, None]
    write(nowhere.folder, "bodies.jsonl", rows)

    found = nowhere.run("prices", "price", "--usages", "bodies.jsonl", "--as-of", "2026-06-15", "--json").record["rows"]

    assert [row["reason"] for row in found] == ["bad-row", None, "bad-row", "bad-row", "bad-row"]
    assert [row["detail"] for row in found[:4]] == [
        "the row is no JSON object", None, "'body' is no JSON object", "the row has neither 'body' nor 'usage'",
    ]  # fmt: skip


def test_what_a_body_reports_is_compared_with_its_price(nowhere: Terminal) -> None:
    def row(cost: float, **more: Any) -> dict[str, Any]:
        usage = {"prompt_tokens": 1000, "completion_tokens": 500, "cost": cost, "cost_details": {}, **more}
        return {"model": "openai/gpt-4o-mini", "body": {"usage": usage}}

    exact = 0.00045  # 1,000 × 0.15 + 500 × 0.60, by the million
    rows = [row(exact), row(exact * 1.009), row(0.02), row(0.02, server_tool_use={}), row(0), row(0, is_byok=True)]
    write(nowhere.folder, "bodies.jsonl", rows)
    asked = ("prices", "price", "--usages", "bodies.jsonl", "--as-of", "2026-11-23")
    found = nowhere.run(*asked, "--json").record["rows"]

    assert {(each["provider"], each["total_usd"]) for each in found} == {("openrouter", exact)}
    assert [each["reported_agrees"] for each in found] == [True, True, False, False, False, False]
    words = ("more was billed than its tokens", "used tools of the seller", "a discount", "own key")
    for each, word in zip(found[2:], words, strict=True):
        assert word in each["reported_reason"]
    shown = nowhere.run(*asked).out
    assert "more than ours: 2" in shown
    assert "less than ours: 2" in shown


def test_a_body_that_one_provider_priced_is_priced_there_or_not_at_all(nowhere: Terminal) -> None:
    def row(model: str, *sellers: str) -> dict[str, Any]:
        prices = [{"provider_id": name, "input_price": "1", "output_price": "1"} for name in sellers]
        usage = {"prompt_tokens": 1, "completion_tokens": 1}
        return {"model": model, "body": {"usage": usage}, "extracted": [{"usage": {}, "extractors": prices}]}

    rows = [
        row("openai/gpt-4o-mini", "openrouter"),
        row("gpt-5.4-mini", "groq"),
        row("gpt-5.4-mini", "openai", "azure"),
    ]
    write(nowhere.folder, "bodies.jsonl", rows)
    found = nowhere.run("prices", "price", "--usages", "bodies.jsonl", "--as-of", "2026-11-23", "--json").record["rows"]

    assert [each["provider"] for each in found] == ["openrouter", "groq", "openai"]
    assert [each["reason"] for each in found] == [None, "unknown-model", None]


def test_names_match_whatever_their_case(nowhere: Terminal) -> None:
    for name in ("GPT-5.4", "OpenAI/Gpt-5.4", "OPENAI/GPT-5.4"):
        record = nowhere.run("prices", "show", name, "--as-of", "2026-06-15", "--json").record
        assert (record["provider"], record["catalogue_model"], record["input_usd_per_mtok"]) == (
            "openai",
            "gpt-5.4",
            2.5,
        )


def test_a_search_without_a_hit_says_so(nowhere: Terminal) -> None:
    shown = nowhere.run("prices", "list", "--search", "zzzzz", "--as-of", "2026-06-15")

    assert shown.code == 0
    assert shown.out.startswith("No model of genai-prices")


def test_an_unknown_model_is_told_once_and_an_empty_name_is_its_own_error(nowhere: Terminal) -> None:
    shown = nowhere.run("prices", "show", "zzzzz", "--as-of", "2026-06-15")

    assert (shown.code, shown.out) == (2, "")
    assert shown.err.count("zzzzz") == 1
    assert shown.error.endswith("No name resembles it; all of them: freehold prices list --json")
    assert nowhere.run("prices", "show", " ").error == "The name of the model is empty. Give one."


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "bodies.jsonl holds no rows"),
        ("[]", "holds no rows"),
        ("[1, 2", "starts like a JSON list and is none"),
        ('{"body": {}}\n{broken\n', "line 2: this is no JSON"),
        ('{"body": {}, "tariff": "cheap"}\n', "line 1: 'tariff' is 'cheap'; it is one of list, batch"),
        ('{"body": {}, "provider": 5}\n', "line 1: 'provider' must be text"),
        ('{"body": {}, "model": " "}\n', "line 1: 'model' must be text"),
        ('{"body": {}, "started_at": "soon"}\n', "line 1: 'started_at' is no day or moment"),
        ('{"body": {}, "started_at": -1}\n', "'started_at' is no day or moment"),
        ('{"body": {}, "date": true}\n', "'date' is no day or moment"),
        ('{"body": {}, "tariff": 1}\n' * 25, "; and 5 more"),
    ],
)
def test_rows_that_cannot_be_used_are_named_by_their_line(nowhere: Terminal, text: str, error: str) -> None:
    (nowhere.folder / "bodies.jsonl").write_text(text)
    shown = nowhere.run("prices", "price", "--usages", "bodies.jsonl")
    assert shown.code == 2
    assert error in shown.error


def test_a_file_that_is_no_text_is_refused(nowhere: Terminal) -> None:
    (nowhere.folder / "bodies.jsonl").write_bytes(b"\xff\xfe{}")
    assert "is no UTF-8 text (byte 0)" in nowhere.run("prices", "price", "--usages", "bodies.jsonl").error


def test_a_file_that_is_too_large_is_not_read(nowhere: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freehold.cli.price_files.MOST_BYTES", 10)
    write(nowhere.folder, "bodies.jsonl", [{"body": BODY}])
    shown = nowhere.run("prices", "price", "--usages", "bodies.jsonl")
    assert "bodies.jsonl has" in shown.error
    assert "10 is the most that is read. Split it." in shown.error


def test_a_full_disk_leaves_the_own_prices_as_they_were(nowhere: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    assert nowhere.run(*OVERRIDE, "--overrides", "prices.yaml").code == 0
    before = (nowhere.folder / "prices.yaml").read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    later = [word.replace("2026-09-01", "2026-10-01") for word in OVERRIDE]
    shown = nowhere.run(*later, "--overrides", "prices.yaml")
    assert (shown.code, shown.err) == (
        1,
        "Error: the disk is full. Free some space and run the same command again.\n",
    )
    assert (nowhere.folder / "prices.yaml").read_bytes() == before
    assert [path.name for path in nowhere.folder.iterdir()] == ["prices.yaml"]


def test_the_check_counts_kinds_and_lists_differences(nowhere: Terminal) -> None:
    gpt = {"model": "gpt-5.4", "provider": "openai", "input_per_mtok": 2.5, "output_per_mtok": 15}
    rows = [gpt, gpt | {"output_per_mtok": 16}, gpt | {"model": "ada", "provider": "nobody"}]
    write(nowhere.folder, "list.jsonl", rows)
    arguments = ("prices", "check", "--against", "list.jsonl", "--as-of", "2026-11-23")

    record = nowhere.json("prices-check", *arguments)
    nowhere.golden("prices-check", *arguments)

    assert (record["compared"], record["agree"], len(record["rows"])) == (2, 1, 3)
    only = nowhere.run(*arguments, "--kind", "rate", "--provider", "openai", "--json").record
    assert [row["kind"] for row in only["rows"]] == ["rate"]
    assert "There is no kind 'cheap'" in nowhere.run(*arguments, "--kind", "cheap").error
    assert (
        "The list has no provider 'groq'; it has nobody, openai" in nowhere.run(*arguments, "--provider", "groq").error
    )


def test_all_recorded_bodies_are_priced_from_the_command_line(nowhere: Terminal, shared_data: Path) -> None:
    usages = shared_data / "prices_genai" / "usages.json"
    record = nowhere.run("prices", "price", "--usages", usages, "--as-of", "2026-08-21", "--json").record
    assert len(record["rows"]) == 1577
    assert (record["priced"], record["recorded"]["rows"]["equal"]) == (1291, 1216)
    assert all((row["total_usd"] is None) == (row["reason"] is not None) for row in record["rows"])


def test_own_prices_of_a_workspace_count_in_the_audit_and_in_a_breakeven(terminal: Terminal) -> None:
    row = {"input": "hello", "model_output": "hi", "model": "house-model", "input_tokens": 1000, "output_tokens": 100}
    rows = [json.dumps(row | {"started_at": f"2026-06-{day:02d}T08:00:00Z", "id": f"c{day}"}) for day in (1, 2)]
    (terminal.folder / "log.jsonl").write_text("\n".join(rows), encoding="utf-8")
    (terminal.folder / "freehold.toml").write_text('[prices]\noverrides = "own.yaml"\n', encoding="utf-8")
    (terminal.folder / "own.yaml").write_text(
        "- {model: house-model, valid_from: 2026-01-01, source: contract,\n"
        "   input_usd_per_mtok: 2, output_usd_per_mtok: 20}\n",
        encoding="utf-8",
    )
    assert terminal.run("import", "log.jsonl", "--task", "desk").code == 0

    # 1,000 x 2/M + 100 x 20/M = 0.0040 a call
    (task,) = terminal.run("audit", "--json").record["tasks"]
    assert (task["cost_usd"], task["priced_calls"]) == (0.008, 2)
    of_task = terminal.run("breakeven", "desk", "--draws", "100", "--json").record
    typed = ("--queries-per-month", "100", "--input-tokens", "1000", "--output-tokens", "100")
    of_numbers = terminal.run(
        "breakeven", *typed, "--rent", "house-model", "--as-of", "2026-06-15", "--draws", "100", "--json"
    ).record
    for record in (of_task, of_numbers):
        assert record["inputs"]["rent"]["input_usd_per_mtok"] == 2.0
    (terminal.folder / "own.yaml").unlink()
    assert "own.yaml cannot be read" in terminal.run("audit").error


@pytest.mark.parametrize(
    "asked",
    [
        ("gpt-5.4", "--as-of", "2026-06-15"),
        ("gpt-5.4", "--provider", "azure", "--as-of", "2026-11-01", "--tariff", "list"),
        ("azure/gpt-5.4", "--as-of", "2026-11-01"),
        ("our gateway", "--as-of", "2026-11-01", "--overrides", "my prices.yaml"),
    ],
)
def test_what_comes_next_after_a_price_can_be_run_as_it_stands(nowhere: Terminal, asked: tuple[str, ...]) -> None:
    (nowhere.folder / "my prices.yaml").write_text(
        "- {model: our gateway, valid_from: 2026-01-01, source: contract,\n"
        "   input_usd_per_mtok: 2, output_usd_per_mtok: 9}\n"
    )
    price = nowhere.run("prices", "show", *asked, "--json")

    program, *step = shlex.split(price.last_line.removeprefix("Next: "))
    found = nowhere.run(*step, "--json")

    assert (program, found.code) == ("freehold", 0)
    rented = found.record["inputs"]["rent"]
    names = ("provider", "input_usd_per_mtok", "output_usd_per_mtok", "as_of")
    assert [rented[name] for name in names] == [price.record[name] for name in names]
