"""`freehold breakeven`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    traced_cost,
    typed_cost,
    volume_option,
)
from freehold.cli.show import json_option, show, tell_left_out

if TYPE_CHECKING:
    from freehold.cli.scenario_file import ScenarioFile
    from freehold.cli.trace_file import Duplicates

_FILE = click.Path(path_type=Path, dir_okay=False)
_DEFAULT = click.core.ParameterSource.DEFAULT


@click.command("breakeven")
@click.argument("task", required=False)
@volume_option
@click.option("--input-tokens", type=float, help="Of a call, without a TASK or where a trace counts calls only.")
@click.option("--output-tokens", type=float, help="Of a call, likewise.")
@click.option("--trace", type=_FILE, help="Recorded or counted calls in place of typed-in volumes; an export of the ledger will do.")
@click.option("--sort", is_flag=True, help="Put the calls of a trace into the order of their arrival.")
@click.option(
    "--duplicates",
    type=click.Choice(["refuse", "keep", "drop"]),
    help="Rows of a trace that are there twice.  [default: refuse]",
)
@rent_option
@own_option
@click.option("--own-bought", is_flag=True, default=None, help="Owning means bought devices, not rented ones.")
@click.option("--gpus", type=click.IntRange(min=1), help="Devices of one replica.  [default: as in --own, or 1]")
@click.option("--precision", help="Of the own model's weights.  [default: usual for the machine]")
@hosted_option
@click.option("--tuned", help="A model that a provider tunes and serves, at this model's price per token.")
@click.option("--scenario", type=_FILE, help="YAML with any of these options, and numbers under `set`.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A number, or low,typical,high; repeat.")
@click.option("--prices", type=_FILE, help="YAML with dated prices of your own.")
@as_of_option
@seed_option
@click.option("--draws", type=int, help="Of the simulation.  [default: 20000]")
@click.option("--simple", is_flag=True, help="The arithmetic of articles: one machine and list prices, nothing else.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write the report as one HTML page.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    task: str | None,
    input_tokens: float | None,
    output_tokens: float | None,
    trace: Path | None,
    sort: bool,
    duplicates: Duplicates | None,
    scenario: Path | None,
    settings: tuple[str, ...],
    prices: Path | None,
    html: Path | None,
    simple: bool,
    as_json: bool,
    **options: Any,  # Any: the options of a CostQuestion, each as click parsed it
) -> None:
    """Rent or own: what each costs a month, from which volume owning pays, and how sure that is.

    Every number behind it has a default, a unit and a source (see --json); --set or a scenario file replaces it.

    \b
    Examples:
      freehold breakeven support_intent
      freehold breakeven --queries-per-month 100000 --input-tokens 1000 --output-tokens 500 \\
          --rent openai/gpt-5.4 --own llama-3.1-8b@h100 --as-of 2026-06-15
      freehold breakeven --trace calls.jsonl --rent openai/gpt-5.4 --own llama-3.3-70b@4xh100 \\
          --set fte=0.1,0.2,0.5 --html report.html
    """
    from freehold.cli.page_file import check_page, write_page
    from freehold.cli.scenario_file import ScenarioFile, parse_settings, read_scenario
    from freehold.report.text import breakeven_text, simple_text

    if html is not None:
        check_page(html)
    file = ScenarioFile() if scenario is None else read_scenario(scenario)
    lengths = {"input_tokens": input_tokens, "output_tokens": output_tokens}
    _check_sources(task, trace, lengths, is_for_traces=sort or duplicates is not None)
    question = _question(options, file, is_seed_given=ctx.get_parameter_source("seed") is not _DEFAULT)
    question = replace(
        question,
        values={**file.values, **parse_settings(settings)},
        overrides=_overrides(prices),
        only_simple=simple,
    )
    if simple and question.own_bought:
        raise click.UsageError("--simple knows rented devices alone; leave out --own-bought.")
    if task is not None:
        from freehold.cli.session import open_session

        record, _ = task_costs(open_session(), task, question)
        next_step = f"freehold dataset build {task}"
    elif trace is not None:
        from freehold.cli.traced_calls import TraceReading

        read = TraceReading(sort=sort, duplicates=duplicates or "refuse", **lengths)
        record = traced_cost(trace, question, aliases={}, reading=read)
        tell_left_out(record["inputs"]["trace"]["skipped"])
        next_step = "freehold simulate --trace FILE, for the replicas that hold a latency"
    else:
        record = _typed(
            question, {**file.options, **{name: each for name, each in lengths.items() if each is not None}}
        )
        next_step = "freehold import logs.jsonl --task TASK"
    if html is not None:
        from freehold.report.breakeven_page import breakeven_page

        write_page(html, breakeven_page(record))
        next_step = f"open {html}"
    show(record, (simple_text if simple else breakeven_text)(record), as_json=as_json, next_step=next_step)


def _question(options: dict[str, Any], file: ScenarioFile, *, is_seed_given: bool) -> CostQuestion:
    """Options of the command line before those of the file, and these before the defaults."""
    given = {name: value for name, value in options.items() if value is not None}
    if not is_seed_given and "seed" in file.options:
        del given["seed"]
    if "as_of" in given:
        given["as_of"] = day(given["as_of"])
    known = CostQuestion.__dataclass_fields__
    from_file = {name: value for name, value in file.options.items() if name in known}
    return CostQuestion(**{**from_file, **given})


def _check_sources(
    task: str | None, trace: Path | None, lengths: dict[str, float | None], *, is_for_traces: bool
) -> None:
    if task is not None and trace is not None:
        raise click.UsageError("TASK and --trace are two sources of the same traffic; leave one out.")
    if is_for_traces and trace is None:
        raise click.UsageError("--sort and --duplicates say how a --trace is read; name one.")
    if task is not None and any(value is not None for value in lengths.values()):
        raise click.UsageError("--input-tokens and --output-tokens describe calls without a TASK; leave one out.")


def _typed(question: CostQuestion, given: dict[str, Any]) -> dict[str, Any]:
    from freehold.economics.workload import Workload

    names = ("queries_per_month", "input_tokens", "output_tokens")
    numbers = {**given, "queries_per_month": question.queries_per_month}
    missing = [f"--{name.replace('_', '-')}" for name in names if numbers.get(name) is None]
    missing += [] if question.rent or question.hosted or question.tuned else ["--rent"]
    if missing:
        raise click.UsageError(
            "Name a TASK, a --trace, or all of --queries-per-month, --input-tokens, --output-tokens and --rent "
            f"(missing: {', '.join(missing)})."
        )
    return typed_cost(Workload(**{name: numbers[name] for name in names}), question, aliases={})


def _overrides(path: Path | None) -> tuple[Any, ...]:  # Any: Override, whose module is imported late
    if path is None:
        return ()
    from freehold.core.errors import InputError
    from freehold.economics.overrides import parse_overrides

    try:
        return parse_overrides(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise InputError(f"{path}: it cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: it is no UTF-8 text.") from error
