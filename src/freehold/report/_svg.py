"""The few SVG parts that the figures are drawn from. Colours are the page's own, by class."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from freehold.report.visible import columns, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDEST = frozenset("MWmw@%…–—")
_NARROWEST = frozenset("iljft .,:;'|!()[]-")
_LONGEST, _SHORTEST = 80, 4


def element(name: str, *children: str, **attributes: float | str | None) -> Markup:
    """`<name attribute="…">children</name>`, all of it escaped but what is markup already.

    A trailing underscore of an attribute is dropped, the others become hyphens; None leaves it out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{written}>{''.join(escape(child) for child in children)}</{name}>")  # noqa: S704  # escaped above


def picture(width: float, height: float, *children: str, label: str, class_: str) -> Markup:
    """A whole figure that is as wide as its column; `label` is what a screen reader says."""
    return element(
        "svg",
        *children,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label=label,
        class_=class_,
    )


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def words(text: str, x: float, y: float, *, size: float, anchor: str = "start", class_: str = "") -> Markup:
    """One line of text whose baseline is at `y`."""
    return element("text", text, x=x, y=y, font_size=size, text_anchor=anchor, class_=class_ or None)


def path(points: Sequence[tuple[float, float]], class_: str, *, closed: bool = False) -> Markup:
    """A line through the points, in order."""
    steps = " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return element("path", d=f"M{steps}{' Z' if closed else ''}", class_=class_)


def text_width(text: str, size: float) -> float:
    """Room to reserve for the text: as much as a wide, bold sans-serif face needs."""
    return size * sum(_em(character) for character in text)


def fitted(text: object, width: float, size: float) -> str:
    """The text, made safe and shortened in its middle until it fits into the width."""
    shown = visible(text, _LONGEST)
    while text_width(shown, size) > width and len(shown) > _SHORTEST:
        shown = visible(text, len(shown) - 1)
    return shown


def _em(character: str) -> float:
    """Width of a character as a share of the font size."""
    if character in _WIDEST:
        return 1.1
    if character in _NARROWEST:
        return 0.45
    if character.isupper():
        return 0.85
    return 0.7 * columns(character) if columns(character) < 2 else 1.05


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values to pixels, in proportion or by their logarithm."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Pixel of a value; values outside the scale stand at its ends."""
        inside = min(max(value, self.low), self.high)
        if self.logarithmic:
            part = math.log(inside / self.low) / math.log(self.high / self.low)
        else:
            part = (inside - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)


def even_ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` + 1 round values that enclose the range, evenly spaced."""
    raw = max(high - low, 1e-9) / max(1, most - 1)
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, max(last, first + 1) + 1)]


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Powers of ten within the range, about `most` of them; finer steps where decades are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if last - first <= most // 3 else (1,)
    every = max(1, math.ceil((last - first + 1) / most))
    ticks = [factor * 10.0**power for power in range(first, last + 1, every) for factor in factors]
    inside = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
    return inside if len(inside) > 1 else [tick for tick in even_ticks(low, high, 4) if low <= tick <= high]


def _number(value: float | str | None) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
