"""Which forms of a model version were made, where they lie, and what was measured of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from freehold.state.database import now, record_action
from freehold.state.schema import ARTEFACTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sqlalchemy import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """One form of a version. Made again, it takes the place of the one before."""

    model: str
    form: str
    """`adapter`, `merged`, `gguf` or `adapter-gguf`."""
    kind: str
    """How its numbers are stored."""
    folder: str
    """Below the workspace's own if it lies there; otherwise whole."""
    record: Mapping[str, Any]  # Any: JSON
    """Its manifest: SHA-256 of each file, agreement, quality, licence."""
    created_at: str


def record_artefact(
    engine: Engine,
    *,
    model: str,
    form: str,
    kind: str,
    folder: str,
    record: Mapping[str, Any],  # Any: JSON
) -> None:
    """Remember an artefact, with an entry in the audit trail; the same one again changes nothing."""
    values = {"model_id": model, "form": form, "kind": kind, "folder": folder, "record": dict(record)}
    known = [each for each in list_artefacts(engine, model) if (each.form, each.kind) == (form, kind)]
    if known and (known[0].folder, known[0].record) == (folder, record):
        return
    this = (ARTEFACTS.c.model_id == model) & (ARTEFACTS.c.form == form) & (ARTEFACTS.c.kind == kind)
    with engine.begin() as connection:
        details = {"form": form, "kind": kind, "folder": folder, "files": dict(record["files"])}
        record_action(connection, "model.exported", model, details)
        connection.execute(delete(ARTEFACTS).where(this))
        connection.execute(insert(ARTEFACTS).values(**values, created_at=now()))


def list_artefacts(engine: Engine, model: str) -> list[Artefact]:
    """The forms of a version that were made, by form and kind."""
    query = select(ARTEFACTS).where(ARTEFACTS.c.model_id == model).order_by(ARTEFACTS.c.form, ARTEFACTS.c.kind)
    with engine.connect() as connection:
        return [
            Artefact(
                model=row["model_id"],
                form=row["form"],
                kind=row["kind"],
                folder=row["folder"],
                record=row["record"],
                created_at=row["created_at"],
            )
            for row in connection.execute(query).mappings()
        ]


def lost_files(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Names of the files that are missing or not those that were registered.

    Args:
        folder: where they should lie.
        files: name -> SHA-256.
    """
    return [
        name for name, expected in files.items() if not (folder / name).is_file() or _sha256(folder / name) != expected
    ]


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
