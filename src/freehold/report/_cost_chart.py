"""Monthly cost against monthly volume, both on logarithmic axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from freehold.report._svg import Scale, element, line, log_ticks, path, picture, text_width, words
from freehold.report.numbers import queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

_SIZE = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CostPoint:
    """Cost of a month at one volume. None: no price is known, or the option was not computed."""

    queries_per_month: float
    rent_usd: float | None
    own_p5_usd: float | None
    own_p50_usd: float | None
    own_p95_usd: float | None
    hosted_usd: float | None = None
    tuned_usd: float | None = None
    bought_usd: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CostChart:
    """What is marked on the curves."""

    label: str
    points: tuple[CostPoint, ...]
    """By rising volume."""
    today: float | None
    """Queries per month now."""
    breakeven: tuple[float, float] | None
    """p5 and p95 of the volume from which owning is cheaper."""
    stairs: tuple[tuple[float, float], ...] = ()
    """Corners of owning at typical values: volume and cost, by rising volume."""


def cost_chart(chart: CostChart, *, narrow: bool) -> Markup:
    """The figure. It needs two points with a positive cost at least."""
    width, height = (350.0, 330.0) if narrow else (760.0, 360.0)
    xs = [point.queries_per_month for point in chart.points] + ([chart.today] if chart.today else [])
    ys = [cost for point in chart.points for cost in _costs(point) if cost is not None and cost > 0]
    x = Scale(min(xs), max(xs), 66 if narrow else 78, width - 16, logarithmic=True)
    y = Scale(min(ys) / 1.3, max(ys) * 1.3, height - 48, 34, logarithmic=True)
    return picture(
        width,
        height,
        *_breakeven(chart.breakeven, x, y),
        *_axes(x, y, width=width, height=height, narrow=narrow),
        *_curves(chart.points, x, y),
        *_stairs(chart.stairs, x, y),
        *_today(chart.today, x, y, width),
        label=chart.label,
        class_="chart narrow" if narrow else "chart wide",
    )


def _costs(point: CostPoint) -> tuple[float | None, ...]:
    own = (point.own_p5_usd, point.own_p50_usd, point.own_p95_usd)
    return (point.rent_usd, *own, point.hosted_usd, point.tuned_usd, point.bought_usd)


def _breakeven(interval: tuple[float, float] | None, x: Scale, y: Scale) -> list[Markup]:
    """The interval of the break-even volume as far as it lies on the axis."""
    if interval is None or interval[0] > x.high or interval[1] < x.low:
        return []
    start, end = x(interval[0]), x(interval[1])
    return [element("rect", x=start, y=y.end, width=max(2.0, end - start), height=y.start - y.end, class_="band")]


def _axes(x: Scale, y: Scale, *, width: float, height: float, narrow: bool) -> list[Markup]:
    parts: list[Markup] = []
    for tick in log_ticks(x.low, x.high, 4 if narrow else 8):
        text = short_number(tick)
        half = text_width(text, _SIZE) / 2
        parts.append(line(x(tick), y.end, x(tick), y.start, "grid"))
        middle = min(x(tick), width - half - 2)
        parts.append(words(text, middle, y.start + 18, size=_SIZE, anchor="middle", class_="soft"))
    for tick in log_ticks(y.low, y.high, 9):
        parts.append(line(x.start, y(tick), x.end, y(tick), "grid"))
        parts.append(words(f"${short_number(tick)}", x.start - 8, y(tick) + 4, size=_SIZE, anchor="end", class_="soft"))
    parts.append(words("queries per month", x.end, height - 8, size=_SIZE, anchor="end", class_="soft"))
    parts.append(words("$ per month", 4, 14, size=_SIZE, class_="soft"))
    return parts


def _curves(points: Sequence[CostPoint], x: Scale, y: Scale) -> list[Markup]:
    upper = [(x(p.queries_per_month), y(p.own_p95_usd)) for p in points if p.own_p95_usd]
    lower = [(x(p.queries_per_month), y(p.own_p5_usd)) for p in points if p.own_p5_usd]
    parts = []
    if upper and lower:
        parts.append(path([*upper, *reversed(lower)], "area own", closed=True))
    for style, costs in (
        ("curve hosted", [(p.queries_per_month, p.hosted_usd) for p in points]),
        ("curve tuned", [(p.queries_per_month, p.tuned_usd) for p in points]),
        ("curve bought", [(p.queries_per_month, p.bought_usd) for p in points]),
        ("curve own", [(p.queries_per_month, p.own_p50_usd) for p in points]),
        ("curve rented", [(p.queries_per_month, p.rent_usd) for p in points]),
    ):
        seen = [(x(volume), y(cost)) for volume, cost in costs if cost]
        if seen:
            parts.append(path(seen, style))
    return parts


def _stairs(corners: Sequence[tuple[float, float]], x: Scale, y: Scale) -> list[Markup]:
    seen = [(x(volume), y(cost)) for volume, cost in corners if volume <= x.high]
    return [path(seen, "stairs")] if len(seen) > 1 else []


def _today(volume: float | None, x: Scale, y: Scale, width: float) -> list[Markup]:
    if volume is None:
        return []
    text = f"today: {queries(volume)}"
    half = text_width(text, _SIZE) / 2
    middle = min(max(x(volume), text_width("$ per month", _SIZE) + half + 12), width - half - 2)
    return [
        line(x(volume), y.end, x(volume), y.start, "reference"),
        words(text, middle, 14, size=_SIZE, anchor="middle", class_="reference-text"),
    ]


def short_number(tick: float) -> str:
    """A tick as 1k, 10k, 1M, 1bn; below one as it is."""
    sign = "−" if tick < 0 else ""
    for least, unit in ((1e12, "tn"), (1e9, "bn"), (1e6, "M"), (1e3, "k")):
        if abs(tick) >= least * 0.999:
            return f"{sign}{abs(tick) / least:g}{unit}"
    return f"{sign}{abs(tick):g}"
