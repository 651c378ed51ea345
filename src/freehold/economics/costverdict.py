"""The verdict on cost alone: which side is cheaper, and how sure that is. Quality is judged elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from freehold.economics.options import OWNED, RENTED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freehold.economics.montecarlo import FloatArray
    from freehold.economics.options import Lines, OptionName

CostVerdictName = Literal["own", "hybrid", "rent-open", "rent-tuned", "stay-renting", "undecided"]


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
    """Share of the draws in which some way to own is; None: nothing to compare."""


def verdict_on_cost(found: Lines, volume: float, *, draws: int, certainty: float) -> CostVerdict:
    """Judge the drawn costs of one volume, by these rules and in this order.

    1. No rented price is known, or nobody plans to own: the known rented options are compared (rule 3), else
       undecided.
    2. Owning in any way is cheapest with probability `certainty` or more: hybrid if sending unsure cases away makes
       it cheaper in most draws, else own.
    3. It is with 1 - `certainty` or less: the rented alternative of the lowest median that costs less than today's
       model with probability `certainty` or more; else stay-renting: a change has to be worth its trouble.
    4. Else: undecided.
    """
    usd = {name: np.broadcast_to(line.compared(volume), draws) for name, line in found.by_name.items()}
    chances = _chances(usd)
    others: list[OptionName] = [name for name in usd if name != "rent" and "rent" in usd]
    against = {name: float((usd[name] < usd["rent"]).mean()) for name in others}
    owned, rented = [name for name in OWNED if name in usd], [name for name in RENTED if name in usd]
    owning = sum(chances[name] for name in owned) if owned and rented else None
    verdict, rule = _judge(usd, chances, against, owning, certainty)
    return CostVerdict(
        verdict=verdict, rule=rule, chances=chances, chances_against_rent=against, owning_is_cheapest=owning
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
    chances: Mapping[OptionName, float],
    against: Mapping[OptionName, float],
    owning: float | None,
    certainty: float,
) -> tuple[CostVerdictName, str]:
    if not any(name in usd for name in RENTED):
        return "undecided", "No price of a rented model is known."
    if owning is None:
        return _rented(usd, against, certainty, "No plan to own was compared.")
    words = f"Owning is cheapest in {100 * owning:.1f} % of the draws"
    if owning >= certainty:
        is_hybrid = chances.get("hybrid", 0.0) > owning / 2.0
        return ("hybrid" if is_hybrid else "own"), f"{words}, at least the {100 * certainty:g} % that were asked for."
    if owning <= 1.0 - certainty + 1e-12:
        return _rented(usd, against, certainty, f"{words}, at most the {100 * (1 - certainty):g} % that rule it out.")
    return "undecided", f"{words}: neither {100 * certainty:g} % or more nor {100 * (1 - certainty):g} % or less."


def _rented(
    usd: Mapping[OptionName, FloatArray], against: Mapping[OptionName, float], certainty: float, why: str
) -> tuple[CostVerdictName, str]:
    """The rented alternative that is surely cheaper than today's model, or today's model."""
    medians = {name: float(np.median(usd[name])) for name in RENTED if name in usd}
    known: dict[OptionName, CostVerdictName] = {"rent-open": "rent-open", "rent-tuned": "rent-tuned"}
    if "rent" not in medians:
        name = min(medians, key=lambda each: medians[each])
        return known[name], f"{why} What is rented today has no known price."
    better = [name for name in known if against.get(name, 0.0) >= certainty]
    if not better:
        return "stay-renting", why
    name = min(better, key=lambda each: medians[each])
    label = "An open model" if name == "rent-open" else "A tuned model"
    return known[name], f"{why} {label} that somebody hosts costs less in {100 * against[name]:.1f} % of them."
