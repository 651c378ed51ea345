"""Tasks for people: all in a table, one with all that belongs to it, and what became of a change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.report._plain import joined, plain_table, sentence
from freehold.report.numbers import count, share
from freehold.report.tables import Column, Table
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

_OWNED = ("datasets", "models", "aliases", "corrections", "evaluations", "decisions", "rules", "keys", "calls")


def tasks_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """All tasks."""
    tasks = record.get("tasks") or ()
    table = Table(
        "Tasks: what each is, and what belongs to it",
        (
            Column("task"),
            Column("kind"),
            Column("sure", is_number=True),
            Column("answers"),
            Column("calls", is_number=True),
            Column("corrections", is_number=True),
            Column("datasets", is_number=True),
            Column("models", is_number=True),
        ),
        tuple(
            (
                visible(task.get("task"), 60),
                visible(task.get("kind") or "not known"),
                _sure(task),
                _answers(task),
                count(task.get("calls")),
                count(task.get("corrections")),
                count(task.get("datasets")),
                count(task.get("models")),
            )
            for task in tasks
        ),
    )
    return joined(plain_table(table) if tasks else "No task yet.", _unassigned(record))


def task_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """One task."""
    facts = (
        ("Kind", f"{record.get('kind') or 'not known'} ({_sure(record)})"),
        ("Answers", _answers(record)),
        ("Calls", count(record.get("calls"))),
        *((what.capitalize(), count(record.get(what))) for what in _OWNED if what in record and what != "calls"),
        ("Own prompt", record.get("own_prompt") or "none"),
        ("Former names", ", ".join(record.get("former_names") or ()) or "none"),
    )
    table = "\n".join(f"{name:<14}{visible(value, 200)}" for name, value in facts)
    rules = "\n".join(f"  {_rule(rule)}" for rule in record.get("learned_rules") or ())
    known = f"New calls are known by:\n{rules}" if rules else "No rule was learned: new calls have to name the task."
    return joined(sentence(f"Task {visible(record.get('task'), 100)}"), table, known)


def edit_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """What a change did, and how to undo it."""
    carried = _listed(record.get("carried") or {})
    left = _listed(record.get("left") or {})
    lines = [
        sentence(record.get("finding") or ""),
        f"Along went: {carried or 'nothing else'}.",
        f"Stayed behind: {left}." if left else "",
        f"Undo: {record['undo']}" if record.get("undo") else "",
    ]
    return joined(*(line for line in lines if line))


def split_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """The parts of a task."""
    parts = record.get("parts") or ()
    if len(parts) < 2:
        return joined(f"The calls of {visible(record.get('task'), 100)} are all of one kind: nothing to split.")
    table = Table(
        "Parts" + (" (nothing was changed)" if record.get("dry_run") else ""),
        (Column("task"), Column("kind"), Column("sure", is_number=True), Column("calls", is_number=True)),
        tuple(
            (
                visible(part.get("task"), 60),
                visible(part.get("kind") or "not known"),
                _sure(part),
                count(part.get("calls")),
            )
            for part in parts
        ),
    )
    return joined(plain_table(table), f"Undo: {record['undo']}" if record.get("undo") else "")


def _sure(task: Mapping[str, Any]) -> str:  # Any: JSON
    if task.get("kind_is_set"):
        return "set"
    return "" if task.get("kind_confidence") is None else share(task["kind_confidence"])


def _answers(task: Mapping[str, Any]) -> str:  # Any: JSON
    labels = task.get("labels") or ()
    if labels:
        return f"{len(labels)} labels" if len(labels) > 3 else visible(", ".join(labels), 30)
    return {"extraction": "a JSON object", "text": "text", "classification": "labels"}.get(
        task.get("held_to") or "", ""
    )


def _rule(rule: Mapping[str, Any]) -> str:  # Any: JSON
    if rule.get("kind") == "words":
        return f"words: {visible(', '.join(rule.get('words') or ()), 140)}"
    where = "system message" if rule.get("kind") == "system" else "what is asked"
    return f"{where}: {visible(' … '.join(rule.get('anchors') or ()), 140)}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count(number)} {what}" for what, number in sorted(counts.items()) if number)


def _unassigned(record: Mapping[str, Any]) -> str:  # Any: JSON
    number = record.get("unassigned") or 0
    return f"{count(number)} calls are like no others and belong to no task." if number else ""
