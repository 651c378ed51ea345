"""What a dataset says about itself: how it was made, what it holds, what was left out and why."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, get_args

from freehold import __version__
from freehold.core.identity import content_hash
from freehold.core.task import Split

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from freehold.core.dataset import Example
    from freehold.core.task import Task
    from freehold.datasets.policy import Policy
    from freehold.datasets.rows import Row
    from freehold.datasets.sides import SplitBy

SCHEMA = "freehold.dataset/1"
SPLITS: tuple[Split, ...] = get_args(Split)
_LIBRARIES = ("phonenumbers", "python-stdnum", "rensa")
"""Their versions decide what is masked and what counts as a near-duplicate."""

_SHOWN = 10
"""Labels that a warning names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A finished decision about every row of a task, not yet written."""

    task: Task
    policy: Policy
    rows: Sequence[Row]
    examples: Sequence[Example]
    excluded: Mapping[str, str]
    """Call id -> reason."""
    group_of: Mapping[str, str]
    """Fingerprint of a text -> its group of near-duplicates."""
    split_by: SplitBy
    words_without_call: int
    """Calls that humans spoke about and that are not in the ledger."""


def files_of(build: Build) -> dict[str, str]:
    """Name -> content of the JSONL files of a dataset."""
    files = {
        f"{split}.jsonl": _lines(example.as_dict() for example in build.examples if example.split == split)
        for split in SPLITS
    }
    files["excluded.jsonl"] = _lines({"id": call, "reason": reason} for call, reason in build.excluded.items())
    return files


def manifest_of(build: Build, files: Mapping[str, str]) -> dict[str, Any]:  # Any: JSON
    """The manifest; `sha256` is the content hash of all the rest but `id`, which follows from it."""
    manifest = {
        "schema": SCHEMA,
        "task": _task_as_dict(build.task),
        "policy": build.policy.as_dict(),
        "split_by": build.split_by,
        "test_from": _test_from(build.examples),
        "rows": {split: sum(example.split == split for example in build.examples) for split in SPLITS},
        "excluded": dict(sorted(Counter(build.excluded.values()).items())),
        "provenance": _count_by_split(build.examples, "provenance"),
        "classes": _count_by_split(build.examples, "target") if build.task.kind == "classification" else {},
        "pii": _pii(build.rows),
        "near_duplicates": _near_duplicates(build),
        "contradictions": _contradictions(build),
        "warnings": _warnings(build),
        "words_without_call": build.words_without_call,
        "files": {name: hashlib.sha256(content.encode()).hexdigest() for name, content in files.items()},
        "versions": {"freehold": __version__, **{library: version(library) for library in _LIBRARIES}},
        "source_rows": {row.id: _row_hash(row) for row in build.rows},
    }
    sha256 = content_hash(manifest)
    return {"id": f"{build.task.name}-{sha256[:12]}", "sha256": sha256, **manifest}


def _lines(records: Any) -> str:  # Any: an iterable of what JSON can write
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def _task_as_dict(task: Task) -> dict[str, Any]:
    return {
        "name": task.name,
        "kind": task.kind,
        "labels": list(task.labels),
        "json_schema": None if task.json_schema is None else dict(task.json_schema),
        "own_prompt": task.own_prompt,
    }


def _test_from(examples: Sequence[Example]) -> str | None:
    times = [each.started_at for each in examples if each.split == "test" and each.started_at is not None]
    return min(times).isoformat() if times else None


def _count_by_split(examples: Sequence[Example], attribute: str) -> dict[str, dict[str, int]]:
    return {
        split: dict(sorted(Counter(getattr(each, attribute) for each in examples if each.split == split).items()))
        for split in SPLITS
    }


def _pii(rows: Sequence[Row]) -> dict[str, int]:
    """Kind -> values masked, counted once per row, over all rows."""
    total: Counter[str] = Counter()
    for row in rows:
        total.update(row.pii)
    return dict(sorted(total.items()))


def _near_duplicates(build: Build) -> dict[str, int]:
    """Groups of two or more different texts, the texts in them, and the texts of the largest."""
    sizes = [size for size in Counter(build.group_of.values()).values() if size > 1]
    return {"groups": len(sizes), "texts": sum(sizes), "largest": max(sizes, default=0)}


def _contradictions(build: Build) -> list[list[str]]:
    """Ids of the calls that somebody has to adjudicate, those of one input together."""
    cases: defaultdict[str, list[str]] = defaultdict(list)
    for row in build.rows:
        if row.reason == "contradictory":
            cases[row.fingerprint].append(row.id)
    return list(cases.values())


def _warnings(build: Build) -> list[str]:
    """What a reader of a judgement on this dataset should know, in sentences."""
    if build.task.kind != "classification":
        return []
    tested, trained = ({each.target for each in build.examples if each.split == split} for split in ("test", "train"))
    unseen = sorted(tested - trained)
    if not unseen:
        return []
    rows = sum(each.split == "test" and each.target in unseen for each in build.examples)
    shown = ", ".join(map(repr, unseen[:_SHOWN])) + (", ..." if len(unseen) > _SHOWN else "")
    return [
        f"{len(unseen)} of {len(tested)} labels of the test set stand in no training row ({shown}; test rows: {rows}): "
        "an own model can hardly learn them, and it knows of them from the test set alone."
    ]


def _row_hash(row: Row) -> str:
    """Hash of the masked row: the input, the answer and who gave it."""
    return content_hash([[turn.as_dict() for turn in row.turns], row.target, row.provenance, row.rented_output])
