"""Rules that discovery has learned: by them new calls are known from what they ask, before they are answered.

Three kinds, asked in this order: pieces of the system message that stand in every prompt of a template; pieces of what
is asked; and words, weighed. They hold template text and single words, never a customer's message.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from freehold.core.identity import content_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

RuleKind = Literal["system", "asked", "words"]
_MOST_REMEMBERED = 2_048
MOST_SYSTEM = 60_000
"""Characters of a system message that rules look at."""
FIRST_ASKED = 4_000
"""Characters of what is asked that rules look at."""
_MOST_WORDS = 60
_LEAST_WORDS = 2
_START = 24
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class LearnedRule:
    """How calls of one task are known."""

    task: str
    kind: RuleKind
    body: Mapping[str, Any]  # Any: differs by kind
    """system, asked: `anchors` in order, `longest` (characters). words: `weights`, `floor`, `margin`."""

    @property
    def id(self) -> str:
        """The same rule has the same one, whichever task it is of."""
        return content_hash({"kind": self.kind, "body": dict(self.body)})


class Learned:
    """All learned rules, ready for the request path."""

    def __init__(self, rules: Iterable[LearnedRule] = ()) -> None:
        """Take the rules in any order."""
        given = sorted(rules, key=lambda rule: (rule.kind, rule.task, rule.id))
        self._system = _Pieces([rule for rule in given if rule.kind == "system"])
        self._asked = _Pieces([rule for rule in given if rule.kind == "asked"])
        self._words = WordRules([rule for rule in given if rule.kind == "words"])
        self._seen: OrderedDict[bytes, str | None] = OrderedDict()

    @property
    def reads(self) -> bool:
        """There is any rule, so a body is worth reading."""
        return bool(self._system or self._asked or self._words)

    def task_of(self, system: str, asked: str, *, by_words: bool = True) -> str | None:
        """The task of a call that asks this, or None.

        Args:
            system: System message.
            asked: What the user asks first.
            by_words: Words may decide where no template does; not for calls whose answers are known and say more.
        """
        task = self._of_system(system) if system and self._system else None
        if task is None and asked:
            asked = asked[:FIRST_ASKED]
            if self._asked:
                task = self._asked.task_of(normalised(asked))
            if task is None and by_words and self._words:
                task = self._words.task_of(asked)
        return task

    def _of_system(self, system: str) -> str | None:
        """One message comes in many calls, so what it says is remembered."""
        digest = hashlib.blake2b(system.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if digest in self._seen:
            self._seen.move_to_end(digest)
            return self._seen[digest]
        task = self._system.task_of(normalised(system[:MOST_SYSTEM]))
        self._seen[digest] = task
        if len(self._seen) > _MOST_REMEMBERED:
            self._seen.popitem(last=False)
        return task


def texts_fitting(rule: LearnedRule, texts: Iterable[str]) -> Iterator[bool]:
    """For each text whether it fits a rule by pieces; texts are normalised and no longer than they are looked at."""
    template = _template_of(rule)
    return (bool(text) and template.fits(text) for text in texts)


def normalised(text: str) -> str:
    """Lower case, single spaces."""
    return " ".join(text.casefold().split())


@dataclass(frozen=True, slots=True)
class _Template:
    task: str
    anchors: tuple[str, ...]
    characters: int
    longest: int | None

    def fits(self, text: str) -> bool:
        """Every piece stands in it, in order, and it is no longer than its template may be."""
        if self.longest is not None and len(text) > self.longest:
            return False
        place = 0
        for anchor in self.anchors:
            place = text.find(anchor, place)
            if place < 0:
                return False
            place += len(anchor)
        return True


def _template_of(rule: LearnedRule) -> _Template:
    anchors = tuple(rule.body["anchors"])
    return _Template(rule.task, anchors, sum(map(len, anchors)), rule.body["longest"])


class _Pieces:
    """Rules by pieces of text. The one that says most goes first; most texts are found by how they begin."""

    def __init__(self, rules: Sequence[LearnedRule]) -> None:
        self._templates = sorted(map(_template_of, rules), key=lambda one: (-one.characters, one.anchors, one.task))
        self._by_start: dict[str, list[_Template]] = {}
        for one in self._templates:
            self._by_start.setdefault(one.anchors[0][:_START], []).append(one)

    def __bool__(self) -> bool:
        return bool(self._templates)

    def task_of(self, text: str) -> str | None:
        for template in self._by_start.get(text[:_START], ()):
            if template.fits(text):
                return template.task
        return next((template.task for template in self._templates if template.fits(text)), None)


class WordRules:
    """Weighs the first words of a text for each task (naive Bayes); says nothing unless one is clearly ahead."""

    def __init__(self, rules: Sequence[LearnedRule]) -> None:
        self._tasks = [rule.task for rule in rules]
        self._margins = [float(rule.body["margin"]) for rule in rules]
        self._floor = [float(rule.body["floor"]) for rule in rules]
        self._weights: dict[str, list[tuple[int, float]]] = {}
        for number, rule in enumerate(rules):
            for word, weight in rule.body["weights"].items():
                self._weights.setdefault(word, []).append((number, float(weight) - self._floor[number]))

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def task_of(self, text: str) -> str | None:
        """The task that is far enough ahead, or None."""
        found = self.best_of(text)
        return None if found is None or found[1] < self._margins[found[0]] else self._tasks[found[0]]

    def best_of(self, text: str) -> tuple[int, float] | None:
        """The rule that is ahead of those of all other tasks, and how far by word; None: too few words are known."""
        words = set(first_words(text))
        known = [found for word in words if (found := self._weights.get(word)) is not None]
        if len(known) < _LEAST_WORDS or 2 * len(known) < len(words):
            return None
        scores = [len(known) * floor for floor in self._floor]
        for found in known:
            for number, weight in found:
                scores[number] += weight
        best = max(range(len(scores)), key=scores.__getitem__)
        ahead = scores[best] - max(
            (score for number, score in enumerate(scores) if self._tasks[number] != self._tasks[best]),
            default=len(known) * self._floor[best],
        )
        return best, ahead / len(known)


def first_words(text: str) -> list[str]:
    """The words of a text that are weighed."""
    return _WORD.findall(text[:600].casefold())[:_MOST_WORDS]
