"""`freehold purge`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.show import json_option, quiet_option, show

if TYPE_CHECKING:
    from datetime import datetime

    from freehold.cli.purging import Outcome, Request
    from freehold.cli.session import Session


@click.command("purge")
@click.option("--task", help="Calls of this task.")
@click.option("--key", help="Calls made with this key: its name, its id, or what an imported log calls it.")
@click.option("--subject", help="Calls of this end user, as the client names them, or as the ledger shows them hashed.")
@click.option("--before", type=click.DateTime(["%Y-%m-%d"]), help="Calls begun before this day, UTC.")
@click.option("--all", "everything", is_flag=True, help="Every call.")
@click.option("--again", is_flag=True, help="What was purged before and is back, such as from a backup.")
@click.option("--bodies-only", is_flag=True, help="Only what was said; the facts of the calls stay.")
@click.option("--with-sums", is_flag=True, help="Forget the daily sums too, and with them what was spent.")
@click.option("--dry-run", is_flag=True, help="Count, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@quiet_option
def command(
    task: str | None,
    key: str | None,
    subject: str | None,
    before: datetime | None,
    everything: bool,
    again: bool,
    bodies_only: bool,
    with_sums: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Take calls out of the workspace for good, with all that was made from them.

    A call must meet every condition that is given; one without a time is before no day. Its row, its request and
    answer, what humans said about it, and its rows in every dataset go; it does not come back when its log is imported
    again. Daily sums of calls and tokens, which tell of nobody, stay unless --with-sums. Interrupted, the same command
    again does the rest.

    \b
    Examples:
      freehold purge --subject ann@example.org --dry-run
      freehold purge --task support_intent --before 2026-01-01 --bodies-only
      freehold purge --key desk --yes
    """
    from freehold.cli.purging import carry_out, plan, record_of
    from freehold.cli.session import open_session
    from freehold.report.progress import TerminalProgress
    from freehold.report.purge_text import purge_text

    conditions = {"--task": task, "--key": key, "--subject": subject, "--before": before}
    given = [name for name, value in conditions.items() if value is not None]
    if everything + again + bool(given) != 1:
        raise click.UsageError(
            "Say what is to go: --task, --key, --subject, --before (all that are given must hold), --all or --again."
        )
    if with_sums and (bodies_only or again):
        raise click.UsageError("--with-sums goes with whole calls: leave out --bodies-only and --again.")
    session = open_session()
    request = _request(session, conditions, again=again, bodies_only=bodies_only, with_sums=with_sums)
    with TerminalProgress(quiet=quiet) as progress:
        outcome = plan(session, request, progress=progress)
    if outcome.is_empty:
        _check_names(session, task, key)
    is_done = not dry_run and (yes or _is_wanted(session, request, outcome))
    if is_done:
        with TerminalProgress(quiet=quiet) as progress:
            outcome = carry_out(session, request, outcome, progress=progress)
    record = record_of(session, request, outcome, dry_run=not is_done)
    step = "the same command without --dry-run" if not is_done else "freehold ledger stats"
    if is_done and record["datasets"]:
        step = "freehold dataset build TASK"
    show(record, purge_text(record), as_json=as_json, next_step=step)
    return 0


def _request(
    session: Session, conditions: dict[str, Any], *, again: bool, bodies_only: bool, with_sums: bool
) -> Request:
    from freehold.cli.purging import Request
    from freehold.ledger.purge import Selection
    from freehold.state.subject_key import subjects_of

    task, key, subject = (conditions[name] for name in ("--task", "--key", "--subject"))
    before = None if conditions["--before"] is None else conditions["--before"].date()
    hashes = None if subject is None else subjects_of(session.workspace)
    selection = Selection(
        task=task,
        key_ids=None if key is None else _key_ids(session, key),
        subjects=None if hashes is None else hashes.forms(subject),
        before=before,
    )
    said = {
        "task": task,
        "key": key,
        "subject": None if hashes is None else hashes.hashed(subject),
        "before": None if before is None else before.isoformat(),
        "scope": "again" if again else "chosen" if any(conditions.values()) else "all",
    }
    return Request(
        selection=None if again else selection,
        said=said,
        part="bodies" if bodies_only else "row",
        forgets_sums=with_sums,
    )


def _key_ids(session: Session, key: str) -> frozenset[str]:
    """What the ledger may call a key: its id, whatever its name, or the word of a log."""
    from sqlalchemy import select

    from freehold.state.schema import KEYS

    with session.state.connect() as connection:
        return frozenset({key, *connection.execute(select(KEYS.c.id).where(KEYS.c.name == key)).scalars()})


def _check_names(session: Session, task: str | None, key: str | None) -> None:
    """Nothing was found: a name that is not known at all, and was never purged, is more likely a slip."""
    from sqlalchemy import select

    from freehold.cli.purging import has_calls_of_key, was_purged
    from freehold.core.errors import InputError
    from freehold.state.schema import TASKS

    with session.state.connect() as connection:
        tasks = {*connection.execute(select(TASKS.c.name)).scalars(), *session.ledger.tasks()}
    if task is not None and task not in tasks and not was_purged(session, "task", task):
        known = ", ".join(map(repr, sorted(tasks)[:10])) or "none"
        raise InputError(f"--task {task[:80]!r}: no such task, and nothing was purged. Known are: {known}.")
    if key is None or was_purged(session, "key", key):
        return
    ids = _key_ids(session, key)
    if len(ids) == 1 and not has_calls_of_key(session, ids):
        raise InputError(
            f"--key {key[:80]!r}: no call was made with such a key, and nothing was purged. "
            "Known keys: freehold keys list --all"
        )


def _is_wanted(session: Session, request: Request, outcome: Outcome) -> bool:
    """Show what would go, and ask; where nobody can answer, exit."""
    from freehold.cli.purging import record_of
    from freehold.report.purge_text import purge_text

    click.echo(purge_text(record_of(session, request, outcome, dry_run=True)), err=True)
    if not sys.stdin.isatty():
        raise click.UsageError("Nobody can be asked here: add --yes to purge, or --dry-run to count.")
    click.confirm("Purge this for good?", abort=True, err=True)
    return True
