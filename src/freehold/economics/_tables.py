"""Reads the tables that are shipped as YAML, and finds a row by a name that a person typed."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from freehold.core.errors import InputError
from freehold.economics.scenario import nearest_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import TypeAdapter

T = TypeVar("T")


def table(file: str, door: TypeAdapter[dict[str, T]], *, defaults: Mapping[str, float] | None = None) -> dict[str, T]:
    """Rows of a YAML mapping, each with its key as name."""
    raw = read(file)
    return door.validate_python({name: {**(defaults or {}), "name": name, **row} for name, row in raw.items()})


def read(file: str) -> Any:  # Any: pydantic checks at once what YAML holds
    return yaml.safe_load(files("freehold.economics").joinpath(file).read_text(encoding="utf-8"))


def pick(what: str, name: str, table: Mapping[str, T]) -> T:
    wanted = _bare(name)
    matches = [key for key in table if _bare(key) == wanted]
    if not matches:
        raise InputError(f"Unknown {what} {name!r}; nearest: {nearest_names(name, table)}.")
    return table[matches[0]]


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
