"""Renting against owning for one workload: by closed form, and as a distribution over what is not known."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from freehold.core.errors import InputError
from freehold.economics.cashflow import npv_usd, payback_months
from freehold.economics.comparison import Breakeven, Comparison, CurvePoint, Option
from freehold.economics.montecarlo import draw, percentiles, typical
from freehold.economics.options import lines, question
from freehold.economics.terms import crossings, total_of
from freehold.economics.waterfall import waterfall
from freehold.economics.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from freehold.economics.comparison import OptionName
    from freehold.economics.montecarlo import FloatArray
    from freehold.economics.options import Lines, Question
    from freehold.economics.prices import Price
    from freehold.economics.scenario import Scenario
    from freehold.economics.terms import CostLine

FEWEST_DRAWS, MOST_DRAWS = 100, 1_000_000


def compare(
    workload: Workload,
    rent: Price | None,
    scenario: Scenario,
    *,
    hosted: Price | None = None,
    seed: int,
    draws: int = 20_000,
) -> Comparison:
    """Cost of every option at the workload's volume, and the volumes at which owning begins to pay.

    Break-even, net present value and payback compare owning with `rent`, or with `hosted` where the price of
    `rent` is unknown. `probability_own_is_cheapest` compares owning with every rented option of known price.

    Raises:
        InputError: the plan cannot carry such calls, or the number of draws or the seed is out of bounds.
    """
    _check(seed, draws)
    asked = question(workload, rent, scenario, hosted)
    values, drawn = typical(asked.assumptions), draw(asked.assumptions, seed=seed, draws=draws)
    closed, simulated = lines(asked, values), lines(asked, drawn)
    present = npv_usd(asked, values)
    present_drawn = npv_usd(asked, drawn)
    return Comparison(
        asked=asked,
        options=_options(asked, closed, simulated),
        probability_own_is_cheapest=_probability(simulated, workload.queries_per_month, draws),
        breakeven=_breakeven(asked, closed, simulated),
        steps=waterfall(asked, values, drawn),
        npv=None if present_drawn is None else percentiles(present_drawn),
        npv_closed_form_usd=None if present is None else float(present[0]),
        payback_months=payback_months(asked, values),
        seed=seed,
        draws=draws,
    )


def curve(
    workload: Workload,
    rent: Price | None,
    scenario: Scenario,
    *,
    volumes: Sequence[float],
    hosted: Price | None = None,
    seed: int,
    draws: int = 20_000,
) -> list[CurvePoint]:
    """Monthly cost against volume, for a chart: calls keep their length, only their number changes.

    Raises:
        InputError: as `compare`; or a volume is out of bounds.
    """
    _check(seed, draws)
    asked = question(workload, rent, scenario, hosted)
    found = lines(asked, draw(asked.assumptions, seed=seed, draws=draws))
    return [_point(found, volume) for volume in map(_checked_volume, volumes)]


def _point(found: Lines, volume: float) -> CurvePoint:
    return CurvePoint(
        queries_per_month=volume,
        rent_usd_p50=None if found.rent is None else percentiles(volume * total_of(found.rent)).p50,
        own_usd=None if found.own is None else percentiles(found.own.total(volume)),
        hosted_usd_p50=None if found.hosted is None else percentiles(volume * total_of(found.hosted)).p50,
    )


def _options(asked: Question, closed: Lines, simulated: Lines) -> tuple[Option, ...]:
    volume = asked.workload.queries_per_month
    rent_label = "rented model, price unknown" if asked.rent is None else asked.rent.model
    found = [_rented("rent", rent_label, volume, closed.rent, _beside(simulated.rent, simulated.own))]
    if asked.hosted is not None:
        label = f"{asked.hosted.model} at {asked.hosted.provider}"
        found.append(_rented("rent-open", label, volume, closed.hosted, _beside(simulated.hosted, simulated.own)))
    if asked.own is not None and closed.own is not None and simulated.own is not None:
        plan = asked.own.label
        terms, total = closed.own.terms(volume), simulated.own.total(volume)
        found.append(_with_replicas(_option("own", plan, volume, terms, total), asked, closed.own))
        if closed.hybrid is not None and simulated.hybrid is not None:
            label = f"{plan}, unsure cases to {rent_label}"
            terms, total = closed.hybrid.terms(volume), simulated.hybrid.total(volume)
            found.append(_with_replicas(_option("hybrid", label, volume, terms, total), asked, closed.hybrid))
    return tuple(found)


def _with_replicas(option: Option, asked: Question, closed: CostLine) -> Option:
    """The option with its replicas at typical values and how busy they are in the busiest hour."""
    volume, planned_load = asked.workload.queries_per_month, asked.assumptions["planned_load"].typical
    replicas = float(closed.replicas(volume)[0])
    load = volume / (replicas * float(closed.replica_queries[0])) * planned_load
    return replace(option, replicas=round(replicas), load=load)


def _beside(
    rented: Mapping[str, FloatArray] | None, own: CostLine | None
) -> tuple[FloatArray, FloatArray | None] | None:
    """Drawn USD per rented query, and the drawn volumes at which owning meets it."""
    if rented is None:
        return None
    usd = total_of(rented)
    return usd, None if own is None else crossings(own, usd).first


def _rented(
    name: OptionName,
    label: str,
    volume: float,
    closed: Mapping[str, FloatArray] | None,
    drawn: tuple[FloatArray, FloatArray | None] | None,
) -> Option:
    if closed is None or drawn is None:
        return _unknown(name, label)
    usd_per_query, own_breakeven = drawn
    terms = {term: volume * usd for term, usd in closed.items()}
    return _option(name, label, volume, terms, volume * usd_per_query, own_breakeven=own_breakeven)


def _unknown(name: OptionName, label: str) -> Option:
    return Option(
        name=name,
        label=label,
        usd_per_month=None,
        usd_per_query=None,
        closed_form_usd_per_month=None,
        terms=(),
        own_breakeven=None,
    )


def _option(
    name: OptionName,
    label: str,
    volume: float,
    terms: Mapping[str, FloatArray],
    total: FloatArray,
    *,
    own_breakeven: FloatArray | None = None,
) -> Option:
    spread = percentiles(total)
    volumes = None if own_breakeven is None else percentiles(own_breakeven)
    return Option(
        name=name,
        label=label,
        usd_per_month=spread,
        usd_per_query=None if spread.p50 is None else spread.p50 / volume,
        closed_form_usd_per_month=float(total_of(terms)[0]),
        terms=tuple((term, float(usd[0])) for term, usd in terms.items()),
        own_breakeven=None if volumes is None or volumes.p50 is None else volumes,
    )


def _probability(found: Lines, volume: float, draws: int) -> float | None:
    """Share of the draws in which owning costs less than every rented option whose price is known."""
    if found.own is None or not found.rented:
        return None
    own = found.own.total(volume)
    cheaper = np.ones(draws, dtype=bool)
    for rented in found.rented:
        cheaper &= own < volume * total_of(rented)
    return float(cheaper.mean())


def _breakeven(asked: Question, closed: Lines, simulated: Lines) -> Breakeven:
    if simulated.own is None or closed.own is None:
        return Breakeven(distribution=None, reason="No plan to own was given.", first=None, always=None)
    if not simulated.rented:
        unknown = "The price of the rented model is unknown, so there is nothing to compare owning with."
        return Breakeven(distribution=None, reason=unknown, first=None, always=None)
    at_typical = crossings(closed.own, total_of(closed.rented[0]))
    volumes = crossings(simulated.own, total_of(simulated.rented[0])).first
    spread, never = percentiles(volumes), float(np.isinf(volumes).mean())
    reason: str | None = None
    if never > 0.0:
        reason = (
            f"In {100 * never:.1f} % of the draws no volume pays: a full replica costs more than the tokens it carries."
        )
    return Breakeven(
        distribution=None if spread.p50 is None else spread,
        reason=reason,
        first=percentiles(at_typical.first).p50,
        always=percentiles(at_typical.always).p50,
    )


def _checked_volume(volume: float) -> float:
    return Workload(queries_per_month=volume, input_tokens=1.0, output_tokens=1.0).queries_per_month


def _check(seed: int, draws: int) -> None:
    if not FEWEST_DRAWS <= draws <= MOST_DRAWS:
        raise InputError(f"draws is {draws!r}; it must lie from {FEWEST_DRAWS} to {MOST_DRAWS:,}.")
    if seed < 0:
        raise InputError(f"seed is {seed!r}; it must be 0 or more.")
