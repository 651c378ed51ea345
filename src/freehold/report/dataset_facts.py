"""What a reader must know of a dataset before believing what was measured on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.report.numbers import NOT_MEASURED, count
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

_SPLITS = {
    "declared": "the test rows were given as such",
    "time": "the test rows are the latest ones",
    "hash": "by hash: no row has a time",
}


def dataset_facts(dataset: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:  # Any: JSON
    """Name and value of each fact."""
    how = str(dataset.get("split_by"))
    since = f", from {visible(dataset['test_from'])[:16].replace('T', ' ')} (UTC)" if dataset.get("test_from") else ""
    return (
        ("Test set", f"{_SPLITS.get(how, NOT_MEASURED)}{since}"),
        ("Personal data masked", _masked(dataset.get("pii"))),
        ("Near-duplicates", _near_duplicates(dataset.get("near_duplicates"))),
        ("Contradictions to adjudicate", _contradictions(dataset.get("contradictions"))),
    )


def _masked(pii: Mapping[str, Any] | None) -> str:  # Any: JSON
    if pii is None:
        return NOT_MEASURED
    kinds = ", ".join(f"{visible(kind)} {count(found)}" for kind, found in pii.items())
    return f"{kinds or 'none found'}; names of people are not searched for"


def _near_duplicates(found: Mapping[str, Any] | None) -> str:  # Any: JSON
    if found is None:
        return NOT_MEASURED
    if not found.get("groups"):
        return "none"
    return f"{count(found.get('texts'))} texts in {count(found['groups'])} groups, each on one side of the split"


def _contradictions(cases: Any) -> str:  # Any: JSON
    if cases is None:
        return NOT_MEASURED
    return "none" if not cases else f"{count(len(cases))}: the same input with different answers"
