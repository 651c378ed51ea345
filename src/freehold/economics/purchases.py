"""The shipped table of what buying a machine costs and what it draws, each row dated and sourced."""

from __future__ import annotations

from datetime import date  # noqa: TC003  # pydantic reads it at run time
from functools import cache
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from freehold.economics._tables import read
from freehold.economics.facts import hardware
from freehold.economics.scenario import Purchase

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _PurchaseRow(BaseModel):
    """One row of purchases.yaml."""

    model_config = ConfigDict(extra="forbid")

    hardware: str
    purchase_usd: tuple[Positive, Positive, Positive]
    watts: tuple[Positive, Positive, Positive]
    as_of: date
    source: str


def purchase(name: str) -> Purchase | None:
    """Price and power of a machine from its newest row; None: the table does not know it.

    Raises:
        InputError: there is no such machine; the nearest names are offered.
    """
    machine = hardware(name).name
    known = [row for row in _purchases() if row.hardware == machine]
    return max(known, key=lambda row: row.as_of, default=None)


@cache
def _purchases() -> tuple[Purchase, ...]:
    rows = TypeAdapter(list[_PurchaseRow]).validate_python(read("purchases.yaml"))
    return tuple(Purchase(**row.model_dump()) for row in rows)
