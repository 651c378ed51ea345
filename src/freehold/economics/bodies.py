"""Recorded bodies of providers, priced one by one: which model, whose price, which tariff, how much."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, get_args

from freehold.core.errors import InputError
from freehold.economics import catalogue
from freehold.economics.billing import bill_of
from freehold.economics.catalogue import Tariff
from freehold.economics.prices import NoPrice, Price, find_price
from freehold.economics.usage import Recorded, model_in, recorded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from freehold.economics.billing import Bill
    from freehold.economics.overrides import Override
    from freehold.economics.usage import Body

Reason = Literal[
    "no-usage", "bad-counts", "no-count", "no-model", "unknown-model", "unknown-provider", "not-dated", "no-tariff",
    "other-unit", "no-rate", "bad-row",
]  # fmt: skip
"""Why a body has no price: it holds no counts, impossible ones, or lacks one; it names no model, or one that the
catalogue does not know, or that several providers sell; there is no rate for that day, or for that tariff; the
model is not priced by tokens; a part of the call (searches, output, a step apart) has no rate; the row is no
recorded body at all."""

WITNESSES = {
    "queue_time": "groq",
    "is_byok": "openrouter",
    "cost_details": "openrouter",
    "num_cached_tokens": "mistral",
    "prompt_cache_hit_tokens": "deepseek",
}
"""A field of the counts that one provider alone writes."""

REPORTED_TOLERANCE = 0.01
"""Relative distance up to which a sum that a body reports is taken for ours."""

SPEAKERS = {"gemini": "google", "bedrock": "aws", "cohere": "cohere"}
"""A kind of API that one provider alone offers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenBody:
    """A body to be priced, and what is known beside it."""

    index: int
    body: Body
    provider: str | None = None
    model: str | None = None
    tariff: Tariff | None = None
    day: date | None = None
    """Day of the call; None: taken from the body, or assumed."""
    priced_by: str | None = None
    """The one provider at whom somebody else has priced the body; None: nobody has, or several were tried."""
    fault: str | None = None
    """Why there is nothing to price; the body is empty then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What all bodies of a file are priced by."""

    as_of: date
    """For bodies without a day of their own."""
    aliases: Mapping[str, str]
    overrides: Sequence[Override] = ()
    tariff: Tariff | None = None
    """For bodies that do not say; None: the list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedBody:
    """What a body cost, or why that is not known."""

    index: int
    provider: str | None = None
    provider_is: Literal["stated", "assumed"] | None = None
    model: str | None = None
    catalogue_model: str | None = None
    tariff: str = "list"
    as_of: date
    found: Recorded | None = None
    input_usd: Decimal | None = None
    output_usd: Decimal | None = None
    other_usd: Decimal | None = None
    """Searches, and steps that are billed beside the call."""
    reported_usd: float | None = None
    """What the body itself says that it cost (OpenRouter does); compared with ours, never used."""
    reported_reason: str | None = None
    """Why that is another sum than ours; None: it is within a hundredth, or one of the two is not known."""
    total_usd: Decimal | None = None
    reason: Reason | None = None
    detail: str | None = None
    assumptions: tuple[str, ...] = ()

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """The row as JSON values."""
        usage = None if self.found is None else self.found.usage
        return {
            "index": self.index,
            "provider": self.provider,
            "provider_is": self.provider_is,
            "model": self.model,
            "catalogue_model": self.catalogue_model,
            "tariff": self.tariff,
            "as_of": self.as_of.isoformat(),
            "input_tokens": None if usage is None else usage.input_tokens,
            "output_tokens": None if usage is None else usage.output_tokens,
            "cache_read_tokens": None if usage is None else usage.cache_read_tokens,
            "cache_write_tokens": None if usage is None else usage.cache_write_tokens,
            "reasoning_tokens": None if usage is None else usage.reasoning_tokens,
            "input_usd": _number(self.input_usd),
            "output_usd": _number(self.output_usd),
            "other_usd": _number(self.other_usd),
            "total_usd": _number(self.total_usd),
            "reported_usd": self.reported_usd,
            "reported_agrees": None
            if self.reported_usd is None or self.total_usd is None
            else self.reported_reason is None,
            "reported_reason": self.reported_reason,
            "reason": self.reason,
            "detail": self.detail,
            "assumptions": list(self.assumptions),
        }


def price_body(given: GivenBody, terms: Terms) -> PricedBody:
    """Price one body; everything that stands in the way becomes its `reason`."""
    row: dict[str, Any] = {
        "index": given.index,
        "model": given.model or model_in(given.body),
        "as_of": given.day or day_in(given.body) or terms.as_of,
        "provider": given.provider,
        "reported_usd": _reported(given.body),
    }
    if given.fault is not None:
        return PricedBody(**row, reason="bad-row", detail=given.fault)
    try:
        found = recorded(given.body)
    except InputError as error:
        return PricedBody(**row, reason="bad-counts", detail=str(error))
    row["found"] = found
    if found is None:
        return PricedBody(**row, reason="no-usage", detail="the body holds no token counts")
    if row["model"] is None:
        return PricedBody(**row, reason="no-model", detail="neither the body nor its row names a model")
    provider, provider_is = _provider(given, found, terms.aliases.get(row["model"], row["model"]))
    tariff = given.tariff or (found.tariff if found.tariff != "list" else terms.tariff or "list")
    row |= {"provider": provider, "provider_is": provider_is, "tariff": tariff}
    priced = _looked_up(row, found, terms)
    return replace(priced, reported_reason=_reported_reason(given.body, priced))


def _looked_up(row: dict[str, Any], found: Recorded, terms: Terms) -> PricedBody:
    """The row once its model, seller and tariff are settled."""
    model, tariff, provider = row["model"], row["tariff"], row["provider"]
    if tariff not in get_args(Tariff):
        detail = f"the body was billed as {tariff[:40]!r}, of which no price is known"
        return PricedBody(**row, reason="no-tariff", detail=detail)
    asked = _Asked(as_of=row["as_of"], tariff=tariff, provider=provider, terms=terms)
    price = asked.price(model)
    if isinstance(price, Price):
        return _billed(row, found, price, asked)
    sold_by = catalogue.sellers(terms.aliases.get(model, model)) if price.lack == "unknown-model" else ()
    if provider is None and len(sold_by) > 1:
        detail = f"{model!r} is sold by {', '.join(sold_by)}; state which one"
        return PricedBody(**row, reason="unknown-provider", detail=detail)
    return PricedBody(**row, reason=price.lack, detail=price.sentence)


def day_in(body: Body) -> date | None:
    """The day (UTC) on which an OpenAI-shaped body says that it was made."""
    made = body.get("created", body.get("created_at"))
    if isinstance(made, bool) or not isinstance(made, int | float) or not 1.4e9 < made < 4.2e9:
        return None
    return datetime.fromtimestamp(made, UTC).date()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    as_of: date
    tariff: Tariff
    provider: str | None
    terms: Terms

    def price(self, model: str) -> Price | NoPrice:
        return find_price(
            model,
            self.as_of,
            aliases=self.terms.aliases,
            provider=self.provider,
            tariff=self.tariff,
            overrides=self.terms.overrides,
        )


def _billed(row: dict[str, Any], found: Recorded, price: Price, asked: _Asked) -> PricedBody:
    row |= {
        "provider": price.provider,
        "catalogue_model": price.catalogue_model,
        "assumptions": (*price.assumptions, *_about_provider(row["provider_is"], price)),
    }
    bill = bill_of(found, price)
    if isinstance(bill, str):
        reason: Reason = "no-rate" if "rate" in bill else "no-count" if "count its" in bill else "bad-counts"
        return PricedBody(**row, reason=reason, detail=bill)
    row |= {"input_usd": bill.input_usd, "output_usd": bill.output_usd}
    if bill.total_usd is None:
        return PricedBody(**row, reason="no-rate", detail="the call searched, and the price has no rate for searches")
    apart = _apart(found, row["model"], asked)
    if isinstance(apart, str):
        return PricedBody(**row, reason="no-rate", detail=apart)
    other = (bill.searches_usd or Decimal(0)) + apart
    return PricedBody(**row, other_usd=other, total_usd=bill.input_usd + bill.output_usd + other)


def _apart(found: Recorded, model: str, asked: _Asked) -> Decimal | str:
    """US dollars of the steps that are billed beside the call, each at its own model's price."""
    total = Decimal(0)
    for own_model, step in found.apart:
        price = asked.price(own_model or model)
        bill: Bill | str = price.sentence if isinstance(price, NoPrice) else bill_of(step, price)
        if isinstance(bill, str) or bill.total_usd is None:
            return f"a step of the call is billed apart, and its price is not known: {bill}"
        total += bill.total_usd
    return total


def _provider(given: GivenBody, found: Recorded, billed_as: str) -> tuple[str | None, Literal["stated", "assumed"]]:
    """Whose price: stated, priced there before, told by the body, the only seller, or left to the name (None)."""
    if given.provider is not None:
        return catalogue.provider_named(given.provider) or given.provider, "stated"
    if given.priced_by is not None:
        return given.priced_by, "assumed"
    counts = given.body.get("usage")
    told = next((name for field, name in WITNESSES.items() if isinstance(counts, dict) and field in counts), None)
    told = told or SPEAKERS.get(found.dialect)
    if told is not None and catalogue.find(billed_as, told) is not None:
        return told, "assumed"
    sellers = () if catalogue.find(billed_as) is not None else catalogue.sellers(billed_as)
    return sellers[0] if len(sellers) == 1 else None, "assumed"


def _about_provider(provider_is: str, price: Price) -> tuple[str, ...]:
    if provider_is == "stated" or price.is_override:
        return ()
    return (f"nobody states who sold it; it is taken for a call to {price.provider}",)


def _reported(body: Body) -> float | None:
    usage = body.get("usage")
    cost = usage.get("cost") if isinstance(usage, dict) else None
    is_money = isinstance(cost, int | float) and not isinstance(cost, bool) and 0 <= cost < 1e9
    return float(cost) if is_money and cost is not None else None


def _reported_reason(body: Body, priced: PricedBody) -> str | None:
    """Why the sum that a body reports is not ours."""
    ours, said = priced.total_usd, priced.reported_usd
    if ours is None or said is None or abs(float(ours) - said) <= REPORTED_TOLERANCE * max(said, float(ours)):
        return None
    usage = body["usage"]
    sums = f"the body reports ${said:.6g}, its tokens cost ${float(ours):.6g} at {priced.provider}"
    if usage.get("is_byok"):
        return f"{sums}: it was called with the customer's own key, and the report holds the seller's fee alone"
    if said > ours and usage.keys() & {"server_tool_use_details", "server_tool_use"}:
        return f"{sums}: the call used tools of the seller, which are billed beside the tokens"
    if said > ours:
        return f"{sums}: more was billed than its tokens, such as files, images or searches, or the rate was higher"
    return f"{sums}: a discount, a free route or a lower rate"


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
