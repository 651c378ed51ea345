"""An audit as one self-contained HTML page: what is spent, on what, and what to do first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.report._page import rendered
from freehold.report.audit_figures import replaceability_figure, spend_figure, week_figure
from freehold.report.audit_tables import (
    audit_sentence,
    headline,
    kind_table,
    month_words,
    ranking_table,
    savings_table,
    speed_table,
)
from freehold.report.ledger_tables import left_out_sentence, unpriced_sentence
from freehold.report.numbers import count, number, usd
from freehold.report.tables import spending_table, traffic_table
from freehold.report.verdict_page import Fact
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_TASKS = 200
"""Of a page; the JSON and the CSV have all of them."""
_MOST_REASONED = 20
"""With the reasons of their scores."""


def audit_page(record: Mapping[str, Any], *, title: str = "Audit") -> str:  # Any: JSON
    """The page of one record of schema freehold.audit/1."""
    shown = dict(record)
    tasks = sorted(record.get("tasks") or (), key=lambda each: -(number(each.get("cost_usd")) or 0.0))
    shown["tasks"] = tasks[:_MOST_TASKS]
    left_out = len(tasks) - len(shown["tasks"])
    notes = [left_out_sentence(record), unpriced_sentence(record)]
    notes += [visible(each, 400) for each in record.get("assumptions") or ()]
    notes += [f"{count(left_out)} smaller tasks are in the JSON and the CSV only."] if left_out else []
    if len(shown["tasks"]) > _MOST_REASONED:
        notes.append(f"Reasons are those of the {_MOST_REASONED} dearest tasks; the JSON has all of them.")
    return rendered(
        "audit.html",
        title=title,
        sentence=headline(record),
        unpriced=unpriced_sentence(record),
        subtitle=audit_sentence(record),
        facts=_facts(record),
        spend=spend_figure(record),
        volume=replaceability_figure(shown),
        week=week_figure(record),
        ranking=ranking_table(record, everything=False),
        tables=(
            kind_table(shown),
            savings_table(shown),
            spending_table(shown),
            traffic_table(shown),
            speed_table(shown),
        ),
        reasons=[
            (visible(each.get("task"), 60), [visible(said, 400) for said in each.get("reasons") or ()])
            for each in shown["tasks"][:_MOST_REASONED]
            if each.get("reasons")
        ],
        notes=[each for each in notes if each],
        basis=f"Prices: {visible(record.get('price_catalogue'))}, each call at the price of its day; savings at those "
        f"of {visible(record.get('prices_as_of', '?'))}.",
    )


def _facts(record: Mapping[str, Any]) -> tuple[Fact, ...]:  # Any: JSON
    total, period = record.get("total") or {}, record.get("period") or {}
    tasks = [each for each in record.get("tasks") or () if each.get("calls")]
    unpriced = total.get("unpriced_calls") or 0
    first = (record.get("ranking") or [{}])[0]
    return (
        Fact(
            "Spent in the log",
            usd(total.get("cost_usd")),
            f"{count(period.get('days'))} days" if period.get("days") else "",
        ),
        Fact("A month at today's prices", month_words(record), "of what has a price"),
        Fact(
            "Rented calls",
            count(total.get("calls")),
            f"{count(unpriced)} without a price" if unpriced else "all priced",
        ),
        Fact("Tasks", count(len(tasks)), _tier_words(tasks)),
        Fact("First step, a month", usd(first.get("usd_per_month")), visible(first.get("task") or "", 40)),
    )


def _tier_words(tasks: list[Mapping[str, Any]]) -> str:  # Any: JSON
    counts = {tier: sum(each.get("tier") == tier for each in tasks) for tier in ("high", "mid", "low")}
    return ", ".join(f"{number_of} {tier}" for tier, number_of in counts.items() if number_of)
