"""The task of a call that is imported: what the log says, else what rules say, else nothing yet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from freehold.core.task import fault_of_name
from freehold.tasks.learned import Learned
from freehold.tasks.naming import safe_name

if TYPE_CHECKING:
    from freehold.core.call import Call
    from freehold.tasks.rules import TaskRules

UNASSIGNED = "unassigned"
"""Task of calls that nothing names; discovery looks at them."""
_LONGEST_FROM_KEY = 80
_OPAQUE = re.compile(
    r"(?:sk-|fh-|key[-_])?(?:[0-9a-f]{16,}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})", re.IGNORECASE
)


class Key(Protocol):
    """What a log itself says a call belongs to."""

    @property
    def kind(self) -> str:
        """`header`, `metadata`, `tag`, `prompt` or `name`."""
        ...

    @property
    def value(self) -> str:
        """As the log has it."""
        ...


class Assigner:
    """Finds tasks of imported calls. It reads nothing and never raises, so it may be asked for every row."""

    def __init__(
        self,
        rules: TaskRules | None = None,
        learned: Learned | None = None,
        names: Mapping[str, str] | None = None,
        *,
        otherwise: str = UNASSIGNED,
    ) -> None:
        """Take the rules of the settings, those that were learned, and names that tasks had before."""
        self._rules = rules
        self._learned = learned or Learned()
        self._names = names or {}
        self._reads = self._learned.reads or rules is not None
        self._of_key: dict[tuple[str, str], str] = {}
        self._otherwise = otherwise

    def task_of(self, call: Call, key: Key | None = None) -> str:
        """The task of a call: its own, else its key's, else by the rules; without any text its API key's or model's.

        Args:
            call: `task` is "" unless the row names one.
            key: What the log says it belongs to.
        """
        named: str | None = call.task or self._from_key(key)
        if not named:
            system, asked = texts_of(call.request) if call.request is not None and self._reads else ("", "")
            if self._rules is not None:
                model = call.model_requested or call.model_served
                named = self._rules.task_of_import(model=model, system=system or None)
            if not named:
                named = self._learned.task_of(system, asked, by_words=False)
        if not named and call.request is None and call.response is None:
            named = self._from_volume(call)
        return self._names.get(named, named) if named else self._otherwise

    def _from_key(self, key: Key | None) -> str:
        if key is None or not key.value:
            return ""
        place = (key.kind, key.value)
        name = self._of_key.get(place)
        if name is None:
            if len(self._of_key) >= 50_000:
                self._of_key.clear()
            name = self._of_key[place] = name_of_key(key.kind, key.value)
        return name

    def _from_volume(self, call: Call) -> str:
        """A call without text is known by who called, or else by the model that was asked."""
        if call.key_id:
            return self._from_key(_Plain("key", call.key_id))
        model = call.model_requested or call.model_served
        return self._from_key(_Plain("model", model)) if model else ""


class _Plain:
    __slots__ = ("kind", "value")

    def __init__(self, kind: str, value: str) -> None:
        self.kind = kind
        self.value = value


def name_of_key(kind: str, value: str) -> str:
    """The name of the task of a key: its value where that can be a name. Random ids are shortened."""
    text = value.strip()
    opaque = _OPAQUE.fullmatch(text)
    if opaque is not None:
        return f"{kind}-{re.sub('[^0-9a-zA-Z]', '', text)[-12:].lower()}"
    if fault_of_name(text) is None and len(text.encode("utf-8", "replace")) <= _LONGEST_FROM_KEY and text != UNASSIGNED:
        return text.encode("utf-8", "replace").decode()
    return safe_name(text, _LONGEST_FROM_KEY)


def texts_of(request: Mapping[str, Any]) -> tuple[str, str]:  # Any: JSON of somebody else's making
    """The system message and the first thing that the user says."""
    system, asked = "", ""
    for name in ("system", "instructions"):
        system = system or _text(request.get(name))
    for name in ("messages", "input", "prompt"):
        given = request.get(name)
        if isinstance(given, str):
            asked = asked or (given if name != "messages" else "")
        elif isinstance(given, list):
            for turn in given:
                if not isinstance(turn, Mapping):
                    continue
                role = turn.get("role")
                if role in {"system", "developer"}:
                    system = system or _text(turn.get("content"))
                elif role == "user":
                    asked = _text(turn.get("content"))
                    if asked:
                        break
    return system, asked


def _text(content: Any) -> str:  # Any: JSON
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part.get("text") for part in content if isinstance(part, Mapping))
    return "\n".join(part for part in parts if isinstance(part, str))
