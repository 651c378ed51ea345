"""One process per device: starts torchrun, shows what the leading process tells, passes signals on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from freehold.core.errors import FreeholdError, InputError
from freehold.tuning._files import whole_file
from freehold.tuning.interruption import interruptible
from freehold.tuning.job import FILE, Job, job_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from freehold.core.progress import Progress
    from freehold.tuning.interruption import Interruption

LOG = "processes.log"
"""File of the run's folder that holds what the processes print besides."""
LAST_LINES = 5


def is_launched() -> bool:
    """Whether torchrun, or something that speaks like it, started this process."""
    return "WORLD_SIZE" in os.environ


def launch(job: Job, progress: Progress) -> None:
    """Run a job in as many processes of this machine as its recipe says, and wait for their end.

    Ctrl-C and SIGTERM reach the leading process, which has all of them write a checkpoint after the running step.

    Raises:
        InputError: what the processes found wrong with what they were given.
        FreeholdError: one of them failed.
        KeyboardInterrupt: Ctrl-C came.
        SystemExit: SIGTERM came.
    """
    path = job.run_folder / FILE
    with whole_file(path) as draft:
        draft.write_text(job_text(job), "utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    command += [str(job.recipe.devices.count), "-m", "freehold.tuning.worker", str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(job.recipe.threads or 1), "PYTHONUNBUFFERED": "1"}
    try:
        with (
            (job.run_folder / LOG).open("w", encoding="utf-8") as log,
            interruptible() as interruption,
            subprocess.Popen(  # noqa: S603 -- our own arguments
                command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment, start_new_session=True
            ) as process,
        ):
            assert process.stdout is not None
            try:
                told = _listen(process.stdout, log, progress, interruption)
                code = process.wait()
            except BaseException:
                process.terminate()
                raise
            if interruption.came:
                interruption.end()
    finally:
        path.unlink(missing_ok=True)
    if told is not None:
        raise (InputError if told["is_input"] else FreeholdError)(told["message"])
    if code != 0:
        lines = (job.run_folder / LOG).read_text("utf-8", errors="replace").strip().splitlines()[-LAST_LINES:]
        raise FreeholdError(
            f"A process of the run ended with exit code {code}; {job.run_folder / LOG} holds what it said, last: "
            f"{' / '.join(lines)}. The same command goes on from the last checkpoint."
        )


def _listen(stdout: IO[str], log: IO[str], progress: Progress, interruption: Interruption) -> dict[str, Any] | None:
    """Pass on what the leading process reports; return the first fault that one of them told."""
    fault, leader, passed_on = None, None, False
    for event in _events(stdout, log):
        match event:
            case {"leader": int(number)}:
                leader = number
            case {"start": str(what), "total": total, "unit": unit}:
                progress.start(what, total, unit=unit)
            case {"update": int(done), "note": str(note)}:
                progress.update(done, note)
            case {"finish": True}:
                progress.finish()
            case {"fault": dict(told)}:
                fault = fault or told
        if interruption.came and leader is not None and not passed_on:
            with suppress(ProcessLookupError):
                os.kill(leader, signal.SIGTERM)
            passed_on = True
    return fault


def _events(stdout: IO[str], log: IO[str]) -> Iterator[dict[str, Any]]:  # Any: JSON
    """Reports among the lines; everything else goes into the log."""
    for line in stdout:
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            event = None
        if isinstance(event, dict):
            yield event
        else:
            log.write(line)
