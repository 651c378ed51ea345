"""Decision records as one self-contained HTML page: nothing is fetched, nothing runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from freehold.report._page import rendered
from freehold.report.cost_tables import assumption_table, curve_table, option_table, term_table, volume_table
from freehold.report.dataset_facts import dataset_facts
from freehold.report.figures import contenders_figure, cost_figure, differences_figure
from freehold.report.findings import (
    main_comparison,
    next_measurement_words,
    option,
    spread,
    verdict_sentence,
    verdict_words,
    volume_range,
)
from freehold.report.lineage import lineage_table
from freehold.report.numbers import (
    NOT_MEASURED,
    count,
    duration,
    interval,
    number,
    points,
    usd,
    volume,
)
from freehold.report.operations_table import operations_table
from freehold.report.tables import (
    comparison_table,
    confusion_table,
    contender_table,
    provenance_table,
    row_table,
    spending_table,
    step_table,
    traffic_table,
)
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from freehold.report.figures import Figure
    from freehold.report.tables import Table

_LONGEST_SENTENCE = 1_000


@dataclass(frozen=True, slots=True)
class Fact:
    """A number that a reader looks for first."""

    name: str
    value: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSection:
    """Everything the page says about one task, as text."""

    anchor: str
    task: str
    verdict: str
    verdict_class: str
    sentence: str
    facts: tuple[Fact, ...]
    quality: tuple[Figure, ...]
    quality_tables: tuple[Table, ...]
    confusions: Table
    cost: Figure | None
    cost_tables: tuple[Table, ...]
    cost_note: str
    curve: Table
    operations: Table
    operations_note: str
    file: str
    would_change: tuple[str, ...]
    volumes: Table
    reasons: tuple[str, ...]
    next_measurement: str
    notes: tuple[str, ...]
    data_facts: tuple[tuple[str, str], ...]
    data_tables: tuple[Table, ...]
    assumptions: Table
    lineage: Table


def verdict_page(
    decisions: Sequence[Mapping[str, Any]],  # Any: JSON records of schema freehold.decide/1
    *,
    audit: Mapping[str, Any] | None = None,
    datasets: Sequence[Mapping[str, Any]] = (),
    title: str = "Own or rent",
    steps: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The page for one or several tasks: the verdicts first, then the evidence of each.

    Args:
        decisions: records of schema freehold.decide/1, their inputs inside.
        audit: record of schema freehold.audit/1.
        datasets: records of schema freehold.dataset/1; each is shown with the task it belongs to.
        title: head of the page.
        steps: name, seconds and ok of each step that led here.
    """
    by_task = {each.get("task"): each for each in datasets}
    sections = [
        _section(number_, decision, by_task.get(decision.get("task"))) for number_, decision in enumerate(decisions, 1)
    ]
    return rendered(
        "verdict.html",
        title=visible(title, 120),
        sections=sections,
        audit=() if audit is None else (traffic_table(audit), spending_table(audit)),
        audit_notes=_sentences(None if audit is None else audit.get("assumptions")),
        steps=step_table(steps),
        total_time=duration(sum(number(each.get("seconds")) or 0.0 for each in steps)),
        basis=_basis(decisions),
    )


def _section(position: int, decision: Mapping[str, Any], dataset: Mapping[str, Any] | None) -> TaskSection:
    inputs = decision.get("inputs") or {}
    evaluation, cost = inputs.get("evaluation") or {}, inputs.get("cost") or {}
    figures = (contenders_figure(evaluation), differences_figure(evaluation))
    verdict = str(decision.get("verdict"))
    return TaskSection(
        anchor=f"task-{position}",
        task=visible(decision.get("task"), 60),
        verdict=verdict_words(verdict),
        verdict_class={"own": "own", "hybrid": "hybrid", "undecided": "undecided"}.get(verdict, "rented"),
        sentence=verdict_sentence(decision),
        facts=_facts(evaluation, cost),
        quality=tuple(figure for figure in figures if figure is not None),
        quality_tables=(contender_table(evaluation), comparison_table(evaluation)),
        confusions=confusion_table(evaluation),
        cost=cost_figure(cost),
        cost_tables=(option_table(cost), term_table(cost)),
        cost_note=visible(cost.get("breakeven_reason") or "", _LONGEST_SENTENCE),
        curve=curve_table(cost),
        operations=operations_table(decision),
        operations_note=visible((decision.get("operations") or {}).get("note") or "", _LONGEST_SENTENCE),
        file=f"{visible(decision['id'], 200)}.json" if decision.get("id") else "FILE",
        would_change=_sentences(decision.get("would_change")),
        volumes=volume_table(decision),
        reasons=_sentences(decision.get("reasons")),
        next_measurement=next_measurement_words(decision),
        notes=_sentences(decision.get("notes")),
        data_facts=() if dataset is None else dataset_facts(dataset),
        data_tables=() if dataset is None else (row_table(dataset), provenance_table(dataset)),
        assumptions=assumption_table(cost.get("assumptions") or (), with_source=True),
        lineage=lineage_table(decision),
    )


def _facts(evaluation: Mapping[str, Any], cost: Mapping[str, Any]) -> tuple[Fact, ...]:  # Any: JSON
    """Quality, both costs and the break-even volume, each with its interval."""
    comparison = main_comparison(evaluation) or {}
    quality = Fact("Own minus rented", NOT_MEASURED, "")
    if comparison:
        ends = interval(comparison.get("ci_low"), comparison.get("ci_high"), points)
        quality = Fact(
            "Own minus rented",
            points(comparison.get("difference")),
            f"{ends}, n\u00a0=\u00a0{count(comparison.get('n'))}",
        )
    low, middle, high = spread(cost.get("breakeven_queries_per_month"))
    pays_from = "no volume found" if middle is None else f"{volume(middle)}/month"
    today = f"today {count(cost.get('queries_per_month'))}"
    breakeven = f"{volume_range(low, high)}; {today}" if number(low) is not None else today
    return (
        quality,
        _monthly("Renting, a month", cost, "rent"),
        _monthly("Owning, a month", cost, "own"),
        Fact("Owning pays from", pays_from, breakeven),
    )


def _monthly(name: str, cost: Mapping[str, Any], which: str) -> Fact:  # Any: JSON
    low, middle, high = spread(option(cost, which).get("usd_per_month"))
    return Fact(name, usd(middle), "" if number(low) is None else f"{interval(low, high, usd)}")


def _sentences(texts: Sequence[Any] | None) -> tuple[str, ...]:  # Any: JSON
    return tuple(visible(text, _LONGEST_SENTENCE) for text in texts or ())


def _basis(decisions: Sequence[Mapping[str, Any]]) -> str:
    """Dates of prices and seeds, once for the page."""
    dates, seeds = set(), set()
    for decision in decisions:
        inputs = decision.get("inputs") or {}
        cost = inputs.get("cost") or {}
        dates.add(visible(((cost.get("inputs") or {}).get("rent") or {}).get("as_of") or "unknown"))
        seeds.add(visible(decision.get("seed", NOT_MEASURED)))
    return f"Prices as of {', '.join(sorted(dates))}. Seed {', '.join(sorted(seeds))}." if decisions else ""
