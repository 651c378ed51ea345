"""`freehold audit`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from freehold.cli.show import all_option, json_option, quiet_option, show

if TYPE_CHECKING:
    from datetime import date, datetime

    from freehold.audit.examine import Question
    from freehold.cli.session import Session

_DAY = click.DateTime(["%Y-%m-%d"])
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("audit")
@click.option("--task", help="This task alone.")
@click.option("--since", type=_DAY, help="First day that counts, UTC.")
@click.option("--until", type=_DAY, help="Last day that counts, UTC.")
@click.option("--as-of", type=_DAY, help="Day of the prices that savings are told at; default: today.")
@click.option("--own", help="Plan to own, as MODEL@HARDWARE.  [default: llama-3.1-8b@h100]")
@click.option("--invoice", "invoices", multiple=True, type=_FILE, help="The provider's export or bill; repeatable.")
@click.option("--exchange", multiple=True, metavar="CUR=USD", help="US dollars for one unit of the invoice's currency.")
@click.option("--no-texts", is_flag=True, help="Do not look at prompts and answers: volume, cost and rhythm alone.")
@click.option("--html", type=_FILE, help="Write the report as one HTML page.")
@click.option("--csv", "csv_file", type=_FILE, help="Write a line per task, day, model and tier.")
@all_option
@quiet_option
@json_option
def command(
    task: str | None,
    since: datetime | None,
    until: datetime | None,
    as_of: datetime | None,
    own: str | None,
    invoices: tuple[Path, ...],
    exchange: tuple[str, ...],
    no_texts: bool,
    html: Path | None,
    csv_file: Path | None,
    everything: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """What is spent on which task, which of it is ordinary work, and what to do first.

    Volume, tokens, cost at the prices of each call's day, latency, errors, growth and a forecast; what a cache, the
    batch API, a cheaper model or a model of your own would save a month; and how ordinary each task is. A sample of
    prompts and answers is read on this machine; nothing leaves it.

    A call whose model the price catalogue does not know has an unknown cost, never a cost of zero.
    Name what it is billed like under [prices.alias] in freehold.toml.

    With --invoice the provider's usage or cost export (JSON), or a table with day, model and amount (CSV), is compared
    with the ledger by day and model, and every difference is split into causes.

    \b
    Examples:
      freehold audit
      freehold audit --task support_intent --since 2026-10-01 --html audit.html
      freehold audit --csv costs.csv --json
      freehold audit --invoice costs.json --invoice usage.json
    """
    from freehold.audit.examine import examine
    from freehold.cli.audit_additions import add_invoices, additions_text
    from freehold.cli.costs import source_of
    from freehold.cli.page_file import check_page, write_page
    from freehold.cli.session import open_session
    from freehold.core.errors import InputError
    from freehold.report.audit_text import audit_text
    from freehold.report.progress import TerminalProgress

    for file in (html, csv_file):
        if file is not None:
            check_page(file)
    if since is not None and until is not None and until < since:
        raise click.UsageError(f"--until {until:%Y-%m-%d} lies before --since {since:%Y-%m-%d}.")
    session = open_session()
    days = [None if each is None else each.date() for each in (since, until, as_of)]
    question = _question(session, task, days, own, read_texts=not no_texts, with_lines=csv_file is not None)
    with TerminalProgress(quiet=quiet) as progress:
        found = examine(source_of(session), question, progress=progress)
    record = found.as_record()
    if not record["tasks"]:
        if task is None and since is None and until is None:
            raise InputError("The ledger is empty. Bring a log: freehold import logs.jsonl --task TASK")
        raise InputError("No call in the ledger is of that task and of those days. See what there is: freehold audit")
    add_invoices(record, session, invoices, exchange)
    first = record["ranking"][0]["task"] if record["ranking"] else record["tasks"][0]["task"]
    next_step = f"freehold breakeven {quote(str(first))}"
    if csv_file is not None:
        from freehold.report.audit_csv import audit_csv

        write_page(csv_file, audit_csv(found.lines))
        next_step = f"open {quote(str(csv_file))}"
    if html is not None:
        from freehold.report.audit_page import audit_page

        write_page(html, audit_page(record))
        next_step = f"open {quote(str(html))}"
    text = audit_text(record, everything=everything) + additions_text(record)
    show(record, text, as_json=as_json, next_step=next_step)


def _question(
    session: Session, task: str | None, days: list[date | None], own: str | None, *, read_texts: bool, with_lines: bool
) -> Question:
    """What is asked, with everything that the workspace knows."""
    from datetime import UTC, datetime

    from freehold.audit.examine import Question
    from freehold.audit.personal_data import personal_data
    from freehold.audit.rows import Slice
    from freehold.cli.capacity_files import model_named
    from freehold.cli.costs import own_prices_of
    from freehold.cli.task_facts import known_tasks
    from freehold.corrections.store import corrected_calls, held_out_calls
    from freehold.economics.plans import own_plan

    since, until, as_of = days
    day = as_of or datetime.now(UTC).date()
    found = personal_data(session.ledger.folder, since=since, until=until) if read_texts else ()
    return Question(
        aliases=session.settings.prices.alias,
        overrides=own_prices_of(session),
        as_of=day,
        plan=own_plan(own or _USUAL_PLAN, as_of=day, facts_of=model_named),
        wanted=Slice(
            task=task,
            since=since,
            until=until,
            held_out_calls=held_out_calls(session.state),
            corrected_calls=corrected_calls(session.state),
        ),
        known=known_tasks(session.state),
        personal_data={one.task: one for one in found},
        read_texts=read_texts,
        with_lines=with_lines,
    )


_USUAL_PLAN = "llama-3.1-8b@h100"
"""What the article owns for narrow work."""
