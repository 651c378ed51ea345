"""Whether a call is like the calls of a task at all: some of every log are like nothing else, and belong nowhere.

Clustering says which task is nearest; this says whether near is near enough. A call belongs where its template, its
opening or the form of its answer is that of others there. One that has none of these must share words with them, and
not merely words that any text has. That is measured against a fixed idea of common words and not against the log, so
that it means the same in a log of ten calls.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from freehold.tasks.answers import Shape
    from freehold.tasks.clusters import Rows

COHESION = 0.012
"""Mean likeness of the calls of a task to each other. Unrelated questions have 0.003 to 0.008, the tasks of the public
sets that only their texts hold together 0.019 (Estonian sentences) to 0.06: docs/decisions/0018."""
_SHARE_OF_COHESION = 0.3
"""A call that is less like the others than this share of what they are like each other is none of them."""
_IMAGINED = 300
"""Texts of an imagined log of everything, which count beside those that are there."""
_COMMON_SHARE, _NUMBER_SHARE = 0.35, 0.2
"""Of the imagined texts, how many hold each common word, and a number."""
_WORD = re.compile(r"\w+")
_COMMON = frozenset(
    _WORD.findall(
        """a about act after all also an and any are as at be been before but by can could did do does don either else
        every explain few for from get give had has have he help her here his how i if in into is it its just
        know like ll make many may me more most much must my need no not of on one only or other our out over
        own please re s say she should show so some such t tell than that the their them then there these they
        this those to too up us use ve very want was way we were what when where which who why will with would
        write you your"""
    )
)
_CHARACTERS, _STEM = 1_500, 5
_REPEATED = 3
_CLOSED = 0.95
"""Where so many answers are of forms that come back, one that is of none of them is no answer of that task."""
_MOST_CALLS = 400
"""Of a circle: more say nothing new."""


def words_of(text: str) -> frozenset[str]:
    """What a text is compared by: beginnings of words, that a number is there, and letters beyond ASCII.

    The letters are what sentences in one language share where endings change and words seldom come back.
    """
    found: set[str] = set()
    for word in _WORD.findall(text[:_CHARACTERS].casefold()):
        if any(map(str.isdigit, word)):
            found.add("#")
            continue
        found.add(word if word in _COMMON else word[:_STEM])
        if not word.isascii():
            found.update(letter for letter in word if not letter.isascii())
    return frozenset(found)


class Circle:
    """The calls of one task, to which others are compared."""

    def __init__(self, texts: Sequence[str], shapes: Sequence[Shape]) -> None:
        """Take the calls' texts and the shapes of their answers."""
        words = [words_of(text) for text in texts]
        self._size = len(words)
        self._counts = Counter(word for text in words for word in text)
        self._sum: defaultdict[str, float] = defaultdict(float)
        for text in words:
            for word, weight in self._vector(text).items():
                self._sum[word] += weight
        self._forms = Counter(form for shape in shapes for form in _forms(shape))
        answered = [_forms(shape) for shape in shapes if shape.family != "none"]
        usual = sum(any(self._forms[form] >= _REPEATED for form in forms) for forms in answered)
        self._is_closed = usual >= _CLOSED * len(answered) > 0
        pairs = self._size * (self._size - 1)
        squares = sum(weight * weight for weight in self._sum.values())
        filled = sum(bool(text) for text in words)
        self.cohesion = (squares - filled) / pairs if pairs else 0.0
        """Mean cosine of two of its calls."""

    def holds(self, text: str, shape: Shape, *, is_member: bool) -> bool:
        """A call with neither template nor opening belongs here.

        Args:
            text: What it is about.
            shape: Of its answer.
            is_member: It is one of the calls that the circle was made of.
        """
        least = _REPEATED if is_member else _REPEATED - 1
        if any(self._forms[form] >= least for form in _forms(shape)):
            return True
        if self._is_closed and shape.family != "none":
            return False
        return self.cohesion >= COHESION and self._likeness(text, is_member) >= _SHARE_OF_COHESION * self.cohesion

    def _likeness(self, text: str, is_member: bool) -> float:
        """Mean cosine to the (other) calls."""
        others = self._size - is_member
        vector = self._vector(words_of(text))
        if not vector or others < 1:
            return 0.0
        return (sum(weight * self._sum.get(word, 0.0) for word, weight in vector.items()) - is_member) / others

    def _vector(self, words: frozenset[str]) -> Mapping[str, float]:
        weights = {word: self._weight(word) for word in sorted(words)}
        length = math.sqrt(sum(weight * weight for weight in weights.values()))
        return {word: weight / length for word, weight in weights.items()}

    def _weight(self, word: str) -> float:
        share = _COMMON_SHARE if word in _COMMON else _NUMBER_SHARE if word == "#" else 0.0
        return math.log((self._size + _IMAGINED + 1) / (self._counts[word] + share * _IMAGINED + 1)) + 1e-3


def _forms(shape: Shape) -> list[tuple[str, ...]]:
    """What an answer has in common with others of its task, if it is more than anybody's answer has."""
    match shape.family:
        case "object" | "tools":
            return [(shape.family, key) for key in sorted(shape.keys)]
        case "list":
            return [("list",)]
        case "label":
            word = shape.word or ""
            coined = [("coined", *(mark for mark in "_-" if mark in word))] if _is_coined(word) else []
            return [("label", word), *coined]
        case _:
            return []


def _is_coined(word: str) -> bool:
    """Made for machines, such as card_arrival: people do not write like this."""
    return "_" in word.strip("_") and " " not in word.strip()


def held(rows: Rows, texts: Sequence[str], labels: Sequence[int | None]) -> list[bool]:
    """For each call whether it belongs to its cluster."""
    members: defaultdict[int | None, list[int]] = defaultdict(list)
    for place, label in enumerate(labels):
        members[label].append(place)
    found = [True] * len(labels)
    for of in members.values():
        doubtful = [place for place in of if rows.known[place] is None and not is_bound(rows, place)]
        if not doubtful:
            continue
        settled = [place for place in of if rows.known[place] is not None]
        circle = circle_of(rows, texts, settled or of)
        for place in doubtful:
            found[place] = circle.holds(texts[place], rows.shapes[place], is_member=not settled)
    return found


def is_bound(rows: Rows, place: int) -> bool:
    """Its template or its opening, which several calls have, says where it belongs."""
    return rows.templates[place] is not None or rows.openings[place] is not None


def circle_of(rows: Rows, texts: Sequence[str], places: Sequence[int]) -> Circle:
    """Some calls of the sample as a circle; they are in the order of their ids, so any of them are as good."""
    some = places[:: max(1, len(places) // _MOST_CALLS)]
    return Circle([texts[place] for place in some], [rows.shapes[place] for place in some])
