"""`freehold decide`."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from freehold.cli.costs import (
    OTHER_VOLUMES,
    CostQuestion,
    as_of_option,
    day,
    hosted_option,
    own_option,
    rent_option,
    seed_option,
    task_costs,
    volume_option,
)
from freehold.cli.show import json_option, show

if TYPE_CHECKING:
    from datetime import datetime

    from freehold.cli.session import Session
    from freehold.economics.scenario import Spread
    from freehold.evaluation.record import WrittenDecision
    from freehold.evaluation.result import Evaluation


@click.command("decide")
@click.argument("task", required=False)
@volume_option
@own_option
@rent_option
@hosted_option
@as_of_option
@seed_option
@click.option("--usd-per-error", type=click.FloatRange(min=0), help="What one wrong answer costs you.")
@click.option("--verify", "to_verify", type=click.Path(path_type=Path), help="Recompute a verdict from its file.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    task: str | None,
    queries_per_month: float | None,
    own: str | None,
    rent: str | None,
    hosted: str | None,
    as_of: datetime | None,
    seed: int,
    usd_per_error: float | None,
    to_verify: Path | None,
    as_json: bool,
) -> None:
    """The verdict on TASK, from its latest evaluation and its costs: signed, and recomputable bit for bit.

    Exit code: 0 own or hybrid, 3 keep renting in some way, 4 undecided.

    \b
    Examples:
      freehold decide support_intent --queries-per-month 200000
      freehold decide --verify .freehold/decisions/support_intent-0f3a….json
    """
    from freehold.cli.session import open_session
    from freehold.report.text import decision_text

    session = open_session()
    if to_verify is not None:
        _verify(session, to_verify, as_json=as_json)
        return
    if task is None:
        raise click.UsageError("Name a TASK, or a file with --verify.")
    question = CostQuestion(
        own=own, rent=rent, hosted=hosted, queries_per_month=queries_per_month, as_of=day(as_of), seed=seed
    )
    written = decide_task(session, task, question, usd_per_error=usd_per_error)
    page = write_report(session, [written])
    record = written.record | {"report": str(page), "file": str(written.file)}
    show(
        record, decision_text(record), as_json=as_json, next_step=f"freehold decide --verify {quote(str(written.file))}"
    )
    ctx.exit(written.decision.exit_code)


def decide_task(
    session: Session,
    task: str,
    question: CostQuestion,
    *,
    usd_per_error: float | None = None,
    volumes: tuple[float, ...] = OTHER_VOLUMES,
) -> WrittenDecision:
    """Decide a task from its latest evaluation; write, sign and register the verdict."""
    from freehold.evaluation.keys import load_or_create_key
    from freehold.evaluation.policy import DecisionInputs, Policy
    from freehold.evaluation.record import current_versions, write_decision
    from freehold.evaluation.store import latest_evaluation, save_decision

    evaluation = latest_evaluation(session.state, task)
    measured: dict[str, Spread] = {}
    if evaluation.cascade is not None:
        measured["escalated_share"] = evaluation.cascade.escalated_share
    if usd_per_error is not None:
        measured["usd_per_error"] = usd_per_error
        measured |= _error_difference(evaluation)
    cost, others = task_costs(session, task, question, measured=measured, volumes=volumes)
    inputs = DecisionInputs(
        evaluation=evaluation.as_record(),
        cost=cost,
        policy=Policy(
            margin_points=session.settings.decide.margin_points, confidence=session.settings.decide.confidence
        ),
        versions=current_versions(),
        other_volumes=tuple(others),
    )
    key = load_or_create_key(session.workspace.signing_key)
    written = write_decision(inputs, session.workspace.decisions, key)
    save_decision(session.state, written)
    return written


def _error_difference(evaluation: Evaluation) -> dict[str, Spread]:
    """Errors per query that owning adds, 5th percentile, mean and 95th; nothing when the two were not compared."""
    from freehold.economics.montecarlo import posterior_ends

    own, rented = evaluation.of_kind("own"), evaluation.of_kind("rented")
    found = evaluation.comparison(own[0].name, rented[0].name) if own and rented else None
    if found is None:
        return {}
    ends = posterior_ends(-found.difference, -found.ci_high, -found.ci_low, confidence=evaluation.confidence)
    return {"error_difference": ends}


def write_report(
    session: Session,
    written: list[WrittenDecision],
    *,
    audit: dict[str, Any] | None = None,
    steps: list[dict[str, Any]] | None = None,
) -> Path:
    """Write the HTML page of one or several verdicts beside the first of them.

    Args:
        session: Where the verdicts were made.
        written: The verdicts.
        audit: The audit that they rest on; None: as the ledger is now.
        steps: Of the demo.
    """
    from freehold.cli.costs import audit_of
    from freehold.core.errors import InputError
    from freehold.datasets.read import as_record, read_dataset
    from freehold.report.verdict_page import verdict_page

    datasets = []
    for one in written:
        try:
            dataset = read_dataset(
                session.workspace.datasets,
                one.record["inputs"]["evaluation"]["dataset"],
                engine=session.state,
            )
        except InputError:
            continue
        datasets.append(as_record(dataset))
    page = verdict_page(
        [one.record for one in written],
        audit=audit or audit_of(session).as_record(),
        datasets=datasets,
        steps=steps or (),
        title="Own or rent",
    )
    name = written[0].file.with_suffix(".html") if len(written) == 1 else session.workspace.decisions / "report.html"
    unfinished = name.with_suffix(".writing")
    unfinished.write_text(page, encoding="utf-8")
    return unfinished.replace(name)


def _verify(session: Session, file: Path, *, as_json: bool) -> None:
    from freehold.evaluation.keys import read_public_key
    from freehold.evaluation.verify import verify

    found = verify(file, read_public_key(session.workspace.signing_key))
    record = {
        "schema": "freehold.verify/1",
        "file": str(found.file),
        "task": found.task,
        "verdict": found.verdict,
        "sha256": found.sha256,
        "checks": list(found.checks),
        "ok": True,
    }
    lines = [f"{found.task}: {found.verdict}", *(f"  ok  {check}" for check in found.checks)]
    show(record, "\n".join(lines), as_json=as_json, next_step="open the report beside it")
