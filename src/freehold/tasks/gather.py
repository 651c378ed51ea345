"""Puts together what is known of a sample of calls, so that they can be clustered."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from freehold.tasks.answers import shape_of
from freehold.tasks.clusters import Rows
from freehold.tasks.space import Space, registers
from freehold.tasks.templates import find_openings, find_templates, is_generic, masked

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from freehold.tasks.answers import Shape
    from freehold.tasks.evidence import Evidence
    from freehold.tasks.space import Matrix
    from freehold.tasks.templates import Template

_BRIEF, _OFTEN = 60, 3
_LEAST_SPREAD = 1e-6
_LOOKED_AT = 80
_LEAST_ASKED = 8


@dataclass(frozen=True, slots=True)
class Placed:
    """Where calls lie."""

    vectors: Matrix
    registers: Matrix


@dataclass(frozen=True, slots=True)
class Gathered:
    """A sample, ready to be clustered, and what it takes to place other calls beside it."""

    rows: Rows
    templates: list[Template]
    space: Space
    register_mean: Matrix
    register_spread: Matrix
    openings: list[tuple[str, ...]]
    """Words of each opening."""
    texts: list[str]
    """What each call is about, without its opening."""

    def text_of(self, call: Evidence) -> tuple[str, bool]:
        """What another call is about, without its opening; and whether it has one that is known."""
        words = (call.asked or call.system).split()
        plain = masked(" ".join(words[:_LOOKED_AT]).casefold().split())
        length = max((len(known) for known in self.openings if plain[: len(known)] == known), default=0)
        return " ".join(words[length:]) or call.asked, length > 0

    def place(self, texts: Sequence[str]) -> Placed:
        """Where other calls, which are about this, lie in the space of the sample."""
        registers_of_them = (registers(texts) - self.register_mean) / self.register_spread
        return Placed(self.space.place(texts), registers_of_them)


def gather(evidence: Sequence[Evidence], known: Sequence[str | None], joinable: Collection[str] = ()) -> Gathered:
    """The rows to cluster, the templates of their system messages, and the space that they lie in."""
    numbers, templates = find_templates([one.system for one in evidence])
    texts = contents(evidence, numbers, templates)
    numbered, openings = find_openings(texts)
    bare = [
        text if number is None else " ".join(text.split()[len(openings[number]) :]) or text
        for text, number in zip(texts, numbered, strict=True)
    ]
    space = Space(bare)
    written = registers(bare)
    mean, spread = written.mean(axis=0), written.std(axis=0) + _LEAST_SPREAD
    shapes = [shape_of(one.answer, one.tools) for one in evidence]
    empty = {number for number, template in enumerate(templates) if is_generic(template.text)}
    empty |= _shared(numbers, numbered, shapes)
    rows = Rows(
        vectors=space.place(bare),
        registers=(written - mean) / spread,
        shapes=shapes,
        templates=[None if number in empty else number for number in numbers],
        openings=numbered,
        answers=_standardised(registers([one.answer for one in evidence])),
        known=known,
        joinable=frozenset(joinable),
    )
    return Gathered(rows, templates, space, mean, spread, openings, bare)


def _standardised(values: Matrix) -> Matrix:
    found: Matrix = (values - values.mean(axis=0)) / (values.std(axis=0) + _LEAST_SPREAD)
    return found


def _shared(templates: Sequence[int | None], openings: Sequence[int | None], shapes: Sequence[Shape]) -> set[int]:
    """Templates under which different things are asked for: each question brings its instruction and its own answers.

    Such a system message ("Follow the instructions in the tags.") says nothing of the task.
    """
    calls = Counter(template for template in templates if template is not None)
    groups: defaultdict[tuple[int, int], Counter[tuple[str, frozenset[str]]]] = defaultdict(Counter)
    for template, opening, shape in zip(templates, openings, shapes, strict=True):
        if template is not None and opening is not None:
            groups[template, opening][shape.family, shape.keys] += 1
    answers: defaultdict[int, set[tuple[str, frozenset[str]]]] = defaultdict(set)
    for (template, _), kinds in groups.items():
        kind, count = max(kinds.items(), key=lambda item: (item[1], item[0][0], sorted(item[0][1])))
        if count >= _LEAST_ASKED and 2 * count > kinds.total():
            answers[template].add(kind)
    covered = Counter(dict.fromkeys(calls, 0))
    for (template, _), kinds in groups.items():
        covered[template] += kinds.total()
    return {number for number, kinds in answers.items() if len(kinds) > 1 and 2 * covered[number] > calls[number]}


def contents(evidence: Sequence[Evidence], numbers: Sequence[int | None], templates: Sequence[Template]) -> list[str]:
    """What each call is about: what was asked or, where that is the same again and again, what the template holds."""
    often = Counter(one.asked for one in evidence if one.system and len(one.asked) < _BRIEF)
    found = []
    for one, number in zip(evidence, numbers, strict=True):
        text = one.asked
        if one.system and (not text or (len(text) < _BRIEF and often[text] >= _OFTEN)):
            inner = one.system if number is None else templates[number].rest_of(one.system)
            text = inner or text
        found.append(text)
    return found
