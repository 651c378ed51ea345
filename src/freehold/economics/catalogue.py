"""What the installed `genai-prices` catalogue says of one model on one day and tariff, and nothing else.

The package is used offline, from the data inside it; its update in the background is never started. Three of
its silent answers are turned into spoken ones here. A batch, flex or priority rate that begins later falls back
to the list rate there: here it is missing, with its first day. The same happens where a seller has no entry of
its own and borrows the maker's: there too a tariff is missing, and the list rate carries a note. And where no
dated rate is active on a day, the first one is taken there: here it is missing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from difflib import get_close_matches
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

from genai_prices.data import providers
from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import StartDateConstraint, TimeOfDateConstraint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Tariff = Literal["list", "batch", "flex", "priority"]

TARIFFS: Mapping[Tariff, Mapping[str, str]] = {
    "list": {},
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
}
"""A tariff -> the request context under which the catalogue keeps it."""

NEWEST_ON: Mapping[str, date] = {"0.2.3": date(2026, 11, 23)}
"""Version of the catalogue -> a day on which no newer one was published: what changed later, it cannot know."""

_TUNED_AT_OPENAI = "ft:"
"""How OpenAI, and nobody else, begins the name of a model that a customer has tuned there."""

BY_THE_HOUR = "the provider charges by the time of day; its rate at 12:00 UTC is used"


@dataclass(frozen=True, slots=True)
class Entry:
    """A model at the provider who sells it."""

    provider: Any  # Any: the catalogue's own classes are untyped to us
    model: Any
    is_borrowed: bool
    """The provider sells it, but the catalogue keeps its rates under another provider alone."""
    taken_for: str | None = None
    """How the provider was called, where that is not its own id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Rates as the catalogue stores them: price key -> a Decimal or tiers."""

    values: Mapping[str, Any]
    valid_from: date | None
    """None: the catalogue does not say since when."""
    next_change: date | None
    """First day of the next rate that is known already."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """There is no rate for this day and tariff."""

    why: str
    """The end of a sentence, without a full stop."""
    first_day: date | None
    """From when on there is one; None: none is known at all."""


@cache
def catalogue_version() -> str:
    """Name and version of the price catalogue, to be named beside every cost."""
    return f"genai-prices {version('genai-prices')}"


@cache
def newest_on() -> date | None:
    """The last day up to which the installed version is known to be complete; None: nobody has looked."""
    return NEWEST_ON.get(version("genai-prices"))


@cache
def find(name: str, provider: str | None = None) -> Entry | None:
    """Entry of a name; with a provider, at that provider alone.

    What stands before a slash is the provider if the catalogue has one of that id. Otherwise the name is tried
    as it is, and then with the prefix as something like a provider (`bedrock/...`), which the entry tells.
    A provider that is stated apart may stand before the slash as well.
    Whether letters are large or small makes no difference.
    """
    found = _find(name, provider)
    return found if found is not None or name == name.lower() else _find(name.lower(), provider)


def _find(name: str, provider: str | None) -> Entry | None:
    if provider is not None:
        prefix, slash, rest = name.partition("/")
        is_said_twice = bool(slash) and prefix.lower() == provider.strip().lower()
        sold = _entry(name, provider) or (_entry(rest, provider) if is_said_twice and rest else None)
        if sold is None or sold.provider.id == provider.strip().lower():
            return sold
        return replace(sold, taken_for=provider)
    seller, slash, rest = name.partition("/")
    if not (slash and rest):
        return _entry(name, "openai" if name.startswith(_TUNED_AT_OPENAI) else None) or _agreed(name)
    if provider_named(seller) is not None:
        return _entry(rest, seller) or _entry(name, None)
    found = _entry(name, None)
    if found is not None:
        return found
    named = _entry(rest, seller)
    return None if named is None else replace(named, taken_for=seller)


@cache
def sellers(name: str) -> tuple[str, ...]:
    """Ids of the providers that have a rate of their own for exactly this name, in the catalogue's order."""
    return tuple(seller.id for seller in providers if seller.find_model(name) or seller.find_model(name.lower()))


@cache
def provider_named(provider: str) -> str | None:
    """Id of the provider that is called exactly so; None: there is none.

    The catalogue's own search also takes parts of names: `my-openai-proxy` would be `openai`.
    """
    wanted = provider.strip().lower()
    return next((known.id for known in providers if known.id == wanted), None)


def entries() -> Iterator[Entry]:
    """Every model under its own provider."""
    for provider in providers:
        for model in provider.models:
            yield Entry(provider, model, is_borrowed=False)


def nearest(name: str) -> list[str]:
    """Up to three names of the catalogue that look like a name without a price; never that name itself."""
    known = {entry.model.id: None for entry in entries()} | {
        f"{entry.provider.id}/{entry.model.id}": None for entry in entries()
    }
    return get_close_matches(name.lower(), (one for one in known if one.lower() != name.lower()), n=3, cutoff=0.6)


def stored_on(entry: Entry, as_of: date, tariff: Tariff) -> Stored | Missing:
    """Rates of a day under a tariff."""
    standard = _standard_on(entry, as_of)
    if tariff == "list" or isinstance(standard, Missing):
        return standard
    return _variant_on(entry, as_of, tariff, standard)


def _standard_on(entry: Entry, as_of: date) -> Stored | Missing:
    notes = _seller_notes(entry)
    prices = entry.model.prices
    if not isinstance(prices, list):
        return Stored(values=_given(prices), valid_from=None, next_change=None, notes=notes)
    if any(isinstance(dated.constraint, TimeOfDateConstraint) for dated in prices):
        notes = (*notes, BY_THE_HOUR)
    starts = [start for dated in prices if (start := _start(dated)) is not None]
    for dated in reversed(prices):
        if dated.constraint is None or dated.constraint.active(_noon(as_of)):
            return Stored(
                values=_given(dated.prices),
                valid_from=_start(dated),
                next_change=min((start for start in starts if start > as_of), default=None),
                notes=notes,
            )
    return Missing(why=f"has no rate for {as_of}", first_day=min(starts, default=None))


def _variant_on(entry: Entry, as_of: date, tariff: Tariff, standard: Stored) -> Stored | Missing:
    """The tariff's own rates over the list's: a tariff may leave some of them as they are."""
    wanted = TARIFFS[tariff]
    known = [variant for variant in entry.model.price_variants or () if variant.when == wanted]
    if entry.is_borrowed or not known:
        return Missing(why=f"has no {tariff} rate", first_day=None)
    active = [variant for variant in known if variant.constraint is None or variant.constraint.active(_noon(as_of))]
    starts = [start for variant in known if (start := _start(variant)) is not None]
    if not active:
        return Missing(why=f"has no {tariff} rate for {as_of}", first_day=min(starts, default=None))
    own: dict[str, Any] = {}
    for variant in active:
        own = {**_given(variant.prices), **own}
    kept = sorted(standard.values.keys() - own.keys() - {key for key in standard.values if not key.endswith("_mtok")})
    notes = standard.notes
    if kept:
        names = ", ".join(key.removesuffix("_mtok").replace("_", " ") for key in kept)
        notes = (*notes, f"the {tariff} tariff states no rate of its own for {names}: the list rate is used there")
    later = (start for start in starts if start > as_of)
    return Stored(
        values={**standard.values, **own},
        valid_from=_start(active[0]),
        next_change=min([*later, *([] if standard.next_change is None else [standard.next_change])], default=None),
        notes=notes,
    )


def _seller_notes(entry: Entry) -> tuple[str, ...]:
    seller = entry.provider.id
    borrowed = f"the catalogue has no rates of {seller} for it; those of its maker are assumed"
    taken = f"{entry.taken_for!r} is taken for the provider {seller}"
    regional = "the rate is that of regional endpoints"
    said = ((taken, entry.taken_for), (borrowed, entry.is_borrowed), (regional, entry.model.id.startswith("regional.")))
    return tuple(note for note, holds in said if holds)


def _start(dated: Any) -> date | None:
    constraint = dated.constraint
    return constraint.start_date if isinstance(constraint, StartDateConstraint) else None


def _given(prices: Any) -> dict[str, Any]:
    return {key: value for key, value in vars(prices).items() if value is not None}


def _noon(as_of: date) -> datetime:
    return datetime.combine(as_of, time(12), tzinfo=UTC)


@cache
def _snapshot() -> DataSnapshot:
    return DataSnapshot(providers=providers, from_auto_update=False)


def _entry(model: str, provider: str | None) -> Entry | None:
    try:
        seller, entry = _snapshot().find_provider_model(model, None, provider, None)
    except LookupError:
        return _by_id(model, provider)
    return Entry(seller, entry, is_borrowed=not any(entry is own for own in seller.models))


def _agreed(model: str) -> Entry | None:
    """A model that no provider's rules claim, if all that list exactly this id ask the same for it.

    Embedding models are such: OpenAI's and Azure's rules claim names of chat models only.
    """
    found = [entry for entry in entries() if entry.model.id.lower() == model.lower()]
    if not found or any(entry.model.prices != found[0].model.prices for entry in found):
        return None
    return next((entry for entry in found if entry.provider.id == "openai"), found[0])


def _by_id(model: str, provider: str | None) -> Entry | None:
    """The catalogue's own id, which its match rules do not always accept."""
    for seller in providers:
        if seller.id == provider:
            found = next((entry for entry in seller.models if entry.id.lower() == model.lower()), None)
            return None if found is None else Entry(seller, found, is_borrowed=False)
    return None
