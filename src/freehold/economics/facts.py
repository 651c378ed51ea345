"""The shipped tables: models, hardware, rents, assumptions. The only module of this room that reads files."""

from __future__ import annotations

import re
from datetime import date  # noqa: TC003  # pydantic reads it at run time
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from freehold.core.errors import InputError
from freehold.economics.capacity import Hardware, ModelFacts, Precision
from freehold.economics.scenario import (
    Assumption,
    OwnPlan,
    Rental,
    Scenario,
    Shape,
    Spread,
    nearest_names,
    spread_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

GPU_EFFICIENCIES = {
    "prefill_efficiency": 0.66,
    "decode_efficiency": 0.5,
    "bandwidth_efficiency": 0.916,
    "layer_overhead_us": 60.0,
    "reserved_gb": 3.5,
    "most_requests": 1024,
}
"""One set for all GPUs, fitted to published throughput (docs/decisions/0002-economics-first-form.md)."""


class _RentalRow(BaseModel):
    """One row of gpu_prices.yaml."""

    model_config = ConfigDict(extra="forbid")

    hardware: str
    usd_per_hour: tuple[Positive, Positive, Positive]
    as_of: date
    terms: str
    source: str


class _AssumptionRow(BaseModel):
    """One row of assumptions.yaml."""

    model_config = ConfigDict(extra="forbid")

    value: float | tuple[float, float, float]
    unit: str
    source: str
    is_assumption: bool
    shape: Shape = "triangular"


def model_facts(name: str) -> ModelFacts:
    """Facts of a shipped model; case and punctuation of the name do not matter.

    Raises:
        InputError: no such model; the nearest names are offered.
    """
    return _pick("model", name, _models())


def hardware(name: str) -> Hardware:
    """Facts of a shipped machine; case and punctuation of the name do not matter.

    Raises:
        InputError: no such machine; the nearest names are offered.
    """
    return _pick("hardware", name, _machines())


def rental(name: str, as_of: date | None = None) -> Rental:
    """Rent of a machine: the newest row, or the newest that is not after a day.

    Raises:
        InputError: no such machine, or no row that early.
    """
    machine = hardware(name).name
    rows = sorted((row for row in _rentals() if row.hardware == machine), key=lambda row: row.as_of)
    known = [row for row in rows if as_of is None or row.as_of <= as_of]
    if not known:
        raise InputError(
            f"{machine} has no rental price for {as_of}; the first is from {rows[0].as_of}. "
            "State gpu_usd_per_hour yourself or ask for a later day."
        )
    return known[-1]


def own_plan(
    text: str,
    *,
    devices: int = 1,
    precision: Precision | None = None,
    as_of: date | None = None,
) -> OwnPlan:
    """A plan written as MODEL@HARDWARE, such as `llama-3.1-8b@h100`.

    Raises:
        InputError: it is not of that form, or names what is not shipped.
    """
    model, at, machine = text.partition("@")
    if not at or devices < 1:
        raise InputError(
            f"A plan to own is {text!r} with {devices} devices; it must read MODEL@HARDWARE, such as "
            "llama-3.1-8b@h100, with 1 device per replica or more."
        )
    chosen = hardware(machine)
    return OwnPlan(
        model=model_facts(model),
        hardware=chosen,
        rental=rental(chosen.name, as_of),
        devices=devices,
        precision=precision or chosen.default_precision,
    )


def default_scenario(own: OwnPlan | None, *, values: Mapping[str, Spread] | None = None) -> Scenario:
    """The shipped assumptions, the plan's rent among them, with `values` in place of some of them.

    Raises:
        InputError: `values` holds unknown names or impossible numbers.
    """
    assumptions = dict(_assumptions())
    if own is not None:
        low, typical, high = own.rental.usd_per_hour
        assumptions["gpu_usd_per_hour"] = Assumption(
            name="gpu_usd_per_hour",
            low=low,
            typical=typical,
            high=high,
            unit="USD per device hour",
            source=f"{own.rental.source}; {own.rental.terms}, as of {own.rental.as_of}",
            is_assumption=False,
        )
    return Scenario(own=own, assumptions=assumptions).with_values(values or {})


@cache
def _models() -> dict[str, ModelFacts]:
    return _table("models.yaml", TypeAdapter(dict[str, ModelFacts]))


@cache
def _machines() -> dict[str, Hardware]:
    return _table("hardware.yaml", TypeAdapter(dict[str, Hardware]), defaults=GPU_EFFICIENCIES)


@cache
def _rentals() -> tuple[Rental, ...]:
    rows = TypeAdapter(list[_RentalRow]).validate_python(_read("gpu_prices.yaml"))
    return tuple(Rental(**row.model_dump()) for row in rows)


@cache
def _assumptions() -> dict[str, Assumption]:
    rows = TypeAdapter(dict[str, _AssumptionRow]).validate_python(_read("assumptions.yaml"))
    return {name: _assumption(name, row) for name, row in rows.items()}


def _assumption(name: str, row: _AssumptionRow) -> Assumption:
    low, typical, high = spread_of(row.value)
    return Assumption(
        name=name,
        low=low,
        typical=typical,
        high=high,
        unit=row.unit,
        source=row.source,
        is_assumption=row.is_assumption,
        shape="fixed" if low == high else row.shape,
    )


def _table(file: str, door: TypeAdapter[dict[str, T]], *, defaults: Mapping[str, float] | None = None) -> dict[str, T]:
    """Rows of a YAML mapping, each with its key as name."""
    raw = _read(file)
    return door.validate_python({name: {**(defaults or {}), "name": name, **row} for name, row in raw.items()})


def _read(file: str) -> Any:  # Any: pydantic checks at once what YAML holds
    return yaml.safe_load(files("freehold.economics").joinpath(file).read_text(encoding="utf-8"))


def _pick(what: str, name: str, table: Mapping[str, T]) -> T:
    wanted = _bare(name)
    matches = [key for key in table if _bare(key) == wanted]
    if not matches:
        raise InputError(f"Unknown {what} {name!r}; nearest: {nearest_names(name, table)}.")
    return table[matches[0]]


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
