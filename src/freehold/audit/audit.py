"""One pass over the calls of a log: per task its volume, tokens, cost, latency and rhythm.

Counts are exact and memory is bounded: what is kept are counters of whole numbers (tokens, milliseconds,
hours), never the calls. Each call is priced at the price of its own day and its own tier (batch, flex, priority).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from freehold.audit.tally import Tally, in_utc
from freehold.core.chat import Usage
from freehold.economics.catalogue import Tariff, catalogue_version
from freehold.economics.prices import cost_of_call, price_of
from freehold.economics.usage import tariff_word

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence
    from datetime import date
    from decimal import Decimal

    from freehold.audit.tally import TaskAudit
    from freehold.core.call import Call
    from freehold.economics.overrides import Override
    from freehold.economics.prices import Price

SCHEMA = "freehold.audit/1"

OWN_ROUTES = frozenset({"own", "canary"})
"""Answered by an own model: counted beside what was rented, which is all that a verdict looks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What a log says about its tasks."""

    tasks: tuple[TaskAudit, ...]
    """By name."""
    price_catalogue: str
    assumptions: tuple[str, ...]
    """What was assumed to price the calls, one sentence each."""

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """The audit as JSON values; money as numbers."""
        return {
            "schema": SCHEMA,
            "tasks": [task.as_record() for task in self.tasks],
            "price_catalogue": self.price_catalogue,
            "assumptions": list(self.assumptions),
        }


def audit(
    calls: Iterable[Call],
    *,
    aliases: Mapping[str, str],
    undated_as_of: date | None = None,
    corrected_calls: Container[str] | None = None,
    held_out_calls: Container[str] = (),
    overrides: Sequence[Override] = (),
) -> Audit:
    """Audit calls in any order, each once.

    A call is priced as of its own day (UTC) and at the tariff of its service tier; where that has no price on the day,
    at the list price, which is then an assumption. One without a time stays unpriced, unless `undated_as_of` names
    the day to assume. `aliases` maps names of models in the log to names in the catalogue; the used ones are
    among the assumptions. `corrected_calls` holds the ids of calls that a human has corrected (None: nobody
    knows). `overrides` are the user's own dated prices. Four kinds of row are counted apart and change nothing that
    is said of renting: labelled rows, which no model answered; `held_out_calls`, ids of calls that were brought to
    test with; calls of own models; shadow calls, which repeat a call that is there already.
    """
    pricing = _Pricing(aliases=aliases, undated_as_of=undated_as_of, overrides=overrides)
    tallies: dict[str, Tally] = {}
    for call in calls:
        tally = tallies.setdefault(call.task, Tally())
        if is_labelled_row(call):
            tally.labelled_rows += 1
        elif call.id in held_out_calls:
            tally.held_out_calls += 1
        elif call.route in OWN_ROUTES:
            tally.own_calls += 1
        elif call.route == "shadow":
            tally.shadow_calls += 1
        else:
            _count(tally, call, pricing)
            if corrected_calls is not None:
                tally.corrected = (tally.corrected or 0) + (call.id in corrected_calls)
    return Audit(
        tasks=tuple(tallies[task].result(task) for task in sorted(tallies)),
        price_catalogue=catalogue_version(),
        assumptions=pricing.assumptions(),
    )


def is_labelled_row(call: Call) -> bool:
    """Brought with a label and never sent to a model: no answer, no status, no tokens of output."""
    return not call.was_answered and call.status is None and call.error_type is None and not call.output_tokens


def tariff_of(service_tier: str | None) -> Tariff | None:
    """The tariff that a call was billed under; None: the provider has a word for it that nobody here knows."""
    word = tariff_word(service_tier)
    return word if word in get_args(Tariff) else None  # type: ignore[return-value]  # it is one of them


def _count(tally: Tally, call: Call, pricing: _Pricing) -> None:
    tally.add(call)
    usd = pricing.cost(call)
    if usd is not None:
        tally.priced_calls += 1
        tally.cost_usd += usd
    elif not tally.is_error(call):
        tally.unpriced[pricing.model(call)] += 1


@dataclass(slots=True)
class _Pricing:
    """Prices by model and day, looked up once, and what had to be assumed on the way."""

    aliases: Mapping[str, str]
    undated_as_of: date | None
    overrides: Sequence[Override] = ()
    prices: dict[tuple[str, date, Tariff], Price | None] = field(default_factory=dict)
    undated: int = 0
    at_list: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Model and tier -> calls of that tier that have no price there, and were priced by the list."""

    @staticmethod
    def model(call: Call) -> str:
        """The model that answered, or the one that was asked for."""
        return call.model_served or call.model_requested or "unknown"

    def cost(self, call: Call) -> Decimal | None:
        """US dollars of a call; None: unknown."""
        day = self.undated_as_of if call.started_at is None else in_utc(call.started_at).date()
        if day is None:
            return None
        tariff = tariff_of(call.service_tier)
        price = self._paid(call, day, tariff)
        usd = None if price is None else cost_of_call(_usage(call), price)
        if price is not None and usd is not None:
            self.undated += call.started_at is None
            if price.tariff != tariff:
                self.at_list[price.model, str(call.service_tier)] += 1
        return usd

    def assumptions(self) -> tuple[str, ...]:
        """One sentence for each thing that was assumed and mattered."""
        found = {price for price in self.prices.values() if price is not None}
        lines = {
            f"{price.model} is billed like {price.alias_of} ({price.provider}): {_rates(price)}."
            for price in found
            if price.alias_of is not None
        }
        lines |= {f"{price.model}: {price.note}." for price in found if price.note is not None}
        if self.undated:
            lines.add(f"{self.undated} calls without a time are priced as of {self.undated_as_of}.")
        lines |= {
            f"{calls} {'call' if calls == 1 else 'calls'} of {model} at the tier {tier!r} without a price of its own "
            "on the day: priced by the list."
            for (model, tier), calls in self.at_list.items()
        }
        return tuple(sorted(lines))

    def _paid(self, call: Call, day: date, tariff: Tariff | None) -> Price | None:
        """The price of the model that answered, else of the one that was asked for; at the tier, else at the list."""
        tried: list[Tariff] = ["list"] if tariff is None or tariff == "list" else [tariff, "list"]
        names = (self.model(call), call.model_requested or "unknown")
        found = (self._price(name, day, wanted) for wanted in tried for name in names)
        return next((price for price in found if price is not None), None)

    def _price(self, model: str, day: date, tariff: Tariff) -> Price | None:
        key = (model, day, tariff)
        if key not in self.prices:
            self.prices[key] = price_of(model, day, aliases=self.aliases, tariff=tariff, overrides=self.overrides)
        return self.prices[key]


def _usage(call: Call) -> Usage:
    return Usage(
        input_tokens=call.input_tokens,
        output_tokens=call.output_tokens,
        cache_read_tokens=call.cache_read_tokens,
        cache_write_tokens=call.cache_write_tokens,
        reasoning_tokens=call.reasoning_tokens,
    )


def _rates(price: Price) -> str:
    return f"USD {price.input_usd_per_mtok} per million input and {price.output_usd_per_mtok} output tokens"
