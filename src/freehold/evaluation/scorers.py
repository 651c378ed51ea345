"""How good one answer is: one scorer per kind of task, each from (target, answer) to a score in [0, 1]."""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from json import JSONDecoder
from typing import TYPE_CHECKING, Any, Literal, Protocol, assert_never

from freehold.evaluation.schema import obeys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.core.task import Task

Metric = Literal["accuracy", "field_accuracy", "chrf"]

NOT_A_LABEL = "(not a label)"
LONGEST_ANSWER = 100_000
"""Characters; a longer answer scores 0 unread."""
_DEEPEST = 32
_FIRST_BRACES = 8
_CHRF_ORDER = 6
_CHRF_BETA = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one answer is worth."""

    value: float
    """0 is worthless, 1 is perfect."""
    is_valid: bool
    """The answer has the asked form, right or wrong: a known label, an object of the schema, some text."""
    is_exact: bool
    """Nothing at all is wrong with it."""
    confusion: tuple[str, str] | None = None
    """(right label, given label) of a wrong classification."""
    wrong_fields: tuple[str, ...] = ()
    """Fields of an extraction that are wrong, sorted."""


class Scorer(Protocol):
    """Compares answers with the human's target."""

    @property
    def metric(self) -> Metric:
        """Name of the mean score."""
        ...

    @property
    def is_binary(self) -> bool:
        """Scores are 0 or 1 and nothing between."""
        ...

    def is_target(self, target: str) -> bool:
        """Whether `target` is something that an answer can be compared with."""
        ...

    def score(self, target: str, answer: str) -> Score:
        """Never raises, whatever a model answered."""
        ...


def scorer_of(task: Task) -> Scorer:
    """The scorer for the kind of `task`."""
    match task.kind:
        case "classification":
            return LabelScorer(labels=frozenset(task.labels))
        case "extraction":
            return FieldScorer(schema=task.json_schema)
        case "text":
            return ChrfScorer()
    assert_never(task.kind)


@dataclass(frozen=True, slots=True)
class LabelScorer:
    """1 when the answer is the label, spaces around it aside; else 0."""

    labels: frozenset[str]
    metric: Metric = "accuracy"
    is_binary: bool = True

    def is_target(self, target: str) -> bool:
        """A label that is not blank."""
        return bool(target.strip())

    def score(self, target: str, answer: str) -> Score:
        """Compare exactly."""
        right, given = target.strip(), answer.strip()
        is_valid = given in self.labels
        if given == right:
            return Score(value=1.0, is_valid=is_valid, is_exact=True)
        confusion = (right, given if is_valid else NOT_A_LABEL)
        return Score(value=0.0, is_valid=is_valid, is_exact=False, confusion=confusion)


@dataclass(frozen=True, slots=True)
class FieldScorer:
    """Share of fields that are right: the schema's, the target's, and any other that the answer invents."""

    schema: Mapping[str, Any] | None  # Any: JSON Schema is open by nature
    metric: Metric = "field_accuracy"
    is_binary: bool = False

    def is_target(self, target: str) -> bool:
        """A JSON object."""
        return first_object(target) is not None

    def score(self, target: str, answer: str) -> Score:
        """Compare field by field; null, an empty string and a missing field are the same."""
        right, given = first_object(target) or {}, first_object(answer)
        if given is None:
            return Score(value=0.0, is_valid=False, is_exact=False, wrong_fields=tuple(sorted(self._fields(right))))
        fields = self._fields(right) | {name for name, value in given.items() if not _is_missing(value)}
        wrong = tuple(sorted(name for name in fields if not is_same_value(right.get(name), given.get(name))))
        return Score(
            value=1 - len(wrong) / len(fields) if fields else 1.0,
            is_valid=obeys(given, self.schema),
            is_exact=not wrong,
            wrong_fields=wrong,
        )

    def _fields(self, right: Mapping[str, Any]) -> set[str]:  # Any: JSON
        return {*(self.schema or {}).get("properties", {}), *right}


@dataclass(frozen=True, slots=True)
class ChrfScorer:
    """Character n-gram F-score of texts.

    Source: M. Popović, chrF: character n-gram F-score for automatic MT evaluation, WMT 2015.
    """

    metric: Metric = "chrf"
    is_binary: bool = False

    def is_target(self, target: str) -> bool:
        """Some text."""
        return bool(target.strip())

    def score(self, target: str, answer: str) -> Score:
        """Compare n-grams of one to six characters, white space left out."""
        right, given = "".join(target.split()), "".join(answer.split())
        is_valid = bool(given) and len(answer) <= LONGEST_ANSWER
        value = _chrf(right, given) if is_valid else 0.0
        return Score(value=value, is_valid=is_valid, is_exact=is_valid and target.strip() == answer.strip())


def _chrf(right: str, given: str) -> float:
    precisions, recalls = [], []
    for order in range(1, _CHRF_ORDER + 1):
        of_right = Counter(right[i : i + order] for i in range(len(right) - order + 1))
        of_given = Counter(given[i : i + order] for i in range(len(given) - order + 1))
        if of_right and of_given:
            common = (of_right & of_given).total()
            precisions.append(common / of_given.total())
            recalls.append(common / of_right.total())
    if not precisions:
        return 0.0
    precision, recall = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    if precision + recall == 0:
        return 0.0
    squared = _CHRF_BETA**2
    return (1 + squared) * precision * recall / (squared * precision + recall)


def first_object(text: str) -> dict[str, Any] | None:  # Any: JSON
    """The first JSON object in `text`, whatever stands around it; numbers become Decimal.

    None when there is none, or when the text is too long or nested too deeply to be an honest answer.
    """
    if len(text) > LONGEST_ANSWER:
        return None
    decoder = JSONDecoder(parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse_constant)
    start = text.find("{")
    for _ in range(_FIRST_BRACES):
        if start < 0:
            break
        try:
            value, _end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError, InvalidOperation):
            start = text.find("{", start + 1)
        else:
            return None if _is_too_deep(value) else value
    return None


def _refuse_constant(name: str) -> None:
    raise ValueError(name)  # NaN and infinities are no JSON


def _is_too_deep(value: Any) -> bool:  # Any: JSON
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(level)


def _is_missing(value: Any) -> bool:  # Any: JSON
    return value is None or (isinstance(value, str) and not value.strip())


def is_same_value(right: Any, given: Any) -> bool:  # noqa: PLR0911 -- one line per type; Any: JSON
    """Equal for a reader: numbers by value (also quoted), texts without case, spacing and punctuation."""
    if _is_missing(right) or _is_missing(given):
        return _is_missing(right) and _is_missing(given)
    if isinstance(right, bool) or isinstance(given, bool):
        return right is given
    if isinstance(right, dict) and isinstance(given, dict):
        return all(is_same_value(right.get(name), given.get(name)) for name in {*right, *given})
    if isinstance(right, list) and isinstance(given, list):
        return len(right) == len(given) and all(map(is_same_value, right, given))
    if isinstance(right, Decimal | str) and isinstance(given, Decimal | str):
        numbers = _as_number(right), _as_number(given)
        if None not in numbers:
            return numbers[0] == numbers[1]
        return _normalised(str(right)) == _normalised(str(given))
    return False


def _as_number(value: Decimal | str) -> Decimal | None:
    try:
        number = Decimal(value.strip()) if isinstance(value, str) else value
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _normalised(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold().replace("'", "").replace("’", "")
    spaced = "".join(" " if unicodedata.category(char).startswith("P") else char for char in folded)
    return " ".join(spaced.split()) or folded
