"""Why the ledger and an invoice differ on one day and model: causes that were counted, one after the other.

What a cause accounts for is either known (a tariff that gives the invoice's amount, tokens that were counted otherwise)
or estimated from the invoice's own mean, and then it never accounts for more than what is left.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, Protocol

from freehold.audit.billed import Cell, price_of_cell
from freehold.audit.supposed import calls_of, is_by_the_hour, not_refuted, supposed
from freehold.core.chat import Usage
from freehold.economics.catalogue import BY_THE_HOUR
from freehold.economics.prices import cost_of_call

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from freehold.audit.invoice import InvoiceLine
    from freehold.audit.pricing import Pricing

CauseKind = Literal[
    "unpriced", "day-boundary", "missing-rows", "extra-rows", "failed-calls", "retries", "tier", "price-override",
    "price-version", "price", "cache", "tokens", "credit", "not-invoiced", "rounding",
]  # fmt: skip
_NEAR = Decimal("0.002")
"""A supposition holds if it gives the invoice's amount to within this share: token counts of the sides may differ."""
_QUOTIENT = Decimal("1e-12")
_MOST_OF_FAILED = 2
"""Times the mean cost of a call that a failed one may have cost, where nothing but the amount tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One reason for a difference."""

    kind: CauseKind
    usd: Decimal
    """What it adds to the ledger's side over the invoice's; negative: the invoice has more."""
    calls: int | None
    """Calls that it is about; None: nobody knows."""
    sentence: str


@dataclass(slots=True, kw_only=True)
class Side:
    """What both sides say of one day and model."""

    day: date
    model: str
    cells: list[Cell] = field(default_factory=list)
    lines: list[InvoiceLine] = field(default_factory=list)
    shifted_usd: Decimal | None = None
    """Of the ledger, if days began when the provider's seem to; None: they begin at midnight UTC."""


class Amounts(Protocol):
    """What is known of both sides."""

    @property
    def ledger_usd(self) -> Decimal:
        """Of the calls whose price is known."""
        ...

    @property
    def invoice_usd(self) -> Decimal:
        """Of all lines."""
        ...

    @property
    def ledger_calls(self) -> int:
        """Failed ones and those without a price included."""
        ...

    @property
    def unpriced_calls(self) -> int:
        """Calls that did not fail and whose cost is unknown."""
        ...

    @property
    def invoice_requests(self) -> int | None:
        """None: the invoice does not tell."""
        ...


@dataclass(slots=True)
class _Rest:
    """What is not explained yet."""

    usd: Decimal
    causes: list[Cause] = field(default_factory=list)

    def take(self, kind: CauseKind, usd: Decimal, calls: int | None, sentence: str) -> None:
        """A cause accounts for this much."""
        if usd:
            self.causes.append(Cause(kind=kind, usd=usd, calls=calls, sentence=sentence))
            self.usd -= usd

    def estimate(self, kind: CauseKind, usd: Decimal, calls: int, sentence: str) -> None:
        """As `take`, but for no more than what is left, and not against its sign."""
        if usd * self.usd > 0:
            # A quotient has no last digit; cut off here, everything that is added up stays exact.
            usd = min(usd.quantize(_QUOTIENT), self.usd, key=abs)
            self.take(kind, usd, calls, f"{sentence}, at the invoice's mean per request")


def explain(side: Side, known: Amounts, pricing: Pricing, tolerance: Decimal) -> tuple[Cause, ...]:
    """The causes of a difference; together they may leave a rest.

    Args:
        side: The calls and the lines of one day and model.
        known: Their sums.
        pricing: Where prices come from.
        tolerance: US dollars that the invoice's rounding may hide.
    """
    rest = _Rest(known.ledger_usd - known.invoice_usd)
    if side.shifted_usd is not None:
        shifted = known.ledger_usd - side.shifted_usd
        rest.take("day-boundary", shifted, None, "calls of the hours that the two sides count to different days")
    if not side.cells and not side.shifted_usd:
        _without_calls(rest, known, side.model)
    elif not side.lines:
        _without_lines(rest, side, known)
    elif abs(rest.usd) > tolerance:
        _credits(rest, side)
        _unpriced(rest, known)
        if not _suppose(rest, side, known, pricing, tolerance):
            _counts(rest, side, known, pricing)
            if not _suppose(rest, side, known, pricing, tolerance):
                _failed_and_billed(rest, side, known)
                _price_alone(rest, side, known)
                _by_the_hour(rest, side, pricing)
    if rest.usd and abs(rest.usd) <= tolerance:
        rest.take("rounding", rest.usd, None, "less than what the invoice rounds away")
    return tuple(rest.causes)


def priced_line(line: InvoiceLine, cells: Sequence[Cell], pricing: Pricing) -> InvoiceLine:
    """A line that tells tokens, with their cost at the price that the ledger has; as it is where there is none."""
    price = pricing.paid(line.model or "", "", line.day, line.tier or "")
    price = price or next((found for cell in cells if (found := price_of_cell(cell, pricing)) is not None), None)
    if price is None or line.input_tokens is None or line.output_tokens is None:
        return line
    usage = Usage(
        input_tokens=line.input_tokens, output_tokens=line.output_tokens, cache_read_tokens=line.cached_tokens
    )
    # A bucket holds many calls: no single one of them has a length of input that is known.
    return replace(line, usd=cost_of_call(usage, replace(price, tiers=())))


def _without_calls(rest: _Rest, known: Amounts, model: str) -> None:
    if known.invoice_usd < 0:
        rest.take("credit", rest.usd, None, "a credit, which no call can be")
        return
    requests = known.invoice_requests
    count = "no call" if requests is None else f"none of {requests} requests"
    rest.take("missing-rows", rest.usd, requests, f"the ledger has {count} of {model!r} on this day")


def _without_lines(rest: _Rest, side: Side, known: Amounts) -> None:
    if side.cells and all(cell.is_error for cell in side.cells):
        rest.take("failed-calls", rest.usd, known.ledger_calls, f"{known.ledger_calls} failed calls were not billed")
    else:
        rest.take("not-invoiced", rest.usd, known.ledger_calls, f"the invoice has none of {known.ledger_calls} calls")


def _credits(rest: _Rest, side: Side) -> None:
    """Lines below zero among others, as far as the invoice is the lower for them."""
    usd = -sum((line.usd for line in side.lines if line.usd is not None and line.usd < 0), Decimal(0))
    if usd * rest.usd > 0:
        rest.take("credit", min(usd, rest.usd), None, "a credit, which no call can be")


def _unpriced(rest: _Rest, known: Amounts) -> None:
    """Calls whose price nobody knows stand on the invoice alone."""
    count = known.unpriced_calls
    if not count:
        return
    sentence = f"the price of {count} {'call' if count == 1 else 'calls'} is unknown"
    if not known.ledger_usd and rest.usd < 0:
        rest.take("unpriced", rest.usd, count, sentence)
    elif known.invoice_requests:
        rest.estimate("unpriced", -known.invoice_usd * count / known.invoice_requests, count, sentence)
    else:
        # How much they are worth cannot be told: they are named, and the rest stays unexplained.
        rest.causes.append(Cause(kind="unpriced", usd=Decimal(0), calls=count, sentence=sentence))


def _counts(rest: _Rest, side: Side, known: Amounts, pricing: Pricing) -> None:
    """Requests and tokens that one side has and the other has not."""
    failed = calls_of([cell for cell in side.cells if cell.is_error])
    requests = known.invoice_requests
    missing = max(0, requests - known.ledger_calls) if requests is not None else 0
    billed = min(_unseen(side), max(0, requests - known.ledger_calls + failed)) if requests is not None else 0
    extra = max(0, known.ledger_calls - failed - requests) if requests is not None else 0
    lacks = f"{missing} of {requests} requests are not in the ledger"
    has_more = f"{extra} of {known.ledger_calls} calls are not among the invoice's requests"
    by_tokens = _by_tokens(side, pricing)
    if by_tokens is not None:
        usd, is_cache = by_tokens
        if missing and usd < 0:
            rest.take("missing-rows", usd, missing, lacks)
        elif billed and usd < 0:
            rest.take("failed-calls", usd, billed, _billed(billed))
        elif extra and usd > 0:
            rest.take("extra-rows", usd, extra, has_more)
        elif is_cache:
            rest.take("cache", usd, None, "the two sides count other numbers of cached tokens")
        else:
            rest.take("tokens", usd, None, "the two sides count other numbers of tokens")
    elif missing and requests:
        rest.estimate("missing-rows", -known.invoice_usd * missing / requests, missing, lacks)
    elif billed and requests:
        rest.estimate("failed-calls", -known.invoice_usd * billed / requests, billed, _billed(billed))
    elif extra:
        rest.estimate("extra-rows", known.ledger_usd * extra / known.ledger_calls, extra, has_more)


def _failed_and_billed(rest: _Rest, side: Side, known: Amounts) -> None:
    """Failed calls of which the ledger has no tokens, if they may have cost the amount and nothing counts them."""
    failed, counted = _unseen(side), calls_of([cell for cell in side.cells if cell.is_counted])
    if rest.causes or known.invoice_requests is not None or rest.usd >= 0 or not failed or not counted:
        return
    times = -rest.usd * counted / (known.ledger_usd * failed) if known.ledger_usd else Decimal(0)
    if 1 / Decimal(_MOST_OF_FAILED) <= times <= _MOST_OF_FAILED:
        rest.take("failed-calls", rest.usd, failed, f"{_billed(failed)}, at {times:.1f} times the mean of a call")


def _unseen(side: Side) -> int:
    """Failed calls whose tokens the ledger does not have: a provider may have answered after the caller had left."""
    return calls_of([cell for cell in side.cells if cell.is_error and not cell.is_counted])


def _billed(calls: int) -> str:
    return f"{calls} failed {'call was' if calls == 1 else 'calls were'} billed, of which the ledger has no tokens"


def _price_alone(rest: _Rest, side: Side, known: Amounts) -> None:
    """Requests and tokens are the same on both sides, so what differs is what a token costs."""
    if rest.causes or known.unpriced_calls or not known.ledger_usd or known.invoice_requests not in {
        None, known.ledger_calls, known.ledger_calls - calls_of([cell for cell in side.cells if cell.is_error])
    }:  # fmt: skip
        return
    ours = [cell.usage for cell in side.cells if cell.is_counted]
    counts = (("input_tokens",) * 2, ("output_tokens",) * 2, ("cache_read_tokens", "cached_tokens"))
    lines = [line for line in side.lines if line.input_tokens is not None and line.output_tokens is not None]
    if not lines:
        return
    for mine, its in counts:
        told = [getattr(line, its) for line in lines]
        if None in told and mine != "cache_read_tokens":
            return
        if None not in told and sum(told) != sum(getattr(usage, mine) or 0 for usage in ours):
            return
    ratio = known.invoice_usd / known.ledger_usd - 1
    sentence = "requests and tokens are the same on both sides: the invoice's price per token is "
    rest.take("price", rest.usd, None, f"{sentence}{abs(ratio):.1%} {'higher' if ratio > 0 else 'lower'}")


def _by_the_hour(rest: _Rest, side: Side, pricing: Pricing) -> None:
    """How much of a rest the time of day makes cannot be told: it is named, and the rest stays unexplained."""
    if not rest.causes and is_by_the_hour(side, pricing):
        rest.causes.append(Cause(kind="price", usd=Decimal(0), calls=None, sentence=BY_THE_HOUR))


def _by_tokens(side: Side, pricing: Pricing) -> tuple[Decimal, bool] | None:
    """What the ledger's tokens cost over the invoice's at one price, and whether the cached ones alone differ.

    None: the invoice does not tell them, or several rates hold.
    """
    told = [line for line in side.lines if line.input_tokens is not None and line.output_tokens is not None]
    counted = [cell for cell in side.cells if cell.is_counted]
    rates = {(price.rates_for(cell.bucket + 1), price.tariff) for cell in counted
             if (price := price_of_cell(cell, pricing)) is not None}  # fmt: skip
    price = next((found for cell in counted if (found := price_of_cell(cell, pricing)) is not None), None)
    if not told or price is None or len(rates) != 1:
        return None
    ours = [cell.usage for cell in counted]
    tells_cache = all(line.cached_tokens is not None for line in told)
    read = sum(usage.cache_read_tokens or 0 for usage in ours)
    theirs = Usage(
        input_tokens=sum(line.input_tokens or 0 for line in told),
        output_tokens=sum(line.output_tokens or 0 for line in told),
        cache_read_tokens=sum(line.cached_tokens or 0 for line in told) if tells_cache else read,
        cache_write_tokens=sum(usage.cache_write_tokens or 0 for usage in ours),
    )
    mine = sum((cost for cell in counted if (cost := cell.cost(price)) is not None), Decimal(0))
    other = replace(counted[0], usage=theirs).cost(price)
    if other is None:
        return None
    totals = (sum(usage.input_tokens or 0 for usage in ours), sum(usage.output_tokens or 0 for usage in ours))
    return mine - other, totals == (theirs.input_tokens, theirs.output_tokens)


def _suppose(rest: _Rest, side: Side, known: Amounts, pricing: Pricing, tolerance: Decimal) -> bool:
    """Take the supposition that gives the invoice's amount, if any does; of several the nearest one."""
    if abs(rest.usd) <= tolerance:
        return False
    near = max(tolerance, abs(known.invoice_usd) * _NEAR)
    near = min(near, abs(rest.usd) / 2)  # what does not make the difference smaller explains nothing
    allowed = not_refuted(side, known)
    fitting = [
        one for one in supposed(side, pricing) if one.kind in allowed and one.usd and abs(rest.usd - one.usd) <= near
    ]
    if not fitting:
        return False
    nearest = min(abs(rest.usd - one.usd) for one in fitting)
    # What the invoice's rounding cannot tell apart is all said, the likeliest first.
    equal = [one for one in fitting if abs(rest.usd - one.usd) <= nearest + tolerance]
    first, *others = sorted(equal, key=lambda one: (not one.is_likely, abs(rest.usd - one.usd)))
    sentence = ", or ".join(dict.fromkeys((first.sentence, *(one.sentence for one in others))))
    rest.take(first.kind, first.usd, first.calls, sentence)
    return True
