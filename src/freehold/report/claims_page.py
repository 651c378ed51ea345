"""Audited claims as one self-contained HTML page: nothing is fetched, nothing runs, and it prints."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from freehold.report._page import rendered
from freehold.report._svg import element, line, picture
from freehold.report.claims_view import claim_views, summary_sentence
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from markupsafe import Markup

    from freehold.report.claims_view import ClaimView

_WIDTH, _HEIGHT = 180.0, 18.0
_DECADES = 3.0
"""The scale goes from a thousandth to a thousand times."""


def claims_page(record: Mapping[str, Any]) -> str:  # Any: JSON of schema freehold.claims/1
    """The page: how many claims hold, all of them at a glance, then each with its arithmetic."""
    views = claim_views(record)
    inputs, versions = record.get("inputs") or {}, record.get("versions") or {}
    return rendered(
        "claims.html",
        source=visible(record.get("source"), 500),
        summary=summary_sentence(views),
        views=views,
        marks={view.id: _mark(view) for view in views},
        assumptions=[visible(words, 500) for words in record.get("assumptions") or ()],
        as_of=visible(inputs.get("as_of")),
        file=visible(inputs.get("file"), 200),
        catalogue=visible(versions.get("price_catalogue", "unknown catalogue")),
    )


def _mark(view: ClaimView) -> Markup | str:
    """Stated over recomputed on a logarithmic scale whose middle is 1; empty without a ratio."""
    if view.ratio_ends is None or min(view.ratio_ends) <= 0:
        return ""
    low, high = (_place(end) for end in view.ratio_ends)
    middle, height = _WIDTH / 2.0, _HEIGHT / 2.0
    ticks = [line(_place(10.0**decade), 4.0, _place(10.0**decade), _HEIGHT - 4.0, "grid") for decade in (-2, -1, 1, 2)]
    shape = element("circle", cx=low, cy=height, r=4.5, class_=f"dot {view.standing}")
    if high - low > 1.0:
        shape = element(
            "rect", x=low, y=height - 4.0, width=high - low, height=8.0, rx=4, class_=f"dot {view.standing}"
        )
    return picture(
        _WIDTH,
        _HEIGHT,
        line(0.0, height, _WIDTH, height, "grid"),
        *ticks,
        line(middle, 0.0, middle, _HEIGHT, "one"),
        shape,
        label=f"stated over recomputed: {view.ratio}",
        class_="scale",
    )


def _place(ratio: float) -> float:
    share = (math.log10(ratio) + _DECADES) / (2.0 * _DECADES)
    return round(6.0 + (_WIDTH - 12.0) * min(1.0, max(0.0, share)), 1)
