"""Writes a dataset as a whole or not at all, and registers it with the sides it decided."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError

from freehold.core.dataset import Dataset
from freehold.core.errors import InputError
from freehold.datasets.hygiene import SPLITS as SIDES
from freehold.datasets.manifest import example_lines, manifest_of, row_lines
from freehold.state.database import now
from freehold.state.schema import DATASETS, SPLITS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from sqlalchemy import Connection, Engine

    from freehold.core.progress import Progress
    from freehold.datasets.manifest import Build

MANIFEST = "manifest.json"
EXCLUDED, ROWS, REVIEW = "excluded.jsonl", "rows.jsonl", "review.jsonl"
FILES = (*(f"{split}.jsonl" for split in SIDES), EXCLUDED, ROWS, REVIEW)
_INSERT_ROWS = 50_000


def write_dataset(build: Build, folder: Path, progress: Progress) -> tuple[Dataset, dict[str, Any]]:  # Any: JSON
    """Write the dataset's folder into `folder` and return it with its manifest.

    Row by row, so that a large one needs no more memory than a small one. What a killed run left gives way.

    Raises:
        OSError: it cannot be written; nothing of it is left then.
    """
    for left in folder.glob(f".{build.task.name}-*.part"):
        shutil.rmtree(left, ignore_errors=True)
    part = folder / f".{build.task.name}-{os.getpid()}.part"
    try:
        part.mkdir()
        manifest = manifest_of(build, _write_files(build, part, progress))
        (part / MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        final = folder / manifest["id"]
        if not _is_same(final, manifest):
            if final.exists():
                shutil.rmtree(final)
            part.replace(final)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    dataset = Dataset(
        id=manifest["id"],
        task=build.task,
        folder=final,
        rows=manifest["rows"],
        excluded=manifest["excluded"],
        sha256=manifest["sha256"],
    )
    return dataset, manifest


def _write_files(build: Build, folder: Path, progress: Progress) -> dict[str, str]:
    """Write the JSONL files and give the hash of each."""
    with ExitStack() as opened:
        files = {name: opened.enter_context(_Lines(folder / name)) for name in FILES}
        progress.start("write rows", len(build.kept))
        for split, line in example_lines(build):
            files[f"{split}.jsonl"].write(line)
            progress.update(1)
        progress.finish()
        for call, reason in build.excluded.items():
            files[EXCLUDED].write({"id": call, "reason": reason})
        for line in row_lines(build):
            files[ROWS].write(line)
        for finding in build.hygiene.findings:
            files[REVIEW].write(finding)
    return {name: file.sha256 for name, file in files.items()}


class _Lines:
    """A JSONL file that is written, and its hash."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._hash = hashlib.sha256()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, line: Mapping[str, Any]) -> None:  # Any: what JSON can write
        content = (json.dumps(line, ensure_ascii=False) + "\n").encode()
        self._hash.update(content)
        self._file.write(content)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


def _is_same(folder: Path, manifest: Mapping[str, Any]) -> bool:  # Any: JSON
    """The version is there already, and whole."""
    try:
        there = json.loads((folder / MANIFEST).read_bytes())
        return bool(there == manifest) and all(
            sha256_of(folder / name) == sha256 for name, sha256 in manifest["files"].items()
        )
    except (OSError, ValueError):
        return False


def sha256_of(path: Path) -> str:
    """Of a file's bytes, in hex.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def register(
    engine: Engine,
    dataset: Dataset,
    manifest: Mapping[str, Any],
    known: Mapping[str, str],
    decided: Mapping[str, str],
) -> None:
    """Remember the dataset, and for ever the side of each of its texts.

    A dataset that is built again becomes the latest of its task again.

    Args:
        engine: The state database.
        dataset: What was written.
        manifest: As it stands in the file.
        known: Sides as they were when this build decided.
        decided: Fingerprint -> side of each text in the dataset.

    Raises:
        InputError: another build of the task decided sides in the meantime.
    """
    try:
        with engine.begin() as connection:
            _remember_sides(connection, dataset.task.name, known, decided)
            same = DATASETS.c.id == dataset.id
            if connection.execute(update(DATASETS).where(same).values(created_at=now())).rowcount == 0:
                connection.execute(
                    insert(DATASETS).values(
                        id=dataset.id,
                        task=dataset.task.name,
                        sha256=dataset.sha256,
                        manifest=dict(manifest),
                        created_at=now(),
                    )
                )
    except IntegrityError as error:
        raise InputError(
            f"Another build of task {dataset.task.name!r} ran at the same time and decided first. Build "
            f"again: freehold dataset build {dataset.task.name}"
        ) from error


def _remember_sides(connection: Connection, task: str, known: Mapping[str, str], decided: Mapping[str, str]) -> None:
    new = sorted(decided.keys() - known.keys())
    for start in range(0, len(new), _INSERT_ROWS):
        some = new[start : start + _INSERT_ROWS]
        connection.execute(insert(SPLITS), [{"task": task, "fingerprint": one, "split": decided[one]} for one in some])
    for fingerprint, side in sorted(decided.items()):
        if known.get(fingerprint, side) != side:  # imported as a test row after it had trained
            connection.execute(
                update(SPLITS).where(SPLITS.c.task == task, SPLITS.c.fingerprint == fingerprint).values(split=side)
            )
