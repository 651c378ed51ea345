"""Records as tables, the same for the terminal and the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from freehold.report.findings import (
    METRICS,
    comparison_finding,
    margin_words,
)
from freehold.report.numbers import (
    bare_points,
    count,
    duration,
    interval,
    milliseconds,
    number,
    plain_number,
    share,
    usd,
    volume,
)
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Column:
    """Head of a column."""

    name: str
    is_number: bool = False
    """Numbers stand to the right."""


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text. The first cell of a row names the row."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]


def contender_table(evaluation: Mapping[str, Any]) -> Table:  # Any: JSON
    """Every contender with its value and interval, the best first."""
    metric = METRICS.get(str(evaluation.get("metric")), visible(evaluation.get("metric")))
    level = confidence_words(evaluation.get("confidence"))
    contenders = ranked(evaluation)
    return Table(
        f"All contenders on the same {count(evaluation.get('n'))} held-out cases, {level}",
        (
            Column("contender"),
            Column("kind"),
            Column(metric, is_number=True),
            Column("interval", is_number=True),
            Column("wrong form", is_number=True),
            Column("cases", is_number=True),
        ),
        tuple(
            (
                visible(each.get("name"), 48),
                visible(each.get("kind")),
                share(each.get("value")),
                interval(each.get("ci_low"), each.get("ci_high"), share),
                share(each.get("invalid_share")),
                count(each.get("n", evaluation.get("n"))),
            )
            for each in contenders
        ),
    )


def ranked(evaluation: Mapping[str, Any]) -> list[Mapping[str, Any]]:  # Any: JSON
    """Contenders and the cascade of two of them, the best first."""
    contenders = list(evaluation.get("contenders") or ())
    cascade = evaluation.get("cascade")
    if cascade:
        contenders.append({**cascade, "name": cascade_name(cascade), "kind": "hybrid"})
    return sorted(contenders, key=lambda each: -(number(each.get("value")) or 0.0))


def all_comparisons(evaluation: Mapping[str, Any]) -> list[Mapping[str, Any]]:  # Any: JSON
    """Comparisons of contenders, then that of the cascade."""
    cascade = evaluation.get("cascade")
    last = [{**(cascade.get("comparison") or {}), "candidate": cascade_name(cascade)}] if cascade else []
    return [*(evaluation.get("comparisons") or ()), *last]


def cascade_name(cascade: Mapping[str, Any]) -> str:  # Any: JSON
    """The mixture of own and rented, with the share of cases that the rented model answers."""
    return f"own, {share(cascade.get('escalated_share'))} to rented"


def comparison_table(evaluation: Mapping[str, Any]) -> Table:  # Any: JSON
    """Paired differences with their interval and what it means."""
    comparisons = all_comparisons(evaluation)
    margin, level = margin_words(evaluation.get("margin")), confidence_words(evaluation.get("confidence"))
    tasks = evaluation.get("tasks_compared") or 1
    shared = "" if tasks == 1 else f", widened for {count(tasks)} tasks judged together"
    return Table(
        f"Differences case by case, {margin} allowed, {level}{shared}",
        (
            Column("candidate"),
            Column("against"),
            Column("points", is_number=True),
            Column("interval", is_number=True),
            Column("cases", is_number=True),
            Column("finding"),
        ),
        tuple(
            (
                visible(each.get("candidate"), 48),
                visible(each.get("against"), 48),
                bare_points(each.get("difference")),
                interval(each.get("ci_low"), each.get("ci_high"), bare_points),
                count(each.get("n")),
                comparison_finding(each),
            )
            for each in comparisons
        ),
    )


def confusion_table(evaluation: Mapping[str, Any]) -> Table:  # Any: JSON
    """What the own model gets wrong most often; without an own model, what every contender does."""
    own = {each.get("name") for each in evaluation.get("contenders") or () if each.get("kind") == "own"}
    confusions = [each for each in evaluation.get("confusions") or () if not own or each.get("contender") in own]
    is_labels = any(each.get("given") is not None for each in confusions)
    what = "Labels most often confused" if is_labels else "Fields most often wrong"
    names = (Column("right label"), Column("given instead")) if is_labels else (Column("field"),)
    return Table(
        f"{what}, {'own model' if own else 'all contenders'}",
        (*names, *(() if own else (Column("contender"),)), Column("cases", is_number=True)),
        tuple(
            (
                visible(each.get("target"), 48),
                *((visible(each.get("given"), 48),) if is_labels else ()),
                *(() if own else (visible(each.get("contender"), 48),)),
                count(each.get("count")),
            )
            for each in confusions
        ),
    )


def row_table(dataset: Mapping[str, Any]) -> Table:  # Any: JSON
    """Rows of a dataset by split, then those left out by reason."""
    used = [(split, count(rows), "used") for split, rows in (dataset.get("rows") or {}).items()]
    left_out = [(visible(reason), count(rows), "left out") for reason, rows in exclusions(dataset)]
    return Table(
        "Rows of the dataset",
        (Column("split or reason"), Column("rows", is_number=True), Column("use")),
        (*used, *left_out),
    )


def provenance_table(dataset: Mapping[str, Any]) -> Table:  # Any: JSON
    """Who gave the answers that train and test, by split."""
    by_split = dataset.get("provenance_by_split") or dataset.get("provenance") or {}
    kinds = dict.fromkeys(kind for counts in by_split.values() for kind in counts)
    return Table(
        "Who gave the answers",
        (Column("answers"), *(Column(visible(split), is_number=True) for split in by_split)),
        tuple((visible(kind), *(count(counts.get(kind, 0)) for counts in by_split.values())) for kind in kinds),
    )


def exclusions(dataset: Mapping[str, Any]) -> list[tuple[str, Any]]:  # Any: JSON
    """Reason and rows left out, however the record writes them."""
    excluded = dataset.get("excluded") or ()
    if hasattr(excluded, "items"):
        return list(excluded.items())
    return [(each.get("reason"), each.get("rows")) for each in excluded]


def traffic_table(audit: Mapping[str, Any], *, with_days: bool = True) -> Table:  # Any: JSON
    """How much is asked of the rented model, by task; what own models answered stands beside."""
    return Table(
        "Rented traffic by task, own: calls of own models; tokens are means of a call",
        (
            Column("task"),
            *([Column("period")] if with_days else []),
            Column("calls", is_number=True),
            Column("own", is_number=True),
            Column("a month", is_number=True),
            Column("in", is_number=True),
            Column("out", is_number=True),
            Column("cached", is_number=True),
            Column("failed", is_number=True),
        ),
        tuple(
            (
                visible(each.get("task"), 48),
                *([_period(each)] if with_days else []),
                count(each.get("calls")),
                count(each.get("own_calls")),
                volume(each.get("calls_per_month")),
                _mean_tokens(each, "input_mean"),
                _mean_tokens(each, "output_mean"),
                share(each.get("cached_share")),
                count(each.get("errors")),
            )
            for each in audit.get("tasks") or ()
        ),
    )


def _period(task: Mapping[str, Any]) -> str:  # Any: JSON
    if not (task.get("first_day") or task.get("last_day")):
        return "no dates"
    return f"{visible(task.get('first_day') or '?')} to {visible(task.get('last_day') or '?')}"


def spending_table(audit: Mapping[str, Any]) -> Table:  # Any: JSON
    """What was paid, how fast the answers came and how the traffic moves, by task."""
    return Table(
        "Cost, speed and rhythm by task",
        (
            Column("task"),
            Column("cost in the log", is_number=True),
            Column("a call", is_number=True),
            Column("no price", is_number=True),
            Column("p95 latency", is_number=True),
            Column("2nd half", is_number=True),
            Column("peak hour", is_number=True),
            Column("corrected", is_number=True),
        ),
        tuple(
            (
                visible(each.get("task"), 48),
                usd(each.get("cost_usd")),
                usd(each.get("cost_per_call_usd")),
                count((each.get("unpriced") or {}).get("calls")),
                milliseconds((each.get("latency_ms") or {}).get("p95")),
                share(each.get("growth")),
                plain_number(each.get("burstiness"), 3),
                share(each.get("corrected_share")),
            )
            for each in audit.get("tasks") or ()
        ),
    )


def _mean_tokens(task: Mapping[str, Any], name: str) -> str:  # Any: JSON
    return count((task.get("tokens") or {}).get(name))


def step_table(steps: Iterable[Mapping[str, Any]]) -> Table:  # Any: JSON
    """What was done, and how long each step took."""
    return Table(
        "What each step took",
        (Column("step"), Column("time", is_number=True), Column("result")),
        tuple(
            (
                visible(each.get("name"), 60),
                duration(each.get("seconds")),
                "done" if each.get("ok") else "failed",
            )
            for each in steps
        ),
    )


def confidence_words(confidence: Any) -> str:  # Any: JSON
    """95 % intervals, or intervals of unknown level."""
    level = number(confidence)
    return "intervals" if level is None else f"{100 * level:g} % intervals"
