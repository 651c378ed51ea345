"""The shipped table of what renting a machine costs, each row dated and sourced."""

from __future__ import annotations

from datetime import date  # noqa: TC003  # pydantic reads it at run time
from functools import cache
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from freehold.core.errors import InputError
from freehold.economics._tables import read
from freehold.economics.facts import hardware
from freehold.economics.scenario import Rental

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Contract = Literal["on demand", "spot and on demand", "1-year contract"]
ON_DEMAND = "on demand"
"""What is meant when nobody says on which terms: no commitment, and nobody takes the machine away."""


class _RentalRow(BaseModel):
    """One row of gpu_prices.yaml."""

    model_config = ConfigDict(extra="forbid")

    hardware: str
    usd_per_hour: tuple[Positive, Positive, Positive]
    as_of: date
    terms: Contract
    source: Annotated[str, Field(min_length=10)]

    @model_validator(mode="after")
    def _rises(self) -> _RentalRow:
        if list(self.usd_per_hour) != sorted(self.usd_per_hour):
            raise ValueError("low, typical and high must rise")
        return self


def rental(name: str, as_of: date | None = None, terms: str | None = None) -> Rental:
    """Rent of a machine: the newest row, or the newest that is not after a day.

    `terms` is a word of the row's terms (`contract`, `spot`); None: on demand, whether spot is among it or not.

    Raises:
        InputError: no such machine, no price of it on these terms, or none that early.
    """
    machine = hardware(name).name
    wanted = ON_DEMAND if terms is None else terms.strip().lower()
    of_machine = [row for row in _rows() if row.hardware == machine]
    rows = [row for row in of_machine if wanted in row.terms]
    state = "State it yourself with --gpu-usd-per-hour"
    if not rows:
        others = sorted({row.terms for row in of_machine})
        known = f"; there are prices for {', '.join(others)}" if others else ""
        raise InputError(
            f"{machine} has no {wanted} rental price with a source and a date in the shipped table{known}. {state}."
        )
    known_by_then = [row for row in rows if as_of is None or row.as_of <= as_of]
    if not known_by_then:
        raise InputError(
            f"{machine} has no rental price for {as_of}; the first is from {rows[0].as_of}. "
            f"{state} or ask for a later day."
        )
    return _rental(known_by_then[-1])


def rentals(name: str | None = None, as_of: date | None = None) -> tuple[Rental, ...]:
    """Every row, or those of a machine, or those not after a day: by machine as the table has it, then by day.

    Raises:
        InputError: no such machine.
    """
    machine = None if name is None else hardware(name).name
    of_machine = [row for row in _rows() if machine in {None, row.hardware}]
    return tuple(_rental(row) for row in of_machine if as_of is None or row.as_of <= as_of)


def _rental(row: _RentalRow) -> Rental:
    return Rental(**row.model_dump())


@cache
def _rows() -> tuple[_RentalRow, ...]:
    rows = TypeAdapter(list[_RentalRow]).validate_python(read("gpu_prices.yaml"))
    places = {row.hardware: place for place, row in reversed(list(enumerate(rows)))}
    return tuple(sorted(rows, key=lambda row: (places[row.hardware], row.as_of, get_args(Contract).index(row.terms))))
