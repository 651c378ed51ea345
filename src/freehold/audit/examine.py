"""Everything an audit says of a log: numbers, growth, savings, replaceability, and what to do first."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from freehold.audit.audit import Audit
from freehold.audit.cube import build_cube
from freehold.audit.forecast import Series, forecast_of, growth_of
from freehold.audit.lines import CostLine, cost_lines
from freehold.audit.measure import measure
from freehold.audit.owning import OwnCase, own_case
from freehold.audit.prefixes import prefixes_of
from freehold.audit.pricing import Pricing
from freehold.audit.questions import note_questions
from freehold.audit.ranking import ranked
from freehold.audit.replaceability import replaceability_of
from freehold.audit.retries import WITHIN_MINUTES, with_retries
from freehold.audit.rows import Slice, Source, opened
from freehold.audit.sample import MOST_TASKS, sampled_exchanges, sampled_prompts
from freehold.audit.savings import savings
from freehold.audit.week import Week, week_of
from freehold.core.progress import Silent
from freehold.economics.catalogue import catalogue_version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

    from freehold.audit.forecast import Forecast, Growth
    from freehold.audit.personal_data import PersonalData
    from freehold.audit.prefixes import Prefixes
    from freehold.audit.replaceability import Replaceability
    from freehold.audit.savings import Savings
    from freehold.audit.task_audit import TaskAudit
    from freehold.core.progress import Progress
    from freehold.economics.overrides import Override
    from freehold.economics.scenario import OwnPlan

Tier = Literal["low", "mid", "high"]

MID_FROM, HIGH_ABOVE = 100_000, 500_000
"""Queries a month. Source: the three tiers of the article whose claims `freehold claims` audits; where owning pays
depends on the task, which is why each task has a break-even of its own beside its tier."""


MOST_OWNED = 100
"""Tasks for which owning is compared with renting, the dearest ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a task beside its calls."""

    kind: str | None = None
    confidence: float | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """One task. None means that the log does not tell; the reasons say why."""

    audit: TaskAudit
    known: Known
    personal_data: PersonalData | None
    savings: Savings
    growth: Growth | None
    forecast: Forecast | None
    prefixes: Prefixes | None
    replaceability: Replaceability | None
    owning: OwnCase | None
    reasons: tuple[str, ...]

    @property
    def tier(self) -> Tier | None:
        """Volume tier by calls a month."""
        return tier_of(self.audit.calls_per_month)

    @property
    def prompt_caching_usd(self) -> float | None:
        """What reading all repeated beginnings from the provider's cache would save a month."""
        if self.prefixes is None or self.prefixes.usd_per_call is None or self.audit.calls_per_month is None:
            return None
        return self.prefixes.usd_per_call * self.audit.calls_per_month

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """The task as the audit lists it."""
        audit, saved = self.audit, self.savings
        priced = audit.cost_usd is not None and not audit.unpriced_calls and audit.calls
        usd_per_call = float(audit.cost_usd) / audit.calls if priced and audit.cost_usd is not None else None
        return audit.as_record() | {
            "kind": self.known.kind,
            "kind_confidence": self.known.confidence,
            "labels": list(self.known.labels),
            "usd_per_month": saved.usd_per_month,
            "growth_per_month": None if self.growth is None else self.growth.per_month,
            "growth_interval": None if self.growth is None else self.growth.as_record(),
            "forecast": None if self.forecast is None else self.forecast.as_record(usd_per_call),
            "tier": self.tier,
            "replaceability": None if self.replaceability is None else self.replaceability.score,
            "replaceability_detail": None if self.replaceability is None else self.replaceability.as_record(),
            "cacheable_share": saved.repeated_share,
            "cache_saving_usd": saved.repeats_usd,
            "prompt_cacheable_share": None if self.prefixes is None else self.prefixes.cacheable_share,
            "prompt_caching_saving_usd": self.prompt_caching_usd,
            "batchable_share": saved.batchable_share,
            "batch_saving_usd": saved.batch_usd,
            "cheaper_model": saved.cheaper_model,
            "cheaper_saving_usd": saved.cheaper_usd,
            "owning": None if self.owning is None else self.owning.as_record(),
            "personal_data": None if self.personal_data is None else self.personal_data.as_record(),
            "reasons": list(self.reasons),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """A whole log."""

    audit: Audit
    tasks: tuple[Examined, ...]
    """By name."""
    week: Week
    as_of: date
    """Day of the prices that savings are told at."""
    lines: tuple[CostLine, ...] = ()
    """Where they were asked for."""

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """The audit with all that was found, and what to do first."""
        return self.audit.as_record() | {
            "tasks": [task.as_record() for task in self.tasks],
            "week": self.week.as_record(),
            "ranking": [step.as_record(rank) for rank, step in enumerate(ranked(self.tasks), start=1)],
            "reconciliation": [],
            "reconciliation_total": None,
            "prices_as_of": self.as_of.isoformat(),
        }


def tier_of(calls_per_month: float | None) -> Tier | None:
    """Low below 100,000 calls a month, high above 500,000, mid between them; None: unknown."""
    if calls_per_month is None:
        return None
    return "low" if calls_per_month < MID_FROM else "high" if calls_per_month > HIGH_ABOVE else "mid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is audited, and with what it is compared."""

    aliases: Mapping[str, str]
    as_of: date
    plan: OwnPlan | None = None
    """What owning would stand on; None: it is not looked at."""
    wanted: Slice = field(default_factory=Slice)
    overrides: Sequence[Override] = ()
    known: Mapping[str, Known] = field(default_factory=dict)
    """By task."""
    personal_data: Mapping[str, PersonalData] = field(default_factory=dict)
    """By task, where it was looked for."""
    read_texts: bool = True
    """Look at a sample of what was asked and answered."""
    with_lines: bool = False
    """Give every task, day, model and tier a line of its own."""


def examine(source: Source, question: Question, *, progress: Progress | None = None) -> Examination:
    """Audit a log and everything that can be told from it.

    Raises:
        InputError: a file of the ledger is damaged.
    """
    pricing, watched = Pricing(question.aliases, question.overrides), progress or Silent()
    watched.start("sums", None)
    with opened(source, question.wanted) as connection:
        scale = build_cube(connection, pricing)
        counted = measure(connection, scale, has_corrections=question.wanted.corrected_calls is not None)
        assumptions = (*pricing.assumptions(), *_of_the_future(connection, question.as_of))
        watched.finish()
        note_questions(connection, source, question.wanted)
        tasks = with_retries(connection, counted, scale)
        found = Audit(tasks=tasks, price_catalogue=catalogue_version(), assumptions=assumptions)
        saved = savings(connection, tasks, scale, pricing, as_of=question.as_of)
        week = week_of(connection, scale)
        lines = cost_lines(connection, scale) if question.with_lines else ()
        watched.start("texts", None)
        by_calls = sorted(tasks, key=lambda task: (-task.calls, task.task))
        sampled = [task.task for task in by_calls[:MOST_TASKS]] if question.read_texts else []
        exchanges = sampled_exchanges(connection, source.calls, sampled)
        prompts = sampled_prompts(connection, source.calls, sampled)
        watched.finish()
    dearest = {task.task for task in _dearest(tasks, saved)}
    watched.start("tasks", len(tasks))
    examined = []
    for task in tasks:
        own = replaceability_of(exchanges.pop(task.task, ()), questions=saved[task.task].questions)
        prefixes = prefixes_of(prompts.pop(task.task, ()), pricing, question.as_of)
        examined.append(_examined(task, question, saved[task.task], own, prefixes, owned=task.task in dearest))
        watched.update(1)
    watched.finish()
    return Examination(audit=found, tasks=tuple(examined), week=week, as_of=question.as_of, lines=lines)


def _of_the_future(connection: duckdb.DuckDBPyConnection, as_of: date) -> list[str]:
    """A sentence on calls that are dated after the day of the audit."""
    (row,) = connection.execute("select sum(calls), max(day) from cube where day > ?", [as_of]).fetchall()
    calls, last = row
    if not calls:
        return []
    dated = f"{int(calls):,} calls are" if calls > 1 else "1 call is"
    return [f"{dated} dated after {as_of}, as late as {last}: counted and priced as dated, by prices known so far."]


def _examined(
    task: TaskAudit,
    question: Question,
    saved: Savings,
    replaceable: Replaceability | None,
    prefixes: Prefixes | None,
    *,
    owned: bool,
) -> Examined:
    series = series_of(task)
    reasons = list(replaceable.reasons) if replaceable is not None else [_why_unread(task, question)]
    lacks = "The log has no times, so no month, no growth and no forecast." if series is None else series.lacks()
    reasons += [lacks] if lacks and task.calls else []
    growth, forecast = (None, None) if series is None or lacks else (growth_of(series), forecast_of(series))
    owning = own_case(task, saved.mix, question.plan) if question.plan is not None and owned else None
    reasons += [owning] if isinstance(owning, str) else []
    reasons += [saved.batch_reason] if saved.batch_reason else []
    reasons += _about_volume(task)
    return Examined(
        audit=task,
        known=question.known.get(task.task, Known()),
        personal_data=question.personal_data.get(task.task),
        savings=saved,
        growth=growth,
        forecast=forecast,
        prefixes=prefixes,
        replaceability=replaceable,
        owning=owning if isinstance(owning, OwnCase) else None,
        reasons=tuple(each for each in reasons if each),
    )


def series_of(task: TaskAudit) -> Series | None:
    """Calls a day, days without a call among them; None: the log has no times."""
    if task.covered is None:
        return None
    start, end = task.covered
    first, last = start.date(), (end - timedelta(microseconds=1)).date()
    calls = np.zeros((last - first).days + 1)
    for part in task.days:
        if part.name != "undated":
            calls[(date.fromisoformat(part.name) - first).days] = part.calls
    exposure = np.ones(len(calls))
    day = timedelta(days=1)
    midnight = datetime.combine(first, datetime.min.time(), tzinfo=start.tzinfo)
    exposure[0] -= (start - midnight) / day
    exposure[-1] -= max(0.0, (midnight + len(calls) * day - end) / day)
    return Series(calls=calls, exposure=np.maximum(exposure, 1 / 24), first_weekday=first.weekday())


def _dearest(tasks: Sequence[TaskAudit], saved: Mapping[str, Savings]) -> list[TaskAudit]:
    """The tasks for which owning is looked at: a small bill is not worth a machine."""
    asked = [task for task in tasks if task.calls]
    return sorted(asked, key=lambda task: (-(saved[task.task].usd_per_month or 0.0), -task.calls, task.task))[
        :MOST_OWNED
    ]


def _why_unread(task: TaskAudit, question: Question) -> str:
    if not task.calls:
        return ""
    if not question.read_texts:
        return "Replaceability is unknown: prompts and answers were not looked at."
    return "Replaceability is unknown: the log has no or too few stored prompts and answers of this task."


def _about_volume(task: TaskAudit) -> list[str]:
    said = []
    if task.span_days is not None and task.span_days < 1:
        said.append(
            f"The log covers {task.span_days * 24:.1f} hours; it is counted as a day, and a month as 30.4 of them. "
            f"A month of such hours would be {task.calls / task.span_days * 730 / 24:,.0f} calls."
        )
    if task.volume_calls:
        said.append(
            f"{task.volume_calls:,} of the calls are known by their sum alone: their peak is at least what is shown, "
            "and they have no latency of their own."
        )
    if task.inferred_retries:
        said.append(
            f"{task.inferred_retries:,} of the retries are told by their prompt: the same was asked within "
            f"{WITHIN_MINUTES} minutes after a call that failed."
        )
    if task.retries is None:
        said.append("Calls failed, and the log tells neither attempts nor prompts: retries are unknown.")
    if task.absurd_calls:
        said.append(f"{task.absurd_calls:,} calls have impossible counts of tokens; they are not priced.")
    return said
