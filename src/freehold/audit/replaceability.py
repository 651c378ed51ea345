"""How ordinary a task is: how much of what the rented model answers a small own model could be expected to answer.

Three kinds of answers are told apart. Answers from a closed set are measured: a probe is trained on the log and asked
on the part it has not seen. Fields of an object are looked up: in the input they were copied from, or among the values
that the field has again and again. Free text can only be described. These two scores are rules: never above 0.9 and one
half.

Source: docs/decisions/0019-audit.md, with what the scores were on the task sets that have labels.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from freehold.text.fingerprint import normalise
from freehold.text.near_duplicates import group_near_duplicates
from freehold.text.probe import Agreement, probe_agreement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from freehold.audit.sample import Exchange

Shape = Literal["closed", "fields", "text"]

FEWEST = 60
"""Calls from which on anything is said."""
_Z = 1.96
_SHORT = 80
"""Characters of an answer that may be a label."""
_CLOSED = 0.9
"""Chance that the next answer has been seen before, from which on answers are taken for a closed set."""
_OBJECTS = 0.8
_TEXT_MOST, _FIELDS_MOST = 0.5, 0.9
"""Scores by a rule end here: nobody has measured them."""
_GROUPED_CHARACTERS = 600
"""Of a text, to find near copies of it."""
_REACH = 4
"""Earlier copies of a question that one is compared with."""
_FEWEST_PAIRS = 20
"""Of equal questions, before their answers say how much the rented model agrees with itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaceability:
    """What the sample of one task says."""

    score: float
    """From 0 to 1: the share of calls on which a small own model is expected to answer as the rented one does."""
    low: float | None
    high: float | None
    """Of a measured score, 95 %; None: the score is a rule."""
    shape: Shape
    sampled: int
    distinct_answers: int
    label_entropy_bits: float
    answer_characters: float
    """Median."""
    commonest_share: float
    """Of the most frequent answer: what a constant would get right."""
    probe_agreement: float | None
    """Of the probe with the rented model, on calls that it was not trained on."""
    self_consistency: float | None
    """Of the rented model with itself, on equal questions; None: none was asked twice."""
    consistency_pairs: int
    near_consistency: float | None
    """The same on nearly equal questions, which may differ in what matters."""
    ordinary_fields: float | None
    """Of an object's values: copied from the input, or seen before in that field."""
    reasons: tuple[str, ...]

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """The measures; the score stands beside them."""
        return {
            "low": self.low,
            "high": self.high,
            "answers": self.shape,
            "sampled_calls": self.sampled,
            "distinct_answers": self.distinct_answers,
            "label_entropy_bits": self.label_entropy_bits,
            "answer_characters_p50": self.answer_characters,
            "commonest_answer_share": self.commonest_share,
            "probe_agreement": self.probe_agreement,
            "self_consistency": self.self_consistency,
            "consistency_pairs": self.consistency_pairs,
            "near_consistency": self.near_consistency,
            "ordinary_fields_share": self.ordinary_fields,
        }


def replaceability_of(exchanges: Sequence[Exchange], *, questions: int | None = None) -> Replaceability | None:
    """What a sample says; None: it is too small (`FEWEST`).

    `questions` is how many different ones the whole log holds: an own model learns from all of them. None: the sample
    is all there is.
    """
    if len(exchanges) < FEWEST:
        return None
    answers = [normalise(each.answer) for each in exchanges]
    counts = Counter(answers)
    low: float | None
    high: float | None
    groups = group_near_duplicates([each.text[:_GROUPED_CHARACTERS] for each in exchanges])
    equal, near = _consistencies(exchanges, answers, groups)
    objects = [_fields(each.answer) for each in exchanges]
    shape = _shape(counts, objects)
    agreement = _probed(exchanges, answers, groups) if shape == "closed" else None
    ordinary = _ordinary(exchanges, objects) if shape == "fields" else None
    commonest = max(counts.values()) / len(answers)
    if shape == "closed":
        score, low, high = _measured(agreement, commonest, equal, questions=questions)
    else:
        score = _FIELDS_MOST * ordinary if ordinary is not None else _TEXT_MOST * _copied(exchanges)
        low = high = None
    found = Replaceability(
        score=score,
        low=low,
        high=high,
        shape=shape,
        sampled=len(exchanges),
        distinct_answers=len(counts),
        label_entropy_bits=_entropy(counts),
        answer_characters=float(sorted(len(each.answer) for each in exchanges)[len(exchanges) // 2]),
        commonest_share=commonest,
        probe_agreement=None if agreement is None else agreement.share,
        self_consistency=equal.share,
        consistency_pairs=equal.pairs,
        near_consistency=near.share,
        ordinary_fields=ordinary,
        reasons=(),
    )
    return _explained(found, _copied(exchanges))


def _probed(exchanges: Sequence[Exchange], answers: Sequence[str], groups: Sequence[int]) -> Agreement | None:
    """The probe on every question once: copies teach nothing, and would be asked what they were taught."""
    first = {each.question: place for place, each in reversed(list(enumerate(exchanges)))}
    places = sorted(first.values())
    return probe_agreement(
        [exchanges[place].text for place in places],
        [answers[place] for place in places],
        [groups[place] for place in places],
    )


def _measured(
    agreement: Agreement | None, commonest: float, equal: _Consistency, *, questions: int | None
) -> tuple[float, float | None, float | None]:
    """The score with its interval; agreement is in proportion to what the rented model agrees with itself."""
    if agreement is None:
        return commonest, None, None
    # A probe that does no better than a constant has learnt nothing: chance puts it a little above as often as below.
    _, beyond_chance = _wilson(commonest, agreement.asked)
    has_learnt = agreement.share > beyond_chance
    measured = agreement.share if has_learnt else commonest
    expected = agreement.expected(questions or agreement.asked) if has_learnt else commonest
    is_known = equal.share is not None and equal.pairs >= _FEWEST_PAIRS
    ceiling = max(measured, equal.share or 0.0) if is_known else 1.0
    low, high = _wilson(measured, agreement.asked)
    gained = expected - measured
    # A curve may flatten: half of what it promises is not counted in the lower end.
    ends = (low + gained / 2, high + gained)
    return min(1.0, expected / ceiling), min(1.0, ends[0] / ceiling), min(1.0, ends[1] / ceiling)


def _wilson(share: float, calls: int) -> tuple[float, float]:
    middle = (share + _Z**2 / (2 * calls)) / (1 + _Z**2 / calls)
    width = _Z / (1 + _Z**2 / calls) * math.sqrt(share * (1 - share) / calls + _Z**2 / (4 * calls**2))
    return max(0.0, min(share, middle - width)), min(1.0, max(share, middle + width))


def _shape(counts: Counter[str], objects: Sequence[dict[str, str] | None]) -> Shape:
    total = counts.total()
    once = sum(number == 1 for number in counts.values())
    short = sum(number for text, number in counts.items() if len(text) <= _SHORT)
    if 1 - once / total >= _CLOSED and short >= _CLOSED * total:
        return "closed"
    if sum(each is not None for each in objects) >= _OBJECTS * total:
        return "fields"
    return "text"


def _entropy(counts: Counter[str]) -> float:
    total = counts.total()
    return max(0.0, -sum(number / total * math.log2(number / total) for number in counts.values()))


@dataclass(frozen=True, slots=True)
class _Consistency:
    share: float | None
    """Of the pairs, with equal answers; None: there are no pairs."""
    pairs: int


def _consistencies(
    exchanges: Sequence[Exchange], answers: Sequence[str], groups: Sequence[int]
) -> tuple[_Consistency, _Consistency]:
    """Of equal and of nearly equal questions.

    Nearly equal ones may differ in the very word that matters, so only equal ones say how sure the model is.
    """
    texts = [normalise(each.text) for each in exchanges]
    asked = [(each.question, text) for each, text in zip(exchanges, texts, strict=True)]
    equal = _pairs_within(asked)
    near = {pair for pair in _pairs_within(groups) if texts[pair[0]] != texts[pair[1]]}
    return _agreeing(equal, answers), _agreeing(near, answers)


def _pairs_within(keys: Sequence[object]) -> set[tuple[int, int]]:
    """Some pairs of places with equal keys: each with the few that follow it."""
    members: defaultdict[object, list[int]] = defaultdict(list)
    pairs = set()
    for place, key in enumerate(keys):
        pairs |= {(other, place) for other in members[key][-_REACH:]}
        members[key].append(place)
    return pairs


def _agreeing(pairs: set[tuple[int, int]], answers: Sequence[str]) -> _Consistency:
    if not pairs:
        return _Consistency(None, 0)
    return _Consistency(sum(answers[one] == answers[other] for one, other in pairs) / len(pairs), len(pairs))


def _fields(answer: str) -> dict[str, str] | None:
    """Values of an object or a list of objects by their path, as text; None: the answer is neither."""
    start = min((place for place in (answer.find("{"), answer.find("[")) if place >= 0), default=-1)
    if start < 0 or not answer.rstrip("` \n").endswith(("}", "]")):
        return None
    try:
        value = json.loads(answer[start:].rstrip("` \n"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict | list):
        return None
    return dict(_leaves(value, ""))


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:  # Any: JSON
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{place}]")
    elif value is not None:
        yield path, normalise(str(value))


def _ordinary(exchanges: Sequence[Exchange], objects: Sequence[dict[str, str] | None]) -> float:
    """Share of the values that stand in the input, or that their field has in other answers too."""
    seen: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for fields in objects:
        for path, value in (fields or {}).items():
            seen[_kind_of(path)][value] += 1
    total = found = 0
    for each, fields in zip(exchanges, objects, strict=True):
        asked = normalise(each.text)
        for path, value in (fields or {}).items():
            total += 1
            found += value in asked or seen[_kind_of(path)][value] > 1
    read = sum(fields is not None for fields in objects) / len(objects)
    return found / total * read if total else read


def _kind_of(path: str) -> str:
    """A path without the places of lists."""
    return "".join("[]" if part.endswith("]") else part for part in path.replace("[", "\0[").split("\0"))


def _copied(exchanges: Sequence[Exchange]) -> float:
    """Mean share of an answer's words that stand in what was asked."""
    shares = []
    for each in exchanges:
        words = normalise(each.answer).split()
        known = set(normalise(each.text).split())
        shares.append(sum(word in known for word in words) / len(words) if words else 0.0)
    return sum(shares) / len(shares)


def _explained(found: Replaceability, copied: float) -> Replaceability:
    """The same with its reasons in words."""
    said: list[str] = []
    if found.shape == "closed":
        said.append(
            f"{found.distinct_answers} different answers to {found.sampled:,} sampled calls, "
            f"{found.label_entropy_bits:.1f} bits of entropy; the commonest has {found.commonest_share:.0%}."
        )
        if found.probe_agreement is not None:
            said.append(
                f"A linear model over words, trained on two thirds of the sample, gives the rented model's answer to "
                f"{found.probe_agreement:.0%} of the questions that it has not seen; {found.score:.0%} is expected "
                "of one that learns from the whole log."
            )
    elif found.shape == "fields":
        said.append(
            f"Answers are objects; {found.ordinary_fields or 0:.0%} of their values are copied from the input or come "
            "back in other answers (a rule, not a measured agreement)."
        )
    else:
        said.append(
            f"Answers are free text of {found.answer_characters:,.0f} characters, and {copied:.0%} of their words "
            "stand in the input: only an evaluation can say whether an own model writes them as well."
        )
    if found.self_consistency is not None:
        said.append(
            f"Asked the same again, the rented model agrees with itself in {found.self_consistency:.0%} "
            f"of {found.consistency_pairs:,} pairs."
        )
    return replace(found, reasons=tuple(said))
