"""A purge through all that a workspace keeps: ledger, corrections, datasets, runs, reports of imports."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from freehold.core.progress import Silent
from freehold.corrections.store import count_words, forget_words, keep_words, spoken_of
from freehold.datasets.purge import ids_in_datasets, purge_datasets, unpin_task
from freehold.ledger.logs.imported import REJECTS
from freehold.ledger.purge import Found, PurgedBefore, Selection, find, notes_of, purge, put_aside, segments_left
from freehold.ledger.purged import Purged
from freehold.ledger.volumes import VOLUMES, Volumes
from freehold.state.database import forget_traces, record_action
from freehold.state.schema import AUDIT_TRAIL, MODELS, TASKS
from freehold.tasks.forget import forget_gone

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from freehold.cli.session import Session
    from freehold.core.call import Call
    from freehold.core.progress import Progress
    from freehold.datasets.purge import PurgedDatasets
    from freehold.ledger.logs.engine import HumanWordKeeper
    from freehold.ledger.logs.format import HumanWord
    from freehold.ledger.purged import Part
    from freehold.tasks.forget import Forgotten

_REJECTS_FILE = "rejected.jsonl"
"""Of imports before there was a file for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to go."""

    selection: Selection | None
    """None: what was purged before and is there again, or was left by a purge that died."""
    said: dict[str, str | None]
    """The selection as the audit trail may keep it: no end user by name."""
    part: Part = "row"
    forgets_sums: bool = False

    @property
    def whole_task(self) -> str | None:
        """The task of which nothing at all stays."""
        chosen = self.selection
        if chosen is None or self.part != "row":
            return None
        is_whole = (chosen.key_ids, chosen.subjects, chosen.before) == (None, None, None)
        return chosen.task if is_whole else None


@dataclass(slots=True)
class Outcome:
    """What a purge took, or would take."""

    found: Found
    calls: int = 0
    bodies: int = 0
    volumes: int = 0
    corrections: int = 0
    datasets: PurgedDatasets | None = None
    pinned_texts: int = 0
    runs: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    forgotten: Forgotten | None = None
    """None: nothing has been done yet."""
    id: str | None = None

    @property
    def is_empty(self) -> bool:
        """There was nothing to take."""
        rows = self.datasets is not None and self.datasets.rows.total() > 0
        return not (self.found.calls or self.volumes or self.corrections or self.pinned_texts or rows)


def plan(session: Session, request: Request, *, progress: Progress) -> Outcome:
    """Count what a purge would take; nothing is changed."""
    workspace, engine = session.workspace, session.state
    purged = Purged(workspace.calls)
    watched = spoken_of(engine) | ids_in_datasets(workspace.datasets)
    found = Found()
    for chosen, _ in _choices(request, purged):
        one = find(workspace.calls, chosen, among=watched, progress=progress)
        found.ids |= one.ids
        for place, count in one.calls.items():
            found.calls[place] += count
            found.with_bodies[place] += one.with_bodies[place]

    def among(ids: Collection[str]) -> set[str]:
        return (found.ids & set(ids)) | notes_of(ids, purged)

    outcome = Outcome(found, calls=sum(found.calls.values()), bodies=sum(found.with_bodies.values()))
    outcome.volumes = _purge_volumes(session, request, dry_run=True)
    outcome.corrections = count_words(engine, among(watched), task=request.whole_task)
    outcome.datasets = purge_datasets(workspace.datasets, engine, among, _calls_of(session), dry_run=True)
    outcome.pinned_texts = outcome.datasets.sides
    outcome.runs = [path.name for path in _runs(session, outcome.datasets)]
    outcome.files = [str(path) for path in _reports(session)]
    outcome.models = _models(session, outcome.datasets)
    return outcome


def carry_out(session: Session, request: Request, planned: Outcome, *, progress: Progress) -> Outcome:
    """Do it. Dead midway, the same purge again (or `freehold purge --again`) does the rest."""
    workspace, engine = session.workspace, session.state
    purged = Purged(workspace.calls)
    name = f"purge-{token_hex(6)}"
    said = {**request.said, "bodies_only": request.part == "bodies", "with_sums": request.forgets_sums}
    with engine.begin() as connection:
        record_action(connection, "purge.started", name, said)
    done = Outcome(planned.found, id=name, bodies=planned.bodies, models=planned.models)
    for chosen, part in _choices(request, purged):
        rewritten = purge(workspace.calls, chosen, part=part, forgets_sums=request.forgets_sums, progress=progress)
        done.calls += rewritten.rows_removed if part == "row" else rewritten.rows_changed

    done.volumes = _purge_volumes(session, request)

    def among(ids: Collection[str]) -> set[str]:
        return notes_of(ids, purged)

    with engine.begin() as connection:
        done.corrections = forget_words(connection, among(spoken_of(engine)), task=request.whole_task)
    would = purge_datasets(workspace.datasets, engine, among, _calls_of(session), dry_run=True)
    for run in _runs(session, would):
        shutil.rmtree(run)
        done.runs.append(run.name)
    done.datasets = purge_datasets(workspace.datasets, engine, among, _calls_of(session))
    done.pinned_texts = done.datasets.sides
    if request.whole_task is not None:
        done.pinned_texts += unpin_task(engine, request.whole_task)
    done.forgotten = forget_gone(engine, session.ledger, _touched(session, request, planned))
    for path in _reports(session):
        path.unlink()
        done.files.append(str(path))
    with engine.begin() as connection:
        record_action(connection, "purge.done", name, {**said, **counts_of(done)})
    forget_traces(engine)
    return done


def counts_of(outcome: Outcome) -> dict[str, int]:
    """How many of each kind."""
    datasets = outcome.datasets
    return {
        "calls": outcome.calls,
        "bodies": outcome.bodies,
        "volumes": outcome.volumes,
        "corrections": outcome.corrections,
        "dataset_rows": 0 if datasets is None else datasets.rows.total(),
        "dataset_mentions": 0 if datasets is None else datasets.listed,
        "pinned_texts": outcome.pinned_texts,
    }


def record_of(session: Session, request: Request, outcome: Outcome, *, dry_run: bool) -> dict[str, Any]:
    """What `purge --json` prints."""
    segments, size = segments_left(session.workspace.segments)
    rows = {} if outcome.datasets is None else outcome.datasets.rows
    return {
        "schema": "freehold.purge/1",
        "purge": outcome.id,
        "dry_run": dry_run,
        "selection": request.said,
        "bodies_only": request.part == "bodies",
        "with_sums": request.forgets_sums,
        "found": outcome.found.as_record(),
        "counts": counts_of(outcome),
        "datasets": [{"dataset": name, "rows": count} for name, count in sorted(rows.items()) if count],
        "models": outcome.models,
        "forgotten": None if outcome.forgotten is None else outcome.forgotten.as_record(),
        "runs_removed": outcome.runs,
        "files_removed": outcome.files,
        "segments_left": {"files": segments, "bytes": size},
        "purged_in_all": Purged(session.workspace.calls).counts(),
    }


def _purge_volumes(session: Session, request: Request, *, dry_run: bool = False) -> int:
    """Calls that are known by their sums alone: of a task, a key or the time before a day, never of an end user."""
    if request.part != "row" or request.selection is None or request.selection.subjects is not None:
        return 0
    return Volumes(session.workspace.events / VOLUMES).purge(request.selection, dry_run=dry_run)


def words_keeper(session: Session) -> HumanWordKeeper:
    """Keeps what humans said about calls, but for calls that were purged: their log brings those words along too."""
    purged = Purged(session.workspace.calls)

    def keep(words: Sequence[tuple[HumanWord, Call]]) -> Mapping[str, int]:
        gone = notes_of([call.id for _, call in words], purged)
        return keep_words(session.state, [pair for pair in words if pair[1].id not in gone])

    return keep


def was_purged(session: Session, condition: str, value: str) -> bool:
    """A purge under this condition has been made before: there is nothing left to find."""
    query = select(AUDIT_TRAIL.c.details).where(AUDIT_TRAIL.c.action == "purge.done")
    with session.state.connect() as connection:
        return any(details.get(condition) == value for details in connection.execute(query).scalars())


def has_calls_of_key(session: Session, key_ids: frozenset[str]) -> bool:
    """Some call was made with the key."""
    return bool(find(session.workspace.calls, Selection(key_ids=key_ids), progress=Silent()).calls)


def _choices(request: Request, purged: Purged) -> list[tuple[Any, Part]]:
    if request.selection is not None:
        return [(request.selection, request.part)]
    return [(PurgedBefore(purged, "row"), "row"), (PurgedBefore(purged, "bodies"), "bodies")]


def _calls_of(session: Session) -> Any:  # Any: a function of ids
    def calls(ids: Iterable[str]) -> Iterable[Call]:
        return session.ledger.find(ids).values()

    return calls


def _touched(session: Session, request: Request, planned: Outcome) -> set[str]:
    """Tasks that lost calls; all of them where it cannot be told, as when a purge that died is made again."""
    chosen = request.selection
    if chosen is not None and chosen.task is not None:
        return {chosen.task}
    found = {task for task, _ in planned.found.calls}
    if chosen is not None and found and request.said.get("scope") != "all":
        return found
    with session.state.connect() as connection:
        return {*found, *connection.execute(select(TASKS.c.name)).scalars()}


def _runs(session: Session, datasets: PurgedDatasets) -> list[Path]:
    """Unfinished training runs on a dataset that loses rows: what they keep was made from them."""
    names = [name for name, count in datasets.rows.items() if count]
    folder = session.workspace.runs
    return sorted(path for name in names for path in folder.glob("*") if path.name.startswith(f"{name}-"))


def _reports(session: Session) -> list[Path]:
    """Files that may hold pieces of rows of which nobody can tell whose they are; all can be made again or were bad."""
    data = session.workspace.data
    rejects = [data / _REJECTS_FILE, *sorted((data / REJECTS).glob("*.jsonl"))]
    return [*(path for path in rejects if path.is_file()), *put_aside(session.workspace.calls)]


def _models(session: Session, datasets: PurgedDatasets) -> list[str]:
    """Models that were trained on rows that go: their weights may remember them."""
    names = [name for name, count in datasets.rows.items() if count]
    query = select(MODELS.c.id).where(MODELS.c.dataset_id.in_(names)).order_by(MODELS.c.id)
    with session.state.connect() as connection:
        return list(connection.execute(query).scalars())
