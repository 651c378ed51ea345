"""Brings an older state database to today's schema. Apart from `database`, as Alembic takes long to import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text

from freehold.core.errors import InputError
from freehold.state.database import revision_of
from freehold.state.schema import REVISION

if TYPE_CHECKING:
    from sqlalchemy import Engine

_MIGRATIONS = Path(__file__).with_name("migrations")


def migrate(engine: Engine, current: str | None) -> None:
    """Bring a database that is at the migration `current` (None: empty) to the newest one.

    Raises:
        InputError: it is newer than this program.
    """
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    if current is not None and current not in {revision.revision for revision in script.walk_revisions()}:
        raise InputError(
            f"The state database is at schema {current!r}, which this version of Freehold does not know. "
            "It was written by a newer one: install that."
        )
    with engine.begin() as connection:
        # Of several programs that open an old database at once, one migrates and the others wait for it.
        postgresql = engine.dialect.name == "postgresql"
        connection.execute(text("select pg_advisory_xact_lock(7041776)" if postgresql else "begin immediate"))
        if revision_of(connection) != REVISION:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
