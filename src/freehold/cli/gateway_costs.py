"""What all calls cost, for `/metrics` and the live page: counted beside the calls, from what is in the ledger."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from freehold.audit.pricing import Pricing
from freehold.audit.spending import spending
from freehold.economics.overrides import parse_overrides
from freehold.gateway.watch.live import SPENT_AT, SPENT_TODAY, UNPRICED_TODAY
from freehold.ledger.index import INDEX_FILE, Index
from freehold.ledger.rollup import sums_by_day

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from freehold.gateway.watch.metrics import Counters
    from freehold.state.settings import Settings

_SPENT, _UNPRICED = "freehold_cost_usd_total", "freehold_unpriced_calls_total"
_MOST_LABELS = 1000
"""Tasks, and models without a price, that are told apart: clients choose both names."""
_OTHER = "other"


@dataclass(frozen=True, slots=True)
class _Day:
    mark: int
    usd: Mapping[str, Decimal]
    """Task -> cost of its calls whose price is known."""
    unpriced: Mapping[str, int]
    """Model -> calls that cost something that nobody knows."""


class CostCounters:
    """Prices the ledger's daily sums, and puts the result where every worker finds it.

    It does not matter who brought the calls into the ledger. A day whose sums have not changed is not priced again.
    """

    def __init__(self, calls: Path, counters: Counters, pricing: Pricing) -> None:
        """Take the ledger's folder, where to count, and the prices."""
        self._calls = calls
        self._counters = counters
        self._pricing = pricing
        self._days: dict[str, _Day] = {}

    def count(self) -> None:
        """Count what the ledger holds now.

        Raises:
            InputError: the ledger's index is damaged.
        """
        if (self._calls / INDEX_FILE).exists():
            self._price_changed_days()
        today = self._days.get(datetime.now(UTC).date().isoformat())
        put = self._counters.put
        for name, label, totals in (
            (_SPENT, "task", _added([day.usd for day in self._days.values()])),
            (_UNPRICED, "model", _added([day.unpriced for day in self._days.values()])),
        ):
            for key, total in totals.items():
                put(name, ((label, key),), float(total))
        put(SPENT_TODAY, (), 0.0 if today is None else float(sum(today.usd.values())))
        put(UNPRICED_TODAY, (), 0.0 if today is None else float(sum(today.unpriced.values())))
        put(SPENT_AT, (), time.time())

    def _price_changed_days(self) -> None:
        index = Index(self._calls)
        try:
            changed = sums_by_day(index.connection, {day: known.mark for day, known in self._days.items()})
        finally:
            index.close()
        for day, (mark, sums) in changed.items():
            found = spending(sums, self._pricing)
            usd = {line.task: line.cost_usd for line in found.days if line.cost_usd is not None}
            self._days[day] = _Day(mark, usd, found.unpriced)


def _added(days: list[Mapping[str, Decimal]] | list[Mapping[str, int]]) -> dict[str, Decimal]:
    totals: dict[str, Decimal] = {}
    for day in days:
        for name, amount in day.items():
            key = name if name in totals or len(totals) < _MOST_LABELS else _OTHER
            totals[key] = totals.get(key, Decimal(0)) + amount
    return totals


def pricing_of(settings: Settings, folder: Path) -> Pricing:
    """Prices as the settings have them.

    Raises:
        InputError: the file of overrides cannot be used. OSError: it cannot be read.
    """
    name = settings.prices.overrides
    overrides = () if name is None else parse_overrides((folder / name).read_text(encoding="utf-8"), name)
    return Pricing(settings.prices.alias, overrides)
