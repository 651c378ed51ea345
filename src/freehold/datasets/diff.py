"""What changed from one version of a task's dataset to another."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from freehold.core.errors import InputError
from freehold.datasets.hygiene import SPLITS
from freehold.datasets.read import read_manifest, stream_lines

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.core.dataset import Dataset

SHOWN = 100
"""Ids that are told of each kind of change; the counts are of all."""


def compare(old: Dataset, new: Dataset) -> dict[str, Any]:  # Any: JSON
    """Rows that came, went, moved or were answered anew, and the settings that differ.

    Raises:
        InputError: they are of two tasks, or one of them was changed.
    """
    if old.task.name != new.task.name:
        raise InputError(
            f"{old.id} is of task {old.task.name!r} and {new.id} of {new.task.name!r}: only versions of one task "
            "can be compared. freehold dataset list shows them."
        )
    before, after = _rows(old), _rows(new)
    first, second = read_manifest(old.folder), read_manifest(new.folder)
    common = before.keys() & after.keys()
    moved = sorted(one for one in common if before[one][0] != after[one][0])
    changed = sorted(one for one in common if before[one][1] != after[one][1])
    left = sorted(before.keys() - after.keys())
    why = {line["id"]: line["reason"] for line in stream_lines(new, "excluded.jsonl")}
    return {
        "schema": "freehold.datasetdiff/1",
        "task": new.task.name,
        "old": old.id,
        "new": new.id,
        "rows": {split: {"old": old.rows[split], "new": new.rows[split]} for split in SPLITS},
        "added": _told(sorted(after.keys() - before.keys())),
        "removed": _told(left) | {"reasons": dict(sorted(Counter(why.get(one, "gone") for one in left).items()))},
        "answer_changed": _told(changed),
        "moved": _told(moved) | {"from_to": _moves(moved, before, after)},
        "settings": _settings(first, second),
        "classes": _classes(first, second),
        "provenance": _differences(_total(first, "provenance"), _total(second, "provenance")),
    }


def _rows(dataset: Dataset) -> dict[str, tuple[str, int]]:
    """Id -> side, and a hash of the answer."""
    return {
        line["id"]: (split, hash(line["target"]))
        for split in SPLITS
        for line in stream_lines(dataset, f"{split}.jsonl")
    }


def _told(ids: list[str]) -> dict[str, Any]:
    return {"count": len(ids), "ids": ids[:SHOWN]}


def _moves(
    moved: list[str], before: Mapping[str, tuple[str, int]], after: Mapping[str, tuple[str, int]]
) -> dict[str, int]:
    return dict(sorted(Counter(f"{before[one][0]} to {after[one][0]}" for one in moved).items()))


def _settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Settings of the build, and versions of what built it, that differ."""
    pairs = [
        *((f"policy.{name}", old["policy"].get(name), new["policy"].get(name)) for name in new["policy"]),
        *((f"task.{name}", old["task"].get(name), new["task"].get(name)) for name in new["task"]),
        ("split_by", old["split_by"], new["split_by"]),
        *((f"versions.{name}", old["versions"].get(name), new["versions"].get(name)) for name in new["versions"]),
    ]
    return [{"name": name, "old": one, "new": other} for name, one, other in pairs if one != other]


def _classes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    return _differences(_total(old, "classes"), _total(new, "classes"))


def _total(manifest: Mapping[str, Any], name: str) -> Counter[str]:
    total: Counter[str] = Counter()
    for of_side in manifest[name].values():
        total.update(of_side)
    return total


def _differences(old: Counter[str], new: Counter[str]) -> dict[str, dict[str, int]]:
    """What has another count: name -> `old` and `new` rows."""
    return {name: {"old": old[name], "new": new[name]} for name in sorted(old | new) if old[name] != new[name]}
