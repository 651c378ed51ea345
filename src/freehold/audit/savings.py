"""What could be saved today without training anything: answers given twice, prompts sent twice, calls that can wait.

All of it is in dollars a month at the prices of one day, on the traffic of the log. Savings overlap: a call that a
cache answers is not batched as well.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from freehold.audit.cheaper import cheaper_than
from freehold.audit.cube import cost_units
from freehold.audit.pricing import four_rates, tariff_of
from freehold.economics.rates import TOKENS_PER_MTOK, Rates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    import duckdb

    from freehold.audit.cube import Scale
    from freehold.audit.pricing import Pricing
    from freehold.audit.task_audit import TaskAudit
    from freehold.economics.prices import Price

CACHE_DAYS = 7
"""How long an answer is kept: an equal question later than that is asked anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Savings:
    """Of one task; US dollars a month. None: the log or the price list does not tell."""

    usd_per_month: float | None = None
    """What the priced calls of the log cost at the prices of the day."""
    repeated_share: float | None = None
    """Of the calls with a stored request: asked of the same model before, within a week."""
    questions: int | None = None
    """Different requests of the log, as far as they are stored."""
    repeats_usd: float | None = None
    """What those cost: an exact-answer cache saves it."""
    batchable_share: float | None = None
    """Of the priced calls: at the list price and not streamed, so that perhaps nobody waits for them."""
    batch_usd: float | None = None
    """What these would cost less through the batch API."""
    batch_reason: str | None = None
    """Why that is unknown."""
    cheaper_model: str | None = None
    cheaper_usd: float | None = None
    """What all calls would cost less at that model, if its answers are good enough."""
    mix: Price | None = None
    """The rates that the task's tokens are paid at on average, all of its models together."""


@dataclass(slots=True)
class _Sum:
    """Running sums of one task, in dollars of the log's whole period."""

    calls: int = 0
    usd: Decimal = Decimal(0)
    batchable: int = 0
    batch: Decimal = Decimal(0)
    has_batch_price: bool = False
    lacks: str | None = None
    cheaper: Decimal = Decimal(0)
    cheaper_model: str | None = None
    tokens: list[int] = field(default_factory=lambda: [0] * 4)
    """Plain, read and written input, and output."""
    by_kind: list[Decimal] = field(default_factory=lambda: [Decimal(0)] * 4)
    prices: dict[str, Price] = field(default_factory=dict)

    def mix(self) -> Price | None:
        """The rates of its tokens on average; None: nothing was priced."""
        if not self.prices:
            return None
        first = next(iter(self.prices.values()))
        rates = [usd * TOKENS_PER_MTOK / count if count else None for usd, count in zip(self.by_kind, self.tokens,
                                                                                       strict=True)]  # fmt: skip
        plain = rates[0] if rates[0] is not None else first.rates.input_usd_per_mtok
        mixed = Rates(
            input_usd_per_mtok=plain,
            cache_read_usd_per_mtok=rates[1],
            cache_write_usd_per_mtok=rates[2],
            output_usd_per_mtok=rates[3] if rates[3] is not None else first.rates.output_usd_per_mtok,
        )
        name = first.model if len(self.prices) == 1 else f"{len(self.prices)} models"
        return replace(first, model=name, rates=mixed, tiers=(), alias_of=None)


def savings(
    connection: duckdb.DuckDBPyConnection,
    tasks: Sequence[TaskAudit],
    scale: Scale,
    pricing: Pricing,
    *,
    as_of: date,
) -> dict[str, Savings]:
    """By task: what a cache, the batch API and a cheaper model would save a month at the prices of `as_of`."""
    months = {task.task: _per_month(task) for task in tasks}
    sums: defaultdict[str, _Sum] = defaultdict(_Sum)
    rates: dict[tuple[str, str, str, str, int], _Offer | None] = {}
    for task, *mixed in connection.execute(_MIX).fetchall():
        served, asked, provider, tier, bucket, is_stream, calls, *tokens, made = mixed
        key = (served, asked, provider, tier, bucket)
        if key not in rates:
            rates[key] = _offer(key, pricing, as_of)
        offer = rates[key]
        if offer is not None:
            counts = (*(int(each or 0) for each in tokens), None if made is None else int(made))
            _add(sums[task], offer, int(calls), counts, is_stream=is_stream)
    repeated = _repeats(connection, scale)
    found: dict[str, Savings] = {}
    for task in tasks:
        share, repeats_usd, questions = repeated.get(task.task, (None, None, None))
        factor = months[task.task]
        found[task.task] = replace(
            _priced(sums[task.task], factor),
            repeated_share=share,
            questions=questions,
            repeats_usd=_monthly(repeats_usd, factor),
        )
    return found


def _priced(one: _Sum, factor: float | None) -> Savings:
    """What the priced calls of a task say; nothing where none is priced."""
    if not one.calls:
        return Savings()
    is_known = one.has_batch_price or not one.batchable
    return Savings(
        mix=one.mix(),
        usd_per_month=_monthly(one.usd, factor),
        batchable_share=one.batchable / one.calls,
        batch_usd=_monthly(one.batch, factor) if is_known else None,
        batch_reason=None if is_known else one.lacks,
        cheaper_model=one.cheaper_model,
        cheaper_usd=_monthly(one.cheaper, factor) if one.cheaper_model else None,
    )


_MIX = """
    select * exclude (tells_output) from (
        select task, served, asked, provider, tier, bucket, is_stream, tells_output, sum(calls), sum(input_tokens),
            sum(coalesce(cache_read_tokens, 0)), sum(coalesce(cache_write_tokens, 0)), sum(output_tokens)
        from cube where standing = 'rented' and is_counted group by all
    )
"""


def _per_month(task: TaskAudit) -> float | None:
    """How many times the log's calls fit into a month; None: it does not say."""
    return task.calls_per_month / task.calls if task.calls_per_month and task.calls else None


def _monthly(usd: Decimal | None, factor: float | None) -> float | None:
    return None if usd is None or factor is None else float(usd) * factor


_Rates = tuple[Decimal, Decimal, Decimal, Decimal | None]
_Tokens = tuple[int | None, ...]
"""Sums of all, read and written input, and of output; None: nobody counted the output."""


@dataclass(frozen=True, slots=True)
class _Offer:
    """What calls of one model, tier and length cost, and what they could."""

    price: Price
    rates: _Rates
    cheaper: Price | None
    cheaper_rates: _Rates | None
    batch_rates: _Rates | None
    is_at_list: bool
    lacks: str
    """Why there is no batch rate."""


def _offer(key: tuple[str, str, str, str, int], pricing: Pricing, as_of: date) -> _Offer | None:
    """Looked up once for all tasks; None: no price."""
    served, asked, provider, tier, bucket = key
    price = pricing.paid(served, asked, as_of, tier, provider)
    if price is None:
        return None
    length = bucket + 1 if bucket else 0
    cheaper = cheaper_than(price, pricing, as_of)
    batch = pricing.paid(served, asked, as_of, "batch", provider)
    batch = None if batch is None or batch.tariff != "batch" else batch
    lacks = f"The price list has no batch price of {price.model} on {as_of}."
    is_dearer = price.rates_for(length) != price.rates
    if batch is not None and is_dearer and batch.rates_for(length) == batch.rates:
        # A batch rate that says nothing of length is not that of long calls.
        batch, lacks = None, f"The price list has no batch price of {price.model} for calls above {bucket:,} tokens."
    return _Offer(
        price=price,
        rates=four_rates(price.rates_for(length)),
        cheaper=cheaper,
        cheaper_rates=None if cheaper is None else four_rates(cheaper.rates_for(length)),
        batch_rates=None if batch is None else four_rates(batch.rates_for(length)),
        is_at_list=tariff_of(tier) == "list",
        lacks=lacks,
    )


def _add(one: _Sum, offer: _Offer, calls: int, tokens: _Tokens, *, is_stream: bool) -> None:
    parts = _parts(offer.rates, tokens)
    if parts is None:
        return
    usd = sum((paid for _, paid in parts), Decimal(0))
    one.calls += calls
    one.usd += usd
    one.prices.setdefault(offer.price.model, offer.price)
    for place, (count, paid) in enumerate(parts):
        one.tokens[place] += count
        one.by_kind[place] += paid
    other = None if offer.cheaper_rates is None else _usd(offer.cheaper_rates, tokens)
    if offer.cheaper is not None and other is not None and other < usd:
        one.cheaper += usd - other
        one.cheaper_model = one.cheaper_model or offer.cheaper.model
    if is_stream or not offer.is_at_list:
        return
    one.batchable += calls
    waited = None if offer.batch_rates is None else _usd(offer.batch_rates, tokens)
    if waited is None:
        one.lacks = one.lacks or offer.lacks
        return
    one.has_batch_price = True
    one.batch += max(Decimal(0), usd - waited)


def _usd(rates: _Rates, tokens: _Tokens) -> Decimal | None:
    """Dollars of sums of tokens whose calls all lie in one bucket; None: the output has no rate or no count."""
    parts = _parts(rates, tokens)
    return None if parts is None else sum((usd for _, usd in parts), Decimal(0))


def _parts(rates: _Rates, tokens: _Tokens) -> list[tuple[int, Decimal]] | None:
    """Tokens and dollars of plain, read and written input, and of output."""
    given, reads, writes = (each or 0 for each in tokens[:3])
    made = tokens[3]
    if made is None if rates[3] is not None else made:
        return None
    counts = (given - reads - writes, reads, writes, made or 0)
    return [(count, count * (rate or Decimal(0)) / TOKENS_PER_MTOK) for count, rate in zip(counts, rates, strict=True)]


def _repeats(connection: duckdb.DuckDBPyConnection, scale: Scale) -> Mapping[str, tuple[float, Decimal | None, int]]:
    """By task with stored requests: share of the calls that repeat one of the week before, and what they cost."""
    found = connection.execute(_REPEATS).fetchall()
    return {
        task: (int(repeats) / int(calls), scale.usd(units), int(first)) for task, calls, repeats, units, first in found
    }


_REPEATS = f"""
    with questions as (
        select c.task, c.question, c.moment, {cost_units("c", "r")} as units
        from asked_rows c left join rates r using (served, asked, provider, tier, day, bucket)
        where c.standing = 'rented' and not c.is_error
    ), placed as (
        select *, row_number() over asked as place, lag(moment) over asked as earlier
        from questions window asked as (partition by task, question order by moment nulls last)
    )
    select task, count(*), count(*) filter (is_kept), coalesce(sum(units) filter (is_kept), 0),
        count(*) filter (place = 1) from (
        select *, place > 1 and (moment is null or earlier is null
            or moment - earlier <= interval {CACHE_DAYS} days) as is_kept from placed
    ) group by task
"""  # noqa: S608 (names and a number of our own)
