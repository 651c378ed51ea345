"""`freehold breakeven`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from freehold.cli.costs import (
    CostQuestion,
    as_of_option,
    day,
    hosted_option,
    own_option,
    rent_option,
    seed_option,
    task_costs,
    typed_cost,
    volume_option,
)
from freehold.cli.show import json_option, show

if TYPE_CHECKING:
    from datetime import datetime


@click.command("breakeven")
@click.argument("task", required=False)
@volume_option
@click.option("--input-tokens", type=click.FloatRange(min=0, min_open=True), help="Per call, without a TASK.")
@click.option("--output-tokens", type=click.FloatRange(min=0, min_open=True), help="Per call, without a TASK.")
@rent_option
@own_option
@hosted_option
@as_of_option
@seed_option
@json_option
def command(
    task: str | None,
    queries_per_month: float | None,
    input_tokens: float | None,
    output_tokens: float | None,
    rent: str | None,
    own: str | None,
    hosted: str | None,
    as_of: datetime | None,
    seed: int,
    as_json: bool,
) -> None:
    """Rent or own: what each costs a month, from which volume owning pays, and how sure that is.

    \b
    Examples:
      freehold breakeven support_intent
      freehold breakeven --queries-per-month 100000 --input-tokens 1000 --output-tokens 500 \\
          --rent openai/gpt-5.4 --own llama-3.1-8b@h100 --as-of 2026-06-15
    """
    from freehold.report.text import breakeven_text

    question = CostQuestion(
        own=own, rent=rent, hosted=hosted, queries_per_month=queries_per_month, as_of=day(as_of), seed=seed
    )
    if task is not None:
        from freehold.cli.session import open_session

        if input_tokens or output_tokens:
            raise click.UsageError("--input-tokens and --output-tokens describe calls without a TASK; leave one out.")
        record, _ = task_costs(open_session(), task, question)
        next_step = f"freehold dataset build {task}"
    else:
        from freehold.economics.workload import Workload

        if not (queries_per_month and input_tokens and output_tokens and rent):
            raise click.UsageError(
                "Name a TASK, or all of --queries-per-month, --input-tokens, --output-tokens and --rent."
            )
        workload = Workload(queries_per_month=queries_per_month, input_tokens=input_tokens, output_tokens=output_tokens)
        record = typed_cost(workload, question, aliases={})
        next_step = "freehold import logs.jsonl --task TASK"
    show(record, breakeven_text(record), as_json=as_json, next_step=next_step)
