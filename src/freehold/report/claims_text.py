"""Audited claims as plain text: claim, recomputation, verdict, and what would make it true."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.report._plain import bullets, joined, plain_table, sentence
from freehold.report.claims_view import claim_views, summary_sentence
from freehold.report.tables import Column, Table
from freehold.report.visible import columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from freehold.report.claims_view import ClaimView, Remedy

_INDENT = "     "
_FEW = 3
"""So many claims fit on a screen with all that there is to say about them."""


def claims_text(record: Mapping[str, Any], *, everything: bool = False) -> str:  # Any: JSON
    """All verdicts on a screen; with `everything`, or where there are few, each with its arithmetic and remedies.

    Sources of the inputs are in the record.
    """
    views = claim_views(record)
    inputs = record.get("inputs") or {}
    in_full = everything or len(views) <= _FEW
    catalogue = (record.get("versions") or {}).get("price_catalogue", "unknown catalogue")
    return joined(
        sentence(record.get("source")),
        sentence(summary_sentence(views)),
        plain_table(_overview(views)),
        *("\n".join(_lines(view)) for view in views if in_full),
        bullets("Assumed", record.get("assumptions") or ()),
        sentence(
            f"Prices as of {inputs.get('as_of')} from {catalogue}. "
            + ("" if in_full else "Arithmetic, and what would make each claim true: --all. ")
            + "Sources of every input: --json."
        ),
    )


def formulas_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """What a claim can be computed with."""
    return joined(*("\n".join(_formula_lines(each)) for each in record["formulas"]))


def _lines(view: ClaimView) -> Iterator[str]:
    yield f"{view.id}  {view.verdict.upper()}"
    yield _indented(view.text)
    compared = [
        f"{name} {value}"
        for name, value in (("stated", view.stated), ("recomputed", view.recomputed), ("ratio", view.ratio))
        if value
    ]
    if compared:
        yield _indented("; ".join(compared))
    yield _indented(view.arithmetic, mark="" if view.arithmetic.startswith("nothing") else "= ")
    yield _indented(view.reason, mark="→ ")
    for note in view.notes:
        yield _indented(note, mark="! ")
    for name, arithmetic in view.evidence:
        yield _indented(f"{name}: {arithmetic}", mark="+ ")
    yield from _remedies("Exactly as stated at:" if view.standing == "holds" else "True if, alone:", view.remedies)
    yield from _remedies("Not by:", view.unreachable)


def _remedies(heading: str, remedies: tuple[Remedy, ...]) -> Iterator[str]:
    if not remedies:
        return
    yield f"{_INDENT}{heading}"
    widest = max(columns(remedy.label) for remedy in remedies)
    longest = max(columns(remedy.value) for remedy in remedies)
    for remedy in remedies:
        label = remedy.label + " " * (widest - columns(remedy.label))
        value = f"{remedy.value:<{longest}}  " if longest else ""
        first = f"{_INDENT}  {label}  {value}"
        yield sentence(remedy.detail, indent=" " * columns(first), first=first)


def _indented(text: str, *, mark: str = "") -> str:
    return sentence(text, indent=_INDENT + " " * len(mark), first=_INDENT + mark)


def _overview(views: list[ClaimView]) -> Table:
    return Table(
        "All claims; ratio: stated over recomputed",
        (
            Column("id"),
            Column("verdict"),
            Column("stated"),
            Column("recomputed"),
            Column("ratio", is_number=True),
        ),
        tuple((view.id, view.verdict, view.stated or "–", view.recomputed or "–", view.ratio or "–") for view in views),
    )


def _formula_lines(formula: Mapping[str, Any]) -> Iterator[str]:
    yield sentence(f"{formula['name']}: {formula['about']}, in {formula['unit']}", indent="  ")
    yield sentence(f"= {formula['expression']}", indent="      ", first="    ")
    yield sentence(
        "inputs: " + ", ".join(f"{each['name']} ({each['unit']})" for each in formula["inputs"]),
        indent="      ",
        first="    ",
    )
