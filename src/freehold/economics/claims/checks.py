"""What must hold of a claim before it is computed, by its kind and by the quantities it names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freehold.economics.claims.claim import FactOf, NumberOf, PriceOf
from freehold.economics.claims.formulas import ANY_UNIT, FORMULAS, NAME, QUANTITIES
from freehold.economics.claims.words import number_words, range_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from freehold.economics.claims.claim import Claim, Given, Kind, Stated
    from freehold.economics.claims.formulas import Quantity

_NEEDED: Mapping[Kind, tuple[str, ...]] = {
    "arithmetic": ("formula",),
    "estimate": ("formula",),
    "report": (),
    "tally": ("evidence", "formula"),
    "agreement": ("formula", "members", "member_input"),
    "thresholds": ("stated", "evidence"),
    "provenance": ("published", "cites"),
    "contrast": ("evidence", "denied"),
    "omission": ("formula", "without"),
}
"""Fields that each kind cannot do without."""

_NEVER_NEGATIVE = {formula.unit for formula in FORMULAS.values()} | {
    quantity.unit for quantity in QUANTITIES.values()
} - {ANY_UNIT, NAME}
_NEVER_ZERO = frozenset({"queries/month", "tokens", "tokens/query", "GPUs", "GPU-h", "GB", "parameters", "days"})
"""Units of what a claim says is there: no volume, machine or training of zero pays or costs anything."""


def result_unit(formula: str | None, own: str) -> str:
    """Unit of a formula's result, or the claim's own where the formula leaves it open."""
    known = FORMULAS.get(formula or "")
    unit = ANY_UNIT if known is None else known.unit
    return own if unit == ANY_UNIT else unit


def input_faults(given: Given, quantity: Quantity) -> Iterator[str]:
    """What is wrong with one input."""
    value = given.value
    if not given.source and not isinstance(value, PriceOf | FactOf | NumberOf):
        yield "source is missing; say where the number comes from"
    if quantity.unit not in {ANY_UNIT, NAME, given.unit}:
        yield f"unit is {given.unit!r}; it must be {quantity.unit!r}"
    if (quantity.unit == NAME) != isinstance(value, str) and value is not None:
        yield f"value must be a {'name' if quantity.unit == NAME else 'number'}"
    if given.round_to is not None and given.seen is None:
        yield "round_to needs `seen`, the range in which a missing number is looked for"
    if quantity.unit == NAME and value is None:
        yield "value must be a name"
    numbers = value if isinstance(value, tuple) else (value,)
    for number in (*numbers, *(given.seen or ())):
        if isinstance(number, float) and not quantity.low <= number <= quantity.high:
            allowed = range_words((quantity.low, quantity.high), quantity.unit)
            yield f"{number_words(number)} is out of bounds; it must lie from {allowed}"


def claim_faults(claim: Claim) -> Iterator[str]:
    """What is wrong with a claim as a whole."""
    for name in _NEEDED[claim.kind]:
        if not getattr(claim, name):
            yield f"{name}: missing; a claim of kind {claim.kind!r} needs it"
    if claim.kind == "arithmetic" and claim.stated is None and claim.against is None:
        yield "stated: missing; say what the text says, or name the claim to compare with in `against`"
    if claim.kind == "estimate" and claim.stated is None and claim.expected is None:
        yield "stated: missing; say what the text says, or where the result may lie in `expected`"
    if claim.kind == "report" and (claim.stated is None) != (claim.formula is None):
        yield "stated and formula: a report has both, or neither"
    if claim.kind == "thresholds" and claim.stated is not None and not isinstance(claim.stated.value, tuple):
        yield "stated.value: must be a range, the volumes below and above which the text decides"
    if claim.kind == "agreement" and len(set(claim.members)) < 2:
        yield "members: name at least two claims"
    if claim.kind == "contrast" and claim.denied not in {each.name for each in claim.evidence}:
        yield "denied: must be the name of one of the evidence"
    formula = FORMULAS.get(claim.formula or "")
    if claim.member_input is not None and formula is not None and claim.member_input not in formula.inputs:
        yield f"member_input: {claim.member_input!r} is no input of {claim.formula!r}"
    if claim.against is not None and claim.kind != "arithmetic":
        yield "against: only a claim of kind 'arithmetic' has it"
    yield from _stated_faults(claim)


def _stated_faults(claim: Claim) -> Iterator[str]:
    if claim.stated is None:
        return
    value = claim.stated.value
    if value is None or isinstance(value, str):
        yield "stated: give one of value, at_most and at_least"
    if claim.stated.bound != "equal" and isinstance(value, tuple):
        yield f"stated.{claim.stated.bound}: must be one number"
    yield from _impossible(claim, claim.stated)
    compares = claim.kind in {"arithmetic", "report"} or (claim.kind == "estimate" and claim.expected is None)
    formula = FORMULAS.get(claim.formula or "")
    if compares and formula is not None and formula.unit not in {ANY_UNIT, claim.stated.unit}:
        yield f"stated.unit is {claim.stated.unit!r}; formula {claim.formula!r} gives {formula.unit!r}"


def _impossible(claim: Claim, stated: Stated) -> Iterator[str]:
    """Stated numbers that such a quantity cannot have; a difference may have any."""
    formula = FORMULAS.get(claim.formula or "")
    if stated.unit not in _NEVER_NEGATIVE or (formula is not None and formula.unit == ANY_UNIT):
        return
    field = "value" if stated.bound == "equal" else stated.bound
    ends = stated.value if isinstance(stated.value, tuple) else (stated.value,)
    for end in ends:
        if isinstance(end, float) and (end < 0 or (end == 0 and stated.unit in _NEVER_ZERO)):
            least = "above 0" if stated.unit in _NEVER_ZERO else "0 or more"
            yield f"stated.{field}: {number_words(end)} {stated.unit} cannot be; it must be {least}"
