"""Writes that are whole or absent."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from freehold.core.errors import FreeholdError

if TYPE_CHECKING:
    from collections.abc import Iterator


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says when nothing more fits."""


@contextmanager
def told_when_full(folder: Path, advice: str) -> Iterator[None]:
    """Turn "no space left" inside the block into one clear line."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise FreeholdError(f"The disk of {folder} is full. Free some space and {advice}") from error


@contextmanager
def whole_file(path: Path, *, keep: Path | None = None) -> Iterator[Path]:
    """A file to fill that becomes `path` when the block ends well, and vanishes when it does not.

    A reader sees the old file or the new one; with `keep` the old one goes on to exist there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        if keep is not None and path.exists():
            path.replace(keep)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write beside the file and rename: a reader sees the old bytes or the new ones."""
    with whole_file(path) as draft:
        draft.write_bytes(content)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill that becomes `folder` when the block ends well, and vanishes when it does not."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield draft
        draft.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        draft.replace(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
