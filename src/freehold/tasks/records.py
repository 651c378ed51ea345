"""Tasks as JSON records: what is known of each, and what belongs to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, func, select

from freehold.state.schema import ALIASES, CORRECTIONS, DATASETS, DECISIONS, EVALUATIONS, MODELS, TASK_NAMES, TASK_RULES
from freehold.tasks.store import check_known, load_tasks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.tasks.store import TaskFacts

_OWNED = {
    "corrections": CORRECTIONS.c.task,
    "datasets": DATASETS.c.task,
    "models": MODELS.c.task,
    "evaluations": EVALUATIONS.c.task,
    "decisions": DECISIONS.c.task,
    "aliases": ALIASES.c.task,
    "rules": TASK_RULES.c.task,
}
_SHOWN_ANCHOR = 160


def task_records(engine: Engine, calls: Mapping[str, int]) -> list[dict[str, Any]]:  # Any: JSON
    """Every task that is defined or has calls, the one with the most calls first."""
    facts = load_tasks(engine)
    owned = _owned(engine)
    names = sorted({*facts, *calls}, key=lambda name: (-calls.get(name, 0), name))
    return [_record(name, facts.get(name), calls.get(name, 0), owned) for name in names]


def task_record(engine: Engine, calls: Mapping[str, int], name: str) -> dict[str, Any]:  # Any: JSON
    """One task with all that is known of it.

    Raises:
        InputError: there is no such task.
    """
    facts = load_tasks(engine)
    check_known(name, {*facts, *calls})
    fact = facts.get(name)
    with engine.connect() as connection:
        rules = connection.execute(
            select(TASK_RULES).where(TASK_RULES.c.task == name).order_by(TASK_RULES.c.kind, TASK_RULES.c.id)
        ).mappings()
        found = [_rule(row["kind"], row["body"]) for row in rules]
        names = select(TASK_NAMES.c.old).where(TASK_NAMES.c.name == name).order_by(TASK_NAMES.c.old)
        former = list(connection.execute(names).scalars())
    return {
        **_record(name, fact, calls.get(name, 0), _owned(engine)),
        "json_schema": None if fact is None else fact.task.json_schema,
        "own_prompt": None if fact is None else fact.task.own_prompt,
        "learned_rules": found,
        "former_names": former,
    }


def _record(name: str, fact: TaskFacts | None, calls: int, owned: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    return {
        "task": name,
        "kind": None if fact is None else fact.kind,
        "kind_confidence": None if fact is None else fact.kind_confidence,
        "kind_is_set": fact is not None and fact.is_set,
        "held_to": None if fact is None else fact.task.kind,
        "labels": [] if fact is None else list(fact.labels),
        "calls": calls,
        **{what: counts.get(name, 0) for what, counts in owned.items()},
    }


def _owned(engine: Engine) -> dict[str, dict[str, int]]:
    with engine.connect() as connection:
        return {
            what: dict(connection.execute(select(column, func.count()).group_by(column)).all())
            for what, column in _OWNED.items()
        }


def _rule(kind: str, body: Mapping[str, Any]) -> dict[str, Any]:  # Any: JSON
    """Pieces of a template are the customer's own prompt, not what its users wrote: they may be shown."""
    if kind == "words":
        heaviest = sorted(body["weights"].items(), key=lambda item: (-item[1], item[0]))
        return {"kind": kind, "words": [word for word, _ in heaviest[:20]]}
    return {"kind": kind, "anchors": [anchor[:_SHOWN_ANCHOR] for anchor in body["anchors"]]}
