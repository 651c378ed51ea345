"""What is wrong with a dataset's rows, found and shown: leaks, labels in doubt, classes and lengths out of line.

Nothing is taken out here: that is decided before, by rules that are written down (docs/decisions/0004-splits.md).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from statistics import quantiles
from typing import TYPE_CHECKING, Any, get_args

from freehold.core.task import Split
from freehold.datasets.label_noise import Checked, Doubt, check_labels
from freehold.datasets.rows import joined_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from freehold.core.task import Task
    from freehold.datasets.rows import Row
    from freehold.datasets.spill import Spill

    Kept = Sequence[tuple[Row, Split]]

SPLITS: tuple[Split, ...] = get_args(Split)
FEW_ROWS = 5
"""Of fewer training rows a class is hardly learnt."""
_FENCE = 3.0
"""Interquartile ranges beyond the quartiles, on a logarithmic scale, from which on a length is out of line."""
_LEAST_RANGE = 0.25
"""Interquartile range (natural logarithm) at the least: texts of nearly one length make no outliers of the others."""
_QUARTILES_FROM = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Hygiene:
    """What was found, in numbers and row by row."""

    duplicates_grouped: int
    """Rows, left out ones included, that share their group with another row."""
    leakage: Mapping[str, int]
    label_noise: Mapping[str, float | None] | None
    """None: the task has no labels."""
    balance: Mapping[str, Any] | None  # Any: numbers and a label
    lengths: Mapping[str, Mapping[str, Mapping[str, int]]]
    findings: Sequence[Mapping[str, Any]]  # Any: JSON
    """Rows to look at: `id`, `finding`, and what goes with it."""


def examine(
    *,
    task: Task,
    rows: Sequence[Row],
    kept: Kept,
    excluded: Mapping[str, str],
    group_of: Mapping[str, str],
    template_of: Callable[[Row], bytes],
    spill: Spill,
) -> Hygiene:
    """Look through the rows of a finished split.

    Args:
        task: Of which.
        rows: All of them.
        kept: Those that stay, with their sides.
        excluded: Id -> reason, of the others.
        group_of: Fingerprint -> group of near-duplicates.
        template_of: Gives the hash of a row's text without its numbers.
        spill: Has the texts.
    """
    is_labelled = task.kind == "classification"
    in_group = Counter(group_of[row.fingerprint] for row in rows)
    near = list(_near_conflicts(kept, group_of)) if is_labelled else []
    checked, doubts = _doubts(kept, group_of, spill) if is_labelled else (None, [])
    outliers = list(_length_outliers(kept))
    conflicts = [{"id": row.id, "finding": "label-conflict"} for row in rows if row.reason == "contradictory"]
    return Hygiene(
        duplicates_grouped=sum(count for count in in_group.values() if count > 1),
        leakage=_leakage(kept, excluded, group_of, template_of),
        label_noise=None if checked is None else _noise(checked, doubts, near),
        balance=_balance(kept) if is_labelled else None,
        lengths=_lengths(kept),
        findings=[*conflicts, *near, *doubts, *outliers],
    )


def _leakage(
    kept: Kept, excluded: Mapping[str, str], group_of: Mapping[str, str], template_of: Callable[[Row], bytes]
) -> dict[str, int]:
    """How many rows left because they were near to held-out ones, and what is left of nearness.

    `same_but_for_numbers` is no leak by our rules (numbers are content), but whoever reads a result should know it.
    """
    sides: defaultdict[str, set[Split]] = defaultdict(set)
    trained: set[bytes] = set()
    for row, split in kept:
        sides[group_of[row.fingerprint]].add(split)
        if split == "train":
            trained.add(template_of(row))
    return {
        "left_out": sum(reason == "leak" for reason in excluded.values()),
        "groups_on_two_sides": sum(len(each) > 1 for each in sides.values()),
        "same_but_for_numbers": sum(split == "test" and template_of(row) in trained for row, split in kept),
    }


def _near_conflicts(kept: Kept, group_of: Mapping[str, str]) -> Iterable[dict[str, Any]]:
    """Rows of one group of near-duplicates with different labels, in the order of the groups' first rows."""
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row, _ in kept:
        groups[group_of[row.fingerprint]].append(row)
    for group, members in groups.items():
        if len({row.answer for row in members}) > 1:
            yield from (
                {"id": row.id, "finding": "near-conflict", "group": group, "given": row.answer} for row in members
            )


def _doubts(kept: Kept, group_of: Mapping[str, str], spill: Spill) -> tuple[Checked, list[dict[str, Any]]]:
    """What a probe says of the humans' labels, and those that it doubts, the surest first."""
    labelled = [(row, split) for row, split in kept if row.is_human]

    def text_of(place: int) -> str:
        row = labelled[place][0]
        assert row.place is not None
        return joined_turns(spill.get(row.place).messages)

    checked = check_labels(
        [row.answer for row, _ in labelled], [group_of[row.fingerprint] for row, _ in labelled], text_of
    )
    return checked, [_doubt(*labelled[each.place], each) for each in checked.doubts or ()]


def _doubt(row: Row, split: Split, doubt: Doubt) -> dict[str, Any]:
    return {
        "id": row.id,
        "finding": "label-doubt",
        "split": split,
        "given": row.answer,
        "likely": doubt.likely,
        "confidence": doubt.confidence,
    }


def _noise(
    checked: Checked, doubts: Sequence[Mapping[str, Any]], near: Sequence[Mapping[str, Any]]
) -> dict[str, float | None]:
    is_able = checked.doubts is not None
    return {
        "checked": checked.rows,
        "agreement": checked.agreement,
        "doubted": len(doubts) if is_able else None,
        "doubted_in_test": sum(each["split"] == "test" for each in doubts) if is_able else None,
        "near_conflicts": len({each["group"] for each in near}),
    }


def _balance(kept: Kept) -> dict[str, Any]:
    """How evenly the training rows are spread over their classes."""
    classes = Counter(row.answer for row, split in kept if split == "train")
    (largest, most), total = classes.most_common(1)[0], classes.total()
    shares = [count / total for count in classes.values()]
    evenness = -sum(share * math.log(share) for share in shares) / math.log(len(shares)) if len(shares) > 1 else 0.0
    return {
        "classes": len(classes),
        "largest": largest,
        "largest_share": round(most / total, 4),
        "smallest_rows": min(classes.values()),
        "evenness": round(evenness, 4),
        "with_few_rows": sum(count < FEW_ROWS for count in classes.values()),
    }


def _lengths(kept: Kept) -> dict[str, dict[str, dict[str, int]]]:
    """Side -> `input` and `answer` -> characters: the median, the 95th percentile, the longest."""
    return {
        split: {
            "input": _summary([row.characters for row, side in kept if side == split]),
            "answer": _summary([row.answer_characters for row, side in kept if side == split]),
        }
        for split in SPLITS
    }


def _summary(lengths: list[int]) -> dict[str, int]:
    ordered = sorted(lengths)
    if not ordered:
        return {}
    last = len(ordered) - 1
    return {"median": ordered[last // 2], "p95": ordered[round(0.95 * last)], "longest": ordered[-1]}


def _length_outliers(kept: Kept) -> Iterable[dict[str, Any]]:
    """Rows whose input or answer is far longer or shorter than the others'."""
    for what in ("input", "answer"):
        characters = [row.characters if what == "input" else row.answer_characters for row, _ in kept]
        lengths = [math.log(1 + each) for each in characters]
        if len(lengths) < _QUARTILES_FROM:
            continue
        low, _, high = quantiles(lengths, n=4)
        reach = _FENCE * max(high - low, _LEAST_RANGE)
        for (row, split), length, count in zip(kept, lengths, characters, strict=True):
            if not low - reach <= length <= high + reach:
                yield {
                    "id": row.id,
                    "finding": "length-outlier",
                    "split": split,
                    "of": what,
                    "characters": count,
                }
