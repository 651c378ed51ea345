"""Puts together what is known of a sample of calls, so that they can be clustered."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from freehold.tasks.answers import shape_of
from freehold.tasks.clusters import Rows
from freehold.tasks.space import Space, registers
from freehold.tasks.templates import find_openings, find_templates, is_generic, masked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from freehold.tasks.evidence import Evidence
    from freehold.tasks.space import Matrix
    from freehold.tasks.templates import Template

_BRIEF, _OFTEN = 60, 3
_LEAST_SPREAD = 1e-6
_LOOKED_AT = 80


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

    def place(self, calls: Sequence[Evidence]) -> Placed:
        """Where other calls lie in the space of the sample."""
        texts = []
        for one in calls:
            words = (one.asked or one.system).split()
            plain = masked(" ".join(words[:_LOOKED_AT]).casefold().split())
            length = max((len(known) for known in self.openings if plain[: len(known)] == known), default=0)
            texts.append(" ".join(words[length:]) or one.asked)
        registers_of_them = (registers(texts) - self.register_mean) / self.register_spread
        return Placed(self.space.place(texts), registers_of_them)


def gather(evidence: Sequence[Evidence], known: Sequence[str | None]) -> Gathered:
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
    rows = Rows(
        vectors=space.place(bare),
        registers=(written - mean) / spread,
        shapes=[shape_of(one.answer, one.tools) for one in evidence],
        templates=[None if number is None or is_generic(templates[number].text) else number for number in numbers],
        openings=numbered,
        known=known,
    )
    return Gathered(rows, templates, space, mean, spread, openings)


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
