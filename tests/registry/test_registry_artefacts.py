from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError

from freehold.registry.artefacts import list_artefacts, lost_files, record_artefact
from freehold.state.database import first_broken_entry
from freehold.state.schema import AUDIT_TRAIL
from tests.registry.test_registry_store import add

if TYPE_CHECKING:
    from pathlib import Path

RECORD: dict[str, Any] = {"files": {"model.gguf": "0" * 64}, "quality": None}


def exports(state: Engine) -> list[Any]:
    query = select(AUDIT_TRAIL.c.details).where(AUDIT_TRAIL.c.action == "model.exported")
    with state.connect() as connection:
        return list(connection.execute(query).scalars())


def test_forms_of_a_version_are_kept_by_form_and_kind(state: Engine, tmp_path: Path) -> None:
    model = add(state, tmp_path).id
    other = add(state, tmp_path, weights=b"other").id
    record_artefact(state, model=model, form="gguf", kind="q8_0", folder="/a", record=RECORD)
    record_artefact(state, model=model, form="gguf", kind="f16", folder="/b", record=RECORD)
    record_artefact(state, model=other, form="merged", kind="f32", folder="/c", record=RECORD)

    assert [(each.form, each.kind, each.folder) for each in list_artefacts(state, model)] == [
        ("gguf", "f16", "/b"),
        ("gguf", "q8_0", "/a"),
    ]
    assert list_artefacts(state, model)[0].record == RECORD


def test_the_same_artefact_again_changes_nothing_and_another_takes_its_place(state: Engine, tmp_path: Path) -> None:
    model = add(state, tmp_path).id
    for _ in range(2):
        record_artefact(state, model=model, form="gguf", kind="f16", folder="/a", record=RECORD)
    assert len(exports(state)) == 1

    other = {**RECORD, "files": {"model.gguf": "1" * 64}}
    record_artefact(state, model=model, form="gguf", kind="f16", folder="/a", record=other)

    assert [each["files"]["model.gguf"][0] for each in exports(state)] == ["0", "1"]
    assert [each.record for each in list_artefacts(state, model)] == [other]
    with state.connect() as connection:
        assert first_broken_entry(connection) is None


def test_an_artefact_belongs_to_a_version(state: Engine) -> None:
    with pytest.raises(IntegrityError):
        record_artefact(state, model="nobody", form="gguf", kind="f16", folder="/a", record=RECORD)
    assert exports(state) == []


def test_files_that_are_gone_or_changed_are_named(tmp_path: Path) -> None:
    for name in ("kept", "changed", "gone"):
        (tmp_path / name).write_text(name)
    files = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("kept", "changed", "gone")}
    assert lost_files(tmp_path, files) == []
    (tmp_path / "changed").write_text("other")
    (tmp_path / "gone").unlink()
    assert lost_files(tmp_path, files) == ["changed", "gone"]
