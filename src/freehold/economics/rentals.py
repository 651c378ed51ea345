"""The shipped table of what renting a machine costs, each row dated and sourced."""

from __future__ import annotations

from datetime import date  # noqa: TC003  # pydantic reads it at run time
from functools import cache
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from freehold.core.errors import InputError
from freehold.economics._tables import read
from freehold.economics.facts import hardware
from freehold.economics.scenario import Rental

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _RentalRow(BaseModel):
    """One row of gpu_prices.yaml."""

    model_config = ConfigDict(extra="forbid")

    hardware: str
    usd_per_hour: tuple[Positive, Positive, Positive]
    as_of: date
    terms: str
    source: str


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


@cache
def _rentals() -> tuple[Rental, ...]:
    rows = TypeAdapter(list[_RentalRow]).validate_python(read("gpu_prices.yaml"))
    return tuple(Rental(**row.model_dump()) for row in rows)
