"""From the text of a file of claims to claims, with every fault of the file named at once."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from pydantic import ValidationError

from freehold.core.errors import InputError
from freehold.economics.claims._yaml import MOST_BYTES, plain_yaml
from freehold.economics.claims.checks import claim_faults, input_faults, result_unit
from freehold.economics.claims.claim import Citation, Claim, ClaimsBook, Evidence, Given, Stated
from freehold.economics.claims.formulas import FORMULAS, QUANTITIES
from freehold.economics.claims.rows import BookRow, ClaimRow, InputRow
from freehold.economics.resembling import resembling

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from freehold.economics.claims.rows import CitationRow, EvidenceRow, StatedRow

__all__ = ["MOST_BYTES", "claims_book", "shipped_claims"]

SHIPPED = "claims.yaml"
_MOST_FAULTS = 20
_FEW_NAMES = 10
_FORM = "its top level must be the lines source:, as_of: and claims:"
_OWN_WORDS = re.compile(r"valid dictionary(?: or instance of \w+)?")
"""How pydantic calls a mapping; the name of a class says nothing to the writer of a file."""


@cache
def shipped_claims() -> ClaimsBook:
    """The claims of the article that Freehold began with."""
    return claims_book(files("freehold.economics").joinpath(SHIPPED).read_text(encoding="utf-8"), name=SHIPPED)


def claims_book(text: str, *, name: str) -> ClaimsBook:
    """Read a file of claims.

    Raises:
        InputError: what is wrong, by file, claim and field; up to twenty faults at once.
    """
    raw = plain_yaml(text, name=name)
    if raw is None:
        raise InputError(f"{name} is empty; {_FORM}.")
    if not isinstance(raw, dict):
        raise InputError(f"{name} holds no claims; {_FORM}.")
    try:
        row = BookRow.model_validate(raw)
    except ValidationError as error:
        raise InputError(_faults_text(name, [_pydantic_fault(raw, each) for each in error.errors()])) from error
    reader = _Reader(row)
    claims = tuple(reader.claim(each) for each in row.claims)
    reader.check_ids(claims)
    if reader.faults:
        raise InputError(_faults_text(name, reader.faults))
    return ClaimsBook(name=name, source=row.source, as_of=row.as_of, claims=claims)


def _near(name: str, known: Collection[str]) -> str:
    """Names like this one; where there are none, all of a few, or the command that lists all of many."""
    are_few = len(known) <= _FEW_NAMES
    listed = f"there are {', '.join(sorted(known))}" if are_few else "freehold claims --formulas lists all names"
    return resembling(name, known, otherwise=listed)


def _faults_text(name: str, faults: list[str]) -> str:
    shown = faults[:_MOST_FAULTS]
    more = len(faults) - len(shown)
    return f"{name}: " + "; ".join(shown) + (f"; and {more} more" if more else "") + "."


def _pydantic_fault(raw: object, error: Mapping[str, object]) -> str:
    """`claim C04, inputs.gpus.value: … is not a number`."""
    place = error["loc"]
    assert isinstance(place, tuple)
    where, rest = "", [str(part) for part in place]
    if len(place) > 1 and place[0] == "claims" and isinstance(place[1], int):
        where, rest = f"claim {_claim_id(raw, place[1])}", rest[2:]
    spot = ", ".join(part for part in (where, ".".join(rest)) if part) or "the file"
    message = _OWN_WORDS.sub("mapping of names to values", str(error["msg"]))
    ours = message.removeprefix("Value error, ")
    return f"{spot}: {ours if ours != message else message[:1].lower() + message[1:]}"


def _claim_id(raw: object, position: int) -> str:
    claims = raw.get("claims") if isinstance(raw, dict) else None
    row = claims[position] if isinstance(claims, list) else None
    named = row.get("id") if isinstance(row, dict) else None
    return named if isinstance(named, str) and len(named) <= 40 and named.isprintable() else f"number {position + 1}"


@dataclass(slots=True)
class _Reader:
    """Collects faults while rows become claims."""

    book: BookRow
    faults: list[str] = field(default_factory=list)
    shared: dict[str, Given] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shared = self._inputs("inputs", self.book.inputs)

    def claim(self, row: ClaimRow) -> Claim:
        where = f"claim {row.id}"
        own = self._inputs(f"{where}, inputs", row.inputs)
        wanted = self._formula_inputs(where, row.formula)
        if row.kind in {"agreement", "tally"}:  # their formula takes the inputs of others
            wanted = ()
        evidence = tuple(self._evidence(f"{where}, evidence {each.name!r}", each, own) for each in row.evidence)
        used = {*wanted, *(name for each in row.evidence for name in self._formula_inputs("", each.formula))}
        self.faults += [
            f"{where}, inputs.{name}: no formula of this claim takes it; {_near(name, used)}"
            for name in own.keys() - used
            if used or name in QUANTITIES
        ]
        claim = Claim(
            id=row.id,
            text=row.text,
            kind=row.kind,
            formula=row.formula,
            inputs=self._chosen(where, wanted, own),
            stated=_stated(row.stated),
            unit=row.unit if row.kind == "tally" else result_unit(row.formula, row.unit),
            tolerance=row.tolerance,
            ends=row.ends,
            evidence=evidence,
            against=row.against,
            expected=self._single(f"{where}, expected", row.expected),
            members=tuple(row.members),
            member_input=row.member_input,
            published=_citation(row.published),
            cites=tuple(Citation(each.what, each.released, each.source) for each in row.cites),
            without=self._single(f"{where}, without", row.without),
            material=row.material,
            admitted=row.admitted,
            denied=row.denied,
        )
        self.faults += [f"{where}, {fault}" for fault in claim_faults(claim)]
        return claim

    def check_ids(self, claims: tuple[Claim, ...]) -> None:
        known: set[str] = set()
        for claim in claims:
            if claim.id in known:
                self.faults.append(f"claim {claim.id}: this id is given twice")
            known.add(claim.id)
        for claim in claims:
            names = (*claim.members, *((claim.against,) if claim.against else ()))
            self.faults += [
                f"claim {claim.id}: there is no claim {name!r}; {_near(name, known)}"
                for name in names
                if name not in known
            ]

    def _evidence(self, where: str, row: EvidenceRow, of_claim: Mapping[str, Given]) -> Evidence:
        wanted = self._formula_inputs(where, row.formula)
        own = self._inputs(where, row.inputs)
        self.faults += [
            f"{where}, {name}: formula {row.formula!r} does not take it; {_near(name, wanted)}"
            for name in own.keys() - set(wanted)
            if wanted
        ]
        inputs = self._chosen(where, wanted, {**of_claim, **own})
        return Evidence(name=row.name, formula=row.formula, inputs=inputs, unit=result_unit(row.formula, row.unit))

    def _formula_inputs(self, where: str, name: str | None) -> tuple[str, ...]:
        if name is None:
            return ()
        if name not in FORMULAS:
            if where:
                self.faults.append(f"{where}, formula: {name!r} is unknown; {_near(name, FORMULAS)}")
            return ()
        return FORMULAS[name].inputs

    def _chosen(self, where: str, wanted: tuple[str, ...], own: Mapping[str, Given]) -> dict[str, Given]:
        """Inputs of a formula: the claim's own, else those that the file shares."""
        available = {**self.shared, **own}
        self.faults += [
            f"{where}, inputs.{name}: missing; give it, or `value: null` if the text does not state it"
            for name in wanted
            if name not in available
        ]
        return {name: available[name] for name in wanted if name in available}

    def _inputs(self, where: str, rows: Mapping[str, InputRow]) -> dict[str, Given]:
        found = {}
        for name, row in rows.items():
            if name not in QUANTITIES:
                self.faults.append(f"{where}.{name}: unknown; {_near(name, QUANTITIES)}")
                continue
            given = _given(name, row)
            self.faults += [f"{where}.{name}: {fault}" for fault in input_faults(given, QUANTITIES[name])]
            found[name] = given
        return found

    def _single(self, where: str, row: InputRow | None) -> Given | None:
        """A number beside the inputs of a formula, in whatever unit the result has."""
        if row is None:
            return None
        given = _given("value", row)
        if row.value is None or isinstance(row.value, str):
            self.faults.append(f"{where}: value must be a number, a range or a reference")
        self.faults += [f"{where}: {fault}" for fault in input_faults(given, QUANTITIES["value"])]
        return given


def _given(name: str, row: InputRow) -> Given:
    return Given(
        name=name,
        value=row.value,
        unit=row.unit or QUANTITIES[name].unit,
        source=row.source,
        seen=row.seen,
        seen_source=row.seen_source,
        round_to=row.round_to,
    )


def _stated(row: StatedRow | None) -> Stated | None:
    if row is None:
        return None
    if row.at_most is not None:
        return Stated(value=row.at_most, bound="at_most", unit=row.unit)
    if row.at_least is not None:
        return Stated(value=row.at_least, bound="at_least", unit=row.unit)
    return Stated(value=row.value, unit=row.unit)


def _citation(row: CitationRow | None) -> Citation | None:
    return None if row is None else Citation(row.what, row.released, row.source)
