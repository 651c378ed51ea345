"""The audit's page, its pictures and its CSV: everything of the record is there, and nothing of it is obeyed."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from freehold.audit.examine import Question, examine
from freehold.audit.rows import Source
from freehold.core.call import Call
from freehold.core.identity import call_id
from freehold.ledger.columns import table_of
from freehold.report.audit_csv import audit_csv
from freehold.report.audit_figures import replaceability_figure, spend_figure, week_figure
from freehold.report.audit_page import audit_page
from freehold.report.audit_text import audit_text
from freehold.report.tables import traffic_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from freehold.audit.examine import Examination

HOSTILE = [
    '=HYPERLINK("http://x","y")',
    "<script>alert(1)</script>",
    "+1",
    "@SUM(A1)",
    '"; drop table cube',
    "\u202eksat",
]
START = datetime(2026, 10, 5, 8, tzinfo=UTC)


def _calls(tasks: Sequence[str], *, days: int = 30, **fields: Any) -> list[Call]:  # Any: fields of a call
    calls = []
    for place, task in enumerate(tasks):
        for number in range(days * 4):
            moment = START + timedelta(days=number // 4, hours=number % 4, seconds=place)
            facts: dict[str, Any] = {
                "model_served": "gpt-5.4",
                "route": "rent",
                "status": 200,
                "input_tokens": 1000 + 100 * place,
                "output_tokens": 100,
                "duration_ms": 700.0,
                "request": {"messages": [{"role": "user", "content": f"is case {number} of {place} fine"}]},
                "response": {"choices": [{"message": {"content": ("yes", "no")[number % 2]}}]},
            }
            calls.append(Call(id=call_id(moment, f"{task}{number}"), task=task, started_at=moment, **(facts | fields)))
    return calls


def _found(calls: Sequence[Call]) -> Examination:
    question = Question(aliases={}, as_of=date(2026, 11, 20), with_lines=True)
    return examine(Source(calls=table_of(list(calls))), question)


@pytest.fixture(scope="module")
def hostile() -> Examination:
    return _found(_calls(HOSTILE))


class _Tags(HTMLParser):
    """Names of elements, text, and what would be fetched."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in {"src", "href"} and value != "data:,"]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_hostile_names_stay_names_and_nothing_is_fetched(hostile: Examination) -> None:
    page = _Tags(audit_page(hostile.as_record()))
    assert "script" not in page.tags
    assert page.fetched == []
    text = " ".join(page.words)
    assert "<script>alert(1)</script>" in text
    assert "\u202e" not in text
    assert page.tags.count("figure") == 3
    assert "\u202e" not in audit_text(hostile.as_record())


def test_no_cell_of_the_csv_is_a_formula_and_all_of_it_comes_back(hostile: Examination) -> None:
    rows = list(csv.DictReader(io.StringIO(audit_csv(hostile.lines), newline="")))
    assert len(rows) == len(hostile.lines) == 6 * 30
    for row in rows:
        assert not any((cell or "").startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row.values())
    assert {row["task"].removeprefix("'") for row in rows} == set(HOSTILE)
    assert sum(Decimal(row["cost_usd"]) for row in rows) == hostile.audit.cost_usd
    assert sum(int(row["calls"]) for row in rows) == 720


@pytest.mark.parametrize("name", [" =1+1", "\t=1", "\n@x", "＝1", "-2+3", "a,b\r\n=c", "\0=1"])
def test_every_way_to_begin_a_formula_is_kept_from_the_spreadsheet(name: str) -> None:
    (line,) = _found(_calls([name], days=1)).lines
    cell = next(csv.DictReader(io.StringIO(audit_csv([line]), newline="")))["task"]
    assert cell.startswith("'") or not cell.lstrip().startswith(("=", "+", "-", "@", "＝"))


def test_an_unknown_number_is_an_empty_cell() -> None:
    found = _found(_calls(["desk"], days=1, model_served="house", input_tokens=None, output_tokens=None))
    row = next(csv.DictReader(io.StringIO(audit_csv(found.lines), newline="")))
    assert (row["cost_usd"], row["input_tokens"], row["model"]) == ("", "", "house")


def test_the_pictures_tell_their_finding_in_words(hostile: Examination) -> None:
    record = hostile.as_record()
    spend, volume, week = spend_figure(record), replaceability_figure(record), week_figure(record)
    assert spend is not None
    assert volume is not None
    assert week is not None
    assert "of what was spent" in spend.title
    assert "of 6 tasks" in volume.title
    # Four hours of each day from eight on; every day of the week has calls in them.
    assert "08 h UTC" in week.title
    assert spend.wide.count("<rect") == 6 * 30
    assert week.wide.count("<rect") == 7 * 24


@pytest.mark.parametrize("fields", [{"model_served": "house"}, {"response": None, "request": None}, {"status": 500}])
def test_a_log_that_tells_little_makes_a_page_all_the_same(fields: dict[str, Any]) -> None:
    record = _found(_calls(["desk"], days=2, **fields)).as_record()
    json.dumps(record, allow_nan=False)
    assert "<html" in audit_page(record)
    assert audit_text(record)


def test_one_call_without_a_time_makes_a_page_without_pictures() -> None:
    record = _found([Call(id=call_id(START, "1"), task="desk", route="rent", status=200)]).as_record()
    json.dumps(record, allow_nan=False)
    page = _Tags(audit_page(record))
    assert "figure" not in page.tags
    assert record["tasks"][0]["tier"] is None


def test_calls_without_a_day_are_of_no_dates() -> None:
    rows = traffic_table({"tasks": [{"task": "desk", "first_day": None, "last_day": None}]}).rows
    assert "no dates" in rows[0]
    assert "? to ?" not in rows[0]


def test_years_of_days_become_weeks_and_months() -> None:
    calls = [
        Call(id=call_id(START, str(day)), task="desk", route="rent", status=200, model_served="gpt-4o",
             started_at=START - timedelta(days=day), input_tokens=10, output_tokens=1)
        for day in range(0, 1_000, 5)
    ]  # fmt: skip
    figure = spend_figure(_found(calls).as_record())
    assert figure is not None
    assert "US dollars a month" in figure.wide
    assert figure.wide.count("<rect") <= 34
