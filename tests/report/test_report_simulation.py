from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.report.simulation_page import load_figure, load_picture, simulation_page
from freehold.report.simulation_tables import simulation_finding, simulation_text, wait


def window(t_s: float, calls: int = 5, ttft: float | None = 120.0) -> dict[str, Any]:
    return {"t_s": t_s, "calls": calls, "busy": 0.4, "kv_peak": 0.1, "ttft_p95_ms": ttft}


def record(**more: Any) -> dict[str, Any]:
    return {
        "replicas": 2,
        "simulated_replicas": 2,
        "searched": True,
        "meets_slo": True,
        "reason": None,
        "replicas_interval": [2, 3],
        "goals": {"ttft_p95_ms": 500.0, "tpot_p95_ms": 50.0},
        "ttft_ms": {"p50": 40.2, "p95": 224.1, "p99": 1400.0},
        "tpot_ms": {"p50": 4.69, "p95": 27.7, "p99": None},
        "queue_ms": {"p50": 0.0, "p95": 1.0, "p99": 2.0},
        "calls": 15,
        "trace_s": 90.0,
        "window_s": 30.0,
        "windows": [window(0.0), window(30.0, 0, None), window(60.0)],
        "utilisation": 0.147,
        "capacity_used": 0.045,
        "peak_to_mean": 4.1,
        "usd_per_1000_calls": 0.79,
        "usd_reason": None,
        "warnings": ["one <row> was odd"],
        "assumptions": [
            {"name": "rent", "value": [1.0, 2.0, 3.0], "unit": "USD/h", "source": "a page", "is_assumption": False},
            {"name": "a call goes to", "value": "least-loaded", "unit": "", "source": "", "is_assumption": True},
        ],
        "inputs": {"trace": "calls.jsonl", "model": "m", "gpu": "h100", "gpus": 1},
        "seed": 0,
        "wall_s": 1.2,
        **more,
    }


def test_the_answer_in_a_sentence() -> None:
    level = "500 ms to the first token and 50 ms for each further one"

    assert simulation_finding(record()) == (
        f"2 replicas of 1 × h100 hold {level} (p95), the fewest that do, at $0.79 for 1,000 calls."
    )
    one = record(replicas=1, simulated_replicas=1, searched=False, meets_slo=False, usd_per_1000_calls=None)
    assert simulation_finding(one) == f"1 replica of 1 × h100 does not hold {level} (p95)."
    two = record(searched=False, meets_slo=False)
    assert "2 replicas of 1 × h100 do not hold" in simulation_finding(two)
    none = record(replicas=None, reason="It is too slow.")
    assert simulation_finding(none) == f"No number of replicas holds {level}. It is too slow."


def test_the_text_says_what_is_unknown() -> None:
    text = simulation_text(
        record(usd_per_1000_calls=None, usd_reason="No price is known.", replicas_interval=[2, None])
    )

    assert "never" in text  # p99 of the further tokens
    assert "Cost is not known: No price is known." in text
    assert "of measured speeds: 2; at the 5th: none" in text
    assert "1 / 2 / 3" in text
    assert "percentile of measured speeds" not in simulation_text(record(replicas_interval=None))


def test_the_page_holds_everything_and_fetches_nothing() -> None:
    page = simulation_page(record())

    assert "Goals held" in page
    assert "one &lt;row&gt; was odd" in page
    assert "2 to 3 over the spread of engines" in page
    assert "src=" not in page
    assert "Goals missed" in simulation_page(record(meets_slo=False, warnings=[], windows=[], replicas_interval=[2, 2]))


def test_a_last_window_that_is_hardly_covered_is_not_drawn() -> None:
    whole, part = load_figure(record()), load_figure(record(trace_s=65.0))

    assert whole is not None
    assert part is not None
    assert (">80<" in str(whole.wide), ">80<" in str(part.wide)) == (True, False)
    assert load_figure(record(windows=[])) is None
    assert load_figure(record(windows=[window(0.0)], trace_s=0.0)) is not None


def test_the_picture_stands_alone() -> None:
    drawing = ET.fromstring(load_picture(record()))
    texts = [each.text for each in drawing.iter("{http://www.w3.org/2000/svg}text")]

    assert {"calls a second", "goal 500 ms", "seconds"} <= set(texts)
    assert "prefers-color-scheme" in (drawing[0].text or "")
    with pytest.raises(ValueError, match="no picture"):
        load_picture(record(windows=[]))


@given(
    st.lists(
        st.tuples(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1), st.none() | st.floats(1e-3, 1e7)),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from([1.0, 60.0, 3600.0, 604_800.0]),
    st.none() | st.floats(1e-3, 1e7),
)
def test_every_line_stays_inside_the_picture(
    rows: list[tuple[int, float, float, float | None]], width: float, goal: float | None
) -> None:
    windows = [
        {"t_s": width * at, "calls": calls, "busy": busy, "kv_peak": kv, "ttft_p95_ms": ttft}
        for at, (calls, busy, kv, ttft) in enumerate(rows)
    ]
    figure = load_figure(
        record(windows=windows, window_s=width, trace_s=width * len(rows), goals={"ttft_p95_ms": goal})
    )

    assert figure is not None
    for drawn in (figure.wide, figure.narrow):
        root = ET.fromstring(str(drawn))
        _, _, right, bottom = (float(each) for each in root.attrib["viewBox"].split())
        for each in root.iter():
            for name, most in (("x", right), ("x1", right), ("x2", right), ("y", bottom), ("y1", bottom)):
                assert -0.1 <= float(each.attrib.get(name, 0)) <= most + 0.1
            for pair in each.attrib.get("d", "").removeprefix("M").removesuffix(" Z").split(" L"):
                if pair:
                    x, y = map(float, pair.split())
                    assert -0.1 <= x <= right + 0.1
                    assert -0.1 <= y <= bottom + 0.1


def test_a_wait_keeps_three_digits() -> None:
    assert [wait(value) for value in (5.1811, 346.19, 999.6, 43_102.0, None)] == [
        "5.18 ms", "346 ms", "1.0 s", "43 s", "not measured"
    ]  # fmt: skip
