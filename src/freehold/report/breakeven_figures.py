"""A cost record as three figures: cost against volume, what each term adds, and what matters most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.report._bars import BarChart, BarRow, Segment, bar_chart
from freehold.report._cost_chart import short_number
from freehold.report.cost_findings import words_of
from freehold.report.figures import Figure, Key, cost_figure
from freehold.report.findings import spread
from freehold.report.numbers import count, number, plain_number, volume

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_AROUND = 30.0
"""The chart reaches this far beyond today's volume and the break-even."""

_MOST_BARS = 9
_SMALL = 0.004
"""A step that moves the break-even by less is left out."""


def volume_figure(cost: Mapping[str, Any]) -> Figure | None:  # Any: JSON
    """Cost of a month against its volume, around today's volume and the break-even."""
    low, middle, high = (number(each) for each in spread(cost.get("breakeven_queries_per_month")))
    today = number(cost.get("queries_per_month"))
    marks = [each for each in (today, low, middle, high) if each]
    if not marks:
        return cost_figure(cost)
    first, last = min(marks) / _AROUND, max(marks) * _AROUND
    points = [
        each for each in cost.get("curve") or () if first <= (number(each.get("queries_per_month")) or 0.0) <= last
    ]
    return cost_figure({**cost, "curve": points} if len(points) > 2 else cost)


def waterfall_figure(cost: Mapping[str, Any]) -> Figure | None:  # Any: JSON
    """Break-even volume as terms are added, medians of the draws; None without steps or where the first never pays."""
    steps = [(str(each.get("name")), _median(each)) for each in cost.get("waterfall") or ()]
    if not steps or steps[0][1] is None:
        return None
    rows = [_whole_bar(steps[0][0], steps[0][1])]
    before = steps[0][1]
    never = ""
    for name, here in steps[1:]:
        if here is None:
            never = name
            rows.append(_step_bar(name, before, None, "never pays"))
            break
        if abs(here - before) > _SMALL * before:
            sign = "+" if here > before else "−"
            rows.append(_step_bar(name, before, here, f"{sign}{volume(abs(here - before))}"))
        before = here
    else:
        rows.append(_whole_bar("the whole model", before))
    times = before / steps[0][1]
    ratio = count(times) if times >= 10 else plain_number(times, 2)
    title = f"All terms together move the break-even to {ratio} times that of the machines alone."
    if never:
        title = f"Once {never} counts, no volume pays in most of the draws."
    chart = BarChart(label=title, tick_text=short_number)
    return Figure(
        title=title,
        caption="Break-even in queries a month, medians of the draws; each term is added to those above it.",
        wide=bar_chart(rows, chart, narrow=False),
        narrow=bar_chart(rows, chart, narrow=True),
    )


def tornado_figure(cost: Mapping[str, Any]) -> Figure | None:  # Any: JSON
    """What one number alone does to the break-even; where none is reached, to the money at today's volume."""
    bars: Sequence[Mapping[str, Any]] = (cost.get("sensitivity") or ())[:_MOST_BARS]  # Any: JSON
    if not bars:
        return None
    centre = number((cost.get("breakeven_closed_form") or {}).get("first"))
    found = _volume_rows(bars, centre) if centre else _money_rows(bars)
    rows, chart = found
    title = f"What matters most: {words_of(bars[0].get('name'))}."
    what = "Break-even in queries a month" if centre else "Renting minus owning, $ a month at today's volume"
    return Figure(
        title=title,
        caption=f"{what}, one number moved from its 5th to its 95th percentile, all others typical.",
        wide=bar_chart(rows, chart, narrow=False),
        narrow=bar_chart(rows, chart, narrow=True),
        keys=(Key(style="bar own", text="at its low end"), Key(style="bar rented", text="at its high end")),
    )


def _volume_rows(bars: Sequence[Mapping[str, Any]], centre: float) -> tuple[list[BarRow], BarChart]:
    rows = []
    for each in bars:
        low, high = (number(each.get(f"breakeven_queries_per_month_at_{side}")) for side in ("low", "high"))
        rows.append(_tornado_row(each, low, high, centre))
    chart = BarChart(label="Tornado of the break-even", tick_text=short_number, logarithmic=True, centre=centre)
    return rows, chart


def _money_rows(bars: Sequence[Mapping[str, Any]]) -> tuple[list[BarRow], BarChart]:
    ends = [[number(each.get(f"saved_usd_per_month_at_{side}")) or 0.0 for side in ("low", "high")] for each in bars]
    centre = ends[0][0] / 2 + ends[0][1] / 2
    rows = [_tornado_row(each, low, high, centre) for each, (low, high) in zip(bars, ends, strict=True)]
    return rows, BarChart(label="Tornado of the saving", tick_text=_short_usd)


def _short_usd(tick: float) -> str:
    return f"{'−' if tick < 0 else ''}${short_number(abs(tick))}"


def _tornado_row(each: Mapping[str, Any], low: float | None, high: float | None, centre: float) -> BarRow:
    """Two parts from the centre: to where the number is low, and to where it is high."""
    marks = [_end_text(each.get(side), end) for side, end in (("low", low), ("high", high))]
    is_low_left = high is None or (low is not None and low <= high)
    left, right = marks if is_low_left else reversed(marks)
    return BarRow(
        name=words_of(each.get("name")),
        segments=(Segment(centre, low, "bar own"), Segment(centre, high, "bar rented")),
        left_text=left,
        right_text=right,
    )


def _end_text(value: Any, end: float | None) -> str:  # Any: JSON
    return f"{_brief(value)}{': never' if end is None else ''}"


def _brief(value: Any) -> str:  # Any: JSON
    """Three significant digits, thousands as 126k."""
    amount = number(value) or 0.0
    return short_number(float(f"{amount:.3g}"))


def _step_bar(name: str, start: float, end: float | None, text: str) -> BarRow:
    style = "bar rented" if end is None or end > start else "bar own"
    return BarRow(name=name, segments=(Segment(start, end, style),), right_text=text)


def _whole_bar(name: str, value: float) -> BarRow:
    return BarRow(name=name, segments=(Segment(0.0, value, "bar total"),), right_text=volume(value))


def _median(step: Mapping[str, Any]) -> float | None:  # Any: JSON
    return number(step.get("breakeven_queries_per_month_p50"))
