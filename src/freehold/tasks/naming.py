"""Names for tasks that were found: words that a person knows them by."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING

from freehold.core.task import LONGEST_NAME, fault_of_name
from freehold.text.pii import mask_pii

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from freehold.core.task import WorkKind
    from freehold.tasks.answers import Shape
    from freehold.tasks.evidence import Evidence

_VERBS: dict[WorkKind, str] = {
    "classification": "classify", "screening": "screen", "extraction": "extract", "ner": "entities",
    "summarisation": "summarise", "chat": "chat", "code": "code", "other": "",
}  # fmt: skip
_MOST_NAMED_LABELS = 4
_MOST_NAMED_KEYS = 4
_WORDS = 3
_WORD = re.compile(r"[^\W\d_]{3,20}")
_UNSAFE = re.compile(r"[^\w.@+-]+")
_PLAIN = re.compile(r"[A-Za-z][\w -]{0,24}")
_LONGEST_DERIVED = 60
_BOOLEAN = frozenset({"yes", "no", "true", "false", "y", "n", "0", "1"})
_STOP = frozenset(
    re.findall(
        r"\w+",
        """the and you are for with that this from not your have has was were will can any all must its his her our they
        them than then when what which who how only one each into out about over such other may shall should would could
        does did been being there their answer return reply give write please text message user assistant following
        helpful exactly nothing else work today talking customer just get but why much many und der die das ein eine les
        des pour que los las una por para con del""",
    )
)
_DEEDS = re.compile(
    r"\b(translat|rewrit|solv|convert|generat|explain|review|plan|compar|correct|answer|draft|rank|route|plan)\w*",
    re.IGNORECASE,
)
_DEED_NAMES = {
    "translat": "translate",
    "rewrit": "rewrite",
    "solv": "solve",
    "generat": "generate",
    "compar": "compare",
}


def name_of(
    kind: WorkKind, members: Sequence[Evidence], shapes: Sequence[Shape], others: Sequence[Evidence],
    taken: Collection[str],
) -> str:  # fmt: skip
    """A name that is free: the kind of work, then labels, keys or the words that set these calls apart.

    Args:
        kind: Kind of work.
        members: Some calls of the task.
        shapes: Of their answers.
        others: Some calls of other tasks.
        taken: Names in use.
    """
    words = _labels(shapes) if kind in {"classification", "screening"} else _keys(kind, shapes)
    if not words:
        words = _telling_words(members, others)
    verb = _VERBS[kind] or (_deed(members) if kind == "other" else "")
    parts = [verb, *(word for word in words if not verb or word[:5] != verb[:5])] if verb else list(words)
    return free_name(safe_name("-".join(part for part in parts if part)) or "task", taken)


def free_name(name: str, taken: Collection[str]) -> str:
    """The name, with a number behind it if it is taken."""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found


def safe_name(text: str, longest: int = _LONGEST_DERIVED) -> str:
    """A text as the name of a task; "" if nothing of it can stand in one."""
    plain = unicodedata.normalize("NFKC", text.encode("utf-8", "replace").decode())
    name = _UNSAFE.sub("-", plain).strip("-.")
    while len(name.encode()) > min(longest, LONGEST_NAME):
        name = name[:-1]
    name = name.strip("-.")
    return name if name and fault_of_name(name) is None else ""


def _labels(shapes: Sequence[Shape]) -> list[str]:
    counts = Counter(shape.word for shape in shapes if shape.word)
    labels = sorted(word for word, count in counts.items() if count > 1)
    if not 1 < len(labels) <= _MOST_NAMED_LABELS or {label.casefold() for label in labels} <= _BOOLEAN:
        return []
    fit = [label for label in labels if _PLAIN.fullmatch(label) and mask_pii(label).text == label]
    return [label.casefold().replace(" ", "_") for label in fit] if fit == labels else []


def _keys(kind: WorkKind, shapes: Sequence[Shape]) -> list[str]:
    if kind != "extraction":
        return []
    order: Counter[str] = Counter(key for shape in shapes for key in shape.keys)
    keys = [
        key for key, count in sorted(order.items(), key=lambda item: (-item[1], item[0])) if 2 * count >= len(shapes)
    ]
    return sorted(key for key in keys[:_MOST_NAMED_KEYS] if _PLAIN.fullmatch(key))


def _telling_words(members: Sequence[Evidence], others: Sequence[Evidence]) -> list[str]:
    """Words that stand in many of these prompts and in few others; of the instruction where there is one."""
    has_system = sum(bool(one.system) for one in members) * 2 > len(members)
    mine, theirs = (_document_counts(group, has_system=has_system) for group in (members, others))
    least = max(2, len(members) // 25)

    def telling(word: str) -> float:
        share = mine[word] / max(1, len(members))
        return share * share / (share + theirs[word] / max(1, len(others)) + 0.01) * min(len(word), 8)

    words = [word for word, count in mine.items() if count >= min(least, len(members)) and word not in _STOP]
    words.sort(key=lambda word: (-telling(word), word))
    return [word for word in words[: 4 * _WORDS] if mask_pii(word).text == word][:_WORDS]


def _deed(members: Sequence[Evidence]) -> str:
    """What most instructions say is to be done, such as `translate`; "" if they do not."""
    counts: Counter[str] = Counter()
    for one in members:
        found = _DEEDS.search(one.system[:2_000] or one.asked[:200])
        if found is not None:
            counts[found[1].casefold()] += 1
    deed, count = min(counts.items(), key=lambda item: (-item[1], item[0]), default=("", 0))
    return _DEED_NAMES.get(deed, deed) if 2 * count > len(members) else ""


def _document_counts(group: Sequence[Evidence], *, has_system: bool) -> Counter[str]:
    counts: Counter[str] = Counter()
    for one in group:
        text = one.system[:2_000] if has_system else one.asked[:600]
        counts.update(set(_WORD.findall(text.casefold())))
    return counts
