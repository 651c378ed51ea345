"""Reads datasets back, and refuses those whose files are not what was written."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from freehold.core.chat import Message
from freehold.core.dataset import Dataset, Example
from freehold.core.errors import InputError
from freehold.core.identity import content_hash
from freehold.core.task import Task
from freehold.datasets.hygiene import SPLITS
from freehold.datasets.write import MANIFEST, REVIEW, sha256_of
from freehold.state.schema import DATASETS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from sqlalchemy import Engine

    from freehold.core.task import Split


def list_datasets(engine: Engine, task: str | None = None) -> list[str]:
    """Ids of the registered datasets (of one task), the latest built first."""
    query = select(DATASETS.c.id).order_by(DATASETS.c.created_at.desc(), DATASETS.c.id)
    with engine.connect() as connection:
        return list(connection.scalars(query if task is None else query.where(DATASETS.c.task == task)))


def dataset_versions(engine: Engine) -> list[dict[str, Any]]:  # Any: JSON
    """Every registered dataset with its task, its rows by split and when it was last built; the latest first."""
    query = select(DATASETS).order_by(DATASETS.c.created_at.desc(), DATASETS.c.id)
    with engine.connect() as connection:
        return [
            {"dataset": row.id, "task": row.task, "rows": rows_left(row.manifest), "created_at": row.created_at}
            for row in connection.execute(query)
        ]


def read_dataset(folder: Path, name: str, *, engine: Engine) -> Dataset:
    """A dataset by its id, or the latest built one of a task.

    Args:
        folder: Where datasets lie.
        name: Id of a dataset, or name of a task.
        engine: The state database, which knows what was built when.

    Raises:
        InputError: there is none of that name, or its manifest was changed.
    """
    known = list_datasets(engine)
    of_task = list_datasets(engine, name)
    if name not in known and not of_task:
        choice = f"There are: {', '.join(known)}." if known else "None has been built."
        raise InputError(
            f"No dataset or task with a dataset is named {name!r}. {choice} Build one: freehold dataset build TASK"
        )
    found = folder / (name if name in known else of_task[0])
    manifest = read_manifest(found)
    definition = manifest["task"]
    return Dataset(
        id=manifest["id"],
        task=Task(
            name=definition["name"],
            kind=definition["kind"],
            labels=tuple(definition["labels"]),
            json_schema=definition["json_schema"],
            own_prompt=definition["own_prompt"],
        ),
        folder=found,
        rows=rows_left(manifest),
        excluded=manifest["excluded"],
        sha256=manifest["sha256"],
    )


def read_examples(dataset: Dataset, split: Split) -> list[Example]:
    """The examples of one side.

    Raises:
        InputError: the file is missing or is not what was written.
    """
    return list(stream_examples(dataset, split))


def stream_examples(dataset: Dataset, split: Split) -> Iterator[Example]:
    """The examples of one side, one after the other. The whole file is checked before the first.

    Raises:
        InputError: the file is missing or is not what was written.
    """
    return (_example(line) for line in stream_lines(dataset, f"{split}.jsonl"))


def stream_lines(dataset: Dataset, name: str) -> Iterator[dict[str, Any]]:  # Any: JSON
    """The lines of one of a version's files; none if the version is older than that kind of file.

    Raises:
        InputError: the file is missing or is not what was written.
    """
    path = dataset.folder / name
    known = read_manifest(dataset.folder)["files"]
    if name not in known:
        return
    try:
        if sha256_of(path) != known[name]:
            raise InputError(_changed(path, dataset.task.name))
        with path.open("rb") as file:
            for line in file:
                yield json.loads(line)
    except OSError as error:
        raise _unreadable(path, error) from error


def read_samples(dataset: Dataset, count: int) -> dict[str, Any]:  # Any: JSON
    """The first rows of each side, and the first rows that somebody should look at, by what was found."""
    review: dict[str, list[dict[str, Any]]] = {}
    for line in stream_lines(dataset, REVIEW):
        of_kind = review.setdefault(line["finding"], [])
        if len(of_kind) < count:
            of_kind.append(line)
    sides = {split: list(islice(stream_lines(dataset, f"{split}.jsonl"), count)) for split in SPLITS}
    return {"samples": sides, "review": {kind: lines for kind, lines in review.items() if lines}}


def as_record(dataset: Dataset) -> dict[str, Any]:  # Any: JSON
    """What `freehold dataset build --json` and `dataset show --json` print; null is what an older version lacks."""
    manifest = read_manifest(dataset.folder)
    by_split = manifest["provenance"]
    total: Counter[str] = Counter()
    for of_side in by_split.values():
        total.update(of_side)
    return {
        "schema": manifest["schema"],
        "dataset": dataset.id,
        "task": dataset.task.name,
        "sha256": dataset.sha256,
        "rows": rows_left(manifest),
        "purged": dict(manifest["purged"]["rows"]) if "purged" in manifest else None,
        "excluded": [{"reason": reason, "rows": rows} for reason, rows in manifest["excluded"].items()],
        "split_by": manifest["split_by"],
        "test_from": manifest["test_from"],
        "provenance": dict(sorted(total.items())),
        "provenance_by_split": by_split,
        "classes": manifest["classes"],
        "pii": manifest["pii"],
        "near_duplicates": manifest["near_duplicates"],
        "leaks": manifest["excluded"].get("leak", 0),
        "label_conflicts": len(manifest["contradictions"]),
        "contradictions": manifest["contradictions"],
        **{name: manifest.get(name) for name in _LATER},
        "warnings": [*manifest["warnings"], *_purged_warning(manifest)],
        "policy": manifest["policy"],
        "folder": str(dataset.folder),
    }


_LATER = (
    "duplicates_grouped", "leakage", "label_noise", "balance", "lengths", "months", "terms", "sources", "findings",
    "rejected_rows",
)  # fmt: skip
"""Fields that the first versions lack."""


def read_manifest(folder: Path) -> dict[str, Any]:  # Any: JSON
    """The manifest of a version.

    Raises:
        InputError: it is missing or was changed.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(_read(path))
        is_whole = _is_whole(manifest) and manifest["id"] == folder.name
    except (ValueError, KeyError, AttributeError):
        is_whole = False
    if not is_whole:
        raise InputError(_changed(path, "TASK"))
    return manifest  # type: ignore[no-any-return]  # a mapping: its hash is right


def _is_whole(manifest: Mapping[str, Any]) -> bool:
    """Nobody changed it; a purge has left a hash of its own, as the first one names the version for ever."""
    if "purged" not in manifest:
        content = {key: value for key, value in manifest.items() if key not in ("id", "sha256")}
        return bool(manifest["sha256"] == content_hash(content))
    purged = {key: value for key, value in manifest["purged"].items() if key != "sha256"}
    return bool(manifest["purged"]["sha256"] == content_hash({**manifest, "purged": purged}))


def rows_left(manifest: Mapping[str, Any]) -> dict[Split, int]:
    """Rows by split that a version still has."""
    gone = manifest.get("purged", {}).get("rows", {})
    return {split: rows - gone.get(split, 0) for split, rows in manifest["rows"].items()}


def _purged_warning(manifest: Mapping[str, Any]) -> list[str]:
    gone = sum(manifest.get("purged", {}).get("rows", {}).values())
    if not gone:
        return []
    return [
        f"{gone} of {sum(manifest['rows'].values())} rows of this version were purged: what was measured with them "
        "cannot be measured again. Build a new version."
    ]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path}: cannot be read ({error.strerror}). Build the dataset again: freehold dataset build TASK"
    )


def _changed(path: Path, task: str) -> str:
    return (
        f"{path}: the file was changed after the dataset was built; results on it would prove nothing. "
        f"Build it again: freehold dataset build {task}"
    )


def _example(line: dict[str, Any]) -> Example:
    started_at = line.pop("started_at")
    messages = tuple(Message(**message) for message in line.pop("messages"))
    return Example(
        messages=messages,
        started_at=None if started_at is None else datetime.fromisoformat(started_at),
        **line,
    )
