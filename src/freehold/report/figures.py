"""Records as figures: a title that states the finding, and a drawing for wide and for narrow pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from freehold.report._cost_chart import CostChart, CostPoint, cost_chart
from freehold.report._dot_chart import Dot, DotChart, Mark, dot_chart
from freehold.report.findings import (
    METRICS,
    cost_finding,
    difference_finding,
    margin_words,
    quality_finding,
    spread,
)
from freehold.report.numbers import bare_points, count, number, share, usd
from freehold.report.tables import all_comparisons, confidence_words, ranked
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from markupsafe import Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One entry of a legend."""

    style: str
    """CSS class of the sample."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """The two drawings show the same; the page picks one by its width."""

    title: str
    caption: str
    wide: Markup
    narrow: Markup
    keys: tuple[Key, ...] = ()


def contenders_figure(evaluation: Mapping[str, Any]) -> Figure | None:  # Any: JSON
    """Every contender's value with its interval, the rented one as reference; None without contenders."""
    dots = [
        Dot(
            name=visible(each.get("name")),
            note=_kind_words(each),
            value=value,
            low=number(each.get("ci_low")),
            high=number(each.get("ci_high")),
            text=share(value),
            mark=_mark(each.get("kind")),
        )
        for each in ranked(evaluation)
        if (value := number(each.get("value"))) is not None
    ]
    if not dots:
        return None
    rented = next((dot.value for dot in dots if dot.mark == "rented"), None)
    margin = number(evaluation.get("margin"))
    title = quality_finding(evaluation)
    chart = DotChart(
        label=f"{title} " + ", ".join(f"{dot.name} {dot.text}" for dot in dots),
        tick_text=lambda tick: f"{100 * tick:g} %",
        lowest=0.0,
        highest=1.0,
        reference=rented,
        reference_text="rented",
        band=None if rented is None or margin is None else (max(0.0, rented - margin), rented),
    )
    metric = METRICS.get(str(evaluation.get("metric")), "score")
    caption = (
        f"{metric[:1].upper()}{metric[1:]} on {count(evaluation.get('n'))} held-out cases; lines are "
        f"{confidence_words(evaluation.get('confidence'))}."
    )
    band = () if chart.band is None else (Key(style="band", text=f"within {margin_words(margin)} of rented"),)
    keys = (*(_MARK_KEYS[mark] for mark in get_args(Mark) if any(dot.mark == mark for dot in dots)), *band)
    return _dot_figure(title, caption, dots, chart, keys)


def differences_figure(evaluation: Mapping[str, Any]) -> Figure | None:  # Any: JSON
    """Differences from the rented model against zero and the margin; None when it was not compared with."""
    kinds = {each.get("name"): each.get("kind") for each in evaluation.get("contenders") or ()}
    dots = [
        Dot(
            name=visible(each.get("candidate")),
            note=f"against {visible(each.get('against'))}",
            value=value,
            low=number(each.get("ci_low")),
            high=number(each.get("ci_high")),
            text=bare_points(value),
            mark=_mark(kinds.get(each.get("candidate"), "hybrid")),
        )
        for each in all_comparisons(evaluation)
        if kinds.get(each.get("against")) == "rented" and (value := number(each.get("difference"))) is not None
    ]
    margin = number(evaluation.get("margin"))
    if not dots or margin is None:
        return None
    title = difference_finding(evaluation)
    chart = DotChart(
        label=f"{title} " + ", ".join(f"{dot.name} {dot.note} {dot.text}" for dot in dots),
        tick_text=_tick_points,
        lowest=-1.0,
        highest=1.0,
        reference=0.0,
        reference_text="no difference",
        band=(-margin, 0.0),
    )
    caption = (
        "Candidate minus rented, in points, on the cases that both answered. Good enough is shown "
        f"when the whole interval lies to the right of −{margin_words(margin)}."
    )
    keys = (Key(style="band", text=f"allowed: up to {margin_words(margin)} worse"),)
    return _dot_figure(title, caption, dots, chart, keys)


def cost_figure(cost: Mapping[str, Any]) -> Figure | None:  # Any: JSON
    """Cost of a month against its volume; None when the record holds no curve."""
    points_ = [
        CostPoint(
            queries_per_month=volume,
            rent_usd=number(each.get("rent")),
            own_p5_usd=number(each.get("own_p5")),
            own_p50_usd=number(each.get("own_p50")),
            own_p95_usd=number(each.get("own_p95")),
            hosted_usd=number(each.get("hosted")),
            tuned_usd=number(each.get("tuned")),
            bought_usd=number(each.get("bought")),
        )
        for each in cost.get("curve") or ()
        if (volume := number(each.get("queries_per_month"))) is not None and volume > 0
    ]
    if len({point.queries_per_month for point in points_}) < 2 or not any(_has_cost(point) for point in points_):
        return None
    low, _, high = (number(each) for each in spread(cost.get("breakeven_queries_per_month")))
    today = number(cost.get("queries_per_month"))
    title = cost_finding(cost)
    chart = CostChart(
        label=title,
        points=tuple(sorted(points_, key=lambda point: point.queries_per_month)),
        today=today if today and today > 0 else None,
        breakeven=None if low is None else (low, high or float("inf")),
        stairs=_stairs(cost, max(point.queries_per_month for point in points_)),
    )
    keys = [Key(style="curve rented", text="renting"), Key(style="curve own", text="owning, median")]
    keys.append(Key(style="area own", text="owning, 90 % of draws"))
    if chart.stairs:
        keys.append(Key(style="stairs", text="owning, typical values: steps are whole replicas"))
    for style, text in _MORE_CURVES.items():
        if any(getattr(point, f"{style}_usd") for point in points_):
            keys.append(Key(style=f"curve {style}", text=text))
    if chart.breakeven is not None:
        keys.append(Key(style="band", text="break-even volume, 90 % of draws"))
    return Figure(
        title=title,
        caption=f"US dollars a month, both axes logarithmic. Steps are whole replicas.{_premium_note(cost)}",
        wide=cost_chart(chart, narrow=False),
        narrow=cost_chart(chart, narrow=True),
        keys=tuple(keys),
    )


def _premium_note(cost: Mapping[str, Any]) -> str:  # Any: JSON
    """Why the curves cross elsewhere than at the break-even: they are bills."""
    premium = number(cost.get("sovereignty_usd_per_month"))
    return f" Curves are bills, without your {usd(premium)} premium." if premium else ""


def _stairs(cost: Mapping[str, Any], highest: float) -> tuple[tuple[float, float], ...]:  # Any: JSON
    """Both ends of every step up to a volume, the first one from the left end of a logarithmic axis."""
    corners: list[tuple[float, float]] = []
    for each in cost.get("staircase") or ():
        begin, end = (number(each.get(name)) for name in ("queries_per_month", "ends_at"))
        first, last = (number(each.get(name)) for name in ("own_usd", "own_usd_at_end"))
        if begin is None or end is None or first is None or last is None or begin > highest:
            break
        if begin == 0.0:
            begin = min(1000.0, end / 2)
        at = min(end, highest)
        corners += [(begin, first), (at, first + (last - first) * (at - begin) / (end - begin))]
    return tuple(corners)


def _tick_points(tick: float) -> str:
    return f"{100 * tick:+g}".replace("-", "−").replace("+0", "0")


def _has_cost(point: CostPoint) -> bool:
    return any(cost is not None and cost > 0 for cost in (point.rent_usd, point.own_p50_usd))


def _dot_figure(title: str, caption: str, dots: list[Dot], chart: DotChart, keys: tuple[Key, ...]) -> Figure:
    return Figure(
        title=title,
        caption=caption,
        wide=dot_chart(dots, chart, narrow=False),
        narrow=dot_chart(dots, chart, narrow=True),
        keys=keys,
    )


_MORE_CURVES = {
    "hosted": "renting an open model",
    "tuned": "renting a tuned model",
    "bought": "owning on bought devices",
}

_MARK_KEYS = {
    "own": Key(style="mark own", text="own"),
    "rented": Key(style="mark rented", text="rented"),
    "hybrid": Key(style="mark hybrid", text="own, unsure cases to rented"),
    "other": Key(style="mark other", text="other models"),
    "baseline": Key(style="mark baseline", text="simple baseline"),
}


def _mark(kind: object) -> Mark:
    match kind:
        case "own" | "rented" | "hybrid" | "baseline":
            mark: Mark = kind
            return mark
        case _:
            return "other"


def _kind_words(contender: Mapping[str, Any]) -> str:  # Any: JSON
    words = {"base": "untuned base", "hosted-open": "hosted open model", "rent-tuned": "rented, tuned"}
    kind = visible(contender.get("kind"))
    return words.get(kind, kind)
