"""`freehold simulate`."""

from __future__ import annotations

import time
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.costs import day, seed_option
from freehold.cli.show import json_option, show, tell_left_out
from freehold.cli.traced_calls import TraceReading, trace_options

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_OPTIONS = (
    click.option("--trace", required=True, type=_FILE, help="Calls as they arrived, or counted by window of time."),
    click.option("--model", required=True, help="Open model, e.g. llama-3.1-8b."),
    click.option("--gpu", required=True, help="Device, e.g. h100."),
    click.option("--gpus", default=1, show_default=True, type=click.IntRange(1, 64), help="Devices of one replica."),
    click.option("--precision", help="Of the weights, e.g. fp8; default: the usual one of the device."),
    click.option("--ttft-p95-ms", default=500.0, show_default=True, help="Goal: first token, 95 of 100 calls."),
    click.option("--tpot-p95-ms", default=50.0, show_default=True, help="Goal: each further token, likewise."),
    click.option("--replicas", type=int, help="Replay on so many; default: find the fewest that hold the goals."),
    click.option(
        "--dispatch", default="least-loaded", show_default=True, type=click.Choice(["least-loaded", "round-robin"]),
        help="Which replica gets a call.",
    ),
    click.option("--by-hour", is_flag=True, help="Also the fewest replicas of each hour, for a fleet that follows."),
    click.option("--chunk-tokens", default=2048, show_default=True, help="Tokens of one step of the engine."),
    click.option("--times", default=1.0, show_default=True, help="So many times the traffic, in as much less time."),
    click.option(
        "--cached-share", metavar="SHARE",
        help="Of each prompt, what the replicas find in their cache; `trace`: as the file tells.  [default: 0]",
    ),
    click.option("--gpu-usd-per-hour", type=float, help="Rent of one device; default: from the shipped table."),
    click.option("--as-of", type=click.DateTime(["%Y-%m-%d"]), help="Day of the rent; default: the newest known."),
    click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write the report to this page."),
    seed_option,
    json_option,
)  # fmt: skip


def _options(function: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.command("simulate")
@_options
@trace_options
def command(
    html: Path | None,
    as_json: bool,
    seed: int,
    as_of: datetime | None,
    **given: Any,  # Any: each option as click parsed it
) -> None:
    """Replay real arrivals on own replicas: how many are needed, how long callers wait, and what it costs.

    \b
    The file: rows of t_s, input_tokens and output_tokens, or of client, t_s and
    requests (calls counted by window), in JSON Lines, JSON, CSV or Parquet;
    an export of the ledger will do. docs/reference/traces.md shows every form.

    \b
    Examples:
      freehold simulate --trace calls.jsonl --model llama-3.1-8b --gpu h100
      freehold simulate --trace windows.jsonl --client 22 --input-tokens 1000 \\
          --output-tokens 300 --model llama-3.1-8b --gpu l4 --html load.html
    """
    started = time.perf_counter()
    from freehold.cli.page_file import check_page, write_page
    from freehold.cli.simulation_record import Question, simulation_record
    from freehold.report.simulation_tables import simulation_text

    if html is not None:
        check_page(html)
    record = simulation_record(Question(reading=TraceReading.taken_from(given), seed=seed, as_of=day(as_of), **given))
    tell_left_out(record["skipped"])
    record["wall_s"] = round(time.perf_counter() - started, 3)
    if html is not None:
        from freehold.report.simulation_page import simulation_page

        write_page(html, simulation_page(record))
        click.echo(f"Wrote {html}.", err=True)
    devices = "" if given["gpus"] == 1 else f"{given['gpus']}x"
    plan = quote(f"{given['model']}@{devices}{record['inputs']['gpu']}")
    next_step = f"freehold breakeven --trace {quote(str(given['trace']))} --own {plan} --rent MODEL"
    show(record, simulation_text(record), as_json=as_json, next_step=next_step)
