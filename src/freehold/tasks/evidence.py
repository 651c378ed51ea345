"""What a call shows of its task: the system message, what was asked, and what the answer looks like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from freehold.core.spoken import answered, asked
from freehold.tasks.answers import tool_names

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIRST, _LAST = 700, 1_500
_MOST_SYSTEM = 60_000
_BRIEF, _OFTEN = 60, 3


@dataclass(frozen=True, slots=True)
class Evidence:
    """Of one call; empty texts where there is none."""

    system: str = ""
    asked: str = ""
    """The first thing that was asked, and the last one of a longer conversation."""
    answer: str = ""
    tools: tuple[str, ...] = ()
    turns: int = 1
    """Of the user."""

    @property
    def is_empty(self) -> bool:
        """There is no text to know a task by."""
        return not (self.system or self.asked)


def evidence_of(request: Mapping[str, Any] | None, response: Mapping[str, Any] | None) -> Evidence:  # Any: JSON
    """The evidence in two bodies of whatever dialect. Never raises."""
    turns = asked(request)
    system = "\n".join(turn.content for turn in turns if turn.role in {"system", "developer"} and turn.content)
    spoken = [turn.content for turn in turns if turn.role == "user" and turn.content.strip()]
    if not spoken:
        text = ""
    elif len(spoken) == 1 or spoken[0] == spoken[-1]:
        text = spoken[0][: _FIRST + _LAST]
    else:
        text = f"{spoken[0][:_FIRST]}\n{spoken[-1][:_LAST]}"
    return Evidence(
        system=clean(system[:_MOST_SYSTEM]),
        asked=clean(text),
        answer=clean(answered(response) or ""),
        tools=tool_names(response),
        turns=len(spoken),
    )


def clean(text: str) -> str:
    """A text that UTF-8 can write."""
    return text.encode("utf-8", "replace").decode()
