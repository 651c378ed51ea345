"""A dataset in tables and pictures: how long, how even, from when, and what is in doubt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.report._bars import BarChart, BarRow, Segment, bar_chart
from freehold.report.figures import Figure, Key
from freehold.report.numbers import NOT_MEASURED, count, number, share, volume
from freehold.report.tables import Column, Table
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Record = Mapping[str, Any]  # Any: JSON of schema freehold.dataset/1

_SPLITS = ("train", "validation", "test")
_MOST_BARS = 24
_FINDINGS = {
    "label-conflict": "same input, different answers (left out)",
    "near-conflict": "near-duplicates with different labels",
    "label-doubt": "labels that a linear probe doubts",
    "length-outlier": "far longer or shorter than the others",
}


def length_table(dataset: Record) -> Table:
    """Characters of inputs and answers by split."""
    lengths = dataset.get("lengths") or {}
    rows = [
        (f"{split} {what}", *(count(found.get(name)) for name in ("median", "p95", "longest")))
        for split in _SPLITS
        for what, found in (lengths.get(split) or {}).items()
        if found
    ]
    columns = tuple(Column(name, is_number=True) for name in ("median", "95 in 100", "longest"))
    return Table("Characters", (Column("split"), *columns), tuple(rows))


def terms_table(dataset: Record) -> Table:
    """Whose work the answers are, by split."""
    return _by_split("Whose work the answers are", "terms", dataset.get("terms") or {})


def review_table(dataset: Record) -> Table:
    """What somebody should look at, by kind."""
    findings = dataset.get("findings") or {}
    return Table(
        "To look at (review.jsonl)",
        (Column("what"), Column("rows", is_number=True)),
        tuple((_FINDINGS.get(kind, visible(kind)), count(rows)) for kind, rows in findings.items()),
    )


def hygiene_facts(dataset: Record) -> tuple[tuple[str, str], ...]:
    """Name and value of what was checked; nothing for versions that are older than the check."""
    leakage, noise, balance = (dataset.get(name) for name in ("leakage", "label_noise", "balance"))
    facts = []
    if dataset.get("duplicates_grouped") is not None:
        facts.append(("Grouped", f"{count(dataset['duplicates_grouped'])} rows, copies included, share a group"))
    if leakage is not None:
        across, numbers = leakage.get("groups_on_two_sides"), leakage.get("same_but_for_numbers")
        facts.append(
            (
                "Leaks",
                f"{count(leakage.get('left_out'))} rows near held-out ones left out, {count(across)} groups on two "
                f"sides, {count(numbers)} test rows differ from a training row in numbers alone",
            )
        )
    if noise is not None:
        facts.append(("Labels", _noise(noise)))
    if balance is not None:
        facts.append(
            (
                "Balance",
                f"{count(balance.get('classes'))} labels, the largest has {share(balance.get('largest_share'))} of the "
                f"training rows, the smallest {count(balance.get('smallest_rows'))}",
            )
        )
    return tuple(facts)


def _noise(noise: Mapping[str, Any]) -> str:  # Any: JSON
    if not noise.get("checked"):
        return f"{NOT_MEASURED}: too few rows"
    seen = (
        f"{count(noise.get('checked'))} checked by a linear probe, which names {share(noise.get('agreement'))} of them"
    )
    if noise.get("doubted") is None:
        return f"{seen}: too few to doubt any"
    return f"{seen} and doubts {count(noise['doubted'])}, {count(noise.get('doubted_in_test'))} of them in the test set"


def dataset_figures(dataset: Record) -> tuple[Figure, ...]:
    """Rows by label and by month, each part of a bar a split."""
    months = dataset.get("months") or {}
    figures = [_figure("label", dataset.get("classes") or {}, by_size=True)]
    if {month for of_side in months.values() for month in of_side} - {"undated"}:
        figures.append(_figure("month", months, by_size=False))
    return tuple(figure for figure in figures if figure is not None)


def _figure(what: str, by_split: Mapping[str, Mapping[str, int]], *, by_size: bool) -> Figure | None:
    names = sorted({name for of_side in by_split.values() for name in of_side})
    total = {name: sum(of_side.get(name, 0) for of_side in by_split.values()) for name in names}
    if len(names) < 2:
        return None
    shown = sorted(names, key=lambda name: (-total[name], name))[:_MOST_BARS] if by_size else names[-_MOST_BARS:]
    rows = [_bar(name, by_split, total[name]) for name in shown]
    more = f"; {len(names) - len(shown)} more are not drawn" if len(names) > len(shown) else ""
    title = _title(what, total, shown)
    chart = BarChart(label=title, tick_text=volume)
    return Figure(
        title=title,
        caption=f"Rows by {what}, each split after the other{more}.",
        wide=bar_chart(rows, chart, narrow=False),
        narrow=bar_chart(rows, chart, narrow=True),
        keys=tuple(Key(style=style, text=split) for split, style in _STYLES.items()),
    )


_STYLES = {"train": "bar own", "validation": "bar total", "test": "bar rented"}


def _title(what: str, total: Mapping[str, int], shown: Sequence[str]) -> str:
    if what == "month":
        return f"Rows from {visible(shown[0])} to {visible(shown[-1])}"
    most = max(total.values())
    return f"The largest label has {share(most / max(1, sum(total.values())))} of the rows"


def _bar(name: str, by_split: Mapping[str, Mapping[str, int]], total: int) -> BarRow:
    segments, start = [], 0.0
    for split, style in _STYLES.items():
        rows = number((by_split.get(split) or {}).get(name)) or 0.0
        if rows:
            segments.append(Segment(start, start + rows, style))
        start += rows
    return BarRow(name=visible(name, 48), segments=tuple(segments), right_text=count(total))


def _by_split(caption: str, first: str, by_split: Mapping[str, Mapping[str, int]]) -> Table:
    kinds = dict.fromkeys(kind for counts in by_split.values() for kind in counts)
    return Table(
        caption,
        (Column(first), *(Column(visible(split), is_number=True) for split in by_split)),
        tuple((visible(kind), *(count(counts.get(kind, 0)) for counts in by_split.values())) for kind in kinds),
    )


def sample_table(dataset: Record) -> Table:
    """Some rows as they are: what is asked and the answer, personal data masked."""
    rows = [
        (split, visible(_asked(line), 200), visible(line.get("target"), 80))
        for split in _SPLITS
        for line in (dataset.get("samples") or {}).get(split) or ()
    ]
    return Table("Samples", (Column("split"), Column("input"), Column("answer")), tuple(rows))


def _asked(line: Record) -> str:
    turns = [turn for turn in line.get("messages") or () if turn.get("role") != "system"]
    return " / ".join(str(turn.get("content")) for turn in turns)


def doubt_table(dataset: Record) -> Table:
    """The first rows of which the label is in doubt."""
    lines = (dataset.get("review") or {}).get("label-doubt") or ()
    return Table(
        "Labels in doubt, the surest first",
        (Column("call"), Column("split"), Column("label"), Column("rather"), Column("by", is_number=True)),
        tuple(
            (
                visible(each.get("id"), 40),
                visible(each.get("split")),
                visible(each.get("given"), 40),
                visible(each.get("likely"), 40),
                share(each.get("confidence")),
            )
            for each in lines
        ),
    )
