"""Cost records and verdicts by volume as tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from freehold.economics.scenario import GIVEN
from freehold.report.cost_findings import words_of
from freehold.report.findings import OPTIONS, spread, verdict_words, volume_range
from freehold.report.numbers import bill_usd, interval, number, plain_number, queries, share, usd, volume
from freehold.report.tables import Column, Table
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


_NOTHING = frozenset({"–", "$0"})


def option_table(cost: Mapping[str, Any], *, with_chance: bool = False, with_ways: bool = False) -> Table:  # Any: JSON
    """What a month costs by each option, how often it is the cheapest, and from where each way to own pays."""
    options = list(cost.get("options") or ())
    compared = with_chance and any(number(each.get("probability_cheapest")) is not None for each in options)
    is_less = any(number(each.get("premium_usd_per_month")) for each in options)
    return Table(
        f"Cost of a month at {queries(cost.get('queries_per_month'))} queries",
        (
            Column("option"),
            Column("what"),
            Column("median", is_number=True),
            Column("90 % of draws", is_number=True),
            Column("less premium" if is_less else "a query", is_number=True),
            *((Column("cheapest of all", is_number=True),) if compared else ()),
            *((Column("pays from", is_number=True), Column("beats renting", is_number=True)) if with_ways else ()),
        ),
        tuple(
            (
                _option_words(each),
                visible(each.get("label") or "–", 60),
                bill_usd(spread(each.get("usd_per_month"))[1]),
                interval(*spread(each.get("usd_per_month"))[::2], bill_usd),
                usd(spread(each.get("compared_usd_per_month" if is_less else "usd_per_query"))[1]),
                *((share(each.get("probability_cheapest")),) if compared else ()),
                *(_paying(each) if with_ways else ()),
            )
            for each in options
        ),
    )


def term_table(cost: Mapping[str, Any]) -> Table:  # Any: JSON
    """What the month of each option consists of, every assumption at its typical value."""
    priced = [each for each in cost.get("options") or () if each.get("terms")]
    by_option = [{term.get("name"): term.get("usd_per_month") for term in each["terms"]} for each in priced]
    names = dict.fromkeys(name for terms in by_option for name in terms)
    rows = [(visible(name, 60), *(usd(terms[name]) if name in terms else "–" for terms in by_option)) for name in names]
    shown = [row for row in rows if any(cell not in _NOTHING for cell in row[1:])]
    total = ("together", *(usd(each.get("closed_form_usd_per_month")) for each in priced))
    premiums = [number(each.get("premium_usd_per_month")) or 0.0 for each in priced]
    less = [
        ("premium for sovereignty, on no bill", *(usd(-premium) if premium else "–" for premium in premiums)),
        ("compared at", *(usd(_less(each, premium)) for each, premium in zip(priced, premiums, strict=True))),
    ]
    return Table(
        "What a month consists of at typical values (the medians above allow for their spread)",
        (Column("term"), *(Column(_option_words(each), is_number=True) for each in priced)),
        (*shown, total, *(less if any(premiums) else ())) if rows else (),
    )


def _less(each: Mapping[str, Any], premium: float) -> float | None:  # Any: JSON
    month = number(each.get("closed_form_usd_per_month"))
    return None if month is None else month - premium


def ways_table(cost: Mapping[str, Any]) -> Table:  # Any: JSON
    """From where each way to own pays, and how often it does today; nothing where there is one way alone."""
    ways = [each for each in cost.get("options") or () if number(each.get("probability_beats_renting")) is not None]
    rows = tuple(
        (
            _option_words(each),
            _reached(spread(each.get("breakeven_queries_per_month"))[1]),
            _range(*spread(each.get("breakeven_queries_per_month"))[::2]),
            share(each.get("probability_beats_renting")),
        )
        for each in ways
    )
    return Table(
        "From how many queries a month each way to own pays, and how often it beats renting today",
        (
            Column("way"),
            Column("pays from", is_number=True),
            Column("90 % of draws", is_number=True),
            Column("beats renting", is_number=True),
        ),
        rows if len(rows) > 1 else (),
    )


def _paying(each: Mapping[str, Any]) -> tuple[str, str]:  # Any: JSON
    if number(each.get("probability_beats_renting")) is None:
        return "–", "–"
    return _reached(spread(each.get("breakeven_queries_per_month"))[1]), share(each.get("probability_beats_renting"))


def _range(low: Any, high: Any) -> str:  # Any: JSON
    return "–" if number(low) is None else volume_range(low, high)


def _option_words(option: Mapping[str, Any]) -> str:  # Any: JSON
    return OPTIONS.get(str(option.get("name")), visible(option.get("name"), 48))


def waterfall_table(cost: Mapping[str, Any]) -> Table:  # Any: JSON
    """The break-even as terms are added; terms that move nothing are left out."""
    rows: list[tuple[str, ...]] = []
    before: Any = None  # Any: JSON
    for each in cost.get("waterfall") or ():
        here = each.get("breakeven_queries_per_month_p50")
        if not rows or here != before:
            typical = volume(each.get("breakeven_queries_per_month"))
            rows.append((visible(each.get("name"), 60), _reached(here), typical if number(here) else "–"))
        before = here
    return Table(
        "Break-even volume as terms are added",
        (Column("with"), Column("median", is_number=True), Column("at typical values", is_number=True)),
        tuple(rows),
    )


def sensitivity_table(cost: Mapping[str, Any], *, most: int = 8) -> Table:  # Any: JSON
    """What matters most: one number at its 5th and 95th percentile, all others typical."""
    return Table(
        "What matters most (break-even volume, one number at its 5th and 95th percentile)",
        (
            Column("number"),
            Column("from", is_number=True),
            Column("to", is_number=True),
            Column("break-even from", is_number=True),
            Column("to", is_number=True),
        ),
        tuple(
            (
                words_of(each.get("name")),
                plain_number(each.get("low"), 3),
                plain_number(each.get("high"), 3),
                _reached(each.get("breakeven_queries_per_month_at_low")),
                _reached(each.get("breakeven_queries_per_month_at_high")),
            )
            for each in (cost.get("sensitivity") or ())[:most]
        ),
    )


def _reached(queries: Any) -> str:  # Any: JSON
    return "never" if number(queries) is None else volume(queries)


def volume_table(decision: Mapping[str, Any]) -> Table:  # Any: JSON
    """The verdict of the same rules at other volumes."""
    return Table(
        "The same rules at other volumes",
        (Column("queries a month", is_number=True), Column("verdict")),
        tuple(
            (volume(each.get("queries_per_month")), verdict_words(each.get("verdict")))
            for each in decision.get("verdicts_by_volume") or ()
        ),
    )


def curve_table(cost: Mapping[str, Any], *, every: int = 1) -> Table:  # Any: JSON
    """The points of the cost chart, or each `every`th of them."""
    return Table(
        "Cost of a month by volume, US dollars",
        (
            Column("queries a month", is_number=True),
            Column("renting", is_number=True),
            Column("owning, median", is_number=True),
            Column("owning, 90 % of draws", is_number=True),
        ),
        tuple(
            (
                volume(each.get("queries_per_month")),
                usd(each.get("rent")),
                usd(each.get("own_p50")),
                interval(each.get("own_p5"), each.get("own_p95"), usd),
            )
            for each in (cost.get("curve") or ())[::every]
        ),
    )


@dataclass(frozen=True, slots=True)
class Line:
    """One number of the model where room is short."""

    name: str
    value: str
    """With its unit."""
    source: str
    """Beginning with `assumption` where it is one."""


def assumption_lines(assumptions: Iterable[Mapping[str, Any]]) -> tuple[Line, ...]:  # Any: JSON
    """The same as `assumption_table`, each number as one line of text."""
    lines = []
    for each in assumptions:
        source = visible(each.get("source"), 400)
        if each.get("is_assumption") and not source.startswith("assumption"):
            source = f"assumption: {source}"
        value = f"{_assumed(each.get('value'))} {visible(each.get('unit'), 60)}"
        lines.append(Line(visible(each.get("name"), 48), value, source))
    return tuple(lines)


def settled_assumptions(
    assumptions: Iterable[Mapping[str, Any]],
) -> tuple[list[Mapping[str, Any]], str]:  # Any: JSON
    """The numbers that say something, and the names of those that nobody gave and that therefore say nothing."""
    telling, unused = [], []
    for each in assumptions:
        if str(each.get("source")).startswith("not ") and each.get("is_assumption") and each.get("value") in (0, 1):
            unused.append(visible(each.get("name"), 48))
        else:
            telling.append(each)
    return telling, ", ".join(unused)


def assumption_table(assumptions: Iterable[Mapping[str, Any]], *, with_source: bool) -> Table:  # Any: JSON
    """What was assumed beside the traffic; a range is low / typical / high."""
    source = (Column("source"),) if with_source else ()
    return Table(
        "Numbers behind the costs (low / typical / high where they vary)",
        (Column("name"), Column("value", is_number=True), Column("unit"), Column("status"), *source),
        tuple(
            (
                visible(each.get("name"), 48),
                _assumed(each.get("value")),
                visible(each.get("unit"), 60),
                _status(each),
                *((visible(each.get("source"), 400),) if with_source else ()),
            )
            for each in assumptions
        ),
    )


def _status(assumption: Mapping[str, Any]) -> str:  # Any: JSON
    if assumption.get("is_assumption"):
        return "assumption"
    return "given" if str(assumption.get("source")).startswith(GIVEN) else "measured, published"


def _assumed(value: Any) -> str:  # Any: JSON
    if isinstance(value, list | tuple):
        return " / ".join(plain_number(part) for part in value)
    return plain_number(value) if number(value) is not None or value is None else visible(value)
