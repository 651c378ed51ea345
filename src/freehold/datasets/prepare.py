"""Makes rows of calls, a batch at a time and on several processors: what takes the time is masking and hashing."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from itertools import chain, islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from freehold.core.call import Call
from freehold.datasets.rows import is_own_answer, joined_turns, mark_contradictions, row_of, time_and_id
from freehold.datasets.spill import encoded
from freehold.text.near_duplicates import Signatures, signatures

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from freehold.core.progress import Progress
    from freehold.core.task import Task
    from freehold.datasets.rows import HumanWord, Origin, Row
    from freehold.datasets.spill import Spill

_BATCH_ROWS = 2_000
_ROWS_WORTH_A_PROCESS = 20_000
"""Fewer rows are done before another process has started."""
_MOST_PROCESSES = 8
"""This process, which reads and lays down, keeps no more of them busy."""
_WAITING = 2
"""Batches that wait for each process: more would only lie in memory."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A call with what humans said about it."""

    call: Call
    words: Sequence[HumanWord]
    origin: Origin | None = None
    """None: it is in the ledger."""


Prepared = tuple[list[tuple["Row", bytes]], Signatures]
Parcel = list[tuple[tuple[Any, ...], "Sequence[HumanWord]", "Origin | None"]]  # Any: the fields of a call
"""Rows on their way to another process: a plain tuple is packed ten times as fast as a dataclass."""
_fields_of = attrgetter(*(field.name for field in fields(Call)))
_NAMES = tuple(field.name for field in fields(Call))


def spoken_calls(task: Task, calls: Iterable[Call], words: Mapping[str, Sequence[HumanWord]]) -> Iterator[Spoken]:
    """The calls of a task that are rows.

    What an own model answered and no human looked at is none: serving a call must not change a dataset.
    """
    for call in calls:
        if call.task == task.name and (call.id in words or not is_own_answer(call)):
            yield Spoken(call, words.get(call.id, ()))


def read_rows(
    task: Task, spoken: Iterable[Spoken], spill: Spill, progress: Progress, *, processes: int | None = None
) -> tuple[list[Row], dict[str, int], Signatures]:
    """Rows by (time, id), their texts laid down; which signature each text has, by its fingerprint; and the signatures.

    Rows that say two things about one input are marked as contradictory. How many processes worked changes nothing.

    Args:
        task: What is asked.
        spoken: The rows' calls; of equal ids the last one counts.
        spill: Takes the texts.
        progress: Told of rows.
        processes: Besides this one; None: as many as there are processors, once there are many rows.
    """
    progress.start("read rows", None)
    rows: dict[str, Row] = {}
    signature_of: dict[str, int] = {}
    gathered = Signatures()
    for batch, of_texts in _prepared(task, spoken, processes):
        for place, (row, content) in enumerate(batch):
            rows[row.id] = replace(row, place=spill.add(content))
            if row.fingerprint not in signature_of:
                signature_of[row.fingerprint] = len(gathered)
                gathered.add(of_texts, place)
        progress.update(len(batch))
    progress.finish()
    return mark_contradictions(sorted(rows.values(), key=time_and_id)), signature_of, gathered


def prepare(task: Task, batch: Sequence[Spoken]) -> Prepared:
    """The rows of a batch with their encoded contents, and the signatures of their texts."""
    pairs = [row_of(task, each.call, each.words, each.origin) for each in batch]
    of_texts = signatures([joined_turns(content.messages) for _, content in pairs])
    return [(row, encoded(content)) for row, content in pairs], of_texts


def _prepare_parcel(task: Task, parcel: Parcel) -> Prepared:
    """The same in another process."""
    return prepare(
        task, [Spoken(Call(**dict(zip(_NAMES, call, strict=True))), words, origin) for call, words, origin in parcel]
    )


def _prepared(task: Task, spoken: Iterable[Spoken], processes: int | None) -> Iterator[Prepared]:
    """Batches in their order, made here while they are few and by other processes from then on."""
    waiting = iter(spoken)
    first = list(islice(waiting, _ROWS_WORTH_A_PROCESS if processes is None else 0))
    yield from (prepare(task, batch) for batch in _batches(iter(first)))
    if len(first) < _ROWS_WORTH_A_PROCESS and processes is None:
        return
    workers = min(_MOST_PROCESSES, os.cpu_count() or 1) if processes is None else processes
    rest = next(waiting, None)
    if rest is None:
        return
    # Started afresh and not forked: databases and arithmetic have threads of their own in this process.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        running: deque[Future[Prepared]] = deque()
        for batch in _batches(chain([rest], waiting)):
            parcel = [(_fields_of(each.call), each.words, each.origin) for each in batch]
            running.append(pool.submit(_prepare_parcel, task, parcel))
            if len(running) > workers * _WAITING:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


def _batches(spoken: Iterator[Spoken]) -> Iterator[list[Spoken]]:
    while batch := list(islice(spoken, _BATCH_ROWS)):
        yield batch
