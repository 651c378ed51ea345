"""`freehold audit`."""

from __future__ import annotations

from shlex import quote

import click

from freehold.cli.show import json_option, show


@click.command("audit")
@json_option
def command(as_json: bool) -> None:
    """What is spent, on which task: calls, tokens, cost at the prices of the day, latency, errors, growth.

    A call whose model the price catalogue does not know has an unknown cost, never a cost of zero.
    Name what it is billed like under [prices.alias] in freehold.toml.

    \b
    Examples:
      freehold audit
      freehold audit --json
    """
    from freehold.cli.costs import audit_of
    from freehold.cli.session import open_session
    from freehold.core.errors import InputError
    from freehold.report.text import audit_text

    record = audit_of(open_session()).as_record()
    if not record["tasks"]:
        raise InputError("The ledger is empty. Bring a log: freehold import logs.jsonl --task TASK")
    first = record["tasks"][0]["task"]
    show(record, audit_text(record), as_json=as_json, next_step=f"freehold breakeven {quote(str(first))}")
