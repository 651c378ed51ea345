"""Plans to own, and the shipped assumptions that a scenario starts from."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, TypeAdapter

from freehold.core.errors import InputError
from freehold.economics._tables import read
from freehold.economics.facts import hardware, model_facts
from freehold.economics.rentals import rental
from freehold.economics.scenario import Assumption, OwnPlan, Scenario, Shape, Spread, spread_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from freehold.economics.capacity import Precision


class _AssumptionRow(BaseModel):
    """One row of assumptions.yaml."""

    model_config = ConfigDict(extra="forbid")

    value: float | tuple[float, float, float]
    unit: str
    source: str
    is_assumption: bool
    shape: Shape = "triangular"


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
def _assumptions() -> dict[str, Assumption]:
    rows = TypeAdapter(dict[str, _AssumptionRow]).validate_python(read("assumptions.yaml"))
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
