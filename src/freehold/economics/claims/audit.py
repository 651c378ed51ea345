"""Audits a file of claims: each is computed, judged by the rule of its kind, and solved for what would make it true."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, assert_never

from freehold import __version__
from freehold.core.errors import InputError
from freehold.economics.catalogue import catalogue_version
from freehold.economics.claims import verdicts
from freehold.economics.claims.alone import is_given, solutions
from freehold.economics.claims.comparing import collapsed, ends_of
from freehold.economics.claims.computation import Computation, compute, solve_missing, with_value
from freehold.economics.claims.finding import HOLDING, Audit, Exhibit, Finding, Input, Solved
from freehold.economics.claims.formulas import FORMULAS, label_of
from freehold.economics.claims.others import agreement, contrast, provenance, tally, thresholds
from freehold.economics.claims.references import Known, claims_behind, number_behind, resolved
from freehold.economics.claims.words import amount_words, range_words

if TYPE_CHECKING:
    from datetime import date

    from freehold.economics.claims.claim import Claim, ClaimsBook, Number
    from freehold.economics.claims.verdicts import Judgement

NOTHING_TO_COMPUTE = "nothing to compute: the text gives no number from which this could follow"


def audit(book: ClaimsBook, *, as_of: date | None = None) -> Audit:
    """Recompute every claim of a file, in the order of the file.

    Args:
        book: The claims.
        as_of: Day of the prices; None: the day that the file names.

    Raises:
        InputError: a claim cannot be computed as it is written, by file, claim and field.
    """
    day = as_of or book.as_of
    findings: dict[str, Finding] = {}
    for claim in _in_order(book):
        try:
            findings[claim.id] = _finding(claim, Known(day, findings))
        except InputError as error:
            raise InputError(f"{book.name}: claim {claim.id}, {str(error).rstrip('.')}.") from error
    return Audit(
        name=book.name,
        source=book.source,
        as_of=day,
        findings=tuple(findings[claim.id] for claim in book.claims),
        versions={"freehold": __version__, "price_catalogue": catalogue_version()},
    )


def _in_order(book: ClaimsBook) -> list[Claim]:
    """Claims after those that they refer to."""
    by_id = {claim.id: claim for claim in book.claims}
    behind = {claim.id: [name for name in claims_behind(claim) if name in by_id] for claim in book.claims}
    try:
        return [by_id[name] for name in TopologicalSorter(behind).static_order()]
    except CycleError as error:
        circle = " → ".join(error.args[1])
        raise InputError(f"{book.name}: claims refer to each other in a circle: {circle}. Break it.") from error


def _finding(claim: Claim, known: Known) -> Finding:
    exhibits = tuple(_exhibits(claim, known))
    match claim.kind:
        case "tally":
            return tally(claim, exhibits)
        case "thresholds":
            return thresholds(claim, exhibits)
        case "contrast":
            return contrast(claim, exhibits)
        case "provenance":
            return provenance(claim, exhibits)
        case "agreement":
            return agreement(claim, known, exhibits)
        case "arithmetic" | "estimate" | "report" | "omission":
            return _computed(claim, known, exhibits)
    assert_never(claim.kind)


def _exhibits(claim: Claim, known: Known) -> list[Exhibit]:
    found = []
    for each in claim.evidence:
        try:
            inputs = resolved(each.inputs, known)
            computation = compute(FORMULAS[each.formula].expression, each.unit, inputs)
        except InputError as error:
            raise InputError(f"evidence {each.name!r}, {error}") from error
        found.append(
            Exhibit(
                name=each.name,
                formula=each.formula,
                value=computation.value,
                unit=each.unit,
                arithmetic=computation.arithmetic,
                inputs=computation.inputs,
            )
        )
    return found


def _computed(claim: Claim, known: Known, exhibits: tuple[Exhibit, ...]) -> Finding:
    """A claim whose own formula is computed and compared."""
    stated = None if claim.stated is None else number_behind(claim.stated.value, known)
    if claim.formula is None:
        judged = verdicts.judge_report(claim, None, stated)
        arithmetic = "; ".join(f"{each.name}: {each.arithmetic}" for each in exhibits) or NOTHING_TO_COMPUTE
        return _written(claim, judged, None, stated, exhibits, arithmetic=arithmetic)
    found = compute(FORMULAS[claim.formula].expression, claim.unit, resolved(claim.inputs, known))
    notes: tuple[str, ...] = ()
    if found.missing:
        filled, notes = _filled(claim, found, stated)
        if filled is None:
            return _under_specified(claim, found, stated, exhibits)
        found = filled
    judged = _judged(claim, found, known, stated)
    solved: tuple[Solved, ...] = ()
    if found.results and judged.targets:
        solved = solutions(
            found,
            judged.targets,
            given=claim.inputs,
            tolerance=claim.tolerance,
            is_true=lambda moved: _judged(claim, moved, known, stated).verdict in HOLDING,
        )
    if judged.verdict in HOLDING:  # a claim that comes out exactly needs no input to be what it is
        solved = tuple(each for each in solved if not is_given(each))
    notes = (*notes, *_unusual(claim, found))
    return _written(claim, judged, found, stated, exhibits, notes=notes, solved=solved)


def _judged(claim: Claim, found: Computation, known: Known, stated: Number | None) -> Judgement:
    if claim.against is not None:
        return verdicts.judge_against(claim, found, known.findings[claim.against])
    if claim.kind == "estimate":
        expected = None if claim.expected is None else number_behind(claim.expected.value, known)
        return verdicts.judge_estimate(claim, found, stated, expected)
    if claim.kind == "omission":
        assert claim.without is not None
        without = number_behind(claim.without.value, known)
        assert without is not None
        return verdicts.judge_omission(claim, found, without)
    if claim.kind == "report":
        return verdicts.judge_report(claim, found, stated)
    assert stated is not None
    return verdicts.judge_arithmetic(claim, found, stated)


def _filled(claim: Claim, found: Computation, stated: Number | None) -> tuple[Computation | None, tuple[str, ...]]:
    """The computation with its one missing input, where it is known what such a number usually is.

    The input is solved for, rounded to the step in which such numbers are quoted and kept within the usual range.
    """
    given = claim.inputs[found.missing[0].name]
    if len(found.missing) > 1 or stated is None or given.seen is None:
        return None, ()
    low, high = given.seen
    solved = solve_missing(found, ends_of(stated)[0]).value
    usual = range_words(given.seen, given.unit)
    source = given.seen_source or given.source
    never = f"the {label_of(given.name)} is never stated"
    if solved is None:
        note = f"{never}, and no value of it solves the claim; {usual} is seen ({source})"
        return with_value(found, given.name, low), (note,)
    step = given.round_to
    value = min(max(solved if step is None else round(solved / step) * step, low), high)
    where = "within" if low <= solved <= high else "outside of"
    note = f"{never}; {amount_words(solved, given.unit)} solves the claim, {where} the {usual} that is seen ({source})"
    return with_value(found, given.name, value), (note,)


def _under_specified(claim: Claim, found: Computation, stated: Number | None, exhibits: tuple[Exhibit, ...]) -> Finding:
    """What the one missing input would have to be; nothing when more than one is missing."""
    names = " and ".join(label_of(each.name) for each in found.missing)
    reason = f"never stated: {names}"
    if len(found.missing) > 1 or stated is None:
        judged = verdicts.Judgement(verdict="under-specified", reason=reason)
        return _written(claim, judged, None, stated, exhibits, arithmetic=found.arithmetic, inputs=found.inputs)
    missing = found.missing[0]
    solved = [solve_missing(found, end) for end in dict.fromkeys(ends_of(stated))]
    values = tuple(each.value for each in solved if each.value is not None)
    implied = collapsed(values) if len(values) == len(solved) else None
    line, unit = found.arithmetic.removesuffix(" = ?"), claim.stated.unit if claim.stated else ""
    line = f"{range_words(ends_of(stated), unit)} = {line}"
    if implied is not None:
        line += f", so {missing.name} = {range_words(ends_of(implied), missing.unit)}"
        reason += f"; the claim needs {range_words(ends_of(implied), missing.unit)}"
    open_ended = f"undetermined while one input is not stated: {label_of(missing.name)}"
    solved += [
        Solved(input=each.name, value=None, unit=each.unit, given=each.value, reason=open_ended, changes={})
        for each in found.inputs
        if isinstance(each.value, float)
    ]
    return Finding(
        claim=claim,
        stated=stated,
        recomputed=implied,
        unit=missing.unit,
        ratio=None,
        verdict="under-specified",
        reason=reason,
        arithmetic=line,
        inputs=found.inputs,
        evidence=exhibits,
        solved=tuple(solved),
    )


def _written(
    claim: Claim,
    judged: Judgement,
    found: Computation | None,
    stated: Number | None,
    exhibits: tuple[Exhibit, ...],
    *,
    arithmetic: str = "",
    inputs: tuple[Input, ...] = (),
    notes: tuple[str, ...] = (),
    solved: tuple[Solved, ...] = (),
) -> Finding:
    return Finding(
        claim=claim,
        stated=stated,
        recomputed=None if found is None else found.value,
        unit=claim.unit,
        ratio=judged.ratio,
        verdict=judged.verdict,
        reason=judged.reason,
        arithmetic=arithmetic if found is None else found.arithmetic,
        inputs=inputs if found is None else found.inputs,
        evidence=exhibits,
        solved=solved,
        notes=notes,
    )


def _unusual(claim: Claim, found: Computation) -> list[str]:
    """Inputs of the text that lie where such numbers are not seen."""
    notes = []
    for each in found.inputs:
        seen = claim.inputs[each.name].seen
        if seen is None or not each.is_stated or isinstance(each.value, str) or each.value is None:
            continue
        low, high = ends_of(each.value)
        if low < seen[0] or high > seen[1]:
            source = claim.inputs[each.name].seen_source or "no source given"
            words = range_words((low, high), each.unit)
            notes.append(
                f"the {label_of(each.name)} is {words} here; {range_words(seen, each.unit)} is seen ({source})"
            )
    return notes
