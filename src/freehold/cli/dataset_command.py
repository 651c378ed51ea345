"""`freehold dataset`: build, show, list, export."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from freehold.cli.show import json_option, quiet_option, show

if TYPE_CHECKING:
    from freehold.cli.session import Session
    from freehold.core.dataset import Dataset
    from freehold.core.progress import Progress
    from freehold.core.task import Split
    from freehold.datasets.policy import Policy


@click.group("dataset")
def command() -> None:
    """Curated, versioned training and test sets."""


@command.command("build")
@click.argument("task")
@click.option("--test-share", default=0.25, show_default=True, help="Latest share of time that is held out.")
@click.option("--allow-rented-output", is_flag=True, help="Train on the rented model's answers too: read its terms.")
@json_option
@quiet_option
def build(task: str, test_share: float, allow_rented_output: bool, as_json: bool, quiet: bool) -> None:
    """Build a dataset of TASK from the ledger and what humans said.

    Near-duplicates stay on one side, personal data is masked, answers of the rented model that no human
    looked at are left out. The same inputs give the same version.

    \b
    Examples:
      freehold dataset build support_intent
      freehold dataset build support_intent --json
    """
    from freehold.cli.session import open_session
    from freehold.datasets.policy import Policy
    from freehold.datasets.read import as_record
    from freehold.report.progress import TerminalProgress
    from freehold.report.text import dataset_text

    policy = Policy(test_share=test_share, allow_rented_output=allow_rented_output)
    with TerminalProgress(quiet=quiet) as progress:
        dataset = build_from(open_session(), task, policy=policy, progress=progress)
    record = as_record(dataset)
    show(record, dataset_text(record), as_json=as_json, next_step=f"freehold tune {quote(str(task))}")


def build_from(session: Session, task: str, *, policy: Policy, progress: Progress) -> Dataset:
    """Build a dataset version of a task in a session's workspace."""
    from freehold.datasets.build import build_dataset
    from freehold.tasks.define import load_task

    return build_dataset(
        engine=session.state,
        task=load_task(session.state, task),
        calls=session.ledger.read(task),
        folder=session.workspace.datasets,
        policy=policy,
        progress=progress,
    )


@command.command("show")
@click.argument("name")
@json_option
def show_one(name: str, as_json: bool) -> None:
    """Show a dataset by its id, or the latest one of a task."""
    from freehold.cli.session import open_session
    from freehold.datasets.read import as_record, read_dataset
    from freehold.report.text import dataset_text

    session = open_session()
    dataset = read_dataset(session.workspace.datasets, name, engine=session.state)
    record = as_record(dataset)
    show(record, dataset_text(record), as_json=as_json, next_step=f"freehold tune {quote(str(dataset.task.name))}")


@command.command("list")
@json_option
def list_all(as_json: bool) -> None:
    """List all dataset versions, latest first."""
    from freehold.cli.session import open_session
    from freehold.datasets.read import dataset_versions
    from freehold.report.registry_text import datasets_text

    versions = dataset_versions(open_session().state)
    names = [each["dataset"] for each in versions]
    record = {"schema": "freehold.datasets/1", "datasets": names, "versions": versions}
    step = f"freehold dataset show {quote(names[0])}" if names else "freehold dataset build TASK"
    show(record, datasets_text(record), as_json=as_json, next_step=step)


@command.command("export")
@click.argument("name")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--split", type=click.Choice(["train", "validation", "test"]), default="train", show_default=True)
@json_option
def export(name: str, file: Path, split: Split, as_json: bool) -> None:
    """Write a split as chat fine-tuning JSONL, as OpenAI, Together and TRL read it."""
    from freehold.cli.session import open_session
    from freehold.datasets.export import export_examples
    from freehold.datasets.read import read_dataset

    session = open_session()
    dataset = read_dataset(session.workspace.datasets, name, engine=session.state)
    rows = export_examples(dataset, split, file)
    record = {
        "schema": "freehold.export/1",
        "dataset": dataset.id,
        "split": split,
        "file": str(file),
        "rows": rows,
    }
    show(
        record,
        f"{rows} rows of {dataset.id} ({split}) in {file}",
        as_json=as_json,
        next_step=f"head -1 {quote(str(file))}",
    )
