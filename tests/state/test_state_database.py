from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Engine, delete, inspect, select, text, update

from freehold.core.errors import InputError
from freehold.state.database import first_broken_entry, open_state, record_action
from freehold.state.schema import AUDIT_TRAIL, METADATA

if TYPE_CHECKING:
    from pathlib import Path


def test_migrations_make_exactly_the_tables_of_the_schema(state: Engine) -> None:
    found = inspect(state)
    for table in METADATA.sorted_tables:
        assert {column["name"] for column in found.get_columns(table.name)} == set(table.columns.keys())
        assert found.get_pk_constraint(table.name)["constrained_columns"] == [c.name for c in table.primary_key]


def test_opening_again_changes_nothing(state_url: str) -> None:
    first = open_state(state_url)
    with first.begin() as connection:
        record_action(connection, "model.added", "m", {})
    first.dispose()
    second = open_state(state_url)
    with second.connect() as connection:
        assert connection.execute(select(AUDIT_TRAIL.c.subject)).scalars().all() == ["m"]
    second.dispose()


def test_a_database_of_a_newer_program_is_refused(state_url: str) -> None:
    engine = open_state(state_url)
    with engine.begin() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    engine.dispose()
    with pytest.raises(InputError, match=r"schema '9999'.*newer one"):
        open_state(state_url)


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all/state.db", "nonsense://x"])
def test_a_database_that_cannot_be_opened_is_one_clear_line(url: str) -> None:
    with pytest.raises(InputError, match="state database cannot be opened") as caught:
        open_state(url)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_database_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_text("this is not a database, it is a text file of some length" * 40)
    with pytest.raises(InputError, match="file is not a database"):
        open_state(f"sqlite:///{tmp_path / 'state.db'}")


def test_the_audit_trail_is_a_chain(state: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FREEHOLD_ACTOR", "ada")
    with state.begin() as connection:
        for number in range(3):
            record_action(connection, "model.promoted", f"m{number}", {"reason": "gate passed"})
        assert first_broken_entry(connection) is None
        rows = connection.execute(select(AUDIT_TRAIL).order_by(AUDIT_TRAIL.c.sequence)).all()
    assert [row.sequence for row in rows] == [1, 2, 3]
    assert {row.actor for row in rows} == {"ada"}
    assert rows[1].previous_hash == rows[0].hash


def test_a_changed_or_removed_audit_entry_is_found(state: Engine) -> None:
    with state.begin() as connection:
        for number in range(4):
            record_action(connection, "model.promoted", f"m{number}", {})
        connection.execute(update(AUDIT_TRAIL).where(AUDIT_TRAIL.c.sequence == 3).values(subject="other"))
        assert first_broken_entry(connection) == 3
        connection.execute(delete(AUDIT_TRAIL).where(AUDIT_TRAIL.c.sequence == 2))
        assert first_broken_entry(connection) == 2


def test_two_programs_that_open_at_once_migrate_once(state_url: str) -> None:
    errors: list[Exception] = []

    def open_it() -> None:
        try:
            open_state(state_url).dispose()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_entries_written_at_once_form_one_chain(state: Engine) -> None:
    def write() -> None:
        with state.begin() as connection:
            record_action(connection, "model.added", "m", {})

    threads = [threading.Thread(target=write) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with state.connect() as connection:
        assert first_broken_entry(connection) is None
        sequences = connection.execute(select(AUDIT_TRAIL.c.sequence)).scalars().all()
    assert sorted(sequences) == [1, 2, 3, 4, 5]
