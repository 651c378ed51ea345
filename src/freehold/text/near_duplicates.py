"""Groups texts that are the same message sent again or slightly reworded.

Similarity is the Jaccard index of the sets of four-character shingles: shared shingles over all shingles.
MinHash only proposes pairs; each is checked by the true index. Two rules keep rows apart that were written
from one template but say different things:

* numbers are content: texts whose numbers differ are never near-duplicates;
* more than a handful of different texts that hang together are a template, not a message that was sent again:
  among them only those stay together that are almost equal.

Source: thresholds were chosen on 13,083 short customer queries, docs/decisions/0004-splits.md.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
from rensa import RMinHash

from freehold.text.fingerprint import normalise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

THRESHOLD = 0.7
TEMPLATE_THRESHOLD = 0.9
TEMPLATE_SIZE = 8
"""A group of more different texts than this is taken for a template."""
MIN_TOKENS = 5
"""Shorter texts are grouped only when their words and numbers are equal."""

_TOKEN = re.compile(r"\d+(?:[.,:/-]\d+)*|[^\W\d_]+")
_SHINGLE = 4
_HASHES = 128
_BANDS = 32
"""A pair of similarity s is proposed with probability 1 - (1 - s^4)^32: 0.9999 at 0.7, and 0.23 at 0.3."""
_TEMPLATE_BANDS = 16
"""With 8 hashes a band: 0.9999 at 0.9, and 0.24 at 0.6, which is how alike the rows of a template are."""
_REACH = 64
"""Rows of one bucket that a text is compared with, the latest ones. Only templates fill a bucket further, and
two copies of one such row also meet in the buckets of what sets them apart from the template."""
_SEED = 20260928
_ESTIMATE_SLACK = 0.2
"""Five standard errors of the similarity that 128 hashes estimate at the threshold."""


def group_near_duplicates(texts: Sequence[str], *, threshold: float = THRESHOLD) -> list[int]:
    """For each text, the index of the first text of its group."""
    first_of: dict[tuple[str, ...], int] = {}
    tokens = [tuple(_TOKEN.findall(normalise(text))) or (text,) for text in texts]
    exact = [first_of.setdefault(words, index) for index, words in enumerate(tokens)]
    root = list(range(len(texts)))
    for group in _link(
        [index for words, index in first_of.items() if len(words) >= MIN_TOKENS], tokens, threshold, _BANDS
    ):
        parts = [group]
        if len(group) > TEMPLATE_SIZE:
            parts = _link(group, tokens, max(threshold, TEMPLATE_THRESHOLD), _TEMPLATE_BANDS)
        for part in parts:
            for index in part:
                root[index] = part[0]
    return [root[index] for index in exact]


def _link(members: list[int], tokens: Sequence[tuple[str, ...]], threshold: float, bands: int) -> list[list[int]]:
    """Connected groups (single linkage) of the members that reach the threshold, each in order."""
    shingles = [_shingles(tokens[index]) for index in members]
    numbers = [tuple(sorted(word for word in tokens[index] if word[0].isdigit())) for index in members]
    hashes = RMinHash.digests_from_token_sets([sorted(each) for each in shingles], _HASHES, _SEED)
    digests = np.asarray(hashes, dtype=np.uint32).reshape(len(members), _HASHES)
    bytes_of_digests = digests.astype(np.uint8)  # a quarter of the memory to walk; one chance in 256 to err
    parent = list(range(len(members)))
    buckets: defaultdict[tuple[int, bytes, tuple[str, ...]], list[int]] = defaultdict(list)
    for row, digest in enumerate(digests.reshape(len(members), bands, _HASHES // bands)):
        keys = [(band, hashes_of_band.tobytes(), numbers[row]) for band, hashes_of_band in enumerate(digest)]
        others = {other for key in keys for other in buckets[key][-_REACH:]}
        for other in _similar_enough(bytes_of_digests, row, others, threshold):
            mine, theirs = _find(parent, row), _find(parent, other)
            if mine != theirs and _jaccard(shingles[row], shingles[other]) >= threshold:
                parent[max(mine, theirs)] = min(mine, theirs)
        for key in keys:
            buckets[key].append(row)
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for row, index in enumerate(members):
        groups[_find(parent, row)].append(index)
    return list(groups.values())


def _similar_enough(digests: NDArray[np.uint8], row: int, others: set[int], threshold: float) -> list[int]:
    """Those of the others whose estimated similarity to the row is not far below the threshold, in order."""
    rows = np.fromiter(others, dtype=np.intp, count=len(others))
    rows.sort()
    estimates = (digests[rows] == digests[row]).sum(axis=1, dtype=np.int32) / _HASHES
    return [int(other) for other in rows[estimates >= threshold - _ESTIMATE_SLACK]]


def _find(parent: list[int], row: int) -> int:
    while parent[row] != row:
        parent[row] = parent[parent[row]]
        row = parent[row]
    return row


def _shingles(words: tuple[str, ...]) -> set[str]:
    text = f" {' '.join(words)} "
    return {text[start : start + _SHINGLE] for start in range(len(text) - _SHINGLE + 1)}


def _jaccard(one: set[str], other: set[str]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)
