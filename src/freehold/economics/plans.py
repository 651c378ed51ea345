"""Plans to own, and the shipped assumptions that a scenario starts from."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, TypeAdapter

from freehold.core.errors import InputError
from freehold.economics._tables import read
from freehold.economics.facts import hardware, model_facts
from freehold.economics.purchases import purchase
from freehold.economics.rentals import ON_DEMAND, rental, rentals
from freehold.economics.scenario import GIVEN, Assumption, OwnPlan, Rental, Scenario, Shape, Spread, spread_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date

    from freehold.economics.decoder import ModelFacts
    from freehold.economics.precision import Precision
    from freehold.economics.scenario import OwnWay, Purchase


MOST_DEVICES = 1024
"""Of one replica; more than any engine spreads a model over."""

STALE_DAYS = 183
"""A rent that is older on the day asked for is an assumption: they move by a third within half a year."""

_COUNTED = re.compile(r"(\d{1,9})\s*[xX×*]\s*(\D.*)")


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
    devices: int | None = None,
    precision: Precision | None = None,
    as_of: date | None = None,
    usd_per_hour: Spread | None = None,
    facts_of: Callable[[str], ModelFacts] = model_facts,
) -> OwnPlan:
    """A plan written as MODEL@HARDWARE, such as `llama-3.1-8b@h100`, or `llama-3.3-70b@8xa100-80gb` for eight devices.

    Its rent is that of the day `as_of`; the first known one, marked as an assumption, where the day lies before it;
    `usd_per_hour` where the customer knows better. `facts_of` reads the model's name, the shipped table unless the
    caller knows models of its own.

    Raises:
        InputError: it is not of that form, names what is not shipped, or states two numbers of devices.
    """
    model, at, machine = text.rpartition("@")
    counted = _COUNTED.fullmatch(machine)
    named = None if counted is None else int(counted[1])
    count = devices if devices is not None else 1 if named is None else named
    if not at or not model.strip() or not 1 <= count <= MOST_DEVICES:
        raise InputError(
            f"A plan to own is {text!r} with {count} devices; it must read MODEL@HARDWARE, such as "
            f"llama-3.1-8b@h100 or llama-3.3-70b@8xh100, with 1 to {MOST_DEVICES} devices per replica."
        )
    if named is not None and named != count:
        raise InputError(f"The plan {text!r} names {named} devices and --gpus names {count}. Leave one of them out.")
    chosen = hardware(machine if counted is None else counted[2])
    return OwnPlan(
        model=facts_of(model),
        hardware=chosen,
        rental=_rental_on(chosen.name, as_of, usd_per_hour),
        purchase=_purchase_on(chosen.name, as_of),
        devices=count,
        precision=precision or chosen.default_precision,
    )


def _rental_on(machine: str, as_of: date | None, usd_per_hour: Spread | None) -> Rental:
    if usd_per_hour is not None:
        spread = spread_of(usd_per_hour)
        return Rental(hardware=machine, usd_per_hour=spread, as_of=as_of, terms="given", source=GIVEN)
    try:
        found = rental(machine, as_of)
    except InputError:
        first = next((row for row in rentals(machine) if as_of is not None and ON_DEMAND in row.terms), None)
        if first is None:
            raise
        return replace(
            first, source=f"assumption: no rent is known for {as_of}, that of {first.as_of} is taken; {first.source}"
        )
    if as_of is not None and found.as_of is not None and (as_of - found.as_of).days > STALE_DAYS:
        said = f"assumption: the newest rent that is known on {as_of} is that of {found.as_of}; {found.source}"
        return replace(found, source=said)
    return found


def _purchase_on(machine: str, as_of: date | None) -> Purchase | None:
    found = purchase(machine)
    if found is None or as_of is None or as_of >= found.as_of:
        return found
    said = f"assumption: no purchase price is known for {as_of}, that of {found.as_of} is taken; {found.source}"
    return replace(found, source=said)


def default_scenario(
    own: OwnPlan | None, *, values: Mapping[str, Spread] | None = None, way: OwnWay = "own"
) -> Scenario:
    """The shipped assumptions, the plan's rent among them, with `values` in place of some of them.

    `way` is the way to own that break-even and present values are about.

    Raises:
        InputError: `values` holds unknown names or impossible numbers.
    """
    assumptions = dict(_assumptions())
    if own is not None:
        rent = own.rental
        stated = GIVEN if rent.source == GIVEN else f"{rent.source}; {rent.terms}, as of {rent.as_of}"
        assumptions["gpu_usd_per_hour"] = _published(
            "gpu_usd_per_hour", rent.usd_per_hour, "USD per device hour", stated
        )
    if own is not None and own.purchase is not None:
        bought = own.purchase
        stated = f"{bought.source}; as of {bought.as_of}"
        for name, spread, source in (
            ("purchase_usd", bought.purchase_usd, stated),
            ("watts", bought.watts, "as purchase_usd"),
        ):
            assumptions[name] = _published(name, spread, assumptions[name].unit, source)
    return Scenario(own=own, assumptions=assumptions, way=way).with_values(values or {})


def _published(name: str, spread: tuple[float, float, float], unit: str, source: str) -> Assumption:
    low, typical, high = spread
    shape: Shape = "fixed" if low == high else "triangular"
    return Assumption(
        name=name,
        low=low,
        typical=typical,
        high=high,
        unit=unit,
        source=source,
        is_assumption=source.startswith("assumption"),
        shape=shape,
    )


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
