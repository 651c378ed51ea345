"""What `models export` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.report._plain import bullets, joined, sentence
from freehold.report.numbers import count, interval, plain_number, points, share, size
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

_ALLOWED = {"yes": "allowed", "conditions": "allowed on conditions", "no": "not allowed", "unknown": "unknown"}


def artefact_text(record: Mapping[str, Any]) -> str:  # Any: JSON
    """One form of a model: what it is, how near it is to PyTorch, what it is worth, what its licence allows."""
    did = "was made" if record.get("made") else "is there already, whole and unchanged"
    licence = record.get("licence") or {}
    facts = [
        ("Base", f"{visible(record['base']['hub_id'])}, revision {visible(record['base']['revision'] or 'unknown')}"),
        ("Folder", visible(record.get("folder"), 4096)),
        ("Size", f"{size(record.get('bytes'))} in {count(len(record.get('files') or ()))} files"),
        ("PyTorch", _agreement(record.get("agreement"))),
        *_quality(record.get("quality")),
        ("Licence", visible(licence.get("title"), 200)),
        ("", f"own work: {_ALLOWED[licence['commercial']]}; given to others: {_ALLOWED[licence['sharing']]}"),
    ]
    lines = "\n".join(f"{name:<10} {value}" for name, value in facts)
    first = sentence(f"{visible(record.get('model'), 200)} as {record.get('form')} ({record.get('kind')}) {did}.")
    return joined(first, lines, bullets("Warnings", record.get("warnings") or ()))


def _agreement(found: Mapping[str, Any] | None) -> str:  # Any: JSON
    if found is None:
        return "not compared"
    return (
        f"log-probabilities differ by {plain_number(found['max_difference'], 2)} nats at most, "
        f"{plain_number(found['mean_difference'], 2)} on average; {plain_number(found['max_tolerance'], 2)} and "
        f"{plain_number(found['mean_tolerance'], 2)} are allowed"
    )


def _quality(found: Mapping[str, Any] | None) -> list[tuple[str, str]]:  # Any: JSON
    if found is None:
        return []
    rows = [
        (
            visible(found["metric"]).capitalize(),
            f"{share(found['value'])} ({interval(found['ci_low'], found['ci_high'], share)}) on {count(found['n'])} "
            f"{found['split']} cases, as served",
        )
    ]
    if found["difference"] is not None:
        rows.append(("Change", loss_text(found)))
    return rows


def loss_text(quality: Mapping[str, Any]) -> str:  # Any: JSON
    """What separates a form's scores from those in 16 bits, on one line."""
    limits = interval(quality["difference_ci_low"], quality["difference_ci_high"], points)
    return (
        f"{points(quality['difference'])} ({limits}) against 16 bits; {share(quality['same_answers'])} of answers "
        "are the same"
    )
