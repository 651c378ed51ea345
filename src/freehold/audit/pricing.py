"""Prices of what a log names, each looked up once per run of days, and what had to be assumed on the way."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, get_args

from freehold.economics.catalogue import Tariff
from freehold.economics.prices import Price, find_price
from freehold.economics.sellers import seller_of
from freehold.economics.usage import tariff_word

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from freehold.economics.overrides import Override
    from freehold.economics.rates import Rates

_Run = tuple[date, date | None, Price | None]
"""First day, first day of the next answer (None: none is known), and the answer."""


def tariff_of(service_tier: str | None) -> Tariff | None:
    """The tariff that a call was billed under; None: the provider has a word for it that nobody here knows."""
    word = tariff_word(service_tier)
    return word if word in get_args(Tariff) else None  # type: ignore[return-value]  # it is one of them


@dataclass(slots=True)
class Pricing:
    """Prices by model, seller, day and tariff."""

    aliases: Mapping[str, str]
    overrides: Sequence[Override] = ()
    _runs: dict[tuple[str, Tariff, str | None], list[_Run]] = field(default_factory=dict)
    _at_list: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Model and tier -> calls of that tier that have no price there, and were priced by the list."""
    _elsewhere: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """Model, seller that the log names and seller whose price was taken -> calls."""
    _listed: Pricing | None = None
    undated: int = 0
    """Calls without a time that were priced as of an assumed day."""

    def paid(self, served: str, asked: str, day: date, tier: str, provider: str = "") -> Price | None:
        """The price of the model that answered, else of the one that was asked for; at the tier, else at the list.

        What the provider itself asks for it comes first. A provider that the catalogue does not know, or of which
        it has no rates for this model, is taken to ask what the model's name alone tells.
        """
        tariff = tariff_of(tier)
        tried: list[Tariff] = ["list"] if tariff is None or tariff == "list" else [tariff, "list"]
        names = dict.fromkeys((served or asked or "unknown", asked or "unknown"))
        found = (
            self.at(name, day, wanted, seller)
            for seller in dict.fromkeys((seller_of(provider), None))
            for wanted in tried
            for name in names
        )
        return next((price for price in found if price is not None), None)

    def at(self, model: str, day: date, tariff: Tariff, seller: str | None = None) -> Price | None:
        """The price of a model on a day under a tariff; with a seller, the rate of its own."""
        known = self._runs.setdefault((model, tariff, seller), [])
        for first, end, price in known:
            if first <= day and (end is None or day < end):
                return price
        found = find_price(model, day, aliases=self.aliases, provider=seller, tariff=tariff, overrides=self.overrides)
        price = found if isinstance(found, Price) and not (seller and found.is_borrowed) else None
        end = day + timedelta(days=1)
        if price is not None:
            ends = [row.valid_from for row in self.overrides if row.valid_from > day]
            ends += [] if price.next_change is None else [price.next_change]
            end = min(ends, default=None)
        known.append((day, end, price))
        return price

    @property
    def listed(self) -> Pricing:
        """The same without the user's own rows."""
        if not self.overrides:
            return self
        if self._listed is None:
            self._listed = Pricing(self.aliases)
        return self._listed

    def note(self, price: Price, tier: str, provider: str, calls: int) -> None:
        """Calls were priced, maybe by another tariff than that of their tier or by another seller than theirs."""
        if price.tariff != tariff_of(tier):
            self._at_list[price.model, tier] += calls
        is_said = price.is_override or price.alias_of is not None
        if provider and not is_said and seller_of(provider) != price.provider:
            self._elsewhere[price.model, provider, price.provider] += calls

    def edges(self) -> set[int]:
        """Input lengths at which the rates of any price found so far change."""
        return {tier.above_input_tokens for price in self._prices() for tier in price.tiers}

    def assumptions(self, undated_as_of: date | None = None) -> tuple[str, ...]:
        """One sentence for each thing that was assumed and mattered."""
        found = self._prices()
        lines = {
            f"{price.model} is billed like {price.alias_of} ({price.provider}): {_rates(price)}."
            for price in found
            if price.alias_of is not None
        }
        lines |= {f"{price.model}: {price.note}." for price in found if price.note is not None}
        if self.undated:
            lines.add(f"{self.undated} calls without a time are priced as of {undated_as_of}.")
        lines |= {
            f"{calls} {'call' if calls == 1 else 'calls'} of {model} at the tier {tier!r} without a price of its own "
            "on the day: priced by the list."
            for (model, tier), calls in self._at_list.items()
            if calls
        }
        lines |= {
            f"{calls} {'call' if calls == 1 else 'calls'} of {model} through {provider!r}, of which the catalogue "
            f"has no rate for it: priced like {seller}'s."
            for (model, provider, seller), calls in self._elsewhere.items()
        }
        return tuple(sorted(lines))

    def _prices(self) -> list[Price]:
        return [price for runs in self._runs.values() for _, _, price in runs if price is not None]


def four_rates(rates: Rates) -> tuple[Decimal, Decimal, Decimal, Decimal | None]:
    """Plain, read, written input and output, as in `prices.cost_of_call`: what has no rate is billed plain."""
    plain, read, written = rates.input_usd_per_mtok, rates.cache_read_usd_per_mtok, rates.cache_write_usd_per_mtok
    return plain, plain if read is None else read, plain if written is None else written, rates.output_usd_per_mtok


def _rates(price: Price) -> str:
    return f"USD {price.input_usd_per_mtok} per million input and {price.output_usd_per_mtok} output tokens"
