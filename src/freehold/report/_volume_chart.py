"""Tasks by volume and by how ordinary they are: which of them an own model could take over."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from freehold.report._svg import Scale, element, fitted, line, log_ticks, picture, text_width, words
from freehold.report.numbers import volume

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

_SIZE = 12.0
_LONGEST_NAME = 150.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bubble:
    """One task."""

    name: str
    calls_per_month: float
    replaceability: float | None
    """None: unknown; it then stands on a line of its own below the others."""
    weight: float
    """Share of the dearest task's cost, from 0 to 1."""
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeChart:
    """Bubbles and the volumes at which tiers end."""

    label: str
    bubbles: tuple[Bubble, ...]
    """The dearest first."""
    tiers: tuple[float, ...]


def volume_chart(chart: VolumeChart, *, narrow: bool) -> Markup:
    """The figure; it needs one bubble at least."""
    width, height = (350.0, 300.0) if narrow else (760.0, 340.0)
    is_partly_unknown = any(each.replaceability is None for each in chart.bubbles)
    is_known = any(each.replaceability is not None for each in chart.bubbles)
    height -= 0 if is_known else 150.0
    volumes = [each.calls_per_month for each in chart.bubbles] + list(chart.tiers)
    low, high = 10 ** math.floor(math.log10(min(volumes) / 1.5)), 10 ** math.ceil(math.log10(max(volumes) * 1.5))
    x = Scale(low, high, 58.0, width - 16.0, logarithmic=True)
    bottom = height - 44.0 - (34.0 if is_partly_unknown else 0.0)
    y = Scale(0.0, 1.0, bottom if is_known else 40.0, 40.0)
    drawn = [*_axes(x, y, chart, height, narrow=narrow, is_known=is_known)]
    if is_partly_unknown:
        text = "not known" if not narrow else "unknown"
        drawn.append(words(text, x.start, height - 60.0, size=_SIZE, class_="soft"))
    taken: list[tuple[float, float, float]] = []
    names: list[Markup] = []
    for each in chart.bubbles:
        across = x(each.calls_per_month)
        down = height - 64.0 if each.replaceability is None else y(each.replaceability)
        size = 4.0 + (8.0 if narrow else 12.0) * math.sqrt(max(0.0, each.weight))
        style = "bubble unknown" if each.replaceability is None else "bubble"
        drawn.append(element("circle", element("title", each.title), cx=f"{across:.1f}", cy=f"{down:.1f}", r=f"{size:.1f}", class_=style))  # fmt: skip  # noqa: E501
        names += _name(each.name, (across, down, size), width, taken)
    return picture(width, height, *drawn, *names, label=chart.label, class_="chart narrow" if narrow else "chart wide")


def _axes(x: Scale, y: Scale, chart: VolumeChart, height: float, *, narrow: bool, is_known: bool) -> list[Markup]:
    drawn: list[Markup] = []
    if is_known:
        drawn.append(words("replaceable", x.start, 14.0, size=_SIZE, class_="name"))
        for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
            drawn.append(line(x.start, y(tick), x.end, y(tick), "grid"))
            drawn.append(words(f"{tick:.0%}", x.start - 6.0, y(tick) + 4.0, size=_SIZE, anchor="end", class_="soft"))
    edge = 0.0
    for tick in log_ticks(x.low, x.high, 4 if narrow else 8):
        text = volume(tick)
        if x.low <= tick <= x.high and x(tick) - text_width(text, _SIZE) / 2 >= edge:
            edge = x(tick) + text_width(text, _SIZE) / 2 + 6
            drawn.append(words(text, x(tick), height - 26.0, size=_SIZE, anchor="middle", class_="soft"))
    middle = (x.start + x.end) / 2
    drawn.append(words("calls a month", middle, height - 8.0, size=_SIZE, anchor="middle", class_="soft"))
    ends = (x.low, *chart.tiers, x.high)
    for end in chart.tiers:
        drawn.append(line(x(end), 24.0, x(end), height - 42.0, "tier"))
    for name, (start, end) in zip(("low", "mid", "high"), pairwise(ends), strict=False):
        drawn.append(words(name, (x(start) + x(end)) / 2, 30.0, size=_SIZE, anchor="middle", class_="soft"))
    return drawn


def _name(
    name: str, bubble: tuple[float, float, float], width: float, taken: list[tuple[float, float, float]]
) -> Sequence[Markup]:
    """The name beside its bubble, where no other name stands; else none: the table has it."""
    across, down, size = bubble
    shown = fitted(name, _LONGEST_NAME, _SIZE)
    room = text_width(shown, _SIZE)
    for anchor, start in (("start", across + size + 4), ("end", across - size - 4 - room)):
        is_free = all(abs(down - other) > 13 or start + room < left or start > right for left, right, other in taken)
        if is_free and start >= 4 and start + room <= width - 4:
            taken.append((start, start + room, down))
            at = start if anchor == "start" else start + room
            return [words(shown, at, down + 4, size=_SIZE, anchor=anchor)]
    return []
