"""A database of an older program keeps its rows."""

from __future__ import annotations

import json
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, text

from freehold.state import database
from freehold.state.database import first_broken_entry, open_state, record_action
from freehold.state.keys import create_key, list_keys
from freehold.state.schema import METADATA, REVISION

MIGRATIONS = Path(database.__file__).with_name("migrations")


def migrate(url: str, revision: str, *, is_down: bool = False) -> None:
    engine = create_engine(url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        (command.downgrade if is_down else command.upgrade)(config, revision)
    engine.dispose()


def test_a_database_of_the_first_schema_keeps_its_rows_and_learns_about_keys(state_url: str) -> None:
    migrate(state_url, "0001")
    engine = create_engine(state_url)
    with engine.begin() as connection:
        assert not inspect(connection).has_table("keys")
        values = {"name": "support", "labels": json.dumps(["a", "b"]), "prompt": "Answer.", "kind": "classification"}
        connection.execute(
            text("insert into tasks (name, kind, labels, own_prompt) values (:name, :kind, :labels, :prompt)"), values
        )
        record_action(connection, "model.promoted", "m1", {"reason": "gate passed"})
    engine.dispose()

    state = open_state(state_url)
    with state.connect() as connection:
        assert connection.execute(text("select name, own_prompt from tasks")).all() == [("support", "Answer.")]
        assert first_broken_entry(connection) is None
    create_key(state, "desk")
    assert [key.name for key in list_keys(state)] == ["desk"]
    state.dispose()


def test_the_migrations_leave_nothing_to_change(state_url: str) -> None:
    engine = open_state(state_url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    engine.dispose()


def test_the_newest_migration_is_the_one_that_the_schema_names() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == REVISION


def test_a_migration_can_be_taken_back(state_url: str) -> None:
    open_state(state_url).dispose()
    migrate(state_url, "0001", is_down=True)
    engine = create_engine(state_url)
    with engine.connect() as connection:
        assert not {"keys", "key_secrets", "key_limits", "spending", "leases"} & set(
            inspect(connection).get_table_names()
        )
    engine.dispose()
    open_state(state_url).dispose()
