"""Claims that no single formula decides: tallies, thresholds, agreement between claims, sources and contrasts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freehold.core.errors import InputError
from freehold.economics.claims import verdicts
from freehold.economics.claims.comparing import collapsed, ends_of
from freehold.economics.claims.computation import compute
from freehold.economics.claims.finding import Finding, Input, Solved
from freehold.economics.claims.formulas import FORMULAS, QUANTITIES
from freehold.economics.claims.references import number_behind
from freehold.economics.claims.solving import Lever, Problem, solve
from freehold.economics.claims.words import amount_words, number_words

if TYPE_CHECKING:
    from freehold.economics.claims.claim import Claim, Number
    from freehold.economics.claims.computation import Computation
    from freehold.economics.claims.finding import Exhibit
    from freehold.economics.claims.references import Known
    from freehold.economics.claims.verdicts import Judgement


def tally(claim: Claim, exhibits: tuple[Exhibit, ...]) -> Finding:
    """How many of the numbers that the claim's formula checks are right."""
    counted = [each for each in exhibits if each.formula == claim.formula]
    if not counted:
        raise InputError(f"evidence: none of it has the formula {claim.formula!r} that is to be counted")
    judged = verdicts.judge_tally(counted)
    right = sum(each.value == 1.0 for each in counted)
    return _finding(
        claim,
        judged,
        exhibits,
        stated=float(len(counted)),
        recomputed=float(right),
        arithmetic="; ".join(f"{each.name} {each.arithmetic}" for each in counted),
    )


def thresholds(claim: Claim, exhibits: tuple[Exhibit, ...]) -> Finding:
    """Whether the text's own cases turn between its two thresholds."""
    assert claim.stated is not None
    stated = claim.stated.value
    assert isinstance(stated, tuple)
    low, high = stated
    judged = verdicts.judge_thresholds(low, high, list(exhibits))
    values = [end for each in exhibits if each.value is not None for end in ends_of(each.value)]
    least, most = (min(values), max(values)) if values else stated
    unit = claim.stated.unit
    solved = (
        _moved("stated.low", low, least, is_enough=most <= high, holds=least >= low, unit=unit),
        _moved("stated.high", high, most, is_enough=least >= low, holds=most <= high, unit=unit),
    )
    return _finding(
        claim,
        judged,
        exhibits,
        stated=stated,
        recomputed=collapsed(tuple(values)) if values else None,
        unit=unit,
        arithmetic="; ".join(f"{each.name}: {each.arithmetic}" for each in exhibits),
        solved=solved,
    )


def contrast(claim: Claim, exhibits: tuple[Exhibit, ...]) -> Finding:
    """Whether the side that is said to bear nothing bears something too."""
    denied = next(each for each in exhibits if each.name == claim.denied)
    would = Solved(
        input=denied.name,
        value=None,
        unit=denied.unit,
        given=None if denied.value is None else ends_of(denied.value)[1],
        reason="unreachable: a fact, which would have to be zero",
        changes={},
    )
    return _finding(
        claim,
        verdicts.judge_contrast(claim, exhibits),
        exhibits,
        arithmetic="; ".join(f"{each.name}: {each.arithmetic}" for each in exhibits),
        solved=(would,),
    )


def provenance(claim: Claim, exhibits: tuple[Exhibit, ...]) -> Finding:
    """Whether a source is older than what it is said to have shown."""
    assert claim.published is not None
    published = claim.published.released
    lines = [
        f"{each.what}: {each.released} − {published} = {number_words(float((each.released - published).days))} days"
        for each in claim.cites
    ]
    newest = max(each.released for each in claim.cites)
    reason = f"unreachable: a fact; the source would have to be from {newest} or later"
    would = Solved(input="published", value=None, unit="date", given=None, reason=reason, changes={})
    dates = tuple(
        Input(name=each.what, value=each.released.isoformat(), unit="date", source=each.source)
        for each in (claim.published, *claim.cites)
    )
    return _finding(
        claim,
        verdicts.judge_provenance(claim),
        exhibits,
        arithmetic="; ".join(lines),
        inputs=dates,
        solved=(would,) if newest > published else (),
    )


def agreement(claim: Claim, known: Known, exhibits: tuple[Exhibit, ...]) -> Finding:
    """Whether several claims about one thing imply the same number for it."""
    members = {name: _implied(claim, name, known) for name in claim.members}
    values = {name: found.results[0] for name, found in members.items()}
    judged = verdicts.judge_agreement(claim, values, claim.unit)
    low, high = min(values.values()), max(values.values())
    ratio = "" if low == 0 else f"; {number_words(high)} / {number_words(low)} = {number_words(high / low)}"
    return _finding(
        claim,
        judged,
        exhibits,
        recomputed=collapsed((low, high)),
        arithmetic="; ".join(f"{name}: {found.arithmetic}" for name, found in members.items()) + ratio,
        solved=tuple(_agreeing(claim, name, members) for name in members),
    )


def _implied(claim: Claim, name: str, known: Known) -> Computation:
    """The formula with the inputs of a member and, for one of them, what that member states."""
    assert claim.formula is not None
    formula, member = FORMULAS[claim.formula], known.findings[name]
    stated = None if member.claim.stated is None else number_behind(member.claim.stated.value, known)
    available = {each.name: each for each in member.inputs}
    if isinstance(stated, float) and claim.member_input is not None:
        quantity = QUANTITIES[claim.member_input]
        source = f"claim {name}, stated"
        available[claim.member_input] = Input(name=claim.member_input, value=stated, unit=quantity.unit, source=source)
    missing = [each for each in formula.inputs if each not in available]
    if missing:
        raise InputError(f"members: claim {name!r} has no {', '.join(missing)}, which {formula.name!r} takes")
    found = compute(formula.expression, claim.unit, [available[each] for each in formula.inputs])
    if len(found.results) != 1:
        raise InputError(f"members: claim {name!r} gives no single number")
    return found


def _agreeing(claim: Claim, name: str, members: dict[str, Computation]) -> Solved:
    """What one member would have to state so that all agree."""
    others = [found.results[0] for other, found in members.items() if other != name]
    found = members[name]
    assert claim.member_input is not None
    quantity = QUANTITIES[claim.member_input]
    given = found.scopes[0][claim.member_input]
    assert isinstance(given, float)
    label = f"{name}.stated"
    lever = Lever(
        name=label,
        unit=quantity.unit,
        given=given,
        low=quantity.low,
        high=quantity.high,
        change=lambda at: {claim.member_input or "": at},
    )
    apart = verdicts.judge_agreement(claim, {str(place): value for place, value in enumerate(others)}, claim.unit)
    if apart.verdict != "consistent":
        reason = f"unreachable: without it the others still differ {number_words(max(others) / min(others))} times"
        return Solved(input=label, value=None, unit=quantity.unit, given=given, reason=reason, changes={})
    middle = (max(others) + min(others)) / 2.0
    return solve(Problem(found.expression, found.scopes[0], middle, claim.unit), lever)


def _moved(name: str, given: float, wanted: float, *, is_enough: bool, holds: bool, unit: str) -> Solved:
    """One threshold, moved until no case lies beyond it."""
    if holds:
        reason = "unreachable: this threshold holds, the other one does not" if not is_enough else "holds already"
        return Solved(input=name, value=given if is_enough else None, unit=unit, given=given, reason=reason, changes={})
    if not is_enough:
        reason = f"unreachable: at {amount_words(wanted, unit)} it would hold, but the other threshold would still fail"
        return Solved(input=name, value=None, unit=unit, given=given, reason=reason, changes={})
    reason = f"instead of {number_words(given)}"
    return Solved(input=name, value=wanted, unit=unit, given=given, reason=reason, changes={})


def _finding(
    claim: Claim,
    judged: Judgement,
    exhibits: tuple[Exhibit, ...],
    *,
    arithmetic: str,
    stated: Number | None = None,
    recomputed: Number | None = None,
    unit: str | None = None,
    inputs: tuple[Input, ...] = (),
    solved: tuple[Solved, ...] = (),
) -> Finding:
    return Finding(
        claim=claim,
        stated=stated,
        recomputed=recomputed,
        unit=claim.unit if unit is None else unit,
        ratio=judged.ratio,
        verdict=judged.verdict,
        reason=judged.reason,
        arithmetic=arithmetic,
        inputs=inputs,
        evidence=exhibits,
        solved=solved,
    )
