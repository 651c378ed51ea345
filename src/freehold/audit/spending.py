"""What was spent on which task on which day: the ledger's daily sums at the prices of their own days.

Sums are kept apart where a call's input crosses a length at which rates change, so a sum at the rates of its bucket
costs exactly what its calls cost one by one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from freehold.audit.pricing import four_rates
from freehold.economics.catalogue import catalogue_version
from freehold.ledger.rollup import EDGES, least_input

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.audit.pricing import Pricing
    from freehold.economics.prices import Price

_UNDATED = "undated"
_PRICED_BY = ("model_served", "model_requested", "provider", "service_tier", "day", "bucket")
_SUMMED = ("calls", "errors", "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")
_UNKNOWN: tuple[Decimal | None, ...] = (None,) * 4
_MOST = float(1 << 62)
"""Whole numbers of eight bytes end a little above."""


@dataclass(slots=True, kw_only=True)
class DaySpending:
    """One task on one day. Calls that an own model answered are counted apart: no price list knows their cost."""

    day: str
    """`YYYY-MM-DD`, or undated."""
    task: str
    calls: int = 0
    own_calls: int = 0
    priced_calls: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal | None = None
    """Of the calls whose cost is known; None: of none."""

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """As `ledger costs --json` lists it."""
        return {
            "day": self.day,
            "task": self.task,
            "calls": self.calls,
            "own_calls": self.own_calls,
            "priced_calls": self.priced_calls,
            "errors": self.errors,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": None if self.cost_usd is None else float(self.cost_usd),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """Every task on every day."""

    days: tuple[DaySpending, ...]
    """By day, then by task."""
    price_catalogue: str
    assumptions: tuple[str, ...]
    unpriced: Mapping[str, int]
    """Model -> calls whose cost is unknown, refused and failed ones apart."""

    @property
    def total_usd(self) -> Decimal | None:
        """Of all calls whose cost is known; None: of none."""
        known = [day.cost_usd for day in self.days if day.cost_usd is not None]
        return sum(known, Decimal(0)) if known else None


def missing_edges(sums: pa.Table, pricing: Pricing) -> set[int]:
    """Lengths at which rates of these calls change, and which the rollup does not keep apart: sum the calls instead."""
    _rates(sums, pricing)
    return pricing.edges() - set(EDGES)


def spending(sums: pa.Table, pricing: Pricing) -> Spending:
    """Price the ledger's sums, exactly.

    Args:
        sums: As `ledger.rollup` gives them, with every edge that the prices need (see `missing_edges`).
        pricing: Where prices come from.
    """
    sums = sums.select([*_PRICED_BY, "route", "task", "is_own", "is_counted", *_SUMMED]).combine_chunks()
    # Rows of an import that were never sent to a model have no route.
    sent = pc.or_(pc.not_equal(sums.column("route"), ""), pc.equal(sums.column("is_counted"), 1))
    if not pc.all(sent).as_py():
        sums = sums.filter(sent).combine_chunks()
    rates, scale, keys = _rates(sums, pricing)
    column = {name: sums.column(name).to_numpy() for name in _SUMMED}
    own = sums.column("is_own").to_numpy() == 1
    priced = (rates[:, 0] >= 0) & (sums.column("is_counted").to_numpy() == 1) & ~own
    priced &= (rates[:, 3] >= 0) | (column["output_tokens"] == 0)
    read, written = column["cache_read_tokens"], column["cache_write_tokens"]
    counts = [column["input_tokens"] - read - written, read, written, column["output_tokens"]]
    if (
        sum(float(count.max(initial=0)) * float(rates[:, place].max(initial=0)) for place, count in enumerate(counts))
        * (len(sums) or 1)
        > _MOST
    ):
        counts = [count.astype(object) for count in counts]  # numbers without a limit, and slower
    cost = sum(count * np.maximum(rates[:, place], 0) for place, count in enumerate(counts))
    keys.note(pricing, np.where(priced, column["calls"], 0))
    lines, of = _lines(sums)
    totals = {
        "calls": np.where(own, 0, column["calls"]),
        "own_calls": np.where(own, column["calls"], 0),
        "priced_calls": np.where(priced, column["calls"], 0),
        "errors": column["errors"],
        "input_tokens": np.where(own, 0, column["input_tokens"]),
        "output_tokens": np.where(own, 0, column["output_tokens"]),
        "cost": np.where(priced, cost, 0),
    }
    added = {name: _added(values, of, len(lines)).tolist() for name, values in totals.items()}
    units = added.pop("cost")
    days = [
        DaySpending(
            day=day,
            task=task,
            cost_usd=Decimal(cost).scaleb(-scale) if numbers[2] else None,
            **dict(zip(added, numbers, strict=True)),
        )
        for (day, task), cost, numbers in zip(lines, units, zip(*added.values(), strict=True), strict=True)
    ]
    return Spending(
        days=tuple(sorted(days, key=lambda line: (line.day, line.task))),
        price_catalogue=catalogue_version(),
        assumptions=pricing.assumptions(),
        unpriced=_unpriced(sums.filter(pa.array(~priced & ~own))),
    )


@dataclass(frozen=True, slots=True)
class _Keys:
    """What rows are priced by, each combination once."""

    priced: list[tuple[Price | None, str, str]]
    """Price, tier and provider of each."""
    of: np.ndarray
    """Which of them each row has."""

    def note(self, pricing: Pricing, calls: np.ndarray) -> None:
        """Tell how many calls each price was taken for, given those of each row."""
        for (price, tier, provider), count in zip(
            self.priced, _added(calls, self.of, len(self.priced)).tolist(), strict=True
        ):
            if price is not None and count:
                pricing.note(price, tier, provider, int(count))


def _rates(sums: pa.Table, pricing: Pricing) -> tuple[np.ndarray, int, _Keys]:
    """Four rates per row as whole numbers (input, read, written, output; -1: unknown), in 10^-scale USD per token."""
    codes, choices = zip(*(_coded(sums.column(name)) for name in _PRICED_BY), strict=True)
    sizes = [max(1, len(choice)) for choice in choices]
    keys, of = np.unique(np.ravel_multi_index(codes, sizes), return_inverse=True)
    columns = [np.array(choice, object)[places] if len(choice) else places
               for choice, places in zip(choices, np.unravel_index(keys, sizes), strict=True)]  # fmt: skip
    numbers: dict[tuple[Decimal | None, ...], int] = {}
    row_of = np.empty(len(keys), np.int64)
    priced: list[tuple[Price | None, str, str]] = []
    for place, names in enumerate(zip(*(one.tolist() for one in columns), strict=True)):
        served, asked, provider, tier, day, bucket = names
        price = None if day == _UNDATED else pricing.paid(served, asked, date.fromisoformat(day), tier, provider)
        priced.append((price, tier, provider))
        row = _UNKNOWN if price is None else four_rates(price.rates_for(least_input(bucket)))
        row_of[place] = numbers.setdefault(row, len(numbers))
    rows = list(numbers)
    known = {rate for row in rows for rate in row if rate is not None}
    digits = max((-int(rate.normalize().as_tuple().exponent) for rate in known), default=0)
    digits = max(0, digits)
    units = {rate: int(rate.scaleb(digits)) for rate in known}
    whole = [[-1 if rate is None else units[rate] for rate in row] for row in rows]
    rates = np.array(whole, np.int64).reshape(-1, 4)[row_of][of]
    return rates, digits + 6, _Keys(priced, of)  # a rate is per million tokens


def _coded(values: pa.ChunkedArray) -> tuple[np.ndarray, list[Any]]:  # Any: text or numbers
    """Values as numbers of a list of those that occur."""
    coded = values.combine_chunks().dictionary_encode()
    return coded.indices.to_numpy(), coded.dictionary.to_pylist()


def _lines(sums: pa.Table) -> tuple[list[tuple[str, str]], np.ndarray]:
    """Days and tasks that occur together, and to which of them each row belongs."""
    (day_of, days), (task_of, tasks) = _coded(sums.column("day")), _coded(sums.column("task"))
    keys, of = np.unique(day_of.astype(np.int64) * max(1, len(tasks)) + task_of, return_inverse=True)
    return [(days[key // len(tasks)], tasks[key % len(tasks)]) for key in keys.tolist()], of


def _added(values: np.ndarray, of: np.ndarray, lines: int) -> np.ndarray:
    total = np.zeros(lines, values.dtype)
    np.add.at(total, of, values)
    return total


def _unpriced(sums: pa.Table) -> dict[str, int]:
    """Model -> calls without a cost; a call that was refused or failed costs nothing and is no gap."""
    found: Counter[str] = Counter()
    names = ("model_served", "model_requested", "calls", "errors")
    for served, asked, calls, errors in zip(*(sums.column(name).to_pylist() for name in names), strict=True):
        found[served or asked or "unknown"] += max(0, calls - errors)
    return {model: count for model, count in sorted(found.items()) if count}
