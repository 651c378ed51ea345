"""What running an own model would mean, beside its quality and its cost. It is told and does not decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from freehold.evaluation.policy import Cost

NOTE = (
    "Operations do not decide the verdict. The latency of the own model is not measured; replicas and load are "
    "predicted from data sheets, not measured. Who is on call must be settled by the owner."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """What is known about running the own model at the volume asked about. None: nothing is known."""

    own_latency_ms: float | None
    rented_latency_p95_ms: float | None
    replicas_at_volume: int | None
    load_at_volume: float | None
    """Share of what these replicas can answer that the busiest hour asks of them."""
    note: str


def operations_of(cost: Cost) -> Operations:
    """What the cost record tells of operations; nobody measures the own latency yet."""
    own = next((option for option in cost.options if option.name == "own"), None)
    return Operations(
        own_latency_ms=None,
        rented_latency_p95_ms=cost.rented_latency_p95_ms,
        replicas_at_volume=None if own is None else own.replicas,
        load_at_volume=None if own is None else own.load,
        note=NOTE,
    )
