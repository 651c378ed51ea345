"""The verdict on cost alone: which side is cheaper, and how sure that is. Quality is judged elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from freehold.economics.options import OWNED, RENTED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.economics.montecarlo import FloatArray
    from freehold.economics.options import Lines, OptionName
    from freehold.economics.scenario import OwnWay

CostVerdictName = Literal["own", "hybrid", "rent-open", "rent-tuned", "stay-renting", "undecided"]

WAYS: Mapping[OptionName, str] = {
    "own": "Owning on rented devices",
    "own-bought": "Owning on bought devices",
    "hybrid": "Owning with unsure cases rented",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CostVerdict:
    """What cost alone says at one volume."""

    verdict: CostVerdictName
    rule: str
    """Which rule gave it, with its numbers."""
    chances: Mapping[OptionName, float]
    """Share of the draws in which an option is the cheapest of all."""
    chances_against_rent: Mapping[OptionName, float]
    """Share of the draws in which an option costs less than the model that is rented today; empty if unknown."""
    owning_is_cheapest: float | None
    """Share of the draws in which owning in the way that was asked for costs less than all that is rented; None:
    nothing to compare."""
    option: OptionName | None = None
    """What the verdict is about: the option that it recommends, or the way to own that it could not settle."""
    beats_renting: Mapping[OptionName, float] = field(default_factory=dict)
    """The same share for every way to own."""


def verdict_on_cost(found: Lines, volume: float, *, draws: int, certainty: float) -> CostVerdict:
    """Judge the drawn costs of one volume, by these rules and in this order.

    1. No rented price is known, or nobody plans to own: the known rented options are compared (rule 3), else
       undecided.
    2. A way to own costs less than all that is rented with probability `certainty` or more: hybrid if it does and is
       cheaper than the way that was asked for in most draws, else own; in another way only where that one does not.
    3. All of them do with 1 - `certainty` or less: the rented alternative of the lowest median that costs less than
       today's model with probability `certainty` or more; else stay-renting: a change has to be worth its trouble.
    4. Else: undecided.
    """
    usd = {name: np.broadcast_to(line.compared(volume), draws) for name, line in found.by_name.items()}
    chances = _chances(usd)
    others: list[OptionName] = [name for name in usd if name != "rent" and "rent" in usd]
    against = {name: float((usd[name] < usd["rent"]).mean()) for name in others}
    rented = [usd[name] for name in RENTED if name in usd]
    beats: dict[OptionName, float] = {}
    if rented:
        least = np.min(rented, axis=0)
        beats = {name: float((usd[name] < least).mean()) for name in OWNED if name in usd}
    verdict, option, rule = _judge(usd, against, beats, found.way, certainty)
    return CostVerdict(
        verdict=verdict,
        rule=rule,
        chances=chances,
        chances_against_rent=against,
        owning_is_cheapest=beats.get(found.way),
        option=option,
        beats_renting=beats,
    )


def _chances(usd: Mapping[OptionName, FloatArray]) -> dict[OptionName, float]:
    """How often each option is the cheapest; of equal ones the first, and renting stands before owning."""
    if not usd:
        return {}
    order: list[OptionName] = [name for name in (*RENTED, *OWNED) if name in usd]
    cheapest = np.argmin(np.stack([usd[name] for name in order]), axis=0)
    return {name: float((cheapest == index).mean()) for index, name in enumerate(order)}


def _judge(
    usd: Mapping[OptionName, FloatArray],
    against: Mapping[OptionName, float],
    beats: Mapping[OptionName, float],
    way: OwnWay,
    certainty: float,
) -> tuple[CostVerdictName, OptionName | None, str]:
    if not any(name in usd for name in RENTED):
        return "undecided", None, "No price of a rented model is known."
    if not beats:
        return _rented(usd, against, certainty, "No plan to own was compared.")
    chosen = _chosen(usd, beats, way, certainty)
    option: OptionName = chosen if chosen is not None else max(beats, key=lambda name: beats[name])
    words = f"{WAYS[option]} costs less than all that is rented in {100 * beats[option]:.1f} % of the draws"
    if chosen is not None:
        is_hybrid = chosen == "hybrid"
        asked_for = f"at least the {100 * certainty:g} % that were asked for."
        return ("hybrid" if is_hybrid else "own"), chosen, f"{words}, {asked_for}"
    if beats[option] <= 1.0 - certainty + 1e-12:
        return _rented(usd, against, certainty, f"{words}, at most the {100 * (1 - certainty):g} % that rule it out.")
    between = f"neither {100 * certainty:g} % or more nor {100 * (1 - certainty):g} % or less."
    return "undecided", option, f"{words}: {between}"


def _chosen(
    usd: Mapping[OptionName, FloatArray], beats: Mapping[OptionName, float], way: OwnWay, certainty: float
) -> OptionName | None:
    """The way to own that surely pays; the one that was asked for before all others but a cheaper hybrid of it."""
    sure = [name for name in beats if beats[name] >= certainty]
    if "hybrid" in sure and float((usd["hybrid"] < usd[way]).mean()) > 0.5:
        return "hybrid"
    if not sure:
        return None
    best: OptionName = max(sure, key=lambda name: beats[name])
    return way if way in sure else best


def _rented(
    usd: Mapping[OptionName, FloatArray], against: Mapping[OptionName, float], certainty: float, why: str
) -> tuple[CostVerdictName, OptionName | None, str]:
    """The rented alternative that is surely cheaper than today's model, or today's model."""
    medians = {name: float(np.median(usd[name])) for name in RENTED if name in usd}
    known: dict[OptionName, CostVerdictName] = {"rent-open": "rent-open", "rent-tuned": "rent-tuned"}
    if "rent" not in medians:
        name = min(medians, key=lambda each: medians[each])
        return known[name], name, f"{why} What is rented today has no known price."
    better = [name for name in known if against.get(name, 0.0) >= certainty]
    if not better:
        return "stay-renting", "rent", why
    name = min(better, key=lambda each: medians[each])
    label = "An open model" if name == "rent-open" else "A tuned model"
    return known[name], name, f"{why} {label} that somebody hosts costs less in {100 * against[name]:.1f} % of them."
