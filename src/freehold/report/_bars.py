"""Horizontal bars with a name to the left and numbers at their ends: waterfall and tornado."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from freehold.report._svg import Scale, element, even_ticks, fitted, line, log_ticks, picture, text_width, words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from markupsafe import Markup

SIZE, NAME_SIZE = 12.0, 11.0
ROW, TOP, FOOT = 24.0, 8.0, 24.0


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a bar."""

    start: float
    end: float | None
    """None: beyond all bounds; the bar then reaches the right edge."""
    style: str
    """CSS class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BarRow:
    """One bar of one or two parts."""

    name: str
    segments: tuple[Segment, ...]
    right_text: str
    left_text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BarChart:
    """What the bars share."""

    label: str
    tick_text: Callable[[float], str]
    logarithmic: bool = False
    centre: float | None = None
    """A line down all bars; None: none."""


def bar_chart(rows: Sequence[BarRow], chart: BarChart, *, narrow: bool) -> Markup:
    """The figure: names, bars, numbers, one axis."""
    width, names = (350.0, 112.0) if narrow else (460.0, 184.0)
    left = max((text_width(row.left_text, SIZE) * 0.8 for row in rows), default=0.0)
    right = max((text_width(row.right_text, SIZE) for row in rows), default=0.0)  # in full: beyond it is the edge
    height = TOP + ROW * len(rows) + FOOT
    x = _scale(rows, chart, start=names + left + 4.0, end=width - right - 10.0)
    parts = _axis(x, chart, height, most=3 if narrow else 4)
    for index, row in enumerate(rows):
        parts += _row(row, x, TOP + ROW * index, names=names)
    if chart.centre is not None:
        parts.append(line(x(chart.centre), TOP - 4, x(chart.centre), height - FOOT, "centre"))
    return picture(width, height, *parts, label=chart.label, class_="chart narrow" if narrow else "chart wide")


def _scale(rows: Sequence[BarRow], chart: BarChart, *, start: float, end: float) -> Scale:
    ends = [value for row in rows for part in row.segments for value in (part.start, part.end) if value is not None]
    low, high = min(ends), max(ends)
    if any(part.end is None for row in rows for part in row.segments):
        high *= 1.5
    if chart.logarithmic:
        return Scale(low / 1.02, max(high, low * 1.2) * 1.02, start, end, logarithmic=True)
    low = min(low, 0.0)
    return Scale(low, max(high, low + 1.0), start, end)


def _axis(x: Scale, chart: BarChart, height: float, *, most: int) -> list[Markup]:
    ticks = log_ticks(x.low, x.high, most) if chart.logarithmic else even_ticks(x.low, x.high, most)
    parts: list[Markup] = []
    taken = 0.0
    for tick in ticks:
        text = chart.tick_text(tick)
        half = text_width(text, SIZE) / 2
        if x.low <= tick <= x.high and x(tick) - half >= taken:
            taken = x(tick) + half + 4
            parts.append(line(x(tick), TOP - 4, x(tick), height - FOOT, "grid"))
            parts.append(words(text, x(tick), height - 7, size=SIZE, anchor="middle", class_="soft"))
    return parts


def _row(row: BarRow, x: Scale, top: float, *, names: float) -> list[Markup]:
    # A real face is narrower than the one that room is reserved for.
    parts = [words(fitted(row.name, names * 1.05, NAME_SIZE), names - 6, top + 15, size=NAME_SIZE, anchor="end")]
    edges: list[float] = []
    for segment in row.segments:
        end = x.high if segment.end is None else segment.end
        left, right = sorted((x(segment.start), x(end)))
        edges += [left, right]
        parts.append(
            element("rect", x=left, y=top + 4, width=max(1.5, right - left), height=ROW - 8, class_=segment.style)
        )
    parts.append(words(row.right_text, max(edges) + 5, top + 15, size=SIZE, class_="soft"))
    if row.left_text:
        parts.append(words(row.left_text, min(edges) - 5, top + 15, size=SIZE, anchor="end", class_="soft"))
    return parts
