"""The simulation's record as one self-contained HTML page, and its figure alone as an SVG file."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from freehold.report._load_chart import LoadChart, LoadPoint, load_chart, standalone
from freehold.report._page import rendered
from freehold.report.figures import Figure, Key
from freehold.report.numbers import count, duration, number, usd
from freehold.report.simulation_tables import (
    known_table,
    latency_table,
    load_finding,
    load_table,
    simulation_finding,
    wait,
)
from freehold.report.verdict_page import Fact
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

_DRAWN = r"^\.(?:chart text|chart \.(?:soft|value|reference-text)|grid|reference|area|curve)\b[^\n]*"
"""Rules of the page's style sheet that the figure needs."""
_WHOLE = 0.9
"""A last window of which less is covered says nothing of a rate."""


def simulation_page(record: Mapping[str, Any]) -> str:  # Any: JSON
    """The page: the answer in a sentence, the load over time, the percentiles, and what was assumed."""
    return rendered(
        "simulation.html",
        sentence=simulation_finding(record),
        holds=bool(record.get("meets_slo")),
        title=visible((record.get("inputs") or {}).get("trace"), 120),
        facts=_facts(record),
        figure=load_figure(record),
        latencies=latency_table(record),
        load=load_table(record),
        warnings=[visible(each, 1_000) for each in record.get("warnings") or ()],
        assumptions=known_table(record, with_source=True),
        seed=visible(record.get("seed", "")),
    )


def load_figure(record: Mapping[str, Any]) -> Figure | None:  # Any: JSON
    """Calls, work and first tokens over time; None when the record holds no windows."""
    window_s = number(record.get("window_s")) or 1.0
    windows = record.get("windows") or ()
    covered = (number(record.get("trace_s")) or 0.0) - window_s * (len(windows) - 1)
    if len(windows) > 1 and covered < _WHOLE * window_s:
        windows = windows[:-1]
    if not windows:
        return None
    points = tuple(
        LoadPoint(
            t_s=each["t_s"],
            calls_per_s=each["calls"] / window_s,
            busy=each["busy"],
            kv_peak=each["kv_peak"],
            ttft_p95_ms=number(each["ttft_p95_ms"]),
        )
        for each in windows
    )
    title = load_finding(record)
    goal = number((record.get("goals") or {}).get("ttft_p95_ms"))
    chart = LoadChart(label=title, window_s=window_s, points=points, ttft_goal_ms=goal)
    return Figure(
        title=title,
        caption=f"Windows of {duration(window_s)} from the first call on; the largest use of memory in each.",
        wide=load_chart(chart, narrow=False),
        narrow=load_chart(chart, narrow=True),
        keys=(
            Key(style="curve own", text="calls, time at work, first token"),
            Key(style="curve hosted", text="fullest replica's memory for contexts"),
        ),
    )


def load_picture(record: Mapping[str, Any]) -> str:  # Any: JSON
    """The wide figure as an SVG file; it follows a reader's dark mode.

    Raises:
        ValueError: the record holds no windows.
    """
    figure = load_figure(record)
    if figure is None:
        raise ValueError("a record without windows has no picture")
    css = files("freehold.report").joinpath("templates/verdict.css").read_text(encoding="utf-8")
    colours = css[: css.index("* {")]
    rules = "\n".join(re.findall(_DRAWN, css, re.MULTILINE))
    page = "svg { background: var(--paper); font-family: system-ui, sans-serif; }\n.thin { stroke-width: 1.5; }\n"
    return standalone(figure.wide, f"{colours}{rules}\n{page}")


def _facts(record: Mapping[str, Any]) -> tuple[Fact, ...]:  # Any: JSON
    goals, ttft, tpot = (record.get(name) or {} for name in ("goals", "ttft_ms", "tpot_ms"))
    interval = record.get("replicas_interval") or ()
    spread = ""
    if interval and None not in interval:
        ends = count(interval[0]) if interval[0] == interval[1] else f"{count(interval[0])} to {count(interval[1])}"
        spread = f"{ends} over the spread of engines"
    return (
        Fact("Replicas", count(record.get("simulated_replicas")), spread),
        Fact("First token, p95", wait(ttft.get("p95")), f"goal {wait(goals.get('ttft_p95_ms'))}"),
        Fact("Each further token, p95", wait(tpot.get("p95")), f"goal {wait(goals.get('tpot_p95_ms'))}"),
        Fact("1,000 calls", usd(record.get("usd_per_1000_calls")), visible(record.get("usd_reason") or "", 200)),
    )
