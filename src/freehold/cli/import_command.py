"""`freehold import`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from secrets import token_hex
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.show import json_option, quiet_option, show

if TYPE_CHECKING:
    from pathlib import Path

    from freehold.cli.discovering import Discovered
    from freehold.cli.session import Session
    from freehold.core.progress import Progress
    from freehold.core.task import Task, TaskKind, WorkKind
    from freehold.ledger.logs.engine import Choices
    from freehold.ledger.logs.imported import Imported

UNASSIGNED = "unassigned"


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
    type=click.Choice(
        ["classification", "screening", "extraction", "ner", "summarisation", "chat", "code", "other", "text"]
    ),
    metavar="KIND",
    help="What kind of work the tasks are, if the guess is wrong: classification, screening, extraction, ner, "
    "summarisation, chat, code, other or text.",
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
    kind: WorkKind | TaskKind | None,
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
    record = result.as_record() | {
        "tasks": taken.rows,
        "kinds": {one.name: one.work_kind for one in taken.tasks},
        "kind_confidence": taken.confidence,
        "discovered": taken.discovered,
        "warnings": taken.warnings,
        "rejects_file": None if taken.rejects is None else str(taken.rejects),
    }
    fault = _fault(result, record)
    if fault is not None and result.is_useless:
        if as_json:
            click.echo(json.dumps(record, ensure_ascii=False))
        raise InputError(fault)
    name = quote(next((one for one in sorted(taken.rows) if one != UNASSIGNED), "TASK"))
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
        return f"{row.file}, line {row.line}: {row.reason}. None of {result.tally.rejected:,} rows can be used" + (
            f"; {record['rejects_file']} has them all." if record["rejects_file"] else "."
        )
    return None


@dataclass(slots=True)
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
    rejects: Path | None = None
    """All rows that were rejected; None: there are none, or the import is a dry run."""
    discovered: dict[str, Any] | None = None  # Any: an open JSON object
    """What discovery made of calls that nothing names; None: there were none."""
    rows: dict[str, int] = field(default_factory=dict)
    """Task -> rows of this import, those of tasks that discovery found among them."""


def import_into(
    session: Session,
    paths: list[str | Path],
    choices: Choices,
    *,
    kind: WorkKind | TaskKind | None = None,
    progress: Progress,
) -> Taken:
    """Import logs into a session's workspace and learn from them what kind of work each task is.

    Raises:
        InputError: nothing can be used, or `kind` does not fit.
    """
    from freehold.cli.discovering import discover_tasks, learn_tasks, load_assigner, settle_names
    from freehold.cli.purging import words_keeper
    from freehold.ledger.logs.engine import Stores, import_logs
    from freehold.ledger.logs.files import find_logs
    from freehold.ledger.logs.imported import REJECTS
    from freehold.ledger.volumes import VOLUMES, Volumes
    from freehold.state.subject_key import subjects_of

    assigner = load_assigner(session)
    stores = Stores(
        ledger=session.ledger,
        volumes=Volumes(session.workspace.calls.parent / VOLUMES),
        keep=words_keeper(session),
        assign=lambda logged: assigner.task_of(logged.call, logged.key),
        seal=None if choices.is_dry else subjects_of(session.workspace).sealed,  # it may have to make the secret
    )
    moment = datetime.now(UTC)
    rejects = session.workspace.data / REJECTS / f"{moment:%Y-%m-%dT%H%M%SZ}-{token_hex(3)}.jsonl"
    result = import_logs(
        find_logs(paths, encoding=choices.encoding), stores, choices, progress=progress, rejects=rejects
    )
    kept = rejects if rejects.exists() else None
    taken = Taken(result, [], {}, [], rejects=kept, rows=dict(sorted(result.tally.tasks.items())))
    if choices.is_dry:
        return taken
    for old, name in settle_names(session, result.tally.tasks, progress).items():
        taken.rows[name] = taken.rows.get(name, 0) + taken.rows.pop(old)
    if UNASSIGNED in taken.rows and result.tally.imported:
        _discover(taken, discover_tasks(session, progress))
    if UNASSIGNED in taken.rows:  # rows that were there already may have their task by now
        left = min(taken.rows.pop(UNASSIGNED), session.ledger.tasks().get(UNASSIGNED, 0))
        taken.rows |= {UNASSIGNED: left} if left else {}
    for learnt in learn_tasks(session, sorted(taken.rows.keys() - {UNASSIGNED}), kind):
        taken.tasks.append(learnt.task)
        taken.confidence[learnt.task.name] = learnt.confidence
        taken.warnings += [] if learnt.warning is None else [learnt.warning]
    return taken


def _discover(taken: Taken, found: Discovered) -> None:
    """Count the rows where discovery has brought them."""
    taken.discovered = found.as_record()
    for old, name, _ in found.joined:
        if old in taken.rows:
            taken.rows[name] = taken.rows.get(name, 0) + taken.rows.pop(old)
    for one in found.found.tasks:
        taken.rows[one.name] = taken.rows.get(one.name, 0) + one.calls
    left = taken.rows[UNASSIGNED] - sum(one.calls for one in found.found.tasks)
    if left > 0:
        taken.rows[UNASSIGNED] = left
    else:
        del taken.rows[UNASSIGNED]
