"""`freehold models export`, from the registry to a folder that others read."""

from __future__ import annotations

import json
import os
import shutil
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from freehold.core.errors import InputError

if TYPE_CHECKING:
    from tests.cli.conftest import Desk, Terminal


def test_a_tuned_model_is_exported_registered_and_shown(tuned: Terminal) -> None:
    record = tuned.json("models-export", "models", "export", "desk", "--to", "gguf", "--type", "q8_0", "--cases", "5")

    folder = Path(record["folder"])
    assert (record["made"], record["form"], record["kind"]) == (True, "gguf", "q8_0")
    assert folder == tuned.folder / ".freehold" / "artefacts" / record["model"] / "gguf-q8_0"
    assert record["agreement"]["max_difference"] <= record["agreement"]["max_tolerance"]
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


def test_a_workspace_that_moved_finds_what_it_exported(
    tuned: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned.run("models", "export", "desk")
    moved = tuned.folder.rename(tmp_path / "moved")
    monkeypatch.chdir(moved)
    (shown,) = tuned.run("models", "show", "desk", "--json").record["artefacts"]
    assert (shown["intact"], Path(shown["folder"]).is_relative_to(moved)) == (True, True)


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


def ask(address: str, model: str) -> str:
    body = {"model": model, "messages": [{"role": "user", "content": "my card is gone"}]}
    request = urllib.request.Request(
        f"{address}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return str(json.load(response)["choices"][0]["message"]["content"])


def test_a_base_in_fewer_bits_serves_the_adapter_and_is_written_once(tuned: Terminal) -> None:
    from freehold.cli.serve_command import champions, endpoint_of
    from freehold.cli.session import open_session

    session = open_session()
    times = []
    for _ in range(2):
        with endpoint_of(session, champions(session, ()), kind="q4_0", threads=1) as address:
            assert ask(address, "desk")
        (base,) = (tuned.folder / ".freehold" / "serving").glob("tiny-*-q4_0.gguf")
        times.append(base.stat().st_mtime_ns)
    assert times[0] == times[1]


def test_a_base_that_changed_is_written_anew(tuned: Terminal, tmp_path: Path) -> None:
    from freehold.serving.base_files import base_gguf

    source = shutil.copytree(tuned.folder / "tiny", tmp_path / "copy")
    first = base_gguf(source, "copy", tmp_path / "serving", kind="f16", is_immutable=False)
    os.utime(source / "config.json", ns=(1, 1))
    assert base_gguf(source, "copy", tmp_path / "serving", kind="f16", is_immutable=False) != first


def test_a_model_whose_every_weight_was_trained_is_exported_and_served(tuned: Terminal, desk: type[Desk]) -> None:
    from freehold.cli.serve_command import endpoint_of
    from freehold.cli.session import open_session
    from freehold.registry.store import get_model, list_models

    whole = tuned.run("tune", "desk", *desk.tiny, "method=full", "training.epochs=1", "--quiet", "--json").record
    session = open_session()
    with endpoint_of(session, [get_model(session.state, whole["model"])], threads=1) as address:
        assert ask(address, whole["model"])
    with pytest.raises(InputError, match="so it shares no base with others"):
        endpoint_of(session, list_models(session.state))
    record = tuned.run("models", "export", whole["model"], "--to", "gguf", "--cases", "2", "--json").record
    assert record["agreement"]["max_difference"] <= 0.05


def test_what_fewer_bits_cost_is_said_before_they_are_served(tuned: Terminal) -> None:
    from freehold.cli.serve_command import _loss
    from freehold.cli.session import open_session
    from freehold.registry.store import get_model

    session = open_session()
    model = get_model(session.state, "desk")
    assert _loss(session, model, "q4_0").startswith(
        f"Warning: nobody has measured what q4_0 costs {model.id}: freehold "
    )
    tuned.run("models", "export", "desk", "--to", "adapter-gguf", "--type", "q4_0", "--cases", "3")
    assert "against 16 bits" in _loss(session, model, "q4_0")
