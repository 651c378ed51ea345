"""What a cost record says, in sentences: the verdict on cost alone, what matters most, what would change it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.economics.claims.words import amount_words
from freehold.report.findings import (
    cost_finding,
    cost_verdict_words,
    option,
    premium_words,
    spread,
    starting_volume,
    today_words,
    way_words,
)
from freehold.report.numbers import NOT_MEASURED, bill_usd, count, number, plain_number, rate_usd, share, usd, volume
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

WORDS = {
    "queries_per_month": "the volume",
    "volume_growth_per_year": "growth of the volume",
    "gpu_usd_per_hour": "rent of a device",
    "rent_price_factor": "price of the rented model",
    "rent_drift_per_year": "drift of rented prices",
    "capability_drift_per_year": "drift of capability prices",
    "gpu_drift_per_year": "drift of device rents",
    "fte": "engineers to run it",
    "salary_usd_per_year": "engineer's salary",
    "overhead_factor": "storage, egress, idle images",
    "peak_to_mean": "busiest over mean hour",
    "replicas_minimum": "spare replica",
    "retrainings_per_year": "retrainings a year",
    "days_per_retraining": "days per retraining",
    "labels_per_retraining": "labels per retraining",
    "usd_per_label": "price of a label",
    "setup_days": "days to set up",
    "first_trainings": "runs until it is good",
    "training_hours": "hours of a training run",
    "evaluation_usd": "price of an evaluation",
    "error_difference": "errors, own minus rented",
    "capacity_error": "speed of a replica",
    "revalidations_per_year": "re-validations by renters",
    "days_per_revalidation": "days per re-validation",
    "sovereignty_usd_per_month": "premium for sovereignty",
    "hours_on_share": "share of hours that are on",
    "usd_per_kwh": "price of electricity",
}
"""Names of the record as people say them."""

_CHANGES_SHOWN = 5
_PRICED = ("price of ", "gpu_usd_per_hour", "purchase_usd")
_RENTED = ("rent", "rent-open", "rent-tuned")
_DEVICES = {"own": "rented devices", "own-bought": "bought devices"}
_FORMS: Mapping[str, tuple[Callable[[Any], str], str]] = {  # Any: JSON
    "paid / list price": (lambda value: plain_number(value, 3), " times the list price"),
    "USD per device hour": (rate_usd, " an hour"),
    "USD/month": (usd, " a month"),
}
"""Unit of the record -> how an amount and what it is per are written."""


def words_of(name: object) -> str:
    """A number's name as people say it."""
    return WORDS.get(str(name), visible(name, 60).replace("_", " "))


def cost_verdict_sentence(cost: Mapping[str, Any]) -> str:  # Any: JSON
    """The verdict, all bills, and from where owning pays, any premium named; without a verdict the last alone."""
    if not cost.get("verdict"):
        return cost_finding(cost)
    today, premium = today_words(cost), premium_words(cost)
    bills = [
        f"{words} {bill_usd(middle)}{_less_premium(option(cost, name))}"
        for name, words in _billed(cost)
        if number(middle := spread(option(cost, name).get("usd_per_month"))[1]) is not None
    ]
    verdict = f"{cost_verdict_words(cost)}{f', {premium}' if premium else ''}"
    said = f"{verdict}: at {today} {_listed(bills)} a month"
    pays = _pays(cost)
    return f"{said}; {pays}." if pays else f"{said}."


def verdict_basis(cost: Mapping[str, Any]) -> str:  # Any: JSON
    """What the verdict counts: cost alone, or cost and what answering at home is worth to the customer."""
    premium = premium_words(cost)
    return f"On cost {premium}" if premium else "On cost alone"


def _billed(cost: Mapping[str, Any]) -> list[tuple[str, str]]:  # Any: JSON
    """Options whose bills the verdict names: the way to own that was asked for, and the one that pays."""
    asked = str(cost.get("own_option") or "own")
    ways = ["own-bought" if asked == "own-bought" else "own"]
    if _pays_bought(cost):
        ways.append("own-bought")
    return [
        ("rent", "renting costs"),
        ("rent-open", "a hosted open model"),
        ("rent-tuned", "a rented tuned model"),
        *((name, f"owning on {_DEVICES[name]}" if ways != ["own"] else "owning") for name in ways),
        ("hybrid", "owning with unsure cases rented"),
    ]


def _less_premium(each: Mapping[str, Any]) -> str:  # Any: JSON
    """What a bill comes to in comparisons where a premium stands beside it."""
    compared = spread(each.get("compared_usd_per_month"))[1]
    if not number(each.get("premium_usd_per_month")) or number(compared) is None:
        return ""
    return f" ({usd(compared)} less the premium)"


def _pays_bought(cost: Mapping[str, Any]) -> bool:  # Any: JSON
    """Whether bought devices are what the verdict is about although rented ones were asked for."""
    names = (cost.get("verdict"), cost.get("verdict_option"))
    return names == ("own", "own-bought") and cost.get("own_option") != "own-bought"


def _pays(cost: Mapping[str, Any]) -> str:  # Any: JSON
    """From where owning pays, against what is rented today and against the hosted open model."""
    owning = way_words(cost)
    if not option(cost, str(cost.get("own_option") or "own")) or number(cost.get("npv_usd")) is None:
        return ""
    asked = spread(cost.get("breakeven_queries_per_month"))
    if _pays_bought(cost):
        bought = spread(option(cost, "own-bought").get("breakeven_queries_per_month"))
        if number(bought[1]) is not None:
            rented = "at no volume in most of the draws" if number(asked[1]) is None else f"from {volume(asked[1])}"
            return f"on bought devices owning pays from {starting_volume(*bought)}, on rented ones {rented}"
    if number(asked[1]) is None:
        return f"{owning} pays at no volume in most of the draws"
    first = f"{owning} pays from {starting_volume(*asked)}"
    hosted = option(cost, "rent-open")
    if not hosted or not option(cost, "rent").get("usd_per_month"):
        return first
    other = spread(hosted.get("own_breakeven_queries_per_month"))[1]
    against = "at no volume" if number(other) is None else f"from {volume(other)}"
    return f"against {visible(option(cost, 'rent').get('label'), 40)} {first}, against the open model {against}"


def simple_sentence(cost: Mapping[str, Any]) -> str:  # Any: JSON
    """The arithmetic of articles beside the whole model; empty where it was not done."""
    simple = cost.get("simple") or {}
    first = number(simple.get("breakeven_queries_per_month"))
    if first is None:
        return ""
    whole = number(spread(cost.get("breakeven_queries_per_month"))[1])
    beside = "the whole model finds no volume that pays in most draws"
    if whole is not None and first > 0:
        ratio = whole / first
        times = count(ratio) if ratio >= 10 else plain_number(ratio, 2)
        counted = f", {premium_words(cost)}," if premium_words(cost) else ""
        beside = f"the whole model{counted} says {volume(whole)}, {times} times as many"
    return f"One machine over list prices: {visible(simple.get('arithmetic'), 300)}; {beside}."


def change_sentences(cost: Mapping[str, Any], *, most: int = _CHANGES_SHOWN) -> list[str]:  # Any: JSON
    """Single numbers that would turn the answer at typical values, the nearest first, and those that cannot."""
    changes: Iterable[Mapping[str, Any]] = cost.get("would_change") or ()  # Any: JSON
    found = [each for each in changes if number(each.get("needed")) is not None]
    said = [_change(each) for each in sorted(found, key=_distance)[:most]]
    never = [words_of(each.get("name")) for each in changes if number(each.get("needed")) is None]
    if never:
        said.append(f"No value of one of these alone would turn the answer: {'; '.join(never)}.")
    return said


def waiting_sentence(cost: Mapping[str, Any]) -> str:  # Any: JSON
    """Whether to own now or later; empty where nothing was compared."""
    waiting = cost.get("waiting") or {}
    advice = waiting.get("advice")
    if not advice:
        return ""
    value, invested = usd(waiting.get("present_value_usd")), usd(waiting.get("investment_usd"))
    words = {
        "own now": "Waiting is worth less than owning now",
        "wait": "Owning would pay, but waiting is worth more",
        "not worth it": "At typical values owning would not return its set-up",
    }[str(advice)]
    threshold = number(waiting.get("threshold"))
    least = "" if threshold is None else f" at least {plain_number(threshold, 3)} times that would be asked for;"
    return (
        f"{words}: the savings are worth {value} today and the set-up costs {invested};{least} "
        f"the right to decide later is worth {usd(waiting.get('value_of_waiting_usd'))}.{_two_middles(cost)}"
    )


def _two_middles(cost: Mapping[str, Any]) -> str:  # Any: JSON
    """Why the worth at typical values and the middle of the draws point to different sides, where they do."""
    typical, middle = number(cost.get("npv_usd")), number(spread(cost.get("npv_usd_interval"))[1])
    if typical is None or middle is None or (typical > 0) == (middle > 0):
        return ""
    return (
        f" With every number typical owning is worth {usd(typical)} in all, in the middle of the draws {usd(middle)}: "
        "some numbers can be much higher than typical and none much lower, so half of the draws lie beyond the typical "
        "case. Volume and break-even are too close together for either to decide."
    )


def escalation_sentence(cost: Mapping[str, Any]) -> str:  # Any: JSON
    """How many cases could be escalated before owning stops to pay; empty where it does not pay anyway."""
    low, middle, high = (number(each) for each in spread(cost.get("breakeven_escalated_share")))
    if low is None or middle is None or high is None or middle <= 0.0:
        return ""
    return f"Up to {share(middle)} of the cases could be sent to the rented model before owning stops to pay."


def premium_sentence(cost: Mapping[str, Any]) -> str:  # Any: JSON
    """The chosen premium, which is never hidden in another number; empty where there is none."""
    premium = number(cost.get("sovereignty_usd_per_month"))
    if not premium:
        return ""
    return (
        f"Answering at home is valued at {usd(premium)} a month, as chosen: verdict, break-even and present values "
        "count it in favour of owning, the bills do not."
    )


def _change(change: Mapping[str, Any]) -> str:  # Any: JSON
    unit = visible(change.get("unit"), 60)
    form, per = _FORMS.get(unit, (_plain_amount, f" {unit.replace('/', ' a ')}"))
    if unit.startswith("change of"):
        form, per = share, " a year"
    name = words_of(change.get("name"))
    needed, now = form(change["needed"]), form(change.get("now"))
    return f"{name[:1].upper()}{name[1:]}: {visible(change.get('direction'))} {needed}{per} (now {now})."


def _plain_amount(value: Any) -> str:  # Any: JSON
    amount = number(value)
    return volume(value) if amount is not None and abs(amount) >= 1000 else plain_number(value, 3)


def _distance(change: Mapping[str, Any]) -> float:  # Any: JSON
    """How far a number would have to move, as a ratio where both ends have one."""
    needed, now = number(change.get("needed")) or 0.0, number(change.get("now")) or 0.0
    if needed > 0 and now > 0:
        return max(needed / now, now / needed)
    return 100.0 + abs(needed - now)


def _listed(parts: list[str]) -> str:
    if not parts:
        return f"every price is {NOT_MEASURED}"
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def assumed_dates(cost: Mapping[str, Any]) -> list[str]:  # Any: JSON
    """Prices and rents that were not published for the day that was asked for, or leave something else open."""
    return [
        f"{words_of(each.get('name'))}: {visible(each.get('source'), 400)}"
        for each in cost.get("assumptions") or ()
        if each.get("is_assumption") and str(each.get("name")).startswith(_PRICED)
    ]


def simple_lines(cost: Mapping[str, Any]) -> list[str]:  # Any: JSON
    """The arithmetic of articles, one line for each rented price: a machine's month over a query's price."""
    machine = number(option(cost, "own").get("closed_form_usd_per_month"))
    lines = []
    for each in cost.get("options") or ():
        price, month = number(each.get("usd_per_query")), number(cost.get("queries_per_month"))
        if machine is None or each.get("name") not in _RENTED or not price or not month:
            continue
        first = number(spread(each.get("own_breakeven_queries_per_month"))[1])
        result = "no volume" if first is None else f"{count(first)} queries a month"
        sides = f"${machine:,.2f} a month / {amount_words(price, 'USD')} a query"
        lines.append(f"{visible(each.get('label'), 60)}: {sides} = {result}")
    return lines
