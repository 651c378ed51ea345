"""Whole commands, killed in the middle and run again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from sqlalchemy import func, select

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Desk, Terminal

ROWS = 30_000
LIMIT_S = 120.0
LOOK_EVERY_S = 0.01


def kill_when(marker: str, command: tuple[str, ...], folder: Path) -> None:
    """Start a command, and kill it with SIGKILL as soon as a file of this pattern exists."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ.copy(),
    )
    for _ in range(int(LIMIT_S / LOOK_EVERY_S)):
        if any(folder.glob(marker)):
            break
        try:
            process.wait(LOOK_EVERY_S)
        except subprocess.TimeoutExpired:
            continue
        break
    process.kill()
    _, err = process.communicate()
    assert process.returncode == -signal.SIGKILL, f"it ended before it could be killed: {err}"


def test_an_import_that_was_killed_is_completed_by_the_same_command(terminal: Terminal, desk: type[Desk]) -> None:
    from freehold.cli.session import open_session
    from freehold.state.schema import CORRECTIONS

    with (terminal.folder / "log.jsonl").open("w") as file:
        for number in range(ROWS):
            row = {
                "id": f"c{number}",
                "input": f"message {number:x}",
                "output": "ab"[number % 2],
                "model_output": "a",
                "started_at": f"2026-06-{1 + number % 5:02d}T10:00:00Z",
            }
            file.write(json.dumps(row) + "\n")
    command = ("import", "log.jsonl", "--task", "desk", "--quiet")

    kill_when(".freehold/events/calls/day=*/*.parquet", (*desk.program, *command), terminal.folder)
    session = open_session()
    survived = sum(1 for _ in session.ledger.read())
    record = terminal.run(*command, "--json").record

    assert survived in {0, ROWS}  # a file is imported whole or not at all
    assert (record["imported"], record["duplicates"]) == (ROWS - survived, survived)
    identifiers = [call.id for call in session.ledger.read()]
    assert len(identifiers) == len(set(identifiers)) == ROWS
    with session.state.connect() as connection:
        assert connection.execute(select(func.count()).select_from(CORRECTIONS)).scalar() == ROWS


def test_a_tuning_run_that_was_killed_ends_with_the_weights_of_an_undisturbed_one(
    imported: Terminal, tuned_folder: Path, tiny_folder: Path, desk: type[Desk]
) -> None:
    (imported.folder / "tiny").symlink_to(tiny_folder)
    command = ("tune", "desk", *desk.tiny, "--quiet")

    kill_when(".freehold/runs/*/checkpoint.safetensors", (*desk.program, *command), imported.folder)
    assert imported.run("models", "list", "--json").record["models"] == []
    record = imported.run(*command, "--json").record

    (undisturbed,) = (tuned_folder / ".freehold" / "models").iterdir()
    assert record["model"] == undisturbed.name
    assert [folder.name for folder in (imported.folder / ".freehold" / "models").iterdir()] == [undisturbed.name]


def test_a_dataset_build_that_was_interrupted_before_it_was_registered_starts_clean(
    imported: Terminal,
) -> None:
    undisturbed = imported.run("dataset", "list", "--json").record["datasets"]
    shutil.rmtree(imported.folder / ".freehold")
    imported.run("init")
    imported.run("import", "log.jsonl", "--task", "desk")
    imported.run("import", "held_out.jsonl", "--task", "desk", "--split", "test")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("freehold.datasets.build.register", _interrupt)
        assert imported.run("dataset", "build", "desk").code == 130

    assert imported.run("dataset", "list").out == "No dataset yet.\n"
    assert imported.run("dataset", "build", "desk").code == 0
    assert imported.run("dataset", "list", "--json").record["datasets"] == undisturbed


def _interrupt(*_: Any) -> NoReturn:  # Any: takes what the real one takes
    raise KeyboardInterrupt
