"""Level payments: prices that move and sums that are spent once, spread evenly over the months of a horizon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.economics.montecarlo import FloatArray

MONTHS_PER_YEAR = 12.0

RENT_DRIFTS = ("rent_drift_per_year", "capability_drift_per_year")
"""Of the product that is rented, and of the price of its capability; whoever keeps the product has the first alone."""


def annuity_months(values: Mapping[str, FloatArray]) -> FloatArray:
    """Present value of one dollar a month over the horizon, the first one today."""
    return annuity_of(values["discount_rate_per_year"], values["horizon_months"])


def annuity_of(rate_per_year: FloatArray, months: FloatArray) -> FloatArray:
    """Present value of one dollar a month, the first one today."""
    return _geometric_sum(-np.log1p(rate_per_year) / MONTHS_PER_YEAR, months)


def level(growth_per_year: FloatArray, values: Mapping[str, FloatArray]) -> FloatArray:
    """Level payment per dollar of a price that grows by this share every year; 1 without growth."""
    log_growth = np.log1p(growth_per_year) - np.log1p(values["discount_rate_per_year"])
    return _geometric_sum(log_growth / MONTHS_PER_YEAR, values["horizon_months"]) / annuity_months(values)


def rent_growth_per_year(values: Mapping[str, FloatArray]) -> FloatArray:
    """Yearly growth of what a renter pays per token: both drifts, one upon the other."""
    slot, capability = (values[name] for name in RENT_DRIFTS)
    return (1.0 + slot) * (1.0 + capability) - 1.0


def mean_volume(values: Mapping[str, FloatArray]) -> FloatArray:
    """Volume of the horizon's mean month over today's, months weighted by their present value; 1 without growth."""
    return level(values["volume_growth_per_year"], values)


def rented_level(values: Mapping[str, FloatArray]) -> FloatArray:
    """Level payment per dollar that today's rented queries cost a month: their price drifts, their number grows."""
    growth = values["volume_growth_per_year"]
    return level((1.0 + rent_growth_per_year(values)) * (1.0 + growth) - 1.0, values)


def _geometric_sum(log_ratio: FloatArray, months: FloatArray) -> FloatArray:
    """Sum of exp(log_ratio · t) for t = 0 … months - 1."""
    flat = np.abs(log_ratio) < 1e-12
    safe = np.where(flat, 1.0, log_ratio)
    return np.where(flat, months, np.expm1(safe * months) / np.expm1(safe))
