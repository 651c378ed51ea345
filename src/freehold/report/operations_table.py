"""What running an own model would mean, as a table for the terminal and the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.report.numbers import count, milliseconds, number, share
from freehold.report.tables import Column, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

_LEAST_LOAD = 0.001


def operations_table(decision: Mapping[str, Any]) -> Table:  # Any: JSON
    """Latency, replicas and load; without rows where the record has none of it."""
    found = decision.get("operations") or {}
    rented = found.get("rented_latency_p95_ms")
    rows = (
        ("latency of the own model", milliseconds(found.get("own_latency_ms"))),
        (
            "p95 latency of the rented model",
            "not in this record" if number(rented) is None else milliseconds(rented),
        ),
        ("replicas at this volume, predicted", count(found.get("replicas_at_volume"))),
        ("their load in the busiest hour, predicted", _load(found.get("load_at_volume"))),
    )
    return Table(
        "Running the own model (this does not decide the verdict)",
        (Column("what"), Column("value", is_number=True)),
        rows if found else (),
    )


def _load(value: Any) -> str:  # Any: a field of a JSON record
    """A share; one that would round to nothing is no zero."""
    amount = number(value)
    return f"below {share(_LEAST_LOAD)}" if amount is not None and 0 < amount < _LEAST_LOAD else share(value)
