"""`freehold claims`: the shipped claims, files of one's own, the page, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Terminal

PITCH = """
source: A vendor's pitch
as_of: 2026-06-15
inputs:
  hours_per_month: {value: 730, unit: h/month, source: "8,760 h / 12"}
claims:
- id: rent
  text: One H100 costs $3,000 a month.
  formula: machine_usd_per_month
  stated: {value: 3000, unit: USD/month}
  inputs:
    gpus: {value: 1, unit: GPUs, source: "pitch, page 2"}
    gpu_usd_per_hour: {value: 2.5, unit: USD/GPU-h, source: "pitch, page 3"}
- id: breakeven
  text: It pays from 100,000 queries of 1,000 + 500 tokens a month.
  formula: breakeven_queries_per_month
  stated: {value: 100000, unit: queries/month}
  inputs:
    gpus: {value: 1, unit: GPUs, source: "pitch, page 2"}
    gpu_usd_per_hour: {value: 2.5, unit: USD/GPU-h, source: "pitch, page 3"}
    input_tokens: {value: 1000, unit: tokens/query, source: "pitch, page 4"}
    output_tokens: {value: 500, unit: tokens/query, source: "pitch, page 4"}
    input_usd_per_mtok: {value: {price: gpt-5.4, rate: input}, unit: USD/Mtok}
    output_usd_per_mtok: {value: {price: gpt-5.4, rate: output}, unit: USD/Mtok}
- id: savings
  text: Customers have saved 80 %.
  kind: report
"""


def pitch(nowhere: Terminal, text: str = PITCH) -> Path:
    file = nowhere.folder / "pitch.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_claims_of_the_article_are_audited_without_a_workspace(nowhere: Terminal) -> None:
    record = nowhere.json("claims", "claims")

    assert record["schema"] == "freehold.claims/1"
    assert [claim["id"] for claim in record["claims"]] == [f"C{number:02d}" for number in range(1, 30)]
    assert record["inputs"] == {"file": "claims.yaml", "as_of": "2026-06-15"}
    needed = {"id", "text", "stated", "recomputed", "unit", "ratio", "verdict", "arithmetic", "solved"}
    assert all(needed <= set(claim) for claim in record["claims"])
    assert all({"input", "value", "reason"} <= set(each) for claim in record["claims"] for each in claim["solved"])


def test_a_file_of_ones_own_as_text(nowhere: Terminal) -> None:
    pitch(nowhere)

    shown = nowhere.golden("claims-own", "claims", "pitch.yaml")

    # 2.5 × 730 = 1,825; 1,825 / 0.01 = 182,500
    assert "= 1 × $2.50 × 730 = $1,825/month" in shown.out
    assert "182,500 queries/month" in shown.out
    assert "UNVERIFIABLE" in shown.out


def test_the_same_file_and_day_give_the_same_bytes(nowhere: Terminal) -> None:
    pitch(nowhere)

    first = nowhere.run("claims", "pitch.yaml", "--json")
    again = nowhere.run("claims", "pitch.yaml", "--json")
    later = nowhere.run("claims", "pitch.yaml", "--as-of", "2026-07-01", "--json")

    assert first.out == again.out
    assert later.record["inputs"] == {"file": "pitch.yaml", "as_of": "2026-07-01"}


def test_the_page_is_written_whole_and_named(nowhere: Terminal) -> None:
    record = nowhere.run("claims", "--html", "audit.html", "--json").record
    page = (nowhere.folder / "audit.html").read_text(encoding="utf-8")

    assert record["page"] == "audit.html"
    assert page.startswith("<!DOCTYPE html>")
    assert all(claim["id"] in page for claim in record["claims"])
    assert [file.name for file in nowhere.folder.iterdir()] == ["audit.html"]


def test_formulas_are_listed(nowhere: Terminal) -> None:
    record = nowhere.json("claims-formulas", "claims", "--formulas")
    shown = nowhere.run("claims", "--formulas")

    assert record["schema"] == "freehold.formulas/1"
    assert "breakeven_queries_per_month: volume at which rented GPUs cost what calls per token cost" in shown.out
    assert "= gpus × gpu_usd_per_hour × hours_per_month" in shown.out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            PITCH.replace("machine_usd_per_month", "machine_usd"),
            "pitch.yaml: claim rent, formula: 'machine_usd' is unkn",
        ),
        (PITCH.replace("value: 2.5", "value: .nan"), "pitch.yaml: claim rent, inputs.gpu_usd_per_hour.value: nan must"),
        (PITCH.replace("gpt-5.4", "gpt-nope"), "pitch.yaml: claim breakeven, input_usd_per_mtok: 'gpt-nope' has no"),
        (PITCH + "- *x", "pitch.yaml, line 28: aliases (*name) are refused"),
        ("x" * 300_000, "pitch.yaml is larger than 262,144 bytes"),
        ("ä" * 200_000, "pitch.yaml is larger"),
    ],
)
def test_a_file_that_cannot_be_audited_is_an_error_of_the_input(nowhere: Terminal, text: str, message: str) -> None:
    pitch(nowhere, text)

    shown = nowhere.run("claims", "pitch.yaml")

    assert shown.code == 2
    assert shown.error.startswith(message)


def test_what_is_no_file_or_no_text_is_an_error_of_the_input(nowhere: Terminal) -> None:
    (nowhere.folder / "bytes.yaml").write_bytes(b"a: \xff")

    assert (
        nowhere.run("claims", "none.yaml").error == "none.yaml: No such file or directory. Name a YAML file of claims."
    )
    assert nowhere.run("claims", ".").error == ".: Is a directory. Name a YAML file of claims."
    assert nowhere.run("claims", "bytes.yaml").error == "bytes.yaml: byte 4 is not UTF-8. Save the file as UTF-8."
    assert nowhere.run("claims", "bytes.yaml", "--as-of", "June").code == 2
    for page, why in (("no/such/folder.html", "there is no folder no/such"), (".", "it is a folder")):
        shown = nowhere.run("claims", "--html", page)
        assert (shown.code, shown.out) == (2, "")
        assert shown.error.startswith(f"{page} cannot be written: {why}.")
