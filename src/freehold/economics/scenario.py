"""What is assumed beside the traffic and the prices: each number with its unit, its spread and its source."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from freehold.core.errors import InputError
from freehold.economics.resembling import resembling

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from freehold.economics.decoder import ModelFacts
    from freehold.economics.machine import Hardware
    from freehold.economics.precision import Precision

Shape = Literal["fixed", "triangular", "lognormal", "whole", "posterior"]
Spread = float | tuple[float, float, float]
OwnWay = Literal["own", "own-bought"]
"""On rented devices, or on bought ones."""

GIVEN = "given by the user"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """One number of the model: its typical value, and how far it may lie from it."""

    name: str
    low: float
    typical: float
    high: float
    unit: str
    source: str
    is_assumption: bool
    """False for what was measured, published or is true by definition."""
    shape: Shape = "triangular"
    """fixed; triangular between low and high; lognormal with low and high as 5th and 95th percentile;
    whole: triangular, rounded to a whole number; posterior: normal with low and high as 5th and 95th percentile."""

    @property
    def closed_form(self) -> float:
        """What the closed form computes with: the typical value, but the upper limit of a measured posterior."""
        return self.high if self.shape == "posterior" else self.typical

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """The assumption as reports list it: one value, or low, typical and high."""
        spread = [self.low, self.typical, self.high]
        return {
            "name": self.name,
            "value": self.typical if self.shape == "fixed" else spread,
            "unit": self.unit,
            "source": self.source,
            "is_assumption": self.is_assumption,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Rental:
    """Rent of one device, from a dated row of the shipped table."""

    hardware: str
    usd_per_hour: tuple[float, float, float]
    """Low, typical, high."""
    as_of: date | None
    """None: given by the user without a day."""
    terms: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """What buying one device costs, from a dated row of the shipped table."""

    hardware: str
    purchase_usd: tuple[float, float, float]
    """With its share of a server: low, typical, high."""
    watts: tuple[float, float, float]
    """Under load, with its share of a server."""
    as_of: date
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPlan:
    """An open model on rented devices, and on bought ones where their price is known."""

    model: ModelFacts
    hardware: Hardware
    rental: Rental
    purchase: Purchase | None = None
    devices: int = 1
    """Devices of one replica."""
    precision: Precision

    @property
    def label(self) -> str:
        """How people name it: `llama-3.1-8b on h100`."""
        many = "" if self.devices == 1 else f"{self.devices} × "
        return f"{self.model.name} on {many}{self.hardware.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """The plan to own (None: not considered) and every assumption by name."""

    own: OwnPlan | None
    assumptions: Mapping[str, Assumption]
    way: OwnWay = "own"
    """The way to own that was asked for: break-even, present value and payback are about it."""

    def with_values(self, values: Mapping[str, Spread], *, source: str = GIVEN) -> Scenario:
        """The scenario with some numbers replaced; what is replaced is no assumption any more.

        Raises:
            InputError: unknown names or impossible numbers, all of them at once.
        """
        faults = [fault for name, value in values.items() if (fault := _fault(name, value, self.assumptions))]
        if faults:
            raise InputError("Assumptions: " + "; ".join(faults) + ".")
        changed = {name: _replaced(self.assumptions[name], value, source) for name, value in values.items()}
        return replace(self, assumptions={**self.assumptions, **changed})


def spread_of(value: Spread) -> tuple[float, float, float]:
    """Low, typical, high of a number that may be given alone."""
    return value if isinstance(value, tuple) else (value, value, value)


def _replaced(old: Assumption, value: Spread, source: str) -> Assumption:
    low, typical, high = spread_of(value)
    wide: Shape = "triangular" if old.shape == "fixed" else old.shape
    shape: Shape = "fixed" if low == high else SHAPES.get(old.name, wide)
    return replace(old, low=low, typical=typical, high=high, source=source, is_assumption=False, shape=shape)


SHAPES: Mapping[str, Shape] = {
    "horizon_months": "whole",
    "life_months": "whole",
    "replicas_minimum": "whole",
    "error_difference": "posterior",
}
"""Shapes of a spread, whatever the shipped default is; every other one is triangular or as shipped."""

LIMITS: Mapping[str, tuple[float, float]] = {
    "horizon_months": (1.0, 240.0),
    "life_months": (1.0, 240.0),
    "discount_rate_per_year": (0.0, 1.0),
    "hours_per_month": (1.0, 744.0),
    "volume_growth_per_year": (-0.99, 10.0),
    "rent_drift_per_year": (-0.99, 10.0),
    "capability_drift_per_year": (-0.99, 10.0),
    "gpu_drift_per_year": (-0.99, 10.0),
    "batch_discount": (0.0, 1.0),
    "planned_load": (0.01, 1.0),
    "peak_to_mean": (1.0, 1e6),
    "replicas_minimum": (1.0, 1e4),
    "overhead_factor": (1.0, 100.0),
    "capacity_error": (0.01, 100.0),
    "hours_on_share": (0.0001, 1.0),
    "spot_discount": (0.0, 1.0),
    "spot_outage_share": (0.0, 1.0),
    "residual_share": (0.0, 1.0),
    "pue": (1.0, 5.0),
    "working_days_per_year": (1.0, 366.0),
    "error_difference": (-1.0, 1.0),
    "error_growth_per_year": (0.0, 1.0),
    "escalated_share": (0.0, 1.0),
    "rent_volatility": (0.0, 5.0),
    "cost_certainty": (0.5, 1.0),
}
"""Where a number must lie; every other one from 0 to a billion."""


def _fault(name: str, value: Spread, known: Mapping[str, Assumption]) -> str | None:
    if name not in known:
        otherwise = "breakeven --json lists them all under assumptions"
        return f"{name!r} is unknown; {resembling(name, known, otherwise=otherwise)}"
    numbers = spread_of(value)
    least, most = LIMITS.get(name, (0.0, 1e9))
    if not all(math.isfinite(number) and least <= number <= most for number in numbers):
        return f"{name} is {value!r}; it must lie from {least:g} to {most:g}"
    if list(numbers) != sorted(numbers):
        return f"{name} is {value!r}; low, typical and high must rise"
    if SHAPES.get(name) == "whole" and any(number != int(number) for number in numbers):
        return f"{name} is {value!r}; it must be a whole number"
    return None
