"""A cheaper model to try before anyone trains one: the next of the same family, or an open one that is hosted."""

from __future__ import annotations

import re
from datetime import date  # noqa: TC003 (pydantic reads it)
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import yaml
from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from freehold.audit.pricing import Pricing
    from freehold.economics.prices import Price


class _Step(BaseModel):
    """One rule of cheaper.yaml."""

    model_config = ConfigDict(extra="forbid")

    model: str
    cheaper: tuple[str, ...]


class _Ladder(BaseModel):
    """cheaper.yaml."""

    model_config = ConfigDict(extra="forbid")

    as_of: date
    source: str
    steps: tuple[_Step, ...]
    hosted: str


def cheaper_than(price: Price, pricing: Pricing, as_of: date) -> Price | None:
    """The price of the next cheaper model on a day; None: no rule knows one that costs less."""
    name = (price.alias_of or price.model).rpartition("/")[2].lower()
    for candidate in _names(name):
        found = pricing.at(candidate, as_of, "list")
        if found is not None and _costs_less(found, price):
            return found
    return None


def _names(name: str) -> Iterator[str]:
    ladder = _ladder()
    for step in ladder.steps:
        found = re.search(step.model, name)
        if found is not None:
            yield from (found.expand(each) if "\\" in each else each for each in step.cheaper)
    yield ladder.hosted


def _costs_less(one: Price, other: Price) -> bool:
    ends = ((one.input_usd_per_mtok, other.input_usd_per_mtok), (one.output_usd_per_mtok, other.output_usd_per_mtok))
    return all(cheap is not None and dear is not None and cheap < dear for cheap, dear in ends)


@cache
def _ladder() -> _Ladder:
    text = files("freehold.audit").joinpath("cheaper.yaml").read_text(encoding="utf-8")
    return _Ladder.model_validate(yaml.safe_load(text))
