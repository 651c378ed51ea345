"""The audit as text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.report._plain import bullets, joined, plain_table, sentence
from freehold.report.audit_tables import (
    audit_sentence,
    first_sentence,
    kind_table,
    ranking_table,
    savings_table,
    shortened,
    speed_table,
)
from freehold.report.ledger_tables import left_out_sentence, unpriced_sentence
from freehold.report.numbers import NOT_MEASURED
from freehold.report.tables import spending_table, traffic_table
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHORT = 3
"""So many tasks are shown with their reasons."""


def audit_text(record: Mapping[str, Any], *, everything: bool = True) -> str:  # Any: JSON
    """Traffic and cost by task, what could be saved and what to do first, and what the prices rest on.

    Args:
        record: The result.
        everything: All tasks with the reasons of each, in place of the largest ones.
    """
    shown, left_out = (record, 0) if everything else shortened(record)
    return joined(
        sentence(audit_sentence(record)) if "total" in record else "",
        plain_table(traffic_table(shown, with_days=not _is_of_one_period(shown)))
        or "No call of any task is in the ledger.",
        plain_table(spending_table(shown)),
        *(_findings(shown, everything=everything) if "ranking" in record else ()),
        sentence(f"{left_out:,} smaller tasks are not shown: --all, --json or --csv") if left_out else "",
        sentence(left_out_sentence(record)),
        sentence(unpriced_sentence(record)),
        bullets("Assumed", record.get("assumptions") or ()),
        sentence(
            f"Prices: {record.get('price_catalogue', NOT_MEASURED)}, each call at the price of its day and of its tier"
        ),
    )


def _is_of_one_period(record: Mapping[str, Any]) -> bool:  # Any: JSON
    """All tasks were asked from the same first to the same last day, which the first sentence tells."""
    return len({(each.get("first_day"), each.get("last_day")) for each in record.get("tasks") or ()}) == 1


def _findings(record: Mapping[str, Any], *, everything: bool) -> tuple[str, ...]:  # Any: JSON
    """Volume, savings and what to do first; with the reasons of each task if everything is wanted."""
    reasons = [(each.get("task"), each.get("reasons") or ()) for each in record.get("tasks") or ()]
    return (
        plain_table(kind_table(record)),
        plain_table(speed_table(record)) if everything else "",
        plain_table(savings_table(record)),
        plain_table(ranking_table(record, everything=everything)),
        *(
            bullets(f"Why, of {visible(task, 48)}", said)
            for task, said in reasons
            if everything or len(reasons) <= _SHORT
        ),
        sentence(first_sentence(record)),
    )
