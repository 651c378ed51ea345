"""The folder of an artefact: it appears whole or not at all, and work that was interrupted goes on in it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from freehold.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MANIFEST, SCHEMA = "artefact.json", "freehold.artefact/1"
_PLAN = ".plan"
"""File of an unfinished folder: the fingerprint of what it shall become."""


@contextmanager
def unfinished(target: Path, fingerprint: str) -> Iterator[Path]:
    """A folder to fill, beside `target`. It stays when the block fails, and the same work goes on in it.

    Args:
        target: what `finish` makes of it.
        fingerprint: of what is made; what another left there is thrown away.

    Raises:
        InputError: another process is at work there, or the place cannot be written.
    """
    draft = target.with_name(f".{target.name}.partial")
    try:
        draft.mkdir(parents=True, exist_ok=True)
        handle = os.open(draft, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise InputError(
            f"{target.parent} cannot be written: {error.strerror}. Name another place with --out."
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"Another process is writing {target}. Wait for it, or name another --out.") from error
        plan = draft / _PLAN
        if not plan.exists() or plan.read_text("utf-8") != fingerprint:
            for left in draft.iterdir():
                shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
            plan.write_text(fingerprint, "utf-8")
        yield draft
    finally:
        os.close(handle)


def finish(draft: Path, target: Path, record: Mapping[str, Any]) -> dict[str, Any]:  # Any: JSON
    """Write the manifest with the hash of every file, and give the folder its name.

    Returns:
        The manifest.
    """
    for left in draft.iterdir():
        if left.name.startswith("."):
            left.unlink()
    files = {file.name: sha256_of(file) for file in sorted(draft.iterdir()) if file.name != MANIFEST}
    manifest = {
        **record,
        "files": files,
        "bytes": sum((draft / name).stat().st_size for name in files),
    }
    text = json.dumps(manifest, indent=2, sort_keys=True, allow_nan=False) + "\n"
    with (draft / MANIFEST).open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    draft.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    written: dict[str, Any] = json.loads(text)  # Any: as above
    return written


def read_manifest(target: Path) -> dict[str, Any] | None:  # Any: JSON
    """What the artefact in a folder says of itself; None where there is no folder, or an empty one.

    Raises:
        InputError: the folder holds something else, which nobody shall overwrite.
    """
    if not target.exists() and not target.is_symlink():
        return None
    if target.is_dir() and not any(target.iterdir()):
        return None
    try:
        found = json.loads((target / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise InputError(f"{target} exists and is no artefact of Freehold's. Name another folder with --out.")
    return found


def sha256_of(file: Path) -> str:
    """Hash of a file's content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
