"""The catalogue against an independent price list (LiteLLM's), model by model: every difference named and counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from genai_prices.types import StartDateConstraint, TieredPrices

from freehold.economics import catalogue
from freehold.economics.prices import NoPrice, Price, find_price
from freehold.economics.rates import rates_of
from freehold.economics.sellers import LITELLM, seller_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from freehold.economics.catalogue import Tariff
    from freehold.economics.rates import Rates

Kind = Literal[
    "equal", "dated", "tier", "tariff", "unit", "rounding", "free", "partial", "no-output", "borrowed", "other-model",
    "rate", "not-tokens", "missing-provider", "missing-model",
]  # fmt: skip

KINDS: Mapping[Kind, str] = {
    "equal": "every rate that both state is the same",
    "dated": "their rate is one that the catalogue dates to other days",
    "tier": "their rate is the catalogue's for longer or shorter calls, or their thresholds differ",
    "tariff": "their rate is the catalogue's batch, flex or priority rate, or the batch rates differ",
    "unit": "the rates differ by a power of ten from a hundred up: one side mistook the unit",
    "rounding": "the rates differ by half a percent or less",
    "free": "they state 0; a price of 0 is not believed here",
    "partial": "input and output agree; a cached, written or batch rate is stated by one side alone, or differs",
    "no-output": "the input rates agree, and one side states no output rate",
    "borrowed": "the catalogue has no rate of this seller and takes the maker's",
    "other-model": "the catalogue's rules take the name for a model of another name",
    "rate": "both state a rate for the same model at the same seller, and nothing above explains the difference",
    "not-tokens": "one side does not price the model by input tokens",
    "missing-provider": "the catalogue does not know the seller",
    "missing-model": "the catalogue knows the seller and not the model",
}

AGREEING = frozenset({"equal", "rounding"})
NOT_COMPARED = frozenset({"not-tokens", "missing-provider", "missing-model"})

FIELDS = ("input_usd_per_mtok", "output_usd_per_mtok", "cache_read_usd_per_mtok", "cache_write_usd_per_mtok")
MAIN = FIELDS[:2]
BATCH = ("batch_input_usd_per_mtok", "batch_output_usd_per_mtok")
ROUNDING = Decimal("0.005")
OTHER_TARIFFS: tuple[Tariff, ...] = ("batch", "flex", "priority")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPrice:
    """One model of the other list, US dollars per million tokens."""

    model: str
    """As the list names it: often with the seller in front."""
    provider: str
    rates: Mapping[str, Decimal]
    """By the names of FIELDS and BATCH; what the list does not state is absent."""
    tiers: Mapping[int, Mapping[str, Decimal]]
    """Rates above so many input tokens; empty where the list (or this form of it) states none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What the comparison of one model came to."""

    model: str
    provider: str
    kind: Kind
    detail: str
    ours: Price | None
    theirs: ListedPrice

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """The row as JSON values."""
        ours = None if self.ours is None else _by_field(self.ours.rates)
        return {
            "model": self.model,
            "provider": self.provider,
            "kind": self.kind,
            "detail": self.detail,
            "catalogue_model": None if self.ours is None else self.ours.catalogue_model,
            "ours": None if ours is None else {name: float(rate) for name, rate in ours.items()},
            "theirs": {name: float(rate) for name, rate in self.theirs.rates.items()},
        }


def check(listed: Iterable[ListedPrice], as_of: date) -> list[Difference]:
    """Compare every listed model with the catalogue's rates of a day, in the list's order."""
    return [_compare(row, as_of) for row in listed]


def kinds_of(differences: Iterable[Difference]) -> dict[str, int]:
    """How often each kind occurred; all kinds, in their order."""
    counted = Counter(difference.kind for difference in differences)
    return {kind: counted[kind] for kind in KINDS}


def only_here(differences: Iterable[Difference]) -> list[str]:
    """`provider/model` of the catalogue that no listed model was compared with."""
    met = {(row.ours.provider, row.ours.catalogue_model) for row in differences if row.ours is not None}
    every = ((entry.provider.id, entry.model.id) for entry in catalogue.entries())
    return sorted(f"{provider}/{model}" for provider, model in every if (provider, model) not in met)


def _compare(row: ListedPrice, as_of: date) -> Difference:
    seller = seller_of(row.provider)
    name = _bare_name(row)

    def said(kind: Kind, detail: str, ours: Price | None = None) -> Difference:
        return Difference(model=name, provider=row.provider, kind=kind, detail=detail, ours=ours, theirs=row)

    if MAIN[0] not in row.rates:
        return said("not-tokens", "they state no rate per input token")
    if seller is None:
        return said("missing-provider", f"the catalogue has no provider {row.provider!r}")
    ours = find_price(name, as_of, provider=seller)
    if isinstance(ours, NoPrice):
        kinds: dict[str, Kind] = {"other-unit": "not-tokens", "not-dated": "dated"}
        return said(kinds.get(ours.lack, "missing-model"), ours.sentence)
    kind, detail = _judged(row, ours, name, as_of)
    return said(kind, detail, ours)


def _judged(row: ListedPrice, ours: Price, name: str, as_of: date) -> tuple[Kind, str]:
    here = _by_field(ours.rates)
    differing = [field for field in MAIN if not _same(here.get(field), row.rates.get(field))]
    if not differing:
        return _finer(row, ours, here)
    words = ", ".join(
        f"{_short(field)} {_shown(here, field)} here, {_shown(row.rates, field)} there" for field in differing
    )
    explained = _explained(row, ours, name, as_of)
    if explained is not None:
        return explained[0], f"{words}: {explained[1]}"
    is_lacking = differing == [MAIN[1]] and not (MAIN[1] in here and MAIN[1] in row.rates)
    is_near = all(_is_near(here.get(field), row.rates.get(field)) for field in differing)
    reasons: tuple[tuple[Kind, bool, str], ...] = (
        ("rounding", is_near, ""),
        ("no-output", is_lacking, ""),
        ("borrowed", "maker" in (ours.note or ""), ": the catalogue has its maker's rates alone"),
        ("other-model", ours.catalogue_model.lower() != name.lower(), f": taken for {ours.catalogue_model!r} here"),
    )
    return next(((kind, words + why) for kind, holds, why in reasons if holds), ("rate", words))


def _finer(row: ListedPrice, ours: Price, here: Mapping[str, Decimal]) -> tuple[Kind, str]:
    """Input and output agree; what of the rest."""
    for start, rates in row.tiers.items():
        own = next((tier.rates for tier in ours.tiers if tier.above_input_tokens == start), None)
        if own is None or not all(_same(_by_field(own).get(field), rate) for field, rate in rates.items()):
            return "tier", f"above {start:,} input tokens the rates differ"
    rest = [field for field in FIELDS[2:] if not _same(here.get(field), row.rates.get(field))]
    if rest:
        words = (f"{_short(field)} {_shown(here, field)} here, {_shown(row.rates, field)} there" for field in rest)
        return "partial", ", ".join(words)
    return _batch(row, ours)


def _batch(row: ListedPrice, ours: Price) -> tuple[Kind, str]:
    theirs = {field: row.rates[field] for field in BATCH if field in row.rates}
    if not theirs:
        return "equal", ""
    batch = find_price(ours.model, ours.as_of, provider=ours.provider, tariff="batch")
    if isinstance(batch, NoPrice):
        here = "none" if batch.first_day is None else f"the first is from {batch.first_day}"
        return "partial", f"batch rate: {here} here, {_shown(theirs, BATCH[0])} for input there"
    own = {f"batch_{field}": rate for field, rate in _by_field(batch.rates).items()}
    if all(_same(own.get(field), rate) for field, rate in theirs.items()):
        return "equal", ""
    return "tariff", "the batch rates differ"


def _explained(row: ListedPrice, ours: Price, name: str, as_of: date) -> tuple[Kind, str] | None:
    """Something known that makes their two rates true."""
    theirs = tuple(row.rates.get(field) for field in MAIN)
    if theirs[0] == 0:
        return "free", "they state 0"
    for tier in ours.tiers:
        if _main(tier.rates) == theirs:
            return "tier", f"theirs holds above {tier.above_input_tokens:,} input tokens"
    for day, rates in _other_rates(name, ours.provider):
        if any(main == theirs for main in rates):
            return "dated", f"theirs is the catalogue's {day}"
    for tariff in OTHER_TARIFFS:
        for asked in (as_of, date.max):
            other = find_price(name, asked, provider=ours.provider, tariff=tariff)
            if isinstance(other, Price) and _main(other.rates) == theirs:
                return "tariff", f"theirs is the {tariff} rate"
    if _is_unit(_main(ours.rates), theirs):
        return "unit", "a power of ten apart"
    return None


def _other_rates(name: str, provider: str) -> Iterable[tuple[str, list[tuple[Decimal | None, Decimal | None]]]]:
    """When each dated rate holds, and its input and output, tiers included."""
    entry = catalogue.find(name, provider)
    if entry is None or not isinstance(entry.model.prices, list):
        return
    for dated in entry.model.prices:
        values = {key: value for key, value in vars(dated.prices).items() if value is not None}
        if "input_mtok" not in values:
            continue
        starts = {tier.start for value in values.values() if isinstance(value, TieredPrices) for tier in value.tiers}
        when = "rate before its first dated one"
        if isinstance(dated.constraint, StartDateConstraint):
            when = f"rate from {dated.constraint.start_date} on"
        yield when, [_main(rates_of(values, above=above)) for above in (None, *sorted(starts))]


def _bare_name(row: ListedPrice) -> str:
    """The model without the seller that the list writes in front."""
    first, slash, rest = row.model.partition("/")
    is_seller = first in {
        row.provider,
        LITELLM.get(row.provider),
        row.provider.partition("-")[0],
        "bedrock",
        "vertex_ai",
    }
    return rest if slash and is_seller else row.model


def _by_field(rates: Rates) -> dict[str, Decimal]:
    values = (getattr(rates, field) for field in FIELDS)
    return {field: value for field, value in zip(FIELDS, values, strict=True) if value is not None}


def _main(rates: Rates) -> tuple[Decimal | None, Decimal | None]:
    return rates.input_usd_per_mtok, rates.output_usd_per_mtok


def _same(ours: Decimal | None, theirs: Decimal | None) -> bool:
    """None and 0 are the same silence: neither list writes an output rate for embeddings in one way."""
    return (ours or 0) == (theirs or 0)


def _is_near(ours: Decimal | None, theirs: Decimal | None) -> bool:
    return bool(ours and theirs) and abs(ours - theirs) <= ROUNDING * max(ours, theirs)  # type: ignore[operator,type-var]


def _is_unit(ours: tuple[Decimal | None, ...], theirs: tuple[Decimal | None, ...]) -> bool:
    pairs = [(here, there) for here, there in zip(ours, theirs, strict=True) if here and there]
    return bool(pairs) and all(
        any(abs(here / there / Decimal(10) ** power - 1) < ROUNDING for power in (-9, -6, -3, -2, 2, 3, 6, 9))
        for here, there in pairs
    )


def _short(field: str) -> str:
    return field.removesuffix("_usd_per_mtok").replace("_", " ")


def _shown(rates: Mapping[str, Decimal], field: str) -> str:
    return "none" if field not in rates else f"{rates[field]:f}"
