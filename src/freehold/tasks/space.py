"""Places texts in a space of few dimensions in which texts of one task lie together. No model, no weights."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

DIMENSIONS = 16
"""Per kind of n-gram. Few: what tells tasks apart is the largest variation in a log; topics within one come later."""
_WORD_WEIGHT = 0.8
_CHARACTERS, _WORD_CHARACTERS = 600, 1_500
_MOST_FEATURES = 30_000
_SEED = 20261123
_WORD = r"(?u)\w+"


class Space:
    """The space that a set of texts spans; other texts can be placed in it."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Fit to the texts, of which there is at least one."""
        rare = 2 if len(texts) >= 50 else 1
        options = {"sublinear_tf": True, "min_df": rare, "max_features": _MOST_FEATURES, "dtype": np.float32}
        self._blocks = [
            _Block(TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), **options), _CHARACTERS, 1.0),
            _Block(TfidfVectorizer(token_pattern=_WORD, **options), _WORD_CHARACTERS, _WORD_WEIGHT),
        ]
        for block in self._blocks:
            block.fit(texts)

    def place(self, texts: Sequence[str]) -> Matrix:
        """A row per text: [texts, dimensions]."""
        return np.hstack([block.place(texts) for block in self._blocks])


class _Block:
    """One kind of n-gram."""

    def __init__(self, vectorizer: TfidfVectorizer, characters: int, weight: float) -> None:
        self._vectorizer = vectorizer
        self._characters = characters
        self._weight = weight
        self._svd: TruncatedSVD | None = None

    def fit(self, texts: Sequence[str]) -> None:
        try:
            counts = self._vectorizer.fit_transform([text[: self._characters] for text in texts])
        except ValueError:  # no n-gram at all: blank texts
            return
        dimensions = min(DIMENSIONS, counts.shape[1] - 1, counts.shape[0] - 1)
        if dimensions >= 1:
            self._svd = TruncatedSVD(dimensions, random_state=_SEED).fit(counts)

    def place(self, texts: Sequence[str]) -> Matrix:
        if self._svd is None:
            return np.zeros((len(texts), 1))
        counts = self._vectorizer.transform([text[: self._characters] for text in texts])
        placed: Matrix = normalize(self._svd.transform(counts)) * self._weight
        return placed


_NEITHER = re.compile(r"[^\w\s]")
_ASCII = [chr(code) for code in range(128)]
_CAPITALS = "".join(filter(str.isupper, _ASCII)).encode()
_DIGITS = "".join(filter(str.isdigit, _ASCII)).encode()
_OTHERS = "".join(filter(_NEITHER.match, _ASCII)).encode()


def registers(texts: Sequence[str]) -> Matrix:
    """How texts are written, a row each: length, lines, capitals, digits, punctuation, length of words."""
    return np.array([_register(text) for text in texts]) if texts else np.zeros((0, 6))


def _register(text: str) -> tuple[float, ...]:
    text = text[:2_500]
    length = max(1, len(text))
    words = text.split()
    capitals, digits, others = _characters(text)
    return (
        float(np.log1p(length)),
        float(np.log1p(text.count("\n"))),
        5 * capitals / length,
        5 * digits / length,
        5 * others / length,
        min(20.0, sum(map(len, words)) / max(1, len(words))) / 3,
    )


def _characters(text: str) -> tuple[int, int, int]:
    """Capitals, digits, and characters of neither words nor spaces. ASCII is counted without a loop."""
    if not text.isascii():
        return sum(map(str.isupper, text)), sum(map(str.isdigit, text)), len(_NEITHER.findall(text))
    data = text.encode()
    capitals, digits, others = (len(data) - len(data.translate(None, kind)) for kind in (_CAPITALS, _DIGITS, _OTHERS))
    return capitals, digits, others
