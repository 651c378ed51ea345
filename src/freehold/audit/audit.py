"""What a log says about its tasks: volume, tokens, cost, latency and rhythm, from the ledger as it lies on the disk.

Counts and money are exact, memory is bounded, and no call becomes an object. Each call is priced at the price of its
own day and its own tier (batch, flex, priority).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from freehold.audit.cube import build_cube
from freehold.audit.measure import measure
from freehold.audit.pricing import Pricing
from freehold.audit.rows import Slice, Source, opened
from freehold.economics.catalogue import catalogue_version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from freehold.audit.task_audit import TaskAudit
    from freehold.economics.overrides import Override

SCHEMA = "freehold.audit/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What a log says about its tasks."""

    tasks: tuple[TaskAudit, ...]
    """By name."""
    price_catalogue: str
    assumptions: tuple[str, ...]
    """What was assumed to price the calls, one sentence each."""

    @property
    def cost_usd(self) -> Decimal | None:
        """Of all rented calls whose cost is known; None: of none."""
        known = [task.cost_usd for task in self.tasks if task.cost_usd is not None]
        return sum(known, Decimal(0)) if known else None

    @property
    def days(self) -> tuple[date, date] | None:
        """First and last day with a rented call."""
        first = [task.first_day for task in self.tasks if task.first_day is not None]
        last = [task.last_day for task in self.tasks if task.last_day is not None]
        return (min(first), max(last)) if first and last else None

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """The audit as JSON values; money as numbers."""
        cost, days = self.cost_usd, self.days
        return {
            "schema": SCHEMA,
            "period": {
                "first_day": None if days is None else days[0].isoformat(),
                "last_day": None if days is None else days[1].isoformat(),
                "days": None if days is None else (days[1] - days[0]).days + 1,
            },
            "total": {
                "calls": sum(task.calls for task in self.tasks),
                "cost_usd": None if cost is None else float(cost),
                "priced_calls": sum(task.priced_calls for task in self.tasks),
                "unpriced_calls": sum(task.unpriced_calls for task in self.tasks),
                "unbilled_failures": sum(task.unbilled_failures for task in self.tasks),
            },
            "tasks": [task.as_record() for task in self.tasks],
            "price_catalogue": self.price_catalogue,
            "assumptions": list(self.assumptions),
        }


def audit(
    source: Source,
    *,
    aliases: Mapping[str, str],
    wanted: Slice | None = None,
    undated_as_of: date | None = None,
    overrides: Sequence[Override] = (),
) -> Audit:
    """Audit the rows of a source.

    A call is priced as of its own day (UTC) and at the tariff of its service tier; where that has no price on the day,
    at the list price, which is then an assumption. One without a time stays unpriced, unless `undated_as_of` names
    the day to assume. `aliases` maps names of models in the log to names in the catalogue; the used ones are
    among the assumptions. `overrides` are the user's own dated prices. Four kinds of row are counted apart and change
    nothing that is said of renting: labelled rows, which no model answered; calls that were brought to test with;
    calls of own models; shadow calls, which repeat a call that is there already.

    Raises:
        InputError: a file of the ledger is damaged.
    """
    chosen, pricing = wanted or Slice(), Pricing(aliases, overrides)
    with opened(source, chosen) as connection:
        scale = build_cube(connection, pricing, undated_as_of=undated_as_of)
        tasks = measure(connection, scale, has_corrections=chosen.corrected_calls is not None)
    return Audit(
        tasks=tuple(tasks), price_catalogue=catalogue_version(), assumptions=pricing.assumptions(undated_as_of)
    )
