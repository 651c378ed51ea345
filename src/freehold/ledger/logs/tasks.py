"""The task of a call, as far as its own log says one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freehold.core.task import LONGEST_NAME, fault_of_name

if TYPE_CHECKING:
    from freehold.ledger.logs.format import LoggedCall

UNASSIGNED = "unassigned"


def assign(logged: LoggedCall) -> str:
    """A task named after what the log tells of the call, or the one of calls about which nothing is known."""
    return UNASSIGNED if logged.key is None else named_after(logged.key.value)


def named_after(text: str) -> str:
    """A name of a task that is as close to a text as one may be."""
    name = "".join(character if character.isprintable() and character != "/" else "-" for character in text)
    name = name.strip().lstrip(".").strip()
    while len(name.encode("utf-8", "replace")) > LONGEST_NAME:
        name = name[:-1]
    name = name.strip()
    return UNASSIGNED if fault_of_name(name) is not None else name
