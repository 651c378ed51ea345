"""Which task a call belongs to: told by the client or by its key, or found by rules, set or learned."""

from __future__ import annotations

import fnmatch
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from freehold.core.errors import InputError
from freehold.core.task import fault_of_name
from freehold.tasks.bounded_regex import LONGEST_TEXT, compile_bounded
from freehold.tasks.learned import Learned
from freehold.tasks.system_prompt import prompt_of
from freehold.text.fingerprint import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from freehold.state.settings import TaskRule, TasksSection

    Header = tuple[bytes, bytes]

TASK_HEADER = b"x-freehold-task"
_SHORTEST_FINGERPRINT = 12
_MOST_REMEMBERED = 1_024


class HasTask(Protocol):
    """Whoever calls."""

    @property
    def task(self) -> str | None:
        """Of calls that name none; None: the rules decide."""
        ...

    def may_use_task(self, task: str) -> bool:
        """The key is for this task. What was learned by itself never locks a key out."""
        ...


@dataclass(frozen=True, slots=True)
class _Rule:
    task: str
    model: re.Pattern[str] | None
    path: re.Pattern[str] | None
    headers: tuple[tuple[bytes, re.Pattern[str]], ...]
    system_regex: re.Pattern[str] | None
    system_fingerprint: str | None

    @property
    def reads_system(self) -> bool:
        return self.system_regex is not None or self.system_fingerprint is not None

    def fits_request(self, headers: Sequence[Header], model: str | None, path: str) -> bool:
        """All but the system message fits."""
        if self.model is not None and (model is None or self.model.match(model) is None):
            return False
        if self.path is not None and self.path.match(path) is None:
            return False
        return all(_has(headers, name, pattern) for name, pattern in self.headers)

    def fits_system(self, system: str, print_of_it: str) -> bool:
        if self.system_fingerprint is not None and not print_of_it.startswith(self.system_fingerprint):
            return False
        return self.system_regex is None or self.system_regex.search(system[:LONGEST_TEXT]) is not None


class TaskRules:
    """Finds the task of a call."""

    def __init__(
        self, section: TasksSection, learned: Learned | None = None, names: Mapping[str, str] | None = None
    ) -> None:
        """Take `[tasks]` of the settings.

        Args:
            section: Its rules go before learned ones.
            learned: What discovery has learned.
            names: Name that a task had -> the one it has now: calls may still come with the old one.

        Raises:
            InputError: a name, a pattern or a rule cannot be used; all faults at once.
        """
        faults: list[str] = []
        fault = fault_of_name(section.default)
        if fault is not None:
            faults.append(f"tasks.default {fault}")
        self._rules = [_rule(rule, f"tasks.rules[{number}]", faults) for number, rule in enumerate(section.rules)]
        if faults:
            raise InputError(f"[tasks] of the settings: {'; '.join(faults)}.")
        self._default = section.default
        self._learned = learned or Learned()
        self._names = names or {}
        self._reads_system = any(rule.reads_system for rule in self._rules)
        self._seen: dict[bytes, tuple[bool, ...]] = {}

    def task_of(
        self,
        headers: Sequence[Header],
        model: str | None,
        body: bytes,
        principal: HasTask,
        *,
        path: str = "",
        body_task: str | None = None,
    ) -> str:
        """The task: of the header, else of the body's metadata, else of the key, else of the first rule that fits.

        Args:
            headers: Of the request, names in lower case.
            model: That the client names.
            body: Of the request. Of a body that is not held in memory no system message is seen: pass b"".
            principal: Whose key it is.
            path: Of the request, without its query.
            body_task: The body's `metadata.task`; passed over if it is no name, as others may use it their own way.

        Raises:
            InputError: `x-freehold-task` is no name of a task, or is there twice with different names.
        """
        named = _named_in(headers)
        if named is None and body_task is not None and fault_of_name(body_task) is None:
            named = body_task
        if named is None:
            named = principal.task
        if named is None:
            named = self._found(headers, model, body, path, principal)
        return self._names.get(named, named)

    def relearn(self, learned: Learned, names: Mapping[str, str]) -> None:
        """Obey other learned rules and names from now on."""
        self._learned, self._names = learned, names

    def task_of_import(self, *, model: str | None, system: str | None) -> str | None:
        """The task of an imported call by the rules of the settings; None: no rule fits."""
        return self._by_rule((), model, "", lambda: self._seen_in(system))

    def _found(self, headers: Sequence[Header], model: str | None, body: bytes, path: str, principal: HasTask) -> str:
        reads = bool(body) and (self._reads_system or self._learned.reads)
        system, asked = prompt_of(body) if reads else (None, None)
        found = self._by_rule(headers, model, path, lambda: self._seen_in(system))
        if found is None and reads:
            found = self._learned.task_of(system or "", asked or "")
            if found is not None and not principal.may_use_task(self._names.get(found, found)):
                found = None
        return found or self._default

    def _by_rule(
        self, headers: Sequence[Header], model: str | None, path: str, look: Callable[[], tuple[bool, ...]]
    ) -> str | None:
        seen: tuple[bool, ...] | None = None
        for number, rule in enumerate(self._rules):
            if not rule.fits_request(headers, model, path):
                continue
            if rule.reads_system:
                if seen is None:
                    seen = look()
                if not seen[number]:
                    continue
            return rule.task
        return None

    def _seen_in(self, system: str | None) -> tuple[bool, ...]:
        """Per rule, whether the system message fits. One message comes in many calls, so that is remembered."""
        if system is None:
            return (False,) * len(self._rules)
        digest = hashlib.sha256(system.encode("utf-8", "surrogatepass")).digest()
        known = self._seen.get(digest)
        if known is None:
            if len(self._seen) >= _MOST_REMEMBERED:
                self._seen.clear()
            print_of_it = fingerprint(system)
            known = tuple(rule.fits_system(system, print_of_it) for rule in self._rules)
            self._seen[digest] = known
        return known


def _named_in(headers: Iterable[Header]) -> str | None:
    values = {value for name, value in headers if name == TASK_HEADER}
    if not values:
        return None
    if len(values) > 1:
        raise InputError("The header x-freehold-task is there more than once, with different values. Send one.")
    try:
        name = values.pop().decode()
    except UnicodeDecodeError:
        raise InputError("The header x-freehold-task is no UTF-8 text. Send the name of a task.") from None
    fault = fault_of_name(name)
    if fault is not None:
        raise InputError(f"The header x-freehold-task {fault}. Send the name of a task.")
    return name


def _has(headers: Iterable[Header], name: bytes, pattern: re.Pattern[str]) -> bool:
    return any(known == name and pattern.match(value.decode("latin-1")) is not None for known, value in headers)


def _rule(rule: TaskRule, where: str, faults: list[str]) -> _Rule:
    fault = fault_of_name(rule.task)
    if fault is not None:
        faults.append(f"{where}.task {fault}")
    if not (rule.model or rule.path or rule.system_regex or rule.system_fingerprint or rule.headers):
        faults.append(f"{where} has no condition; name the task of all calls in tasks.default")
    return _Rule(
        task=rule.task,
        model=_glob(rule.model),
        path=_glob(rule.path),
        headers=tuple(
            (name.lower().encode("latin-1", "replace"), re.compile(fnmatch.translate(value)))
            for name, value in rule.headers.items()
        ),
        system_regex=_regex(rule.system_regex, f"{where}.system_regex", faults),
        system_fingerprint=_fingerprint(rule.system_fingerprint, f"{where}.system_fingerprint", faults),
    )


def _glob(glob: str | None) -> re.Pattern[str] | None:
    return None if glob is None else re.compile(fnmatch.translate(glob))


def _regex(pattern: str | None, where: str, faults: list[str]) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    try:
        return compile_bounded(pattern)
    except ValueError as error:
        faults.append(f"{where} {error}")
        return None


def _fingerprint(digits: str | None, where: str, faults: list[str]) -> str | None:
    if digits is None:
        return None
    known = digits.lower()
    if len(known) < _SHORTEST_FINGERPRINT or len(known) > 64 or not set(known) <= set("0123456789abcdef"):
        faults.append(f"{where} must be {_SHORTEST_FINGERPRINT} to 64 hexadecimal digits")
    return known
