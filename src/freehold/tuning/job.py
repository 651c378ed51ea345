"""A run written down for processes of its own, and read back by each of them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold.core.chat import Message
from freehold.core.dataset import Example
from freehold.core.task import Task
from freehold.tuning.bases import BaseModel
from freehold.tuning.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Sequence

FILE = "job.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What `train` is given, its progress apart."""

    task: Task
    train_rows: Sequence[Example]
    validation_rows: Sequence[Example]
    recipe: Recipe
    base: BaseModel
    run_folder: Path
    start: Path | None


def job_text(job: Job) -> str:
    """The job as JSON."""
    return json.dumps(
        {
            "task": asdict(job.task),
            "train_rows": [row.as_dict() for row in job.train_rows],
            "validation_rows": [row.as_dict() for row in job.validation_rows],
            "recipe": job.recipe.model_dump(mode="json"),
            "base": asdict(job.base),
            "run_folder": job.run_folder,
            "start": job.start,
        },
        default=str,
    )


def read_job(path: Path) -> Job:
    """The job that was written down."""
    fields = json.loads(path.read_text("utf-8"))
    base, task, start = fields["base"], fields["task"], fields["start"]
    return Job(
        task=Task(**{**task, "labels": tuple(task["labels"])}),
        train_rows=[_example(row) for row in fields["train_rows"]],
        validation_rows=[_example(row) for row in fields["validation_rows"]],
        recipe=Recipe.model_validate(fields["recipe"]),
        base=BaseModel(**{**base, "folder": Path(base["folder"]), "gguf": base["gguf"] and Path(base["gguf"])}),
        run_folder=Path(fields["run_folder"]),
        start=None if start is None else Path(start),
    )


def _example(row: dict[str, Any]) -> Example:  # Any: JSON
    """A row without its time, which training does not look at."""
    return Example(
        id=row["id"],
        messages=tuple(Message(**message) for message in row["messages"]),
        target=row["target"],
        split=row["split"],
        provenance=row["provenance"],
        group=row["group"],
        rented_output=row["rented_output"],
        rented_model=row["rented_model"],
    )
