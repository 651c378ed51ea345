"""`freehold import`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from shlex import quote
from typing import TYPE_CHECKING

import click

from freehold.cli.show import json_option, quiet_option, show

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from freehold.cli.session import Session
    from freehold.core.progress import Progress
    from freehold.core.task import Task, TaskKind
    from freehold.ledger.logs.engine import Choices
    from freehold.ledger.logs.imported import Imported

REJECTS_FILE = "rejected.jsonl"
_MOST_OUTPUTS = 200_000
"""So many answers of a rented model tell what kind of work a task is."""


@click.command("import")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
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
@click.option("--format", "format_name", metavar="NAME", help="What the logs are, if their rows do not tell.")
@click.option("--start", metavar="YYYY-MM-DD[THH:MM]", help="When a trace began whose times count from its start, UTC.")
@click.option("--encoding", metavar="NAME", help="Of text that is not UTF-8 or UTF-16, such as latin-1.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Tell what would be imported, and import nothing.")
@json_option
@quiet_option
def command(
    paths: tuple[str, ...],
    task: str | None,
    split: str,
    kind: TaskKind | None,
    format_name: str | None,
    start: str | None,
    encoding: str | None,
    is_dry: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Bring logs and corrections into the ledger, whatever tool wrote them.

    PATH is a file, a folder or the postgresql:// address of a LiteLLM database. Files are known by what they hold:
    JSON Lines, JSON documents, CSV and Parquet, plain or packed with gzip, Zstandard, bzip2, xz or zip. A file is
    imported whole or not at all, and importing it again adds nothing.

    Rows of your own are {"input", "output", "task"}: input is text or a list of messages, output what a human says
    the answer is. Optional: "model_output" (what the rented model answered), "model", "input_tokens",
    "output_tokens", "started_at", "id", "split". A correction is {"call_id", "output", "reviewer", "reviewed_at"}.
    A trace needs no text at all: {"t_s", "input_tokens", "output_tokens"}.

    \b
    Examples:
      freehold import october.jsonl --task support_intent
      freehold import held_out.jsonl --task support_intent --split test
      freehold import logs/ corrections.jsonl --dry-run
      freehold import trace.csv.zst --task chat --start 2026-10-01
      freehold import postgresql://reader@db.example/litellm
    """
    from freehold.cli.session import open_session
    from freehold.core.errors import InputError
    from freehold.report.progress import TerminalProgress
    from freehold.report.text import import_text

    choices = _choices(task, split == "test", format_name, start, encoding, is_dry=is_dry)
    session = open_session()
    with TerminalProgress(quiet=quiet) as progress:
        taken = import_into(session, list(paths), choices, kind=kind, progress=progress)
    result = taken.result
    rejects = session.workspace.data / REJECTS_FILE
    record = result.as_record() | {
        "kinds": {one.name: one.kind for one in taken.tasks},
        "kind_confidence": taken.confidence,
        "warnings": taken.warnings,
        "rejects_file": str(rejects) if result.tally.rejected else None,
    }
    fault = _fault(result, record)
    if fault is not None and result.is_useless:
        if as_json:
            click.echo(json.dumps(record, ensure_ascii=False))
        raise InputError(fault)
    name = quote(next(iter(sorted(result.tally.tasks)), "TASK"))
    step = f"freehold dataset build {name}" if split == "test" or result.human_words else "freehold audit"
    show(record, import_text(record), as_json=as_json, next_step=step)
    if fault is not None:
        raise InputError(fault)


def _choices(
    task: str | None, is_test: bool, format_name: str | None, start: str | None, encoding: str | None, *, is_dry: bool
) -> Choices:
    """The options, checked.

    Raises:
        click.UsageError: one of them cannot be used.
    """
    import codecs
    from datetime import UTC

    from freehold.core.task import fault_of_name
    from freehold.ledger.logs.engine import Choices
    from freehold.ledger.logs.formats.table import FORMATS, format_named

    fault = None if task is None else fault_of_name(task)
    if fault is not None:
        raise click.UsageError(f"--task: the name {fault}.")
    names = [each.name for each in FORMATS]
    if format_name is not None and format_name not in names:
        raise click.UsageError(f"--format: {format_name!r} is unknown. Known: {', '.join(names)}.")
    try:
        starts_at = None if start is None else datetime.fromisoformat(start)
    except ValueError as error:
        raise click.UsageError(f"--start: {start!r} is no day or moment; write it as 2026-10-01T08:30.") from error
    if starts_at is not None:
        starts_at = starts_at.replace(tzinfo=UTC) if starts_at.tzinfo is None else starts_at.astimezone(UTC)
    try:
        is_text = encoding is None or codecs.lookup(encoding)._is_text_encoding  # no other way to ask
    except LookupError:
        is_text = False
    if not is_text:
        raise click.UsageError(f"--encoding: {encoding!r} is unknown. Names are those of Python, such as latin-1.")
    return Choices(
        task=task,
        is_test=is_test,
        format=None if format_name is None else format_named(format_name),
        starts_at=starts_at,
        encoding=encoding,
        is_dry=is_dry,
    )


def _fault(result: Imported, record: dict[str, object]) -> str | None:
    """Why the command fails though it has done what it could; None: it does not."""
    if result.refused:
        first = result.refused[0]
        more = f" ({len(result.refused)} files could not be used.)" if len(result.refused) > 1 else ""
        return first.reason + more
    if result.is_useless:
        row = result.rejected[0]
        return (
            f"{row.file}, line {row.line}: {row.reason}. None of {result.tally.rejected:,} rows can be used; "
            f"{record['rejects_file']} has them all."
        )
    return None


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
    paths: list[str | Path],
    choices: Choices,
    *,
    kind: TaskKind | None = None,
    progress: Progress,
) -> Taken:
    """Import logs into a session's workspace and learn from them what kind of work each task is.

    Raises:
        InputError: nothing can be used, or `kind` does not fit.
    """
    from freehold.corrections.store import keep_words
    from freehold.ledger.logs.engine import Stores, import_logs
    from freehold.ledger.logs.files import find_logs
    from freehold.ledger.logs.tasks import assign
    from freehold.ledger.volumes import VOLUMES, Volumes

    stores = Stores(
        ledger=session.ledger,
        volumes=Volumes(session.workspace.calls.parent / VOLUMES),
        keep=partial(keep_words, session.state),
        assign=assign,
    )
    rejects = session.workspace.data / REJECTS_FILE
    result = import_logs(find_logs(paths), stores, choices, progress=progress, rejects=rejects)
    taken = Taken(result, [], {}, [])
    if not choices.is_dry:
        for name in sorted(result.tally.tasks):
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

    texts = (
        answered(call.response) for call in session.ledger.read(task, is_answered=True) if call.route in {None, "rent"}
    )
    yield from islice((text for text in texts if text is not None), _MOST_OUTPUTS)
