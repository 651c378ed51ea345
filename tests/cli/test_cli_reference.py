"""The pages in docs/reference name everything that there is, and nothing that there is not."""

from __future__ import annotations

import json
import re
import typing
from pathlib import Path

import pytest
from pydantic import BaseModel

from freehold.ledger.logs.format import Context, LoggedCall
from freehold.ledger.logs.formats.rows import CallReader, read_correction, unknown_fields
from freehold.ledger.logs.formats.table import format_of
from freehold.ledger.logs.shelf import DiskShelf
from freehold.state.settings import Settings

REPOSITORY = Path(__file__).parents[2]
REFERENCE = REPOSITORY / "docs" / "reference"
SOURCES = sorted((REPOSITORY / "src").rglob("*.py"))
GOLDEN = Path(__file__).parent / "golden"
SECTION_OF = {
    "audit": "audit", "breakeven": "breakeven", "claims": "claims", "claims-formulas": "formulas",
    "dataset-build": "dataset", "dataset-diff": "datasetdiff", "dataset-export": "export",
    "dataset-list": "datasets", "dataset-show": "dataset", "decide": "decide", "evaluate": "evaluate",
    "ledger-compact": "ledgercompact", "ledger-costs": "ledgercosts", "ledger-export": "ledgerexport",
    "ledger-repair": "ledgerrepair", "ledger-stats": "ledgerstats", "ledger-verify": "ledgerverify",
    "keys-create": "key", "keys-list": "keys", "keys-revoke": "key", "keys-rotate": "key",
    "keys-set": "key",
    "import-again": "import", "import-rejected": "import", "init": "init", "models-list": "models",
    "models-export": "artefact", "models-promote": "model", "models-show": "model",
    "prices-check": "pricecheck", "prices-gpus": "rentals", "prices-list": "prices", "prices-override": "override",
    "prices-price": "bodies", "prices-show": "price", "prices-show-dated": "price",
    "simulate": "simulate", "tune": "tune", "tune-plan": "tuneplan", "verify": "verify",
}  # fmt: skip


def _page(name: str) -> str:
    return (REFERENCE / f"{name}.md").read_text(encoding="utf-8")


def _section(schema: str) -> str:
    _, found, rest = _page("json").partition(f"## {schema}\n")
    assert found, f"docs/reference/json.md has no section {schema}"
    return rest.partition("\n## ")[0]


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("*.fields")), ids=lambda file: file.stem)
def test_every_field_of_a_json_result_is_documented(file: Path) -> None:
    section = _section(f"freehold.{SECTION_OF[file.stem]}/1")
    named = set(re.findall(r"`([^`]+)`", section))
    known = {name.removesuffix("[]").rpartition(".")[2] for name in named}
    fields = [line.partition(":")[0] for line in file.read_text(encoding="utf-8").splitlines()]

    outer = {re.match(r"\w+", field)[0] for field in fields}  # type: ignore[index]  # each line begins with a name
    inner = {found[1] for field in fields if (found := re.match(r"\w+\[\]\.(\w+)", field))}
    missing = (outer | inner) - known - {"schema"}

    assert missing == set()


def test_every_schema_of_the_source_has_a_section() -> None:
    schemas = {
        schema for file in SOURCES for schema in re.findall(r'"(freehold\.[a-z]+/1)"', file.read_text(encoding="utf-8"))
    }
    in_files_alone = {"freehold.signature/1", "freehold.run/1"}  # no command prints them
    sections = set(re.findall(r"^## (freehold\.\S+)$", _page("json"), re.MULTILINE))

    assert sections == schemas - in_files_alone


def test_every_setting_is_documented_with_its_default() -> None:
    page = _page("settings")
    sections = [(name, field.annotation) for name, field in Settings.model_fields.items()]
    for section, annotation in sections:
        model, prefix = annotation, section
        if typing.get_origin(model) is dict:  # one section per name
            model, prefix = typing.get_args(model)[1], f"{section}.NAME"
        assert isinstance(model, type)
        for name, inner in model.model_fields.items():
            if isinstance(inner.default, BaseModel):  # a section within a section
                sections.append((f"{prefix}.{name}", inner.annotation))
            row = re.search(rf"^\| `{prefix}\.{name}` \| ([^|]+) \|", page, re.MULTILINE)
            assert row, f"docs/reference/settings.md lacks {prefix}.{name}"
            if isinstance(inner.default, float | str):
                assert row[1].strip("`") == str(inner.default)


def test_every_variable_of_the_environment_is_documented() -> None:
    read = {
        name
        for file in SOURCES
        for name in re.findall(r'environ(?:\.get\(|\[)"(FREEHOLD_\w+)"', file.read_text(encoding="utf-8"))
    }
    told = set(re.findall(r"^\| `(FREEHOLD_\w+)` \|", _page("settings"), re.MULTILINE))

    assert told == read | {"FREEHOLD_SECTION__NAME"}


def test_the_documented_fields_of_rows_are_those_that_are_read() -> None:
    calls, corrections = _page("rows").split("## Corrections")
    fields = {
        name for cell in re.findall(r"^\| (`.+?) \|", calls, re.MULTILINE) for name in re.findall(r"`(\w+)`", cell)
    }

    assert len(fields) == 21
    assert unknown_fields(dict.fromkeys(fields)) == set()
    assert unknown_fields({**dict.fromkeys(fields), "colour": "red"}) == {"colour"}
    assert all(f"`{name}`" in corrections for name in ("call_id", "output", "reviewer", "reviewed_at"))


def test_the_example_rows_can_be_read(tmp_path: Path) -> None:
    call, correction = (json.loads(line) for line in re.findall(r"^\{.+\}$", _page("rows"), re.MULTILINE))

    assert [found and found.name for found in map(format_of, (call, correction))] == ["rows", "corrections"]
    (logged,) = CallReader(Context(shelf=DiskShelf(tmp_path), task="desk")).read(call, 1)
    assert isinstance(logged, LoggedCall)
    assert (logged.call.input_tokens, logged.human is not None) == (412, True)
    assert read_correction(correction, is_test=False).reviewer == "ada"
