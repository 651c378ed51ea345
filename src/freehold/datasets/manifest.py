"""What a dataset says about itself: how it was made, what it holds, what was left out and why."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from freehold import __version__
from freehold.core.chat import Message
from freehold.core.dataset import Example
from freehold.core.identity import content_hash
from freehold.datasets.hygiene import FEW_ROWS, SPLITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from freehold.core.task import Split, Task
    from freehold.datasets.hygiene import Hygiene
    from freehold.datasets.policy import Policy
    from freehold.datasets.rows import Row
    from freehold.datasets.sides import SplitBy
    from freehold.datasets.spill import Spill

SCHEMA = "freehold.dataset/1"
_LIBRARIES = ("phonenumbers", "python-stdnum", "rensa", "scikit-learn")
"""Their versions decide what is masked, what counts as a near-duplicate, and which labels are doubted."""

_SHOWN = 10
"""Labels that a warning names."""
_LARGEST_SHARE = 0.8
_MANY_DOUBTS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A finished decision about every row of a task, not yet written."""

    task: Task
    policy: Policy
    rows: Sequence[Row]
    """By (time, id)."""
    kept: Sequence[tuple[Row, Split]]
    """Those that stay, in the same order."""
    excluded: Mapping[str, str]
    """Call id -> reason, of the others."""
    group_of: Mapping[str, str]
    """Fingerprint of a text -> its group of near-duplicates."""
    split_by: SplitBy
    words_without_call: int
    """Calls that humans spoke about and that are not in the ledger."""
    hygiene: Hygiene
    spill: Spill
    """Has the rows' texts."""
    rejected: Sequence[Mapping[str, Any]] = ()  # Any: JSON
    """Rows of files that could not be used, the first of them: `file`, `line`, `reason`."""
    rejected_rows: int = 0


def example_lines(build: Build) -> Iterator[tuple[Split, dict[str, Any]]]:  # Any: a line of JSONL
    """The examples of all sides."""
    for row, split in build.kept:
        assert row.place is not None
        content = build.spill.get(row.place)
        example = Example(
            id=row.id,
            messages=(Message("system", build.task.own_prompt), *content.messages),
            target=content.target,
            split=split,
            provenance=row.provenance,
            group=build.group_of[row.fingerprint],
            rented_output=content.rented_output,
            rented_model=row.rented_model,
            own_output=content.own_output,
            weight=row.origin.weight if row.origin is not None else 1.0,
        )
        yield split, example.as_dict() | {"started_at": content.started_at}


def row_lines(build: Build) -> Iterator[dict[str, Any]]:  # Any: a line of JSONL
    """Every row that was looked at: where it came from, what it rests on, and what became of it."""
    split_of = {row.id: split for row, split in build.kept}
    for row in build.rows:
        origin = row.origin
        source: dict[str, Any] = {"kind": "ledger"}
        if origin is not None:
            source = {"kind": "file", "file": origin.file, "line": origin.line}
        yield {
            "id": row.id,
            "split": split_of.get(row.id),
            "reason": build.excluded.get(row.id),
            "source": source,
            "corrections": list(row.corrections),
            "provenance": row.provenance,
            "terms": row.terms,
            "weight": 1.0 if origin is None else origin.weight,
            "group": build.group_of[row.fingerprint],
            "sha256": row.sha256,
        }


def manifest_of(build: Build, files: Mapping[str, str]) -> dict[str, Any]:  # Any: JSON
    """The manifest; `sha256` is the content hash of all the rest but `id`, which follows from it.

    Args:
        build: What was decided.
        files: Name -> hash of each file that was written beside it.
    """
    sizes = Counter(split for _, split in build.kept)
    hygiene = build.hygiene
    manifest = {
        "schema": SCHEMA,
        "task": _task_as_dict(build.task),
        "policy": build.policy.as_dict(),
        "split_by": build.split_by,
        "test_from": _test_from(build),
        "rows": {split: sizes[split] for split in SPLITS},
        "excluded": dict(sorted(Counter(build.excluded.values()).items())),
        "provenance": _count_by_split(build, lambda row: row.provenance),
        "terms": _count_by_split(build, lambda row: row.terms),
        "sources": dict(sorted(Counter(row.origin.file if row.origin else "ledger" for row in build.rows).items())),
        "classes": _count_by_split(build, lambda row: row.answer) if build.task.kind == "classification" else {},
        "months": _count_by_split(build, lambda row: (row.moment or "undated")[:7]),
        "lengths": hygiene.lengths,
        "balance": hygiene.balance,
        "pii": _pii(build.rows),
        "near_duplicates": _near_duplicates(build),
        "duplicates_grouped": hygiene.duplicates_grouped,
        "leakage": dict(hygiene.leakage),
        "label_noise": hygiene.label_noise,
        "findings": dict(sorted(Counter(each["finding"] for each in hygiene.findings).items())),
        "contradictions": _contradictions(build),
        "warnings": _warnings(build),
        "rejected": list(build.rejected),
        "rejected_rows": build.rejected_rows,
        "words_without_call": build.words_without_call,
        "files": dict(files),
        "versions": {"freehold": __version__, **{library: version(library) for library in _LIBRARIES}},
    }
    sha256 = content_hash(manifest)
    return {"id": f"{build.task.name}-{sha256[:12]}", "sha256": sha256, **manifest}


def _task_as_dict(task: Task) -> dict[str, Any]:
    return {
        "name": task.name,
        "kind": task.kind,
        "labels": list(task.labels),
        "json_schema": None if task.json_schema is None else dict(task.json_schema),
        "own_prompt": task.own_prompt,
    }


def _test_from(build: Build) -> str | None:
    """When the earliest test row was, as the row itself writes it."""
    dated = [row for row, split in build.kept if split == "test" and row.moment is not None]
    if not dated:
        return None
    first = min(dated, key=lambda row: row.moment or "")
    assert first.place is not None
    return build.spill.get(first.place).started_at


def _count_by_split(build: Build, of: Callable[[Row], str]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    for row, split in build.kept:
        counts[split][of(row)] += 1
    return {split: dict(sorted(count.items())) for split, count in counts.items()}


def _pii(rows: Iterable[Row]) -> dict[str, int]:
    """Kind -> values masked, counted once per row, over all rows."""
    total: Counter[str] = Counter()
    for row in rows:
        total.update(dict(row.pii))
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
    found = [_unchecked(build), _unusable(build)]
    if build.task.kind == "classification":
        found += [_unseen_labels(build), _unbalanced(build.hygiene), _doubted(build.hygiene)]
    numbers = build.hygiene.leakage["same_but_for_numbers"]
    if numbers:
        found.append(
            f"{numbers} test rows differ from a training row in nothing but numbers. Numbers count as content, so they "
            "stay; a model that learnt the training row by heart may answer them."
        )
    outliers = build.hygiene.findings
    lengths = len({each["id"] for each in outliers if each["finding"] == "length-outlier"})
    if lengths:
        found.append(f"{lengths} rows are far longer or shorter than the others: review.jsonl names them.")
    return [sentence for sentence in found if sentence]


def _unchecked(build: Build) -> str:
    """What the policy about answers of rented models costs."""
    by = Counter(
        row.provider or row.rented_model or "unknown"
        for row in build.rows
        if build.excluded.get(row.id) == "rented-output"
    )
    if not by:
        return ""
    whose = ", ".join(f"{name} {count}" for name, count in by.most_common(_SHOWN))
    return (
        f"{by.total()} rows hold a rented model's answer that no human looked at ({whose}) and are left out: many "
        "providers' terms forbid training on them. Where yours allow it: --allow-rented-output."
    )


def _unusable(build: Build) -> str:
    if not build.rejected_rows:
        return ""
    first = build.rejected[0]
    return (
        f"{build.rejected_rows} rows of the files could not be used; the first is {first['file']}, line "
        f"{first['line']}: {first['reason']}."
    )


def _unseen_labels(build: Build) -> str:
    tested, trained = ({row.answer for row, side in build.kept if side == split} for split in ("test", "train"))
    unseen = sorted(tested - trained)
    if not unseen:
        return ""
    rows = sum(split == "test" and row.answer in unseen for row, split in build.kept)
    shown = ", ".join(map(repr, unseen[:_SHOWN])) + (", ..." if len(unseen) > _SHOWN else "")
    return (
        f"{len(unseen)} of {len(tested)} labels of the test set stand in no training row ({shown}; test rows: {rows}): "
        "an own model can hardly learn them, and it knows of them from the test set alone."
    )


def _unbalanced(hygiene: Hygiene) -> str:
    balance = hygiene.balance or {}
    if balance.get("largest_share", 0.0) >= _LARGEST_SHARE:
        return (
            f"{balance['largest_share']:.0%} of the training rows have one label, {balance['largest']!r}: accuracy "
            "says little here; compare with the majority baseline."
        )
    few = balance.get("with_few_rows", 0)
    if not few:
        return ""
    return f"{few} of {balance['classes']} labels have fewer than {FEW_ROWS} training rows: they are hardly learnt."


def _doubted(hygiene: Hygiene) -> str:
    noise = hygiene.label_noise or {}
    doubted, checked = noise.get("doubted") or 0, noise.get("checked") or 0
    if not doubted or doubted < _MANY_DOUBTS * checked:
        return ""
    return (
        f"{doubted} of {checked} labels that a linear probe checked look wrong to it, "
        f"{noise['doubted_in_test']} of them in the test set. They stay; review.jsonl names them, the surest first."
    )
