"""What a recorded body cost: its tokens by kind, each at the finest rate that the price has for it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from freehold.economics.rates import TOKENS_PER_MTOK

if TYPE_CHECKING:
    from freehold.economics.prices import Price
    from freehold.economics.rates import Rates
    from freehold.economics.usage import Recorded

SEARCHES_PER_KCOUNT = 1000
MEDIA = ("audio", "image", "video")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """US dollars of one call."""

    input_usd: Decimal
    output_usd: Decimal
    searches_usd: Decimal | None
    """None: the call searched, and the price has no rate for that."""

    @property
    def total_usd(self) -> Decimal | None:
        """All of it; None where a part is unknown."""
        return None if self.searches_usd is None else self.input_usd + self.output_usd + self.searches_usd


def bill_of(found: Recorded, price: Price) -> Bill | str:
    """The bill of a call without the steps that are billed apart, or a sentence that says why there is none.

    Text, cached and written input and output are billed as in `prices.cost_of_call`. Audio, images, video and
    one-hour caches have rates of their own where the catalogue has them; without one they are billed like text.
    A finer part is taken out of its whole, so that every token is billed once.
    """
    usage, finer = found.usage, dict(found.finer)
    if usage.input_tokens is None or usage.output_tokens is None:
        missing = "input" if usage.input_tokens is None else "output"
        return f"the body does not count its {missing}"
    rates = price.rates_for(usage.input_tokens)
    if rates.output_usd_per_mtok is None and usage.output_tokens > 0:
        return f"{price.model} has no rate for output"
    own = dict(rates.finer)
    given = _input_parts(found, rates, own)
    made = _output_parts(usage.output_tokens, finer, rates, own)
    if min(count for count, _ in (*given, *made)) < 0:
        return "the parts of the body's counts exceed their whole"
    searches = finer.get("web_searches", 0)
    rate = own.get("web_searches_kcount")
    return Bill(
        input_usd=_sum(given),
        output_usd=_sum(made),
        searches_usd=Decimal(0) if not searches else (None if rate is None else searches * rate / SEARCHES_PER_KCOUNT),
    )


def _input_parts(found: Recorded, rates: Rates, own: dict[str, Decimal]) -> list[tuple[int, Decimal]]:
    """Tokens and rate of every kind of input; what is left over is plain text."""
    usage, finer = found.usage, dict(found.finer)
    text = rates.input_usd_per_mtok
    read_rate = text if rates.cache_read_usd_per_mtok is None else rates.cache_read_usd_per_mtok
    write_rate = text if rates.cache_write_usd_per_mtok is None else rates.cache_write_usd_per_mtok
    read, written = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
    hour = finer.get("cache_write_1h_tokens", 0)
    parts = [(hour, own.get("cache_write_1h_mtok", write_rate)), (written - hour, write_rate)]
    for kind in MEDIA:
        cached = finer.get(f"cache_{kind}_read_tokens", 0)
        fresh = finer.get(f"input_{kind}_tokens", 0) - cached
        parts.append((fresh, own.get(f"input_{kind}_mtok", text)))
        parts.append((cached, own.get(f"cache_{kind}_read_mtok", read_rate)))
        read -= cached
    parts.append((read, read_rate))
    assert usage.input_tokens is not None
    return [*parts, (usage.input_tokens - sum(count for count, _ in parts), text)]


def _output_parts(
    output: int, finer: dict[str, int], rates: Rates, own: dict[str, Decimal]
) -> list[tuple[int, Decimal]]:
    text = Decimal(0) if rates.output_usd_per_mtok is None else rates.output_usd_per_mtok
    parts = [(finer.get(f"output_{kind}_tokens", 0), own.get(f"output_{kind}_mtok", text)) for kind in MEDIA]
    return [*parts, (output - sum(count for count, _ in parts), text)]


def _sum(parts: list[tuple[int, Decimal]]) -> Decimal:
    return sum((count * rate for count, rate in parts), Decimal(0)) / TOKENS_PER_MTOK
