from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.report._bars import BarChart, BarRow, Segment, bar_chart
from freehold.report._svg import Scale, element, even_ticks, fitted, log_ticks, text_width
from freehold.report.figures import contenders_figure, cost_figure, differences_figure

SHARES = st.floats(0, 1)


def drawing(markup: str) -> ET.Element:
    return ET.fromstring(markup)


def texts(markup: str) -> list[str]:
    return [each.text or "" for each in drawing(markup).iter("text")]


def numbers(markup: str) -> list[float]:
    """Every coordinate of a drawing."""
    found = []
    for each in drawing(markup).iter():
        for name in ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height"):
            if name in each.attrib:
                found.append(float(each.attrib[name]))
        found += [float(value) for value in re.findall(r"-?\d+\.?\d*(?:e[-+]\d+)?", each.attrib.get("d", ""))]
    return found


def evaluation(*values: float | None, margin: float | None = 0.02) -> dict[str, Any]:
    kinds = ("rented", "own", "base", "baseline", "hosted-open", "rent-tuned")
    return {
        "metric": "accuracy",
        "n": 100,
        "margin": margin,
        "confidence": 0.95,
        "contenders": [
            {
                "name": f"model {index}",
                "kind": kinds[index % 6],
                "value": value,
                "ci_low": value,
                "ci_high": value,
            }
            for index, value in enumerate(values)
        ],
    }


def cost(points: list[dict[str, Any]], **more: Any) -> dict[str, Any]:  # Any: JSON
    return {"queries_per_month": 1000, "curve": points, **more}


def point(volume: float, rent: float | None = 1.0, own: float | None = 2.0) -> dict[str, Any]:
    return {"queries_per_month": volume, "rent": rent, "own_p5": own, "own_p50": own, "own_p95": own}


def test_every_contender_is_drawn_best_first(evaluation: dict[str, Any]) -> None:
    figure = contenders_figure(evaluation)
    assert figure is not None
    names = [each.text for each in drawing(figure.wide).iter("text") if each.get("class", "").startswith("name")]
    assert names == [
        "tf-idf + logistic regression",
        "rented-large",
        "own smollm2-135m",
        "own, 0.0 % to rented",
        "smollm2-135m few-shot",
        "majority class",
    ]
    assert "93.9 %" in texts(figure.narrow)


def test_the_rented_model_is_the_reference_and_the_margin_a_band() -> None:
    figure = contenders_figure(evaluation(0.9, 0.8))
    assert figure is not None
    classes = [each.get("class") for each in drawing(figure.wide)]
    assert "band" in classes
    assert "reference" in classes
    assert [key.text for key in figure.keys] == ["own", "rented", "within 2 points of rented"]


def test_without_a_rented_model_or_a_margin_there_is_no_band() -> None:
    record = evaluation(0.9, 0.8)
    record["contenders"] = record["contenders"][1:]
    for each in (record, evaluation(0.9, 0.8, margin=None)):
        figure = contenders_figure(each)
        assert figure is not None
        assert "band" not in [part.get("class") for part in drawing(figure.wide)]


def test_a_contender_without_interval_is_a_lone_dot() -> None:
    record = evaluation(0.9)
    record["contenders"][0] |= {"ci_low": None}
    figure = contenders_figure(record)
    assert figure is not None
    assert "whisker" not in figure.wide


def test_nothing_measured_gives_no_figure() -> None:
    assert contenders_figure({}) is None
    assert contenders_figure(evaluation(None)) is None
    assert differences_figure(evaluation(0.9)) is None
    assert cost_figure({}) is None


@given(st.lists(SHARES, min_size=1, max_size=8), SHARES)
def test_every_coordinate_lies_inside_the_drawing(values: list[float], margin: float) -> None:
    figure = contenders_figure(evaluation(*values, margin=margin))
    assert figure is not None
    for markup in (figure.wide, figure.narrow):
        _, _, width, height = map(float, drawing(markup).attrib["viewBox"].split())
        assert all(-10 <= value <= max(width, height) for value in numbers(markup))


def test_only_comparisons_with_the_rented_model_are_drawn(decision: dict[str, Any]) -> None:
    figure = differences_figure(decision["inputs"]["evaluation"])
    assert figure is not None
    assert [text for text in texts(figure.wide) if text.startswith("against")] == ["against rented-large"] * 2
    assert figure.title.startswith("Own minus rented is −5.6 points")


def test_the_cost_figure_marks_today_and_the_breakeven_interval(cost: dict[str, Any]) -> None:
    figure = cost_figure(cost)
    assert figure is not None
    assert "today: 1,010" in texts(figure.wide)
    assert [key.text for key in figure.keys] == [
        "renting",
        "owning, median",
        "owning, 90 % of draws",
        "break-even volume, 90 % of draws",
    ]
    assert {"band", "area own", "curve own", "curve rented", "reference"} <= {
        each.get("class") for each in drawing(figure.narrow)
    }


def test_a_breakeven_outside_the_axis_is_not_drawn() -> None:
    record = cost([point(10), point(1000)], breakeven_queries_per_month={"p5": 1e6, "p50": 1e7, "p95": None})
    figure = cost_figure(record)
    assert figure is not None
    assert "band" not in [each.get("class") for each in drawing(figure.wide)]


def test_unknown_costs_leave_their_curve_out() -> None:
    figure = cost_figure(cost([point(10, None), point(1000, None)]))
    assert figure is not None
    classes = [each.get("class") for each in drawing(figure.wide)]
    assert "curve own" in classes
    assert "curve rented" not in classes
    figure = cost_figure(cost([point(10, 1, None), point(1000, 5, None)]))
    assert figure is not None
    assert "area own" not in [each.get("class") for each in drawing(figure.wide)]


def test_a_hosted_model_is_a_third_curve() -> None:
    figure = cost_figure(cost([point(10) | {"hosted": 0.5}, point(1000) | {"hosted": 5}], queries_per_month=0))
    assert figure is not None
    assert "curve hosted" in [each.get("class") for each in drawing(figure.wide)]
    assert "renting an open model" in [key.text for key in figure.keys]
    assert not [text for text in texts(figure.wide) if text.startswith("today")]


@pytest.mark.parametrize(
    "points",
    [
        [],
        [point(10)],
        [point(10), point(10)],
        [point(0), point(10)],
        [point(10, None, None), point(20, 0, 0)],
    ],
)
def test_a_curve_needs_two_volumes_and_a_cost(points: list[dict[str, Any]]) -> None:
    assert cost_figure(cost(points)) is None


@given(
    st.lists(
        st.tuples(st.floats(1e-3, 1e12), st.floats(1e-6, 1e12)),
        min_size=2,
        max_size=9,
        unique_by=lambda x: x[0],
    )
)
def test_every_volume_and_cost_can_be_drawn(pairs: list[tuple[float, float]]) -> None:
    figure = cost_figure(cost([point(volume, usd, usd * 2) for volume, usd in pairs]))
    assert figure is not None
    for markup in (figure.wide, figure.narrow):
        _, _, width, height = map(float, drawing(markup).attrib["viewBox"].split())
        assert all(0 <= value <= max(width, height) for value in numbers(markup))


@given(st.floats(-1, 1), st.floats(0.01, 2), st.integers(2, 8))
def test_even_ticks_enclose_their_range(low: float, width: float, most: int) -> None:
    ticks = even_ticks(low, low + width, most)
    assert ticks[0] <= low + 1e-9
    assert ticks[-1] >= low + width - 1e-9
    assert 2 <= len(ticks) <= most + 2


@given(st.floats(1e-6, 1e9), st.floats(1.5, 1e9), st.integers(3, 9))
def test_logarithmic_ticks_lie_within_their_range(low: float, factor: float, most: int) -> None:
    ticks = log_ticks(low, low * factor, most)
    assert all(low * 0.999 <= tick <= low * factor * 1.001 for tick in ticks)
    assert len(ticks) <= most + 3
    assert ticks == sorted(ticks)


def test_decades_are_thinned_and_single_ones_divided() -> None:
    assert log_ticks(1, 1e8, 5) == [1, 100, 10_000, 1_000_000, 100_000_000]
    assert log_ticks(10, 90, 8) == [10, 20, 50]
    assert log_ticks(9000, 12_000, 4) == [9000, 10_000, 11_000, 12_000]


def test_a_scale_keeps_values_inside() -> None:
    scale = Scale(1, 100, 0, 200, logarithmic=True)
    assert [scale(value) for value in (0.1, 1, 10, 1000)] == [0, 0, 100, 200]


def test_elements_escape_what_they_are_given() -> None:
    assert element("text", '<b>"&', x=1.26, class_='"') == '<text x="1.3" class="&#34;">&lt;b&gt;&#34;&amp;</text>'


@given(st.text(), st.integers(60, 400))
def test_fitted_text_takes_no_more_room_than_there_is(text: str, width: int) -> None:
    assert text_width(fitted(text, width, 14), 14) <= width


def test_fitted_text_is_shortened_no_further_than_to_four_characters() -> None:
    assert fitted("W" * 100, 1, 14) == "WW…W"


@pytest.mark.parametrize("narrow", [False, True])
def test_the_number_at_a_bar_that_falls_from_the_right_end_keeps_inside_the_figure(narrow: bool) -> None:
    rows = [
        BarRow(name="people", segments=(Segment(0.0, 1_340_000.0, "bar rented"),), right_text="+1,340,000"),
        BarRow(name="premium", segments=(Segment(1_340_000.0, 0.0, "bar own"),), right_text="−1,340,000"),
    ]
    drawn = bar_chart(rows, BarChart(label="waterfall", tick_text=str), narrow=narrow)
    width = float(re.search(r'viewBox="0 0 (\d+)', drawn)[1])  # type: ignore[index]
    starts = [float(x) for x in re.findall(r'<text x="([\d.]+)"[^>]*>[+−]1,340,000<', drawn)]
    assert len(starts) == 2
    assert all(start + text_width("−1,340,000", 12.0) <= width for start in starts)
