"""Opens the state database, brings it to today's schema, and keeps the audit trail."""

from __future__ import annotations

import os
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, create_engine, event, insert, inspect, select, text
from sqlalchemy.exc import SQLAlchemyError

from freehold.core.errors import InputError
from freehold.core.identity import content_hash
from freehold.state.schema import AUDIT_TRAIL, REVISION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Connection

_NO_HASH = "0" * 64
_BUSY_TIMEOUT_S = 30
_ACTOR: ContextVar[str | None] = ContextVar("actor", default=None)


def open_state(url: str) -> Engine:
    """Connect to the state database and migrate it if it is older than this program.

    Raises:
        InputError: it cannot be opened, or is newer than this program.
    """
    try:
        engine = create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_S} if url.startswith("sqlite") else {})
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _set_sqlite_pragmas)
        try:
            _migrate(engine)
        except BaseException:
            engine.dispose()
            raise
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise InputError(
            f"The state database cannot be opened: {reason}. Check [state] url in freehold.toml and the disk."
        ) from error
    return engine


def _set_sqlite_pragmas(connection: Any, _record: Any) -> None:  # Any: the DBAPI connection has no common type
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _migrate(engine: Engine) -> None:
    with engine.connect() as connection:
        current = revision_of(connection)
    if current == REVISION:
        return
    from freehold.state.migrating import migrate  # noqa: PLC0415 (large, and few find a database that is too old)

    migrate(engine, current)


def forget_traces(engine: Engine) -> None:
    """Leave nothing of deleted rows in the file of an SQLite database, whose pages were overwritten when they went.

    In PostgreSQL dead rows go with its own vacuum.
    """
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.execute(text("pragma wal_checkpoint(truncate)"))


def revision_of(connection: Connection) -> str | None:
    """The migration that a database is at; None: it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("select version_num from alembic_version")).scalar()
    return revision


def now() -> str:
    """The present moment as the tables keep it: ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@contextmanager
def acting_as(actor: str) -> Iterator[None]:
    """Whatever is recorded inside was done by `actor`, who is somebody else than whoever runs this process."""
    token = _ACTOR.set(actor)
    try:
        yield
    finally:
        _ACTOR.reset(token)


def record_action(connection: Connection, action: str, subject: str, details: Mapping[str, Any]) -> None:
    """Append one entry to the audit trail, chained to the one before by its hash.

    Args:
        connection: An open transaction: the entry stands or falls with what it tells of.
        action: What was done, e.g. `model.promoted`.
        subject: Id of what it was done to.
        details: Values that JSON can write, e.g. the reason that was given.
    """
    # One writer at a time may look for the last entry. On SQLite a change of nothing takes the write lock.
    postgresql = connection.dialect.name == "postgresql"
    lock = "lock table audit_trail in exclusive mode" if postgresql else "delete from audit_trail where false"
    connection.execute(text(lock))
    last = connection.execute(
        select(AUDIT_TRAIL.c.sequence, AUDIT_TRAIL.c.hash).order_by(AUDIT_TRAIL.c.sequence.desc()).limit(1)
    ).one_or_none()
    entry = {
        "sequence": 1 if last is None else last.sequence + 1,
        "at": now(),
        "actor": _ACTOR.get() or os.environ.get("FREEHOLD_ACTOR") or os.environ.get("USER") or "unknown",
        "action": action,
        "subject": subject,
        "details": dict(details),
        "previous_hash": _NO_HASH if last is None else last.hash,
    }
    connection.execute(insert(AUDIT_TRAIL).values(**entry, hash=content_hash(entry)))


def first_broken_entry(connection: Connection) -> int | None:
    """Sequence number of the first audit entry that was changed or removed; None if the chain is whole."""
    previous = _NO_HASH
    for expected, row in enumerate(
        connection.execute(select(AUDIT_TRAIL).order_by(AUDIT_TRAIL.c.sequence)).mappings(), start=1
    ):
        entry = {key: value for key, value in row.items() if key != "hash"}
        if row["sequence"] != expected or row["previous_hash"] != previous or row["hash"] != content_hash(entry):
            return expected
        previous = row["hash"]
    return None
