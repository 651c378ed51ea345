"""Writes a dataset as a whole or not at all, and registers it with the sides it decided."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError

from freehold.core.dataset import Dataset
from freehold.core.errors import InputError
from freehold.datasets.manifest import files_of, manifest_of
from freehold.state.database import now
from freehold.state.schema import DATASETS, SPLITS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sqlalchemy import Connection, Engine

    from freehold.datasets.manifest import Build

MANIFEST = "manifest.json"


def write_dataset(build: Build, folder: Path) -> tuple[Dataset, dict[str, Any]]:  # Any: the manifest, JSON
    """Write the dataset's folder into `folder` and return it with its manifest.

    Raises:
        InputError: it cannot be written; nothing of it is left then.
    """
    files = files_of(build)
    manifest = manifest_of(build, files)
    files[MANIFEST] = json.dumps(manifest, ensure_ascii=False, indent=1) + "\n"
    final = folder / manifest["id"]
    part = folder / f".{manifest['id']}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not _is_same(final, files):
            _write_folder(final, part, files)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise InputError(
            f"{final}: the dataset cannot be written ({error.strerror}). Free space or choose a folder that "
            "you may write to, then build again."
        ) from error
    dataset = Dataset(
        id=manifest["id"],
        task=build.task,
        folder=final,
        rows=manifest["rows"],
        excluded=manifest["excluded"],
        sha256=manifest["sha256"],
    )
    return dataset, manifest


def _is_same(folder: Path, files: Mapping[str, str]) -> bool:
    return all(
        (folder / name).is_file() and (folder / name).read_bytes() == content.encode()
        for name, content in files.items()
    )


def _write_folder(final: Path, part: Path, files: Mapping[str, str]) -> None:
    """Fill a folder of another name and rename it; what a killed or damaged run left there gives way."""
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    for name, content in files.items():
        (part / name).write_bytes(content.encode())
    if final.exists():
        shutil.rmtree(final)
    part.replace(final)


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
        manifest: Kept without its list of source rows, which stands in the file.
        known: Sides as they were when this build decided.
        decided: Fingerprint -> side of each text in the dataset.

    Raises:
        InputError: another build of the task decided sides in the meantime.
    """
    kept = {key: value for key, value in manifest.items() if key != "source_rows"}
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
                        manifest=kept,
                        created_at=now(),
                    )
                )
    except IntegrityError as error:
        raise InputError(
            f"Another build of task {dataset.task.name!r} ran at the same time and decided first. Build "
            f"again: freehold dataset build {dataset.task.name}"
        ) from error


def _remember_sides(connection: Connection, task: str, known: Mapping[str, str], decided: Mapping[str, str]) -> None:
    new = [
        {"task": task, "fingerprint": fingerprint, "split": side}
        for fingerprint, side in sorted(decided.items())
        if fingerprint not in known
    ]
    if new:
        connection.execute(insert(SPLITS), new)
    for fingerprint, side in sorted(decided.items()):
        if known.get(fingerprint, side) != side:  # imported as a test row after it had trained
            connection.execute(
                update(SPLITS).where(SPLITS.c.task == task, SPLITS.c.fingerprint == fingerprint).values(split=side)
            )
