"""What the licence of a base model allows to be done with a model that was tuned on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Literal

import yaml

from freehold.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

Answer = Literal["yes", "conditions", "no", "unknown"]
Use = Literal["commercial", "research"]
"""What a model is made for: any work of an enterprise is commercial."""
_UNNAMED = ("", "unknown", "other")


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """One licence, as far as it concerns a tuned model."""

    id: str
    """As model hubs write it."""
    title: str
    commercial: Answer
    """Whether it may be used in an enterprise's work."""
    sharing: Answer
    """Whether it may be given to others."""
    conditions: tuple[str, ...] = ()
    source: str | None = None
    """Where its text is found: what is said of it here was written without it."""

    def warning(self) -> str | None:
        """What whoever uses the model should do first; None if the licence asks for nothing in use."""
        match self.commercial:
            case "yes":
                return None
            case "conditions":
                return f"The base's licence, {self.title}, has conditions for commercial use: {self.conditions[0]}"
            case "no":
                return f"The base's licence, {self.title}, does not allow commercial use."
            case "unknown":
                return f"{self.title} Read it before this model is used or passed on."


def licence_of(name: str) -> Licence:
    """The licence of this name; one of which nothing is known if the table lacks it."""
    found = _table().get(name.lower())
    if found is not None:
        return found
    title = (
        "Nobody has told the licence of the base."
        if name.lower() in _UNNAMED
        else f"The terms of the base's licence, {name!r}, are not known here."
    )
    return Licence(id=name or "unknown", title=title, commercial="unknown", sharing="unknown")


def check_use(licence: Licence, use: Use) -> None:
    """Refuse a use that the licence forbids.

    Raises:
        InputError: it does.
    """
    if use == "commercial" and licence.commercial == "no":
        raise InputError(
            f"The base's licence, {licence.title}, does not allow commercial use ({licence.source}). Tune another "
            "base, or say --use research if that is what it is for."
        )


@cache
def _table() -> Mapping[str, Licence]:
    text = (resources.files("freehold.tuning") / "licences.yaml").read_text("utf-8")
    rows = yaml.load(text, _Reader)  # noqa: S506 -- makes nothing but text, lists and tables
    return {
        name: Licence(
            id=name,
            title=row["title"],
            commercial=row["commercial"],
            sharing=row["sharing"],
            conditions=tuple(row["conditions"]),
            source=row["source"],
        )
        for name, row in rows.items()
    }


class _Reader(yaml.SafeLoader):
    """YAML whose plain words stay words: `yes` is an answer here, and a day is text."""


_Reader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag == "tag:yaml.org,2002:merge"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
