from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from freehold.core.errors import InputError
from freehold.state.subject_key import subjects_of
from freehold.state.workspace import create_workspace

if TYPE_CHECKING:
    from pathlib import Path


def test_the_secret_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    workspace, _ = create_workspace(tmp_path)
    first = subjects_of(workspace).hashed("ann")
    assert subjects_of(workspace).hashed("ann") == first
    assert workspace.subject_key.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in workspace.data.glob("*subject*")] == ["subject.key"]


def test_a_secret_that_is_damaged_is_named_and_not_replaced(tmp_path: Path) -> None:
    workspace, _ = create_workspace(tmp_path)
    for damaged in ("", "abc", "zz" * 32, "00" * 31):
        workspace.subject_key.write_text(damaged, encoding="ascii")
        with pytest.raises(InputError, match=r"subject\.key: this is no secret of 32 bytes"):
            subjects_of(workspace)
    workspace.subject_key.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="no secret"):
        subjects_of(workspace)
