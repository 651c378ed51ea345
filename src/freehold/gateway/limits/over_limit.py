"""Why a call does not fit the limits of its key, in words for the caller."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from freehold.gateway.limits.keys import Principal, Refusal
from freehold.state.limits import UNITS_PER_USD

if TYPE_CHECKING:
    from freehold.gateway.limits.slices import Ask, Slice

UNREACHABLE = Refusal(
    status=503,
    code="limits_unavailable",
    message="Limits cannot be checked at the moment. Try again.",
    retry_after_s=1.0,
)


def unpriced(principal: Principal, model: str | None) -> Refusal:
    """403: dollars are limited, and what the model costs is unknown."""
    return Refusal(
        status=403,
        code="price_unknown",
        message=(
            f"The key {principal.name!r} has a limit in dollars, and nobody knows what the model "
            f"{(model or 'that the request names')[:200]!r} costs. Give it a price: [prices.alias] in freehold.toml or "
            "freehold prices override."
        ),
    )


def too_large(principal: Principal, one: Slice, least: int) -> Refusal:
    """429 without a time: the call alone is larger than the whole limit."""
    what = _words(one, least)
    message = (
        f"This request may use {what}, more than the key {principal.name!r} may use in a whole {one.account.period} "
        f"({_words(one, one.account.limit)}). Shorten it, or ask for less output with max_tokens."
    )
    return Refusal(status=429, code="request_too_large", message=message)


def exhausted(principal: Principal, ask: Ask, at: float) -> Refusal:
    """429: come back in a second if calls under way hold the rest, else when the window is over.

    Args:
        principal: Whose limit it is.
        ask: What there is no room for.
        at: Now, in seconds since 1970.
    """
    account = ask.slice.account
    limit = f"{_words(ask.slice, account.limit)} a {account.period}"
    code = "rate_limit_exceeded" if account.period == "minute" else "insufficient_quota"
    if ask.slice.known_spent + ask.least <= account.limit:
        message = f"Calls under way hold the rest of what the key {principal.name!r} may use ({limit}). Try again."
        return Refusal(status=429, code="rate_limit_exceeded", message=message, retry_after_s=1.0)
    message = f"The key {principal.name!r} has used up its limit of {limit}."
    return Refusal(status=429, code=code, message=message, retry_after_s=max(1.0, math.ceil(ask.slice.ends - at)))


def _words(one: Slice, amount: int) -> str:
    if one.account.measure == "usd":
        return f"{amount / UNITS_PER_USD:.9f}".rstrip("0").rstrip(".") + " dollars"
    return f"{amount} {one.account.measure}"
