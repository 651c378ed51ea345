"""Finds the templates of which prompts were made: what stays, where names, numbers, dates and documents change.

Two prompts are of one template if the same runs of words stand in both. Runs are counted, not guessed: words that come
back in many prompts belong to a template, words that do not are what was put in.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_SHINGLE = 4
"""Words of a run."""
_FIRST_WORDS, _LAST_WORDS = 700, 200
"""Of a long prompt only these are looked at."""
_LEAST_CORE = 8
"""Runs that a part of a group must share beyond the group's own: about five words and more that differ are another
template; fewer are a value."""
_LEAST_VALUE, _VALUE_SHARE, _VALUES_DEEPEST = 3, 0.2, 2
"""Of a value that has so large a share it is not said whether it is a template: what was asked will tell."""
_LEAST_PROMPTS = 4
_LEAST_SHARE, _LEAST_ROOT_SHARE = 0.03, 0.005
_CORE_SHARE = 0.9
_FREQUENT_SHARE = 0.02
_LEAST_REPEATS = 5
_DEEPEST = 6
_LONGEST_OPENING, _SHORTEST_OPENING, _LEAST_OPENINGS, _OPENING_SHARE = 80, 6, 8, 0.01
_BRANCH_SHARE, _BRANCH_WORDS, _BRANCHES_COVER = 0.05, 3, 0.8
"""Texts that begin alike and then go on in a few ways: so many of them have each, it goes on for so many words, and
so many of the texts go one of the ways."""
_ANCHOR_WORDS = 3
"""Fewer words in a row say too little to know a template by."""
_GENERIC_WORDS = 12
_GENERIC = re.compile(
    r"(?:you are|you're|act as|be|du bist|sie sind|tu es|vous êtes|eres|sei|você é)\b|helpful", re.IGNORECASE
)
_TASK_VERB = re.compile(
    r"\b(?:classif|extract|translat|summar|answer with|reply with|return|label|identif|detect|find|list|solve|write|"
    r"convert|rewrite|decide|determine|name the|which|json|yes or no|klassifi|übersetz|extrahier|tradu|resum|fass)",
    re.IGNORECASE,
)

Words = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """What many prompts share."""

    runs: frozenset[Words]
    """Runs of words that stand in (nearly) every one of its prompts."""
    words: int
    """Of its shortest prompt."""
    is_exact: bool
    """All its prompts are one text, numbers aside."""
    text: str
    """One of its prompts, normalised."""
    family: int
    """Templates of one family differ by a value, such as a language, that many prompts have."""

    def rest_of(self, prompt: str) -> str:
        """What was put into the template."""
        words = prompt.split()
        plain = masked(prompt.casefold().split())
        mine = [False] * len(words)
        if len(plain) != len(words):
            return prompt
        for start in range(len(plain) - _SHINGLE + 1):
            if plain[start : start + _SHINGLE] in self.runs:
                mine[start : start + _SHINGLE] = [True] * _SHINGLE
        return " ".join(word for word, is_mine in zip(words, mine, strict=True) if not is_mine)

    def likeness(self, other: Template) -> float:
        """Share of the smaller one's runs that the other one has, in [0, 1]."""
        least = min(len(self.runs), len(other.runs))
        return len(self.runs & other.runs) / least if least else 0.0


def plain_words(text: str) -> list[str]:
    """The words of a prompt in lower case; of a long one its beginning and its end."""
    words = text[:60_000].casefold().split()
    return words if len(words) <= _FIRST_WORDS + _LAST_WORDS else words[:_FIRST_WORDS] + words[-_LAST_WORDS:]


def masked(words: Iterable[str]) -> Words:
    """Words with digits are values wherever they stand."""
    return tuple("#" if any(map(str.isdigit, word)) else word for word in words)


def runs_of(words: Sequence[str]) -> frozenset[Words]:
    """All runs of a prompt; a short one is a run by itself."""
    if len(words) <= _SHINGLE:
        return frozenset({tuple(words)}) if words else frozenset()
    return frozenset(tuple(words[start : start + _SHINGLE]) for start in range(len(words) - _SHINGLE + 1))


def is_generic(text: str) -> bool:
    """The prompt says what the model is, such as 'You are a helpful assistant.', and nothing of what it has to do."""
    words = text.split()
    if not words:
        return True
    return len(words) <= _GENERIC_WORDS and bool(_GENERIC.search(text)) and not _TASK_VERB.search(text)


def find_templates(prompts: Sequence[str]) -> tuple[list[int | None], list[Template]]:
    """For each prompt the number of its template, None if it is like no other; and the templates.

    Prompts that come word for word (but for numbers) again and again are templates by themselves. The others are
    grouped by the runs that they share. The result depends on the prompts alone, not on their order.
    """
    words = [masked(plain_words(prompt)) for prompt in prompts]
    counts = Counter(words)
    often = max(_LEAST_REPEATS, round(_FREQUENT_SHARE * len(prompts)))
    exact = sorted(text for text, count in counts.items() if count >= often and text)
    rare = sorted(text for text, count in counts.items() if count < often and text)
    found: dict[Words, int] = {}
    templates: list[Template] = []
    for text in exact:
        found[text] = len(templates)
        templates.append(Template(runs_of(text), len(text), is_exact=True, text=" ".join(text), family=len(templates)))
    _Miner(rare, found, templates).mine()
    return [found.get(text) for text in words], templates


class _Miner:
    """Groups prompts that are not equal by the runs that they share."""

    def __init__(self, prompts: list[Words], found: dict[Words, int], templates: list[Template]) -> None:
        self._prompts = prompts
        self._runs = [runs_of(prompt) for prompt in prompts]
        self._found = found
        self._templates = templates

    def mine(self) -> None:
        for number, template in enumerate(list(self._templates)):  # a rare variant of a frequent text
            for place, prompt in enumerate(self._prompts):
                if prompt not in self._found and template.runs and self._is_variant(place, template):
                    self._found[prompt] = number
        rest = [place for place, prompt in enumerate(self._prompts) if prompt not in self._found]
        self._split(rest, frozenset(), 0)

    def _is_variant(self, place: int, template: Template) -> bool:
        """Most of both is the same."""
        shared = len(self._runs[place] & template.runs)
        return shared >= 0.9 * max(len(template.runs), len(self._runs[place]))

    def _split(self, members: list[int], core: frozenset[Words], depth: int) -> None:
        """Part a group whose prompts share `core` by further runs that many of them share."""
        least = max(_LEAST_PROMPTS, round((_LEAST_SHARE if core else _LEAST_ROOT_SHARE) * len(members)))
        left = set(members)
        if depth < _DEEPEST:
            for group, more in self._parts(members, core, least, _LEAST_CORE if core else 2):
                left.difference_update(group)
                self._split(group, core | more, depth + 1)
        if core and left:
            self._split_by_value(sorted(left), core, 0, len(self._templates))

    def _split_by_value(self, members: list[int], core: frozenset[Words], depth: int, family: int) -> None:
        """Part a group by values that many of its prompts have, such as a language."""
        left = set(members)
        if depth < _VALUES_DEEPEST and len(members) >= 2 * _LEAST_PROMPTS:
            least = max(_LEAST_PROMPTS, round(_VALUE_SHARE * len(members)))
            for group, more in self._parts(members, core, least, _LEAST_VALUE):
                if len(group) < _CORE_SHARE * len(members):
                    left.difference_update(group)
                    self._split_by_value(group, core | more, depth + 1, family)
        if left:
            self._add(sorted(left), core, family)

    def _parts(
        self, members: list[int], core: frozenset[Words], least: int, runs: int
    ) -> Iterator[tuple[list[int], frozenset[Words]]]:
        """Groups of at least so many prompts that share at least so many runs beyond the core, the largest first."""
        counts = Counter(run for place in members for run in self._runs[place] if run not in core)
        having: defaultdict[Words, list[int]] = defaultdict(list)
        for place in members:
            for run in self._runs[place]:
                if counts[run] >= least:
                    having[run].append(place)
        seen: set[Words] = set()
        left = set(members)
        for run, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            if count < least:
                break
            if run in seen:
                continue
            group = [place for place in having[run] if place in left]
            if len(group) < least:
                continue
            more = self._core(group) - core
            seen |= more
            if len(more) >= runs:
                left.difference_update(group)
                yield group, more

    def _core(self, group: list[int]) -> frozenset[Words]:
        counts = Counter(run for place in group for run in self._runs[place])
        return frozenset(run for run, count in counts.items() if count >= _CORE_SHARE * len(group))

    def _add(self, members: list[int], core: frozenset[Words], family: int) -> None:
        for place in members:
            self._found[self._prompts[place]] = len(self._templates)
        shortest = min(members, key=lambda place: (len(self._prompts[place]), self._prompts[place]))
        text = " ".join(self._prompts[shortest])
        self._templates.append(Template(core, len(self._prompts[shortest]), is_exact=False, text=text, family=family))


def find_openings(texts: Sequence[str]) -> tuple[list[int | None], list[Words]]:
    """For each text the number of the opening that many texts share, such as an instruction; and the openings."""
    words = [masked(text[:4_000].casefold().split()[:_LONGEST_OPENING]) for text in texts]
    groups: defaultdict[Words, list[int]] = defaultdict(list)
    for place, opening in enumerate(words):
        if len(opening) > _SHINGLE:
            groups[opening[:_SHINGLE]].append(place)
    found: list[int | None] = [None] * len(texts)
    openings: list[Words] = []
    least = max(_LEAST_OPENINGS, _OPENING_SHARE * len(texts))
    for start, members in sorted(groups.items()):
        if len(members) < least:
            continue
        for opening, of in _openings_within(words, members, start):
            if len(opening) < _SHORTEST_OPENING and not opening[-1].endswith(":"):
                continue
            for place in of:
                found[place] = len(openings)
            openings.append(opening)
    return found, openings


def _openings_within(words: Sequence[Words], members: list[int], start: Words) -> Iterator[tuple[Words, list[int]]]:
    """The opening of texts that begin alike; several, if they go on in a few ways, each for some words.

    One word that differs, such as a language, makes another instruction; a single word that happens to come next often
    does not.
    """
    common = _common_opening([words[place] for place in members], start)
    branches: defaultdict[str, list[int]] = defaultdict(list)
    for place in members:
        if words[place][: len(common)] == common and len(words[place]) > len(common):
            branches[words[place][len(common)]].append(place)
    least = max(_LEAST_OPENINGS, _BRANCH_SHARE * len(members))
    kept = []
    for word, of in sorted(branches.items()):
        if len(of) >= least:
            branch = _common_opening([words[place] for place in of], (*common, word))
            if len(branch) - len(common) >= _BRANCH_WORDS:
                kept.append((branch, of))
    if sum(len(of) for _, of in kept) < _BRANCHES_COVER * len(members):
        yield common, members
        return
    for branch, of in kept:
        yield from _openings_within(words, of, branch)


def _common_opening(openings: list[Words], common: Words) -> Words:
    """The words with which nearly all of them begin, which all begin with those that are given."""
    left = openings
    while True:
        length = len(common)
        nexts = Counter(opening[length] for opening in left if len(opening) > length)
        word, count = min(nexts.items(), key=lambda item: (-item[1], item[0]), default=("", 0))
        if count < _CORE_SHARE * len(openings):
            return common
        left = [opening for opening in left if len(opening) > length and opening[length] == word]
        common = (*common, word)


def anchors_of(prompts: Sequence[str], *, at_most: int = 12) -> tuple[str, ...]:
    """Pieces of text that stand in every one of these prompts, in order: by them new prompts are known.

    Words are in lower case with single spaces. Values (words with digits) and what was put in are not in them.
    """
    lists = [plain_words(prompt) for prompt in prompts]
    if not lists:
        return ()
    texts = [f" {' '.join(words)} " for words in lists]
    model = min(lists, key=lambda words: (len(words), words))
    pieces: list[str] = []
    start = 0
    while start < len(model):
        stop = _longest_common(model, start, texts)
        if stop - start >= _ANCHOR_WORDS or (stop - start == len(model) and stop):
            pieces.append(" ".join(model[start:stop]))
        start = max(stop, start + 1)
    longest = sorted(sorted(set(pieces), key=lambda piece: (-len(piece), piece))[:at_most], key=pieces.index)
    return tuple(longest)


def _longest_common(model: Sequence[str], start: int, texts: Sequence[str]) -> int:
    """Where the longest run that begins at `start` and stands in all texts ends."""
    stop = start
    while stop < len(model):
        word = model[stop]
        if any(map(str.isdigit, word)):
            break
        piece = f" {' '.join(model[start : stop + 1])} "
        if not all(piece in text for text in texts):
            break
        stop += 1
    return stop
