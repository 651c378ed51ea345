"""The fingerprint of a text: the same for copies that differ in case, spaces or Unicode form only."""

from __future__ import annotations

import hashlib
import unicodedata


def normalise(text: str) -> str:
    """A text in Unicode's NFKC form, case-folded, with single spaces. Digits and punctuation stay."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def fingerprint(text: str) -> str:
    """SHA-256 of the normalised text, in hex."""
    return hashlib.sha256(normalise(text).encode("utf-8", "surrogatepass")).hexdigest()
