"""How a command answers: the result on stdout, what to do next on stderr."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
all_option = click.option("--all", "everything", is_flag=True, help="Every table and number, not a screenful.")
quiet_option = click.option("--quiet", is_flag=True, help="No progress on stderr.")


def show(record: Mapping[str, Any], text: str, *, as_json: bool, next_step: str) -> None:
    """Print a result, as JSON or as text, and then the next step.

    Args:
        record: The result as JSON can hold it.
        text: The same for people.
        as_json: Which of the two is wanted.
        next_step: The command that most users run now.
    """
    click.echo(json.dumps(record, ensure_ascii=False, allow_nan=False) if as_json else text.rstrip("\n"))
    click.echo(f"Next: {next_step}", err=True)


def tell_left_out(skipped: Mapping[str, Any]) -> None:  # Any: JSON
    """Say on stderr how many rows of a trace did not count, and why."""
    if skipped.get("rows"):
        reasons = "; ".join(f"{each['rows']:,} {each['reason']}" for each in skipped["reasons"])
        click.echo(f"Left out of the trace: {reasons}.", err=True)
