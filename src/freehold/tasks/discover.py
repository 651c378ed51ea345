"""Finds the tasks of calls that nothing names, and gives each call its task.

A sample is clustered together with some calls of each task that is known, so that calls of a known task come home to
it under its name. The rest is given to the nearest piece, if one is near enough.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from freehold.tasks.answers import shape_of
from freehold.tasks.belonging import held
from freehold.tasks.clusters import cluster
from freehold.tasks.gather import Gathered, gather
from freehold.tasks.kinds import Guess, guess_work
from freehold.tasks.learned import Learned
from freehold.tasks.naming import name_of
from freehold.tasks.nearest import Nearest
from freehold.tasks.sample import Seen, counts, sample, stream
from freehold.tasks.teach import teach

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from freehold.core.progress import Progress
    from freehold.tasks.learned import LearnedRule

SAMPLE_ROWS = 6_000
"""Calls that are clustered; more are given to the pieces that these make."""
_KNOWN_ROWS, _MOST_KNOWN_ROWS = 150, 3_000
_LEAST_ROWS = 3
_FEWEST, _LEAST_SHARE, _ENOUGH = 5, 0.004, 25
"""Calls that make a task if only what they are about tells them apart: this share of the sample, within bounds."""
_NAMING_ROWS = 400
_BATCH = 2_000


@dataclass(frozen=True, slots=True)
class FoundTask:
    """A task, as discovery sees it."""

    name: str
    calls: int
    """That discovery gave to it."""
    is_new: bool
    guess: Guess


@dataclass(slots=True)
class Discovery:
    """What was found."""

    source: str
    tasks: list[FoundTask] = field(default_factory=list)
    unassigned: int = 0
    """Calls that are like no others."""
    sampled: int = 0
    rules: list[LearnedRule] = field(default_factory=list)
    joined: dict[str, str] = field(default_factory=dict)
    """Tasks that turned out to be another one -> that one."""


def discover(
    calls: Path, source: str, *, known: Collection[str], taken: Collection[str], joinable: Collection[str] = (),
    keeps_source: bool = False, move: Callable[[Sequence[tuple[str, str]]], None], progress: Progress,
) -> Discovery:  # fmt: skip
    """The tasks of the calls that are now of the task `source`.

    Args:
        calls: Folder of the ledger's files.
        source: The task whose calls nothing names, such as `unassigned`; or one that is to be split.
        known: Tasks that calls may come home to.
        taken: Names that new tasks may not have.
        joinable: Those of the known tasks that may turn out to be one: the largest stays, and the caller joins them.
        keeps_source: The largest cluster keeps the name of the source.
        move: Told of calls (id, task) that are of another task than the source, piece by piece.
        progress: Told of calls.
    """
    there = counts(calls)
    total = there.get(source, 0)
    result = Discovery(source)
    if not total:
        return result
    progress.start("finding tasks", total)
    others = [task for task in known if there.get(task) and task != source]
    each = min(_KNOWN_ROWS, _MOST_KNOWN_ROWS // max(1, len(others)))
    seen = sample(calls, {**dict.fromkeys(others, each), source: SAMPLE_ROWS})
    result.sampled = sum(one.task == source for one in seen)
    tasks_before = [None if one.task == source else one.task for one in seen]
    gathered = gather([one.evidence for one in seen], tasks_before, joinable)
    labels: list[int | None] = [*cluster(gathered.rows, gathered.templates, gathered.openings)]
    for place, belongs in enumerate(held(gathered.rows, gathered.texts, labels)):
        if not belongs:
            labels[place] = None
    tasks = _named(seen, gathered, labels, result, taken, there, keeps_source=keeps_source)
    nearest = Nearest(gathered, tasks)
    lost = [place for place, task in enumerate(tasks) if task is None]
    for place, task in zip(lost, nearest.tasks_of([seen[place].evidence for place in lost]), strict=True):
        tasks[place] = task
    templates, openings = gathered.rows.templates, gathered.rows.openings
    result.rules = teach([one.evidence for one in seen], tasks, templates, openings)
    given = Counter[str]()
    sampled = [(one.id, task) for one, task in zip(seen, tasks, strict=True) if one.task == source]
    move(_moves(result, given, sampled))
    progress.update(result.sampled)
    if result.sampled < total:
        _give_rest(calls, result, given, frozenset(one.id for one in seen), nearest, move, progress)
    result.tasks = [
        FoundTask(one.name, given[one.name], one.is_new, one.guess) for one in result.tasks if given[one.name]
    ]
    progress.finish()
    return result


def _moves(result: Discovery, given: Counter[str], calls: Sequence[tuple[str, str | None]]) -> list[tuple[str, str]]:
    """Count where calls go; give those that go elsewhere."""
    given.update(task for _, task in calls if task is not None)
    result.unassigned += sum(task is None for _, task in calls)
    return [(call_id, task) for call_id, task in calls if task is not None and task != result.source]


def _give_rest(  # noqa: PLR0917 -- the whole of one pass
    calls: Path, result: Discovery, given: Counter[str], sampled: frozenset[str], nearest: Nearest,
    move: Callable[[Sequence[tuple[str, str]]], None], progress: Progress,
) -> None:  # fmt: skip
    """Give each call that was not in the sample to the task that it fits, by rule or by the nearest piece."""
    learned = Learned(result.rules)
    rest_of_calls = (one for one in stream(calls, result.source) if one.id not in sampled)
    while batch := list(islice(rest_of_calls, _BATCH)):
        by_rule = [learned.task_of(one.evidence.system, one.evidence.asked, by_words=False) for one in batch]
        rest = [one for one, task in zip(batch, by_rule, strict=True) if task is None]
        nearby = iter(nearest.tasks_of([one.evidence for one in rest]))
        tasks = [task if task is not None else next(nearby) for task in by_rule]
        move(_moves(result, given, [(one.id, task) for one, task in zip(batch, tasks, strict=True)]))
        progress.update(len(batch))


def _named(
    seen: Sequence[Seen], gathered: Gathered, labels: Sequence[int | None], result: Discovery,
    taken: Collection[str], there: Mapping[str, int], *, keeps_source: bool,
) -> list[str | None]:  # fmt: skip
    """The task of each call of the sample; None for those of clusters too small for a task."""
    members: defaultdict[int, list[int]] = defaultdict(list)
    for place, label in enumerate(labels):
        if label is not None:
            members[label].append(place)
    least = min(_ENOUGH, max(_FEWEST, round(_LEAST_SHARE * result.sampled)))
    tasks: list[str | None] = [None] * len(seen)
    used = set(taken)
    for rank, of in enumerate(_by_size(members.values(), seen)):
        owners = sorted({seen[place].task for place in of} - {result.source}, key=lambda task: (-there[task], task))
        name = owners[0] if owners else None
        result.joined.update((owner, owners[0]) for owner in owners[1:])
        new = [place for place in of if seen[place].task == result.source]
        if not new or (name is None and len(new) < least and not _is_template(new, gathered)):
            for place in of:
                tasks[place] = name
            continue
        guess = guess_work([seen[place].evidence for place in of])
        is_new = name is None
        if name is None:
            name = result.source if keeps_source and rank == 0 else _new_name(guess, of, seen, used)
        used.add(name)
        result.tasks.append(FoundTask(name, 0, is_new, guess))
        for place in of:
            tasks[place] = name
    return tasks


def _new_name(guess: Guess, of: list[int], seen: Sequence[Seen], used: Collection[str]) -> str:
    inside = set(of)
    step = max(1, len(of) // _NAMING_ROWS)
    members = [seen[place].evidence for place in of[::step]]
    outside = [place for place in range(len(seen)) if place not in inside]
    others = [seen[place].evidence for place in outside[:: max(1, len(outside) // (2 * _NAMING_ROWS))]]
    shapes = [shape_of(one.answer, one.tools) for one in members]
    return name_of(guess.kind, members, shapes, others, used)


def _is_template(places: list[int], gathered: Gathered) -> bool:
    """Few calls are a task all the same if one template has made several of them."""
    return len(places) >= _LEAST_ROWS and all(gathered.rows.templates[place] is not None for place in places)


def _by_size(groups: Collection[list[int]], seen: Sequence[Seen]) -> Iterator[list[int]]:
    """The largest first; equal ones by their first call, so that names follow from the calls alone."""
    yield from sorted(groups, key=lambda of: (-len(of), min(seen[place].id for place in of)))
