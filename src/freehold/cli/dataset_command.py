"""`freehold dataset`: build, show, diff, list, export."""

from __future__ import annotations

from itertools import chain, islice
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from freehold.cli.show import json_option, quiet_option, show

if TYPE_CHECKING:
    from freehold.cli.session import Session
    from freehold.core.dataset import Dataset
    from freehold.core.progress import Progress
    from freehold.core.task import Split, Task
    from freehold.datasets.export import Format
    from freehold.datasets.files import TrainingFiles
    from freehold.datasets.policy import Policy
    from freehold.datasets.unmask import Unmasking

_MOST_OUTPUTS = 200_000
"""So many answers tell what kind of work a task is."""
FORMATS = ("openai", "openai-dpo", "sharegpt", "alpaca", "trl", "csv", "parquet", "hf")


@click.group("dataset")
def command() -> None:
    """Curated, versioned training and test sets."""


@command.command("build")
@click.argument("task")
@click.option("--test-share", default=0.25, show_default=True, help="Latest share of time that is held out.")
@click.option("--allow-rented-output", is_flag=True, help="Train on the rented model's answers too: read its terms.")
@click.option(
    "--from",
    "files",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Rows of a training file or folder too; may be given several times.",
)
@click.option("--columns", metavar="INPUT,OUTPUT", help="Columns of --from files that are named otherwise.")
@click.option("--terms", help="Licence or terms of the --from rows, as the manifest is to say.")
@click.option("--by-model", is_flag=True, help="A model gave the answers of the --from rows; no human looked at them.")
@json_option
@quiet_option
def build(
    task: str,
    test_share: float,
    allow_rented_output: bool,
    files: tuple[Path, ...],
    columns: str | None,
    terms: str | None,
    by_model: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Build a dataset of TASK from the ledger, what humans said, and training files.

    Near-duplicates stay on one side, personal data is masked, answers of the rented model that no human
    looked at are left out. The same inputs give the same version.

    --from takes OpenAI's SFT and DPO lines, ShareGPT, Alpaca, TRL's prompt with completion or with chosen and
    rejected, tables (CSV, Parquet) with an input and an output column, and folders of Hugging Face datasets.

    \b
    Examples:
      freehold dataset build support_intent
      freehold dataset build support_intent --json
      freehold dataset build support_intent --from sft.jsonl --terms cc-by-4.0
      freehold dataset build support_intent --from table.csv --columns question,category
    """
    from freehold.cli.session import open_session
    from freehold.datasets.files import TrainingFiles
    from freehold.datasets.policy import Policy
    from freehold.datasets.read import as_record
    from freehold.report.dataset_text import dataset_text
    from freehold.report.progress import TerminalProgress

    asked, _, answer = (name.strip() for name in (columns or "").partition(","))
    if columns is not None and not (asked and answer and "," not in answer):
        raise click.UsageError("--columns takes two names, such as question,category.")
    if not files and (columns or terms or by_model):
        raise click.UsageError("--columns, --terms and --by-model are about files: name one with --from.")
    named = (asked, answer) if columns else None
    brought = TrainingFiles(files, terms, by_model, named) if files else None
    policy = Policy(test_share=test_share, allow_rented_output=allow_rented_output)
    with TerminalProgress(quiet=quiet) as progress:
        dataset = build_from(open_session(), task, policy=policy, progress=progress, files=brought)
    record = as_record(dataset)
    show(record, dataset_text(record), as_json=as_json, next_step=f"freehold tune {quote(str(task))}")


def build_from(
    session: Session, task: str, *, policy: Policy, progress: Progress, files: TrainingFiles | None = None
) -> Dataset:
    """Build a dataset version of a task in a session's workspace."""
    from freehold.datasets.build import build_dataset
    from freehold.tasks.define import load_task

    return build_dataset(
        engine=session.state,
        task=load_task(session.state, task) if files is None else _task_with(session, task, files),
        calls=session.ledger.read(task),
        folder=session.workspace.datasets,
        policy=policy,
        progress=progress,
        files=files,
    )


def _task_with(session: Session, name: str, files: TrainingFiles) -> Task:
    """The task as the answers of the files make it, besides those that humans gave before."""
    from freehold.core.errors import InputError
    from freehold.core.task import fault_of_name
    from freehold.corrections.store import human_outputs
    from freehold.tasks.define import define_task, guess_task, is_in_use, known_kind
    from freehold.tasks.store import load_tasks

    fault = fault_of_name(name)
    if fault is not None:
        raise InputError(f"The task's name {fault}.")
    facts = load_tasks(session.state).get(name)
    is_settled = is_in_use(session.state, name) or (facts is not None and facts.is_set)
    outputs = islice(chain(human_outputs(session.state, name), files.answers()), _MOST_OUTPUTS)
    kind = known_kind(session.state, name) if is_settled else None
    return define_task(session.state, guess_task(name, outputs, kind=kind))


@command.command("show")
@click.argument("name")
@click.option("--samples", default=2, show_default=True, help="Rows of each split to show.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with pictures too.")
@json_option
def show_one(name: str, samples: int, html: Path | None, as_json: bool) -> None:
    """Show a dataset by its id, or the latest one of a task: statistics, samples, warnings."""
    from freehold.cli.page_file import check_page, write_page
    from freehold.cli.session import open_session
    from freehold.datasets.read import as_record, read_dataset, read_samples
    from freehold.report.dataset_page import dataset_page
    from freehold.report.dataset_text import dataset_text

    if html is not None:
        check_page(html)
    session = open_session()
    dataset = read_dataset(session.workspace.datasets, name, engine=session.state)
    record = as_record(dataset) | read_samples(dataset, max(0, samples))
    if html is not None:
        write_page(html, dataset_page(record))
        record["page"] = str(html)
    show(record, dataset_text(record), as_json=as_json, next_step=f"freehold tune {quote(str(dataset.task.name))}")


@command.command("diff")
@click.argument("old")
@click.argument("new")
@json_option
def diff(old: str, new: str, as_json: bool) -> None:
    """Compare two versions of a task's dataset: rows that came, went, moved or were answered anew.

    \b
    Example:
      freehold dataset diff support_intent-1a2b3c4d5e6f support_intent
    """
    from freehold.cli.session import open_session
    from freehold.datasets.diff import compare
    from freehold.datasets.read import read_dataset
    from freehold.report.dataset_text import diff_text

    session = open_session()
    first, second = (read_dataset(session.workspace.datasets, name, engine=session.state) for name in (old, new))
    record = compare(first, second)
    show(record, diff_text(record), as_json=as_json, next_step=f"freehold dataset show {quote(second.id)}")


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
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--split", type=click.Choice(["train", "validation", "test"]), default="train", show_default=True)
@click.option("--format", "form", type=click.Choice(FORMATS), default="openai", show_default=True)
@click.option("--unmask", is_flag=True, help="Put personal data back, from the calls in the ledger.")
@json_option
def export(name: str, file: Path, split: Split, form: Format, unmask: bool, as_json: bool) -> None:
    """Write a split in a format of other tools; hf writes all splits into a folder.

    openai: chat fine-tuning JSONL, as OpenAI, Together and TRL read it; openai-dpo: pairs of a corrected answer and
    its original; sharegpt; alpaca; trl: prompt and completion; csv; parquet; hf: a folder for load_dataset.
    """
    from freehold.cli.session import open_session
    from freehold.datasets.export import export_examples
    from freehold.datasets.read import read_dataset

    session = open_session()
    dataset = read_dataset(session.workspace.datasets, name, engine=session.state)
    restore = _unmasking(session, dataset) if unmask else None
    rows = export_examples(dataset, split, file, form=form, change=restore or iter)
    record = {
        "schema": "freehold.export/1",
        "dataset": dataset.id,
        "split": "all" if form == "hf" else split,
        "format": form,
        "file": str(file),
        "rows": rows,
        "unmasked": None if restore is None else restore.restored,
        "still_masked": None if restore is None else restore.missing,
    }
    text = f"{rows} rows of {dataset.id} ({record['split']}) in {file}"
    if restore is not None:
        text += f"\nPersonal data put back in {restore.restored} rows; {restore.missing} have no call in the ledger."
    step = f"ls -R {quote(str(file))}" if form == "hf" else f"head -1 {quote(str(file))}"
    show(record, text, as_json=as_json, next_step=step)


def _unmasking(session: Session, dataset: Dataset) -> Unmasking:
    from freehold.datasets.rows import read_human_words
    from freehold.datasets.unmask import Unmasking

    return Unmasking(dataset.task, session.ledger.find, read_human_words(session.state, dataset.task.name))
