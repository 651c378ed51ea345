"""What a record says, in one sentence: the titles of figures and the first lines of texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, assert_never

from freehold.report.numbers import count, interval, number, points, queries, share, usd, volume
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Standing = Literal["better", "good-enough", "too-low", "open"]

METRICS = {"accuracy": "accuracy", "field_accuracy": "share of right fields", "chrf": "chrF"}

VERDICTS = {
    "own": "Own",
    "hybrid": "Own, escalate unsure cases",
    "rent-open": "Rent an open model",
    "rent-tuned": "Rent a tuned model",
    "stay-renting": "Stay renting",
    "undecided": "Undecided",
}

OPTIONS = {
    "rent": "keep renting",
    "rent-open": "rent an open model",
    "rent-tuned": "rent a tuned model",
    "own": "own, rented devices",
    "own-bought": "own, bought devices",
    "hybrid": "own, escalate unsure cases",
}

_MEASUREMENTS = {
    "own-model": "tune an own model and evaluate it",
    "rented-answers": "record the rented model's answers to the test cases",
    "more-test-cases": "collect more test cases",
    "price": "find the missing price",
    "cost-inputs": "narrow the assumptions behind the costs",
    "better-model": "tune a better own model",
}


def next_measurement_words(decision: Mapping[str, Any]) -> str:  # Any: JSON
    """What to measure next, and how much of it."""
    wanted = decision.get("next_measurement")
    if not wanted:
        return "none is needed"
    detail = decision.get("next_measurement_detail") or {}
    cases, now = number(detail.get("cases")), number(detail.get("cases_now"))
    prices = ", ".join(visible(each, 60) for each in detail.get("prices") or ())
    parts = [
        _MEASUREMENTS.get(str(wanted), visible(wanted)),
        f": {prices}" if prices else "",
        "" if cases is None else f" (about {volume(cases)} cases in all",
        "" if cases is None else (")" if now is None else f"; there are {count(now)} now)"),
    ]
    return "".join(parts)


def verdict_words(verdict: object) -> str:
    """The verdict as people say it."""
    return VERDICTS.get(str(verdict), visible(verdict))


def standing(comparison: Mapping[str, Any]) -> Standing:  # Any: JSON
    """Where the interval of the difference lies: above zero, above the margin, below it, or across it."""
    low, high, margin = (number(comparison.get(name)) for name in ("ci_low", "ci_high", "margin"))
    if low is not None and low > 0:
        return "better"
    if comparison.get("non_inferior") is True:
        return "good-enough"
    if high is not None and margin is not None and high < -margin:
        return "too-low"
    return "open"


def comparison_finding(comparison: Mapping[str, Any]) -> str:  # Any: JSON
    """The standing in words short enough for a table."""
    margin = margin_words(comparison.get("margin"))
    match standing(comparison):
        case "better":
            return "better"
        case "good-enough":
            return f"good enough: at most {margin} worse"
        case "too-low":
            return f"more than {margin} worse"
        case "open":
            needed = number(comparison.get("cases_needed"))
            return "open" if needed is None else f"open: about {volume(needed)} cases would tell"
        case other:
            assert_never(other)


def main_comparison(evaluation: Mapping[str, Any]) -> Mapping[str, Any] | None:  # Any: JSON
    """The own model against the rented one; None when one of them took no part."""
    kinds = {each.get("name"): each.get("kind") for each in evaluation.get("contenders") or ()}
    comparisons: Iterable[Mapping[str, Any]] = evaluation.get("comparisons") or ()  # Any: JSON
    for comparison in comparisons:
        if (kinds.get(comparison.get("candidate")), kinds.get(comparison.get("against"))) == (
            "own",
            "rented",
        ):
            return comparison
    return None


def quality_finding(evaluation: Mapping[str, Any]) -> str:  # Any: JSON
    """How the own model stands against the rented one, and whether a baseline does as well."""
    return f"{_own_against_rented(evaluation)}{_baseline_remark(evaluation)}."


def difference_finding(evaluation: Mapping[str, Any]) -> str:  # Any: JSON
    """By how much the own model differs from the rented one, and how surely."""
    comparison = main_comparison(evaluation)
    if comparison is None:
        return "No own model was compared with the rented one."
    ends = interval(comparison.get("ci_low"), comparison.get("ci_high"), points)
    return f"Own minus rented is {points(comparison.get('difference'))}, and may be anything from {ends}."


def margin_words(margin: object) -> str:
    """A non-inferiority margin: 2 points."""
    text = points(margin).lstrip("+").replace(".0 ", " ")
    return text.replace("points", "point") if text == "1 points" else text


def cost_finding(cost: Mapping[str, Any]) -> str:  # Any: JSON
    """From which volume owning pays, and how far today's volume is from it."""
    today = number(cost.get("queries_per_month"))
    now = "" if today is None else f"; today it is {queries(today)}"
    low, middle, high = (number(each) for each in spread(cost.get("breakeven_queries_per_month")))
    premium, owning = premium_words(cost), way_words(cost)
    if middle is None:
        also = f" {premium}" if premium else ""
        return f"No volume was found from which {owning} costs less than renting{also}{now}."
    said = f"{premium}, {owning}" if premium else owning
    return f"{said[0].upper()}{said[1:]} costs less from {starting_volume(low, middle, high)}{now}."


def today_words(cost: Mapping[str, Any]) -> str:  # Any: JSON
    """Today's volume, and how it grows where somebody said so."""
    growth = number(cost.get("volume_growth_per_year"))
    more = "" if not growth else f", {'growing' if growth > 0 else 'shrinking'} by {share(abs(growth))} a year,"
    return f"{queries(cost.get('queries_per_month'))} queries a month{more}"


def premium_words(cost: Mapping[str, Any]) -> str:  # Any: JSON
    """The chosen premium for answering at home, as every figure that counts it names it; empty where there is none."""
    premium = number(cost.get("sovereignty_usd_per_month"))
    return f"with your {usd(premium)} a month for sovereignty" if premium else ""


def way_words(cost: Mapping[str, Any]) -> str:  # Any: JSON
    """Owning in the way that was asked for; rented devices go without saying."""
    return "owning on bought devices" if cost.get("own_option") == "own-bought" else "owning"


def cost_verdict_words(cost: Mapping[str, Any]) -> str:  # Any: JSON
    """The verdict of a cost record; bought devices are named where they are what pays."""
    is_bought = (cost.get("verdict"), cost.get("verdict_option")) == ("own", "own-bought")
    return f"{verdict_words(cost.get('verdict'))}{', on bought devices' if is_bought else ''}"


def starting_volume(low: Any, middle: Any, high: Any) -> str:  # Any: JSON
    """Volume from which something pays, with its range where the draws differ."""
    if number(middle) == 0.0:
        return "the first query on"
    first = f"about {volume(middle)} queries a month"
    return first if low is None or low == middle == high else f"{first} (90 % of draws: {volume_range(low, high)})"


def volume_range(low: Any, high: Any) -> str:  # Any: JSON
    """Lower and upper break-even volume; without an upper one some draws never pay."""
    return f"{volume(low)} to {'never' if number(high) is None else volume(high)}"


def verdict_sentence(decision: Mapping[str, Any]) -> str:  # Any: JSON
    """The verdict, its task, and the two measured facts it rests on."""
    task = visible(decision.get("task"), 60)
    inputs = decision.get("inputs") or {}
    cost, evaluation = inputs.get("cost") or {}, inputs.get("evaluation") or {}
    facts = "; ".join(fact for fact in (_cost_fact(cost), _quality_fact(evaluation)) if fact)
    return f"{_opening(decision, task)}{': ' if facts else ''}{facts}."


def option(cost: Mapping[str, Any], name: str) -> Mapping[str, Any]:  # Any: JSON
    """One option of a cost record; empty when it is not offered."""
    options: Iterable[Mapping[str, Any]] = cost.get("options") or ()  # Any: JSON
    return next((each for each in options if each.get("name") == name), {})


def spread(value: Any) -> tuple[Any, Any, Any]:  # Any: JSON
    """p5, p50 and p95 of a field that may also be one number or absent."""
    if hasattr(value, "get"):
        return (value.get("p5"), value.get("p50"), value.get("p95"))
    return (None, value, None)


def _opening(decision: Mapping[str, Any], task: str) -> str:  # Any: JSON
    verdict = str(decision.get("verdict"))
    cascade = ((decision.get("inputs") or {}).get("evaluation") or {}).get("cascade") or {}
    match verdict:
        case "own":
            return f"Own {task}"
        case "hybrid":
            escalated = number(cascade.get("escalated_share"))
            part = "unsure cases" if escalated is None else f"{share(escalated)} of the cases"
            return f"Own {task} and send {part} to the rented model"
        case "rent-open":
            return f"Rent an open model for {task}"
        case "rent-tuned":
            return f"Rent a tuned model for {task}"
        case "stay-renting":
            return f"Stay renting {task}"
        case _:
            return f"{verdict_words(verdict)} on {task}"


def _cost_fact(cost: Mapping[str, Any]) -> str:  # Any: JSON
    rent = number(spread(option(cost, "rent").get("usd_per_month"))[1])
    own = number(spread(option(cost, "own").get("usd_per_month"))[1])
    today = number(cost.get("queries_per_month"))
    if today is None or (rent is None and own is None):
        return ""
    rent_words, own_words = ("an unknown amount" if each is None else usd(each) for each in (rent, own))
    return f"at {count(today)} queries a month renting costs {rent_words} and owning {own_words}"


def _quality_fact(evaluation: Mapping[str, Any]) -> str:  # Any: JSON
    if not evaluation.get("contenders"):
        return ""
    finding = _own_against_rented(evaluation)
    return finding if finding[0].isdigit() else f"{finding[0].lower()}{finding[1:]}"


def _own_against_rented(evaluation: Mapping[str, Any]) -> str:  # Any: JSON
    comparison = main_comparison(evaluation)
    if comparison is None:
        return _without_comparison(evaluation)
    difference = points(abs(number(comparison.get("difference")) or 0.0)).lstrip("+")
    margin = margin_words(comparison.get("margin"))
    match standing(comparison):
        case "better":
            return f"The own model beats the rented one by {difference}"
        case "good-enough":
            return f"The own model is at most {margin} worse than the rented one"
        case "too-low":
            return f"The own model is {difference} worse than the rented one, and {margin} were allowed"
        case "open":
            cases = count(comparison.get("n") or evaluation.get("n"))
            return f"{cases} cases leave open whether the own model stays within {margin} of the rented one"
        case other:
            assert_never(other)


def _without_comparison(evaluation: Mapping[str, Any]) -> str:  # Any: JSON
    own = _of_kind(evaluation, "own")
    if own is None:
        return "No own model was measured"
    return f"The own model reaches {share(own.get('value'))}; no rented answers were there to compare with"


def _baseline_remark(evaluation: Mapping[str, Any]) -> str:  # Any: JSON
    own, baseline = _of_kind(evaluation, "own"), _of_kind(evaluation, "baseline")
    if own is None or baseline is None or (number(baseline.get("value")) or 0) < (number(own.get("value")) or 0):
        return ""
    return f"; a simple baseline ({visible(baseline.get('name'), 40)}) does no worse than the own model"


def _of_kind(evaluation: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:  # Any: JSON
    """The contender of that kind with the highest value."""
    of_kind = [each for each in evaluation.get("contenders") or () if each.get("kind") == kind]
    return max(of_kind, key=lambda each: number(each.get("value")) or 0.0, default=None)
