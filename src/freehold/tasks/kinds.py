"""Guesses what kind of work a task is from a sample of its calls, and how sure that is."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from freehold.tasks.answers import boolean_pair, parsed_json, shape_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from freehold.core.task import WorkKind
    from freehold.tasks.answers import Family, Shape
    from freehold.tasks.evidence import Evidence

_MOST_LABELS = 300
_MOST_SHARE_OF_LABELS = 0.5
_SURE_FAMILY = 0.6
_SHORTER = 0.75
_TAKEN_OVER = 0.35
_ENTITY_KINDS = frozenset({"type", "label", "entity", "entity_type", "category", "tag", "class", "ner"})
_ENTITY_TEXTS = frozenset({"text", "span", "value", "mention", "word", "name", "entity", "start", "offset", "surface"})
_ENTITY_NAMES = frozenset(
    {"person", "persons", "people", "per", "organization", "organizations", "organisation", "organisations", "org",
     "location", "locations", "loc", "misc", "places", "entities", "gpe"}
)  # fmt: skip
_CUES: Mapping[WorkKind, re.Pattern[str]] = {
    "summarisation": re.compile(r"\b(?:summar|tl;?dr|condens|zusammenfass|fasse|résum|resum|riassum)", re.IGNORECASE),
    "chat": re.compile(r"\b(?:chat ?bot|chat with|support agent|friendly assistant|companion)", re.IGNORECASE),
    "code": re.compile(
        r"\b(?:python|javascript|typescript|sql|code|function|unit test|refactor|programm)", re.IGNORECASE
    ),
}
_WORD = re.compile(r"[^\W\d_]{4,}")


@dataclass(frozen=True, slots=True)
class Guess:
    """A kind of work, and what speaks for it."""

    kind: WorkKind
    confidence: float
    """Share of the calls that bear the kind out, one for and one against added (Laplace's rule), in (0, 1)."""


def guess_work(sample: Sequence[Evidence]) -> Guess:
    """The kind of work of these calls; calls without an answer say nothing."""
    answered = [one for one in sample if one.answer or one.tools]
    shapes = [shape_of(one.answer, one.tools) for one in answered]
    if not answered:
        return Guess(_kind_of_prompts(sample), 0.5)
    families = Counter(shape.family for shape in shapes)
    closed = _closed_words(shapes)
    kind, bears_out = _kind_of_answers(answered, shapes, families, closed)
    found = sum(bears_out)
    return Guess(kind, round((found + 1) / (len(answered) + 2), 4))


def _kind_of_answers(
    answered: Sequence[Evidence], shapes: Sequence[Shape], families: Counter[Family], closed: frozenset[str]
) -> tuple[WorkKind, list[bool]]:
    total = len(shapes)
    structured = families["object"] + families["list"]
    if structured >= _SURE_FAMILY * total:
        is_json = [shape.family in {"object", "list"} for shape in shapes]
        if closed and sum(shape.word in closed for shape in shapes) >= 0.9 * families["object"] > 0:
            return _choice_of(closed), [shape.word in closed for shape in shapes]
        return ("ner" if _is_ner(answered) else "extraction"), is_json
    worded = families["boolean"] + families["label"] + families["number"]
    if closed and worded >= _SURE_FAMILY * total:
        held = [shape.word in closed for shape in shapes]
        if sum(held) >= _SURE_FAMILY * total:
            return _choice_of(closed), held
    if families["code"] >= 0.5 * total:
        return "code", [shape.family == "code" for shape in shapes]
    return _kind_of_prose(answered, shapes)


def _choice_of(closed: frozenset[str]) -> WorkKind:
    """Two answers screen. One alone tells no choice, unless it is half of one, as yes is."""
    is_half = len(closed) == 1 and len(boolean_pair(min(closed).rstrip(".!").casefold())) == 2
    return "screening" if len(closed) == 2 or is_half else "classification"


def _closed_words(shapes: Sequence[Shape]) -> frozenset[str]:
    """Short answers that come back, if they are so few that they are a set to choose from; else none."""
    words = Counter(shape.word for shape in shapes if shape.word is not None and shape.family != "list")
    total = words.total()
    repeated = {word for word, count in words.items() if count > 1}
    is_closed = len(repeated) <= _MOST_LABELS and len(words) <= max(1, _MOST_SHARE_OF_LABELS * total)
    covered = sum(words[word] for word in repeated)
    return frozenset(repeated) if is_closed and covered >= 0.7 * total > 0 else frozenset()


def _is_ner(answered: Sequence[Evidence]) -> bool:
    """Answers list pieces of the text, each with a type."""
    named = found = seen = 0
    for one in answered[:400]:
        items = _items(parsed_json(one.answer.strip().removeprefix("```json").removesuffix("```")))
        for item in items[:20]:
            seen += 1
            keys = {str(key).lower() for key in item}
            named += bool(keys & _ENTITY_KINDS and keys & _ENTITY_TEXTS) or bool(keys & _ENTITY_NAMES)
            texts = [value for value in item.values() if isinstance(value, str)]
            found += any(text and text in one.asked for text in texts)
    return seen > 0 and named >= 0.5 * seen


def _items(value: Any) -> list[dict[str, Any]]:  # Any: JSON
    if isinstance(value, list):
        return [item for item in value if isinstance(item, dict)]
    if not isinstance(value, dict):
        return []
    inner = [item for each in value.values() if isinstance(each, list) for item in each if isinstance(item, dict)]
    return inner or [value]


def _kind_of_prose(answered: Sequence[Evidence], shapes: Sequence[Shape]) -> tuple[WorkKind, list[bool]]:
    cue = _kind_of_prompts(answered)
    is_text = [shape.family in {"prose", "phrase", "label", "code"} for shape in shapes]
    if cue in {"summarisation", "code"}:
        return cue, is_text
    talked = [one.turns > 1 for one in answered]
    if sum(talked) >= 0.2 * len(talked) or cue == "chat":
        return "chat", [text or talk for text, talk in zip(is_text, talked, strict=True)]
    condenses = [_is_condensed(one) for one in answered]
    if median(len(one.asked) for one in answered) >= 120 and sum(condenses) >= 0.5 * len(condenses):
        return "summarisation", condenses
    return "other", [len(one.answer) > 0 and not done for one, done in zip(answered, condenses, strict=True)]


def _is_condensed(one: Evidence) -> bool:
    """The answer is shorter than what was asked, and many of its words were there."""
    if not one.answer or len(one.answer) > _SHORTER * len(one.asked):
        return False
    words = set(_WORD.findall(one.answer.casefold()))
    return bool(words) and len(words & set(_WORD.findall(one.asked.casefold()))) >= _TAKEN_OVER * len(words)


def _kind_of_prompts(sample: Sequence[Evidence]) -> WorkKind:
    """What the system messages, or else the first lines of what was asked, speak of."""
    texts = [one.system[:2_000] or one.asked[:200] for one in sample[:400]]
    for kind, cue in _CUES.items():
        if texts and sum(bool(cue.search(text)) for text in texts) >= 0.5 * len(texts):
            return kind
    return "other"
