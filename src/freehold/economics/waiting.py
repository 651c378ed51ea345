"""What it is worth to wait: owning can be begun later, but what was spent on it does not come back.

Two answers beside each other. The threshold of Dixit and Pindyck supposes that the value of owning moves like a
share price for ever; least-squares Monte Carlo moves the price of rented tokens alone and lets the customer decide
once a quarter. Sources: Dixit, Pindyck, Investment under Uncertainty (1994), chapter 5; Longstaff, Schwartz,
Valuing American options by simulation, Review of Financial Studies 14 (2001).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from freehold.economics.labour import own_setup_usd
from freehold.economics.levels import annuity_months, rent_growth_per_year
from freehold.economics.montecarlo import number
from freehold.economics.options import lines
from freehold.economics.owning import TOKEN_TERMS
from freehold.economics.terms import total_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.economics.montecarlo import FloatArray
    from freehold.economics.options import Question

QUARTERS = 12
PATHS = 4_000
LEAST_PATHS_TO_FIT = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Owning as an investment that can be put off, everything at typical values."""

    investment_usd: float
    """The set-up: spent once, gone when one changes one's mind."""
    present_value_usd: float
    """Of the savings over the horizon, the set-up not subtracted."""
    threshold: float
    """Present value over investment from which not waiting is right; infinite: never."""
    volatility_per_year: float
    """Of the present value; larger than that of the rented price, because costs of owning stay as they are."""
    option_usd: float
    """Value of owning now or in one of the next quarters, whichever turns out best."""
    advice: Literal["own now", "wait", "not worth it"]

    @property
    def ratio(self) -> float | None:
        """Present value over investment; None where nothing is invested."""
        return None if self.investment_usd == 0.0 else self.present_value_usd / self.investment_usd

    @property
    def waiting_usd(self) -> float:
        """What the right to wait adds to deciding today."""
        return self.option_usd - max(0.0, self.present_value_usd - self.investment_usd)

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """The answer as the record holds it."""
        return {
            "investment_usd": number(self.investment_usd),
            "present_value_usd": number(self.present_value_usd),
            "ratio": number(self.ratio),
            "threshold": number(self.threshold) if math.isfinite(self.threshold) else None,
            "volatility_per_year": number(self.volatility_per_year),
            "option_usd": number(self.option_usd),
            "value_of_waiting_usd": number(self.waiting_usd),
            "advice": self.advice,
        }


def waiting(asked: Question, typical: Mapping[str, FloatArray], *, seed: int) -> Waiting | None:
    """Whether to own now or to wait; None: nothing to compare.

    The present value V of the savings is that of the rented tokens R less all that owning costs C. With the price
    of tokens moving by sigma a year, V moves by sigma R / V.
    """
    found = lines(asked, typical)
    if found.own is None or asked.own is None or not found.rented:
        return None
    volume, months = asked.workload.queries_per_month, annuity_months(typical)
    own = found.own.terms(volume)
    investment = own_setup_usd(asked.own.devices, typical)
    moving = volume * total_of(found.rented[0].per_query) - total_of({n: own[n] for n in TOKEN_TERMS if n in own})
    saved = found.rented[0].compared(volume) - found.own.compared(volume) + own["set-up"]
    moving_usd, value_usd = float((moving * months)[0]), float((saved * months)[0])
    invested = float(investment[0])
    sigma, rate = float(typical["rent_volatility"][0]), float(typical["discount_rate_per_year"][0])
    drift = float(rent_growth_per_year(typical)[0])
    spread = abs(moving_usd) * sigma / value_usd if value_usd > 0.0 else math.inf
    threshold = hurdle(math.log1p(rate), math.log1p(drift), spread)
    advice: Literal["own now", "wait", "not worth it"] = "not worth it"
    if value_usd > invested:
        advice = "own now" if value_usd >= threshold * invested else "wait"
    return Waiting(
        investment_usd=invested,
        present_value_usd=value_usd,
        threshold=threshold,
        volatility_per_year=spread if math.isfinite(spread) else sigma,
        option_usd=option_usd(
            moving_usd, moving_usd - value_usd, invested, rate=rate, drift=drift, sigma=sigma, seed=seed
        ),
        advice=advice,
    )


def hurdle(rate: float, drift: float, sigma: float) -> float:
    """Multiple of the investment that its present value must exceed: beta / (beta - 1).

    beta solves sigma²/2 · b (b - 1) + drift · b = rate, all of them continuous and per year. Without a spread the
    multiple is rate / (rate - drift) where the value grows, else 1. Where it grows as fast as the rate, or its
    spread has no bound, waiting is always better: infinite.
    """
    if drift >= rate or math.isinf(sigma):
        return math.inf
    if sigma == 0.0:
        return rate / (rate - drift) if drift > 0.0 else 1.0
    variance = sigma * sigma
    half = 0.5 - drift / variance
    beta = half + math.sqrt(half * half + 2.0 * rate / variance)
    return beta / (beta - 1.0) if beta > 1.0 else math.inf


def option_usd(
    moving_usd: float, steady_usd: float, investment_usd: float, *, rate: float, drift: float, sigma: float, seed: int
) -> float:
    """Value of the right to begin owning now or at the end of one of the next twelve quarters.

    Beginning at level x of the rented price is worth moving · x - steady - investment. The level is a geometric
    Brownian motion from 1. Backwards from the last quarter, a cubic in x fitted to the paths on which beginning
    pays tells what waiting is worth there; beginning is right where it is worth more.
    """
    step = 0.25
    noise = np.random.default_rng([seed, 0x5741]).standard_normal((QUARTERS, PATHS // 2))
    noise = np.concatenate([noise, -noise], axis=1)  # antithetic: the mean of the level is exact in the limit
    log_steps = (math.log1p(drift) - sigma * sigma / 2.0) * step + sigma * math.sqrt(step) * noise
    levels = np.exp(np.cumsum(log_steps, axis=0))
    discount = math.exp(-math.log1p(rate) * step)

    def begun(level: FloatArray) -> FloatArray:
        return moving_usd * level - steady_usd - investment_usd

    worth = np.maximum(0.0, begun(levels[-1]))
    for quarter in range(QUARTERS - 2, -1, -1):
        worth = worth * discount
        now = begun(levels[quarter])
        pays = now > 0.0
        if pays.sum() >= LEAST_PATHS_TO_FIT and np.ptp(levels[quarter][pays]) > 0.0:
            fitted = np.polynomial.Polynomial.fit(levels[quarter][pays], worth[pays], deg=3)
            begins = pays.copy()
            begins[pays] = now[pays] >= fitted(levels[quarter][pays])
            worth = np.where(begins, now, worth)
        else:
            worth = np.where(pays, np.maximum(now, worth), worth)
    return max(float(worth.mean()) * discount, float(begun(np.ones(1))[0]), 0.0)
