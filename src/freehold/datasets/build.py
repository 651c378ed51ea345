"""Builds one immutable version of a task's examples from its calls and what humans said about them."""

from __future__ import annotations

import errno
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, cast

from msgspec.structs import replace as replace_fields
from sqlalchemy import select

from freehold.core.errors import InputError
from freehold.datasets.hygiene import examine
from freehold.datasets.manifest import Build
from freehold.datasets.prepare import read_rows, spoken_calls
from freehold.datasets.rows import joined_turns, read_human_words, time_and_id
from freehold.datasets.sides import Sides, Text, decide_sides
from freehold.datasets.spill import Spill
from freehold.datasets.write import register, write_dataset
from freehold.state.schema import SPLITS
from freehold.text.near_duplicates import group_signatures

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from sqlalchemy import Engine

    from freehold.core.call import Call
    from freehold.core.dataset import Dataset
    from freehold.core.progress import Progress
    from freehold.core.task import Split, Task
    from freehold.datasets.files import TrainingFiles
    from freehold.datasets.policy import Policy
    from freehold.datasets.rows import Row
    from freehold.text.near_duplicates import Signatures

MIN_HUMAN_ROWS = 20


def build_dataset(
    *,
    engine: Engine,
    task: Task,
    calls: Iterable[Call],
    folder: Path,
    policy: Policy,
    progress: Progress,
    files: TrainingFiles | None = None,
    processes: int | None = None,
) -> Dataset:
    """Curate, split, mask and write a task's examples, and remember on which side each text stands.

    The same calls, human words, files, policy and earlier decisions give the same id and the same bytes.

    Args:
        engine: The state database, with the humans' words and the sides that earlier builds decided.
        task: What is asked; calls of other tasks are passed over.
        calls: From the ledger.
        folder: Where datasets lie; the new one appears there whole or not at all, named after its id.
        policy: What may train and how much is held out.
        progress: Hears of each row.
        files: Rows that are in no ledger.
        processes: See `prepare.read_rows`.

    Raises:
        InputError: there is too little to train on or to test with, a file cannot be used, or the folder cannot be
            written.
    """
    if not task.name or task.name[0] == "." or "/" in task.name or "\0" in task.name:
        raise InputError(f"Task {task.name!r} cannot name a folder. Rename it without '/' and without a leading dot.")
    known = _known_sides(engine, task)
    words = read_human_words(engine, task.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with Spill(folder) as spill:
            spoken = chain(spoken_calls(task, calls, words), () if files is None else files.rows(task))
            rows, signature_of, signatures = read_rows(task, spoken, spill, progress, processes=processes)
            for place, row in enumerate(rows):
                reason = _reason(row, policy)
                if reason != row.reason:
                    rows[place] = replace_fields(row, reason=reason)
            _check_rows(task, rows)
            build = _decided(
                task=task,
                policy=policy,
                rows=rows,
                signature_of=signature_of,
                signatures=signatures,
                known=known,
                spill=spill,
                progress=progress,
            )
            build = replace(
                build,
                words_without_call=len(words.keys() - {row.id for row in rows}),
                rejected=() if files is None else tuple(files.rejected),
                rejected_rows=0 if files is None else files.rejected_rows,
            )
            dataset, manifest = write_dataset(build, folder, progress)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EIO):
            raise
        raise InputError(
            f"{folder}: the dataset cannot be written ({error.strerror}). Free space or choose a folder that "
            "you may write to, then build again."
        ) from error
    register(engine, dataset, manifest, known, {row.fingerprint: split for row, split in build.kept})
    return dataset


def _decided(
    *,
    task: Task,
    policy: Policy,
    rows: Sequence[Row],
    signature_of: Mapping[str, int],
    signatures: Signatures,
    known: Mapping[str, str],
    spill: Spill,
    progress: Progress,
) -> Build:
    """Every row on its side or left out, and looked through."""
    progress.start("group near-duplicates", len(rows))
    group_of = _group(rows, signature_of, signatures, spill)
    progress.update(len(rows))
    progress.finish()
    sides = _decide(rows, group_of, known, policy)
    kept, excluded = _place(rows, sides)
    _check_sides(task, kept, excluded, sides)
    progress.start("look for faults", len(kept))
    hygiene = examine(
        task=task,
        rows=rows,
        kept=kept,
        excluded=excluded,
        group_of=group_of,
        template_of=lambda row: signatures.template(signature_of[row.fingerprint]),
        spill=spill,
    )
    progress.update(len(kept))
    progress.finish()
    return Build(
        task=task,
        policy=policy,
        rows=rows,
        kept=kept,
        excluded=excluded,
        group_of=group_of,
        split_by=sides.split_by,
        words_without_call=0,
        hygiene=hygiene,
        spill=spill,
    )


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
    if usable and task.kind == "classification" and len({row.answer for row in usable}) == 1:
        raise InputError(
            f"All {len(usable)} usable rows of task {task.name!r} have one answer, {usable[0].answer!r}: "
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


def _group(
    rows: Sequence[Row], signature_of: Mapping[str, int], signatures: Signatures, spill: Spill
) -> dict[str, str]:
    """Fingerprint -> name of its group of near-duplicates, over all rows that hold text."""
    row_of = {row.fingerprint: row for row in rows}
    ordered = sorted(row_of)

    def text_of(index: int) -> str:
        place = row_of[ordered[index]].place
        assert place is not None
        return joined_turns(spill.get(place).messages)

    first = group_signatures(signatures, text_of, order=[signature_of[fingerprint] for fingerprint in ordered])
    return {fingerprint: ordered[index][:16] for fingerprint, index in zip(ordered, first, strict=True)}


def _known_sides(engine: Engine, task: Task) -> dict[str, str]:
    with engine.connect() as connection:
        found = connection.execute(select(SPLITS.c.fingerprint, SPLITS.c.split).where(SPLITS.c.task == task.name))
        return {row.fingerprint: row.split for row in found}


def _reason(row: Row, policy: Policy) -> str | None:
    """Why a row is left out, the policy considered; an answer that nobody checked has to be allowed."""
    if row.is_human or (policy.allow_rented_output and row.provenance == "rented-output"):
        return row.reason
    return row.reason if row.reason in ("empty", "failed", "truncated", "no-consent") else row.provenance


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
            last_seen=max((row.moment for row in copies if row.moment is not None), default=None),
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
            reasons.update((row.id, side) for row in copies)
            continue
        split = cast("Split", side)
        may_stay = [row for row in copies if row.is_test or split != "test" or sides.split_by != "declared"]
        staying = {row.id for row in may_stay}
        reasons.update((row.id, "duplicate" if row.id in staying else "leak") for row in copies)
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
        return max(candidates, key=lambda row: (row.is_answered, time_and_id(row)))
    return min(candidates, key=time_and_id)


def _check_sides(task: Task, kept: Sequence[tuple[Row, Split]], excluded: Mapping[str, str], sides: Sides) -> None:
    sizes = Counter(split for _, split in kept)
    lost = ", ".join(f"{count} {reason}" for reason, count in sorted(Counter(excluded.values()).items()))
    if not sizes["test"]:
        cause = (
            "every row of the imported test set was left out"
            if sides.split_by == "declared"
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
    classes = {row.answer for row, split in kept if split == "train"}
    if task.kind == "classification" and len(classes) == 1:
        raise InputError(
            f"All {sizes['train']} training rows of task {task.name!r} have one answer, {classes.pop()!r}: "
            "there is nothing to learn. Import rows of at least one other class."
        )
