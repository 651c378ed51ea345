"""A claim as data: what a text says, the numbers it rests on, and how to compute it again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

Range = tuple[float, float]
Number = float | Range

Verdict = Literal[
    "consistent",
    "inconsistent",
    "contradicts",
    "under-specified",
    "overstated",
    "plausible",
    "confirmed",
    "unverifiable",
    "not-reproducible",
    "provenance",
    "rhetorical",
    "omission",
    "admitted",
]

Kind = Literal[
    "arithmetic", "estimate", "report", "tally", "agreement", "thresholds", "provenance", "contrast", "omission"
]
"""What sort of statement it is; each has its own rule in `verdicts`.

arithmetic: the text gives the inputs and the result. estimate: the result also depends on what the text leaves open, so
a range is assumed. report: somebody else's number is passed on. tally: how many of some numbers are right.
agreement: several claims about one thing. thresholds: one thing is better below, the other above.
provenance: a source is said to have shown something. contrast: one side is said to bear what the other does not.
omission: a term is left out of other claims.
"""


@dataclass(frozen=True, slots=True)
class PriceOf:
    """A list price per million tokens of a rented model."""

    model: str
    rate: Literal["input", "output", "cache_read", "cache_write"]


@dataclass(frozen=True, slots=True)
class FactOf:
    """A fact of a shipped model or machine."""

    table: Literal["model", "hardware"]
    name: str
    fact: str


@dataclass(frozen=True, slots=True)
class NumberOf:
    """A number of another claim: what it states, what was recomputed, or an input that was solved for."""

    claim: str
    of: Literal["stated", "recomputed", "solved"]
    input: str | None = None
    """Which input, of `solved`."""


Reference = PriceOf | FactOf | NumberOf
Value = Number | str | Reference | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """One input as the file gives it."""

    name: str
    value: Value
    """None: the text does not say."""
    unit: str
    source: str
    """Empty for a reference, which names its own."""
    seen: Range | None = None
    """Where such a number usually lies; a missing one is looked for there."""
    seen_source: str = ""
    round_to: float | None = None
    """Steps in which such a number is quoted, such as whole cents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What the text says the result is."""

    value: Value
    bound: Literal["equal", "at_most", "at_least"] = "equal"
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A further number that bears on the claim."""

    name: str
    formula: str
    inputs: Mapping[str, Given]
    unit: str


@dataclass(frozen=True, slots=True)
class Citation:
    """A thing that a source is said to speak of, and the day from which it could."""

    what: str
    released: date
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claim of a text."""

    id: str
    text: str
    kind: Kind
    formula: str | None = None
    inputs: Mapping[str, Given]
    stated: Stated | None = None
    unit: str
    """Of the recomputed number."""
    tolerance: float
    """Relative distance of stated from recomputed that still counts as the same."""
    ends: Literal["paired", "independent"] = "paired"
    """Whether the low end of a stated range belongs to the low end of the recomputed one."""
    evidence: tuple[Evidence, ...] = ()
    against: str | None = None
    """Claim whose stated number the recomputed one should equal."""
    expected: Given | None = None
    """Of an estimate in another quantity than the stated one: where its result may lie."""
    members: tuple[str, ...] = ()
    """Claims that should agree."""
    member_input: str | None = None
    """Input of the formula that takes the stated number of each member."""
    published: Citation | None = None
    """The source that is said to have shown something."""
    cites: tuple[Citation, ...] = ()
    without: Given | None = None
    """The result while the omitted term is left out."""
    material: float = 1.1
    """Factor from which an omission matters."""
    admitted: str = ""
    """Where the text itself names the omission; empty: nowhere."""
    denied: str = ""
    """Of a contrast: the evidence that the text says is zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsBook:
    """A file of claims."""

    name: str
    """The file, for messages."""
    source: str
    """The text that makes the claims."""
    as_of: date
    """Day of the prices."""
    claims: tuple[Claim, ...]
