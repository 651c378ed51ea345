"""What the state database knows of tasks: kinds of work, learned rules, and names that tasks had before."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, delete, func, insert, select, update

from freehold.core.errors import InputError
from freehold.core.task import Task, WorkKind, work_of
from freehold.state.database import now
from freehold.state.schema import (
    ALIASES,
    CORRECTIONS,
    DATASETS,
    DECISIONS,
    EVALUATIONS,
    KEYS,
    MODELS,
    TASK_NAMES,
    TASK_RULES,
    TASKS,
)
from freehold.tasks.learned import LearnedRule

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy import Connection, RowMapping

    from freehold.tasks.kinds import Guess

DISCOVERED = "discovered"
_MOST_RULES = 5_000
_MOST_OF_ONE_TASK = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFacts:
    """What is known of a task besides its calls."""

    task: Task
    kind: WorkKind
    kind_confidence: float | None
    """None: a person has set the kind, or nothing speaks for it."""
    is_set: bool
    """A person has set the kind."""
    rules: int
    """Learned rules by which new calls are known."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Closed set of answers; empty if there is none."""
        return self.task.labels


def load_tasks(engine: Engine) -> dict[str, TaskFacts]:
    """All tasks that are defined, by name."""
    rules = select(TASK_RULES.c.task, func.count()).group_by(TASK_RULES.c.task)
    with engine.connect() as connection:
        rows = connection.execute(select(TASKS).order_by(TASKS.c.name)).mappings().all()
        number: dict[str, int] = dict(connection.execute(rules).all())
    return {row["name"]: _facts(row, number.get(row["name"], 0)) for row in rows}


def load_facts(engine: Engine, name: str) -> TaskFacts | None:
    """What is known of one task; None: it is not defined."""
    rules = select(func.count()).select_from(TASK_RULES).where(TASK_RULES.c.task == name)
    with engine.connect() as connection:
        row = connection.execute(select(TASKS).where(TASKS.c.name == name)).mappings().one_or_none()
        number = connection.execute(rules).scalar_one()
    return None if row is None else _facts(row, number)


def _facts(row: RowMapping, rules: int) -> TaskFacts:
    task = Task(
        name=row["name"],
        kind=row["kind"],
        labels=tuple(row["labels"]),
        json_schema=row["json_schema"],
        work=row["work"],
        own_prompt=row["own_prompt"],
    )
    is_set = row["work_source"] == "set"
    work: WorkKind = row["work"] or _work_of(task)
    return TaskFacts(
        task=task, kind=work, kind_confidence=None if is_set else row["work_confidence"], is_set=is_set, rules=rules
    )


def _work_of(task: Task) -> WorkKind:
    """Of a task that was defined before kinds of work were guessed."""
    return "screening" if task.kind == "classification" and len(task.labels) == 2 else work_of(task.kind)


def note_discovered(engine: Engine, tasks: Collection[str]) -> None:
    """Remember that discovery made these tasks, so that it may join them later."""
    with engine.begin() as connection:
        for name in sorted(tasks):
            connection.execute(update(TASKS).where(TASKS.c.name == name).values(origin=DISCOVERED))


def joinable_tasks(engine: Engine) -> set[str]:
    """Tasks that discovery made and nobody has named, changed or built anything on since."""
    with engine.connect() as connection:
        found = set(connection.execute(select(TASKS.c.name).where(TASKS.c.origin == DISCOVERED)).scalars())
        for column in (DATASETS.c.task, MODELS.c.task, ALIASES.c.task, EVALUATIONS.c.task, DECISIONS.c.task):
            found.difference_update(connection.execute(select(column).distinct()).scalars())
        for key in connection.execute(select(KEYS.c.task, KEYS.c.tasks)).all():
            found.difference_update({key.task, *key.tasks})
    return found


def note_guess(engine: Engine, name: str, guess: Guess) -> None:
    """Remember what kind of work a task seems to be, unless a person has set it."""
    values = {"work": guess.kind, "work_confidence": guess.confidence, "work_source": "guessed"}
    not_set = (TASKS.c.work_source.is_(None)) | (TASKS.c.work_source != "set")
    with engine.begin() as connection:
        connection.execute(update(TASKS).where((TASKS.c.name == name) & not_set).values(values))


def learned_rules(engine: Engine) -> list[LearnedRule]:
    """All learned rules."""
    with engine.connect() as connection:
        rows = connection.execute(select(TASK_RULES).order_by(TASK_RULES.c.id)).mappings().all()
    return [LearnedRule(row["task"], row["kind"], row["body"]) for row in rows]


def rules_version(engine: Engine) -> tuple[int, str, int, str]:
    """Changes whenever learned rules or names of tasks change."""
    rules = select(func.count(), func.coalesce(func.max(TASK_RULES.c.created_at), ""))
    names = select(func.count(), func.coalesce(func.max(TASK_NAMES.c.since), ""))
    with engine.connect() as connection:
        first, second = connection.execute(rules).one(), connection.execute(names).one()
    return (first[0], first[1], second[0], second[1])


def keep_rules(connection: Connection, rules: Iterable[LearnedRule]) -> int:
    """Add rules that are new; words are weighed anew, so they replace those before. Returns how many were added."""
    given = {rule.id: rule for rule in rules}
    if any(rule.kind == "words" for rule in given.values()):
        connection.execute(delete(TASK_RULES).where(TASK_RULES.c.kind == "words"))
    known = set(connection.execute(select(TASK_RULES.c.id)).scalars())
    per_task: dict[str, int] = dict(
        connection.execute(select(TASK_RULES.c.task, func.count()).group_by(TASK_RULES.c.task)).all()
    )
    values: list[dict[str, Any]] = []  # Any: rows of the database
    for identifier, rule in sorted(given.items()):
        is_full = per_task.get(rule.task, 0) >= _MOST_OF_ONE_TASK or len(known) + len(values) >= _MOST_RULES
        if identifier in known or (is_full and rule.kind != "words"):
            continue
        per_task[rule.task] = per_task.get(rule.task, 0) + 1
        values.append(
            {"id": identifier, "task": rule.task, "kind": rule.kind, "body": dict(rule.body), "created_at": now()}
        )
    if values:
        connection.execute(insert(TASK_RULES), values)
    return len(values)


def task_names(engine: Engine) -> dict[str, str]:
    """Name that calls may still come with -> name of the task today."""
    with engine.connect() as connection:
        return dict(connection.execute(select(TASK_NAMES.c.old, TASK_NAMES.c.name)).all())


def used_names(engine: Engine, calls: Collection[str]) -> set[str]:
    """Every name that a task has or had."""
    with engine.connect() as connection:
        tables = (TASKS.c.name, CORRECTIONS.c.task, DATASETS.c.task, MODELS.c.task, TASK_NAMES.c.old)
        stored = {name for column in tables for name in connection.execute(select(column).distinct()).scalars()}
    return {*stored, *calls}


def check_known(name: str, known: Collection[str]) -> None:
    """Refuse a task that is not there.

    Raises:
        InputError: with the nearest name, or all names if there are few.
    """
    if name in known:
        return
    near = difflib.get_close_matches(name, sorted(known), n=1)
    if near:
        hint = f"Did you mean {near[0]!r}?"
    elif known:
        shown = sorted(known)
        hint = f"Known: {', '.join(shown[:12])}{' …' if len(shown) > 12 else ''}."
    else:
        hint = "Import a log first: freehold import LOG"
    raise InputError(f"There is no task {name!r}. {hint}")
