"""The workspace's secret with which end users are hashed: made once, readable by its owner alone."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from freehold.core.errors import InputError
from freehold.core.subject import Subjects

if TYPE_CHECKING:
    from pathlib import Path

    from freehold.state.workspace import Workspace

_BYTES = 32


def subjects_of(workspace: Workspace) -> Subjects:
    """Hashes end users as this workspace does; the secret is made where there is none.

    Machines that write one ledger need the same file, or the same end user has a hash on each of them.

    Raises:
        InputError: the file cannot be read or written, or is none of ours.
    """
    path = workspace.subject_key
    try:
        if not path.exists():
            _make(path)
        secret = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except OSError as error:
        raise InputError(
            f"{path}: the secret that hashes end users cannot be read or written ({error.strerror})."
        ) from error
    except ValueError:
        secret = b""
    if len(secret) != _BYTES:
        raise InputError(
            f"{path}: this is no secret of {_BYTES} bytes in hexadecimal digits. Put the right file back: with another "
            "one, calls of the same end user are not found together any more."
        )
    return Subjects(secret)


def _make(path: Path) -> None:
    """Two processes may do so at once: the first one's secret stands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, path)
        except FileExistsError:
            return
    finally:
        part.unlink(missing_ok=True)
