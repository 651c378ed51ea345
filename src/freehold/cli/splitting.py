"""The three ways of parting a task, put together: by what its calls are, by what they say, by a list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from freehold.cli.discovering import finish_moves, learn_task, moves_folder, split_by_discovery
from freehold.core.errors import InputError
from freehold.tasks.edit import split_task
from freehold.tasks.moves import MoveFile
from freehold.tasks.names import check_new_name
from freehold.tasks.sample import ids_of_task, stream

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from freehold.cli.session import Session
    from freehold.core.progress import Progress

Part = dict[str, Any]  # Any: JSON


def split_by_kind(session: Session, task: str, progress: Progress, *, dry_run: bool) -> list[Part]:
    """By what the calls are, as discovery sees it."""
    found, _ = split_by_discovery(session, task, progress, dry_run=dry_run)
    return [
        {"task": one.name, "calls": one.calls, "kind": one.guess.kind, "kind_confidence": one.guess.confidence}
        for one in found.tasks
    ]


def split_by_text(
    session: Session, task: str, text: str, into: str, progress: Progress, *, dry_run: bool
) -> list[Part]:
    """By a text that the system message or the question contains, whatever its case and spaces.

    Raises:
        InputError: the new name cannot be used, the text is blank, or no call contains it.
    """
    _check_name(task, into)
    wanted = " ".join(text.casefold().split())
    if not wanted:
        raise InputError("--containing is blank. Give some words that only the calls that go contain.")
    moves: dict[str, str] = {}
    for one in stream(session.ledger.folder, task):
        said = f"{one.evidence.system}\n{one.evidence.asked}".casefold()
        if wanted in " ".join(said.split()):
            moves[one.id] = into
    if not moves:
        raise InputError(
            f"No call of the task {task!r} contains that text in its system message or its question. Nothing was "
            "changed. Case and spaces do not matter; what is answered is not looked at."
        )
    return _split(session, task, moves, progress, dry_run=dry_run)


def split_by_file(session: Session, task: str, file: Path, progress: Progress, *, dry_run: bool) -> list[Part]:
    """By a list of calls and the tasks that they go to.

    Raises:
        InputError: the file is no such list, or holds no call of the task.
    """
    try:
        listed = pq.read_table(file, columns=["id", "task"])
        pairs = zip(listed.column("id").to_pylist(), listed.column("task").to_pylist(), strict=True)
        given = {str(call_id): str(name) for call_id, name in pairs}
    except (pa.ArrowException, OSError, KeyError) as error:
        raise InputError(f"{file} is no Parquet file with the columns id and task ({type(error).__name__}).") from error
    for name in sorted(set(given.values())):
        _check_name(task, name)
    own = ids_of_task(session.ledger.folder, task)
    moves = {call_id: name for call_id, name in given.items() if call_id in own}
    if not moves:
        raise InputError(f"{file}: none of its {len(given):,} calls is of the task {task!r}.")
    return _split(session, task, moves, progress, dry_run=dry_run)


def _check_name(task: str, name: str) -> None:
    check_new_name(name)
    if name == task:
        raise InputError(f"The calls that go need another task than {task!r}.")


def _split(session: Session, task: str, moves: Mapping[str, str], progress: Progress, *, dry_run: bool) -> list[Part]:
    total = session.ledger.tasks().get(task, 0)
    into: dict[str, int] = {}
    for name in moves.values():
        into[name] = into.get(name, 0) + 1
    parts: list[Part] = [{"task": task, "calls": total - len(moves)}]
    parts += [{"task": name, "calls": number} for name, number in sorted(into.items())]
    if not moves:
        return parts[:1]
    if dry_run:
        return parts
    with MoveFile(moves_folder(session)) as file:
        file.add(moves.items())
    split_task(session.state, task, file, tasks=into)
    finish_moves(session, progress)
    for part in parts:
        if part["calls"]:
            learnt = learn_task(session, part["task"])
            part |= {"kind": learnt.task.work_kind, "kind_confidence": learnt.confidence}
    return parts
