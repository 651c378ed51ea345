from __future__ import annotations

import os
import random
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from freehold.report.audit_page import audit_page
from freehold.report.breakeven_page import breakeven_page
from freehold.report.verdict_page import verdict_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path("/usr/bin/chromium")

TEXT_OUTSIDE_OR_OVERLAPPING = """() => {
  const faults = [];
  for (const svg of document.querySelectorAll("svg.chart")) {
    const frame = svg.getBoundingClientRect();
    if (frame.width === 0) continue;
    const boxes = [...svg.querySelectorAll("text")].map(text =>
      [text.textContent, text.getBoundingClientRect()]);
    for (const [words, box] of boxes) {
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1
          || box.bottom > frame.bottom + 1) faults.push(`outside: ${words}`);
    }
    boxes.forEach(([words, box], index) => {
      for (const [others, other] of boxes.slice(index + 1)) {
        const wide = Math.min(box.right, other.right) - Math.max(box.left, other.left);
        const high = Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top);
        if (wide > 1 && high > 4) faults.push(`overlap: ${words} / ${others}`);
      }
    });
  }
  return faults;
}"""


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    """Debian's Chromium, which must not call home."""
    if not CHROMIUM.exists():
        reason = f"{CHROMIUM} is not installed; apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    switches = [
        "--no-sandbox",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
    ]
    return {"executable_path": str(CHROMIUM), "args": switches}


def assert_clean(page: Page, html: str, folder: Path) -> None:
    """The page fits its window, asks for nothing, complains about nothing and keeps its labels inside."""
    file = folder / "report.html"
    file.write_text(html, encoding="utf-8")
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(file.as_uri())
    assert [url for url in requests if not url.startswith("data:")] == [file.as_uri()]
    assert complaints == []
    width = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width[0] <= width[1]
    assert page.evaluate(TEXT_OUTSIDE_OR_OVERLAPPING) == []


@pytest.fixture
def html(decision: dict[str, Any], audit_record: dict[str, Any], dataset_record: dict[str, Any]) -> str:
    steps = [{"name": "import", "seconds": 1.2, "ok": True}]
    other = decision | {"task": "dispute_fields"}
    return verdict_page([decision, other], audit=audit_record, datasets=[dataset_record], steps=steps)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
def test_the_report_fits_its_window_and_asks_for_nothing(
    browser: Browser, html: str, tmp_path: Path, width: int, scheme: Any
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    assert_clean(page, html, tmp_path)
    shown = page.locator("svg.chart:visible")
    assert shown.count() == 6
    assert all("wide" in (each.get_attribute("class") or "") for each in shown.all()) is (width == 1200)
    page.close()


@pytest.mark.parametrize("width", [1200, 390])
def test_hostile_words_do_not_break_the_layout(
    browser: Browser, decision: dict[str, Any], tmp_path: Path, width: int
) -> None:
    evil = "<script>alert(1)</script>\u202e失" + "W" * 10_000
    evaluation = decision["inputs"]["evaluation"]
    contenders = [each | {"name": each["name"] + evil} for each in evaluation["contenders"]]
    confusions = [each | {"target": evil, "given": evil} for each in evaluation["confusions"]]
    changed = decision | {
        "task": evil,
        "reasons": [evil],
        "notes": [evil],
        "inputs": decision["inputs"]
        | {"evaluation": evaluation | {"contenders": contenders, "confusions": confusions}},
    }
    page = browser.new_page(viewport={"width": width, "height": 900})
    assert_clean(page, verdict_page([changed], title=evil), tmp_path)
    page.close()


def test_print_shows_the_wide_drawings_in_dark_ink(browser: Browser, html: str, tmp_path: Path) -> None:
    page = browser.new_page(viewport={"width": 690, "height": 1000}, color_scheme="dark")
    page.emulate_media(media="print")
    assert_clean(page, html, tmp_path)
    assert page.locator("svg.chart.wide:visible").count() == 6
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
def test_the_break_even_page_fits_its_window_and_asks_for_nothing(
    browser: Browser, board: dict[str, Any], tmp_path: Path, width: int, scheme: Any
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    assert_clean(page, breakeven_page(board), tmp_path)
    page.close()


@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_the_break_even_page_prints_on_two_sides(
    browser: Browser, board: dict[str, Any], tmp_path: Path, paper: str
) -> None:
    file = tmp_path / "board.html"
    file.write_text(breakeven_page(board), encoding="utf-8")
    page = browser.new_page()
    page.goto(file.as_uri())
    printed = page.pdf(format=paper, prefer_css_page_size=False, print_background=True)
    page.close()
    assert len(re.findall(rb"/Type\s*/Page[^s]", printed)) == 2


NAME_OVER_BUBBLE = """() => [...document.querySelectorAll("svg.chart:not([hidden])")].flatMap(svg => {
  const bubbles = [...svg.querySelectorAll("circle.bubble")].map(each => each.getBoundingClientRect());
  return [...svg.querySelectorAll("text")].filter(text => {
    const box = text.getBoundingClientRect();
    return box.width && bubbles.some(other =>
      Math.min(box.right, other.right) - Math.max(box.left, other.left) > 1
      && Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top) > 3);
  }).map(text => text.textContent);
})"""


def audited(tasks: int, *, known: float) -> dict[str, Any]:  # Any: JSON
    """What an audit's page is drawn from: tasks of all volumes, many at the same one, with names of all kinds."""
    draw = random.Random(tasks)
    names = ["W" * 200, "<script>alert(1)</script>", "=SUM(A1)", "\u202eksat", "文書分類のとても長い名前", "it's"]
    record: dict[str, Any] = {"total": {"calls": 1, "cost_usd": 1.0}, "ranking": [], "week": {}}
    record["tasks"] = [
        {
            "task": names[number] if number < len(names) else f"client-{number}",
            "calls": 1,
            "calls_per_month": 10 ** draw.uniform(0, 7) if number % 3 else 120_000.0,
            "replaceability": min(1.0, draw.gauss(0.85, 0.1)) if draw.random() < known else None,
            "usd_per_month": 10 ** draw.uniform(0, 6),
        }
        for number in range(tasks)
    ]
    record["ranking"] = [
        {"rank": rank, "task": each["task"], "action": "batch", "usd_per_month": 1e6, "certainty": "if-it-can-wait"}
        for rank, each in enumerate(record["tasks"], start=1)
    ]
    return record


@pytest.mark.parametrize("known", [1.0, 0.6, 0.0])
@pytest.mark.parametrize("tasks", [1, 3, 12, 43, 200])
def test_the_audit_names_no_task_over_another_and_shows_what_a_step_is_worth(
    browser: Browser, tmp_path: Path, tasks: int, known: float
) -> None:
    html = audit_page(audited(tasks, known=known))
    for width in (1280, 400):
        page = browser.new_page(viewport={"width": width, "height": 900})
        assert_clean(page, html, tmp_path)
        assert page.evaluate(NAME_OVER_BUBBLE) == []
        worth = page.locator(".steps td:nth-child(4)")
        assert worth.count() == min(10, tasks)
        for box in (each.bounding_box() for each in worth.all()):
            assert box is not None
            assert box["x"] > 0
            assert box["x"] + box["width"] <= width
        page.close()
