"""`freehold import`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from freehold.cli.show import json_option, quiet_option, show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from freehold.cli.session import Session
    from freehold.core.progress import Progress
    from freehold.core.task import Task, TaskKind
    from freehold.ledger.logs.engine import Imported

REJECTS_FILE = "rejected.jsonl"
_MOST_OUTPUTS = 200_000
"""So many answers of a rented model tell what kind of work a task is."""


@click.command("import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--task", help="Task of rows that name none.")
@click.option(
    "--split",
    type=click.Choice(["train", "test"]),
    default="train",
    show_default=True,
    help="test: rows that do not say so themselves are held-out cases; copies of them will not train.",
)
@click.option(
    "--kind",
    type=click.Choice(["classification", "extraction", "text"]),
    help="What kind of work the tasks are, if the guess is wrong.",
)
@json_option
@quiet_option
def command(
    paths: tuple[Path, ...],
    task: str | None,
    split: str,
    kind: TaskKind | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Bring logs and corrections into the ledger: .jsonl, .json, .csv (plain or .gz), .parquet, or folders of them.

    A row is {"input", "output", "task"}: input is text or a list of messages, output what a human says the
    answer is. Optional: "model_output" (what the rented model answered), "model", "input_tokens",
    "output_tokens", "started_at", "id", "split". A correction is {"call_id", "output", "reviewer",
    "reviewed_at"}. What 'freehold ledger export' wrote comes back as it was, in any workspace.
    Importing the same file again adds nothing.

    \b
    Examples:
      freehold import october.jsonl --task support_intent
      freehold import held_out.jsonl --task support_intent --split test
      freehold import logs/ corrections.jsonl
      freehold import calls.parquet
    """
    from freehold.cli.session import open_session
    from freehold.core.errors import InputError
    from freehold.core.task import fault_of_name
    from freehold.report.progress import TerminalProgress
    from freehold.report.text import import_text

    fault = None if task is None else fault_of_name(task)
    if fault is not None:
        raise click.UsageError(f"--task: the name {fault}.")
    session = open_session()
    with TerminalProgress(quiet=quiet) as progress:
        taken = import_into(session, list(paths), task=task, is_test=split == "test", kind=kind, progress=progress)
    result = taken.result
    record = result.as_record() | {
        "kinds": {one.name: one.kind for one in taken.tasks},
        "kind_confidence": taken.confidence,
        "warnings": taken.warnings,
        "rejects_file": _keep_rejects(session, result),
    }
    name = quote(next(iter(sorted(result.tasks)), "TASK"))
    step = f"freehold dataset build {name}" if split == "test" or result.human_words else "freehold audit"
    if result.is_useless:
        if as_json:
            click.echo(json.dumps(record, ensure_ascii=False))
        first = result.rejected[0]
        raise InputError(
            f"{first.file}, line {first.line}: {first.reason}. None of {len(result.rejected)} rows can be used; "
            f"{record['rejects_file']} has them all."
        )
    show(record, import_text(record), as_json=as_json, next_step=step)


@dataclass(frozen=True, slots=True)
class Taken:
    """An import, and what was learnt from it."""

    result: Imported
    tasks: list[Task]
    """The tasks that the rows belong to, as they are defined now."""
    confidence: dict[str, float | None]
    """Task -> how well its answers bear the guess of its kind out.

    None: it was given, a dataset has settled it, or there is no answer.
    """
    warnings: list[str]


def import_into(
    session: Session,
    paths: list[Path],
    *,
    task: str | None = None,
    is_test: bool = False,
    kind: TaskKind | None = None,
    progress: Progress,
) -> Taken:
    """Import files into a session's workspace and learn from them what kind of work each task is.

    Raises:
        InputError: a file cannot be used, or `kind` does not fit. What was read until then is kept, and importing
            it again completes it.
    """
    from freehold.corrections.store import keep_words
    from freehold.ledger.logs.engine import import_logs
    from freehold.ledger.logs.files import find_logs

    result = import_logs(
        find_logs(paths),
        ledger=session.ledger,
        keep=partial(keep_words, session.state),
        task=task,
        is_test=is_test,
        progress=progress,
    )
    taken = Taken(result, [], {}, [])
    for name in sorted(result.tasks):
        taken.tasks.append(_define(session, name, kind, taken))
    return taken


def _define(session: Session, name: str, kind: TaskKind | None, taken: Taken) -> Task:
    """Learn a task anew from all that humans answered, or from the rented model where no human did."""
    from freehold.core.errors import InputError
    from freehold.corrections.store import human_outputs
    from freehold.tasks.define import define_task, guess_task, is_in_use, kind_confidence, known_kind, load_task

    outputs = list(human_outputs(session.state, name)) or list(_rented_outputs(session, name))
    taken.confidence[name] = None
    if kind is None and not is_in_use(session.state, name):
        task = define_task(session.state, guess_task(name, outputs))
        taken.confidence[name] = kind_confidence(task.kind, outputs)
        return task
    if kind is not None:
        return define_task(session.state, guess_task(name, outputs, kind=kind))
    try:
        return define_task(session.state, guess_task(name, outputs, kind=known_kind(session.state, name)))
    except InputError as error:
        taken.warnings.append(f"{error} Until then the task stays as it was, and answers outside it are left out.")
        return load_task(session.state, name)


def _rented_outputs(session: Session, task: str) -> Iterator[str]:
    from freehold.core.spoken import answered

    texts = (answered(call.response) for call in session.ledger.read(task) if call.route in {None, "rent"})
    yield from islice((text for text in texts if text is not None), _MOST_OUTPUTS)


def _keep_rejects(session: Session, result: Imported) -> str | None:
    """Write the rejected rows' places and reasons beside the ledger; None if every row was good."""
    file = session.workspace.data / REJECTS_FILE
    if not result.rejected:
        file.unlink(missing_ok=True)
        return None
    lines = (json.dumps(row.as_dict(), ensure_ascii=False) + "\n" for row in result.rejected)
    file.write_text("".join(lines), encoding="utf-8")
    return str(file)
