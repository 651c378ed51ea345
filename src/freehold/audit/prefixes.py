"""What the provider's prompt caching would save: beginnings of prompts that were sent a moment before."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from freehold.audit.pricing import four_rates, tariff_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from freehold.audit.pricing import Pricing
    from freehold.audit.sample import Prompt

LEAST_TOKENS = 1_024
"""Of a beginning that providers cache (OpenAI, Anthropic's large models). Source: their guides on prompt caching."""
STEP_TOKENS = 128
KEPT_S = 300.0
"""Five minutes: the shorter of the times that they keep it."""


@dataclass(frozen=True, slots=True)
class Prefixes:
    """Of the sampled calls of one task."""

    calls: int
    cacheable_share: float
    """Of the input tokens: the beginning was sent within five minutes before, and is long enough to be cached."""
    cached_share: float
    """Of the input tokens: read from the cache as it is."""
    usd_per_call: float | None
    """Mean saving of a call if all of that were read from the cache; None: no price, or no cheaper rate for it."""


def prefixes_of(prompts: Sequence[Prompt], pricing: Pricing, as_of: date) -> Prefixes | None:
    """What caching could do for these runs of calls; None: there are none."""
    if not prompts:
        return None
    tokens = sum(each.input_tokens for each in prompts)
    reusable = [count for _, run in groupby(prompts, key=lambda each: each.block) for count in _reusable(list(run))]
    saved = [
        usd
        for each, count in zip(prompts, reusable, strict=True)
        if (usd := _saved_usd(each, count, pricing, as_of)) is not None
    ]
    return Prefixes(
        calls=len(prompts),
        cacheable_share=sum(reusable) / tokens,
        cached_share=min(1.0, sum(each.cache_read_tokens for each in prompts) / tokens),
        usd_per_call=sum(saved) / len(saved) if saved else None,
    )


def _reusable(run: Sequence[Prompt]) -> list[int]:
    """For each call of a run, the tokens of its longest beginning that a call within five minutes before it had."""
    found = []
    for place, each in enumerate(run):
        before = [other for other in run[:place] if each.second - other.second <= KEPT_S and other.model == each.model]
        shared = max((_common(each.text, other.text) for other in before), default=0)
        tokens = int(shared / len(each.text) * each.input_tokens)
        found.append(tokens // STEP_TOKENS * STEP_TOKENS if tokens >= LEAST_TOKENS else 0)
    return found


def _common(one: str, other: str) -> int:
    """Length of the common beginning, by halving."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _saved_usd(prompt: Prompt, reusable: int, pricing: Pricing, as_of: date) -> float | None:
    """At the tier that the call was billed under: what the batch price holds already cannot be saved once more."""
    price = pricing.paid(prompt.model, prompt.model, as_of, prompt.tier, prompt.provider)
    if price is None:
        return None
    if price.tariff != (tariff_of(prompt.tier) or "list"):
        return 0.0  # what the cache costs under that tariff is unknown: nothing is promised
    plain, read, _, _ = four_rates(price.rates_for(prompt.input_tokens))
    return float(max(0, reusable - prompt.cache_read_tokens) * (plain - read)) / 1e6
