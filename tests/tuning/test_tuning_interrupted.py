"""Runs that are killed, ended, damaged or out of room, in a process of their own."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from freehold.core.progress import Silent
from freehold.tuning import checkpoint
from freehold.tuning.job import FILE, Job, job_text
from freehold.tuning.train import train

if TYPE_CHECKING:
    from collections.abc import Callable

    from freehold.core.dataset import Example
    from freehold.core.task import Task
    from freehold.tuning.adapter import TrainedAdapter
    from freehold.tuning.bases import BaseModel
    from freehold.tuning.recipe import Recipe

SOURCE = Path(__file__).parents[2] / "src"
STEPS = 9


@pytest.fixture
def job(task: Task, rows: list[Example], recipe: Recipe, base: BaseModel, tmp_path: Path) -> Job:
    training = recipe.training.model_copy(update={"checkpoint_steps": 2})
    folder = tmp_path / "run"
    folder.mkdir()
    made = Job(
        task=task,
        train_rows=rows,
        validation_rows=rows[:4],
        recipe=recipe.model_copy(update={"training": training}),
        base=base,
        run_folder=folder,
        start=None,
    )
    (folder / FILE).write_text(job_text(made))
    return made


def _train(job: Job, folder: Path) -> TrainedAdapter:
    return train(
        task=job.task,
        train_rows=job.train_rows,
        validation_rows=job.validation_rows,
        recipe=job.recipe,
        base=job.base,
        run_folder=folder,
        progress=Silent(),
    )


def _in_a_process(job: Job, at_step: int, act: Callable[[int], None], before: Callable[[], None] | None = None) -> int:
    """Run the job in a process of its own; call `act` with its id after so many steps. Its exit code."""
    command = [sys.executable, "-m", "freehold.tuning.worker", str(job.run_folder / FILE)]
    steps = 0
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=before,  # noqa: PLW1509 -- it sets a limit and nothing else
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            steps += str(event.get("note", "")).startswith("loss")
            if steps == at_step and "note" in event:
                act(process.pid)
            if "fault" in event:
                job.run_folder.with_name("fault").write_text(event["fault"]["message"])
    return process.returncode


def test_kill_9_in_the_middle_of_a_run_costs_nothing_but_the_steps_since_the_last_checkpoint(
    job: Job, tmp_path: Path
) -> None:
    code = _in_a_process(job, 5, lambda process: os.kill(process, signal.SIGKILL))
    assert code == -signal.SIGKILL
    assert (job.run_folder / checkpoint.FILE).exists()
    assert _train(job, job.run_folder).sha256 == _train(job, tmp_path / "straight").sha256


def test_sigterm_leaves_a_checkpoint_and_says_so_by_its_exit_code(job: Job, tmp_path: Path) -> None:
    code = _in_a_process(job, 3, lambda process: os.kill(process, signal.SIGTERM))
    assert code == 143
    assert (job.run_folder / checkpoint.FILE).exists()
    assert _train(job, job.run_folder).sha256 == _train(job, tmp_path / "straight").sha256


def test_a_disk_that_fills_at_a_checkpoint_is_told_and_the_older_checkpoint_stands(job: Job, tmp_path: Path) -> None:
    _in_a_process(job, 3, lambda process: os.kill(process, signal.SIGKILL))
    before = (job.run_folder / checkpoint.FILE).read_bytes()
    limit = 20_000
    assert len(before) > limit
    code = _in_a_process(job, 99, lambda _: None, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    assert code == 1
    assert "is full. Free some space and run the same command again" in (tmp_path / "fault").read_text()
    assert (job.run_folder / checkpoint.FILE).read_bytes() == before
    assert not list(job.run_folder.glob(".checkpoint*"))
    assert _train(job, job.run_folder).sha256 == _train(job, tmp_path / "straight").sha256


@pytest.mark.parametrize("harm", ["a changed byte", "cut short", "both files"])
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_taken(job: Job, tmp_path: Path, harm: str) -> None:
    _in_a_process(job, 5, lambda process: os.kill(process, signal.SIGKILL))
    newest, older = job.run_folder / checkpoint.FILE, job.run_folder / checkpoint.PREVIOUS
    content = bytearray(newest.read_bytes())
    content[-3] ^= 1
    newest.write_bytes(bytes(content[: len(content) // 2] if harm == "cut short" else content))
    if harm == "both files":
        older.write_bytes(b"nothing of the kind")
    found = _train(job, job.run_folder)
    went_on = "began anew" if harm == "both files" else "went on from step 2"
    assert found.notes == (f"A checkpoint was damaged and set aside as {checkpoint.DAMAGED}; the run {went_on}.",)
    assert found.sha256 == _train(job, tmp_path / "straight").sha256
    assert len(found.losses) == STEPS
