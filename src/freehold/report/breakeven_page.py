"""A cost record as one self-contained HTML page of two printed sides: the verdict first, then what it rests on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from freehold.report._page import rendered
from freehold.report.breakeven_figures import tornado_figure, volume_figure, waterfall_figure
from freehold.report.cost_findings import (
    change_sentences,
    cost_verdict_sentence,
    escalation_sentence,
    premium_sentence,
    simple_sentence,
    verdict_basis,
    waiting_sentence,
)
from freehold.report.cost_tables import assumption_lines, option_table, settled_assumptions, term_table, ways_table
from freehold.report.findings import cost_verdict_words, option, spread, volume_range
from freehold.report.numbers import (
    NOT_MEASURED,
    bill_usd,
    brief_usd,
    count,
    interval,
    number,
    plain_number,
    share,
    volume,
)
from freehold.report.verdict_page import Fact
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

_CLASSES = {"own": "own", "hybrid": "hybrid", "undecided": "undecided"}


def breakeven_page(cost: Mapping[str, Any], *, title: str = "Rent or own") -> str:  # Any: JSON
    """The page of one record of schema freehold.breakeven/1."""
    verdict = str(cost.get("verdict"))
    varied, unused = settled_assumptions(cost.get("assumptions") or ())
    sentences = (simple_sentence(cost), waiting_sentence(cost), escalation_sentence(cost), premium_sentence(cost))
    return rendered(
        "breakeven.html",
        title=visible(title, 120),
        subtitle=_question(cost),
        verdict=cost_verdict_words(cost),
        verdict_class=_CLASSES.get(verdict, "rented"),
        sentence=cost_verdict_sentence(cost),
        basis_of_verdict=verdict_basis(cost),
        rule=visible(cost.get("verdict_rule") or "", 400),
        facts=_facts(cost),
        volume=volume_figure(cost),
        options=replace(option_table(cost, with_ways=True), caption="What a month costs"),
        ways=ways_table(cost),
        terms=term_table(cost),
        waterfall=waterfall_figure(cost),
        tornado=tornado_figure(cost),
        changes=change_sentences(cost),
        notes=[each for each in (*sentences, visible(cost.get("breakeven_reason") or "", 400)) if each],
        assumptions=assumption_lines(varied),
        unused=unused,
        basis=_basis(cost),
    )


def _question(cost: Mapping[str, Any]) -> str:  # Any: JSON
    """What was compared, in one line."""
    work = (cost.get("inputs") or {}).get("workload") or {}
    calls = f"{count(work.get('input_tokens'))} tokens in and {count(work.get('output_tokens'))} out a query"
    names = [visible(each.get("label"), 60) for each in cost.get("options") or () if each.get("name") != "hybrid"]
    return f"{' · '.join(names)}; {calls}"


def _facts(cost: Mapping[str, Any]) -> tuple[Fact, ...]:  # Any: JSON
    """The numbers that a reader looks for first, each with its interval."""
    low, middle, high = spread(cost.get("breakeven_queries_per_month"))
    pays = "no volume" if number(middle) is None else volume(middle)
    ends = "in most draws" if number(middle) is None else "" if low == high else volume_range(low, high)
    way = str(cost.get("own_option") or "own")
    billed = [("rent", "Renting"), ("rent-open", "Hosted open model"), (way, "Owning")]
    if (cost.get("verdict"), cost.get("verdict_option")) == ("own", "own-bought") and way == "own":
        billed.append(("own-bought", "Owning, bought devices"))
    facts = [_monthly(name, words, cost) for name, words in billed if option(cost, name).get("usd_per_month")]
    low_npv, middle_npv, high_npv = spread(cost.get("npv_usd_interval"))
    if number(cost.get("npv_usd")) is not None:
        facts += [
            Fact("Owning pays from, a month", pays, ends),
            Fact("Owning beats renting", share(cost.get("probability_own_is_cheapest")), "of the draws"),
            Fact("Worth of owning today", brief_usd(middle_npv), interval(low_npv, high_npv, brief_usd)),
            _payback(cost),
        ]
    return tuple(facts)


def _payback(cost: Mapping[str, Any]) -> Fact:  # Any: JSON
    """When the set-up is returned, in the middle of the draws as all that stands beside it."""
    low, middle, high = (number(each) for each in spread(cost.get("payback_months_interval")))
    horizon = _assumed(cost, "horizon_months")
    within = "the horizon" if horizon is None else f"{count(horizon)} months"
    if middle is None:
        sooner = "in most draws" if low is None else f"in most draws; {_months(low)} in the best 5 %"
        return Fact("Set-up returned", f"not within {within}", sooner)
    latest = f"more than {within}" if high is None else _months(high)
    return Fact("Set-up returned after", _months(middle), f"{count(low)} to {latest}")


def _months(number_of: float) -> str:
    return f"{count(number_of)} month{'s' if number_of != 1 else ''}"


def _monthly(name: str, words: str, cost: Mapping[str, Any]) -> Fact:  # Any: JSON
    low, middle, high = spread(option(cost, name).get("usd_per_month"))
    return Fact(f"{words}, a month", bill_usd(middle), interval(low, high, bill_usd))


def _assumed(cost: Mapping[str, Any], name: str) -> float | None:  # Any: JSON
    found = [each.get("value") for each in cost.get("assumptions") or () if each.get("name") == name]
    return number(found[0]) if found else None


def _basis(cost: Mapping[str, Any]) -> str:  # Any: JSON
    """Date of prices, draws, seed and versions: what it takes to repeat the page."""
    inputs = cost.get("inputs") or {}
    priced = [inputs.get(name) or {} for name in ("rent", "hosted", "tuned")]
    days = sorted({visible(each["as_of"], 20) for each in priced if each.get("as_of")})
    versions = ", ".join(
        f"{visible(name, 40)} {visible(each, 60)}" for name, each in (cost.get("versions") or {}).items()
    )
    return (
        f"Prices as of {', '.join(days) or NOT_MEASURED}. {count(cost.get('draws'))} draws, seed "
        f"{plain_number(cost.get('seed'))}. {versions}."
    )
