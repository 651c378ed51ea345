"""`freehold breakeven` with all of its options, its files and everything that can be wrong with them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from freehold.cli.scenario_file import Given, parse_settings, read_scenario
from freehold.core.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Terminal

LENGTHS = ("--input-tokens", "1000", "--output-tokens", "500")
MODELS = ("--rent", "gpt-5.4", "--own", "llama-3.1-8b@h100", "--as-of", "2026-06-15")
OWN_PRICES = """\
- {model: gpt-5.4, valid_from: 2026-01-01, input_usd_per_mtok: 4, output_usd_per_mtok: 12, source: ours}
- {model: gpt-5.4, tariff: batch, valid_from: 2026-01-01, input_usd_per_mtok: 1, output_usd_per_mtok: 3, source: ours}
"""

ASKED = ("breakeven", "--queries-per-month", "100000", *LENGTHS, *MODELS, "--draws", "500")


def test_the_arithmetic_of_the_article_stands_beside_the_whole_model(nowhere: Terminal) -> None:
    at_two = (*ASKED, "--set", "gpu_usd_per_hour=2", "--json")
    alone, whole = nowhere.run(*at_two, "--simple").record, nowhere.run(*at_two).record
    # 2.00 × 730 / 0.0100
    assert alone["breakeven_queries_per_month"] == {"p5": 146_000, "p50": 146_000, "p95": 146_000}
    assert whole["simple"]["breakeven_queries_per_month"] == 146_000
    assert whole["breakeven_queries_per_month"]["p50"] > 3 * 146_000
    text = nowhere.run(*at_two[:-1]).out
    assert "$2/h × 730 h × 1 = $1,460.00 a month; $1,460.00 / $0.01 a query = 146,000 queries" in " ".join(text.split())


def test_the_same_inputs_and_seed_give_the_same_bytes(nowhere: Terminal) -> None:
    first, second, other = (nowhere.run(*ASKED, "--json", "--seed", seed).out for seed in ("3", "3", "4"))
    assert first == second
    assert first != other


def test_a_batch_price_of_the_day_stands_in_for_the_usual_discount(nowhere: Terminal) -> None:
    (nowhere.folder / "own.yaml").write_text(OWN_PRICES)
    asked = (*ASKED, "--prices", "own.yaml", "--set", "batchable_share=1", "--json")
    rows = {row["name"]: row for row in nowhere.run(*asked).record["assumptions"]}
    assert rows["batch_discount"]["value"] == 0.75  # 1.00 in batches against 4.00
    assert "in batches at 1" in rows["batch_discount"]["source"]
    assert rows["price of rent"]["value"].startswith("4")


def test_every_option_is_shown_and_the_page_is_written(nowhere: Terminal) -> None:
    more = ("--hosted", "groq/llama-3.3-70b-versatile", "--tuned", "openai/gpt-4o-mini", "--set", "escalated_share=0.1")
    shown = nowhere.run(*ASKED, *more, "--html", "page.html", "--json")
    names = [option["name"] for option in shown.record["options"]]
    assert names == ["rent", "rent-open", "rent-tuned", "own", "own-bought", "hybrid"]
    assert shown.record["not_considered"] == []
    page = (nowhere.folder / "page.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.index("Rent an open model:") < page.index("<svg")
    assert "http-equiv" in page
    assert "<script" not in page
    assert shown.last_line == "Next: open page.html"


def test_a_scenario_file_is_read_and_flags_come_before_it(nowhere: Terminal) -> None:
    (nowhere.folder / "case.yaml").write_text(
        "queries_per_month: 50000\ninput_tokens: 1000\noutput_tokens: 500\nrent: gpt-5.4\nown: llama-3.1-8b@h100\n"
        "as_of: 2026-06-15\nseed: 9\ndraws: 300\ngpus: 2\n"
        "set:\n  fte: [0.1, 0.2, 0.3]\n  batchable_share: 0.5\n"
        "  gpu_usd_per_hour: {value: 2.1, source: our contract of May}\n"
    )
    record = nowhere.run("breakeven", "--scenario", "case.yaml", "--json", "--set", "fte=0.5").record
    assert (record["queries_per_month"], record["seed"], record["draws"]) == (50_000, 9, 300)
    assert record["inputs"]["own"]["devices"] == 2
    rows = {row["name"]: row for row in record["assumptions"]}
    assert rows["fte"]["value"] == 0.5
    assert rows["gpu_usd_per_hour"]["source"] == "given by the user: our contract of May"
    assert record["inputs"]["workload"]["batchable_share"] == 0.5
    flagged = nowhere.run(
        "breakeven", "--scenario", "case.yaml", "--json", "--seed", "1", "--queries-per-month", "7"
    ).record
    assert (flagged["queries_per_month"], flagged["seed"]) == (7, 1)


def test_a_trace_gives_volume_lengths_and_peak(nowhere: Terminal) -> None:
    rows = [{"t_s": 600.0 * index, "input_tokens": 900 + index % 3, "output_tokens": 100} for index in range(300)]
    (nowhere.folder / "calls.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    record = nowhere.run("breakeven", "--trace", "calls.jsonl", *MODELS, "--draws", "200", "--json").record
    # One call every ten minutes: 4,380 in 730 hours.
    assert record["queries_per_month"] == pytest.approx(4380, rel=0.01)
    assert record["inputs"]["workload"]["input_tokens"] == pytest.approx(901)
    assert record["inputs"]["trace"]["calls"] == 300
    assert record["assumptions"][-1]["name"] == "trace_month"
    given = nowhere.run("breakeven", "--trace", "calls.jsonl", "--queries-per-month", "9000", *MODELS, "--json").record
    assert given["queries_per_month"] == 9000
    unpriced = nowhere.run("breakeven", "--trace", "calls.jsonl")
    assert unpriced.code == 2
    assert "Name the model that is rented with --rent" in unpriced.err


def test_prices_of_ones_own_are_used(nowhere: Terminal) -> None:
    missing = nowhere.run(*ASKED, "--prices", "none.yaml")
    assert missing.code == 2
    assert "none.yaml cannot be read: No such file" in missing.err
    (nowhere.folder / "bytes.yaml").write_bytes(b"\xff\xfe\xff")
    assert "bytes.yaml is no UTF-8 text" in nowhere.run(*ASKED, "--prices", "bytes.yaml").err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--queries-per-month", "0"], "queries_per_month is 0.0; it must be more than 0"),
        (["--queries-per-month", "-1"], "queries_per_month is -1.0"),
        (["--queries-per-month", "nan"], "queries_per_month is nan"),
        (["--queries-per-month", "inf"], "queries_per_month is inf"),
        (["--queries-per-month", "1e12"], "it must be more than 0 and at most 1e+11"),
        (["--input-tokens", "nan"], "input_tokens is nan"),
        (["--output-tokens", "-3"], "output_tokens is -3.0"),
        (["--own", "llama-3.3-70b@l4"], "llama-3.3-70b in fp8 needs"),
        (["--own", "llama-3.1-8b@h101"], "nearest: h100"),
        (["--own", "@h100"], "it must read MODEL@HARDWARE"),
        (["--own", "lama-3.1-8b@h100"], "nearest: llama-3.1-8b"),
        (["--own", "llama-3.1-8b@8xh100", "--gpus", "2"], "names 8 devices and --gpus names 2"),
        (["--rent", "gpt-5.44"], "Nearest: gpt-5.4, "),
        (["--rent", "no-such-model"], "--rent 'no-such-model' has no price as of 2026-06-15"),
        (["--hosted", "no-such-model"], "--hosted 'no-such-model' has no price as of 2026-06-15"),
        (["--tuned", "no-such-model"], "--tuned 'no-such-model' has no price as of 2026-06-15"),
        (["--set", "fte"], "--set 'fte'; it must read name=value"),
        (["--set", "fte=x"], "--set fte: 'x' is no number"),
        (["--set", "fte=inf"], "no finite number"),
        (["--set", "fte=1,2"], "2 numbers are given"),
        (["--set", "fte=3,2,1"], "must rise"),
        (["--set", "fte=1", "--set", "fte=2"], "--set fte is given twice"),
        (["--set", "fte=-1", "--set", "nothing=1"], "'nothing' is unknown"),
        (["--set", "cached_share=0.1,0.2,0.3"], "a share of the workload is one number"),
        (["--set", "cached_share=1.5"], "cached_share is 1.5"),
        (["--set", "peak_to_mean=2", "--set", "hours_on_share=0.1"], "contradict each other"),
        (["--draws", "1"], "draws is 1"),
        (["--seed", "-1"], "seed is -1"),
        (["--scenario", "none.yaml"], "none.yaml: it cannot be read"),
        (["--trace", "none.jsonl"], "none.jsonl"),
        (["support"], "describe calls without a TASK"),
        (["--sort"], "--sort: options about how a --trace is read"),
        (["--client", "a", "--duplicates", "drop"], "--client, --duplicates: options about how a --trace is read"),
        (
            ["--gpu-usd-per-hour", "2", "--set", "gpu_usd_per_hour=3"],
            "--gpu-usd-per-hour and --set gpu_usd_per_hour differ",
        ),
        (["--gpu-usd-per-hour", "nan"], "gpu_usd_per_hour"),
        (["--gpu-usd-per-hour", "-1"], "gpu_usd_per_hour"),
        (["--own", "llama-3.1-8b@h100", "--gpus", "2", "--gpu-usd-per-hour", "inf"], "gpu_usd_per_hour"),
        (["--simple", "--own-bought"], "--simple knows rented devices alone"),
        (["--own-bought", "--own", "smollm2-135m@cpu-2vcpu"], "No purchase price of cpu-2vcpu is known"),
        (["--gpus", "3"], "32 attention heads, which 3 devices cannot share evenly"),
        (["--gpus", "7"], "Use 4 or 8 devices per replica"),
        (["--gpus", "64"], "Use 32 devices per replica"),
        (["support", "--trace", "none.jsonl"], "two sources of the same traffic"),
    ],
)
def test_what_cannot_be_is_refused_with_exit_code_2(nowhere: Terminal, arguments: list[str], message: str) -> None:
    shown = nowhere.run(*ASKED, *arguments)
    assert shown.code == 2
    assert message in " ".join(shown.err.split())
    assert shown.out == ""


def test_what_is_missing_is_named(nowhere: Terminal) -> None:
    shown = nowhere.run("breakeven", "--queries-per-month", "5", "--input-tokens", "5")
    assert shown.code == 2
    assert "(missing: --output-tokens, --rent)" in " ".join(shown.err.split())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rentt: a\n", "line 1: 'rentt' is unknown; nearest: rent"),
        ("fte: 1\n", "line 1: 'fte' is unknown"),
        ("rent: a\nrent: b\n", "line 2: 'rent' stands there twice"),
        ("set:\n  fte: 1\n  fte: 2\n", "line 3: 'fte' stands there twice"),
        ("set:\n  fte: [1, x, 3]\n", "line 2: 'x' is no number"),
        ("set:\n  fte: [1, 2]\n", "line 2: 2 numbers are given"),
        ("set:\n  fte: .nan\n", "line 2: '.nan' is no number"),
        ("set:\n  fte: nan\n", "line 2: 'nan' is no finite number"),
        ("set:\n  fte: {source: x}\n", "line 2: it must be a number, [low, typical, high]"),
        ("set:\n  fte: {value: 1, colour: x}\n", "line 2: it must be a number, [low, typical, high]"),
        ("set:\n  fte: [[1], 2, 3]\n", "line 2: one value must stand here"),
        ("set:\n  fte:\n", "line 2: one value must stand here"),
        ("set: 5\n", "line 1: a mapping (name: value) must stand here"),
        ("- 1\n", "line 1: a mapping (name: value) must stand here"),
        ("? [a]\n: 1\n", "line 1: a name must stand before the colon"),
        ("as_of: yesterday\n", "line 1: as_of is 'yesterday'"),
        ("gpus: 1.5\n", "line 1: gpus is '1.5'; it must be a whole number"),
        ("rent: [a\n", "it is no YAML"),
        ("[" * 5000, "it is no YAML"),
        ("a: !!python/object:os.system x\n", "line 1: 'a' is unknown"),
    ],
)
def test_a_broken_scenario_is_named_by_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "case.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        read_scenario(file)
    assert str(file) in str(caught.value)
    assert message in str(caught.value)


def test_a_scenario_may_be_empty_but_neither_huge_nor_binary(tmp_path: Path) -> None:
    file = tmp_path / "case.yaml"
    file.write_text("")
    assert read_scenario(file).options == {}
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="no UTF-8 text"):
        read_scenario(file)
    file.write_text("#" * 1_000_001)
    with pytest.raises(InputError, match="larger than 1,000,000 bytes"):
        read_scenario(file)


def test_settings_may_repeat_themselves() -> None:
    assert parse_settings(["fte=1", "fte=1.0", "x=1,2,3"]) == {"fte": Given(1.0), "x": Given((1.0, 2.0, 3.0))}


CONFIG = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072,
    "torch_dtype": "bfloat16",
}  # fmt: skip


@pytest.mark.parametrize("named", ["hf", "hf/config.json", "./hf"])
def test_a_plan_may_name_the_folder_or_the_config_of_a_model(nowhere: Terminal, named: str) -> None:
    (nowhere.folder / "hf").mkdir()
    (nowhere.folder / "hf" / "config.json").write_text(json.dumps(CONFIG))
    own = nowhere.run(*ASKED, "--own", f"{named}@h100", "--json").record
    shipped = nowhere.run(*ASKED, "--json").record
    assert own["inputs"]["own"]["model"] == "hf"
    assert own["breakeven_queries_per_month"] == shipped["breakeven_queries_per_month"]
    nothing = nowhere.run(*ASKED, "--own", "none.json@h100")
    assert nothing.code == 2
    assert "none.json: it cannot be read" in nothing.err


def test_owning_may_mean_bought_devices(nowhere: Terminal) -> None:
    flagged = nowhere.run(*ASKED, "--own-bought", "--json").record
    (nowhere.folder / "case.yaml").write_text("own_bought: true\n")
    from_file = nowhere.run(*ASKED, "--scenario", "case.yaml", "--json").record
    bought = next(each for each in flagged["options"] if each["name"] == "own-bought")
    assert flagged["own_option"] == "own-bought"
    assert flagged["breakeven_queries_per_month"] == bought["breakeven_queries_per_month"]
    assert from_file == flagged
    assert "owning on bought devices pays from" in " ".join(nowhere.run(*ASKED, "--own-bought").out.split())
    (nowhere.folder / "case.yaml").write_text("own_bought: perhaps\n")
    assert "it must be true or false" in nowhere.run(*ASKED, "--scenario", "case.yaml").err


def test_a_trace_out_of_order_or_with_doubles_is_read_as_asked(nowhere: Terminal) -> None:
    rows = [{"t_s": 600.0 * index, "input_tokens": 900, "output_tokens": 100 + index} for index in range(50)]
    asked = ("breakeven", "--trace", "calls.jsonl", *MODELS, "--draws", "200")
    (nowhere.folder / "calls.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in [*rows[::-1], rows[0]]))
    refused = nowhere.run(*asked)
    assert refused.code == 2
    assert "--sort" in refused.err
    assert nowhere.run(*asked, "--sort").code == 2
    record = nowhere.run(*asked, "--sort", "--duplicates", "drop", "--json").record
    assert record["inputs"]["trace"]["calls"] == 50
    assert nowhere.run(*asked, "--sort", "--duplicates", "keep", "--json").record["inputs"]["trace"]["calls"] == 51
    told_twice = nowhere.run(*asked, *LENGTHS, "--sort", "--duplicates", "drop")
    assert told_twice.code == 2
    assert "tells how long its calls are" in " ".join(told_twice.err.split())


def test_counted_calls_need_lengths(nowhere: Terminal) -> None:
    rows = [{"client": "a", "t_s": 3600.0 * hour, "requests": 10 if hour % 2 else 30} for hour in range(48)]
    (nowhere.folder / "windows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    asked = ("breakeven", "--trace", "windows.jsonl", *MODELS, "--draws", "200")
    record = nowhere.run(*asked, *LENGTHS, "--json").record
    # 20 calls an hour in the mean, 730 hours; the busiest hour has 30.
    assert record["queries_per_month"] == pytest.approx(14_600, rel=0.03)
    assert record["inputs"]["workload"]["peak_to_mean"] == pytest.approx(1.5, rel=0.2)
    assert record["inputs"]["workload"]["input_tokens"] == 1000
    assert "counts calls" in record["warnings"][-1]
    for less in ((), LENGTHS[:2], ("--input-tokens", "1000", "--output-tokens", "0.5")):
        shown = nowhere.run(*asked, *less)
        assert shown.code == 2
        assert "give both --input-tokens and --output-tokens" in " ".join(shown.err.split())


def test_one_client_of_a_trace_and_a_share_of_it_are_chosen_as_in_the_simulation(nowhere: Terminal) -> None:
    windows = [
        {"client": name, "t_s": 3600.0 * hour, "requests": 10 if name == "a" else 90}
        for hour in range(48)
        for name in "ab"
    ]
    (nowhere.folder / "windows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in windows))
    asked = ("breakeven", "--trace", "windows.jsonl", *MODELS, *LENGTHS, "--draws", "200", "--json")
    one = nowhere.run(*asked, "--client", "a").record
    assert one["inputs"]["trace"]["calls"] == 480
    assert one["queries_per_month"] == pytest.approx(7300, rel=0.03)
    half = nowhere.run(*asked, "--share", "0.5").record
    assert half["inputs"]["trace"]["calls"] == pytest.approx(2400, rel=0.1)
    assert {"width of a window", "share of the calls kept"} <= {each["name"] for each in half["assumptions"]}
    step = nowhere.run(*asked, "--client", "a").last_line
    assert step.startswith("Next: freehold simulate --trace windows.jsonl --model llama-3.1-8b --gpu h100 --gpus 1 ")


def test_the_rent_of_a_device_has_an_option_of_its_own(nowhere: Terminal) -> None:
    flagged = nowhere.run(*ASKED, "--draws", "200", "--gpu-usd-per-hour", "2.25", "--json").out
    assert flagged == nowhere.run(*ASKED, "--draws", "200", "--set", "gpu_usd_per_hour=2.25", "--json").out
    assert flagged != nowhere.run(*ASKED, "--draws", "200", "--json").out


def test_the_simple_answer_is_plain_arithmetic(nowhere: Terminal) -> None:
    hosted = ("--hosted", "groq/llama-3.3-70b-versatile")
    shown = nowhere.run(*ASKED, *hosted, "--set", "gpu_usd_per_hour=2", "--simple").out
    shown = " ".join(shown.split())
    assert "gpt-5.4: $1,460.00 a month / $0.01 a query = 146,000 queries a month" in shown
    # 1,000 in at 0.59 and 500 out at 0.79: 0.000985 a query
    assert "at groq: $1,460.00 a month / $0.000985 a query = 1,482,234 queries a month" in shown
    assert "draws" not in shown
    assert "%" not in shown
    page = nowhere.run(*ASKED, "--simple", "--html", "page.html", "--json")
    assert "90 % of draws: " not in (nowhere.folder / "page.html").read_text(encoding="utf-8")
    assert page.record["breakeven_queries_per_month"]["p50"] > 0


def test_what_was_not_published_for_the_day_stands_among_what_is_assumed(nowhere: Terminal) -> None:
    shown = " ".join(nowhere.run(*ASKED, "--rent", "gpt-4o", "--as-of", "2025-09-01").out.split())
    assumed = shown[shown.index(" Assumed - ") :]
    assert "rent of a device: assumption: no rent is known for 2025-09-01" in assumed
    assert "assumption: no purchase price is known for 2025-09-01" in assumed
    assert "price of rent: gpt-4o on 2025-09-01" in assumed


def test_a_page_for_a_folder_that_is_not_there_is_refused_at_once(nowhere: Terminal) -> None:
    shown = nowhere.run(*ASKED, "--html", "x/page.html")
    assert (shown.code, shown.out) == (2, "")
    assert shown.last_line.startswith("Error: x/page.html cannot be written: there is no folder x.")


@pytest.mark.parametrize(
    ("volume", "returned", "explained"),
    [
        ("1200000", "Set-up returned not within 36 months in most draws; 4 months in the best 5 %", True),
        ("1300000", "Set-up returned after 34 months 3 to more than 36 months", True),
        ("1400000", "Set-up returned after 16 months 3 to more than 36 months", False),
        ("100000", "Set-up returned not within 36 months in most draws", False),
    ],
)
def test_near_the_break_even_the_page_says_one_thing(
    nowhere: Terminal, volume: str, returned: str, *, explained: bool
) -> None:
    near = ("--queries-per-month", volume, *LENGTHS, *MODELS)
    shown = nowhere.run("breakeven", *near, "--html", "page.html", "--json")
    page = (nowhere.folder / "page.html").read_text(encoding="utf-8")
    words = " ".join(re.sub(r"<[^>]*>", " ", page.replace("&nbsp;", " ").replace("\u00a0", " ")).split())

    # Worth and return of the set-up are both those of the draws; the typical case is named where it disagrees.
    assert returned in words
    assert ("Volume and break-even are too close together" in words) is explained
    middle, typical = shown.record["npv_usd_interval"]["p50"], shown.record["npv_usd"]
    assert ((middle > 0) != (typical > 0)) is explained


@pytest.mark.parametrize("volume", ["0.5", "100000", "50000000000"])
def test_the_chart_reaches_today_and_the_break_even_however_small_or_large(nowhere: Terminal, volume: str) -> None:
    calls = ("--queries-per-month", volume, "--input-tokens", "1", "--output-tokens", "1", "--draws", "200")
    shown = nowhere.run("breakeven", *calls, *MODELS, "--html", "page.html", "--json")
    page = (nowhere.folder / "page.html").read_text(encoding="utf-8")

    volumes = [point["queries_per_month"] for point in shown.record["curve"]]
    assert volumes[0] <= min(1000.0, float(volume))
    assert volumes[-1] >= max(1e9, float(volume))
    assert volumes == sorted(set(volumes))
    assert shown.record["staircase"][-1]["ends_at"] <= volumes[-1]
    assert not re.search(r"[0-9]e[+-][0-9]", re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL))
    text = " ".join(nowhere.run("breakeven", *calls, *MODELS).out.split())
    assert {"0.5": "at 0.5 queries a month renting costs under $0.01 and", "100000": "at 100,000 queries"}.get(
        volume, "at 50.0 bn queries"
    ) in text
