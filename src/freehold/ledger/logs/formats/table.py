"""Every format that can be imported, most specific first: a row belongs to the first one that knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from freehold.ledger.logs.format import Format

FORMATS: tuple[Format, ...] = ()


def format_named(name: str) -> Format:
    """A format by its name, which must be in the table."""
    return next(each for each in FORMATS if each.name == name)
