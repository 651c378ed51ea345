"""A text as it reads: full-width digits are digits, what is invisible is not there; places map back."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_INVISIBLE = re.compile("[\u00ad\u034f\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe00-\ufe0f\ufeff]")


@dataclass(frozen=True, slots=True)
class Plain:
    """A text in Unicode's compatibility form (NFKC, character by character), without invisible characters."""

    text: str
    origin: Sequence[int]
    """Place of each character in the text it came from."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where `text[start:end]`, which is not empty, stands in the text it came from."""
        return self.origin[start], self.origin[end - 1] + 1


def plain_text(text: str) -> Plain:
    """The plain form of a text; most texts are their own."""
    if text.isascii() or (unicodedata.is_normalized("NFKC", text) and not _INVISIBLE.search(text)):
        return Plain(text, range(len(text)))
    pieces = [_plain(character) for character in text]
    origin = [place for place, piece in enumerate(pieces) for _ in piece]
    return Plain("".join(pieces), origin)


@lru_cache(maxsize=4096)
def _plain(character: str) -> str:
    return "" if _INVISIBLE.match(character) else unicodedata.normalize("NFKC", character)
