"""Which side each distinct text stands on: test, validation, train, or none.

The rules and what was rejected: docs/decisions/0004-splits.md.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from freehold.datasets.policy import Policy

SplitBy = Literal["declared", "time", "hash"]
_DATED_SHARE = 0.9
"""Share of the cases that must carry a time before time decides what is held out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A distinct masked text, its usable rows taken together."""

    fingerprint: str
    last_seen: str | None
    """Moment of its latest row, ISO 8601 in UTC; None when no row has one."""
    is_human: bool
    """A human's word stands behind at least one row. Only such texts are ever tested on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """The decision for a whole dataset."""

    split_by: SplitBy
    side: Mapping[str, str]
    """Fingerprint -> `train`, `validation`, `test`, or the reason why the text is left out."""


def decide_sides(
    texts: Sequence[Text],
    *,
    group_of: Mapping[str, str],
    declared: frozenset[str],
    known: Mapping[str, str],
    policy: Policy,
) -> Sides:
    """Put every text on a side so that no group of near-duplicates stands on two.

    Args:
        texts: The usable ones.
        group_of: Fingerprint -> group, of every text of the task, usable or not.
        declared: Fingerprints of an imported test set; where there is one, nothing else is tested on.
        known: Fingerprint -> side from earlier builds, which stays.
        policy: The shares to hold out.
    """
    humans = [text for text in texts if text.is_human]
    dated = [text.last_seen for text in humans if text.last_seen is not None]
    split_by: SplitBy = "declared" if declared else "time" if len(dated) >= _DATED_SHARE * len(humans) else "hash"
    declared_groups = {group_of[fingerprint] for fingerprint in declared}
    known_by_group: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for fingerprint in group_of.keys() & known.keys():
        known_by_group[group_of[fingerprint]][fingerprint] = known[fingerprint]
    side: dict[str, str] = {}
    fresh: dict[str, list[Text]] = {}
    for group, members in _by_group(texts, group_of).items():
        if group in declared_groups:
            side |= {text.fingerprint: "test" if text.fingerprint in declared else "leak" for text in members}
        elif group in known_by_group:
            side |= _join(members, known_by_group[group], split_by)
        else:
            fresh[group] = members
    quota = round(policy.test_share * len(humans))
    if split_by == "time":
        side |= _hold_out_latest(fresh, quota - _count(side, humans, "test"))
        side |= _drop_rented_since(fresh, sorted(dated, reverse=True)[:quota])
    elif split_by == "hash":
        side |= _take_by_hash(fresh, "test", quota - _count(side, humans, "test"))
    rest = [text for text in humans if side.get(text.fingerprint, "train") in ("train", "validation")]
    fresh = {
        group: members for group, members in fresh.items() if not all(text.fingerprint in side for text in members)
    }
    wanted = round(policy.validation_share * len(rest)) - _count(side, rest, "validation")
    side |= _take_by_hash(fresh, "validation", wanted)
    return Sides(split_by=split_by, side={text.fingerprint: side.get(text.fingerprint, "train") for text in texts})


def _by_group(texts: Sequence[Text], group_of: Mapping[str, str]) -> dict[str, list[Text]]:
    groups: defaultdict[str, list[Text]] = defaultdict(list)
    for text in texts:
        groups[group_of[text.fingerprint]].append(text)
    return groups


def _count(side: Mapping[str, str], texts: Sequence[Text], name: str) -> int:
    return sum(side.get(text.fingerprint) == name for text in texts)


def _join(members: Sequence[Text], known: Mapping[str, str], split_by: SplitBy) -> dict[str, str]:
    """Sides in a group that an earlier build has placed: the strictest one holds for all of it.

    Where groups have grown together, test outranks validation and validation outranks train: a text of a
    lower side leaves the dataset, it never changes sides.
    """
    if "test" not in known.values():
        name = "validation" if "validation" in known.values() else "train"
        fits = {text.fingerprint for text in members if name == "train" or text.is_human}
        return {
            text.fingerprint: name if text.fingerprint in fits and known.get(text.fingerprint, name) == name else "leak"
            for text in members
        }
    if split_by == "declared":
        return {text.fingerprint: "held-out" for text in members}
    tested_since = min((text.last_seen or "" for text in members if known.get(text.fingerprint) == "test"), default="")
    return {
        text.fingerprint: "test"
        if text.is_human
        and known.get(text.fingerprint, "test") == "test"
        and (text.fingerprint in known or split_by == "hash" or (text.last_seen or "") >= tested_since)
        else "leak"
        for text in members
    }


def _hold_out_latest(fresh: Mapping[str, Sequence[Text]], quota: int) -> dict[str, str]:
    """The latest texts are tested on; what is near to one of them and earlier leaves the dataset."""
    dated = sorted(
        (text.last_seen, text.fingerprint)
        for members in fresh.values()
        for text in members
        if text.is_human and text.last_seen is not None
    )
    late = {fingerprint for _, fingerprint in dated[len(dated) - max(0, min(quota, len(dated))) :]}
    return {
        text.fingerprint: "test" if text.fingerprint in late else "leak"
        for members in fresh.values()
        if any(text.fingerprint in late for text in members)
        for text in members
    }


def _drop_rented_since(fresh: Mapping[str, Sequence[Text]], latest: Sequence[str]) -> dict[str, str]:
    """Answers that nobody checked do not train when they are as late as the latest share that is held out."""
    return {
        text.fingerprint: "rented-output"
        for members in fresh.values()
        for text in members
        if latest and not text.is_human and (text.last_seen or "") >= latest[-1]
    }


def _take_by_hash(fresh: Mapping[str, Sequence[Text]], name: str, quota: int) -> dict[str, str]:
    """Whole groups, in the order of a hash that never changes, as long as they fit into the quota."""
    taken: dict[str, str] = {}
    for group in sorted(fresh, key=lambda group: hashlib.sha256(f"{name} {group}".encode()).digest()):
        humans = sum(text.is_human for text in fresh[group])
        if 0 < humans <= quota:
            quota -= humans
            taken |= {text.fingerprint: name if text.is_human else "leak" for text in fresh[group]}
    return taken
