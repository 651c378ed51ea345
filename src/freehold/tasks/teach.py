"""Makes the rules by which new calls are known, out of calls whose tasks are known; keeps only those that hold.

A rule is kept if, on the sample, nearly all calls that fit it are of its task. Words are weighed on one half of the
sample and judged on the other.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from freehold.tasks.learned import (
    FIRST_ASKED,
    MOST_SYSTEM,
    LearnedRule,
    WordRules,
    first_words,
    normalised,
    texts_fitting,
)
from freehold.tasks.templates import anchors_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from freehold.tasks.evidence import Evidence

_PURE = 0.98
_LEAST_ROWS = 3
_LEAST_ANCHORS = 20
"""Characters that the pieces of a rule have together."""
_MOST_PROMPTS = 60
_LEAST_TRAINING = 20
_MOST_WEIGHTS = 2_000
_USEFUL = 0.3
"""Share of a task's calls that words must find, or they are not worth their time."""
_MARGINS = (0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.4)


def teach(
    sample: Sequence[Evidence], tasks: Sequence[str | None],
    templates: Sequence[int | None], openings: Sequence[int | None],
) -> list[LearnedRule]:  # fmt: skip
    """The rules for the tasks of a sample.

    Args:
        sample: Calls.
        tasks: Their tasks; None: not known.
        templates: Numbers of the templates of their system messages.
        openings: Numbers of the openings of what they ask.
    """
    rules: list[LearnedRule] = []
    sources = (
        ("system", templates, [normalised(one.system)[:MOST_SYSTEM] for one in sample]),
        ("asked", openings, [normalised(one.asked)[:FIRST_ASKED] for one in sample]),
    )
    for kind, numbers, texts in sources:
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for place, number in enumerate(numbers):
            if number is not None:
                groups[number].append(place)
        for _, members in sorted(groups.items()):
            rule = _piece_rule("system" if kind == "system" else "asked", members, texts, tasks)
            if rule is not None:
                rules.append(rule)
    kept = {rule.id: rule for rule in rules}
    return [*kept.values(), *_word_rules(sample, tasks)]


def _piece_rule(kind: str, members: list[int], texts: Sequence[str], tasks: Sequence[str | None]) -> LearnedRule | None:
    task, count = Counter(tasks[place] for place in members).most_common(1)[0]
    if task is None or count < _LEAST_ROWS or count < _PURE * len(members):
        return None
    mine = [texts[place] for place in members if tasks[place] == task]
    step = max(1, len(mine) // _MOST_PROMPTS)
    varied = sorted(set(mine))
    anchors = anchors_of(varied[:: max(1, len(varied) // _MOST_PROMPTS)] if len(varied) > 1 else mine[::step][:1])
    if sum(map(len, anchors)) < _LEAST_ANCHORS:
        return None
    longest = max(map(len, mine)) + 80 if kind == "system" and len(varied) == 1 else None
    rule = LearnedRule(task, "system" if kind == "system" else "asked", {"anchors": list(anchors), "longest": longest})
    fits = [found for found, does_fit in zip(tasks, texts_fitting(rule, texts), strict=True) if does_fit]
    right = sum(found == task for found in fits)
    return rule if right >= _LEAST_ROWS and right >= _PURE * len(fits) else None


def _word_rules(sample: Sequence[Evidence], tasks: Sequence[str | None]) -> list[LearnedRule]:
    """Weights of words for the tasks that words tell apart."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, task in enumerate(tasks):
        if task is not None and sample[place].asked:
            places[task].append(place)
    places = defaultdict(list, {task: of for task, of in sorted(places.items()) if len(of) >= _LEAST_TRAINING})
    if len(places) < 2:
        return []
    words = {place: sorted(set(first_words(sample[place].asked))) for of in places.values() for place in of}
    margins = _margins(places, words, sample)
    rules = _weighed(dict(places), words, {task: margins.get(task, math.inf) for task in places})
    return (
        [rule for rule in rules if rule.task in margins]
        if len(margins) == len(places)
        else [
            LearnedRule(rule.task, "words", {**rule.body, "margin": min(float(rule.body["margin"]), 1e9)})
            for rule in rules
        ]
    )  # those that words cannot find still compete, so that their calls are not given to others


def _margins(places: dict[str, list[int]], words: dict[int, list[str]], sample: Sequence[Evidence]) -> dict[str, float]:
    """How far ahead each task must be for its calls to be told from all others' on the half not learned from.

    Tasks that words do not find, or find wrongly, have none.
    """
    weighed = _weighed({task: of[::2] for task, of in places.items()}, words, dict.fromkeys(places, 0.0))
    judge = WordRules(weighed)
    claims: defaultdict[str, list[tuple[float, bool]]] = defaultdict(list)
    for task, of in places.items():
        for place in of[1::2]:
            best = judge.best_of(sample[place].asked[:FIRST_ASKED])
            if best is not None:
                claimed = weighed[best[0]].task
                claims[claimed].append((best[1], claimed == task))
    found = {}
    for task, of in places.items():
        for margin in _MARGINS:
            kept = [is_right for lead, is_right in claims[task] if lead >= margin]
            if kept and sum(kept) >= _PURE * len(kept):
                if sum(kept) >= _USEFUL * len(of[1::2]):
                    found[task] = margin
                break
    return found


def _weighed(places: dict[str, list[int]], words: dict[int, list[str]], margins: dict[str, float]) -> list[LearnedRule]:
    """Naive Bayes over the presence of words, as rules."""
    rules = []
    for task, of in places.items():
        counts = Counter(word for place in of for word in words[place])
        total = len(of) + 2.0
        common = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_MOST_WEIGHTS]
        weights = {word: round(math.log((count + 0.5) / total), 3) for word, count in common if count > 1}
        floor = round(math.log(0.5 / total), 3)
        rules.append(LearnedRule(task, "words", {"weights": weights, "floor": floor, "margin": margins[task]}))
    return rules
