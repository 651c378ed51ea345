"""Cost lines of whoever rents: a closed or an open model per token, or one that the provider tuned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freehold.core.errors import InputError
from freehold.economics.labour import (
    engineer_usd_per_month,
    retraining_usd_per_month,
    revalidation_usd_per_month,
    tuned_run_usd,
    tuned_setup_usd,
)
from freehold.economics.levels import annuity_months, rented_level
from freehold.economics.terms import CostLine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.economics.montecarlo import FloatArray
    from freehold.economics.prices import Price
    from freehold.economics.workload import CallGroup, Workload

MTOK = 1e6


def rented_line(
    workload: Workload, price: Price, values: Mapping[str, FloatArray], *, paid_share: FloatArray
) -> CostLine:
    """Tokens at their price, and the tests that a change of the rented model asks for.

    Args:
        workload: The calls.
        price: List price of a token.
        values: Every assumption by name.
        paid_share: Paid over list price.

    Raises:
        InputError: the catalogue has no output rate, so that an answer has no price.
    """
    factor = _billed_share(workload, values) * rented_level(values)
    return CostLine(
        fixed={"re-validation": revalidation_usd_per_month(values)},
        per_query=_per_query(workload, price, factor * paid_share),
    )


def tuned_line(workload: Workload, price: Price, values: Mapping[str, FloatArray]) -> CostLine:
    """Tokens of a tuned model, its training fees, its hosting if any, and the people who look after it.

    Raises:
        InputError: as `rented_line`.
    """
    factor = _billed_share(workload, values) * rented_level(values)
    return CostLine(
        fixed={
            "hosting": values["tuned_hosting_usd_per_month"],
            "people": values["tuned_fte"] * engineer_usd_per_month(values),
            "retraining": retraining_usd_per_month(tuned_run_usd(values), values),
            "set-up": tuned_setup_usd(values) / annuity_months(values),
            "re-validation": revalidation_usd_per_month(values),
        },
        per_query=_per_query(workload, price, factor * values["tuned_price_factor"]),
    )


def _billed_share(workload: Workload, values: Mapping[str, FloatArray]) -> FloatArray:
    return 1.0 - workload.batchable_share * values["batch_discount"]


def _per_query(workload: Workload, price: Price, factor: FloatArray) -> dict[str, FloatArray]:
    """Terms of one rented query: billed money (Decimal) becomes simulated (float).

    Each group of calls pays the tier of its own length. Where the workload has no groups, the mean call counts.
    """
    terms: dict[str, FloatArray] = {}
    for group in workload.call_groups:
        for name, usd in _group_usd(workload, group, price).items():
            terms[name] = terms.get(name, 0.0) + group.share * usd * factor
    return terms


def _group_usd(workload: Workload, group: CallGroup, price: Price) -> dict[str, float]:
    """USD by term of one call of a group."""
    rates = price.rates_for(group.input_tokens)
    if rates.output_usd_per_mtok is None:
        raise InputError(
            f"{price.model}: {price.catalogue} has no price for its output; choose a model that writes text."
        )
    given = float(rates.input_usd_per_mtok)
    read = given if rates.cache_read_usd_per_mtok is None else float(rates.cache_read_usd_per_mtok)
    written = given if rates.cache_write_usd_per_mtok is None else float(rates.cache_write_usd_per_mtok)
    plain_share = 1.0 - workload.cached - workload.cache_write_share
    mtok_in, mtok_out = group.input_tokens / MTOK, group.output_tokens / MTOK
    return {
        "input tokens": mtok_in * plain_share * given,
        "cached input tokens": mtok_in * workload.cached * read,
        "cache writes": mtok_in * workload.cache_write_share * written,
        "output tokens": mtok_out * float(rates.output_usd_per_mtok),
    }
