"""`freehold tasks`."""

from __future__ import annotations

from pathlib import Path
from shlex import join, quote
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.show import json_option, quiet_option, show

if TYPE_CHECKING:
    from freehold.cli.session import Session
    from freehold.core.task import WorkKind
    from freehold.tasks.edit import Edited

_KINDS = ("classification", "screening", "extraction", "ner", "summarisation", "chat", "code", "other")


@click.group("tasks")
def command() -> None:
    """What the calls are for: found, named, put together, parted."""


@command.command("list")
@json_option
def list_all(as_json: bool) -> None:
    """List tasks, the one with the most calls first.

    \b
    Examples:
      freehold tasks list
      freehold tasks list --json
    """
    from freehold.report.task_tables import tasks_text
    from freehold.tasks.assign import UNASSIGNED
    from freehold.tasks.records import task_records

    session, calls = _open()
    tasks = [one for one in task_records(session.state, calls) if one["task"] != UNASSIGNED]
    record = {"schema": "freehold.tasks/1", "tasks": tasks, "unassigned": calls.get(UNASSIGNED, 0)}
    first = quote(tasks[0]["task"]) if tasks else "TASK"
    step = f"freehold tasks show {first}" if tasks else "freehold import LOG"
    show(record, tasks_text(record), as_json=as_json, next_step=step)


@command.command("show")
@click.argument("task")
@json_option
def show_one(task: str, as_json: bool) -> None:
    """Show TASK: its kind, its answers, what belongs to it, and how new calls are known.

    \b
    Examples:
      freehold tasks show support_intent
      freehold tasks show support_intent --json
    """
    from freehold.report.task_tables import task_text
    from freehold.tasks.records import task_record

    session, calls = _open()
    record = {"schema": "freehold.task/1", **task_record(session.state, calls, task)}
    show(record, task_text(record), as_json=as_json, next_step=f"freehold tasks rename {quote(task)} NEW")


@command.command("rename")
@click.argument("task")
@click.argument("new")
@json_option
@quiet_option
def rename(task: str, new: str, as_json: bool, quiet: bool) -> None:
    """Give TASK the name NEW, with all that belongs to it.

    Calls, corrections, held-out cases, datasets, models, aliases, evaluations, decisions, keys and rules go along, or
    nothing changes. Calls that still come with the old name are of the task under its new one.

    \b
    Examples:
      freehold tasks rename classify-card-account support_intent
    """
    from freehold.tasks.edit import rename_task

    session, calls = _open()
    edited = rename_task(session.state, task, new, known=_known(session, calls), policies=session.settings.ledger.tasks)
    rows = _follow(session, quiet)
    undo = join(["freehold", "tasks", "rename", new, task])
    _show_edit(edited, "renamed", f"{task} is now {new}", rows, undo, as_json)


@command.command("merge")
@click.argument("tasks", nargs=-1, required=True, metavar="TASK… INTO")
@json_option
@quiet_option
def merge(tasks: tuple[str, ...], as_json: bool, quiet: bool) -> None:
    """Put tasks together: all but the last one become part of the last one, whose definition stays.

    \b
    Examples:
      freehold tasks merge screen-spam screen-spam-2 spam
    """
    from freehold.cli.discovering import learn_task, remember_calls
    from freehold.tasks.edit import merge_tasks

    if len(tasks) < 2:
        raise click.UsageError("Name at least two tasks; the last one stays: freehold tasks merge A B")
    *sources, into = tasks
    session, calls = _open()
    known = _known(session, calls)
    file = remember_calls(session, sources) if set(tasks) <= known else None
    try:
        edited = merge_tasks(session.state, sources, into, known=known, policies=session.settings.ledger.tasks)
    except BaseException:
        if file is not None:
            file.unlink(missing_ok=True)
        raise
    rows = _follow(session, quiet)
    undo = None if file is None else join(["freehold", "tasks", "split", into, "--calls", str(file)])
    learn_task(session, into)
    finding = f"{', '.join(sources)} went into {into}"
    if undo is not None and (stay := edited.staying):
        finding += f" (undoing it does not take back {stay})"
    _show_edit(edited, "merged", finding, rows, undo, as_json)


@command.command("split")
@click.argument("task")
@click.option("--into", help="Name of the new task, with --containing.")
@click.option("--containing", metavar="TEXT", help="Calls go whose system message or question contains this.")
@click.option(
    "--calls",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Parquet file of calls (columns id and task) that go, such as a merge leaves behind.",
)
@click.option("--dry-run", is_flag=True, help="Show the parts and change nothing.")
@json_option
@quiet_option
def split(
    task: str,
    into: str | None,
    containing: str | None,
    file: Path | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Part TASK into the kinds of calls that it holds; the largest part keeps the name.

    With --containing and --into the calls that go are chosen by what is asked. Corrections go with their calls, and
    cases that are held out stay held out in each part; datasets and models stay with TASK.

    \b
    Examples:
      freehold tasks split default --dry-run
      freehold tasks split contracts --containing 'screen for' --into screening
    """
    from freehold.cli.splitting import split_by_file, split_by_kind, split_by_text
    from freehold.report.progress import TerminalProgress
    from freehold.report.task_tables import split_text
    from freehold.tasks.assign import UNASSIGNED
    from freehold.tasks.store import check_known

    if (into is None) != (containing is None):
        raise click.UsageError("--containing and --into go together: which calls, and the name of their task.")
    if file is not None and into is not None:
        raise click.UsageError("Choose calls by --calls or by --containing, not by both.")
    session, calls = _open()
    check_known(task, _known(session, calls))
    with TerminalProgress(quiet=quiet) as progress:
        if file is not None:
            parts = split_by_file(session, task, file, progress, dry_run=dry_run)
        elif into is not None and containing is not None:
            parts = split_by_text(session, task, containing, into, progress, dry_run=dry_run)
        else:
            parts = split_by_kind(session, task, progress, dry_run=dry_run)
    new = [part["task"] for part in parts if part["task"] != task]
    undo = None if dry_run or not new or task == UNASSIGNED else join(["freehold", "tasks", "merge", *new, task])
    record = {"schema": "freehold.tasksplit/1", "task": task, "dry_run": dry_run, "parts": parts, "undo": undo}
    step = join(["freehold", "tasks", "split", task]) if dry_run and new else "freehold tasks list"
    show(record, split_text(record), as_json=as_json, next_step=step)


@command.command("set")
@click.argument("task")
@click.option(
    "--kind",
    type=click.Choice(_KINDS),
    metavar="KIND",
    required=True,
    help="What kind of work it is: classification, screening, extraction, ner, summarisation, chat, code or other.",
)
@json_option
def set_facts(task: str, kind: WorkKind, as_json: bool) -> None:
    """Say what kind of work TASK is, if the guess is wrong. It stays that.

    \b
    Examples:
      freehold tasks set summaries --kind summarisation
    """
    from freehold.cli.discovering import learn_task
    from freehold.report.task_tables import task_text
    from freehold.tasks.names import check_can_go
    from freehold.tasks.records import task_record
    from freehold.tasks.store import check_known

    session, calls = _open()
    check_known(task, _known(session, calls))
    check_can_go(task)
    learn_task(session, task, kind)
    record = {"schema": "freehold.task/1", **task_record(session.state, calls, task)}
    show(record, task_text(record), as_json=as_json, next_step=f"freehold tasks show {quote(task)}")


def _open() -> tuple[Session, dict[str, int]]:
    """The workspace, and the calls of each task."""
    from freehold.cli.session import open_session

    session = open_session()
    return session, session.ledger.tasks()


def _known(session: Session, calls: dict[str, int]) -> set[str]:
    from freehold.tasks.store import load_tasks

    return {*calls, *load_tasks(session.state)}


def _follow(session: Session, quiet: bool) -> int:
    from freehold.cli.discovering import finish_moves
    from freehold.report.progress import TerminalProgress

    with TerminalProgress(quiet=quiet) as progress:
        return finish_moves(session, progress)


def _show_edit(edited: Edited, what: str, finding: str, rows: int, undo: str | None, as_json: bool) -> None:
    from freehold.report.task_tables import edit_text

    carried: dict[str, Any] = {**edited.carried, "calls": rows}
    record = {
        "schema": "freehold.taskedit/1",
        "task": edited.task,
        "action": what,
        "finding": finding,
        "carried": carried,
        "left": dict(edited.left),
        "undo": undo,
    }
    show(record, edit_text(record), as_json=as_json, next_step=f"freehold tasks show {quote(edited.task)}")
