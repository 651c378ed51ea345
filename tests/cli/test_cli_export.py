"""`freehold models export`, from the registry to a folder that others read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Terminal


def test_a_tuned_model_is_exported_registered_and_shown(tuned: Terminal) -> None:
    record = tuned.json("models-export", "models", "export", "desk", "--to", "gguf", "--type", "q8_0", "--cases", "5")

    folder = Path(record["folder"])
    assert (record["made"], record["form"], record["kind"]) == (True, "gguf", "q8_0")
    assert folder == tuned.folder / ".freehold" / "artefacts" / record["model"] / "gguf-q8_0"
    assert record["agreement"]["max_difference"] <= record["agreement"]["tolerance"]
    assert record["quality"]["n"] == 5
    assert record["quality"]["difference"] is not None
    assert json.loads((folder / "artefact.json").read_text())["files"] == record["files"]
    card = (folder / "README.md").read_text()
    assert "accuracy" in card
    assert "135 train" in card
    assert str(tuned.folder) not in card

    again = tuned.run("models", "export", "desk", "--to", "gguf", "--type", "q8_0", "--cases", "5", "--json").record
    assert (again["made"], again["files"]) == (False, record["files"])
    tuned.golden("models-export", "models", "export", "desk", "--to", "gguf", "--type", "q8_0", "--cases", "5")

    (shown,) = tuned.run("models", "show", "desk", "--json").record["artefacts"]
    assert (shown["form"], shown["kind"], shown["intact"], shown["folder"]) == ("gguf", "q8_0", True, str(folder))
    assert "gguf (q8_0" in tuned.run("models", "show", "desk").out
    (folder / "README.md").write_text("mine")
    assert "MISSING OR CHANGED" in tuned.run("models", "show", "desk").out


def test_the_calls_of_a_check_are_no_traffic(tuned: Terminal) -> None:
    before = tuned.run("ledger", "stats", "--json").record["calls"]
    tuned.run("models", "export", "desk", "--to", "adapter-gguf", "--cases", "3")
    assert tuned.run("ledger", "stats", "--json").record["calls"] == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("desk", "--to", "merged", "--type", "q4_0"), "--type q4_0 is no way to store 'merged'; f32, bf16, f16 are."),
        (("desk", "--base", "nowhere/at-all/x"), "is neither a known name"),
        (("nobody",), "is unknown; the nearest name is"),
        (("desk", "--out", "."), "exists and is no artefact of Freehold's"),
    ],
)
def test_what_cannot_be_exported_is_told(arguments: tuple[str, ...], said: str, tuned: Terminal) -> None:
    shown = tuned.run("models", "export", *arguments)
    assert shown.code == 2
    assert said in " ".join(shown.error.split())


def test_a_model_whose_weights_were_changed_is_not_exported(tuned: Terminal) -> None:
    (weights,) = tuned.folder.glob(".freehold/models/*/adapter_model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    shown = tuned.run("models", "export", "desk")
    assert shown.code == 1
    assert "is not what was registered" in shown.error
