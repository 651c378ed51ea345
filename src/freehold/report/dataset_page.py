"""A dataset as one self-contained HTML page: nothing is fetched, nothing runs, and it prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.report._page import rendered
from freehold.report.dataset_facts import dataset_facts
from freehold.report.dataset_tables import (
    dataset_figures,
    doubt_table,
    hygiene_facts,
    length_table,
    review_table,
    sample_table,
    terms_table,
)
from freehold.report.numbers import count
from freehold.report.tables import Column, Table, provenance_table, row_table
from freehold.report.verdict_page import Fact
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping


def dataset_page(record: Mapping[str, Any]) -> str:  # Any: JSON of schema freehold.dataset/1
    """The page: how many rows, how they are spread, what was checked, what to look at, and samples."""
    rows = record.get("rows") or {}
    return rendered(
        "dataset.html",
        title=visible(record.get("dataset"), 120),
        sentence=f"{count(rows.get('train'))} rows to train on, {count(rows.get('validation'))} to choose by, "
        f"{count(rows.get('test'))} to test with.",
        facts=_facts(record),
        figures=dataset_figures(record),
        warnings=[visible(each, 1_000) for each in record.get("warnings") or ()],
        tables=(
            _checks(record),
            row_table(record),
            provenance_table(record),
            terms_table(record),
            length_table(record),
        ),
        review=(review_table(record), doubt_table(record)),
        samples=sample_table(record),
        sha256=visible(record.get("sha256"), 64),
    )


def _facts(record: Mapping[str, Any]) -> list[Fact]:  # Any: JSON
    return [
        Fact("Duplicates", count(record.get("duplicates_grouped")), "rows that share a group with another"),
        Fact("Leaks", count(record.get("leaks")), "rows near held-out ones, left out"),
        Fact("Conflicts", count(record.get("label_conflicts")), "inputs with two answers by humans"),
    ]


def _checks(record: Mapping[str, Any]) -> Table:  # Any: JSON
    return Table(
        "What was checked", (Column("check"), Column("found")), (*dataset_facts(record), *hygiene_facts(record))
    )
