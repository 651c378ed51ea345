"""The rules by which a verdict follows from a computation, one for each kind of claim.

docs/decisions/0011-claims.md states the same rules in words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from freehold.economics.claims.comparing import agrees, ends_of, is_close, keeps_bound, ratio_of, targets_of
from freehold.economics.claims.words import about_words, amount_words, number_words

if TYPE_CHECKING:
    from freehold.economics.claims.claim import Claim, Number, Stated, Verdict
    from freehold.economics.claims.comparing import Targets
    from freehold.economics.claims.computation import Computation
    from freehold.economics.claims.finding import Exhibit, Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict, why, and what the result would have to be for the claim to hold."""

    verdict: Verdict
    reason: str
    ratio: Number | None = None
    targets: Targets = ()
    """Empty: there is nothing to solve for."""


def judge_arithmetic(claim: Claim, found: Computation, stated: Number) -> Judgement:
    """Verdict consistent when the text's own inputs give the text's own result, else inconsistent."""
    if found.value is None:
        return Judgement(verdict="inconsistent", reason=_no_result(stated, found.unit))
    assert claim.stated is not None
    if claim.stated.bound != "equal":
        return _judge_bound(claim, claim.stated, found, stated)
    paired = claim.ends == "paired"
    is_consistent = agrees(stated, found.value, tolerance=claim.tolerance, paired=paired)
    ratio = ratio_of(stated, found.value, paired=paired)
    return Judgement(
        verdict="consistent" if is_consistent else "inconsistent",
        reason=_compared(stated, found.value, found.unit, ratio),
        ratio=ratio,
        targets=targets_of(stated, found.results),
    )


def judge_against(claim: Claim, found: Computation, other: Finding) -> Judgement:
    """Verdict contradicts when the result is not what another claim states for the same thing."""
    name = claim.against
    if found.value is None or other.stated is None:
        return Judgement(verdict="under-specified", reason=f"there is no number to compare with claim {name}")
    is_same = agrees(other.stated, found.value, tolerance=claim.tolerance, paired=claim.ends == "paired")
    away = ratio_of(found.value, other.stated, paired=claim.ends == "paired")
    times = "" if away is None else f", {_times(away)} as much"
    return Judgement(
        verdict="consistent" if is_same else "contradicts",
        reason=f"claim {name} states {about_words(ends_of(other.stated), found.unit)}; this gives "
        f"{about_words(ends_of(found.value), found.unit)}{times}",
        targets=targets_of(other.stated, found.results),
    )


def judge_estimate(claim: Claim, found: Computation, stated: Number | None, expected: Number | None) -> Judgement:
    """Verdict plausible when the ranges meet, overstated when the text lies above all of the computed range.

    With `expected`, the result is another quantity than the stated one, and has to meet that range.
    """
    if found.value is None:
        return Judgement(verdict="inconsistent", reason="the arithmetic has no result with these inputs")
    if expected is not None:
        claimed, assumed, ratio = found.value, expected, None
    else:
        assert stated is not None
        claimed, assumed = stated, found.value
        ratio = ratio_of(claimed, assumed, paired=False)
    meets = agrees(claimed, assumed, tolerance=claim.tolerance, paired=False)
    is_above = ends_of(claimed)[0] > ends_of(assumed)[1]
    words = about_words(ends_of(claimed), found.unit), about_words(ends_of(assumed), found.unit)
    relation = "meets" if meets else "lies above" if is_above else "lies below"
    times = "" if ratio is None or meets else f", {_times(ratio)} as much"
    return Judgement(
        verdict="plausible" if meets else "overstated" if is_above else "inconsistent",
        reason=f"{words[0]} {relation} the {words[1]} that usual assumptions give{times}",
        ratio=ratio,
        targets=() if meets else _to_meet(found, assumed if expected is not None else claimed),
    )


def judge_report(claim: Claim, found: Computation | None, stated: Number | None) -> Judgement:
    """Verdict confirmed or not-reproducible by a computation; unverifiable when there is nothing to compute from."""
    if found is None or stated is None:
        return Judgement(
            verdict="unverifiable", reason="the text gives neither the inputs nor a source from which to compute it"
        )
    judged = judge_arithmetic(claim, found, stated)
    is_right = judged.verdict == "consistent"
    return Judgement(
        verdict="confirmed" if is_right else "not-reproducible",
        reason=judged.reason,
        ratio=judged.ratio,
        targets=judged.targets,
    )


def judge_omission(claim: Claim, found: Computation, without: Number) -> Judgement:
    """Verdict omission when the left-out term changes the result by a material factor, admitted if the text says so."""
    if found.value is None:
        return Judgement(verdict="omission", reason="with the omitted term the arithmetic has no result at all")
    factor = _nearest_factor(found.value, without)
    changes = f"{about_words(ends_of(without), found.unit)} becomes {about_words(ends_of(found.value), found.unit)}"
    times = "" if factor is None else f", {number_words(_short(factor))} times as much"
    targets = targets_of(without, found.results)
    if factor is not None and 1.0 / claim.material < factor < claim.material:
        return Judgement(verdict="consistent", reason=f"the omitted term hardly matters: {changes}", targets=targets)
    if claim.admitted:
        quoted = f"the text admits it (“{claim.admitted}”) and prices nothing"
        return Judgement(verdict="admitted", reason=f"{quoted}: {changes}{times}", targets=targets)
    return Judgement(verdict="omission", reason=f"left out, and material: {changes}{times}", targets=targets)


def judge_tally(counted: list[Exhibit]) -> Judgement:
    """Verdict confirmed when each counted number is right, else inconsistent."""
    wrong = [each.name for each in counted if each.value != 1.0]
    right = len(counted) - len(wrong)
    reason = f"{right} of {len(counted)} are right" + (f"; not: {', '.join(wrong)}" if wrong else "")
    ratio = None if right == 0 else len(counted) / right
    return Judgement(verdict="inconsistent" if wrong else "confirmed", reason=reason, ratio=ratio)


def judge_agreement(claim: Claim, values: dict[str, float], unit: str) -> Judgement:
    """Verdict consistent when claims about one thing imply one number, else inconsistent."""
    low, high = min(values.values()), max(values.values())
    is_same = high - low <= (claim.tolerance + 1e-12) * abs(low)
    each = ", ".join(f"{name} {about_words((value,), unit)}" for name, value in values.items())
    ratio = high / low if low else None
    apart = "" if ratio is None else f"; the largest is {number_words(_short(ratio))} times the smallest"
    return Judgement(
        verdict="consistent" if is_same else "inconsistent", reason=f"they imply {each}{apart}", ratio=ratio
    )


def judge_thresholds(low: float, high: float, cases: list[Exhibit]) -> Judgement:
    """Verdict contradicts when one of the text's own cases turns below the lower or above the upper threshold."""
    known = [each for each in cases if each.value is not None]
    below = [each for each in known if each.value is not None and ends_of(each.value)[0] < low]
    above = [each for each in known if each.value is not None and ends_of(each.value)[1] > high]
    parts = [
        f"{where} {amount_words(limit, cases[0].unit)}: {', '.join(each.name for each in group)}"
        for where, limit, group in (("below", low, below), ("above", high, above))
        if group
    ]
    if not parts:
        return Judgement(verdict="consistent", reason="every case turns between the two")
    return Judgement(verdict="contradicts", reason="its own cases turn elsewhere; " + "; ".join(parts))


def judge_provenance(claim: Claim) -> Judgement:
    """Verdict provenance when something is younger than the source that is said to have shown it, else confirmed."""
    assert claim.published is not None
    source = claim.published
    later = [each for each in claim.cites if each.released > source.released]
    if not later:
        return Judgement(verdict="confirmed", reason=f"{source.what} is younger than all it is said to speak of")
    names = ", ".join(f"{each.what} ({each.released})" for each in later)
    return Judgement(
        verdict="provenance",
        reason=f"{source.what} appeared on {source.released}, before {names}: it cannot have shown this",
    )


def judge_contrast(claim: Claim, exhibits: tuple[Exhibit, ...]) -> Judgement:
    """Verdict rhetorical when the side that is said to bear nothing bears something too, else consistent."""
    denied = next(each for each in exhibits if each.name == claim.denied)
    if denied.value is None or ends_of(denied.value)[1] <= 0:
        return Judgement(verdict="consistent", reason=f"{denied.name}: none is known")
    others = "; ".join(f"{each.name}, {each.arithmetic}" for each in exhibits if each is not denied)
    return Judgement(
        verdict="rhetorical",
        reason=f"the text grants one side none of it, and there is some: {denied.name}, {denied.arithmetic}; "
        f"beside it, {others}",
    )


def _to_meet(found: Computation, other: Number) -> Targets:
    """What the nearer end would have to be for two ranges to meet; the other end is free."""
    low, high = ends_of(other)
    is_below = found.results[-1] < low
    place = len(found.results) - 1 if is_below else 0
    return tuple((low if is_below else high) if each == place else None for each in range(len(found.results)))


def _judge_bound(claim: Claim, bound: Stated, found: Computation, stated: Number) -> Judgement:
    assert found.value is not None
    limit = ends_of(stated)[0]
    keeps = keeps_bound(bound, limit, found.value, claim.tolerance)
    words = about_words(ends_of(found.value), found.unit)
    which = "at most" if bound.bound == "at_most" else "at least"
    # The end that breaks the bound first is the one to solve for.
    worst = len(found.results) - 1 if bound.bound == "at_most" else 0
    targets = tuple(limit if place == worst else None for place in range(len(found.results)))
    return Judgement(
        verdict="consistent" if keeps else "inconsistent",
        reason=f"{which} {amount_words(limit, found.unit)} is stated; {words} {'keeps' if keeps else 'breaks'} it",
        targets=targets,
    )


def _compared(stated: Number, value: Number, unit: str, ratio: Number | None) -> str:
    said, got = about_words(ends_of(stated), unit), about_words(ends_of(value), unit)
    if ratio is None:
        return f"{said} is stated, {got} comes out"
    if ratio == 1.0:
        return f"{said} is stated, and comes out"
    is_one_end = isinstance(stated, tuple) and isinstance(value, tuple) and isinstance(ratio, float)
    differs = is_one_end and not is_close(
        ends_of(stated)[0] / ends_of(value)[0], ends_of(stated)[1] / ends_of(value)[1], 0
    )
    where = ", at the end that is further off" if differs else ""
    return f"{said} is stated, {got} comes out: {_times(ratio)} as much{where}"


def _no_result(stated: Number, unit: str) -> str:
    return f"{about_words(ends_of(stated), unit)} is stated, and the arithmetic has no result with these inputs"


def _times(ratio: Number) -> str:
    ends = dict.fromkeys(number_words(_short(end)) for end in ends_of(ratio))
    return f"{' to '.join(ends)} times"


def _short(ratio: float) -> float:
    """Three significant digits, and more close to one, where they matter."""
    return float(f"{ratio:.5g}" if 0.9 < ratio < 1.1 else f"{ratio:.3g}")


def _nearest_factor(value: Number, without: Number) -> float | None:
    """How many times as much as without the term, at the ends that are nearest to each other."""
    quotients = ratio_of(value, without, paired=False)
    if quotients is None:
        return None
    low, high = ends_of(quotients)
    return min(max(1.0, low), high)
