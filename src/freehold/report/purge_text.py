"""What a purge took, or would take, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.report.numbers import count
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_LINES = 20
_KINDS = {
    "calls": "calls",
    "bodies": "of them with a request or an answer",
    "volumes": "buckets of calls that are known by their sums",
    "corrections": "words of humans",
    "dataset_rows": "rows of datasets",
    "dataset_mentions": "mentions in lists of rows that datasets left out",
    "pinned_texts": "texts pinned to a side of a split",
}


def purge_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """Counts per kind, then per task and day, then what stays to be done."""
    is_plan = record["dry_run"]
    counts, found = record["counts"], record["found"]
    what = "what was said in the calls" if record["bodies_only"] else "the calls"
    head = f"Would purge {what}:" if is_plan else f"Purged {what} ({record['purge']}):"
    lines = [
        head,
        *(f"  {count(counts[kind]):>12}  {name}" for kind, name in _KINDS.items()),
    ]
    if found:
        lines += ["", f"  {'day':<12}{'calls':>12}{'with bodies':>14}  task"]
        lines += [
            f"  {one['day']:<12}{count(one['calls']):>12}{count(one['with_bodies']):>14}  {visible(one['task'])}"
            for one in found[:_MOST_LINES]
        ]
        lines += [f"  … {count(len(found) - _MOST_LINES)} further lines: --json has them"] * (len(found) > _MOST_LINES)
    lines += [f"{visible(one['dataset'])}: {count(one['rows'])} rows" for one in record["datasets"]]
    return "\n".join([*lines, *_remarks(record)])


def _remarks(record: Mapping[str, Any]) -> list[str]:  # Any: JSON
    """What the counts do not say."""
    goes = "go" if record["dry_run"] else "went"
    told = []
    if record["files_removed"] or record["runs_removed"]:
        names = [*record["files_removed"], *record["runs_removed"]]
        told.append(f"Reports of rejected rows, damaged files and unfinished runs that {goes} too: {len(names)}.")
    if record["models"]:
        told.append(
            f"Models that were trained on these rows may remember them: {', '.join(map(visible, record['models']))}. "
            "Tune them anew on the next dataset."
        )
    told += _forgotten(record["forgotten"] or {})
    segments = record["segments_left"]
    if segments["files"]:
        told.append(
            f"Running gateways still hold {segments['files']} segment files with what they recorded lately; each goes "
            "when it is full or [ledger] segment_age_s old. A call that had not ended is not purged: purge again then."
        )
    return ["", *told] if told else []


def _forgotten(known: Mapping[str, Any]) -> list[str]:  # Any: JSON
    """What tasks no longer know, and what they still do."""
    told = []
    if any(known.get(kind) for kind in ("rules", "labels", "tasks")):
        told.append(
            f"Forgotten, since no call bears it out any more: {count(known['tasks'])} definitions of tasks, "
            f"{count(known['labels'])} labels, {count(known['rules'])} learned rules."
        )
    if known.get("definitions_left"):
        names = ", ".join(map(visible, known["definitions_left"]))
        told.append(f"Labels, fields and prompt stay with datasets and models that were made by them: {names}.")
    return told
