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
_TOP, _FOOT = 54.0, 44.0
_LEFT, _RIGHT = 58.0, 16.0
_GAP = 2.0
"""Between bubbles that are told apart, and between a name and all else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bubble:
    """One task."""

    name: str
    calls_per_month: float
    replaceability: float | None
    """None: unknown; it then stands below the others."""
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


@dataclass(frozen=True, slots=True)
class _Box:
    """Room that something takes."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        """They share room."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


@dataclass(frozen=True, slots=True)
class _Dot:
    """A bubble at its place."""

    bubble: Bubble
    across: float
    down: float
    size: float

    def box(self) -> _Box:
        """A square around it."""
        return _Box(self.across - self.size, self.down - self.size, self.across + self.size, self.down + self.size)


def volume_chart(chart: VolumeChart, *, narrow: bool) -> Markup:
    """The figure; it needs one bubble at least."""
    width = 350.0 if narrow else 760.0
    known = [each for each in chart.bubbles if each.replaceability is not None]
    volumes = [each.calls_per_month for each in chart.bubbles] + list(chart.tiers)
    low, high = 10 ** math.floor(math.log10(min(volumes) / 1.5)), 10 ** math.ceil(math.log10(max(volumes) * 1.5))
    x = Scale(low, high, _LEFT, width - _RIGHT, logarithmic=True)
    most = (8.0 if narrow else 12.0) * (1.0 if len(chart.bubbles) <= _MANY else 0.7)
    swarm = _swarm([each for each in chart.bubbles if each.replaceability is None], x, most)
    room = (200.0 if narrow else 240.0) if known else 0.0
    y = Scale(0.0, 1.0, _TOP + room, _TOP)
    # What is not known stands below a line of words, as high as its bubbles pile up.
    lowest = max((abs(dot.down) + dot.size for dot in swarm), default=0.0)
    middle = y.start + (34.0 if known else 18.0) + lowest
    bottom = middle + lowest + 4.0 if swarm else y.start
    height = bottom + _FOOT
    drawn = _axes(x, y, chart, bottom, narrow=narrow, is_known=bool(known))
    taken: list[_Box] = []
    if swarm:
        text = "how ordinary is not known"
        drawn.append(words(text, x.start, middle - lowest - 8.0, size=_SIZE, class_="soft"))
        taken.append(_Box(x.start, middle - lowest - 20.0, x.start + text_width(text, _SIZE), middle - lowest - 4.0))
    dots = [_Dot(each, x(each.calls_per_month), y(each.replaceability or 0.0), _size(each, most)) for each in known] + [
        _Dot(dot.bubble, dot.across, middle + dot.down, dot.size) for dot in swarm
    ]
    dots.sort(key=lambda dot: -dot.bubble.weight)
    drawn += [_circle(dot) for dot in dots]
    taken += [dot.box() for dot in dots]
    for dot in dots:
        drawn += _name(dot, _Box(x.start, _TOP - 20.0, width - 4.0, bottom + 2.0), taken)
    return picture(width, height, *drawn, label=chart.label, class_="chart narrow" if narrow else "chart wide")


_MANY = 20
"""Bubbles; of more, each is drawn smaller."""


def _size(bubble: Bubble, most: float) -> float:
    return 4.0 + most * math.sqrt(max(0.0, bubble.weight))


def _swarm(bubbles: Sequence[Bubble], x: Scale, most: float) -> list[_Dot]:
    """Bubbles around a line, each as close to it as leaves the others to be seen."""
    placed: list[_Dot] = []
    for each in bubbles:
        across, size = x(each.calls_per_month), _size(each, most)
        near = [dot for dot in placed if abs(dot.across - across) < dot.size + size + _GAP]
        # Just above and just below each of its neighbours, and the line itself.
        downs = [0.0]
        for dot in near:
            reach = math.sqrt((dot.size + size + _GAP) ** 2 - (dot.across - across) ** 2)
            downs += [dot.down - reach, dot.down + reach]
        free = [
            down
            for down in downs
            if all(math.hypot(dot.across - across, dot.down - down) > dot.size + size + _GAP - 1e-6 for dot in near)
        ]
        placed.append(_Dot(each, across, min(free, key=lambda down: (abs(down), down)), size))
    return placed


def _circle(dot: _Dot) -> Markup:
    style = "bubble unknown" if dot.bubble.replaceability is None else "bubble"
    title = element("title", dot.bubble.title)
    across, down, size = (f"{each:.1f}" for each in (dot.across, dot.down, dot.size))
    return element("circle", title, cx=across, cy=down, r=size, class_=style)


def _axes(x: Scale, y: Scale, chart: VolumeChart, bottom: float, *, narrow: bool, is_known: bool) -> list[Markup]:
    drawn: list[Markup] = []
    if is_known:
        drawn.append(words("replaceable", x.start, 12.0, size=_SIZE, class_="name"))
        for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
            drawn.append(line(x.start, y(tick), x.end, y(tick), "grid"))
            drawn.append(words(f"{tick:.0%}", x.start - 6.0, y(tick) + 4.0, size=_SIZE, anchor="end", class_="soft"))
    edge = 0.0
    for tick in log_ticks(x.low, x.high, 4 if narrow else 8):
        text = volume(tick)
        half = text_width(text, _SIZE) / 2
        if x.low <= tick <= x.high and x(tick) - half >= edge and x(tick) + half <= x.end + _RIGHT:
            edge = x(tick) + half + 6
            drawn.append(words(text, x(tick), bottom + 18.0, size=_SIZE, anchor="middle", class_="soft"))
    middle = (x.start + x.end) / 2
    drawn.append(words("calls a month", middle, bottom + 36.0, size=_SIZE, anchor="middle", class_="soft"))
    ends = (x.low, *chart.tiers, x.high)
    for end in chart.tiers:
        drawn.append(line(x(end), 22.0, x(end), bottom + 2.0, "tier"))
    for name, (start, end) in zip(("low", "mid", "high"), pairwise(ends), strict=False):
        if x(end) - x(start) > text_width(name, _SIZE):
            drawn.append(words(name, (x(start) + x(end)) / 2, 30.0, size=_SIZE, anchor="middle", class_="soft"))
    return drawn


def _name(dot: _Dot, within: _Box, taken: list[_Box]) -> Sequence[Markup]:
    """The name on a free side of its bubble; none where it would cover another one or a name: the table has it."""
    shown = fitted(dot.bubble.name, _LONGEST_NAME, _SIZE)
    room, reach = text_width(shown, _SIZE), dot.size + 4.0
    level, above, below = dot.down + 4.0, dot.down - reach, dot.down + reach + 9.0
    left, right, middle = dot.across - reach - room, dot.across + reach, dot.across - room / 2
    for start, base in ((right, level), (left, level), (middle, above), (middle, below)):
        box = _Box(start - _GAP, base - 11.0, start + room + _GAP, base + 3.0)
        inside = within.left <= start and start + room <= within.right and within.top <= box.top
        if inside and box.bottom <= within.bottom and not any(box.meets(other) for other in taken):
            taken.append(box)
            anchor, at = ("end", start + room) if start == left else ("start", start)
            if start == middle:
                anchor, at = "middle", dot.across
            return [words(shown, at, base, size=_SIZE, anchor=anchor)]
    return []
