"""Reads the tables that are shipped as YAML, and finds a row by a name that a person typed."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from freehold.core.errors import InputError
from freehold.economics.resembling import resembling

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import TypeAdapter

T = TypeVar("T")
_OTHERWISE = {
    "hardware": "freehold capacity --list names all machines",
    "model": "freehold capacity --list names all shipped ones, and the path of a config.json is a model too",
}
"""Kind of thing -> what to do where no known name resembles the one given."""


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
    if not name.strip():
        raise InputError(f"The name of the {what} is empty. Give one.")
    tried = spellings or (name,)
    for spelling in tried:
        if _bare(spelling) in known:
            return table[known[_bare(spelling)]]
    otherwise = _OTHERWISE.get(what) or f"there are {', '.join(sorted(table))}"
    raise InputError(f"Unknown {what} {name!r}; {resembling(tried[-1], table, otherwise=otherwise)}.")


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
