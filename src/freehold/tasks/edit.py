"""Renames, merges and splits tasks: everything that belongs to a task goes along, in one transaction.

The ledger follows through `moves`. Old names stay known: calls that still come with them are of the new task.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, delete, insert, select, update

from freehold.core.errors import InputError
from freehold.core.identity import content_hash
from freehold.state.database import now, record_action
from freehold.state.schema import (
    ALIASES,
    CORRECTIONS,
    DATASETS,
    DECISIONS,
    EVALUATIONS,
    KEYS,
    MODELS,
    SPLITS,
    TASK_NAMES,
    TASK_RULES,
    TASKS,
)
from freehold.tasks.moves import note_calls, note_names
from freehold.tasks.names import check_can_go, check_new_name
from freehold.tasks.store import check_known, keep_rules, task_names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sqlalchemy import Connection, Table

    from freehold.tasks.learned import LearnedRule
    from freehold.tasks.moves import MoveFile

_BY_TASK: dict[str, Table] = {
    "datasets": DATASETS, "models": MODELS, "evaluations": EVALUATIONS, "decisions": DECISIONS, "rules": TASK_RULES,
}  # fmt: skip
_BATCH = 500


@dataclass(slots=True)
class Edited:
    """What went along."""

    task: str
    """Name under which everything is now."""
    carried: Counter[str] = field(default_factory=Counter)
    """datasets, models, aliases, corrections, … -> rows."""
    left: Counter[str] = field(default_factory=Counter)
    """What could not go along, since the other task has its own: aliases."""

    @property
    def staying(self) -> str:
        """What a split that undoes a merge leaves where it is, in words; "" if nothing."""
        kept = {what: number for what, number in self.carried.items() if number and what != "corrections"}
        return ", ".join(
            f"{number:,} {what if number > 1 else what.removesuffix('s')}" for what, number in kept.items()
        )


def rename_task(
    engine: Engine, old: str, new: str, *, known: Collection[str], policies: Collection[str] = ()
) -> Edited:
    """Give a task another name.

    Args:
        engine: The state database.
        old: Its name.
        new: The name that it gets.
        known: Every task that there is.
        policies: Tasks that `[ledger.tasks]` of the settings speaks of.

    Raises:
        InputError: there is no such task, or the new name cannot be used.
    """
    check_known(old, known)
    check_can_go(old)
    if new == old:
        raise InputError(f"The task is named {old!r} already.")
    check_new_name(new)
    former = task_names(engine).get(new)
    if new in known and former != old:
        raise InputError(f"There is a task {new!r} already. To put the two together: freehold tasks merge {old} {new}")
    if former not in {None, old}:
        raise InputError(f"{new!r} was a name of {former!r}, and calls may still come with it. Choose another one.")
    _check_policies(old, new, policies)
    edited = Edited(new)
    with engine.begin() as connection:
        connection.execute(update(TASKS).where(TASKS.c.name == old).values(name=new, origin=None))
        connection.execute(update(SPLITS).where(SPLITS.c.task == old).values(task=new))
        _carry(connection, old, new, edited)
        _remember_name(connection, old, new)
        note_names(connection, {old: new})
        record_action(connection, "task.renamed", new, {"from": old, "carried": dict(edited.carried)})
    return edited


def merge_tasks(
    engine: Engine, sources: Sequence[str], into: str, *, known: Collection[str], policies: Collection[str] = (),
    is_discovery: bool = False,
) -> Edited:  # fmt: skip
    """Put tasks into another one, whose definition stays.

    Args:
        engine: The state database.
        sources: Tasks that go.
        into: The task that stays.
        known: Every task that there is.
        policies: Tasks that `[ledger.tasks]` of the settings speaks of.
        is_discovery: Discovery found that they are one; a person may still say otherwise.

    Raises:
        InputError: one of them is not there, or is named twice.
    """
    for name in (*sources, into):
        check_known(name, known)
        check_can_go(name)
    if into in sources or len(set(sources)) < len(sources):
        raise InputError("A task cannot be merged with itself. Name each one once.")
    for source in sources:
        _check_policies(source, into, policies)
    edited = Edited(into)
    with engine.begin() as connection:
        for source in sources:
            _merge_definition(connection, source, into)
            _merge_splits(connection, source, into)
            _carry(connection, source, into, edited)
            _remember_name(connection, source, into)
        note_names(connection, dict.fromkeys(sources, into))
        if not is_discovery:
            _settle(connection, [into])
        details = {"merged": list(sources), "carried": dict(edited.carried), "left": dict(edited.left)}
        record_action(connection, "task.merged", into, details)
    return edited


def split_task(
    engine: Engine, source: str, file: MoveFile, *, rules: Iterable[LearnedRule] = (), tasks: Mapping[str, int]
) -> Edited:
    """Give calls of a task to other tasks; their corrections go along, and held-out cases stay held out.

    Args:
        engine: The state database.
        source: The task.
        file: Its calls that go, and where to; it is whole.
        rules: Learned anew; those of the source are dropped.
        tasks: Task -> calls that go to it.
    """
    edited = Edited(source)
    with engine.begin() as connection:
        edited.carried["calls"] = file.rows
        edited.carried["corrections"] = move_corrections(connection, source, file)
        # A name that was merged into the source is a task of its own again.
        own_again = (TASK_NAMES.c.name == source) & TASK_NAMES.c.old.in_(list(tasks))
        connection.execute(delete(TASK_NAMES).where(own_again))
        sides = connection.execute(select(SPLITS).where(SPLITS.c.task == source)).mappings().all()
        for task in tasks:
            there = set(connection.execute(select(SPLITS.c.fingerprint).where(SPLITS.c.task == task)).scalars())
            rows = [{**row, "task": task} for row in sides if row["fingerprint"] not in there]
            for start in range(0, len(rows), _BATCH):
                connection.execute(insert(SPLITS), rows[start : start + _BATCH])
        given = list(rules)
        if given:
            connection.execute(delete(TASK_RULES).where(TASK_RULES.c.task == source))
            edited.carried["rules"] = keep_rules(connection, given)
        note_calls(connection, file)
        _settle(connection, [source, *tasks])
        record_action(connection, "task.split", source, {"into": dict(tasks), "carried": dict(edited.carried)})
    return edited


def follow_names(engine: Engine, tasks: Collection[str]) -> dict[str, str]:
    """Rows that have just come with a name that a task had go to the task that is meant. Gives old name -> task."""
    meant = {old: name for old, name in task_names(engine).items() if old in tasks}
    if meant:
        with engine.begin() as connection:
            for old, name in meant.items():
                _retask_corrections(connection, CORRECTIONS.c.task == old, lambda _, name=name: name)
            note_names(connection, meant)
    return meant


def _settle(connection: Connection, tasks: Sequence[str]) -> None:
    """A person has said what these tasks are: discovery joins them no more."""
    for name in tasks:
        connection.execute(update(TASKS).where(TASKS.c.name == name).values(origin=None))


def _check_policies(old: str, new: str, policies: Collection[str]) -> None:
    """What is kept of a task's calls is said in the settings by its name: that must not be lost on the way."""
    if old in policies and new not in policies:
        raise InputError(
            f"[ledger.tasks] of the settings says what is kept of {old!r}. Write the same for {new!r} there first "
            "(both may stand there), so that nothing is kept that should not be."
        )


def _carry(connection: Connection, old: str, new: str, edited: Edited) -> None:
    for what, table in _BY_TASK.items():
        edited.carried[what] += connection.execute(update(table).where(table.c.task == old).values(task=new)).rowcount
    edited.carried["corrections"] += _retask_corrections(connection, CORRECTIONS.c.task == old, lambda _: new)
    taken = set(connection.execute(select(ALIASES.c.alias).where(ALIASES.c.task == new)).scalars())
    for alias in connection.execute(select(ALIASES.c.alias).where(ALIASES.c.task == old)).scalars().all():
        this_one = (ALIASES.c.task == old) & (ALIASES.c.alias == alias)
        if alias in taken:
            connection.execute(delete(ALIASES).where(this_one))
            edited.left["aliases"] += 1
        else:
            connection.execute(update(ALIASES).where(this_one).values(task=new))
            edited.carried["aliases"] += 1
    edited.carried["keys"] += _carry_keys(connection, old, new)


def _carry_keys(connection: Connection, old: str, new: str) -> int:
    changed = 0
    for key in connection.execute(select(KEYS.c.id, KEYS.c.task, KEYS.c.tasks)).all():
        task = new if key.task == old else key.task
        tasks = list(dict.fromkeys(new if each == old else each for each in key.tasks))
        if (task, tasks) != (key.task, key.tasks):
            connection.execute(update(KEYS).where(KEYS.c.id == key.id).values(task=task, tasks=tasks))
            changed += 1
    return changed


def _retask_corrections(connection: Connection, where: Any, task_of: Any) -> int:  # Any: SQL, and a function of a row
    """Corrections are named by what they say, their task included: they get new names with it."""
    rows = [dict(row) for row in connection.execute(select(CORRECTIONS).where(where)).mappings()]
    known = set(connection.execute(select(CORRECTIONS.c.id)).scalars())
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        connection.execute(delete(CORRECTIONS).where(CORRECTIONS.c.id.in_([row["id"] for row in batch])))
        renamed = {}
        for row in batch:
            values = {key: value for key, value in row.items() if key != "id"} | {"task": task_of(row)}
            identifier = content_hash(values)
            if identifier not in known:
                known.add(identifier)
                renamed[identifier] = {"id": identifier, **values}
        if renamed:
            connection.execute(insert(CORRECTIONS), list(renamed.values()))
    return len(rows)


def move_corrections(connection: Connection, source: str, file: MoveFile) -> int:
    """Corrections of calls that go to another task go along. Returns how many."""
    of_source = select(CORRECTIONS.c.call_id).where(CORRECTIONS.c.task == source).distinct()
    moves = file.tasks_of(set(connection.execute(of_source).scalars()))
    carried, moved = 0, sorted(moves)
    for start in range(0, len(moved), _BATCH):
        of_batch = (CORRECTIONS.c.task == source) & CORRECTIONS.c.call_id.in_(moved[start : start + _BATCH])
        carried += _retask_corrections(connection, of_batch, lambda row: moves[row["call_id"]])
    return carried


def _remember_name(connection: Connection, old: str, new: str) -> None:
    connection.execute(delete(TASK_NAMES).where(TASK_NAMES.c.old.in_([old, new])))
    connection.execute(update(TASK_NAMES).where(TASK_NAMES.c.name == old).values(name=new, since=now()))
    connection.execute(insert(TASK_NAMES).values(old=old, name=new, since=now()))


def _merge_definition(connection: Connection, source: str, into: str) -> None:
    """Labels are put together; of everything else the definition of the task that stays counts."""
    rows = {
        row["name"]: row
        for row in connection.execute(select(TASKS).where(TASKS.c.name.in_([source, into]))).mappings().all()
    }
    if source not in rows:
        return
    if into not in rows:
        connection.execute(update(TASKS).where(TASKS.c.name == source).values(name=into))
        return
    connection.execute(delete(TASKS).where(TASKS.c.name == source))
    if rows[source]["kind"] == rows[into]["kind"] == "classification":
        labels = sorted({*rows[source]["labels"], *rows[into]["labels"]})
        connection.execute(update(TASKS).where(TASKS.c.name == into).values(labels=labels))


def _merge_splits(connection: Connection, source: str, into: str) -> None:
    """A case that is held out in either task is held out."""
    mine = dict(connection.execute(select(SPLITS.c.fingerprint, SPLITS.c.split).where(SPLITS.c.task == into)).all())
    theirs = connection.execute(select(SPLITS.c.fingerprint, SPLITS.c.split).where(SPLITS.c.task == source)).all()
    for fingerprint, split in theirs:
        this_one = (SPLITS.c.task == source) & (SPLITS.c.fingerprint == fingerprint)
        if fingerprint not in mine:
            connection.execute(update(SPLITS).where(this_one).values(task=into))
            continue
        connection.execute(delete(SPLITS).where(this_one))
        if split == "test" and mine[fingerprint] != "test":
            same = (SPLITS.c.task == into) & (SPLITS.c.fingerprint == fingerprint)
            connection.execute(update(SPLITS).where(same).values(split="test"))
