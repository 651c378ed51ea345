"""`freehold capacity`: one replica, a table of points, and tuning."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Terminal

ONE = "capacity --model llama-3.1-8b --gpu h100 --precision fp8 --input-tokens 1000 --output-tokens 500"
TUNING = "capacity --finetune --method qlora --model llama-3.1-8b --gpu h100 --trained-tokens 40000000"
CONFIG = {
    "model_type": "llama", "hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32, "head_dim": 64,
    "num_key_value_heads": 8, "intermediate_size": 8192, "vocab_size": 128256, "max_position_embeddings": 131072,
    "tie_word_embeddings": True,
}  # fmt: skip


def test_one_replica_is_told_in_words_and_in_json(nowhere: Terminal) -> None:
    shown = nowhere.run(*ONE.split(), "--concurrency", "16")
    record = nowhere.run(*ONE.split(), "--concurrency", "16", "--json").record

    assert record["schema"] == "freehold.capacity/1"
    assert (record["model"], record["gpu"], record["gpus"], record["precision"]) == ("llama-3.1-8b", "h100", 1, "fp8")
    assert record["interval"]["p5"] < record["output_tokens_per_s"] < record["interval"]["p95"]
    assert record["bound_by"] in {"compute", "memory", "kv", "engine"}
    assert shown.code == 0
    assert shown.out.startswith("llama-3.1-8b in fp8 on 1 × h100, 1,000 tokens in and 500 out, 16 clients\n")
    assert f"output tokens per second  {record['output_tokens_per_s']:,.0f} " in shown.out


def test_the_same_question_has_the_same_bytes(nowhere: Terminal) -> None:
    assert nowhere.run(*ONE.split(), "--json").out == nowhere.run(*ONE.split(), "--json").out


def test_a_model_without_a_precision_is_served_as_it_was_published(nowhere: Terminal) -> None:
    def precision(model: str, gpu: str, gpus: int = 8) -> str:
        asked = f"capacity --model {model} --gpu {gpu} --gpus {gpus} --input-tokens 9 --output-tokens 9 --json"
        return str(nowhere.run(*asked.split()).record["precision"])

    assert precision("llama-3.1-8b", "h100") == "bf16"
    assert precision("deepseek-v3", "b200") == "fp8"
    assert precision("openai/gpt-oss-20b", "h100") == "fp4"
    assert precision("Qwen/Qwen3-32B-AWQ", "h100") == "int4"
    assert precision("smollm2-135m", "cpu-2vcpu", 1) == "q4_0"


def test_a_config_json_is_a_model(nowhere: Terminal) -> None:
    folder = nowhere.folder / "my-model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    asked = ["capacity", "--gpu", "l4", "--input-tokens", "100", "--output-tokens", "100", "--json", "--model"]

    by_file = nowhere.run(*asked, str(folder / "config.json")).record
    by_folder = nowhere.run(*asked, str(folder)).record
    shipped = nowhere.run(*asked, "llama-3.2-1b").record

    assert by_file == by_folder
    assert by_file["model"] == "my-model"
    assert by_file["output_tokens_per_s"] == shipped["output_tokens_per_s"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "it is no JSON"),
        ("[" * 100_000, "it is no JSON"),
        ("[1]", "holds no JSON object"),
        ('{"hidden_size": NaN}', "hidden_size is 'NaN'"),
        ('{"model_type": "clip"}', "has no hidden_size"),
    ],
)
def test_a_broken_config_json_is_refused_by_name(nowhere: Terminal, text: str, message: str) -> None:
    (nowhere.folder / "config.json").write_text(text)
    asked = "--model config.json --gpu h100 --input-tokens 9 --output-tokens 9"
    shown = nowhere.run("capacity", *asked.split())

    assert shown.code == 2
    assert "config.json" in shown.err
    assert message in shown.err
    assert shown.out == ""


def points(folder: Path, *rows: str) -> str:
    file = folder / "points.csv"
    file.write_text("\n".join(["model,gpu,gpus,precision,isl,osl,concurrency", *rows]) + "\n")
    return str(file)


def test_points_are_answered_row_by_row_in_order(nowhere: Terminal) -> None:
    file = points(
        nowhere.folder,
        "Qwen/Qwen3-32B,H200_SXM,2,fp8,1024,1024,64",
        "foo,h100,1,fp8,1,1,",
        "",
        "llama-3.1-8b,h100,nan,fp8,1,1,",
        "llama-3.1-8b,h100,1.5,fp8,1,1,",
        "llama-3.1-8b,h100,1,fp8,many,1,",
        "llama-3.1-8b,h100,1",
        "deepseek-v3,h100,1,fp8,100,100,4",
        "Llama-3.1-70B,GB200,4,nvfp4,8192,1024,",
    )
    record = nowhere.run("capacity", "--points", file, "--json").record
    rows = record["rows"]

    assert [row["line"] for row in rows] == [2, 3, 5, 6, 7, 8, 9, 10]
    assert ["error" in row for row in rows] == [False, True, True, True, True, True, True, False]
    assert rows[0]["output_tokens_per_s"] > 0
    assert (rows[0]["model"], rows[0]["gpu"], rows[0]["concurrency"]) == ("qwen3-32b", "h200", 64)
    assert (rows[-1]["precision"], rows[-1]["concurrency"]) == ("fp4", None)
    assert "Unknown model 'foo'" in rows[1]["error"]
    assert rows[4]["error"] == "isl is 'many'; it must be a number."
    shown = nowhere.run("capacity", "--points", file)
    assert shown.code == 0
    assert "6 of 8 rows cannot be answered" in shown.out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"model,gpu\nllama-3.1-8b,h100\n", "line 1: no column gpus, precision, isl, osl, concurrency"),
        (b"model,gpu,gpus,precision,isl,osl,concurrency\n", "has a header and no rows"),
        (b"\xff\xfe\x00", "it is no UTF-8 text"),
        (b'"' + b"x" * 200_000, "field larger than field limit"),
    ],
)
def test_a_file_of_points_that_is_none_is_refused(nowhere: Terminal, content: bytes, message: str) -> None:
    (nowhere.folder / "points.csv").write_bytes(content)
    shown = nowhere.run("capacity", "--points", "points.csv")

    assert (shown.code, shown.out) == (2, "")
    assert message in shown.err


def test_many_points_are_shown_in_part_and_counted(nowhere: Terminal) -> None:
    file = points(nowhere.folder, *["llama-3.1-8b,h100,1,fp8,100,100,8"] * 250)

    assert "... and 50 more rows" in nowhere.run("capacity", "--points", file).out


def test_tuning_has_hours_dollars_and_memory(nowhere: Terminal) -> None:
    record = nowhere.run(*TUNING.split(), "--gpu-usd-per-hour", "2", "--json").record
    shown = nowhere.run(*TUNING.split())

    assert record["schema"] == "freehold.finetuning/1"
    assert record["usd"]["typical"] == pytest.approx(2 * record["gpu_hours"])
    assert record["price_source"] == "stated"
    assert record["fits"] is True
    assert "per GPU-hour, 20" in shown.out
    by_example = TUNING.replace("--trained-tokens 40000000", "--examples 10000 --tokens-per-example 2000 --epochs 2")
    assert nowhere.run(*by_example.split(), "--usd-per-gpu-hour", "2", "--json").record == record


def test_a_machine_without_a_price_has_hours_and_no_dollars(nowhere: Terminal) -> None:
    words = "--finetune --method full --model llama-3.1-70b --gpu mi355x --trained-tokens 1e6"
    asked = ["capacity", *words.split()]
    record = nowhere.run(*asked, "--json").record

    assert record["usd"] is None
    assert "no on demand rental price" in record["reason"]
    assert "not known: mi355x has no" in nowhere.run(*asked).out
    assert "what would make it fit" in nowhere.run(*asked).out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--gpu h100", "Name --model, or --points FILE."),
        ("", "Name --model and --gpu"),
        ("--model llama-3.1-8b --gpu h100", "Give --input-tokens, --output-tokens."),
        ("--model llama-3.1-8b --gpu h100 --input-tokens nan --output-tokens 1", "input tokens is nan"),
        ("--model llama-3.1-8b --gpu h1000 --input-tokens 1 --output-tokens 1", "nearest: h100"),
        ("--model llama-3.1-8b --gpu h100 --input-tokens 1 --output-tokens 1 --gpus -1", "gpus is -1"),
        ("--model llama-3.1-8b --gpu h100 --input-tokens 1 --output-tokens 1 --precision fp3", "Unknown precision"),
        ("--model llama-3.1-8b --gpu h100 --method lora --input-tokens 1", "--method cannot be used with serving"),
        ("--model llama-3.3-70b --gpu l4 --input-tokens 1 --output-tokens 1", "Use more devices per replica"),
        ("--model no/config.json --gpu l4 --input-tokens 1 --output-tokens 1", "it cannot be read"),
        ("--points x.csv --model llama-3.1-8b", "--model cannot be used with --points"),
        ("--points x.csv --finetune", "leave one out"),
        ("--points x.csv", "x.csv: it cannot be read"),
        ("--finetune --model llama-3.1-8b --gpu h100", "Give --method."),
        ("--finetune --method lora --model llama-3.1-8b --gpu h100", "Give --trained-tokens, or --examples"),
        ("--finetune --method lora --model llama-3.1-8b --gpu h100 --trained-tokens 9 --epochs 2", "--epochs cannot"),
        ("--finetune --method x --model llama-3.1-8b --gpu h100 --trained-tokens 9", "Unknown method 'x'"),
        ("--finetune --method lora --model llama-3.1-8b --gpu h100 --input-tokens 9", "--input-tokens cannot"),
        (
            "--finetune --method lora --model llama-3.1-8b --gpu h100 --trained-tokens 9 --usd-per-gpu-hour nan",
            "--gpu-usd-per-hour is nan",
        ),
    ],
)
def test_contradictions_and_bad_numbers_are_refused(nowhere: Terminal, arguments: str, message: str) -> None:
    shown = nowhere.run("capacity", *arguments.split())

    assert (shown.code, shown.out) == (2, "")
    assert message in shown.err


def test_a_file_beyond_all_measure_is_not_read(nowhere: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freehold.cli.capacity_files.MOST_BYTES", 10)
    file = points(nowhere.folder, "llama-3.1-8b,h100,1,fp8,100,100,8")
    assert "is larger than" in nowhere.run("capacity", "--points", file).err
    monkeypatch.undo()
    monkeypatch.setattr("freehold.cli.capacity_files.MOST_ROWS", 1)
    assert "Split the file" in nowhere.run("capacity", "--points", file).err


def test_points_read_a_model_as_the_option_does(nowhere: Terminal) -> None:
    folder = nowhere.folder / "my-model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    file = points(nowhere.folder, f"{folder},l4,1,bf16,100,100,8", "my-model/config.json,l4,1,bf16,100,100,8",
                  "none/config.json,l4,1,bf16,100,100,8")  # fmt: skip
    asked = ["--gpu", "l4", "--precision", "bf16", "--input-tokens", "100", "--output-tokens", "100"]
    asked += ["--concurrency", "8", "--json"]

    rows = nowhere.run("capacity", "--points", file, "--json").record["rows"]
    one = nowhere.run("capacity", "--model", str(folder), *asked).record

    assert rows[0]["output_tokens_per_s"] == rows[1]["output_tokens_per_s"] == one["output_tokens_per_s"]
    assert rows[0]["model"] == "my-model"
    assert "none/config.json: it cannot be read" in rows[2]["error"]


def test_the_next_step_asks_of_the_same_machine(nowhere: Terminal) -> None:
    asked = "capacity --model llama-3.3-70b --gpu h100 --gpus 4 --precision fp8 --input-tokens 1000 --output-tokens 500"
    last = nowhere.run(*asked.split()).last_line

    assert last == (
        "Next: freehold breakeven --own llama-3.3-70b@4xh100 --precision fp8 --rent MODEL --queries-per-month N "
        "--input-tokens 1000 --output-tokens 500"
    )
    assert "--own llama-3.1-8b@h100 --precision fp8 " in nowhere.run(*ONE.split()).last_line
    again = last.removeprefix("Next: freehold ").replace("MODEL", "gpt-5.4").replace(" N ", " 100000 ").split()
    record = nowhere.run(*again, "--as-of", "2026-06-15", "--draws", "200", "--json").record
    assert record["schema"] == "freehold.breakeven/1"


def test_a_row_of_points_with_other_cells_than_the_header_is_an_error(nowhere: Terminal) -> None:
    good = "llama-3.1-8b,h100,1,fp8,100,100"
    file = points(nowhere.folder, good, f"{good},8,9", f"{good},", f"{good},1.5")

    rows = nowhere.run("capacity", "--points", file, "--json").record["rows"]

    assert [row.get("error") for row in rows] == [
        "the row has 6 cells and the header has 7.", "the row has 8 cells and the header has 7.", None,
        "concurrency is 1.5; clients are counted whole.",
    ]  # fmt: skip
    assert rows[2]["concurrency"] is None
    shown = nowhere.run(*ONE.split(), "--concurrency", "1.5")
    assert (shown.code, shown.error) == (2, "--concurrency is 1.5; clients are counted whole.")
    (nowhere.folder / "points.csv").write_text("model,gpu,gpus,precision,isl,osl,concurrency,isl\n" + good + ",8,9\n")
    assert "column isl is there twice" in nowhere.run("capacity", "--points", file).error


def test_names_that_resemble_none_are_told_where_all_are(nowhere: Terminal) -> None:
    tail = ["--input-tokens", "9", "--output-tokens", "9"]
    unknown = nowhere.run("capacity", "--model", "zzz", "--gpu", "h100", *tail).error
    names = nowhere.run("capacity", "--list", "--json").record

    assert "no known name resembles it; freehold capacity --list names all shipped ones" in unknown
    assert (
        nowhere.run("capacity", "--model", " ", "--gpu", "h100", *tail).error
        == "The name of the model is empty. Give one."
    )
    assert {"llama-3.1-8b", "deepseek-v3"} <= set(names["models"])
    assert "h100" in names["gpus"]
    assert "  h100\n" in nowhere.run("capacity", "--list").out
