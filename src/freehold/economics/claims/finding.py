"""What came out of auditing a claim, as plain values and as the record of `freehold claims --json`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from freehold.economics.montecarlo import number

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from freehold.economics.claims.claim import Claim, Number, Verdict

HOLDING = frozenset({"consistent", "confirmed", "plausible"})
"""Verdicts of claims that can stand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One input with the value it was computed with."""

    name: str
    value: Number | str | None
    """None: the text does not say, and nothing could be solved for."""
    unit: str
    source: str
    is_stated: bool = True
    """False: the text does not say; the value was solved for."""
    most: float | None = None
    """Above it another input would change too, as prices do above a tier of input length."""
    of: str = ""
    """The model whose price it is."""
    assumptions: tuple[str, ...] = ()
    """What had to be assumed to have this value at all."""

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """The input as reports list it."""
        value = self.value if isinstance(self.value, str) else rounded(self.value)
        return {
            "name": self.name,
            "value": value,
            "unit": self.unit,
            "source": self.source,
            "is_stated": self.is_stated,
            "assumptions": list(self.assumptions),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """One input moved alone until the claim holds."""

    input: str
    value: float | None
    """None: unreachable. Of both ends of a range (`NAME.both`) the factor that moves them."""
    unit: str
    given: float | None
    """Its value in the computation; None: the text does not say."""
    reason: str
    changes: Mapping[str, float]
    """Inputs of the formula at that value."""

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """The solution as reports list it."""
        return {
            "input": self.input,
            "value": number(self.value),
            "unit": self.unit,
            "given": number(self.given),
            "reason": self.reason,
            "changes": {name: number(value) for name, value in self.changes.items()},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """A further number that bears on a claim."""

    name: str
    formula: str
    value: Number | None
    unit: str
    arithmetic: str
    inputs: tuple[Input, ...]

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """The number as reports list it."""
        return {
            "name": self.name,
            "formula": self.formula,
            "value": rounded(self.value),
            "unit": self.unit,
            "arithmetic": self.arithmetic,
            "inputs": [each.as_record() for each in self.inputs],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One claim with its recomputation, its verdict, and what would make it true."""

    claim: Claim
    stated: Number | None
    recomputed: Number | None
    unit: str
    """Of `recomputed`."""
    ratio: Number | None
    """Stated over recomputed; of ranges whose ends belong together, at the end that is further off."""
    verdict: Verdict
    reason: str
    arithmetic: str
    inputs: tuple[Input, ...]
    evidence: tuple[Exhibit, ...] = ()
    solved: tuple[Solved, ...] = ()
    notes: tuple[str, ...] = ()

    def solution(self, name: str) -> float | None:
        """Value of an input that makes the claim true; None: unreachable, or no such input.

        Of a claim that comes out exactly as stated it is the input's own value, which `solved` does not list.
        """
        listed = {each.input: each.value for each in self.solved}
        if name in listed or self.verdict not in HOLDING:
            return listed.get(name)
        return next((each.value for each in self.inputs if each.name == name and isinstance(each.value, float)), None)

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """The finding as reports list it."""
        stated = self.claim.stated
        return {
            "id": self.claim.id,
            "kind": self.claim.kind,
            "text": self.claim.text,
            "stated": rounded(self.stated),
            "stated_as": None if stated is None else stated.bound,
            "stated_unit": None if stated is None else stated.unit,
            "recomputed": rounded(self.recomputed),
            "unit": self.unit,
            "ratio": rounded(self.ratio),
            "tolerance": number(self.claim.tolerance),
            "verdict": self.verdict,
            "reason": self.reason,
            "formula": self.claim.formula,
            "arithmetic": self.arithmetic,
            "inputs": [each.as_record() for each in self.inputs],
            "evidence": [each.as_record() for each in self.evidence],
            "solved": [each.as_record() for each in self.solved],
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """All claims of one text."""

    name: str
    source: str
    as_of: date
    findings: tuple[Finding, ...]
    versions: Mapping[str, str]

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What was assumed of inputs anywhere, each said once for all that it holds for."""
        inputs = [given for finding in self.findings for given in finding.inputs]
        inputs += [given for finding in self.findings for each in finding.evidence for given in each.inputs]
        about: dict[str, dict[str, None]] = {}
        for given in inputs:
            for assumed in given.assumptions:
                about.setdefault(assumed, {})[given.of] = None
        return tuple(f"{', '.join(names)}: {assumed}" for assumed, names in about.items())

    def as_record(self) -> dict[str, Any]:  # Any: JSON
        """The record of schema freehold.claims/1."""
        verdicts = [finding.verdict for finding in self.findings]
        return {
            "schema": "freehold.claims/1",
            "source": self.source,
            "verdicts": {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)},
            "claims": [finding.as_record() for finding in self.findings],
            "assumptions": list(self.assumptions),
            "inputs": {"file": self.name, "as_of": self.as_of.isoformat()},
            "versions": dict(self.versions),
        }


def rounded(value: Number | None) -> float | list[float | None] | None:
    """A number or both ends of a range, as records keep them."""
    return [number(end) for end in value] if isinstance(value, tuple) else number(value)
