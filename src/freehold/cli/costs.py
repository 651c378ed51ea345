"""Puts traffic, prices and a plan to own together: the question that `breakeven` and `decide` ask."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from freehold.audit.audit import audit
from freehold.audit.estimate import CHARACTERS_PER_TOKEN, estimated_workload
from freehold.audit.rows import Slice, Source
from freehold.cli.capacity_files import model_named
from freehold.cli.price_files import read_overrides
from freehold.core.errors import InputError
from freehold.core.spoken import answered
from freehold.corrections.store import corrected_calls, held_out_calls, human_outputs
from freehold.economics.breakeven import compare, curve, staircase
from freehold.economics.facts import model_facts
from freehold.economics.plans import default_scenario, own_plan
from freehold.economics.prices import Price, find_price, price_of
from freehold.economics.workload import LARGEST_VOLUME
from freehold.ledger.volumes import VOLUMES
from freehold.registry.store import list_models

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from freehold.audit.audit import Audit
    from freehold.audit.task_audit import TaskAudit
    from freehold.cli.scenario_file import Given
    from freehold.cli.session import Session
    from freehold.cli.traced_calls import TraceReading
    from freehold.economics.overrides import Override
    from freehold.economics.precision import Precision
    from freehold.economics.scenario import OwnPlan, Scenario, Spread
    from freehold.economics.workload import Workload

OTHER_VOLUMES = (10_000.0, 100_000.0, 1_000_000.0, 10_000_000.0, 100_000_000.0)
_CURVE_DECADES, _CURVE_STEPS = (3, 9), 8
"""Of the cost curve: powers of ten that it spans at least, and points in each of them."""
DRAWS = 20_000
SHARES = ("cached_share", "cache_write_share", "batchable_share")
"""Numbers of the workload that may be given beside the assumptions."""

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
    tuned: str | None = None
    """A model whose price the provider asks for a tuned one."""
    own_bought: bool = False
    """Owning means bought devices: break-even and present values are about them."""
    gpus: int | None = None
    """Devices of one replica; None: as the plan says, or one."""
    precision: Precision | None = None
    values: Mapping[str, Given] = field(default_factory=dict)
    """Numbers in place of the shipped assumptions, and shares of the workload."""
    overrides: Sequence[Override] = ()
    """The user's own prices."""
    draws: int = DRAWS
    only_simple: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Prices of what is rented or could be."""

    rent: Price | None
    hosted: Price | None
    tuned: Price | None


def audit_of(session: Session, *, with_held_out: bool = False) -> Audit:
    """The audit of everything in a session's ledger; held-out cases are traffic only if that is wanted."""
    return audit(
        source_of(session),
        wanted=Slice(
            corrected_calls=corrected_calls(session.state),
            held_out_calls=() if with_held_out else held_out_calls(session.state),
        ),
        aliases=session.settings.prices.alias,
        overrides=own_prices_of(session),
    )


def source_of(session: Session) -> Source:
    """The rows of a session's workspace: its calls, and what is known by its sums alone."""
    ledger = session.ledger
    return Source(calls=ledger.folder, volumes=session.workspace.events / VOLUMES, retired=ledger.retired_sums())


def own_prices_of(session: Session) -> Sequence[Override]:
    """The dated rows that the workspace names in its settings."""
    name = session.settings.prices.overrides
    return () if name is None else read_overrides(session.workspace.root / Path(name).expanduser())


def typed_cost(workload: Workload, question: CostQuestion, aliases: Mapping[str, str]) -> dict[str, Any]:
    """The cost record of volumes that were typed in or read from a trace."""
    as_of = question.as_of or datetime.now(UTC).date()
    prices = _prices(question, question.rent, as_of, aliases)
    workload, scenario = _scenario(workload, question, _plan(question, DEFAULT_PLAN, as_of), prices, as_of)
    return _record(workload, prices, scenario, question)


def traced_cost(
    path: Path, question: CostQuestion, aliases: Mapping[str, str], reading: TraceReading | None = None
) -> dict[str, Any]:
    """The cost record of recorded calls; tiers of prices are paid call by call.

    Raises:
        InputError: the file cannot be read, or neither it nor `reading` tells how long calls are.
    """
    from freehold.cli.traced_calls import TraceReading, traced_calls
    from freehold.economics.traffic import traffic

    as_of = question.as_of or datetime.now(UTC).date()
    prices = _prices(question, question.rent, as_of, aliases)
    read = traced_calls(path, reading or TraceReading(), counting="rented", seed=question.seed)
    trace = read.trace
    priced = [price for price in (prices.rent, prices.hosted, prices.tuned) if price is not None]
    if not priced:
        raise InputError("Name the model that is rented with --rent, or another one with --hosted or --tuned.")
    found = traffic(
        trace.t_s,
        trace.input_tokens,
        trace.output_tokens,
        duration_s=trace.duration_s,
        cached_share=trace.cached_share,
        thresholds=[tier.above_input_tokens for price in priced for tier in price.tiers],
        queries_per_month=question.queries_per_month,
    )
    workload, scenario = _scenario(found.workload, question, _plan(question, DEFAULT_PLAN, as_of), prices, as_of)
    record = _record(workload, prices, scenario, question)
    record["inputs"]["trace"] = {
        "file": str(path),
        "calls": found.calls,
        "hours": found.hours,
        "hours_with_calls_share": found.hours_with_calls_share,
        "skipped": read.left_out.as_record(),
    }
    record["warnings"] = read.warnings
    record["assumptions"] += read.known
    if question.queries_per_month is None:
        why = f"a month is like the {found.hours:,.1f} hours of the trace, stretched to 730"
        record["assumptions"].append(_assumed("trace_month", workload.queries_per_month, "queries/month", why))
    return record


def task_costs(
    session: Session,
    task: str,
    question: CostQuestion,
    *,
    measured: Mapping[str, Spread] | None = None,
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
    question = replace(question, overrides=question.overrides or own_prices_of(session))
    found, is_of_tests = _traffic_of(session, task)
    workload, was_estimated = found.workload(), False
    if workload is None:
        workload, was_estimated = _estimate(session, task, question.queries_per_month), True
    elif question.queries_per_month is not None:
        workload = replace(workload, queries_per_month=question.queries_per_month)
    as_of = question.as_of or found.last_day or datetime.now(UTC).date()
    rent_name = question.rent or max(found.models, key=lambda name: found.models[name], default=None)
    prices = _prices(question, rent_name, as_of, session.settings.prices.alias)
    base = _base_of(session, task)
    plan = _plan(question, DEFAULT_PLAN if base is None else _usual_plan(base), as_of)
    workload, scenario = _scenario(workload, question, plan, prices, as_of)
    if measured:
        scenario = scenario.with_values(dict(measured), source="measured by the paired evaluation")
    record = _record(workload, prices, scenario, question)
    record["rented_latency_p95_ms"] = None if found.latency is None else found.latency.p95_ms
    if was_estimated:
        record["assumptions"].append(
            _assumed("characters_per_token", CHARACTERS_PER_TOKEN, "characters/token", "the log counts no tokens")
        )
    if is_of_tests:
        why = "traffic is like the held-out test cases, as the log has no other calls"
        record["assumptions"].append(_assumed("held_out_calls", found.calls, "calls", why))
    if base is not None and plan.model.name != base:
        why = f"the own model stands on {base!r}, and is priced like {plan.model.name}"
        record["assumptions"].append(_assumed("own_plan", plan.label, "model on machine", why))
    others = [_compared(replace(workload, queries_per_month=volume), prices, scenario, question) for volume in volumes]
    return record, others


def _traffic_of(session: Session, task: str) -> tuple[TaskAudit, bool]:
    """The audit of one task, and whether it had to be made of its held-out test cases, for want of other calls."""
    found = next((one for one in audit_of(session).tasks if one.task == task), None)
    if found is None:
        raise InputError(f"There are no calls of task {task!r}. Import a log first.")
    if found.calls or not found.held_out_calls:
        return found, False
    return next(one for one in audit_of(session, with_held_out=True).tasks if one.task == task), True


def _assumed(name: str, value: float | str, unit: str, why: str) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "source": f"assumption: {why}", "is_assumption": True}


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


def _plan(question: CostQuestion, usual: str, as_of: date) -> OwnPlan:
    given = question.values.get("gpu_usd_per_hour")
    return own_plan(
        question.own or usual,
        devices=question.gpus,
        precision=question.precision,
        as_of=as_of,
        usd_per_hour=None if given is None else given.value,
        facts_of=model_named,
    )


def _scenario(
    workload: Workload, question: CostQuestion, plan: OwnPlan, prices: Prices, as_of: date
) -> tuple[Workload, Scenario]:
    """The workload and the assumptions with the numbers that were given in place of measured and shipped ones."""
    shares = {name: given.value for name, given in question.values.items() if name in SHARES}
    if any(isinstance(value, tuple) for value in shares.values()):
        raise InputError(f"{', '.join(shares)}: a share of the workload is one number, without low and high.")
    workload = replace(workload, **shares)  # type: ignore[arg-type]  # each is one number
    numbers = {name: given for name, given in question.values.items() if name not in SHARES}
    scenario = default_scenario(
        plan,
        values={name: given.value for name, given in numbers.items()},
        way="own-bought" if question.own_bought else "own",
    )
    for name, given in numbers.items():
        scenario = scenario.with_values({name: given.value}, source=given.source)
    if "peak_to_mean" in question.values:
        workload = replace(workload, peak_to_mean=None)
    if workload.batchable_share and "batch_discount" not in question.values and prices.rent is not None:
        scenario = _with_batch_price(scenario, question, prices.rent, as_of)
    return workload, scenario


def _with_batch_price(scenario: Scenario, question: CostQuestion, rent: Price, as_of: date) -> Scenario:
    """The discount that the catalogue has for batches on that day, or the assumption as it is."""
    name = rent.alias_of or rent.model
    batch = find_price(name, as_of, tariff="batch", overrides=question.overrides)
    if not isinstance(batch, Price):
        return scenario
    discount = 1.0 - float(batch.input_usd_per_mtok / rent.input_usd_per_mtok)
    source = f"{batch.catalogue}: input of {name} in batches at {batch.input_usd_per_mtok} USD per million tokens"
    return scenario.with_values({"batch_discount": min(1.0, max(0.0, discount))}, source=source)


def _compared(workload: Workload, prices: Prices, scenario: Scenario, question: CostQuestion) -> dict[str, Any]:
    return compare(
        workload,
        prices.rent,
        scenario,
        hosted=prices.hosted,
        tuned=prices.tuned,
        seed=question.seed,
        draws=question.draws,
        only_simple=question.only_simple,
    ).as_record()


def _record(workload: Workload, prices: Prices, scenario: Scenario, question: CostQuestion) -> dict[str, Any]:
    record = _compared(workload, prices, scenario, question)
    volumes = _curve_volumes(record)
    points = curve(
        workload,
        prices.rent,
        scenario,
        hosted=prices.hosted,
        tuned=prices.tuned,
        volumes=volumes,
        seed=question.seed,
        draws=min(question.draws, DRAWS),
        only_simple=question.only_simple,
    )
    record["curve"] = [
        {
            "queries_per_month": point.queries_per_month,
            "rent": point.rent_usd_p50,
            "own_p5": None if point.own_usd is None else point.own_usd.p5,
            "own_p50": None if point.own_usd is None else point.own_usd.p50,
            "own_p95": None if point.own_usd is None else point.own_usd.p95,
            "hosted": point.hosted_usd_p50,
            "tuned": point.tuned_usd_p50,
            "bought": point.bought_usd_p50,
        }
        for point in points
    ]
    stairs = staircase(
        workload, prices.rent or prices.hosted, scenario, up_to=volumes[-1], only_simple=question.only_simple
    )
    record["staircase"] = [asdict(stair) for stair in stairs]
    return record


def _curve_volumes(record: Mapping[str, Any]) -> list[float]:  # Any: JSON
    """Volumes of the chart: today's and the break-even lie among them, however small or large they are."""
    ends = (record["breakeven_queries_per_month"] or {}).values()
    marks = [math.log10(each) for each in (record["queries_per_month"], *ends) if each]
    first, last = _CURVE_DECADES
    first = min(first, *(math.floor(mark) for mark in marks))
    last = min(max(last, *(math.ceil(mark) for mark in marks)), round(math.log10(LARGEST_VOLUME)))
    return [10 ** (first + step / _CURVE_STEPS) for step in range((last - first) * _CURVE_STEPS + 1)]


def _estimate(session: Session, task: str, queries_per_month: float | None) -> Workload:
    if queries_per_month is None:
        raise InputError(
            f"The log of task {task!r} does not tell how many calls a month there are. "
            "Name the volume with --queries-per-month."
        )
    outputs = list(human_outputs(session.state, task)) or [
        text for call in session.ledger.read(task) if (text := answered(call.response)) is not None
    ]
    return estimated_workload(session.ledger.read(task), outputs, queries_per_month=queries_per_month)


def _prices(question: CostQuestion, rent: str | None, as_of: date, aliases: Mapping[str, str]) -> Prices:
    """What was named must have a price on that day; a model that only stands in a log may have none."""

    def wanted(option: str, name: str | None) -> Price | None:
        if name is None:
            return None
        found = find_price(name, as_of, aliases=aliases, overrides=question.overrides)
        if not isinstance(found, Price):
            raise InputError(f"--{option} {name!r} has no price as of {as_of}: {found.advice(name)}")
        return found

    if question.rent is None and rent is not None:
        paid = price_of(rent, as_of, aliases=aliases, overrides=question.overrides)
    else:
        paid = wanted("rent", rent)
    return Prices(rent=paid, hosted=wanted("hosted", question.hosted), tuned=wanted("tuned", question.tuned))


def day(value: datetime | None) -> date | None:
    """The day of a `--as-of` option."""
    return None if value is None else value.date()


own_option = click.option(
    "--own",
    help="Plan to own, as MODEL@HARDWARE; MODEL may be a config.json or its folder. "
    "Default: the task's own model on the least machine usual for its size.",
)
rent_option = click.option("--rent", help="Rented model in the price catalogue, e.g. openai/gpt-5.4.")
hosted_option = click.option("--hosted", help="An open model that somebody hosts, as provider/model.")
volume_option = click.option("--queries-per-month", type=float, help="Volume; default: as measured.")
as_of_option = click.option(
    "--as-of", type=click.DateTime(["%Y-%m-%d"]), help="Day of the prices; default: last day of the log."
)
seed_option = click.option("--seed", default=0, show_default=True, help="Seed of the simulation.")
