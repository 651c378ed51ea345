"""The audit's three pictures: spend over time, volume against replaceability, the hours of the week."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from freehold.report._spend_chart import SpendChart, heat_map, spend_chart
from freehold.report._volume_chart import Bubble, VolumeChart, volume_chart
from freehold.report.figures import Figure, Key
from freehold.report.numbers import NOT_MEASURED, brief_usd, count, number, share, usd, volume
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_SERIES = 6
"""Tasks with a colour of their own; the others are one band."""
_MOST_BARS = 92
_MOST_BUBBLES = 200
_TIERS = (100_000.0, 500_000.0)


def spend_figure(record: Mapping[str, Any]) -> Figure | None:  # Any: JSON
    """Cost a day, week or month by task; calls where no cost is known. None without dated calls."""
    tasks = [each for each in record.get("tasks") or () if each.get("by_day")]
    is_priced = any(number(each.get("cost_usd")) for each in tasks)
    field = "cost_usd" if is_priced else "calls"
    days = {
        visible(each.get("task"), 60): {
            date.fromisoformat(day["day"]): number(day.get(field)) or 0.0
            for day in each["by_day"]
            if day["day"] != "undated"
        }
        for each in tasks
    }
    seen = [day for values in days.values() for day in values]
    if not seen:
        return None
    name, start_of = _bars(min(seen), max(seen))
    starts = _starts(min(seen), max(seen), start_of)
    order = sorted(days, key=lambda task: (-sum(days[task].values()), task))
    kept, rest = order[:_SERIES], order[_SERIES:]
    bands = [(task, [task]) for task in kept] + ([(f"{len(rest)} others", rest)] if rest else [])
    parts = tuple(_summed([days[task] for task in members], starts, start_of) for _, members in bands)
    first = order[0]
    whole = sum(sum(each.values()) for each in days.values())
    title = (
        f"{first} is {share(sum(days[first].values()) / whole)} of {'what was spent' if is_priced else 'all calls'}"
        if whole
        else "Nothing was spent"
    )
    chart = SpendChart(
        label=title,
        unit=f"{'US dollars' if is_priced else 'calls'} a {name}",
        times=tuple(_day_words(start, name) for start in starts),
        parts=parts,
        tick_text=brief_usd if is_priced else volume,
    )
    what = (
        "Each call at the price of its own day; calls without a price are not in it."
        if is_priced
        else "No cost is known."
    )
    return Figure(
        title=title,
        caption=f"{what} Days are UTC; the first and the last {name} may be cut.",
        wide=spend_chart(chart, narrow=False),
        narrow=spend_chart(chart, narrow=True),
        keys=tuple(Key(style=f"series s{place}", text=task) for place, (task, _) in enumerate(bands)),
    )


def replaceability_figure(record: Mapping[str, Any]) -> Figure | None:  # Any: JSON
    """Tasks by volume and replaceability; None where no volume is known."""
    tasks = [each for each in record.get("tasks") or () if number(each.get("calls_per_month"))]
    if not tasks:
        return None
    dearest = max((number(each.get("usd_per_month")) or 0.0 for each in tasks), default=0.0)
    tasks = sorted(tasks, key=lambda each: (-(number(each.get("usd_per_month")) or 0.0), -each["calls_per_month"]))
    bubbles = tuple(
        Bubble(
            name=visible(each.get("task"), 40),
            calls_per_month=max(1.0, each["calls_per_month"]),
            replaceability=number(each.get("replaceability")),
            weight=(number(each.get("usd_per_month")) or 0.0) / dearest if dearest else 0.0,
            title=f"{visible(each.get('task'), 60)}: {volume(each['calls_per_month'])} calls a month, "
            f"{share(each.get('replaceability'))} replaceable, {usd(each.get('usd_per_month'))} a month",
        )
        for each in tasks[:_MOST_BUBBLES]
    )
    many = [each for each in tasks if each["calls_per_month"] > _TIERS[1]]
    ready = [each for each in tasks if (number(each.get("replaceability")) or 0.0) >= 0.8 and each in many]
    title = (
        f"{len(ready)} of {len(tasks)} tasks {'has' if len(ready) == 1 else 'have'} a high volume and ordinary answers"
        if any(number(each.get("replaceability")) is not None for each in tasks)
        else f"{len(many)} of {len(tasks)} tasks {'has' if len(many) == 1 else 'have'} a high volume; how ordinary "
        "they are, a log without answers does not tell"
    )
    chart = VolumeChart(label=title, bubbles=bubbles, tiers=_TIERS)
    return Figure(
        title=title,
        caption="The larger a dot, the more a month costs. Tiers are those of the article: 100,000 and 500,000 calls a "
        "month; where owning pays for a task, the table says.",
        wide=volume_chart(chart, narrow=False),
        narrow=volume_chart(chart, narrow=True),
    )


def week_figure(record: Mapping[str, Any]) -> Figure | None:  # Any: JSON
    """Calls by hour of the week; None without dated calls."""
    week = (record.get("week") or {}).get("calls") or {}
    total = sum(map(sum, week.values()))
    if not total:
        return None
    days = [name.capitalize() for name in week]
    values = [[float(each) for each in hours] for hours in week.values()]
    cost: Mapping[str, Sequence[float | None]] = record["week"].get("cost_usd") or {}
    titles = [
        [
            f"{day.capitalize()} {hour:02d} h: {count(calls)} calls, {_cost(cost, day, hour)}"
            for hour, calls in enumerate(hours)
        ]
        for day, hours in week.items()
    ]
    busiest = max(((day, hour) for day in week for hour in range(24)), key=lambda at: week[at[0]][at[1]])
    mean = total / 168
    title = (
        f"The busiest hour is {busiest[0].capitalize()} {busiest[1]:02d} h UTC, "
        f"{week[busiest[0]][busiest[1]] / mean:.1f} times the mean"
    )
    unknown = number(record["week"].get("calls_without_hour")) or 0
    left_out = f" {count(unknown)} calls are in no cell: their day alone is known." if unknown else ""
    return Figure(
        title=title,
        caption="Calls by weekday and hour, UTC, over the whole log; the darkest cell is the busiest hour." + left_out,
        wide=heat_map(values, days, titles, label=title, narrow=False),
        narrow=heat_map(values, days, titles, label=title, narrow=True),
    )


def _cost(cost: Mapping[str, Sequence[float | None]], day: str, hour: int) -> str:
    hours = cost.get(day) or ()
    known = hours[hour] if hour < len(hours) else None
    return f"cost {NOT_MEASURED}" if known is None else usd(known)


def _bars(first: date, last: date) -> tuple[str, Callable[[date], date]]:
    days = (last - first).days + 1
    if days <= _MOST_BARS:
        return "day", lambda day: day
    if days <= 7 * _MOST_BARS:
        return "week", lambda day: day - timedelta(days=day.weekday())
    return "month", lambda day: day.replace(day=1)


def _starts(first: date, last: date, start_of: Callable[[date], date]) -> list[date]:
    """First days of all bars, empty ones among them."""
    days = (start_of(first + timedelta(days=step)) for step in range((last - first).days + 1))
    return list(dict.fromkeys(days))


def _summed(
    days: Sequence[Mapping[date, float]], starts: Sequence[date], start_of: Callable[[date], date]
) -> tuple[float, ...]:
    sums: defaultdict[date, float] = defaultdict(float)
    for values in days:
        for day, value in values.items():
            sums[start_of(day)] += value
    return tuple(sums[start] for start in starts)


def _day_words(day: date, name: str) -> str:
    return f"{day:%b %Y}" if name == "month" else f"{day.day} {day:%b}"
