"""Records as plain text for a terminal: at most 100 columns, no colours, each ending with a newline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.report._plain import bullets, joined, plain_table, sentence
from freehold.report.cost_findings import (
    assumed_dates,
    change_sentences,
    cost_verdict_sentence,
    escalation_sentence,
    premium_sentence,
    simple_lines,
    simple_sentence,
    verdict_basis,
    waiting_sentence,
)
from freehold.report.cost_tables import (
    assumption_table,
    curve_table,
    option_table,
    sensitivity_table,
    settled_assumptions,
    waterfall_table,
    ways_table,
)
from freehold.report.findings import (
    next_measurement_words,
    premium_words,
    quality_finding,
    verdict_sentence,
    verdict_words,
    way_words,
)
from freehold.report.ledger_tables import (
    held_out_sentence,
    import_sentence,
    imported_task_table,
    recognised_table,
)
from freehold.report.numbers import NOT_MEASURED, count, exact, share
from freehold.report.operations_table import operations_table
from freehold.report.tables import (
    comparison_table,
    confusion_table,
    contender_table,
    step_table,
)
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_FIRST_REJECTED = 5
_CURVE_ROWS = 8
_SHORT = 3
"""Rows of a list where room is short."""


def import_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """What of a log was taken in, what was there already, and why the rest was not."""
    rejected: Sequence[Mapping[str, Any]] = record.get("rejected") or ()  # Any: JSON
    reasons = [f"{each.get('file')}, line {each.get('line')}: {each.get('reason')}" for each in rejected]
    more = (record.get("rejected_rows") or len(reasons)) - _FIRST_REJECTED
    shown = reasons[:_FIRST_REJECTED] + ([f"and {count(more)} more"] if more > 0 else [])
    return joined(
        sentence(import_sentence(record)),
        plain_table(recognised_table(record)),
        plain_table(imported_task_table(record)),
        sentence(held_out_sentence(record)),
        bullets("Found to be one task", _found_to_be_one(record)),
        bullets("Skipped", _skipped(record)),
        bullets("Rejected", shown),
        f"All rejected rows: {visible(record['rejects_file'], 4096)}" if record.get("rejects_file") else "",
        bullets("Refused, nothing of them was imported", _refused(record)),
        sentence(_truncated(record)),
        bullets("Assumed", record.get("assumptions") or ()),
        bullets("Not logs, passed over", record.get("not_logs") or ()),
        bullets("Fields that were ignored", record.get("ignored_fields") or ()),
        bullets("Warnings", record.get("warnings") or ()),
    )


def _found_to_be_one(record: Mapping[str, Any]) -> list[str]:  # Any: JSON
    joins = (record.get("discovered") or {}).get("joined") or ()
    return [
        f"{visible(one['task'])} went into {visible(one['into'])}. To take it out again: {visible(one['undo'], 4096)}"
        for one in joins
    ]


def _skipped(record: Mapping[str, Any]) -> list[str]:  # Any: JSON
    return [
        f"{exact(rows)}: {visible(reason, 200)}" for reason, rows in (record.get("skipped_by_reason") or {}).items()
    ]


def _refused(record: Mapping[str, Any]) -> list[str]:  # Any: JSON
    return [visible(each.get("reason"), 500) for each in record.get("refused") or ()]


def _truncated(record: Mapping[str, Any]) -> str:  # Any: JSON
    rows = record.get("truncated")
    return f"Cut off by the log they come from: {exact(rows)}. They count, and never train." if rows else ""


def breakeven_text(record: Mapping[str, Any], *, everything: bool = False) -> str:  # Any: JSON
    """Rent against own on a screen: verdict, options, what matters, what would change it; or with all that it rests on.

    Args:
        record: The result.
        everything: All tables and all numbers, in place of the ones that decide.
    """
    certainty, premium = share(record.get("probability_own_is_cheapest")), premium_words(record)
    beats = f"{way_words(record)} costs less than all that is rented{f', {premium}' if premium else ''}"
    return joined(
        sentence(cost_verdict_sentence(record)),
        sentence(f"{verdict_basis(record)}. {record['verdict_rule']}") if record.get("verdict_rule") else "",
        plain_table(option_table(record, with_chance=True)),
        plain_table(ways_table(record)) if everything else "",
        sentence(f"Probability that {beats}: {certainty}") if everything else "",
        sentence(simple_sentence(record)),
        plain_table(waterfall_table(record)) if everything else "",
        plain_table(sensitivity_table(record, most=8 if everything else _SHORT)),
        bullets("What would change the answer", change_sentences(record, most=5 if everything else _SHORT)),
        sentence(waiting_sentence(record)),
        sentence(escalation_sentence(record)),
        sentence(premium_sentence(record)),
        *(_all_numbers(record) if everything else ()),
        bullets("Assumed", assumed_dates(record)),
        bullets("Not considered", _not_considered(record)) if everything else "",
        bullets("Warnings", record.get("warnings") or ()),
        f"Seed {record.get('seed', NOT_MEASURED)}. "
        + ("" if everything else "Terms, curve and all numbers: --all. ")
        + "Sources of the numbers: --json.",
    )


def _all_numbers(record: Mapping[str, Any]) -> tuple[str, ...]:  # Any: JSON
    """Cost by volume, and every number that was assumed or given."""
    telling, unused = settled_assumptions(record.get("assumptions") or ())
    return (
        plain_table(curve_table(record, every=max(1, len(record.get("curve") or ()) // _CURVE_ROWS))),
        plain_table(assumption_table(telling, with_source=False)),
        sentence(f"Not given, and so without effect: {unused}.") if unused else "",
    )


def simple_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """The arithmetic of articles and nothing else: one line for each rented price."""
    simple = record.get("simple") or {}
    machine = str(simple.get("arithmetic") or "").partition(";")[0]
    return joined(
        "The arithmetic of articles: one machine, list prices, nothing else.",
        sentence(f"Machine: {machine}") if machine else "",
        "\n".join(sentence(each, indent="  ") for each in simple_lines(record)),
        bullets("Assumed", assumed_dates(record)),
        bullets("Warnings", record.get("warnings") or ()),
        "All that this leaves out: the same command without --simple.",
    )


def _not_considered(record: Mapping[str, Any]) -> list[str]:  # Any: JSON
    return [f"{each.get('name')}: {each.get('reason')}" for each in record.get("not_considered") or ()]


def evaluation_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """Contenders, paired comparisons, the commonest errors."""
    return joined(
        sentence(f"{visible(record.get('task'))}: {quality_finding(record)}"),
        plain_table(contender_table(record)),
        plain_table(comparison_table(record)),
        plain_table(confusion_table(record)),
        bullets("Warnings", record.get("warnings") or ()),
        bullets("Notes", [*(record.get("notes") or ()), *filter(None, [record.get("cascade_note")])]),
    )


def decision_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """The verdict, why, what would change it and what to measure next."""
    return joined(
        sentence(f"Verdict on {visible(record.get('task'))}: {visible(record.get('verdict'))}"),
        sentence(verdict_sentence(record)),
        bullets("Why", record.get("reasons") or ()),
        bullets("What would change it", record.get("would_change") or ()),
        sentence(f"Next measurement: {next_measurement_words(record)}."),
        plain_table(operations_table(record)),
        sentence((record.get("operations") or {}).get("note") or ""),
        bullets("Notes", record.get("notes") or ()),
        _report_line(record),
    )


def demo_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """Verdicts, what each step took, and where the report lies."""
    verdicts = [
        each.get("sentence") or f"{visible(each.get('task'), 60)}: {verdict_words(each.get('verdict'))}"
        for each in record.get("verdicts") or ()
    ]
    answers = [
        f"{each.get('task')}: {visible(each.get('question'), 300)} → {visible(each.get('answer'), 300)}"
        for each in record.get("answers") or ()
    ]
    return joined(
        bullets("Verdicts", verdicts),
        bullets("Asked of the own models, over HTTP", answers),
        plain_table(step_table(record.get("steps") or ())),
        _report_line(record),
    )


def _report_line(record: Mapping[str, Any]) -> str:  # Any: JSON
    """Where the page lies, on one line however long, so that it can be copied."""
    report = record.get("report")
    return f"Report: {visible(report, 4096)}" if report else ""
