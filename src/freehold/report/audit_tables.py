"""The audit's record as tables and sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.report.ledger_tables import counted
from freehold.report.numbers import brief_usd, count, exact, interval, milliseconds, number, share, usd, volume
from freehold.report.tables import Column, Table
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ACTIONS = {
    "exact-cache": "answer equal requests from a cache",
    "prompt-caching": "use the provider's prompt caching",
    "batch": "send what can wait in batches",
    "cheaper-model": "try a cheaper model",
    "own": "own the model",
    "fewer-failures": "lose less to failures",
}
CERTAINTIES = {
    "measured": "counted in the log",
    "sampled": "from a sample",
    "if-it-can-wait": "if it can wait",
    "if-good-enough": "if good enough",
}
TIERS = {"low": "low", "mid": "mid", "high": "high"}
_FIRST_STEPS, _FIRST_TASKS = 10, 15


def audit_sentence(record: Mapping[str, Any]) -> str:  # Any: JSON
    """The whole in one sentence: what was spent on how many calls of how many tasks, and what to do first."""
    total, period = record.get("total") or {}, record.get("period") or {}
    tasks = [each for each in record.get("tasks") or () if each.get("calls")]
    spent = "cost unknown" if number(total.get("cost_usd")) is None else usd(total.get("cost_usd"))
    said = f"{counted(total.get('calls'), 'rented call')} of {counted(len(tasks), 'task')}, {spent}"
    if period.get("first_day"):
        said += f", from {visible(period['first_day'])} to {visible(period['last_day'])}"
    return said + (
        f"; {counted(total['unpriced_calls'], 'call')} without a price" if total.get("unpriced_calls") else ""
    )


def first_sentence(record: Mapping[str, Any]) -> str:  # Any: JSON
    """What to do first; empty when nothing is worth doing."""
    ranking = record.get("ranking") or ()
    if not ranking:
        return ""
    first = ranking[0]
    return (
        f"First: {ACTIONS.get(str(first.get('action')), visible(first.get('action')))} for "
        f"{visible(first.get('task'), 48)}, worth {usd(first.get('usd_per_month'))} a month "
        f"({CERTAINTIES.get(str(first.get('certainty')), '')})"
    )


def headline(record: Mapping[str, Any]) -> str:  # Any: JSON
    """What to do first, or why there is nothing to say."""
    total = record.get("total") or {}
    if not record.get("ranking") and total.get("calls") and total.get("cost_usd") is None:
        return "What these calls cost is not known, so nobody can say what is worth doing"
    return first_sentence(record) or "Nothing was found that is worth doing"


def ranking_table(record: Mapping[str, Any], *, everything: bool = True) -> Table:  # Any: JSON
    """What to do, the surest and largest first."""
    steps: Sequence[Mapping[str, Any]] = record.get("ranking") or ()  # Any: JSON
    shown = steps if everything else steps[:_FIRST_STEPS]
    return Table(
        "What to do first; savings of one task overlap and do not add up",
        (
            Column("", is_number=True),
            Column("task"),
            Column("do"),
            Column("worth a month", is_number=True),
            Column("how sure"),
        ),
        tuple(
            (
                exact(each.get("rank")),
                visible(each.get("task"), 40),
                ACTIONS.get(str(each.get("action")), visible(each.get("action"))),
                usd(each.get("usd_per_month")),
                CERTAINTIES.get(str(each.get("certainty")), visible(each.get("certainty"))),
            )
            for each in shown
        ),
    )


def savings_table(record: Mapping[str, Any]) -> Table:  # Any: JSON
    """What could be saved today, by task."""
    return Table(
        f"A month at the prices of {visible(record.get('prices_as_of', '?'))}, and what could be saved today",
        (
            Column("task"),
            Column("costs", is_number=True),
            Column("asked before", is_number=True),
            Column("cache", is_number=True),
            Column("prompt caching", is_number=True),
            Column("batch", is_number=True),
            Column("cheaper model", is_number=True),
            Column("owning", is_number=True),
        ),
        tuple(
            (
                visible(each.get("task"), 40),
                usd(each.get("usd_per_month")),
                share(each.get("cacheable_share")),
                usd(each.get("cache_saving_usd")),
                usd(each.get("prompt_caching_saving_usd")),
                usd(each.get("batch_saving_usd")),
                usd(each.get("cheaper_saving_usd")),
                usd((each.get("owning") or {}).get("saved_usd_per_month")),
            )
            for each in _tasks(record)
        ),
    )


def kind_table(record: Mapping[str, Any]) -> Table:  # Any: JSON
    """Volume, growth a month, forecast and how ordinary each task is. A growth that may be none is not clear."""
    return Table(
        "Volume a month with 90 % interval, the back-test's error, busiest minute over the mean, replaceability",
        (
            Column("task"),
            Column("kind"),
            Column("tier"),
            Column("growth/month", is_number=True),
            Column("calls in month 3", is_number=True),
            Column("error", is_number=True),
            Column("peak minute", is_number=True),
            Column("replaceable", is_number=True),
        ),
        tuple(
            (
                visible(each.get("task"), 40),
                _kind(each),
                TIERS.get(str(each.get("tier")), "unknown"),
                _growth(each),
                _ahead(each),
                share(((each.get("forecast") or {}).get("backtest") or {}).get("error")),
                _times(each.get("peak_to_mean")),
                share(each.get("replaceability")),
            )
            for each in _tasks(record)
        ),
    )


def speed_table(record: Mapping[str, Any]) -> Table:  # Any: JSON
    """Latency, failures and repeated attempts, by task."""
    return Table(
        "Speed and failures",
        (
            Column("task"),
            Column("p50", is_number=True),
            Column("p95", is_number=True),
            Column("p99", is_number=True),
            Column("first token p95", is_number=True),
            Column("failed", is_number=True),
            Column("retries", is_number=True),
            Column("billed for both", is_number=True),
        ),
        tuple(
            (
                visible(each.get("task"), 40),
                *(_ms(each.get("latency_ms"), name) for name in ("p50", "p95", "p99")),
                _ms(each.get("ttft_ms"), "p95"),
                share(each.get("error_rate")),
                exact(each.get("retries")),
                usd(sum(filter(None, (number(each.get("errors_usd")), number(each.get("retries_usd")))))),
            )
            for each in _tasks(record)
        ),
    )


def shortened(record: Mapping[str, Any]) -> tuple[dict[str, Any], int]:  # Any: JSON
    """The record with the largest tasks alone, and how many were left out."""
    tasks = list(record.get("tasks") or ())
    by_size = sorted(tasks, key=lambda each: (-(number(each.get("cost_usd")) or 0.0), -(each.get("calls") or 0)))
    kept = {id(each) for each in by_size[:_FIRST_TASKS]}
    return {**record, "tasks": [each for each in tasks if id(each) in kept]}, max(0, len(tasks) - _FIRST_TASKS)


def month_words(record: Mapping[str, Any]) -> str:  # Any: JSON
    """What all tasks together cost a month at today's prices."""
    known = [number(each.get("usd_per_month")) for each in record.get("tasks") or ()]
    found = [each for each in known if each is not None]
    return brief_usd(sum(found)) if found else "unknown"


def _tasks(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:  # Any: JSON
    return [each for each in record.get("tasks") or () if each.get("calls")]


def _kind(task: Mapping[str, Any]) -> str:  # Any: JSON
    """In the width of a column."""
    return {"classification": "classify", "extraction": "extract", "summarisation": "summarise"}.get(
        str(task.get("kind")), visible(task.get("kind") or "unknown", 16)
    )


def _growth(task: Mapping[str, Any]) -> str:  # Any: JSON
    if number(task.get("growth_per_month")) is None:
        return "unknown"
    ends = task.get("growth_interval") or {}
    low, high = number(ends.get("low")), number(ends.get("high"))
    if low is not None and high is not None and low < 0 < high:
        return "not clear"
    return share(task["growth_per_month"])


def _ahead(task: Mapping[str, Any]) -> str:  # Any: JSON
    months = (task.get("forecast") or {}).get("months") or ()
    last = months[-1] if months else {}
    if number(last.get("calls")) is None:
        return "unknown"
    return f"{volume(last.get('calls'))} ({interval(last.get('low'), last.get('high'), volume)})"


def _times(value: Any) -> str:  # Any: a field of a JSON record
    amount = number(value)
    return "unknown" if amount is None else count(amount) if amount >= 10 else f"{amount:.1f}"


def _ms(latency: Any, name: str) -> str:  # Any: a field of a JSON record
    return milliseconds((latency or {}).get(name))
