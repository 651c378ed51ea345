"""Puts traffic, prices and a plan to own together: the question that `breakeven` and `decide` ask."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from freehold.audit.audit import audit
from freehold.audit.estimate import CHARACTERS_PER_TOKEN, estimated_workload
from freehold.core.errors import InputError
from freehold.corrections.store import corrected_calls, human_outputs
from freehold.economics.breakeven import compare, curve
from freehold.economics.facts import model_facts
from freehold.economics.plans import default_scenario, own_plan
from freehold.economics.prices import price_of
from freehold.registry.store import list_models

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.audit.audit import Audit
    from freehold.cli.session import Session
    from freehold.economics.prices import Price
    from freehold.economics.scenario import Scenario
    from freehold.economics.workload import Workload

OTHER_VOLUMES = (10_000.0, 100_000.0, 1_000_000.0, 10_000_000.0, 100_000_000.0)
_CURVE_VOLUMES = tuple(10 ** (3 + step / 8) for step in range(49))
_DRAWS = 20_000
DEFAULT_PLAN = "smollm2-135m@cpu-2vcpu"
_SMALL_PARAMETERS = 1e9
"""A model below this answers fast enough on two processor cores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostQuestion:
    """What is compared with what."""

    own: str | None = None
    """MODEL@HARDWARE; None: the base of the task's own model, on the least machine that is usual for its size."""
    rent: str | None = None
    """Name in the price catalogue; None: the model that the log names most often."""
    hosted: str | None = None
    queries_per_month: float | None = None
    """None: as measured."""
    as_of: date | None = None
    """Day of the prices; None: the last day of the log."""
    seed: int = 0


def audit_of(session: Session) -> Audit:
    """The audit of everything in a session's ledger."""
    return audit(
        session.ledger.read(),
        aliases=session.settings.prices.alias,
        corrected_calls=corrected_calls(session.state),
    )


def typed_cost(workload: Workload, question: CostQuestion, aliases: Mapping[str, str]) -> dict[str, Any]:
    """The cost record of volumes that were typed in."""
    as_of = question.as_of or datetime.now(UTC).date()
    scenario = default_scenario(own_plan(question.own or DEFAULT_PLAN))
    rent, hosted = _price(question.rent, as_of, aliases), _hosted(question.hosted, as_of, aliases)
    return _record(workload, rent, hosted, scenario, question.seed)


def task_costs(
    session: Session,
    task: str,
    question: CostQuestion,
    *,
    measured: Mapping[str, float] | None = None,
    volumes: tuple[float, ...] = (),
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The cost record of a task at its own volume, and at `volumes`.

    Args:
        session: Where the task's traffic lies.
        task: Name of the task.
        question: What is compared.
        measured: Assumptions that an evaluation replaced by measurements.
        volumes: Further volumes, in queries per month.

    Raises:
        InputError: the traffic is unknown and no volume was given.
    """
    found = next((one for one in audit_of(session).tasks if one.task == task), None)
    if found is None:
        raise InputError(f"There are no calls of task {task!r}. Import a log first.")
    workload, was_estimated = found.workload(), False
    if workload is None:
        workload, was_estimated = _estimate(session, task, question.queries_per_month), True
    elif question.queries_per_month is not None:
        workload = replace(workload, queries_per_month=question.queries_per_month)
    as_of = question.as_of or found.last_day or datetime.now(UTC).date()
    aliases = session.settings.prices.alias
    rent_name = question.rent or max(found.models, key=lambda name: found.models[name], default=None)
    rent, hosted = _price(rent_name, as_of, aliases), _hosted(question.hosted, as_of, aliases)
    base = _base_of(session, task)
    plan = own_plan(question.own or (DEFAULT_PLAN if base is None else _usual_plan(base)))
    scenario = default_scenario(plan)
    if measured:
        scenario = scenario.with_values(dict(measured), source="measured by the paired evaluation")
    record = _record(workload, rent, hosted, scenario, question.seed)
    record["rented_latency_p95_ms"] = None if found.latency is None else found.latency.p95_ms
    if was_estimated:
        record["assumptions"].append(
            {
                "name": "characters_per_token",
                "value": CHARACTERS_PER_TOKEN,
                "unit": "characters/token",
                "source": "assumption: the log counts no tokens",
                "is_assumption": True,
            }
        )
    if base is not None and plan.model.name != base:
        record["assumptions"].append(
            {
                "name": "own_plan",
                "value": plan.label,
                "unit": "model on machine",
                "source": f"assumption: the own model stands on {base!r}, and is priced like {plan.model.name}",
                "is_assumption": True,
            }
        )
    others = [
        compare(
            replace(workload, queries_per_month=volume), rent, scenario, hosted=hosted, seed=question.seed
        ).as_record()
        for volume in volumes
    ]
    return record, others


def _base_of(session: Session, task: str) -> str | None:
    """Base of the task's newest own model; None while there is none."""
    models = list_models(session.state, task=task)
    return Path(models[0].base).name if models else None


def _usual_plan(base: str) -> str:
    try:
        facts = model_facts(base)
    except InputError:
        return DEFAULT_PLAN
    return f"{facts.name}@{'cpu-2vcpu' if facts.parameters < _SMALL_PARAMETERS else 'h100'}"


def _record(
    workload: Workload, rent: Price | None, hosted: Price | None, scenario: Scenario, seed: int
) -> dict[str, Any]:
    record = compare(workload, rent, scenario, hosted=hosted, seed=seed, draws=_DRAWS).as_record()
    points = curve(workload, rent, scenario, hosted=hosted, volumes=_CURVE_VOLUMES, seed=seed, draws=_DRAWS)
    record["curve"] = [
        {
            "queries_per_month": point.queries_per_month,
            "rent": point.rent_usd_p50,
            "own_p5": None if point.own_usd is None else point.own_usd.p5,
            "own_p50": None if point.own_usd is None else point.own_usd.p50,
            "own_p95": None if point.own_usd is None else point.own_usd.p95,
            "hosted": point.hosted_usd_p50,
        }
        for point in points
    ]
    return record


def _estimate(session: Session, task: str, queries_per_month: float | None) -> Workload:
    if queries_per_month is None:
        raise InputError(
            f"The log of task {task!r} does not tell how many calls a month there are. "
            "Name the volume with --queries-per-month."
        )
    outputs = list(human_outputs(session.state, task)) or [
        call.response["choices"][0]["message"]["content"] for call in session.ledger.read(task) if call.response
    ]
    return estimated_workload(session.ledger.read(task), outputs, queries_per_month=queries_per_month)


def _price(name: str | None, as_of: date, aliases: Mapping[str, str]) -> Price | None:
    return None if name is None else price_of(name, as_of, aliases=aliases)


def _hosted(name: str | None, as_of: date, aliases: Mapping[str, str]) -> Price | None:
    if name is None:
        return None
    price = price_of(name, as_of, aliases=aliases)
    if price is None:
        raise InputError(f"--hosted {name!r} has no price as of {as_of}. Write it as provider/model.")
    return price


def day(value: datetime | None) -> date | None:
    """The day of a `--as-of` option."""
    return None if value is None else value.date()


own_option = click.option(
    "--own",
    help="Plan to own, as MODEL@HARDWARE. Default: the task's own model on the least machine usual for its size.",
)
rent_option = click.option("--rent", help="Rented model in the price catalogue, e.g. openai/gpt-5.4.")
hosted_option = click.option("--hosted", help="An open model that somebody hosts, as provider/model.")
volume_option = click.option(
    "--queries-per-month", type=click.FloatRange(min=0, min_open=True), help="Volume; default: as measured."
)
as_of_option = click.option(
    "--as-of", type=click.DateTime(["%Y-%m-%d"]), help="Day of the prices; default: last day of the log."
)
seed_option = click.option("--seed", default=0, show_default=True, help="Seed of the simulation.")
