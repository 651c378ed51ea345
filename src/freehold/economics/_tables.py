"""Reads the tables that are shipped as YAML, and finds a row by a name that a person typed."""

from __future__ import annotations

import re
from difflib import get_close_matches
from importlib.resources import files
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from freehold.core.errors import InputError
from freehold.economics.scenario import nearest_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import TypeAdapter

T = TypeVar("T")
_MOST_NAMES = 8


def table(file: str, door: TypeAdapter[dict[str, T]], *, defaults: Mapping[str, float] | None = None) -> dict[str, T]:
    """Rows of a YAML mapping, each with its key as name."""
    raw = read(file)
    return door.validate_python({name: {**(defaults or {}), "name": name, **row} for name, row in raw.items()})


def read(file: str) -> Any:  # Any: pydantic checks at once what YAML holds
    return yaml.safe_load(files("freehold.economics").joinpath(file).read_text(encoding="utf-8"))


def pick(
    what: str,
    name: str,
    table: Mapping[str, T],
    *,
    aliases: Mapping[str, str] | None = None,
    spellings: Sequence[str] = (),
) -> T:
    """The row of this name, whatever its case and punctuation.

    Args:
        what: the kind of thing, for the message.
        name: as a person typed it.
        table: rows by name.
        aliases: other names, each with the row's.
        spellings: shorter forms of `name` to try in turn.

    Raises:
        InputError: no such row; the nearest names are offered.
    """
    known = {_bare(other): row for other, row in (aliases or {}).items()} | {_bare(key): key for key in table}
    tried = spellings or (name,)
    for spelling in tried:
        if _bare(spelling) in known:
            return table[known[_bare(spelling)]]
    raise InputError(f"Unknown {what} {name!r}; nearest: {_nearest(tried[-1], table)}.")


def _nearest(name: str, table: Mapping[str, object]) -> str:
    """Names like this one; where none is, the five least unlike."""
    names = nearest_names(name, table)
    return (
        names if names.count(",") < _MOST_NAMES else ", ".join(get_close_matches(name.lower(), table, n=5, cutoff=0.0))
    )


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
