"""A small linear model over words, which says how much of a log's answers follows from what was asked.

It is trained on the log itself and asked on the part that it has not seen. What it gets right, any small own model can
be expected to get right; what it gets wrong may need understanding, or chance.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDS = 3
_ROUNDS = 300
_STEEPEST, _FURTHEST = 0.7, 10.0
_STRENGTH = 1.0
"""Inverse regularisation; fixed beforehand, not tuned on anything."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often the probe gives the answer of the log, on texts that it was not trained on."""

    share: float
    """Trained on two thirds of what was given."""
    share_of_half: float
    """Trained on one third."""
    trained_on: int
    asked: int
    differing: int | None = None
    """Texts that one of the two trainings gets right and the other does not; None: nobody counted."""

    @property
    def learnt(self) -> float:
        """What the second third taught, as a share of the texts, less what chance alone may make of it.

        A difference within its standard error counts as nothing; further off, it is shrunk the less the clearer it is.

        Source: James and Stein's estimator, its positive part, of one difference.
        """
        gain = self.share - self.share_of_half
        if gain <= 0 or self.differing is None:
            return max(0.0, gain)
        variance = max(0.0, self.differing / self.asked - gain**2) / self.asked
        return gain * max(0.0, 1 - variance / gain**2)

    def expected(self, rows: int) -> float:
        """Share to be expected after training on so many rows: errors fall as a power of their number.

        The power is read off the two trainings, from 0 to 0.7; beyond ten times the rows nothing more is promised.

        Source: Hestness et al., arXiv 1712.00409 (learning curves are power laws); checked on four task sets in
        docs/decisions/0019-audit.md.
        """
        if rows <= self.trained_on or self.share >= 1.0 or not self.learnt:
            return self.share
        power = min(_STEEPEST, math.log2((1 - self.share + self.learnt) / (1 - self.share)))
        more = min(_FURTHEST, rows / self.trained_on)
        return float(1 - (1 - self.share) * more**-power)


def probe_agreement(texts: Sequence[str], answers: Sequence[str], groups: Sequence[int]) -> Agreement | None:
    """How far a probe comes on these texts; None: there is nothing to learn from (see `held_out_answers`)."""
    given = held_out_answers(texts, answers, groups)
    by_half = held_out_answers(texts, answers, groups, part=0.5)
    if given is None or by_half is None:
        return None
    right, right_by_half = ([*map(str.__eq__, each, answers)] for each in (given, by_half))
    return Agreement(
        share=sum(right) / len(answers),
        share_of_half=sum(right_by_half) / len(answers),
        trained_on=len(texts) * (FOLDS - 1) // FOLDS,
        asked=len(texts),
        differing=sum(map(bool.__ne__, right, right_by_half)),
    )


def held_out_answers(
    texts: Sequence[str], answers: Sequence[str], groups: Sequence[int], *, part: float = 1.0
) -> list[str] | None:
    """For each text, the answer of a probe that was trained on the other folds; None: there is nothing to learn from.

    Args:
        texts: What was asked.
        answers: What was answered, from a set that repeats.
        groups: Texts of one group are never on both sides: copies of one another.
        part: Of the rows that could be trained on.
    """
    fold_of = _folds(groups)
    if len(set(fold_of)) < FOLDS or len(set(answers)) < 2:
        return None
    given: list[str] = [""] * len(texts)
    for fold in range(FOLDS):
        train = [place for place, each in enumerate(fold_of) if each != fold]
        train = [place for number, place in enumerate(train) if int(number * part) < int((number + 1) * part)]
        asked = [place for place, each in enumerate(fold_of) if each == fold]
        known = [answers[place] for place in train]
        if len(set(known)) < 2:
            for place in asked:
                given[place] = known[0]
            continue
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=1, dtype=np.float64)
        try:
            learnt = words.fit_transform([texts[place] for place in train])
        except ValueError:  # no text holds a word
            return None
        model = LinearSVC(C=_STRENGTH, max_iter=_ROUNDS, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.filterwarnings("ignore", message="The number of unique classes", category=UserWarning)
            model.fit(learnt, known)
        for place, answer in zip(asked, model.predict(words.transform([texts[each] for each in asked])), strict=True):
            given[place] = str(answer)
    return given


def _folds(groups: Sequence[int]) -> list[int]:
    """Whole groups to folds, the largest first, always to the smallest fold."""
    sizes: dict[int, int] = {}
    for group in groups:
        sizes[group] = sizes.get(group, 0) + 1
    filled, fold_of = [0] * FOLDS, {}
    for group, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        fold = filled.index(min(filled))
        fold_of[group] = fold
        filled[fold] += size
    return [fold_of[group] for group in groups]
