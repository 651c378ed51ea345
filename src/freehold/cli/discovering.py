"""Discovery put together: the ledger's calls, the state's rules, and what becomes of both."""

from __future__ import annotations

from dataclasses import dataclass, field
from shlex import join
from typing import TYPE_CHECKING, Any

from freehold.core.errors import InputError
from freehold.corrections.store import human_outputs
from freehold.state.database import record_action
from freehold.tasks.assign import UNASSIGNED, Assigner
from freehold.tasks.define import (
    define_task,
    guess_task,
    in_accord,
    is_in_use,
    kind_confidence,
    known_kind,
    load_task,
    set_kind,
)
from freehold.tasks.edit import follow_names, merge_tasks, move_corrections, split_task
from freehold.tasks.kinds import guess_work
from freehold.tasks.learned import Learned
from freehold.tasks.moves import MOVES, MoveFile, follow_moves, note_calls
from freehold.tasks.rules import TaskRules
from freehold.tasks.sample import ids_of_task, samples
from freehold.tasks.store import (
    joinable_tasks,
    keep_rules,
    learned_rules,
    load_facts,
    note_discovered,
    note_guess,
    task_names,
    used_names,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from freehold.cli.session import Session
    from freehold.core.progress import Progress
    from freehold.core.task import Task, TaskKind, WorkKind
    from freehold.tasks.discover import Discovery
    from freehold.tasks.evidence import Evidence

_OUTPUT_ROWS = 20_000
_GUESS_ROWS = 4_000


@dataclass(frozen=True, slots=True)
class Learnt:
    """A task as its calls define it."""

    task: Task
    confidence: float | None
    """None: the kind was given, a dataset has settled it, or there is no answer."""
    warning: str | None = None


@dataclass(slots=True)
class Discovered:
    """What discovery did to a workspace."""

    found: Discovery
    learnt: list[Learnt] = field(default_factory=list)
    joined: list[tuple[str, str, str]] = field(default_factory=list)
    """Tasks of an earlier discovery that turned out to be another one: task, that one, the command that undoes it."""

    def as_record(self) -> dict[str, Any]:  # Any: an open JSON object
        """As `--json` prints it."""
        return {
            "tasks": [
                {"task": one.name, "calls": one.calls, "is_new": one.is_new, "kind": one.guess.kind,
                 "kind_confidence": one.guess.confidence}
                for one in self.found.tasks
            ],
            "unassigned": self.found.unassigned,
            "joined": [{"task": old, "into": name, "undo": undo} for old, name, undo in self.joined],
            "sampled": self.found.sampled,
            "rules": len(self.found.rules),
        }  # fmt: skip


def moves_folder(session: Session) -> Path:
    """Where calls wait that have to change their task."""
    return session.workspace.data / MOVES


def load_assigner(session: Session) -> Assigner:
    """Whoever gives imported calls their task, as the workspace has it now."""
    rules = TaskRules(session.settings.tasks)
    return Assigner(rules, Learned(learned_rules(session.state)), task_names(session.state))


def finish_moves(session: Session, progress: Progress | None = None) -> int:
    """Let the ledger follow what was renamed or moved before a process died."""
    return follow_moves(session.state, session.ledger, moves_folder(session), progress)


def settle_names(session: Session, tasks: Collection[str], progress: Progress | None = None) -> dict[str, str]:
    """Rows that came with a name that a task had before are of that task. Gives old name -> task."""
    meant = follow_names(session.state, tasks)
    if meant:
        finish_moves(session, progress)
    return meant


def discover_tasks(session: Session, progress: Progress, *, source: str = UNASSIGNED) -> Discovered:
    """Find the tasks of calls that nothing names, remember rules for them, and define them."""
    from freehold.tasks.discover import discover  # it needs scikit-learn, which takes a second to load

    there = session.ledger.tasks()
    known = [name for name in there if name not in {source, UNASSIGNED, session.settings.tasks.default}]
    with MoveFile(moves_folder(session)) as file:
        found = discover(
            session.ledger.folder,
            source,
            known=known,
            taken=used_names(session.state, there),
            joinable=_joinable(session),
            move=file.add,
            progress=progress,
        )
    result = Discovered(found)
    if file.rows:
        _keep(session, found, file, source)
    else:
        file.path.unlink()
    result.joined = _join(session, found, there)
    finish_moves(session, progress)
    result.learnt = list(learn_tasks(session, sorted({one.name for one in found.tasks} | {*found.joined.values()})))
    note_discovered(session.state, {one.name for one in found.tasks if one.is_new})
    return result


def _keep(session: Session, found: Discovery, file: MoveFile, source: str) -> None:
    """Note what discovery says of the calls of `source`, so that the ledger follows."""
    with session.state.begin() as connection:
        move_corrections(connection, source, file)
        added = keep_rules(connection, found.rules)
        note_calls(connection, file)
        details = {
            "tasks": {one.name: one.calls for one in found.tasks},
            "unassigned": found.unassigned,
            "rules": added,
        }
        record_action(connection, "tasks.discovered", source, details)


def _joinable(session: Session) -> set[str]:
    """Tasks that discovery may join: those that it made, and that neither a person nor the settings speak of."""
    rules = session.settings.tasks.rules
    return joinable_tasks(session.state) - {*session.settings.ledger.tasks, *(rule.task for rule in rules)}


def _join(session: Session, found: Discovery, known: Collection[str]) -> list[tuple[str, str, str]]:
    """Put together what discovery found to be one task; each can be taken apart again."""
    joined = []
    for old, name in sorted(found.joined.items()):
        file = remember_calls(session, [old])
        merge_tasks(session.state, [old], name, known=known, is_discovery=True)
        joined.append((old, name, join(["freehold", "tasks", "split", name, "--calls", str(file)])))
    return joined


def remember_calls(session: Session, tasks: Sequence[str]) -> Path:
    """Keep on the disk which calls are of these tasks, so that a merge can be undone."""
    with MoveFile(moves_folder(session)) as file:
        for task in tasks:
            file.add((call_id, task) for call_id in sorted(ids_of_task(session.ledger.folder, task)))
    return file.path.rename(file.path.with_name(file.path.name.replace("move-", "merged-")))


def split_by_discovery(session: Session, source: str, progress: Progress, *, dry_run: bool) -> tuple[Discovery, int]:
    """Part a task into the kinds of calls that it holds; the largest keeps the name. Gives how many calls went."""
    from freehold.tasks.discover import discover

    there = session.ledger.tasks()
    with MoveFile(moves_folder(session)) as file:
        found = discover(
            session.ledger.folder,
            source,
            known=(),
            taken=used_names(session.state, there) - {source},
            keeps_source=True,
            move=file.add,
            progress=progress,
        )
    if dry_run or not file.rows:
        file.path.unlink()
        return found, file.rows
    into = {one.name: one.calls for one in found.tasks if one.name != source}
    split_task(session.state, source, file, rules=found.rules, tasks=into)
    finish_moves(session, progress)
    list(learn_tasks(session, [one.name for one in found.tasks]))
    return found, file.rows


def learn_task(session: Session, name: str, kind: WorkKind | TaskKind | None = None) -> Learnt:
    """Define a task by all that humans answered, or by a sample of the models' answers where no human did.

    Raises:
        InputError: the answers do not fit the kind that was given.
    """
    return next(learn_tasks(session, [name], kind))


def learn_tasks(session: Session, names: Sequence[str], kind: WorkKind | TaskKind | None = None) -> Iterator[Learnt]:
    """Define tasks as `learn_task` does one, in one pass of the ledger where they are small.

    Raises:
        InputError: the answers do not fit the kind that was given.
    """
    for name, calls in samples(session.ledger.folder, names, _OUTPUT_ROWS):
        yield _learnt(session, name, [one.evidence for one in calls], kind)


def _learnt(session: Session, name: str, seen: list[Evidence], kind: WorkKind | TaskKind | None) -> Learnt:
    outputs = list(human_outputs(session.state, name)) or [one.answer for one in seen if one.answer]
    facts = load_facts(session.state, name)
    guess = guess_work(seen[:_GUESS_ROWS]) if seen else None
    is_settled = is_in_use(session.state, name) or (facts is not None and facts.is_set)
    if kind is None and not is_settled:
        task = define_task(session.state, guess_task(name, outputs))
        confidence = kind_confidence(task.kind, outputs)
        guess = in_accord(guess, task, confidence)
        if guess is not None:
            note_guess(session.state, name, guess)
        return Learnt(load_task(session.state, name), None if guess is None else guess.confidence)
    if kind is not None:
        return Learnt(set_kind(session.state, name, kind, outputs), None)
    try:
        return Learnt(_renewed(session, name, outputs), None)
    except InputError as error:
        warning = f"{error} Until then the task stays as it was, and answers outside it are left out."
        return Learnt(load_task(session.state, name), None, warning)


def _renewed(session: Session, name: str, outputs: list[str]) -> Task:
    """The task under the form that it has, by the answers of today."""
    return define_task(session.state, guess_task(name, outputs, kind=known_kind(session.state, name)))
