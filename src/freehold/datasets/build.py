"""Builds one immutable version of a task's examples from its calls and what humans said about them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from sqlalchemy import select

from freehold.core.chat import Message
from freehold.core.dataset import Example
from freehold.core.errors import InputError
from freehold.datasets.manifest import Build
from freehold.datasets.rows import moment, read_human_words, read_rows, time_and_id
from freehold.datasets.sides import Sides, Text, decide_sides
from freehold.datasets.write import register, write_dataset
from freehold.state.schema import SPLITS
from freehold.text.near_duplicates import group_near_duplicates

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from sqlalchemy import Engine

    from freehold.core.call import Call
    from freehold.core.dataset import Dataset
    from freehold.core.progress import Progress
    from freehold.core.task import Split, Task
    from freehold.datasets.policy import Policy
    from freehold.datasets.rows import Row

MIN_HUMAN_ROWS = 20


def build_dataset(
    *, engine: Engine, task: Task, calls: Iterable[Call], folder: Path, policy: Policy, progress: Progress
) -> Dataset:
    """Curate, split, mask and write a task's examples, and remember on which side each text stands.

    The same calls, human words, policy and earlier decisions give the same id and the same bytes.

    Args:
        engine: The state database, with the humans' words and the sides that earlier builds decided.
        task: What is asked; calls of other tasks are passed over.
        calls: From the ledger.
        folder: Where datasets lie; the new one appears there whole or not at all, named after its id.
        policy: What may train and how much is held out.
        progress: Hears of each row.

    Raises:
        InputError: there is too little to train on or to test with, or the folder cannot be written.
    """
    if not task.name or task.name[0] == "." or "/" in task.name or "\0" in task.name:
        raise InputError(f"Task {task.name!r} cannot name a folder. Rename it without '/' and without a leading dot.")
    known = _known_sides(engine, task)
    words = read_human_words(engine, task.name)
    rows = [replace(row, reason=_reason(row, policy)) for row in read_rows(task, calls, words, progress)]
    _check_rows(task, rows)
    progress.start("group near-duplicates", len(rows))
    group_of = _group(rows)
    progress.update(len(rows))
    progress.finish()
    sides = _decide(rows, group_of, known, policy)
    kept, excluded = _place(rows, sides)
    build = Build(
        task=task,
        policy=policy,
        rows=rows,
        examples=[_example(task, row, split, group_of[row.fingerprint]) for row, split in kept],
        excluded=excluded,
        group_of=group_of,
        split_by=sides.split_by,
        words_without_call=len(words.keys() - {row.id for row in rows}),
    )
    _check_sides(build)
    dataset, manifest = write_dataset(build, folder)
    register(engine, dataset, manifest, known, {row.fingerprint: split for row, split in kept})
    return dataset


def _check_rows(task: Task, rows: Sequence[Row]) -> None:
    if not rows:
        raise InputError(f"Task {task.name!r} has no rows. Bring some: freehold import FILE --task {task.name}")
    if not any(row.is_human for row in rows):
        raise InputError(
            f"None of the {len(rows)} rows of task {task.name!r} has a human's word, so nothing may train "
            f"and nothing can be tested. Import rows with an 'output' that a person wrote or checked: "
            f"freehold import FILE --task {task.name}"
        )
    usable = [row for row in rows if row.is_human and row.reason is None]
    if usable and task.kind == "classification" and len({row.target for row in usable}) == 1:
        raise InputError(
            f"All {len(usable)} usable rows of task {task.name!r} have one answer, {usable[0].target!r}: "
            "there is nothing to learn. Import rows of at least one other class."
        )
    if len(usable) < MIN_HUMAN_ROWS:
        lost = Counter(row.reason for row in rows if row.is_human and row.reason is not None)
        detail = ", ".join(f"{count} {reason}" for reason, count in sorted(lost.items(), key=str))
        raise InputError(
            f"Task {task.name!r} has {len(usable)} usable rows with a human's word"
            f"{f' ({detail} left out)' if detail else ''}; at least {MIN_HUMAN_ROWS} are needed, and 200 "
            f"make a first model worth judging. Import more: freehold import FILE --task {task.name}"
        )


def _group(rows: Sequence[Row]) -> dict[str, str]:
    """Fingerprint -> name of its group of near-duplicates, over all rows that hold text."""
    texts = {row.fingerprint: row.text for row in reversed(rows)}
    ordered = sorted(texts)
    first = group_near_duplicates([texts[fingerprint] for fingerprint in ordered])
    return {fingerprint: ordered[index][:16] for fingerprint, index in zip(ordered, first, strict=True)}


def _known_sides(engine: Engine, task: Task) -> dict[str, str]:
    with engine.connect() as connection:
        found = connection.execute(select(SPLITS.c.fingerprint, SPLITS.c.split).where(SPLITS.c.task == task.name))
        return {row.fingerprint: row.split for row in found}


def _reason(row: Row, policy: Policy) -> str | None:
    """Why a row is left out, the policy considered; an answer that nobody checked has to be allowed."""
    if row.is_human or (policy.allow_rented_output and row.provenance == "rented-output"):
        return row.reason
    return row.reason if row.reason in ("empty", "failed", "truncated") else row.provenance


def _copies(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The usable rows by masked text."""
    copies: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.reason is None:
            copies[row.fingerprint].append(row)
    return copies


def _decide(rows: Sequence[Row], group_of: Mapping[str, str], known: Mapping[str, str], policy: Policy) -> Sides:
    texts = [
        Text(
            fingerprint=fingerprint,
            last_seen=max(filter(None, map(moment, copies)), default=None),
            is_human=any(row.is_human for row in copies),
        )
        for fingerprint, copies in _copies(rows).items()
    ]
    declared = frozenset(row.fingerprint for row in rows if row.is_test)
    return decide_sides(texts, group_of=group_of, declared=declared, known=known, policy=policy)


def _place(rows: Sequence[Row], sides: Sides) -> tuple[list[tuple[Row, Split]], dict[str, str]]:
    """The rows that stay, each with its side, and of the others the id and the reason; both by (time, id)."""
    kept: list[tuple[Row, Split]] = []
    reasons = {row.id: row.reason for row in rows if row.reason is not None}
    for fingerprint, copies in _copies(rows).items():
        side = sides.side[fingerprint]
        if side not in ("train", "validation", "test"):
            reasons |= {row.id: side for row in copies}
            continue
        split = cast("Split", side)
        may_stay = [row for row in copies if row.is_test or split != "test" or sides.split_by != "declared"]
        reasons |= {row.id: "duplicate" if row in may_stay else "leak" for row in copies}
        if may_stay:
            row = _one_of(may_stay, split)
            del reasons[row.id]
            kept.append((row, split))
    kept.sort(key=lambda pair: time_and_id(pair[0]))
    return kept, {row.id: reasons[row.id] for row in rows if row.id in reasons}


def _one_of(copies: Sequence[Row], split: Split) -> Row:
    """Of copies of one text, one with a human's word; to test on, the latest that has a rented answer."""
    candidates = [row for row in copies if row.is_human] or copies
    if split == "test":
        return max(candidates, key=lambda row: (row.rented_output is not None, time_and_id(row)))
    return min(candidates, key=time_and_id)


def _example(task: Task, row: Row, split: Split, group: str) -> Example:
    return Example(
        id=row.id,
        messages=(Message("system", task.own_prompt), *row.turns),
        target=row.target,
        split=split,
        provenance=row.provenance,
        group=group,
        started_at=row.started_at,
        rented_output=row.rented_output,
        rented_model=row.rented_model,
    )


def _check_sides(build: Build) -> None:
    task = build.task
    sizes = Counter(example.split for example in build.examples)
    lost = ", ".join(f"{count} {reason}" for reason, count in sorted(Counter(build.excluded.values()).items()))
    if not sizes["test"]:
        cause = (
            "every row of the imported test set was left out"
            if build.split_by == "declared"
            else "too few texts differ from each other to hold some out"
        )
        raise InputError(
            f"The test set of task {task.name!r} is empty: {cause} (left out: {lost or 'none'}). "
            f"Import test rows of its own: freehold import FILE --task {task.name} --split test"
        )
    if not sizes["train"]:
        raise InputError(
            f"The training set of task {task.name!r} is empty (left out: {lost or 'none'}; a leak is a "
            "copy of a test row). Import rows that are not in the test set: "
            f"freehold import FILE --task {task.name}"
        )
    classes = {example.target for example in build.examples if example.split == "train"}
    if task.kind == "classification" and len(classes) == 1:
        raise InputError(
            f"All {sizes['train']} training rows of task {task.name!r} have one answer, {classes.pop()!r}: "
            "there is nothing to learn. Import rows of at least one other class."
        )
