"""Every format that can be imported, most specific first: a row belongs to the first one that knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.ledger.logs.formats.ledger_export import LEDGER
from freehold.ledger.logs.formats.rows import CORRECTIONS, ROWS
from freehold.ledger.logs.formats.trace import TRACE
from freehold.ledger.logs.formats.windows import CLIENTS, WINDOWS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.ledger.logs.format import Format

FORMATS: tuple[Format, ...] = (
    LEDGER,
    CLIENTS,
    WINDOWS,
    TRACE,
    ROWS,
    CORRECTIONS,
)


def format_of(values: Mapping[str, Any]) -> Format | None:  # Any: not checked yet
    """The format of a row; None: it is of no known one."""
    return next((each for each in FORMATS if each.recognises(values)), None)


def format_named(name: str) -> Format:
    """A format by its name, which must be in the table."""
    return next(each for each in FORMATS if each.name == name)
