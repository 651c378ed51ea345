"""Names that look like one that nobody knows."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

CUTOFF = 0.6
"""Likeness from which a name resembles another: 1 is the same, 0 has no letter in common (difflib's ratio)."""
_MOST = 3


def resembling(name: str, known: Iterable[str], *, otherwise: str) -> str:
    """`nearest: h100, h200`, at most three; where none resembles it, what to do instead."""
    near = get_close_matches(name.lower(), sorted(known), n=_MOST, cutoff=CUTOFF)
    return f"nearest: {', '.join(near)}" if near else f"no known name resembles it; {otherwise}"
