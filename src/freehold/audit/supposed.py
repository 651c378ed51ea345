"""What would make the ledger's amount the invoice's: calls that were not billed, another tariff, another day's price.

A supposition is worked out for all calls of a day and model at once and compared with what the invoice says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from freehold.audit.billed import Cell, catalogue_price, price_of_cell
from freehold.economics.catalogue import BY_THE_HOUR
from freehold.economics.prices import NoPrice, Price, find_price
from freehold.economics.sellers import seller_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from freehold.audit.causes import Amounts, CauseKind, Side
    from freehold.audit.pricing import Pricing
    from freehold.economics.catalogue import Tariff

_TARIFFS: tuple[Tariff, ...] = ("batch", "flex", "priority", "list")
_SOON = timedelta(days=7)
"""Providers go on billing at a price for some days after it changed, or begin to some days before."""


@dataclass(frozen=True, slots=True)
class Supposition:
    """Something that may have been so."""

    kind: CauseKind
    usd: Decimal
    """What the ledger has more than it would have."""
    calls: int
    sentence: str
    is_likely: bool = False
    """Something beside the amount speaks for it."""


def is_by_the_hour(side: Side, pricing: Pricing) -> bool:
    """Some calls have a price that changes with the time of day."""
    prices = (price_of_cell(cell, pricing) for cell in side.cells)
    return any(price is not None and BY_THE_HOUR in (price.note or "") for price in prices)


def not_refuted(side: Side, known: Amounts) -> set[CauseKind]:
    """What may be supposed: calls that were not billed, or another price for them all, only if the counts allow it."""
    kinds: set[CauseKind] = {"failed-calls", "retries", "price-override", "tier", "price-version", "cache"}
    requests = known.invoice_requests
    if side.shifted_usd is not None:
        return kinds  # the counts of the two sides are of other hours
    failed = calls_of([cell for cell in side.cells if cell.is_error])
    retried = calls_of([cell for cell in side.cells if cell.is_retry and not cell.is_error])
    allowed: set[CauseKind] = set()
    if requests is None or requests in {known.ledger_calls, known.ledger_calls - failed}:
        allowed.add("failed-calls")
    if requests is None or requests in {known.ledger_calls, known.ledger_calls - retried}:
        allowed.add("retries")
    is_equal = requests is None or requests in {known.ledger_calls, known.ledger_calls - failed}
    if is_equal and not _tokens_differ(side):
        allowed |= kinds - {"failed-calls", "retries"}
    return allowed


def _tokens_differ(side: Side) -> bool:
    """The invoice tells tokens, and they are not those of the ledger."""
    told = [line for line in side.lines if line.input_tokens is not None and line.output_tokens is not None]
    if not told or not all(cell.is_counted for cell in side.cells if not cell.is_error):
        return False
    ours = [cell.usage for cell in side.cells if cell.is_counted]
    mine = (sum(one.input_tokens or 0 for one in ours), sum(one.output_tokens or 0 for one in ours))
    return mine != (sum(one.input_tokens or 0 for one in told), sum(one.output_tokens or 0 for one in told))


def supposed(side: Side, pricing: Pricing) -> Iterator[Supposition]:
    """What each supposition would make of the ledger's amount: the ledger as it is, minus what it would be."""
    failed = [cell for cell in side.cells if cell.is_error]
    retried = [cell for cell in side.cells if cell.is_retry and not cell.is_error]
    count = calls_of(failed)
    yield Supposition("failed-calls", cost_of(failed, pricing), count, f"{count} failed calls were not billed")
    count = calls_of(retried)
    yield Supposition("retries", cost_of(retried, pricing), count, f"{count} repeated calls were not billed")
    own = [cell for cell in side.cells if (price := price_of_cell(cell, pricing)) is not None and price.is_override]
    at = _at([(cell, catalogue_price(cell, pricing, cell.day)) for cell in own])
    if own and at is not None:
        sentence = f"{calls_of(own)} calls are priced by your own row, and were billed at the catalogue's price"
        yield Supposition("price-override", cost_of(own, pricing) - at, calls_of(own), sentence)
    yield from _other_prices(side, pricing)
    cached = [cell for cell in side.cells if cell.usage.cache_read_tokens]
    plain = [replace(cell, usage=replace(cell.usage, cache_read_tokens=0)) for cell in cached]
    at = _at([(cell, price_of_cell(cell, pricing)) for cell in plain])
    if at is not None:
        sentence = f"cached input of {calls_of(cached)} calls was billed like any other"
        yield Supposition("cache", cost_of(cached, pricing) - at, calls_of(cached), sentence)


def _other_prices(side: Side, pricing: Pricing) -> Iterator[Supposition]:
    """All calls under another tariff, or at the rate of another day."""
    cells = side.cells
    whole, count = cost_of(cells, pricing), calls_of(cells)
    for tariff in _TARIFFS:
        at = _at([(cell, _with_tariff(cell, pricing, tariff)) for cell in cells])
        if at is not None:
            yield Supposition("tier", whole - at, count, f"{count} calls were billed at the {tariff} tariff")
    # Where a price changes by the hour, nearly any amount is that of some other day.
    days = () if is_by_the_hour(side, pricing) else sorted(_other_days(cells, pricing))
    for day in days:
        at = _at([(cell, catalogue_price(cell, pricing, day)) for cell in cells])
        if at is not None:
            sentence = f"{count} calls were billed at the price of {day}"
            yield Supposition("price-version", whole - at, count, sentence, is_likely=abs(day - side.day) <= _SOON)


def _with_tariff(cell: Cell, pricing: Pricing, tariff: Tariff) -> Price | None:
    """The price under a tariff on the day, or else the first one that is known of it."""
    for seller in dict.fromkeys((seller_of(cell.provider), None)):
        for name in filter(None, (cell.model, cell.asked)):
            found = _find(name, seller, cell.day, pricing, tariff)
            if isinstance(found, NoPrice) and found.first_day is not None:
                found = _find(name, seller, found.first_day, pricing, tariff)
            if isinstance(found, Price):
                return found
    return None


def _find(name: str, seller: str | None, day: date, pricing: Pricing, tariff: Tariff) -> Price | NoPrice:
    return find_price(name, day, aliases=pricing.aliases, provider=seller, tariff=tariff, overrides=pricing.overrides)


def _other_days(cells: Sequence[Cell], pricing: Pricing) -> set[date]:
    """A day on which the rate before, or after, that of these calls held."""
    days: set[date] = set()
    for cell in cells:
        price = price_of_cell(cell, pricing)
        if price is not None and price.valid_from is not None:
            days.add(price.valid_from - timedelta(days=1))
        if price is not None and price.next_change is not None:
            days.add(price.next_change)
    return days


def _at(priced: Sequence[tuple[Cell, Price | None]]) -> Decimal | None:
    """US dollars of cells at other prices; None: one of them has none."""
    total = Decimal(0)
    for cell, price in priced:
        if cell.is_counted:
            cost = cell.cost(price)
            if cost is None:
                return None
            total += cost
    return total


def cost_of(cells: Sequence[Cell], pricing: Pricing) -> Decimal:
    """US dollars of those whose price is known."""
    costs = (cell.cost(price_of_cell(cell, pricing)) for cell in cells)
    return sum((cost for cost in costs if cost is not None), Decimal(0))


def calls_of(cells: Sequence[Cell]) -> int:
    """Calls in all of them."""
    return sum(cell.calls for cell in cells)
