"""Labels that are probably wrong, by confident learning on a small linear probe.

A probe gives each row probabilities without having been trained on it or on its near-duplicates. A class is believed
for a row when its probability reaches the mean that the rows labelled so reach themselves; where a believed class other
than the label is the likeliest, the label is in doubt.

Source: Northcutt, Jiang and Chuang, "Confident Learning", JAIR 70 (2021), section 3; measured on BANKING77 with labels
changed by hand in docs/decisions/0023-datasets.md.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

FOLDS = 4
MOST_ROWS = 10_000
"""Rows that are checked; of more, those whose groups come first by a hash."""
LEAST_AGREEMENT = 0.7
"""A probe that names fewer labels right may be wrong itself wherever it differs."""
_LEAST_ROWS = 40
_LEAST_OF_CLASS = 2 * FOLDS
"""Rows that a class must have for the probe to know it in every fold."""
_FEATURES = 2**18
_MOST_CHARACTERS = 4_000
"""Of a text that the probe reads."""
_PASSES = 5
_ALPHA = 1e-5
"""Regularisation; chosen on BANKING77 and the same for every task."""
_SEED = 20261123


@dataclass(frozen=True, slots=True)
class Checked:
    """What a probe found out about labels."""

    rows: int
    """That were checked."""
    agreement: float | None
    """Share of them to which the probe gives the label they have; None: none was checked."""
    doubts: Sequence[Doubt] | None
    """The surest first; None: the probe knows too little to doubt anybody."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A label that is probably wrong."""

    place: int
    """Of the row among those that were given."""
    likely: str
    """The label that the probe would give."""
    confidence: float
    """Its probability less that of the given label, from 0 to 1, two digits."""


def check_labels(labels: Sequence[str], groups: Sequence[str], text_of: Callable[[int], str]) -> Checked:
    """Look for labels in doubt.

    None is checked where there are too few rows, or fewer than two classes that are frequent enough.

    Args:
        labels: As they were given.
        groups: Near-duplicates share one, and are never both trained on and asked.
        text_of: Gives the text of a row; asked only for rows that are checked.
    """
    often = {label for label, count in Counter(labels).items() if count >= _LEAST_OF_CLASS}
    order_of = {group: hashlib.sha256(group.encode()).digest() for group in set(groups)}
    chosen = [place for place, label in enumerate(labels) if label in often]
    chosen = sorted(chosen, key=lambda place: (order_of[groups[place]], place))[:MOST_ROWS]
    often = {labels[place] for place in chosen}
    if len(chosen) < _LEAST_ROWS or len(often) < 2:
        return Checked(0, None, None)
    classes = sorted(often)
    number_of = {label: number for number, label in enumerate(classes)}
    given = np.array([number_of[labels[place]] for place in chosen])
    fold_of = np.array([order_of[groups[place]][-1] % FOLDS for place in chosen])
    likely = _likelihoods([text_of(place)[:_MOST_CHARACTERS] for place in chosen], given, fold_of, len(classes))
    agreement = round(float((likely.argmax(axis=1) == given).mean()), 3)
    is_able = agreement >= LEAST_AGREEMENT
    return Checked(len(chosen), agreement, _doubts(likely, given, chosen, classes) if is_able else None)


def _doubts(
    likely: NDArray[np.float64], given: NDArray[np.intp], chosen: Sequence[int], classes: Sequence[str]
) -> list[Doubt]:
    own = likely[np.arange(len(given)), given]
    believed = np.array(
        [own[given == number].mean() if (given == number).any() else 1.0 for number in range(len(classes))]
    )
    sure = np.where(likely >= believed, likely, -1.0)
    best = sure.argmax(axis=1)
    rows = np.flatnonzero((sure.max(axis=1) > 0) & (best != given) & (likely.max(axis=1) == sure.max(axis=1)))
    doubts = [
        Doubt(chosen[row], classes[int(best[row])], round(float(likely[row, best[row]] - own[row]), 2))
        for row in rows.tolist()
    ]
    return sorted(doubts, key=lambda doubt: (-doubt.confidence, doubt.place))


def _likelihoods(
    texts: Sequence[str], given: NDArray[np.intp], fold_of: NDArray[np.intp], classes: int
) -> NDArray[np.float64]:
    """Probability of each class for each text, by a probe that was trained on the other folds."""
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer  # noqa: PLC0415 (second to load)
    from sklearn.linear_model import SGDClassifier  # noqa: PLC0415

    words = HashingVectorizer(ngram_range=(1, 2), n_features=_FEATURES, alternate_sign=False, norm=None)
    counted = words.transform(texts)
    likely = np.zeros((len(texts), classes))
    for fold in range(FOLDS):
        asked, trained = fold_of == fold, fold_of != fold
        known = np.unique(given[trained])
        if not asked.any() or len(known) < 2:
            continue
        weights = TfidfTransformer(sublinear_tf=True).fit(counted[trained])
        model = SGDClassifier(
            loss="log_loss", alpha=_ALPHA, max_iter=_PASSES, tol=None, random_state=_SEED, average=True
        )
        model.fit(weights.transform(counted[trained]), given[trained])
        likely[np.ix_(asked, known)] = model.predict_proba(weights.transform(counted[asked]))
    return likely
