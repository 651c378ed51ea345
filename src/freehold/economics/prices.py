"""Dated prices of rented models, and the cost of a call at such a price.

A price answers for one day and one tariff. Where the catalogue does not date its rate, the price says so in
`assumptions`; where it has no rate for that day and tariff, there is no price, and `NoPrice` tells why.
A user's own dated rows (`overrides`) come before the catalogue's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from freehold.economics import catalogue
from freehold.economics.catalogue import Missing, Stored, Tariff, catalogue_version
from freehold.economics.rates import HARMLESS_KEYS, TOKENS_PER_MTOK, Rates, Tier, rates_of, rates_record, tiers_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from freehold.core.chat import Usage
    from freehold.economics.overrides import Override

_DATE_IN_NAME = re.compile(r"(?<!\d)(20\d\d)-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])(?!\d)")

Lack = Literal["unknown-model", "not-dated", "no-tariff", "other-unit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Price of one model on one day under one tariff."""

    model: str
    """Name as it was asked for."""
    provider: str
    catalogue_model: str
    rates: Rates
    tiers: tuple[Tier, ...] = ()
    """By rising threshold."""
    as_of: date
    valid_from: date | None = None
    """First day of this rate; None: the catalogue does not say since when."""
    next_change: date | None = None
    """First day of the next rate, where one is known."""
    source: str
    """The provider's price page, as the catalogue names it, or what a user's own row names."""
    catalogue: str
    """Catalogue and version."""
    alias_of: str | None = None
    """The name this model was assumed to be billed as; None when it was found under its own."""
    note: str | None = None
    """What was assumed about the rate itself."""
    tariff: Tariff = "list"
    is_override: bool = False
    """The user's own row."""
    is_borrowed: bool = False
    """The provider sells it, and the catalogue has its maker's rates alone."""

    @property
    def input_usd_per_mtok(self) -> Decimal:
        """Rate of uncached input below the first tier."""
        return self.rates.input_usd_per_mtok

    @property
    def output_usd_per_mtok(self) -> Decimal | None:
        """Rate of output below the first tier."""
        return self.rates.output_usd_per_mtok

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What had to be assumed for this price to answer for its day, one clause each."""
        said = [] if self.alias_of is None else [f"{self.model} is billed like {self.alias_of}"]
        if self.valid_from is None:
            said.append(f"the catalogue gives no first day for this rate; it is assumed to hold on {self.as_of}")
        newest = catalogue.newest_on()
        if not self.is_override and (newest is None or self.as_of > newest):
            seen = "nobody has looked" if newest is None else f"its last known day is {newest}"
            said.append(f"{self.catalogue} may be older than {self.as_of} ({seen}): a later change is not in it")
        return (*said, *([] if self.note is None else [self.note]))

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
            "valid_from": _day(self.valid_from),
            "tariff": self.tariff,
            **rates_record(self.rates),
            "tiers": [
                {"above_input_tokens": tier.above_input_tokens, **rates_record(tier.rates)} for tier in self.tiers
            ],
            "source": self.source,
            "catalogue": self.catalogue,
            "note": self.note,
            "assumptions": list(self.assumptions),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class NoPrice:
    """Why there is no price."""

    lack: Lack
    sentence: str
    first_day: date | None = None
    """First day on which there is one."""

    def advice(self, model: str) -> str:
        """The sentence, and for a name that nobody knows the names that look like it."""
        if self.lack != "unknown-model" or not model.strip():
            return self.sentence
        near = catalogue.nearest(model)
        if near:
            return f"{self.sentence}. Nearest: {', '.join(near)}."
        return f"{self.sentence}. No name resembles it; all of them: freehold prices list --json"


def price_of(
    model: str,
    as_of: date,
    *,
    aliases: Mapping[str, str],
    tariff: Tariff = "list",
    overrides: Sequence[Override] = (),
) -> Price | None:
    """Price of `model` on a day, or None if plain text calls to it cannot be priced (see `find_price`)."""
    found = find_price(model, as_of, aliases=aliases, tariff=tariff, overrides=overrides)
    return found if isinstance(found, Price) else None


def find_price(
    model: str,
    as_of: date,
    *,
    aliases: Mapping[str, str] | None = None,
    provider: str | None = None,
    tariff: Tariff = "list",
    overrides: Sequence[Override] = (),
) -> Price | NoPrice:
    """Price of `model` on a day under a tariff, or the reason why there is none.

    `aliases` maps a name in a log to a catalogue name; what it decides is marked in `alias_of`.
    A name may carry its provider in front: `together/meta-llama/Llama-3.3-70B-Instruct-Turbo`; `provider`
    states it apart, and an alias decides over it. An override counts from its first day on, for the name in the
    log before the name that it is billed as; before that day the catalogue answers.
    """
    billed_as = _billed_as(model, aliases or {})
    alias_of = billed_as if billed_as != model else None
    entry = catalogue.find(billed_as, provider if alias_of is None else None)
    seller = provider or (None if entry is None else entry.provider.id)
    of_tariff = [row for row in overrides if row.tariff == tariff]
    own = [row for row in of_tariff if row.names(model, seller)]
    is_named = bool(own)
    own = own or [row for row in of_tariff if row.names(billed_as, seller)]
    active = [row for row in own if row.valid_from <= as_of]
    if active:
        newest = max(active, key=lambda row: row.valid_from)
        return _overridden(newest, model, as_of, None if is_named else alias_of, seller)
    if entry is None:
        return _unknown(model, billed_as, provider, as_of, own)
    after_its_name = _older_than_its_name(billed_as, as_of)
    if after_its_name is not None:
        return after_its_name
    found = catalogue.stored_on(entry, as_of, tariff)
    if isinstance(found, Missing):
        return _missing(billed_as, entry.provider.id, found, tariff)
    if "input_mtok" not in found.values or not found.values.keys() <= HARMLESS_KEYS:
        why = f"{billed_as!r} at {entry.provider.id} is not priced by input and output tokens alone."
        return NoPrice(lack="other-unit", sentence=why)
    return _priced(model, as_of, entry, found, alias_of=alias_of, tariff=tariff)


def cost_of_call(usage: Usage, price: Price) -> Decimal | None:
    """US dollars of one call: uncached, cached and written input and output, each at its own rate.

    The tier follows from this call's own input. Reasoning tokens are inside the output already. A price without a
    rate for output is one of embeddings: there an output that nobody counted is none.

    Returns:
        None when a count or a needed rate is unknown, or the counts contradict each other.
    """
    if usage.input_tokens is None:
        return None
    rates = price.rates_for(usage.input_tokens)
    made = usage.output_tokens
    if made is None and rates.output_usd_per_mtok is not None:
        return None
    read, written, made = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0, made or 0
    plain = usage.input_tokens - read - written
    if min(plain, read, written, made) < 0 or (rates.output_usd_per_mtok is None and made > 0):
        return None
    total = (
        plain * rates.input_usd_per_mtok
        + read * _or_input(rates.cache_read_usd_per_mtok, rates)
        + written * _or_input(rates.cache_write_usd_per_mtok, rates)
        + made * (rates.output_usd_per_mtok or Decimal(0))
    )
    return total / TOKENS_PER_MTOK


def _priced(
    model: str,
    as_of: date,
    entry: catalogue.Entry,
    found: Stored,
    *,
    alias_of: str | None,
    tariff: Tariff,
) -> Price:
    return Price(
        model=model,
        provider=entry.provider.id,
        catalogue_model=entry.model.id,
        rates=rates_of(found.values),
        tiers=tiers_of(found.values),
        as_of=as_of,
        valid_from=found.valid_from,
        next_change=found.next_change,
        source=(entry.provider.pricing_urls or [catalogue_version()])[0],
        catalogue=catalogue_version(),
        alias_of=alias_of,
        note="; ".join(found.notes) or None,
        tariff=tariff,
        is_borrowed=entry.is_borrowed,
    )


def _overridden(row: Override, model: str, as_of: date, alias_of: str | None, seller: str | None) -> Price:
    return Price(
        model=model,
        provider=row.provider or seller or "unknown",
        catalogue_model=row.model,
        rates=row.rates,
        tiers=row.tiers,
        as_of=as_of,
        valid_from=row.valid_from,
        source=row.source,
        catalogue="the user's own row",
        alias_of=alias_of,
        tariff=row.tariff,
        is_override=True,
    )


def _unknown(model: str, billed_as: str, provider: str | None, as_of: date, own: Sequence[Override]) -> NoPrice:
    if not model.strip():
        return NoPrice(lack="unknown-model", sentence="The name of the model is empty. Give one.")
    if own:
        first = min(row.valid_from for row in own)
        why = f"{billed_as!r} has no price for {as_of}; your own first one is from {first}. Add a dated row."
        return NoPrice(lack="not-dated", sentence=why, first_day=first)
    where = catalogue_version() if provider is None else f"{catalogue_version()} at {provider!r}"
    alias = "" if model == billed_as else f" (for {model!r})"
    why = (
        f"{billed_as!r}{alias} has no price in {where}. Write it as provider/model, or add a dated row of your "
        "own: freehold prices override MODEL --help"
    )
    return NoPrice(lack="unknown-model", sentence=why)


def _missing(model: str, seller: str, found: Missing, tariff: Tariff) -> NoPrice:
    first = "none is known" if found.first_day is None else f"the first is from {found.first_day}"
    todo = "Ask for a later day or" if found.first_day is not None else "Use the list tariff or"
    sentence = f"{model!r} at {seller} {found.why}; {first}. {todo} add a dated row: freehold prices override."
    lack: Lack = "not-dated" if tariff == "list" or found.first_day is not None else "no-tariff"
    return NoPrice(lack=lack, sentence=sentence, first_day=found.first_day)


def _older_than_its_name(model: str, as_of: date) -> NoPrice | None:
    """A name that carries its own date (`gpt-4o-2024-08-06`) cannot have been billed before that day."""
    found = _DATE_IN_NAME.search(model)
    if found is None:
        return None
    try:
        born = date(*map(int, found.groups()))
    except ValueError:
        return None
    if born <= as_of:
        return None
    why = f"{model!r} has no price for {as_of}: its name says that it is of {born}. Ask for that day or a later one."
    return NoPrice(lack="not-dated", sentence=why, first_day=born)


def _billed_as(model: str, aliases: Mapping[str, str]) -> str:
    """What a name in a log is billed as; an alias that is written exactly so comes before one in other letters."""
    if model in aliases:
        return aliases[model]
    return next((other for name, other in aliases.items() if name.lower() == model.lower()), model)


def _or_input(rate: Decimal | None, rates: Rates) -> Decimal:
    return rates.input_usd_per_mtok if rate is None else rate


def _day(value: date | None) -> str | None:
    return None if value is None else value.isoformat()
