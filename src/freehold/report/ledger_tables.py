"""What came into the ledger and what lies there, as sentences and tables."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from freehold.report.numbers import exact, number, share
from freehold.report.tables import Column, Table
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

_FORMATS = {
    "rows": "calls, with answers of people or models",
    "corrections": "corrections of calls",
    "ledger": "export of a Freehold ledger",
    "trace": "trace: times and tokens of calls",
    "windows": "volumes: calls by client and window",
    "window-clients": "lengths of the calls of clients",
}


def counted(value: Any, noun: str) -> str:  # Any: a field of a JSON record
    """`1 call`, `2,000 calls`."""
    return f"{exact(value)} {noun}{'' if number(value) == 1 else 's'}"


def import_sentence(record: Mapping[str, Any]) -> str:  # Any: JSON
    """What was imported, there already, skipped and rejected, and how many corrections came with it."""
    words = record.get("corrections") or {}
    said = [f"{exact(words[kind])} {kind}" for kind in ("corrected", "accepted", "labelled") if words.get(kind)]
    people = f"; new answers of people: {', '.join(said)}" if said else "; no new answer of a person"
    verb = "Would import" if record.get("dry_run") else "Imported"
    return (
        f"{verb} {counted(record.get('imported'), 'row')}, {exact(record.get('duplicates'))} there already, "
        f"{exact(record.get('skipped'))} skipped, {exact(record.get('rejected_rows'))} rejected{people}."
    )


def recognised_table(record: Mapping[str, Any]) -> Table:  # Any: JSON
    """Each file with the kind that it was recognised as."""
    return Table(
        "Recognised",
        (Column("file"), Column("kind of file"), Column("rows", is_number=True)),
        tuple(
            (
                visible(each.get("file"), 48),
                _FORMATS.get(str(each.get("format")), visible(each.get("format"))),
                exact(each.get("rows")),
            )
            for each in record.get("recognised") or ()
        ),
    )


def imported_task_table(record: Mapping[str, Any]) -> Table:  # Any: JSON
    """Tasks of the rows, with the kind of work that they are taken for."""
    kinds, sure = record.get("kinds") or {}, record.get("kind_confidence") or {}
    held_out = record.get("held_out") or {}
    return Table(
        "Tasks; the kind is guessed from the answers, --kind settles it",
        (
            Column("task"),
            Column("kind"),
            Column("confidence", is_number=True),
            Column("rows", is_number=True),
            Column("held out", is_number=True),
        ),
        tuple(
            (
                visible(task, 48),
                visible(kinds.get(task) or "–"),
                "–" if sure.get(task) is None else share(sure[task]),
                exact(rows),
                exact(held_out.get(task, 0)),
            )
            for task, rows in (record.get("tasks") or {}).items()
        ),
    )


def held_out_sentence(record: Mapping[str, Any]) -> str:  # Any: JSON
    """What being held out means, where rows are."""
    held_out = sum((record.get("held_out") or {}).values())
    if not held_out:
        return ""
    return (
        f"Held out as test cases: {counted(held_out, 'row')}. They never train, and the audit does not count them "
        "as traffic."
    )


def left_out_sentence(audit: Mapping[str, Any]) -> str:  # Any: JSON
    """Rows of the ledger that are no rented traffic, so that nobody looks for them."""
    kinds = (
        ("held_out_calls", "held-out test case"),
        ("own_calls", "call of own models", "calls of own models"),
        ("shadow_calls", "shadow call"),
        ("labelled_rows", "labelled row that no model answered", "labelled rows that no model answered"),
    )
    totals = [(sum(number(task.get(name)) or 0 for task in audit.get("tasks") or ()), nouns) for name, *nouns in kinds]
    found = [
        counted(total, nouns[0]) if total == 1 or len(nouns) == 1 else f"{exact(total)} {nouns[1]}"
        for total, nouns in totals
        if total
    ]
    return f"Not counted as rented traffic: {', '.join(found)}." if found else ""


def unpriced_sentence(audit: Mapping[str, Any]) -> str:  # Any: JSON
    """Models with calls whose cost is unknown, and what to do about it."""
    models: Counter[str] = Counter()
    for task in audit.get("tasks") or ():
        models.update((task.get("unpriced") or {}).get("models") or {})
    if not models:
        return ""
    named = ", ".join(f"{visible(model, 60)} ({counted(calls, 'call')})" for model, calls in models.most_common(5))
    more = f" and {len(models) - 5} more" if len(models) > 5 else ""
    return (
        f"The cost is unknown, not zero, of {named}{more}: the calls have no time or no token counts, or the price "
        "catalogue does not know the model. Name what it is billed like under [prices.alias] in freehold.toml, or add "
        "its price with 'freehold prices override'."
    )
