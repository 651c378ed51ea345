"""Reads LiteLLM's table of calls out of its PostgreSQL database, a few rows at a time."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from freehold.core.errors import InputError, MissingExtra
from freehold.ledger.logs.raw_rows import Piece, RawRow
from freehold.ledger.logs.values import json_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from freehold.ledger.logs.raw_rows import Row

SCHEMES = ("postgresql://", "postgres://")
_TABLE = "LiteLLM_SpendLogs"
_ROWS = 500


@dataclass(frozen=True, slots=True)
class Database:
    """A database that was named instead of a file."""

    url: str
    is_named: bool = True

    @property
    def name(self) -> str:
        """As messages show it: without user and password."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"

    @property
    def path(self) -> Path:
        """It lies in no folder."""
        return Path(self.name)

    @property
    def size(self) -> int:
        """Nobody knows how many bytes it has."""
        return 0


@dataclass(frozen=True, slots=True)
class OpenTable:
    """The table of an open database."""

    pieces_: Iterator[Piece]
    head: bytes = b""
    position: int = 0

    def pieces(self) -> Iterator[Piece]:
        """All of its rows, many at a time. May be asked once."""
        return self.pieces_


@contextmanager
def open_table(database: Database) -> Iterator[OpenTable]:
    """The table of calls, ready to be read; nothing is changed in the database.

    Raises:
        MissingExtra: the driver is not installed.
        InputError: the database cannot be reached, or has no such table.
    """
    try:
        import psycopg  # noqa: PLC0415  # an extra
        from psycopg import sql  # noqa: PLC0415
        from psycopg.rows import dict_row  # noqa: PLC0415
        from psycopg.types.json import set_json_loads  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra("Reading a PostgreSQL database", "psycopg", "postgres") from error
    try:
        with psycopg.connect(database.url, connect_timeout=10) as connection:
            connection.read_only = True
            set_json_loads(_json, connection)
            with connection.cursor("freehold_import", row_factory=dict_row) as cursor:
                cursor.itersize = _ROWS
                cursor.execute(sql.SQL("select * from {}").format(sql.Identifier(_TABLE)))
                yield OpenTable(iter([Piece(lambda: _rows(cursor))]))
    except psycopg.errors.UndefinedTable as error:
        raise InputError(
            f"{database.name}: no table {_TABLE!r} in this database. It is LiteLLM's own, with the proxy's calls."
        ) from error
    except psycopg.Error as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{database.name}: cannot be read ({said}).") from error


def _rows(cursor: Iterator[dict[str, object]]) -> Iterator[Row]:
    for number, values in enumerate(cursor, start=1):
        yield RawRow(number, values)


def _json(value: str | bytes) -> Any:  # Any: JSON
    """A value of the database, which has five in each row; the driver's own parser takes a quarter of an import."""
    return json_of(value if isinstance(value, str) else value.decode())
