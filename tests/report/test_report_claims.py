"""The auditor's page and its text: everything of the record is there, nothing of it is obeyed."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any, get_args

import pytest

from freehold.economics.claims.audit import audit
from freehold.economics.claims.claim import Verdict
from freehold.economics.claims.formulas import formulas_record
from freehold.economics.claims.reading import shipped_claims
from freehold.report import claims_page as module
from freehold.report.claims_page import claims_page
from freehold.report.claims_text import claims_text, formulas_text
from freehold.report.claims_view import STANDINGS, claim_views, summary_sentence
from freehold.report.visible import columns
from tests.report.test_report_browser import assert_clean, browser_type_launch_args
from tests.report.test_report_page import Page

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

__all__ = ["browser_type_launch_args"]


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:  # Any: JSON
    return audit(shipped_claims()).as_record()


def test_the_summary_adds_up_and_comes_first(record: dict[str, Any]) -> None:
    views = claim_views(record)

    # consistent 6 (C01, C06, C08, C18, C19, C20), plausible 1, confirmed 1
    expected = "Of 29 claims 8 hold, 15 do not hold, 3 cannot be checked and 3 are about what the text leaves out."
    assert summary_sentence(views) == expected
    assert summary_sentence(views[:1]) == "Of 1 claim 1 holds."
    assert claims_text(record).split("\n\n")[1].replace("\n", " ") == expected
    assert expected in claims_page(record)


def test_a_screen_holds_every_verdict_and_what_is_behind_them_has_to_be_asked_for(record: dict[str, Any]) -> None:
    short, whole = claims_text(record), claims_text(record, everything=True)

    assert len(short.splitlines()) <= 50
    assert all(claim["id"] in short and claim["verdict"] in short for claim in record["claims"])
    assert "--all" in short
    assert "--all" not in whole
    assert set(short.split("\n\n")[:3]) < set(whole.split("\n\n"))
    few = {**record, "claims": record["claims"][:3]}
    assert "C03  CONTRADICTS" in claims_text(few)


def test_every_verdict_of_the_closed_set_has_a_standing() -> None:
    assert set(STANDINGS) == set(get_args(Verdict))


def test_each_claim_shows_its_arithmetic_its_verdict_and_what_would_make_it_true(record: dict[str, Any]) -> None:
    page, text = claims_page(record), claims_text(record, everything=True)

    for claim in record["claims"]:
        assert f'id="{claim["id"]}"' in page
        assert f"{claim['id']}  {claim['verdict'].upper()}" in text
    assert "$1.027/GPU-h" in page
    assert "$1.027/GPU-h" in text
    assert "there are only whole ones" in text
    assert max(columns(line) for line in text.splitlines()) <= 100


def test_the_page_is_self_contained_and_every_tag_is_closed(record: dict[str, Any]) -> None:
    html = claims_page(record)
    page = Page(html)

    assert page.open == []
    ids = [attributes["id"] for _, attributes, _ in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    targets = [attributes["href"] for tag, attributes, _ in page.tags if tag == "a"]
    assert {target.removeprefix("#") for target in targets if target} <= set(ids)
    assert not any(tag in {"script", "img", "iframe", "object"} for tag, _, _ in page.tags)
    assert not re.search(r"(src|href)=.?https?:|url\(|@import", html)


def test_words_of_strangers_are_shown_and_not_obeyed(record: dict[str, Any]) -> None:
    hostile = copy.deepcopy(record)
    hostile["source"] = "<script>alert(1)</script>"
    claim = hostile["claims"][0]
    claim |= {"text": "<b onclick=x>\u202e", "verdict": "<i>", "reason": "a\x1b[31mb", "id": "A.b-c"}
    claim["evidence"] = [{"name": "<u>", "arithmetic": "1 < 2 && 3"}]
    claim["inputs"] = [{"name": "<s>", "value": "<q>", "unit": "", "source": "<p>", "is_stated": True}]

    page, text = claims_page(hostile), claims_text(hostile, everything=True)

    assert all(tag not in page for tag in ("<script>", "<b onclick", "<i>", "<u>", "<s>", "<q>"))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert claim_views(hostile)[0].standing == "open"


def test_a_record_with_next_to_nothing_is_shown_too() -> None:
    bare = {"claims": [{"id": "A", "ratio": [0.5, None], "inputs": [{"name": "fte", "is_stated": False}]}]}

    view = claim_views(bare)[0]

    assert (view.stated, view.recomputed, view.ratio, view.reason) == ("", "", "", "")
    assert view.ingredients[0].value.startswith("not stated")
    assert "A" in claims_text(bare)
    assert "A" in claims_page(bare)


def test_the_mark_lies_on_its_scale(record: dict[str, Any]) -> None:
    views = {view.id: view for view in claim_views(record)}

    assert 'cx="90"' in str(module._mark(views["C19"]))  # 1 is in the middle of 180
    assert "rect" in str(module._mark(views["C07"]))  # 17.9 to 500
    assert module._mark(views["C21"]) == ""
    # log10(10) = 1 of 3 decades: 6 + 168 × 4/6 = 118
    assert 'cx="118' in str(module._mark(views["C05"]))


def test_ratios_and_amounts_are_rounded_for_people() -> None:
    view = claim_views({"claims": [{"id": "A", "recomputed": 83428.5714, "unit": "USD/month", "ratio": 1.000216}]})[0]

    assert (view.recomputed, view.ratio) == ("$83,429/month", "1.0002")


def test_formulas_as_text() -> None:
    text = formulas_text(formulas_record())

    assert "gpu_hours_usd: rent of some GPU-hours, in USD" in text
    assert "    = gpu_hours × gpu_usd_per_hour" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_fits_its_window(
    browser: Browser, tmp_path: Path, record: dict[str, Any], scheme: Any, width: int
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    assert_clean(page, claims_page(record), tmp_path)
    page.close()
