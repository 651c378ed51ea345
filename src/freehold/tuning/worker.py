"""One process of several that make one run: `torchrun ... -m freehold.tuning.worker JOB`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold.core.errors import FreeholdError, InputError
from freehold.core.progress import Silent
from freehold.tuning.job import read_job
from freehold.tuning.train import train

if TYPE_CHECKING:
    from freehold.core.progress import Progress, Unit


class _Told:
    """Progress as JSON lines on stdout, for the process that started this one."""

    def start(self, what: str, total: int | None, *, unit: Unit = "pieces") -> None:
        """A piece of work begins."""
        _tell({"start": what, "total": total, "unit": unit})

    def update(self, done: int, note: str = "") -> None:
        """Some of it is done."""
        _tell({"update": done, "note": note})

    def finish(self) -> None:
        """It is over."""
        _tell({"finish": True})


def main(path: Path) -> int:
    """Take part in the run of a job; the exit code."""
    leads = os.environ.get("RANK", "0") == "0"
    progress: Progress = _Told() if leads else Silent()
    if leads:
        _tell({"leader": os.getpid()})
    job = read_job(path)
    try:
        train(
            task=job.task,
            train_rows=job.train_rows,
            validation_rows=job.validation_rows,
            recipe=job.recipe,
            base=job.base,
            run_folder=job.run_folder,
            progress=progress,
            start=job.start,
        )
    except FreeholdError as error:
        _tell({"fault": {"message": str(error), "is_input": isinstance(error, InputError)}})
        return error.exit_code
    return 0


def _tell(event: dict[str, Any]) -> None:  # Any: JSON
    """One line in one write, so that lines of several processes do not mix."""
    os.write(sys.stdout.fileno(), (json.dumps(event) + "\n").encode())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
