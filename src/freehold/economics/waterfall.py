"""What each term adds to the break-even volume, from the simplest arithmetic to the whole model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from freehold.economics.montecarlo import number, percentiles
from freehold.economics.options import lines
from freehold.economics.terms import crossings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.economics.montecarlo import FloatArray
    from freehold.economics.options import Question
    from freehold.economics.workload import Workload

NEUTRAL: Mapping[str, float] = {
    "volume_growth_per_year": 0.0,
    "rent_price_factor": 1.0,
    "overhead_factor": 1.0,
    "hours_on_share": 1.0,
    "cold_starts_per_month": 0.0,
    "spot_discount": 0.0,
    "spot_outage_share": 0.0,
    "replicas_minimum": 1.0,
    "fte": 0.0,
    "retrainings_per_year": 0.0,
    "setup_days": 0.0,
    "first_trainings": 0.0,
    "revalidations_per_year": 0.0,
    "rent_drift_per_year": 0.0,
    "capability_drift_per_year": 0.0,
    "gpu_drift_per_year": 0.0,
    "error_difference": 0.0,
    "error_growth_per_year": 0.0,
    "sovereignty_usd_per_month": 0.0,
}
"""Values under which a term says nothing."""

DISCOUNTS = "cached input and discounts"

STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("machines alone", ()),
    ("storage, egress, idle images", ("overhead_factor",)),
    (
        "scale-to-zero, spot machines",
        ("hours_on_share", "cold_starts_per_month", "spot_discount", "spot_outage_share"),
    ),
    ("spare replicas", ("replicas_minimum",)),
    ("people", ("fte",)),
    ("retraining", ("retrainings_per_year",)),
    ("set-up", ("setup_days", "first_trainings")),
    ("re-validation by renters", ("revalidations_per_year",)),
    (DISCOUNTS, ("rent_price_factor",)),
    ("growth of the volume", ("volume_growth_per_year",)),
    ("price drift", ("rent_drift_per_year", "capability_drift_per_year", "gpu_drift_per_year")),
    ("errors", ("error_difference", "error_growth_per_year")),
    ("sovereignty premium", ("sovereignty_usd_per_month",)),
)
"""Each step restores the values of its names and keeps those of the steps above."""


@dataclass(frozen=True, slots=True)
class Step:
    """Break-even volume with this term and all above it; None: no volume pays."""

    name: str
    breakeven: float | None
    """With typical values."""
    adds: float | None
    """Against the step above; None for the first, or where either is None."""
    breakeven_p50: float | None
    """Median over the draws."""

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """Volumes in queries per month."""
        return {
            "name": self.name,
            "breakeven_queries_per_month": number(self.breakeven),
            "adds_queries_per_month": number(self.adds),
            "breakeven_queries_per_month_p50": number(self.breakeven_p50),
        }


def waterfall(asked: Question, typical: Mapping[str, FloatArray], drawn: Mapping[str, FloatArray]) -> tuple[Step, ...]:
    """The steps, or none where there is no plan to own or no rented price to compare it with."""
    steps: list[Step] = []
    restored: set[str] = set()
    bare = replace(asked, workload=_without_discounts(asked))
    for name, names in STEPS:
        restored.update(names)
        stage = bare = asked if name == DISCOUNTS else bare
        closed = _breakeven(stage, typical, restored)
        if closed is None:
            return ()
        before = steps[-1].breakeven if steps else None
        here = percentiles(closed).p50
        adds = None if before is None or here is None else here - before
        simulated = _breakeven(stage, drawn, restored)
        assert simulated is not None
        steps.append(Step(name, here, adds, percentiles(simulated).p50))
    return tuple(steps)


def _breakeven(asked: Question, values: Mapping[str, FloatArray], restored: set[str]) -> FloatArray | None:
    """First crossing when everything that is not yet restored is neutral."""
    muted = {name: np.array([value]) for name, value in NEUTRAL.items() if name not in restored}
    found = lines(asked, {**values, **muted})
    if found.own is None or not found.rented:
        return None
    return crossings(found.own, found.rented[0]).first


def _without_discounts(asked: Question) -> Workload:
    return replace(asked.workload, cached_share=0.0, cache_write_share=0.0, batchable_share=0.0)
