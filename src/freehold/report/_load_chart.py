"""Load over time, in three panels: calls that arrive, how busy the replicas are, how long a first token takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from freehold.report._svg import Scale, element, even_ticks, line, log_ticks, path, picture, words
from freehold.report.numbers import plain_number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from markupsafe import Markup

_SIZE = 12.0
_PANEL = 96.0
_GAP = 40.0
_TOP = 26.0
_UNITS = ((300.0, 1.0, "seconds"), (10_800.0, 60.0, "minutes"), (345_600.0, 3600.0, "hours"), (0.0, 86_400.0, "days"))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPoint:
    """One window of time."""

    t_s: float
    calls_per_s: float
    busy: float
    kv_peak: float
    ttft_p95_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadChart:
    """Windows of equal width, by time."""

    label: str
    window_s: float
    points: tuple[LoadPoint, ...]
    ttft_goal_ms: float | None


def load_chart(chart: LoadChart, *, narrow: bool) -> Markup:
    """The figure; it needs one window at least."""
    width = 350.0 if narrow else 760.0
    height = _TOP + 3 * _PANEL + 2 * _GAP + 44.0
    end_s = chart.points[-1].t_s + chart.window_s
    unit_s, unit = next((size, name) for most, size, name in _UNITS if end_s <= most or not most)
    x = Scale(0.0, end_s / unit_s, 58.0, width - 12.0)
    tops = [_TOP + index * (_PANEL + _GAP) for index in range(3)]
    panels = (_arrivals, _busy, _first_token)
    parts = [part for panel, top in zip(panels, tops, strict=True) for part in panel(chart, x, unit_s, top)]
    return picture(
        width,
        height,
        *parts,
        *_time_axis(x, unit, tops, height, narrow=narrow),
        label=chart.label,
        class_="chart narrow" if narrow else "chart wide",
    )


def _arrivals(chart: LoadChart, x: Scale, unit_s: float, top: float) -> list[Markup]:
    ticks = even_ticks(0.0, max(point.calls_per_s for point in chart.points) or 1.0, 3)
    y = Scale(0.0, ticks[-1], top + _PANEL, top)
    edge = _steps(chart, x, y, unit_s, lambda point: point.calls_per_s)
    closed = [(edge[0][0], y.start), *edge, (edge[-1][0], y.start)]
    return [
        *_panel("calls a second", ticks, x, y, lambda tick: f"{tick:g}"),
        path(closed, "area own", closed=True),
        path(edge, "curve own thin"),
    ]


def _busy(chart: LoadChart, x: Scale, unit_s: float, top: float) -> list[Markup]:
    y = Scale(0.0, 1.0, top + _PANEL, top)
    edge = _steps(chart, x, y, unit_s, lambda point: point.busy)
    return [
        *_panel(
            "replicas at work (dashed: their memory)",
            [0.0, 0.5, 1.0],
            x,
            y,
            lambda tick: f"{100 * tick:g} %",
        ),
        path([(edge[0][0], y.start), *edge, (edge[-1][0], y.start)], "area own", closed=True),
        path(edge, "curve own thin"),
        path(_steps(chart, x, y, unit_s, lambda point: point.kv_peak), "curve hosted thin"),
    ]


def _first_token(chart: LoadChart, x: Scale, unit_s: float, top: float) -> list[Markup]:
    """Windows without calls leave a gap."""
    seen = [point.ttft_p95_ms for point in chart.points if point.ttft_p95_ms is not None and point.ttft_p95_ms > 0]
    marks = [*seen, *([chart.ttft_goal_ms] if chart.ttft_goal_ms else [])] or [1.0]
    low, high = math.floor(math.log10(min(marks) / 1.1)), math.ceil(math.log10(max(marks) * 1.1))
    y = Scale(10.0**low, 10.0**high, top + _PANEL, top, logarithmic=True)
    parts = _panel("first token, ms (p95)", log_ticks(y.low, y.high, 4), x, y, _milliseconds)
    if chart.ttft_goal_ms:
        at = y(chart.ttft_goal_ms)
        parts.append(line(x.start, at, x.end, at, "reference"))
        goal = f"goal {_milliseconds(chart.ttft_goal_ms)} ms"
        parts.append(words(goal, x.end, at - 5.0, size=_SIZE, anchor="end", class_="reference-text"))
    run: list[tuple[float, float]] = []
    for point in (*chart.points, None):
        if point is not None and point.ttft_p95_ms:
            start, end = point.t_s / unit_s, (point.t_s + chart.window_s) / unit_s
            run += [(x(start), y(point.ttft_p95_ms)), (x(end), y(point.ttft_p95_ms))]
        elif run:
            parts.append(path(run, "curve own thin"))
            run = []
    return parts


def _steps(
    chart: LoadChart, x: Scale, y: Scale, unit_s: float, value: Callable[[LoadPoint], float]
) -> list[tuple[float, float]]:
    """The upper edge of a histogram."""
    return [
        (x(t_s / unit_s), y(value(point))) for point in chart.points for t_s in (point.t_s, point.t_s + chart.window_s)
    ]


def _panel(name: str, ticks: Sequence[float], x: Scale, y: Scale, text: Callable[[float], str]) -> list[Markup]:
    parts = [words(name, x.start, y.end - 9.0, size=_SIZE, class_="name")]
    for tick in ticks:
        parts.append(line(x.start, y(tick), x.end, y(tick), "grid"))
        parts.append(words(text(tick), x.start - 7.0, y(tick) + 4.0, size=_SIZE, anchor="end", class_="soft"))
    return parts


def _time_axis(x: Scale, unit: str, tops: Sequence[float], height: float, *, narrow: bool) -> list[Markup]:
    parts: list[Markup] = []
    for tick in even_ticks(0.0, x.high, 5 if narrow else 9):
        if tick > x.high:
            continue
        for top in tops:
            parts.append(line(x(tick), top + _PANEL, x(tick), top + _PANEL + 4.0, "grid"))
        parts.append(words(f"{tick:g}", x(tick), height - 28.0, size=_SIZE, anchor="middle", class_="soft"))
    middle = (x.start + x.end) / 2.0
    return [*parts, words(unit, middle, height - 10.0, size=_SIZE, anchor="middle", class_="soft")]


def _milliseconds(value: float) -> str:
    return plain_number(value, 3)


def standalone(drawing: Markup, style: str) -> str:
    """The drawing as a file of its own, with its colours inside."""
    text = str(drawing).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    cut = text.index(">") + 1
    return f"{text[:cut]}{element('style', style)}{text[cut:]}\n"
