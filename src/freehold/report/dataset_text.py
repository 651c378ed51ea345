"""Datasets and what changed between two of them, as plain text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.report._plain import bullets, joined, plain_table, sentence
from freehold.report.dataset_facts import dataset_facts
from freehold.report.dataset_tables import (
    doubt_table,
    hygiene_facts,
    length_table,
    review_table,
    terms_table,
)
from freehold.report.numbers import count
from freehold.report.tables import Column, Table, provenance_table, row_table
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    Record = Mapping[str, Any]  # Any: JSON

_SHOWN_SETTINGS = 12
_SHOWN_IDS = 5


def dataset_text(record: Record) -> str:
    """Rows by split, rows left out by reason, provenance, what was checked, samples and warnings."""
    facts = (*dataset_facts(record), *hygiene_facts(record))
    return joined(
        sentence(f"Dataset {record.get('dataset')} of task {record.get('task')}"),
        plain_table(row_table(record)),
        plain_table(provenance_table(record)),
        plain_table(terms_table(record)),
        plain_table(length_table(record)),
        "\n".join(sentence(f"{name}: {value}") for name, value in facts),
        plain_table(review_table(record)),
        plain_table(doubt_table(record)),
        _samples(record),
        bullets("Warnings", record.get("warnings") or ()),
        sentence(f"Page: {visible(record['page'], 400)}") if record.get("page") else "",
    )


def _samples(record: Record) -> str:
    lines = [
        f"{split}: {visible(turns, 300)} → {visible(line.get('target'), 120)}"
        for split, of_split in (record.get("samples") or {}).items()
        for line in of_split
        for turns in [" / ".join(turn["content"] for turn in line["messages"] if turn["role"] != "system")]
    ]
    return bullets("Samples", lines)


def diff_text(record: Record) -> str:
    """What changed from one version to the other."""
    return joined(
        sentence(f"From {record.get('old')} to {record.get('new')}"),
        plain_table(_rows(record)),
        plain_table(_changes(record)),
        plain_table(_settings(record)),
        plain_table(_counts("Labels that have another number of rows", "label", record.get("classes") or {})),
        plain_table(_counts("Answers by who gave them", "answers", record.get("provenance") or {})),
    )


def _rows(record: Record) -> Table:
    return _counts("Rows", "split", record.get("rows") or {})


def _counts(caption: str, first: str, changes: Mapping[str, Mapping[str, int]]) -> Table:
    return Table(
        caption,
        (Column(first), Column("old", is_number=True), Column("new", is_number=True)),
        tuple((visible(name, 48), count(each.get("old")), count(each.get("new"))) for name, each in changes.items()),
    )


def _changes(record: Record) -> Table:
    rows = []
    for name, what in (("added", "came"), ("removed", "went"), ("answer_changed", "answered anew"), ("moved", "moved")):
        each = record.get(name) or {}
        why = [f"{rows} {reason}" for reason, rows in (each.get("reasons") or each.get("from_to") or {}).items()]
        ids = [visible(one, 40) for one in (each.get("ids") or ())[:_SHOWN_IDS]]
        rows.append((what, count(each.get("count")), "; ".join(why), ids[0] if ids else ""))
    return Table(
        "What became of rows",
        (Column("rows that"), Column("rows", is_number=True), Column("how"), Column("such as")),
        tuple(rows),
    )


def _settings(record: Record) -> Table:
    return Table(
        "Settings that differ",
        (Column("setting"), Column("old"), Column("new")),
        tuple(
            (visible(each.get("name")), visible(each.get("old"), 30), visible(each.get("new"), 30))
            for each in (record.get("settings") or ())[:_SHOWN_SETTINGS]
        ),
    )
