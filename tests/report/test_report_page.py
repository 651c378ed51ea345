from __future__ import annotations

import copy
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from freehold.report import verdict_page as module
from freehold.report.operations_table import operations_table
from freehold.report.verdict_page import verdict_page

CSS = Path(module.__file__).parent / "templates" / "verdict.css"
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Tags with their attributes and ancestors, and whether every tag was closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None], tuple[str, ...]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs), tuple(self.open)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open and data.strip():
            self.words.append(data.strip())

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes, _ in self.tags if name == tag]


@pytest.fixture
def report(decision: dict[str, Any], audit_record: dict[str, Any], dataset_record: dict[str, Any]) -> Page:
    steps = [{"name": "import", "seconds": 1.2, "ok": True}]
    return Page(verdict_page([decision], audit=audit_record, datasets=[dataset_record], steps=steps))


def test_the_verdict_stands_first_in_one_sentence(report: Page) -> None:
    words = report.words[report.words.index("Freehold verdict") :]
    assert words[1] == "Own or rent"
    assert words[3] == "Stay renting"
    assert words[4].startswith("Stay renting support_intent: at 1,010 queries a month renting costs $")


def test_the_page_loads_and_runs_nothing(report: Page) -> None:
    assert report.open == []
    assert {name for name, _, _ in report.tags}.isdisjoint({"script", "img", "iframe", "object", "form"})
    for _, attributes, _ in report.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("href", "src"):
            target = attributes.get(name)
            assert target is None or target.startswith(("#", "data:,"))
    style = CSS.read_text(encoding="utf-8")
    assert "url(" not in style
    assert "@import" not in style
    policy = next(each for each in report.named("meta") if each.get("http-equiv") == "Content-Security-Policy")
    assert (policy["content"] or "").startswith("default-src 'none'")


def test_headings_go_down_step_by_step(report: Page) -> None:
    levels = [int(name[1]) for name, _, _ in report.tags if re.fullmatch(r"h[1-6]", name)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))


def test_every_table_has_a_caption_and_every_head_a_scope(report: Page) -> None:
    assert len(report.named("caption")) == len(report.named("table")) > 8
    assert all(attributes.get("scope") in {"row", "col"} for attributes in report.named("th"))


def test_every_drawing_says_what_it_shows(report: Page) -> None:
    charts = [each for each in report.named("svg") if "chart" in (each.get("class") or "")]
    assert len(charts) == 6
    assert all(each["role"] == "img" and each["aria-label"] for each in charts)


def test_ids_are_unique_and_links_lead_somewhere(report: Page) -> None:
    ids = [attributes["id"] for _, attributes, _ in report.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {f"#{each}" for each in ids} >= {each["href"] for each in report.named("a")}


def test_the_evidence_names_what_repeats_it(report: Page, decision: dict[str, Any]) -> None:
    text = " ".join(report.words)
    assert decision["id"] in text
    assert decision["hashes"]["evaluation"] in text
    assert f"freehold decide --verify {decision['id']}.json" in text
    assert "billed as gpt-4o (assumption)" in text
    assert "as of 2026-06-15" in text
    assert "genai-prices" in text
    assert "Prices as of 2026-06-15. Seed 3." in text
    assert "human-labelled" in text
    assert "contradictory" in text
    assert "EMAIL 90" in text


def test_the_same_records_give_the_same_bytes(decision: dict[str, Any]) -> None:
    assert verdict_page([decision]) == verdict_page([copy.deepcopy(decision)])


def test_without_decisions_the_page_says_so() -> None:
    assert "No decision was made yet." in " ".join(Page(verdict_page([])).words)


def test_a_bare_decision_shows_what_was_not_measured() -> None:
    page = Page(verdict_page([{"task": "triage", "verdict": "undecided", "next_measurement": "own-model"}]))
    text = " ".join(page.words)
    assert "Undecided on triage." in text
    assert "tune an own model and evaluate it" in text
    assert "No cost curve was computed." in text
    assert "The dataset was not given to this page." in text
    assert text.count("not measured") > 3


def test_a_breakeven_without_upper_end_may_never_come(decision: dict[str, Any]) -> None:
    changed = copy.deepcopy(decision)
    changed["inputs"]["cost"] |= {
        "breakeven_queries_per_month": {"p5": 4e6, "p50": 9e6, "p95": None},
        "breakeven_reason": "In 7.0 % of the draws no volume pays.",
    }
    changed["inputs"]["cost"]["inputs"] |= {"hosted": {"model": "open", "note": "a stated rate"}, "own": None}
    text = " ".join(Page(verdict_page([changed])).words)
    assert "4 M to never; today 1,010" in text
    assert "In 7.0\u00a0% of the draws no volume pays." in text
    assert "price of the open model" in text
    assert "open: not measured in and not measured out per million tokens" in text
    assert "a stated rate" in text


def test_given_and_odd_assumptions_are_marked(decision: dict[str, Any]) -> None:
    changed = copy.deepcopy(decision)
    changed["inputs"]["cost"]["assumptions"] = [
        {
            "name": "fte",
            "value": 0.2,
            "unit": "engineers",
            "source": "given by the user",
            "is_assumption": False,
        },
        {"name": "tier", "value": "standard", "unit": "", "source": "log", "is_assumption": True},
    ]
    words = Page(verdict_page([changed])).words
    assert words[words.index("fte") + 3] == "given"
    assert "standard" in words


def test_an_extraction_lists_its_weakest_fields(decision: dict[str, Any]) -> None:
    changed = copy.deepcopy(decision)
    evaluation = changed["inputs"]["evaluation"]
    evaluation["contenders"] = [each for each in evaluation["contenders"] if each["kind"] != "own"]
    evaluation["confusions"] = [{"contender": "rented-large", "target": "merchant", "given": None, "count": 7}]
    words = Page(verdict_page([changed], datasets=[{"task": "support_intent"}])).words
    start = words.index("Fields most often wrong, all contenders")
    assert words[start + 1 : start + 7] == ["field", "contender", "cases", "merchant", "rented-large", "7"]


EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202e\u0000"


def hostile(value: Any) -> Any:  # Any: JSON
    """The record with something nasty in every text that others wrote."""
    if isinstance(value, dict):
        return {key: hostile(each) for key, each in value.items()}
    if isinstance(value, list):
        return [hostile(each) for each in value]
    return value + EVIL + "x" * 10_000 if isinstance(value, str) else value


def test_a_dataset_with_nothing_odd_says_none() -> None:
    dataset = {"task": "triage", "pii": {}, "near_duplicates": {"groups": 0}, "contradictions": []}
    words = Page(verdict_page([{"task": "triage"}], datasets=[dataset])).words
    assert "none found; names of people are not searched for" in words
    assert words[words.index("Near-duplicates") + 1] == "none"
    assert words[words.index("Contradictions to adjudicate") + 1] == "none"


def test_near_duplicates_are_counted_in_texts_and_groups() -> None:
    dataset = {"task": "triage", "near_duplicates": {"groups": 5, "texts": 12, "largest": 4}}
    text = " ".join(Page(verdict_page([{"task": "triage"}], datasets=[dataset])).words)
    assert "12 texts in 5 groups, each on one side of the split" in text


def test_operations_are_shown_with_what_is_not_measured(report: Page) -> None:
    words = report.words[report.words.index("Operations") :]
    assert words[1] == "Running the own model (this does not decide the verdict)"
    cells = dict(zip(words[4:12:2], words[5:12:2], strict=True))
    assert cells["latency of the own model"] == "not measured"
    assert cells["p95 latency of the rented model"] == "not in this record"
    assert cells["replicas at this volume, predicted"] == "1"
    assert cells["their load in the busiest hour, predicted"] == "0.2\u00a0%"
    assert words[12].startswith("Operations do not decide the verdict.")


def test_a_load_that_rounds_to_nothing_is_no_zero() -> None:
    told = [operations_table({"operations": {"load_at_volume": load}}).rows[-1][1] for load in (0.0004, 0.0, None)]
    assert told == ["below 0.1 %", "0.0 %", "not measured"]


def test_a_record_without_operations_has_no_such_section() -> None:
    assert "Operations" not in Page(verdict_page([{"task": "triage"}])).words


def test_hostile_words_stay_words(decision: dict[str, Any], audit_record: dict[str, Any]) -> None:
    html = verdict_page(
        [hostile(decision)],
        audit=hostile(audit_record),
        datasets=[hostile({"task": "support_intent", "excluded": [{"reason": "x", "rows": 1}]})],
        title=EVIL,
        steps=[{"name": EVIL, "seconds": 1, "ok": False}],
    )
    page = Page(html)
    assert page.open == []
    assert {name for name, _, _ in page.tags}.isdisjoint({"script", "img"})
    assert "\u202e" not in html
    assert "\u0000" not in html
    assert "\\u202e" in html
    assert len(html) < 600_000


def colours(scheme: str) -> dict[str, str]:
    """Custom properties of one colour scheme."""
    style = CSS.read_text(encoding="utf-8")
    start = {"light": 0, "dark": style.index("prefers-color-scheme"), "print": style.index("@media print")}[scheme]
    block = style[style.index(":root", start) :]
    return dict(re.findall(r"--(\w[\w-]*): (#[0-9a-f]{6})", block[: block.index("}")]))


def contrast(one: str, other: str) -> float:
    """Contrast ratio of WCAG 2, from 1 to 21."""

    def luminance(colour: str) -> float:
        parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_colours_are_far_enough_apart(scheme: str) -> None:
    colour = colours(scheme)
    for text in ("ink", "soft", "own", "rented", "hybrid", "other", "baseline"):
        assert contrast(colour[text], colour["paper"]) >= 4.5, text
        assert contrast(colour[text], colour["ground"]) >= 4.5, text
    for badge in ("soft", "own", "rented", "hybrid"):
        assert contrast(colour["on-mark"], colour[badge]) >= 4.5, badge
    assert contrast(colour["edge"], colour["paper"]) >= 3
