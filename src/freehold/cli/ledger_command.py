"""`freehold ledger`."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.show import json_option, quiet_option, show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from freehold.core.progress import Progress
    from freehold.ledger.export import ExportFormat
    from freehold.ledger.policy import Policy
    from freehold.state.workspace import Workspace

_DAY = click.DateTime(["%Y-%m-%d"])


@click.group("ledger")
def command() -> None:
    """Every call that was recorded: counted, checked, exported, kept small."""


@command.command("stats")
@json_option
@quiet_option
def stats(as_json: bool, quiet: bool) -> None:
    """Count the calls. What gateways have recorded meanwhile is taken in first, also after a crash."""
    from freehold.ledger.summary import summarise
    from freehold.report.ledger_text import ledger_stats_text

    workspace, policy = _open()
    with _progress(quiet) as progress:
        _take_in(workspace, policy, progress)
    record = {"schema": "freehold.ledgerstats/1", **summarise(workspace.events).as_record()}
    is_empty = not record["calls"] and not record["volumes"]
    step = "freehold import logs.jsonl --task TASK, or: freehold gateway" if is_empty else "freehold audit"
    show(record, ledger_stats_text(record), as_json=as_json, next_step=step)


@command.command("verify")
@json_option
def verify(as_json: bool) -> int:
    """Check every record, file, page and sum, and change nothing. Exit code 1 if something is damaged."""
    from freehold.ledger.verify import verify as look_through
    from freehold.report.ledger_text import ledger_verify_text

    workspace, _ = _open()
    found = look_through(workspace.events)
    findings = [finding.as_record() for finding in found.damaged]
    record = {
        "schema": "freehold.ledgerverify/1",
        "ok": found.ok,
        "damaged": findings,
        "segments": found.segments,
        "files": found.files,
        "rows": found.rows,
    }
    step = "freehold ledger stats" if found.ok else "freehold ledger repair"
    show(record, ledger_verify_text(record), as_json=as_json, next_step=step)
    return 0 if found.ok else 1


@command.command("export")
@click.option("--format", "form", type=click.Choice(["jsonl", "parquet"]), default="jsonl", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File to write; replaced if it exists.")
@click.option("--task", help="Of this task alone.")
@click.option("--since", type=_DAY, help="First day, UTC.")
@click.option("--until", type=_DAY, help="Last day, UTC.")
@click.option("--no-bodies", is_flag=True, help="Without requests and answers.")
@json_option
@quiet_option
def export(
    form: ExportFormat,
    out: Path,
    task: str | None,
    since: Any,  # Any: click gives a datetime
    until: Any,  # Any: as above
    no_bodies: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write the ledger into one file: a row per attempt, by time. Takes in what gateways have recorded first.

    \b
    Examples:
      freehold ledger export --format jsonl --out calls.jsonl
      freehold ledger export --format parquet --out october.parquet --since 2026-10-01 --until 2026-10-31
    """
    from freehold.ledger.export import export as write
    from freehold.report.ledger_text import ledger_export_text

    workspace, policy = _open()
    with _progress(quiet) as progress:
        _take_in(workspace, policy, progress)
        rows = write(
            workspace.events,
            out,
            form=form,
            task=task,
            since=None if since is None else since.date().isoformat(),
            until=None if until is None else until.date().isoformat(),
            with_bodies=not no_bodies,
            progress=progress,
        )
    record = {
        "schema": "freehold.ledgerexport/1",
        "rows": rows,
        "format": form,
        "out": str(out),
        "bytes": out.stat().st_size,
    }
    show(record, ledger_export_text(record), as_json=as_json, next_step=f"freehold import {quote(str(out))}")


@command.command("costs")
@click.option("--task", help="Of this task alone.")
@json_option
@quiet_option
def costs(task: str | None, as_json: bool, quiet: bool) -> None:
    """What was spent on which task on which day, at the prices of that day."""
    from freehold.audit.pricing import Pricing
    from freehold.audit.spending import missing_edges, spending
    from freehold.cli.price_files import own_prices
    from freehold.ledger.index import Index
    from freehold.ledger.rollup import EDGES, stored_sums, sums_of_files
    from freehold.report.ledger_text import ledger_costs_text

    workspace, policy = _open()
    with _progress(quiet) as progress:
        _take_in(workspace, policy, progress)
    prices = own_prices(None)
    pricing = Pricing(prices.aliases, prices.overrides)
    index = Index(workspace.calls)
    sums = stored_sums(index.connection)
    index.close()
    further = missing_edges(sums, pricing)
    if further:
        sums = sums_of_files(workspace.calls, sorted({*EDGES, *further}))
    found = spending(sums, pricing)
    days = [day.as_record() for day in found.days if task is None or day.task == task]
    record = {
        "schema": "freehold.ledgercosts/1",
        "days": days,
        "price_catalogue": found.price_catalogue,
        "assumptions": list(found.assumptions),
        "unpriced": dict(found.unpriced),
        "counted_from": "files" if further else "rollup",
    }
    show(record, ledger_costs_text(record), as_json=as_json, next_step="freehold audit")


@command.command("repair")
@json_option
def repair(as_json: bool) -> None:
    """Put damaged files aside, save what can be read of them, and make the index and the daily sums anew."""
    from freehold.ledger.repair import repair as make_sound
    from freehold.report.ledger_text import ledger_repair_text

    workspace, policy = _open()
    done = make_sound(workspace.events, policy=policy)
    record = {
        "schema": "freehold.ledgerrepair/1",
        "found": [finding.as_record() for finding in done.found],
        "files_put_aside": done.files_put_aside,
        "rows_saved": done.rows_saved,
        "rows_lost": done.rows_lost,
        "ingested": done.ingested.calls,
    }
    show(record, ledger_repair_text(record), as_json=as_json, next_step="freehold ledger verify")


@command.command("compact")
@json_option
@quiet_option
def compact(as_json: bool, quiet: bool) -> None:
    """Merge small files, and let go of bodies and rows whose time is over. Waits until nobody reads."""
    from freehold.ledger.upkeep import keep_up
    from freehold.report.ledger_text import ledger_compact_text
    from freehold.state.settings import load_settings

    workspace, policy = _open()
    hot_days = load_settings(workspace).ledger.hot_days
    with _progress(quiet) as progress:
        done = keep_up(workspace.events, policy=policy, hot_days=hot_days, fewest_files=2, wait=True, progress=progress)
    record = {
        "schema": "freehold.ledgercompact/1",
        "files_before": done.files_before,
        "files_after": done.files_after,
        "bodies_removed": done.bodies_removed,
        "rows_removed": done.rows_removed,
        "ingested": done.ingested.calls,
        "segments_removed": done.ingested.segments_removed,
    }
    show(record, ledger_compact_text(record), as_json=as_json, next_step="freehold ledger stats")


def _open() -> tuple[Workspace, Policy]:
    """The workspace and what it keeps; the state database is not needed."""
    from freehold.cli.recording import policy_of
    from freehold.state.settings import load_settings
    from freehold.state.workspace import find_workspace

    workspace = find_workspace()
    return workspace, policy_of(load_settings(workspace))


@contextmanager
def _progress(quiet: bool) -> Iterator[Any]:  # Any: imported late
    from freehold.report.progress import TerminalProgress

    with TerminalProgress(quiet=quiet) as progress:
        yield progress


def _take_in(workspace: Workspace, policy: Policy, progress: Progress) -> None:
    """Ingest what gateways have recorded; where they have recorded nothing, nothing is said of it."""
    from freehold.core.progress import Silent
    from freehold.ledger.ingest import ingest

    has_segments = any(workspace.segments.glob("*/*.seg"))
    ingest(workspace.events, policy=policy, progress=progress if has_segments else Silent())
