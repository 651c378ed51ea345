"""Model versions: a folder that never changes, a row with its lineage, and the names that point to it."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError

from freehold.core.errors import GateClosed, InputError
from freehold.state.database import now, record_action
from freehold.state.schema import ALIASES, DATASETS, MODELS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sqlalchemy import Connection, Engine, RowMapping

WEIGHTS_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"
CHAMPION, CHALLENGER = "champion", "challenger"

_ALIASES_ALLOWED = (CHAMPION, CHALLENGER)
_PICKLED_SUFFIXES = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One trained adapter, or whole model, and where it comes from."""

    id: str
    """`<task>-<first 12 hex digits of the weights' SHA-256>`."""
    task: str
    base: str
    dataset_id: str | None
    """None for an adapter that was trained elsewhere."""
    sha256: str
    """Of the weights."""
    recipe: Mapping[str, Any]  # Any: the resolved recipe, as tuning wrote it
    run: Mapping[str, Any]  # Any: what the training run measured of itself
    files: Mapping[str, str]
    """SHA-256 of each file that decides what the model says."""
    created_at: str
    aliases: tuple[str, ...] = ()
    """Of champion and challenger, those that point here."""


def add_model(
    engine: Engine,
    *,
    task: str,
    base: str,
    dataset_id: str | None,
    folder: Path,
    models_folder: Path,
    recipe: Mapping[str, Any],
    run: Mapping[str, Any],
) -> ModelVersion:
    """Copy an adapter folder into the registry. The same weights twice are one version.

    Interrupted at any point, it leaves no half version, and the same call completes it.

    Args:
        engine: State database.
        task: What the adapter was trained for.
        base: Name of the base model.
        dataset_id: Dataset it was trained on.
        folder: PEFT adapter folder; it stays as it is.
        models_folder: Where versions live; the new one becomes a folder there, named by its id.
        recipe: The resolved recipe.
        run: Examples, seconds, losses.

    Raises:
        InputError: the folder is no adapter folder, holds pickled weights, or the dataset is unknown.
    """
    files = _hash_files(folder)
    weights = _weights_hash(files)
    model_id = f"{task}-{weights[:12]}"
    with engine.connect() as connection:
        if dataset_id is not None and not _exists(connection, dataset_id):
            raise InputError(f"Dataset {dataset_id!r} is unknown. Build it with: freehold dataset build {task}")
        known = _find(connection, model_id)
    if known is not None and known.files != files:
        raise InputError(
            f"{folder} has the weights of model {known.id!r} and another {CONFIG_FILE}. "
            "A version never changes: take the configuration that it was trained with."
        )
    _place_folder(folder, models_folder / model_id, files, recipe, run)
    if known is not None:
        return known
    row = {
        "id": model_id,
        "task": task,
        "base": base,
        "dataset_id": dataset_id,
        "sha256": weights,
        "recipe": dict(recipe),
        "run": {**run, "files": files},
        "created_at": now(),
    }
    try:
        with engine.begin() as connection:
            connection.execute(insert(MODELS).values(**row))
            lineage = {"base": base, "dataset": dataset_id, "files": files}
            record_action(connection, "model.added", model_id, lineage)
    except IntegrityError:
        # Another process added the same weights a moment ago: then it is there, and there is nothing to do.
        return get_model(engine, model_id)
    return get_model(engine, model_id)


def list_models(engine: Engine, *, task: str | None = None) -> list[ModelVersion]:
    """All versions, of one task or of every task, newest first."""
    query = select(MODELS).order_by(MODELS.c.created_at.desc(), MODELS.c.id)
    if task is not None:
        query = query.where(MODELS.c.task == task)
    with engine.connect() as connection:
        names = _aliases(connection)
        return [_version(row, names) for row in connection.execute(query).mappings()]


def get_model(engine: Engine, reference: str) -> ModelVersion:
    """The version that a name means: `TASK` (its champion), `TASK@challenger`, an id, or how one id begins.

    Raises:
        InputError: the name means nothing, or more than one version.
    """
    versions = {version.id: version for version in list_models(engine)}
    if reference in versions:
        return versions[reference]
    tasks = {version.task for version in versions.values()}
    task, _, alias = reference.partition("@")
    if task in tasks:
        return _by_alias(versions, task, alias or CHAMPION)
    matching = sorted(name for name in versions if reference and name.startswith(reference))
    if len(matching) == 1:
        return versions[matching[0]]
    if matching:
        raise InputError(f"Model {reference!r} could be {', '.join(map(repr, matching))}. Give more of the id.")
    if not versions:
        raise InputError(f"Model {reference!r} is unknown: there is no model yet. Train one with: freehold tune TASK")
    nearest = difflib.get_close_matches(reference, [*sorted(tasks), *sorted(versions)], n=1, cutoff=0.0)[0]
    raise InputError(
        f"Model {reference!r} is unknown; the nearest name is {nearest!r}. See all with: freehold models list"
    )


def set_alias(engine: Engine, *, task: str, alias: str, model_id: str, reason: str | None = None) -> ModelVersion:
    """Let `champion` or `challenger` of a task point to a version; the audit trail keeps the one before.

    Raises:
        InputError: another alias, an unknown version, or one of another task.
    """
    if alias not in _ALIASES_ALLOWED:
        raise InputError(f"Alias {alias!r} is unknown; allowed are {' and '.join(map(repr, _ALIASES_ALLOWED))}.")
    version = get_model(engine, model_id)
    if version.task != task:
        raise InputError(f"Model {version.id!r} belongs to task {version.task!r}, so it cannot be {task}@{alias}.")
    this_alias = (ALIASES.c.task == task) & (ALIASES.c.alias == alias)
    with engine.begin() as connection:
        previous = connection.execute(select(ALIASES.c.model_id).where(this_alias)).scalar()
        details = {"alias": alias, "previous": previous, "reason": reason}
        record_action(connection, "model.alias-set", version.id, details)
        connection.execute(delete(ALIASES).where(this_alias))
        connection.execute(insert(ALIASES).values(task=task, alias=alias, model_id=version.id))
    return get_model(engine, version.id)


def verify_model(model: ModelVersion, models_folder: Path) -> Path:
    """The version's folder, after its files were hashed and compared.

    Raises:
        GateClosed: a file is missing or was changed after the version was made.
    """
    folder = models_folder / model.id
    for name, expected in model.files.items():
        file = folder / name
        if not file.is_file():
            raise GateClosed(f"{file} is missing, so model {model.id!r} cannot be used. Restore it or train it again.")
        if _sha256(file) != expected:
            raise GateClosed(
                f"{file} is not what was registered: its hash is {_sha256(file)[:12]}, not {expected[:12]}. "
                f"Model {model.id!r} cannot be used. Restore the file or train it again."
            )
    return folder


def _by_alias(versions: Mapping[str, ModelVersion], task: str, alias: str) -> ModelVersion:
    if alias not in _ALIASES_ALLOWED:
        raise InputError(f"Alias {alias!r} is unknown; allowed are {' and '.join(map(repr, _ALIASES_ALLOWED))}.")
    own = [version for version in versions.values() if version.task == task]
    for version in own:
        if alias in version.aliases:
            return version
    raise InputError(
        f"Task {task!r} has no {alias} yet. Name a version, such as {own[0].id!r}, or choose one with: "
        f"freehold models promote {own[0].id}"
    )


def _exists(connection: Connection, dataset_id: str) -> bool:
    return connection.execute(select(DATASETS.c.id).where(DATASETS.c.id == dataset_id)).first() is not None


def _find(connection: Connection, model_id: str) -> ModelVersion | None:
    row = connection.execute(select(MODELS).where(MODELS.c.id == model_id)).mappings().one_or_none()
    return None if row is None else _version(row, _aliases(connection))


def _aliases(connection: Connection) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for row in connection.execute(select(ALIASES).order_by(ALIASES.c.alias)):
        names.setdefault(row.model_id, []).append(row.alias)
    return names


def _version(row: RowMapping, aliases: Mapping[str, list[str]]) -> ModelVersion:
    return ModelVersion(
        id=row["id"],
        task=row["task"],
        base=row["base"],
        dataset_id=row["dataset_id"],
        sha256=row["sha256"],
        recipe=row["recipe"],
        run={key: value for key, value in row["run"].items() if key != "files"},
        files=row["run"]["files"],
        created_at=row["created_at"],
        aliases=tuple(aliases.get(row["id"], ())),
    )


def _hash_files(folder: Path) -> dict[str, str]:
    whole = sorted(file.name for file in folder.glob("model*.safetensors"))
    names = (*whole, "config.json") if whole and (folder / "config.json").is_file() else (WEIGHTS_FILE, CONFIG_FILE)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{folder} is no adapter folder: {' and '.join(missing)} missing.")
    pickled = sorted(file.name for file in folder.rglob("*") if file.suffix in _PICKLED_SUFFIXES)
    if pickled:
        raise InputError(f"{folder} holds {', '.join(pickled)}: pickled files can run code, so only safetensors enter.")
    return {name: _sha256(folder / name) for name in names}


def _weights_hash(files: Mapping[str, str]) -> str:
    """The hash that names a version: that of its one file of weights, or of the hashes of several in their order."""
    hashes = [files[name] for name in sorted(files) if name.endswith(".safetensors")]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _is_whole(place: Path, files: Mapping[str, str]) -> bool:
    return all((place / name).is_file() and _sha256(place / name) == digest for name, digest in files.items())


def _place_folder(
    source: Path, place: Path, files: Mapping[str, str], recipe: Mapping[str, Any], run: Mapping[str, Any]
) -> None:
    """Copy under a temporary name, then rename. A version that is there and whole stays untouched."""
    if _is_whole(place, files):
        return
    shutil.rmtree(place, ignore_errors=True)
    unfinished = place.with_name(f".{place.name}.{os.getpid()}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, unfinished)
        recipe_text = yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True)
        (unfinished / "recipe.yaml").write_text(recipe_text, encoding="utf-8")
        (unfinished / "run.json").write_text(json.dumps(dict(run), indent=2) + "\n", encoding="utf-8")
        unfinished.rename(place)
    except OSError as error:
        if _is_whole(place, files):  # another process was quicker
            return
        raise InputError(
            f"{place} cannot be written: {error.strerror or error}. Free some space, or make the folder writable."
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
