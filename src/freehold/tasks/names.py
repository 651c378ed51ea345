"""Which names a person may give to a task, and which tasks may not go away."""

from __future__ import annotations

import unicodedata

from freehold.core.errors import InputError
from freehold.core.task import fault_of_name
from freehold.tasks.assign import UNASSIGNED

_LOOKALIKES = frozenset({"LATIN", "CYRILLIC", "GREEK"})
"""Scripts that share shapes of letters: in one name they are a trap, and no language mixes them."""


def check_new_name(name: str) -> None:
    """Raise InputError if a person may not give a task this name.

    What clients send is taken as it is; what is typed here is what everybody reads from then on.
    """
    fault = fault_of_name(name) or _trap_in(name)
    if fault is not None:
        raise InputError(f"The new name {fault}. Choose another one.")


def check_can_go(name: str) -> None:
    """Raise InputError if a task's name is not one that may go away or stand for another."""
    if name == UNASSIGNED:
        raise InputError(
            f"{name!r} is no task: it is where calls stay that are like no others, and later ones would follow. "
            f"To take some out: freehold tasks split {name} --containing TEXT --into TASK"
        )


def _trap_in(name: str) -> str | None:
    if name.casefold() == UNASSIGNED:
        return f"is reserved: {UNASSIGNED!r} is where calls stay that are like no others"
    if unicodedata.normalize("NFKC", name) != name:
        return "holds letters that only look like others (it changes under NFKC)"
    scripts = {script for letter in name if letter.isalpha() and (script := _script_of(letter)) in _LOOKALIKES}
    if len(scripts) > 1:
        return f"mixes letters that look alike, of {' and '.join(sorted(script.title() for script in scripts))}"
    return None


def _script_of(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0]
