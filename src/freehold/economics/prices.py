"""Dated list prices of rented models, and the cost of a call at such a price.

The catalogue is the one inside the installed `genai-prices` package: offline, not updated in the background.
Only list prices are used. Some batch and flex prices of the catalogue begin late in 2026, and for an earlier
day it silently answers with the list price; whoever wants such a discount states it as an assumption.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

from genai_prices.data import providers
from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import StartDateConstraint, TieredPrices, TimeOfDateConstraint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.core.chat import Usage

TOKENS_PER_MTOK = Decimal(1_000_000)

TOKEN_KEYS = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok")

HARMLESS_KEYS = frozenset(
    {
        *TOKEN_KEYS,
        "cache_write_1h_mtok",
        "web_searches_kcount",
        "storage_searches_kcount",
        "input_audio_mtok",
        "output_audio_mtok",
        "cache_audio_read_mtok",
        "input_image_mtok",
        "output_image_mtok",
        "cache_image_read_mtok",
        "input_video_mtok",
        "output_video_mtok",
    }
)
"""What a catalogue entry may hold and a plain text call is still priced by its four token counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """US dollars per million tokens. None means that the catalogue has no such rate."""

    input_usd_per_mtok: Decimal
    output_usd_per_mtok: Decimal | None
    cache_read_usd_per_mtok: Decimal | None
    """None: cached input is billed like any other."""
    cache_write_usd_per_mtok: Decimal | None
    """None: written input is billed like any other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """Rates of a call whose whole input is longer than a threshold; they hold for all of its tokens."""

    above_input_tokens: int
    rates: Rates


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """List price of one model on one day."""

    model: str
    """Name as it was asked for."""
    provider: str
    catalogue_model: str
    rates: Rates
    tiers: tuple[Tier, ...] = ()
    """By rising threshold."""
    as_of: date
    valid_from: date | None = None
    """First day of this rate; None: the catalogue knows one rate only and does not say since when."""
    source: str
    """The provider's price page, as the catalogue names it."""
    catalogue: str
    """Catalogue and version."""
    alias_of: str | None = None
    """The name this model was assumed to be billed as; None when it was found under its own."""
    note: str | None = None
    """What was assumed about the rate itself."""
    tariff: Literal["list"] = "list"

    @property
    def input_usd_per_mtok(self) -> Decimal:
        """Rate of uncached input below the first tier."""
        return self.rates.input_usd_per_mtok

    @property
    def output_usd_per_mtok(self) -> Decimal | None:
        """Rate of output below the first tier."""
        return self.rates.output_usd_per_mtok

    def rates_for(self, input_tokens: float) -> Rates:
        """Rates of a call with this much input."""
        chosen = self.rates
        for tier in self.tiers:
            if input_tokens > tier.above_input_tokens:
                chosen = tier.rates
        return chosen

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """Everything that identifies the price; money as numbers."""
        return {
            "model": self.model,
            "alias_of": self.alias_of,
            "provider": self.provider,
            "catalogue_model": self.catalogue_model,
            "as_of": self.as_of.isoformat(),
            "valid_from": None if self.valid_from is None else self.valid_from.isoformat(),
            "tariff": self.tariff,
            **_rates_record(self.rates),
            "tiers": [
                {"above_input_tokens": tier.above_input_tokens, **_rates_record(tier.rates)} for tier in self.tiers
            ],
            "source": self.source,
            "catalogue": self.catalogue,
            "note": self.note,
        }


def catalogue_version() -> str:
    """Name and version of the price catalogue, to be named beside every cost."""
    return f"genai-prices {version('genai-prices')}"


def price_of(model: str, as_of: date, *, aliases: Mapping[str, str]) -> Price | None:
    """List price of `model` on a day, or None if the catalogue cannot price its plain text calls.

    `aliases` maps a name in a log to a catalogue name; what it decides is marked in `alias_of`.
    A name may carry its provider in front: `together/meta-llama/Llama-3.3-70B-Instruct-Turbo`.
    """
    billed_as = aliases.get(model, model)
    found = _find(billed_as)
    if found is None:
        return None
    provider, entry = found
    dated = _prices_on(entry, as_of)
    if dated is None:
        return None
    stored, valid_from, note = dated
    values = {key: value for key, value in vars(stored).items() if value is not None}
    if "input_mtok" not in values or not values.keys() <= HARMLESS_KEYS:
        return None
    return Price(
        model=model,
        provider=provider.id,
        catalogue_model=entry.id,
        rates=_rates(values, above=None),
        tiers=tuple(Tier(above_input_tokens=start, rates=_rates(values, above=start)) for start in _starts(values)),
        as_of=as_of,
        valid_from=valid_from,
        source=(provider.pricing_urls or [catalogue_version()])[0],
        catalogue=catalogue_version(),
        alias_of=billed_as if model in aliases else None,
        note=note,
    )


def cost_of_call(usage: Usage, price: Price) -> Decimal | None:
    """US dollars of one call: uncached, cached and written input and output, each at its own rate.

    The tier follows from this call's own input. Reasoning tokens are inside the output already.

    Returns:
        None when a count or a needed rate is unknown, or the counts contradict each other.
    """
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    read, written = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
    plain = usage.input_tokens - read - written
    if min(plain, read, written, usage.output_tokens) < 0:
        return None
    rates = price.rates_for(usage.input_tokens)
    if rates.output_usd_per_mtok is None and usage.output_tokens > 0:
        return None
    total = (
        plain * rates.input_usd_per_mtok
        + read * _or_input(rates.cache_read_usd_per_mtok, rates)
        + written * _or_input(rates.cache_write_usd_per_mtok, rates)
        + usage.output_tokens * (rates.output_usd_per_mtok or Decimal(0))
    )
    return total / TOKENS_PER_MTOK


def _or_input(rate: Decimal | None, rates: Rates) -> Decimal:
    return rates.input_usd_per_mtok if rate is None else rate


@cache
def _snapshot() -> DataSnapshot:
    return DataSnapshot(providers=providers, from_auto_update=False)


@cache
def _find(name: str) -> tuple[Any, Any] | None:  # Any: the catalogue's own classes are untyped to us
    """Provider and entry of a name, tried as it is and then as `provider/model`."""
    provider_id, slash, rest = name.partition("/")
    attempts = [(name, None), (rest, provider_id)] if slash and rest else [(name, None)]
    for model, provider in attempts:
        try:
            return _snapshot().find_provider_model(model, None, provider, None)  # type: ignore[no-any-return]
        except LookupError:
            continue
    return None


def _prices_on(entry: Any, as_of: date) -> tuple[Any, date | None, str | None] | None:
    """Stored prices of a day, their first day, and what was assumed. None: no price on that day."""
    if not isinstance(entry.prices, list):
        return entry.prices, None, None
    noon = datetime.combine(as_of, time(12), tzinfo=UTC)
    note = None
    if any(isinstance(dated.constraint, TimeOfDateConstraint) for dated in entry.prices):
        note = "the provider charges by the time of day; its rate at 12:00 UTC is used"
    for dated in reversed(entry.prices):
        constraint = dated.constraint
        if constraint is None or constraint.active(noon):
            start = constraint.start_date if isinstance(constraint, StartDateConstraint) else None
            return dated.prices, start, note
    return None


def _starts(values: Mapping[str, Any]) -> list[int]:
    """Thresholds of all tiers, rising."""
    tiered = [value for key, value in values.items() if key in TOKEN_KEYS and isinstance(value, TieredPrices)]
    return sorted({tier.start for value in tiered for tier in value.tiers})


def _rates(values: Mapping[str, Any], *, above: int | None) -> Rates:
    """The four rates of a call whose input lies just above a threshold; None: below all of them."""
    picked: list[Decimal | None] = []
    for key in TOKEN_KEYS:
        value = values.get(key)
        if isinstance(value, TieredPrices):
            reached = [tier.price for tier in value.tiers if above is not None and tier.start <= above]
            value = reached[-1] if reached else value.base
        picked.append(value)
    given, output, read, written = picked
    assert given is not None
    return Rates(
        input_usd_per_mtok=given,
        output_usd_per_mtok=output,
        cache_read_usd_per_mtok=read,
        cache_write_usd_per_mtok=written,
    )


def _rates_record(rates: Rates) -> dict[str, float | None]:
    return {
        "input_usd_per_mtok": float(rates.input_usd_per_mtok),
        "output_usd_per_mtok": _number(rates.output_usd_per_mtok),
        "cache_read_usd_per_mtok": _number(rates.cache_read_usd_per_mtok),
        "cache_write_usd_per_mtok": _number(rates.cache_write_usd_per_mtok),
    }


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
