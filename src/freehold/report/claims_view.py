"""Audited claims in words: what the terminal and the page both show of a record of schema freehold.claims/1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from freehold.economics.claims.formulas import label_of
from freehold.economics.claims.words import about_words, amount_words
from freehold.report.numbers import number
from freehold.report.visible import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Standing = Literal["holds", "fails", "open", "left-out"]

STANDINGS: Mapping[str, Standing] = {
    "consistent": "holds",
    "confirmed": "holds",
    "plausible": "holds",
    "inconsistent": "fails",
    "contradicts": "fails",
    "overstated": "fails",
    "not-reproducible": "fails",
    "provenance": "fails",
    "rhetorical": "fails",
    "under-specified": "open",
    "unverifiable": "open",
    "omission": "left-out",
    "admitted": "left-out",
}
"""What each verdict means for a reader in a hurry."""

_STANDING_WORDS: Mapping[Standing, tuple[str, str]] = {
    "holds": ("holds", "hold"),
    "fails": ("does not hold", "do not hold"),
    "open": ("cannot be checked", "cannot be checked"),
    "left-out": ("is about what the text leaves out", "are about what the text leaves out"),
}
"""Of one claim, of several."""
_LONGEST = 2_000


@dataclass(frozen=True, slots=True)
class Remedy:
    """One input that would make a claim true, or why none of its values does."""

    label: str
    value: str
    """Empty: unreachable."""
    detail: str


@dataclass(frozen=True, slots=True)
class Ingredient:
    """One number that went into a computation."""

    label: str
    value: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimView:
    """One claim as text."""

    id: str
    text: str
    verdict: str
    standing: Standing
    stated: str
    recomputed: str
    ratio: str
    ratio_ends: tuple[float, float] | None
    """For the mark on the scale."""
    arithmetic: str
    reason: str
    notes: tuple[str, ...]
    evidence: tuple[tuple[str, str], ...]
    """Name and arithmetic of what is not in the claim's own line."""
    remedies: tuple[Remedy, ...]
    unreachable: tuple[Remedy, ...]
    ingredients: tuple[Ingredient, ...]


def claim_views(record: Mapping[str, Any]) -> list[ClaimView]:  # Any: JSON
    """All claims of a record, in its order."""
    return [_view(claim) for claim in record.get("claims") or ()]


def summary_sentence(views: Sequence[ClaimView]) -> str:
    """How many claims hold, fail, cannot be checked or are left out."""
    counts = {standing: sum(view.standing == standing for view in views) for standing in _STANDING_WORDS}
    parts = [f"{count} {_STANDING_WORDS[standing][count > 1]}" for standing, count in counts.items() if count]
    listed = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"Of {len(views)} claim{'s' if len(views) > 1 else ''} {listed}."


def _view(claim: Mapping[str, Any]) -> ClaimView:
    verdict = str(claim.get("verdict"))
    arithmetic = visible(claim.get("arithmetic"), _LONGEST)
    solved = claim.get("solved") or ()
    return ClaimView(
        id=visible(claim.get("id"), 40),
        text=visible(claim.get("text"), _LONGEST),
        verdict=visible(verdict),
        standing=STANDINGS.get(verdict, "open"),
        stated=_stated(claim),
        recomputed=_amount(claim.get("recomputed"), claim.get("unit")),
        ratio=_ratio(claim.get("ratio")),
        ratio_ends=_ends(claim.get("ratio")),
        arithmetic=arithmetic,
        reason=_sentence(claim.get("reason")),
        notes=tuple(_sentence(note) for note in claim.get("notes") or ()),
        evidence=tuple(
            (visible(each.get("name"), 200), visible(each.get("arithmetic"), _LONGEST))
            for each in claim.get("evidence") or ()
            if str(each.get("arithmetic")) not in arithmetic
        ),
        remedies=tuple(_remedy(each) for each in solved if each.get("value") is not None),
        unreachable=tuple(_remedy(each) for each in solved if each.get("value") is None),
        ingredients=tuple(_ingredient(each) for each in claim.get("inputs") or ()),
    )


def _remedy(solved: Mapping[str, Any]) -> Remedy:
    return Remedy(
        visible(label_of(str(solved.get("input"))), 80),
        _amount(solved.get("value"), solved.get("unit")),
        visible(str(solved.get("reason") or "").removeprefix("unreachable: "), _LONGEST),
    )


def _ingredient(given: Mapping[str, Any]) -> Ingredient:
    value = given.get("value")
    shown = visible(value, 80) if isinstance(value, str) else _amount(value, given.get("unit"))
    if shown and not given.get("is_stated", True):
        shown += ", never stated"
    label = visible(label_of(str(given.get("name"))), 80)
    return Ingredient(label, shown or "not stated", visible(given.get("source") or "", 500))


def _stated(claim: Mapping[str, Any]) -> str:
    bound = {"at_most": "at most ", "at_least": "at least "}.get(str(claim.get("stated_as")), "")
    amount = _amount(claim.get("stated"), claim.get("stated_unit") or claim.get("unit"))
    return f"{bound}{amount}" if amount else ""


def _ends(value: Any) -> tuple[float, float] | None:  # Any: a number or a range of a JSON record
    ends = [number(end) for end in (value if isinstance(value, list) else (value,))]
    known = [end for end in ends if end is not None]
    return (min(known), max(known)) if known and len(known) == len(ends) else None


def _amount(value: Any, unit: Any) -> str:  # Any: fields of a JSON record
    """A number or a range with its unit, in at most four significant digits below ten thousand."""
    ends = _ends(value)
    return "" if ends is None else about_words(ends, visible(unit or ""))


def _ratio(value: Any) -> str:  # Any: a field of a JSON record
    ends = _ends(value)
    if ends is None:
        return ""
    shown = dict.fromkeys(amount_words(float(f"{end:.5g}" if 0.9 < end < 1.1 else f"{end:.3g}"), "") for end in ends)
    return " to ".join(shown)


def _sentence(text: Any) -> str:  # Any: a field of a JSON record
    words = visible(text or "", _LONGEST)
    return f"{words[:1].upper()}{words[1:]}." if words else ""
