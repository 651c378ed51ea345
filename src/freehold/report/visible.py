"""Words that others wrote (labels, task names, error texts), made safe to show on one line."""

from __future__ import annotations

import unicodedata

_ORDERS_TEXT = frozenset("\u061c\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff")


def visible(text: object, limit: int = 80) -> str:
    """The text on one line, with nothing in it that a terminal or a browser would obey.

    Control characters, direction marks and lone surrogates appear as escapes (`u202e` after a backslash).
    Text longer than `limit` characters keeps its beginning and its end, so that two long labels stay apart.
    """
    words = "".join(_harmless(character) for character in " ".join(str(text).split()))
    if len(words) <= limit:
        return words
    tail = (limit - 1) // 3
    return f"{words[: limit - 1 - tail]}…{words[len(words) - tail :]}"


def columns(text: str) -> int:
    """Columns of a terminal that the text takes: two for wide characters, none for combining ones."""
    return sum(_width(character) for character in text)


def _harmless(character: str) -> str:
    if character in _ORDERS_TEXT or unicodedata.category(character) in {"Cc", "Cs"}:
        return f"\\u{ord(character):04x}"
    return character


def _width(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1
