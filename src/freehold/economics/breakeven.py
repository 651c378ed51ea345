"""Renting against owning for one workload: by closed form, and as a distribution over what is not known."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from freehold.core.errors import InputError
from freehold.economics.cashflow import cash_flow, npv_usd, payback_months
from freehold.economics.comparison import Breakeven, Comparison, CurvePoint, Option, Stair
from freehold.economics.costverdict import verdict_on_cost
from freehold.economics.levels import annuity_months, mean_volume
from freehold.economics.montecarlo import draw, percentiles, typical
from freehold.economics.options import OWNED, RENTED, lines, question
from freehold.economics.sensitivity import changes, tornado
from freehold.economics.simple import simple, simplified
from freehold.economics.terms import crossings, total_of
from freehold.economics.waiting import waiting
from freehold.economics.waterfall import waterfall
from freehold.economics.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from freehold.economics.costverdict import CostVerdict
    from freehold.economics.montecarlo import FloatArray, Interval
    from freehold.economics.options import Lines, OptionName, Question
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
    tuned: Price | None = None,
    seed: int,
    draws: int = 20_000,
    only_simple: bool = False,
) -> Comparison:
    """Cost of every option at the workload's volume, and the volumes at which owning begins to pay.

    Break-even, net present value and payback compare owning in the scenario's way (on rented devices unless bought
    ones were asked for) with `rent`, or with the next rented option where the price of `rent` is unknown;
    `probability_own_is_cheapest` compares it with all ways to rent. The verdict may rest on another way to own, and
    then names it; each way has its own break-even and probability among the options. `only_simple` leaves out
    whatever articles leave out.

    Raises:
        InputError: the plan cannot carry such calls, two given numbers contradict each other, or the number of draws
            or the seed is out of bounds.
    """
    _check(seed, draws)
    asked = question(workload, rent, scenario, hosted, tuned)
    if only_simple:
        asked = simplified(asked)
    values, drawn = typical(asked.assumptions), draw(asked.assumptions, seed=seed, draws=draws)
    closed, simulated = lines(asked, values), lines(asked, drawn)
    certainty = asked.assumptions["cost_certainty"].typical
    verdict = verdict_on_cost(simulated, workload.queries_per_month, draws=draws, certainty=certainty)
    present, flow = npv_usd(asked, values), cash_flow(asked, drawn)
    return Comparison(
        asked=asked,
        verdict=verdict,
        options=_options(asked, closed, simulated, verdict, drawn),
        probability_own_is_cheapest=verdict.owning_is_cheapest,
        breakeven=_breakeven(asked, closed, simulated),
        steps=waterfall(asked, values, drawn),
        bars=tornado(asked, values, drawn),
        would_change=changes(asked, values),
        waiting=waiting(asked, values, seed=seed),
        simple=simple(asked),
        npv=None if flow is None else percentiles(flow.npv_usd),
        npv_closed_form_usd=None if present is None else float(present[0]),
        payback_months=payback_months(asked, values),
        payback=None if flow is None else percentiles(flow.payback_months),
        not_considered=_not_considered(asked, closed),
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
    tuned: Price | None = None,
    seed: int,
    draws: int = 20_000,
    only_simple: bool = False,
) -> list[CurvePoint]:
    """Monthly cost against volume, for a chart: calls keep their length, only their number changes.

    Raises:
        InputError: as `compare`; or a volume is out of bounds.
    """
    _check(seed, draws)
    asked = question(workload, rent, scenario, hosted, tuned)
    if only_simple:
        asked = simplified(asked)
    found = lines(asked, draw(asked.assumptions, seed=seed, draws=draws))
    return [_point(found, volume) for volume in map(_checked_volume, volumes)]


def staircase(
    workload: Workload,
    rent: Price | None,
    scenario: Scenario,
    *,
    up_to: float,
    most: int = 64,
    only_simple: bool = False,
) -> list[Stair]:
    """The steps of owning at typical values, from no volume up to one.

    Where there are more than `most`, the later ones are too fine to be seen and are left out.

    Raises:
        InputError: as `compare`; or the volume is out of bounds.
    """
    _checked_volume(up_to)
    asked = question(workload, rent, scenario, None)
    if only_simple:
        asked = simplified(asked)
    own = lines(asked, typical(asked.assumptions)).own
    if own is None:
        return []
    full, least = float(own.replica_queries[0]), int(own.replicas_minimum[0])
    stairs: list[Stair] = []
    begin = 0.0
    while begin < up_to and len(stairs) < most:
        replicas = least + len(stairs)
        end = min(replicas * full, up_to)
        before = replicas * float(total_of(own.per_replica)[0]) + float(total_of(own.fixed)[0])
        each = float(total_of(own.per_query)[0])
        stairs.append(Stair(begin, replicas, before + each * begin, before + each * end, end))
        begin = end
    return stairs


def _point(found: Lines, volume: float) -> CurvePoint:
    def median(name: OptionName) -> float | None:
        line = found.by_name.get(name)
        return None if line is None else percentiles(line.total(volume)).p50

    own = found.own
    return CurvePoint(
        queries_per_month=volume,
        rent_usd_p50=median("rent"),
        own_usd=None if own is None else percentiles(own.total(volume)),
        hosted_usd_p50=median("rent-open"),
        tuned_usd_p50=median("rent-tuned"),
        bought_usd_p50=median("own-bought") if found.way == "own" else None,
    )


def _options(
    asked: Question, closed: Lines, simulated: Lines, verdict: CostVerdict, values: Mapping[str, FloatArray]
) -> tuple[Option, ...]:
    """The option that is paid today first, priced or not, then all others of known price."""
    order: list[OptionName] = ["rent", *(name for name in (*RENTED[1:], *OWNED) if name in closed.by_name)]
    found = []
    for name in order:
        line, drawn = closed.by_name.get(name), simulated.by_name.get(name)
        if line is None or drawn is None:
            found.append(_unknown(name, _label(asked, name)))
            continue
        today = simulated.by_name.get("rent")
        volume = asked.workload.queries_per_month
        npv = None
        if today is not None and name != "rent":
            npv = percentiles((today.compared(volume) - drawn.compared(volume)) * annuity_months(values))
        is_owned = name in OWNED
        found.append(
            replace(
                _option(asked, name, line, drawn, mean_volume(values)),
                npv=npv,
                own_breakeven=None if is_owned else _first(simulated.own, drawn),
                breakeven=_first(drawn, next(iter(simulated.rented), None)) if is_owned else None,
                probability_cheapest=verdict.chances.get(name),
                probability_cheaper_than_rent=verdict.chances_against_rent.get(name),
                probability_beats_renting=verdict.beats_renting.get(name),
            )
        )
    return tuple(found)


def _first(own: CostLine | None, rented: CostLine | None) -> Interval | None:
    """Volume from which one costs less than the other; None: in half of the draws there is none."""
    if own is None or rented is None:
        return None
    volumes = percentiles(crossings(own, rented).first)
    return None if volumes.p50 is None else volumes


def _option(asked: Question, name: OptionName, closed: CostLine, drawn: CostLine, growth: FloatArray) -> Option:
    volume = asked.workload.queries_per_month
    spread, terms = percentiles(drawn.total(volume)), closed.terms(volume)
    replicas = load = None
    if name in OWNED:
        planned, running = asked.assumptions["planned_load"].typical, float(closed.replicas(volume)[0])
        replicas, load = round(running), volume / (running * float(closed.replica_queries[0])) * planned
    return Option(
        name=name,
        label=_label(asked, name),
        usd_per_month=spread,
        usd_per_query=percentiles(drawn.total(volume) / (volume * growth)).p50,
        closed_form_usd_per_month=float(closed.total(volume)[0]),
        terms=tuple((term, float(usd[0])) for term, usd in terms.items()),
        own_breakeven=None,
        replicas=replicas,
        load=load,
        premium_usd=float(closed.credit[0]),
        compared_usd_per_month=percentiles(drawn.compared(volume)),
    )


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


def _label(asked: Question, name: OptionName) -> str:
    rent = "rented model, price unknown" if asked.rent is None else asked.rent.model
    plan = "" if asked.own is None else asked.own.label
    labels: Mapping[str, str] = {
        "rent": rent,
        "rent-open": "" if asked.hosted is None else f"{asked.hosted.model} at {asked.hosted.provider}",
        "rent-tuned": "" if asked.tuned is None else f"{asked.tuned.model}, tuned, at {asked.tuned.provider}",
        "own": plan,
        "own-bought": f"{plan}, bought",
        "hybrid": f"{plan}, unsure cases to {rent}",
    }
    return labels[name]


def _not_considered(asked: Question, closed: Lines) -> tuple[tuple[str, str], ...]:
    """Options that nobody asked for or whose price is unknown, and what it takes to see them."""
    reasons = {
        "rent": "the price of the rented model is unknown",
        "rent-open": "no hosted open model was named",
        "rent-tuned": "no rented tuned model was named",
        "own": "no plan to own was given",
        "own-bought": "no purchase price of this machine is known",
        "hybrid": "no share of escalated cases was given, or the rented model has no price",
    }
    return tuple((name, reason) for name, reason in reasons.items() if name not in closed.by_name)


def _breakeven(asked: Question, closed: Lines, simulated: Lines) -> Breakeven:
    if simulated.own is None or closed.own is None:
        return Breakeven(distribution=None, reason="No plan to own was given.", first=None, always=None)
    if not simulated.rented:
        unknown = "The price of the rented model is unknown, so there is nothing to compare owning with."
        return Breakeven(distribution=None, reason=unknown, first=None, always=None)
    at_typical = crossings(closed.own, closed.rented[0])
    volumes = crossings(simulated.own, simulated.rented[0])
    spread, always = percentiles(volumes.first), percentiles(volumes.always)
    never = float(np.isinf(volumes.first).mean())
    reason: str | None = None
    if never > 0.0:
        reason = (
            f"In {100 * never:.1f} % of the draws no volume pays: a full replica costs more than the tokens it carries."
        )
    share, no_share = _escalated_share(asked, simulated.own, simulated.rented[0])
    return Breakeven(
        distribution=None if spread.p50 is None else spread,
        reason=reason,
        first=percentiles(at_typical.first).p50,
        always=percentiles(at_typical.always).p50,
        always_distribution=None if always.p50 is None else always,
        escalated_share=share,
        escalated_share_reason=no_share,
    )


def _escalated_share(asked: Question, own: CostLine, rented: CostLine) -> tuple[Interval | None, str | None]:
    """Share f of escalated queries at which the hybrid costs as much as renting, at today's volume, or why none does.

    Own + f N p - f N e = G + N p, where e are the errors that an escalated query does not make. Ends of the interval
    are those of the shares that can be, from 0 to 1.
    """
    volume = asked.workload.queries_per_month
    tokens = volume * total_of(rented.per_query)
    spared = volume * own.per_query["errors"]
    if (tokens <= spared).any():
        return None, "A rented answer costs no more than the errors that it spares, so the share does not matter."
    found = percentiles((rented.compared(volume) - own.total(volume)) / (tokens - spared))
    assert found.p5 is not None
    assert found.p50 is not None
    assert found.p95 is not None
    if found.p50 < 0.0:
        return None, "Owning does not pay at this volume in most of the draws, even if no case is sent away."
    if found.p50 > 1.0:
        return None, "Owning pays at this volume in most of the draws, even if every case is sent away as well."
    low, high = max(0.0, found.p5), min(1.0, found.p95)
    return replace(found, p5=low, p95=high), None


def _checked_volume(volume: float) -> float:
    return Workload(queries_per_month=volume, input_tokens=1.0, output_tokens=1.0).queries_per_month


def _check(seed: int, draws: int) -> None:
    if not FEWEST_DRAWS <= draws <= MOST_DRAWS:
        raise InputError(f"draws is {draws!r}; it must lie from {FEWEST_DRAWS} to {MOST_DRAWS:,}.")
    if seed < 0:
        raise InputError(f"seed is {seed!r}; it must be 0 or more.")
