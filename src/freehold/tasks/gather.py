"""Puts together what is known of a sample of calls, so that they can be clustered."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from freehold.tasks.answers import shape_of
from freehold.tasks.clusters import Rows
from freehold.tasks.space import Space, registers
from freehold.tasks.templates import find_openings, find_templates, is_generic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from freehold.tasks.evidence import Evidence
    from freehold.tasks.templates import Template

_BRIEF, _OFTEN = 60, 3
_LEAST_SPREAD = 1e-6


def gather(evidence: Sequence[Evidence], known: Sequence[str | None]) -> tuple[Rows, list[Template], Space]:
    """The rows to cluster, the templates of their system messages, and the space that they lie in."""
    numbers, templates = find_templates([one.system for one in evidence])
    texts = contents(evidence, numbers, templates)
    openings, lengths = find_openings(texts)
    bare = [text if number is None else " ".join(text.split()[lengths[number] :]) or text
            for text, number in zip(texts, openings, strict=True)]  # fmt: skip
    space = Space(bare)
    written = registers(bare)
    spread = written.std(axis=0)
    rows = Rows(
        vectors=space.place(bare),
        registers=(written - written.mean(axis=0)) / (spread + _LEAST_SPREAD),
        shapes=[shape_of(one.answer, one.tools) for one in evidence],
        templates=[None if number is None or is_generic(templates[number].text) else number for number in numbers],
        openings=openings,
        known=known,
    )
    return rows, templates, space


def contents(
    evidence: Sequence[Evidence], numbers: Sequence[int | None], templates: Sequence[Template]
) -> list[str]:
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
