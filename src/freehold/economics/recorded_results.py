"""Somebody else's result for the same bodies, beside ours: each agreement counted, each difference told apart."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Literal

from genai_prices.types import StartDateConstraint

from freehold.core.chat import Usage
from freehold.economics import catalogue
from freehold.economics.billing import bill_of
from freehold.economics.bodies import GivenBody, PricedBody, Terms, price_body
from freehold.economics.prices import Price, find_price
from freehold.economics.usage import Recorded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

Verdict = Literal["equal", "both-unpriced", "tokens", "dated", "rate", "tariff", "unpriced-here", "unpriced-there"]
"""equal: input and output to the last digit. both-unpriced: neither has a price. tokens: the same rates, but the
body was read as another kind of API, or a count in it was left aside. dated: the same tokens, and their rate is one
that the catalogue dates to other days. rate: the same tokens, and a rate that the catalogue does not hold any more.
tariff: the body says that it was not billed by the list, they price it by the list. unpriced-here,
unpriced-there: one side alone knows the model at this provider."""

FINER_NAMES = (
    "cache_write_1h_tokens", "web_searches", "input_audio_tokens", "output_audio_tokens", "cache_audio_read_tokens",
    "input_image_tokens", "output_image_tokens", "cache_image_read_tokens", "input_video_tokens",
    "output_video_tokens",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One recorded result: a provider whose price was taken, and what came of it there and here."""

    provider: str
    verdict: Verdict
    ours: PricedBody
    theirs: tuple[Decimal, Decimal] | None
    """Input and output, US dollars."""


def compare_recorded(given: GivenBody, extracted: object, terms: Terms) -> list[Compared]:
    """All recorded results of one body, in the file's order.

    `extracted` is a list of {usage, extractors: [{provider_id, input_price, output_price}]}, as the test data of
    genai-prices have it: the body was read in the words of every API that it happens to fit, and priced by every
    provider who sells the model. What has another form is passed over.
    """
    results = []
    ours: dict[str, PricedBody] = {}
    for group in _mappings(extracted):
        tokens = _tokens(group.get("usage"))
        for extractor in _mappings(group.get("extractors")):
            provider = str(extractor.get("provider_id"))
            if provider not in ours:
                ours[provider] = price_body(replace(given, provider=provider), terms)
            theirs = _prices(extractor)
            verdict = _verdict(ours[provider], theirs, tokens, terms)
            results.append(Compared(provider=provider, verdict=verdict, ours=ours[provider], theirs=theirs))
    return results


def only_seller(extracted: object) -> str | None:
    """The one provider at whom a body was priced; None: nobody priced it, or several providers were tried."""
    extractors = [each for group in _mappings(extracted) for each in _mappings(group.get("extractors"))]
    named = {each.get("provider_id") for each in extractors if _prices(each) is not None}
    only = named.pop() if len(named) == 1 else None
    return only if isinstance(only, str) else None


def verdict_on_row(row: PricedBody, results: Sequence[Compared]) -> Verdict | None:
    """What the recorded results say of a row: equal if any result of its provider is. None: nothing is recorded."""
    if not results:
        return None
    own = [result for result in results if result.provider == row.provider and result.theirs is not None]
    own = own or [result for result in results if result.theirs is not None]
    if not own:
        return "both-unpriced" if row.total_usd is None else "unpriced-there"
    if any((row.input_usd, row.output_usd) == result.theirs for result in own):
        return "equal"
    is_other_tariff = own[0].verdict == "tariff"
    return own[0].verdict if row.input_usd is not None or is_other_tariff else "unpriced-here"


def _verdict(
    ours: PricedBody, theirs: tuple[Decimal, Decimal] | None, tokens: Recorded | None, terms: Terms
) -> Verdict:
    here = None if ours.input_usd is None or ours.output_usd is None else (ours.input_usd, ours.output_usd)
    if theirs is None or here is None:
        return _one_sided(ours, here is not None, theirs is not None)
    if here == theirs:
        return "equal"
    if tokens is None or ours.model is None:
        return "rate"
    for number, day in enumerate([ours.as_of, *_other_days(ours)]):
        price = find_price(ours.model, day, aliases=terms.aliases, provider=ours.provider, overrides=terms.overrides)
        bill = bill_of(tokens, price) if isinstance(price, Price) else ""
        if not isinstance(bill, str) and (bill.input_usd, bill.output_usd) == theirs:
            return "tokens" if number == 0 else "dated"
    return "rate"


def _one_sided(ours: PricedBody, is_here: bool, is_there: bool) -> Verdict:
    if not is_there:
        return "unpriced-there" if is_here else "both-unpriced"
    return "tariff" if ours.reason in {"no-tariff", "not-dated"} else "unpriced-here"


def _other_days(row: PricedBody) -> list[date]:
    """Days on which the catalogue holds another rate of this model."""
    entry = None if row.model is None else catalogue.find(row.model, row.provider)
    if entry is None or not isinstance(entry.model.prices, list):
        return []
    starts = [
        dated.constraint.start_date for dated in entry.model.prices if isinstance(dated.constraint, StartDateConstraint)
    ]
    return [*starts, *([min(starts) - timedelta(days=1)] if starts else [])]


def _tokens(usage: object) -> Recorded | None:
    """Recorded counts, under the catalogue's names, in our form."""
    if not isinstance(usage, dict):
        return None
    counts = {str(key): value for key, value in usage.items() if isinstance(value, int)}
    return Recorded(
        dialect="openai-chat",
        usage=Usage(
            counts.get("input_tokens"),
            counts.get("output_tokens", 0),
            counts.get("cache_read_tokens"),
            counts.get("cache_write_tokens"),
        ),
        finer=tuple((name, counts[name]) for name in FINER_NAMES if counts.get(name)),
    )


def _prices(extractor: Mapping[str, Any]) -> tuple[Decimal, Decimal] | None:
    try:
        return Decimal(str(extractor["input_price"])), Decimal(str(extractor["output_price"]))
    except (KeyError, InvalidOperation):
        return None


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []
