"""`freehold breakeven`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shlex import quote
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
from freehold.cli.show import all_option, json_option, show, tell_left_out
from freehold.cli.traced_calls import TraceReading, trace_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.cli.scenario_file import Given, ScenarioFile

_FILE = click.Path(path_type=Path, dir_okay=False)
_DEFAULT = click.core.ParameterSource.DEFAULT


@click.command("breakeven")
@click.argument("task", required=False)
@volume_option
@click.option(
    "--trace",
    type=_FILE,
    help="Recorded or counted calls in place of typed-in volumes: docs/reference/traces.md.",
)
@trace_options
@rent_option
@own_option
@click.option("--own-bought", is_flag=True, default=None, help="Owning means bought devices, not rented ones.")
@click.option("--gpus", type=click.IntRange(min=1), help="Devices of one replica.  [default: as in --own, or 1]")
@click.option("--precision", help="Of the own model's weights.  [default: usual for the machine]")
@hosted_option
@click.option("--tuned", help="A model that a provider tunes and serves, at this model's price per token.")
@click.option("--scenario", type=_FILE, help="YAML with any of these options, and numbers under `set`.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A number, or low,typical,high; repeat.")
@click.option("--gpu-usd-per-hour", type=float, help="Rent of one device; default: from the shipped table.")
@click.option(
    "--overrides",
    "--prices",
    "overrides",
    type=_FILE,
    help="Your own dated prices; default: [prices] overrides of the workspace.",
)
@as_of_option
@seed_option
@click.option("--draws", type=int, help="Of the simulation.  [default: 20000]")
@click.option("--simple", is_flag=True, help="The arithmetic of articles: one machine and list prices, nothing else.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write the report as one HTML page.")
@all_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    task: str | None,
    trace: Path | None,
    scenario: Path | None,
    settings: tuple[str, ...],
    gpu_usd_per_hour: float | None,
    overrides: Path | None,
    html: Path | None,
    simple: bool,
    everything: bool,
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
    from freehold.cli.price_files import own_prices
    from freehold.cli.scenario_file import ScenarioFile, parse_settings, read_scenario
    from freehold.report.text import breakeven_text, simple_text

    if html is not None:
        check_page(html)
    file = ScenarioFile() if scenario is None else read_scenario(scenario)
    reading = TraceReading.taken_from(options)
    lengths = {"input_tokens": reading.input_tokens, "output_tokens": reading.output_tokens}
    _check_sources(task, trace, lengths, reading)
    own = own_prices(overrides)
    question = _question(options, file, is_seed_given=ctx.get_parameter_source("seed") is not _DEFAULT)
    question = replace(
        question,
        values={**file.values, **_with_rent(parse_settings(settings), gpu_usd_per_hour)},
        overrides=own.overrides,
        only_simple=simple,
    )
    if simple and question.own_bought:
        raise click.UsageError("--simple knows rented devices alone; leave out --own-bought.")
    if task is not None:
        from freehold.cli.session import open_session

        record, _ = task_costs(open_session(), task, question)
        next_step = f"freehold dataset build {quote(task)}"
    elif trace is not None:
        record = traced_cost(trace, question, aliases=own.aliases, reading=reading)
        tell_left_out(record["inputs"]["trace"]["skipped"])
        next_step = _replay_step(trace, record)
    else:
        record = _typed(
            question,
            {**file.options, **{name: each for name, each in lengths.items() if each is not None}},
            aliases=own.aliases,
        )
        next_step = "freehold import logs.jsonl --task TASK"
    if html is not None:
        from freehold.report.breakeven_page import breakeven_page

        write_page(html, breakeven_page(record))
        next_step = f"open {quote(str(html))}"
    text = simple_text(record) if simple else breakeven_text(record, everything=everything)
    show(record, text, as_json=as_json, next_step=next_step)


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


def _replay_step(trace: Path, record: dict[str, Any]) -> str:
    """The command that replays the same calls on the plan that was asked for."""
    own = record["inputs"]["own"]
    plan = f"--model {own['model']} --gpu {own['hardware']} --gpus {own['devices']} --precision {own['precision']}"
    return f"freehold simulate --trace {quote(str(trace))} {plan}"


def _with_rent(values: dict[str, Given], usd_per_hour: float | None) -> dict[str, Given]:
    """Numbers of --set, and the one that has an option of its own."""
    from freehold.cli.scenario_file import Given

    if usd_per_hour is None:
        return values
    given = Given(usd_per_hour)
    if values.setdefault("gpu_usd_per_hour", given) != given:
        raise click.UsageError("--gpu-usd-per-hour and --set gpu_usd_per_hour differ. Leave one of them out.")
    return values


def _check_sources(
    task: str | None, trace: Path | None, lengths: dict[str, float | None], reading: TraceReading
) -> None:
    if task is not None and trace is not None:
        raise click.UsageError("TASK and --trace are two sources of the same traffic; leave one out.")
    stray = reading.for_traces_alone()
    if stray and trace is None:
        raise click.UsageError(f"{', '.join(stray)}: options about how a --trace is read; name one.")
    if task is not None and any(value is not None for value in lengths.values()):
        raise click.UsageError("--input-tokens and --output-tokens describe calls without a TASK; leave one out.")


def _typed(question: CostQuestion, given: dict[str, Any], *, aliases: Mapping[str, str]) -> dict[str, Any]:
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
    return typed_cost(Workload(**{name: numbers[name] for name in names}), question, aliases=aliases)
