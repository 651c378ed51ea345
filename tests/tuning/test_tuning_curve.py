from __future__ import annotations

import math
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.tuning.curve import MOST_POINTS, loss_curve

SVG = "{http://www.w3.org/2000/svg}"


def points(picture: str) -> list[tuple[float, float]]:
    line = ET.fromstring(picture).find(f"{SVG}polyline")
    assert line is not None
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in line.attrib["points"].split())]


def test_a_falling_loss_is_a_falling_line_from_edge_to_edge() -> None:
    drawn = points(loss_curve([3.0, 2.0, 1.0], [2.5, 1.0]))
    # 56 to 628 across, 28 (highest) to 240 (lowest) down
    assert drawn == [(56.0, 28.0), (342.0, 134.0), (628.0, 240.0)]


def test_validation_stands_at_the_end_of_each_epoch() -> None:
    root = ET.fromstring(loss_curve([3.0, 2.0, 2.0, 1.0], [2.0, 1.0]))
    dots = [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in root.iter(f"{SVG}circle")]
    assert dots == [(pytest.approx(56 + 572 / 3, abs=0.1), 134.0), (628.0, 240.0)]


def test_a_long_run_is_drawn_by_means() -> None:
    drawn = points(loss_curve([float(step % 2) for step in range(10 * MOST_POINTS)], []))
    assert len(drawn) == MOST_POINTS
    assert {y for _, y in drawn} == {134.0}


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=16), max_size=30), st.lists(st.floats(0, 9)))
def test_any_losses_are_a_whole_picture_inside_its_frame(losses: list[float], validation: list[float]) -> None:
    for x, y in points(loss_curve(losses, validation)):
        assert math.isfinite(x + y)
        assert 0 <= x <= 640
        assert 0 <= y <= 280
