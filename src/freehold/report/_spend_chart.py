"""What was spent over time, a band per task; and the hours of the week as a map of heat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from freehold.report._svg import Scale, element, even_ticks, line, picture, text_width, words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from markupsafe import Markup

_SIZE = 12.0
_LEFT, _RIGHT, _TOP, _FOOT = 64.0, 12.0, 26.0, 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendChart:
    """Bars of equal lengths of time, each made of parts, the first one at the bottom."""

    label: str
    unit: str
    """Of the values."""
    times: tuple[str, ...]
    """Name of each bar."""
    parts: tuple[tuple[float, ...], ...]
    """Of each task, a value per bar."""
    tick_text: Callable[[float], str]


def spend_chart(chart: SpendChart, *, narrow: bool) -> Markup:
    """The figure; it needs one bar at least."""
    width, height = (350.0, 240.0) if narrow else (760.0, 280.0)
    totals = [sum(values) for values in zip(*chart.parts, strict=True)]
    ticks = even_ticks(0.0, max(totals) or 1.0, 4)
    y = Scale(0.0, ticks[-1], height - _FOOT, _TOP)
    x = Scale(0.0, float(len(chart.times)), _LEFT, width - _RIGHT)
    drawn = [words(chart.unit, _LEFT, _TOP - 10.0, size=_SIZE, class_="name")]
    for tick in ticks:
        drawn.append(line(x.start, y(tick), x.end, y(tick), "grid"))
        drawn.append(
            words(chart.tick_text(tick), x.start - 6.0, y(tick) + 4.0, size=_SIZE, anchor="end", class_="soft")
        )
    gap = 0.0 if (x.end - x.start) / len(chart.times) < 4 else 1.0
    for bar in range(len(chart.times)):
        base = 0.0
        for part, values in enumerate(chart.parts):
            top = base + values[bar]
            if values[bar] > 0:
                left, right = x(bar), x(bar + 1) - gap
                drawn.append(
                    element("rect", x=_px(left), y=_px(y(top)), width=_px(right - left),
                            height=_px(max(0.3, y(base) - y(top))), class_=f"series s{part}")
                )  # fmt: skip
            base = top
    drawn += _times(chart.times, x, height, most=4 if narrow else 8)
    return picture(width, height, *drawn, label=chart.label, class_="chart narrow" if narrow else "chart wide")


def _times(times: Sequence[str], x: Scale, height: float, *, most: int) -> list[Markup]:
    """The names of some bars, evenly spread."""
    step = max(1, -(-len(times) // most))
    named = []
    edge = 0.0
    for place in range(0, len(times), step):
        middle, half = (x(place) + x(place + 1)) / 2, text_width(times[place], _SIZE) / 2
        if middle - half >= edge and middle + half <= x.end + _RIGHT:
            edge = middle + half + 4
            named.append(words(times[place], middle, height - 10.0, size=_SIZE, anchor="middle", class_="soft"))
    return named


def heat_map(
    values: Sequence[Sequence[float]], days: Sequence[str], titles: Sequence[Sequence[str]], *, label: str, narrow: bool
) -> Markup:
    """Seven rows of twenty-four cells, the darker the more; each tells its value to whoever points at it."""
    width, cell_height = (350.0, 18.0) if narrow else (760.0, 24.0)
    left = 40.0 if narrow else 92.0
    x = Scale(0.0, 24.0, left, width - 8.0)
    most = max((value for row in values for value in row), default=0.0) or 1.0
    drawn = []
    for row, (name, hours) in enumerate(zip(days, values, strict=True)):
        top = 8.0 + row * cell_height
        shown = name[:3] if narrow else name
        drawn.append(words(shown, left - 6.0, top + cell_height * 0.68, size=_SIZE, anchor="end", class_="soft"))
        for hour, value in enumerate(hours):
            drawn.append(
                element(
                    "rect",
                    element("title", titles[row][hour]),
                    x=_px(x(hour)),
                    y=_px(top),
                    width=_px(x(hour + 1) - x(hour) - 1),
                    height=_px(cell_height - 1),
                    class_="heat",
                    fill_opacity=f"{value / most:.3f}",
                )
            )
    bottom = 8.0 + 7 * cell_height
    drawn += [
        words(f"{hour:02d}", x(hour), bottom + 14.0, size=_SIZE, anchor="middle", class_="soft")
        for hour in range(0, 25, 6 if narrow else 3)
        if hour < 24
    ]
    return picture(width, bottom + 22.0, *drawn, label=label, class_="chart narrow" if narrow else "chart wide")


def _px(value: float) -> str:
    return f"{value:.1f}"
