"""Estimates as dots with their intervals, one row each, with a reference line and a band."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from freehold.report._svg import Scale, element, even_ticks, fitted, line, picture, text_width, words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from markupsafe import Markup

Mark = Literal["own", "rented", "hybrid", "other", "baseline"]

_SIZE = 14.0
_SMALL = 12.0
_TOP = 30.0
_BOTTOM = 30.0
_NARROWEST_RANGE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """One row: an estimate, its interval and how both are written."""

    name: str
    note: str
    """What stands small under the name, where there is room: the kind."""
    value: float
    low: float | None
    high: float | None
    text: str
    """The value as people read it."""
    mark: Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class DotChart:
    """Everything that is drawn besides the rows."""

    label: str
    """Read aloud by a screen reader."""
    tick_text: Callable[[float], str]
    lowest: float
    """No tick lies below it."""
    highest: float
    reference: float | None = None
    reference_text: str = ""
    band: tuple[float, float] | None = None
    """Shaded range of values."""


@dataclass(frozen=True, slots=True)
class _Layout:
    width: float
    name_width: float
    text_width: float
    row: float
    narrow: bool


_WIDE = _Layout(width=760, name_width=268, text_width=64, row=38, narrow=False)
_NARROW = _Layout(width=350, name_width=0, text_width=0, row=54, narrow=True)


def dot_chart(dots: Sequence[Dot], chart: DotChart, *, narrow: bool) -> Markup:
    """The figure; `narrow` puts each name above its row instead of beside it."""
    layout = _NARROW if narrow else _WIDE
    height = _TOP + layout.row * len(dots) + _BOTTOM
    ticks = _ticks(dots, chart, 4 if narrow else 6)
    inset = 22.0
    scale = Scale(ticks[0], ticks[-1], layout.name_width + inset, layout.width - layout.text_width - inset)
    bottom = height - _BOTTOM
    return picture(
        layout.width,
        height,
        *_ground(chart, scale, ticks, bottom),
        *(part for index, dot in enumerate(dots) for part in _row(dot, scale, layout, _TOP + index * layout.row)),
        label=chart.label,
        class_="chart narrow" if narrow else "chart wide",
    )


def _ticks(dots: Sequence[Dot], chart: DotChart, most: int) -> list[float]:
    ends = [end for dot in dots for end in (dot.low, dot.value, dot.high) if end is not None]
    ends += [end for end in (chart.reference, *(chart.band or ())) if end is not None]
    high = min(chart.highest, max(*ends, min(ends) + _NARROWEST_RANGE))
    low = max(chart.lowest, min(*ends, high - _NARROWEST_RANGE))
    return [tick for tick in even_ticks(low, high, most) if chart.lowest - 1e-9 <= tick <= chart.highest + 1e-9]


def _ground(chart: DotChart, scale: Scale, ticks: Sequence[float], bottom: float) -> list[Markup]:
    """Band, grid, reference line and the axis' words."""
    parts: list[Markup] = []
    if chart.band is not None:
        start, end = scale(chart.band[0]), scale(chart.band[1])
        parts.append(element("rect", x=start, y=_TOP - 4, width=end - start, height=bottom - _TOP + 4, class_="band"))
    for tick in ticks:
        parts.append(line(scale(tick), _TOP - 4, scale(tick), bottom, "grid"))
        parts.append(
            words(chart.tick_text(tick), scale(tick), bottom + 18, size=_SMALL, anchor="middle", class_="soft")
        )
    if chart.reference is not None:
        x = scale(chart.reference)
        parts.append(line(x, _TOP - 4, x, bottom, "reference"))
        half = text_width(chart.reference_text, _SMALL) / 2
        middle = min(max(x, half + 4), scale.end + 22 - half)
        parts.append(
            words(chart.reference_text, middle, _TOP - 11, size=_SMALL, anchor="middle", class_="reference-text")
        )
    return parts


def _row(dot: Dot, scale: Scale, layout: _Layout, top: float) -> list[Markup]:
    if layout.narrow:
        middle = top + 38
        room = layout.width - text_width(dot.text, _SIZE) - 16
        heads = [
            words(fitted(dot.name, room, _SIZE), 4, top + 18, size=_SIZE, class_=f"name {dot.mark}"),
            words(dot.text, layout.width - 4, top + 18, size=_SIZE, anchor="end", class_="value"),
        ]
    else:
        middle = top + layout.row / 2
        heads = [
            words(fitted(dot.name, layout.name_width, _SIZE), 4, middle, size=_SIZE, class_=f"name {dot.mark}"),
            words(fitted(dot.note, layout.name_width, _SMALL), 4, middle + 15, size=_SMALL, class_="soft"),
            words(dot.text, layout.width - 4, middle + 5, size=_SIZE, anchor="end", class_="value"),
        ]
    return [*heads, *_estimate(dot, scale, middle)]


def _estimate(dot: Dot, scale: Scale, y: float) -> list[Markup]:
    """The interval as a line with end strokes, and the mark of the contender's kind upon it."""
    parts: list[Markup] = []
    if dot.low is not None and dot.high is not None:
        low, high = scale(dot.low), scale(dot.high)
        style = f"whisker {dot.mark}"
        parts += [
            line(low, y, high, y, style),
            line(low, y - 4, low, y + 4, style),
            line(high, y - 4, high, y + 4, style),
        ]
    x = scale(dot.value)
    style = f"mark {dot.mark}"
    match dot.mark:
        case "rented":
            parts.append(element("path", d=f"M{x:.1f} {y - 7:.1f} l7 7 l-7 7 l-7 -7 Z", class_=style))
        case "baseline":
            parts.append(element("rect", x=x - 5, y=y - 5, width=10, height=10, class_=style))
        case _:
            parts.append(element("circle", cx=x, cy=y, r=6, class_=style))
    return parts
