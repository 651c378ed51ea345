"""Groups texts that are the same message sent again or slightly reworded.

Similarity is the Jaccard index of the sets of four-character shingles: shared shingles over all shingles.
MinHash only proposes pairs; each is checked by the true index. Two rules keep rows apart that were written
from one template but say different things:

* numbers are content: texts whose numbers differ are never near-duplicates;
* more than a handful of different texts that hang together are a template, not a message that was sent again:
  among them only those stay together that are almost equal.

A million texts are grouped in memory for their signatures alone, about 550 bytes each: the texts may lie elsewhere.

Source: thresholds were chosen on 13,083 short customer queries, docs/decisions/0004-splits.md.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from rensa import RMinHash

from freehold.text.fingerprint import normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
_SHINGLES_KEPT = 2_000
_BLOCK = 200_000
"""Pairs that are estimated at a time."""
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_LONG, _SHORT = 16, 8
_SIZES = (_LONG, _SHORT, _SHORT, 4, 4 * _HASHES)
"""Bytes of each column of a signature."""


class Signatures:
    """What tells whether texts may be near to each other, without the texts: about 550 bytes each, in columns."""

    def __init__(self) -> None:
        """Of no text yet."""
        self._words = bytearray()
        self._numbers = bytearray()
        self._templates = bytearray()
        self._tokens = bytearray()
        self._digests = bytearray()

    def __len__(self) -> int:
        return len(self._numbers) // _SHORT

    def add(self, of: Signatures, place: int) -> None:
        """Take over one signature."""
        for mine, theirs, size in zip(self._columns, of._columns, _SIZES, strict=True):
            mine.extend(theirs[place * size : (place + 1) * size])

    def append(self, words: Sequence[tuple[str, ...]], digests: NDArray[np.uint32]) -> None:
        """Put texts behind those that are there, by their words and numbers in order and their digests."""
        for each in words:
            numbers = sorted(word for word in each if word[:1].isdigit())
            self._words += _hash(each, _LONG)
            self._numbers += _hash(numbers)
            self._templates += _hash(_blanked(each) if numbers else each)
        self._tokens += np.array([len(each) for each in words], dtype=np.uint32).tobytes()
        self._digests += digests.tobytes()

    def template(self, place: int) -> bytes:
        """Hash of a text's words with every number blanked: texts of equal ones differ in nothing else."""
        return bytes(self._templates[place * _SHORT : (place + 1) * _SHORT])

    @property
    def words(self) -> NDArray[np.uint64]:
        """Hash of each text's words and numbers in order, as two numbers: texts of equal ones are copies."""
        return np.frombuffer(self._words, dtype=np.uint64).reshape(-1, 2)

    @property
    def numbers(self) -> NDArray[np.uint64]:
        """Hash of the numbers in each text."""
        return np.frombuffer(self._numbers, dtype=np.uint64)

    @property
    def tokens(self) -> NDArray[np.uint32]:
        """Words and numbers of each text, counted."""
        return np.frombuffer(self._tokens, dtype=np.uint32)

    @property
    def digests(self) -> NDArray[np.uint32]:
        """128 MinHashes of each text's shingles."""
        return np.frombuffer(self._digests, dtype=np.uint32).reshape(-1, _HASHES)

    @property
    def _columns(self) -> tuple[bytearray, ...]:
        return self._words, self._numbers, self._templates, self._tokens, self._digests


def signatures(texts: Sequence[str]) -> Signatures:
    """The signature of each text, in their order."""
    tokens = [_tokens(text) for text in texts]
    made = Signatures()
    if tokens:
        made.append(tokens, _digests(tokens))
    return made


def group_near_duplicates(texts: Sequence[str], *, threshold: float = THRESHOLD) -> list[int]:
    """For each text, the index of the first text of its group."""
    return group_signatures(signatures(texts), texts.__getitem__, threshold=threshold)


def group_signatures(
    given: Signatures,
    text_of: Callable[[int], str],
    *,
    threshold: float = THRESHOLD,
    order: Sequence[int] | None = None,
) -> list[int]:
    """For each text, the index of the first text of its group.

    Args:
        given: Of each text.
        text_of: Gives the text of an index; asked only for pairs that are likely to be near.
        threshold: Jaccard index from which on two texts are near.
        order: Which signature is that of the first text, the second and so on; None: they stand in order. An index
            everywhere else is one of this order.
    """
    rows = np.arange(len(given)) if order is None else np.asarray(order, dtype=np.intp)
    exact = _first_of_equal(given.words[rows])
    root = np.arange(len(rows))
    members = np.flatnonzero((exact == root) & (given.tokens[rows] >= MIN_TOKENS))
    shingles = lru_cache(_SHINGLES_KEPT)(lambda index: _shingles(_tokens(text_of(index))))
    for group in _link(members, rows, given, shingles, threshold=threshold, bands=_BANDS):
        parts = [group]
        if len(group) > TEMPLATE_SIZE:
            stricter = max(threshold, TEMPLATE_THRESHOLD)
            parts = _link(group, rows, given, shingles, threshold=stricter, bands=_TEMPLATE_BANDS)
        for part in parts:
            root[part] = part[0]
    found: list[int] = root[exact].tolist()
    return found


def _first_of_equal(words: NDArray[np.uint64]) -> NDArray[np.intp]:
    """For each text, the index of the first of those with the same words."""
    order = np.lexsort((words[:, 1], words[:, 0]))  # equal ones stay in their order
    ordered = words[order]
    is_new = np.ones(len(order), dtype=bool)
    is_new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    first = np.empty(len(order), dtype=np.intp)
    first[order] = order[is_new][np.cumsum(is_new) - 1]
    return first


def _link(
    members: NDArray[np.intp],
    rows: NDArray[np.intp],
    given: Signatures,
    shingles: Callable[[int], set[str]],
    *,
    threshold: float,
    bands: int,
) -> list[NDArray[np.intp]]:
    """Connected groups (single linkage) of the members that reach the threshold, each in order.

    Groups of one are not told.
    """
    digests, places = given.digests, rows[members]
    numbers = given.numbers[places]
    low_bytes = np.empty((len(members), _HASHES), dtype=np.uint8)  # a quarter to walk; one chance in 256 to err
    for start in range(0, len(members), _BLOCK):
        low_bytes[start : start + _BLOCK] = digests[places[start : start + _BLOCK]]
    roots = np.arange(len(members))
    failed = np.empty(0, dtype=np.uint64)
    for band in range(bands):
        part = digests[places, band * (_HASHES // bands) : (band + 1) * (_HASHES // bands)]
        keys = _mixed([*part.T.astype(np.uint64), numbers])
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        missed = [failed]
        for lag in range(1, min(_REACH, len(members) - 1) + 1):
            same = np.flatnonzero(keys[lag:] == keys[:-lag])
            if not len(same):
                break
            pairs = _promising(
                order[same],
                order[same + lag],
                roots=roots,
                numbers=numbers,
                low_bytes=low_bytes,
                threshold=threshold,
            )
            pairs = pairs[~np.isin(pairs[:, 0] * len(members) + pairs[:, 1], failed)] if len(failed) else pairs
            missed.append(_unite(pairs, roots, lambda row: shingles(int(members[row])), threshold))
        failed = np.unique(np.concatenate(missed))
    sizes = np.bincount(roots, minlength=len(members))
    grouped = np.flatnonzero(sizes[roots] > 1)
    order = grouped[np.argsort(roots[grouped], kind="stable")]
    starts = np.flatnonzero(np.diff(roots[order])) + 1
    return [members[part] for part in np.split(order, starts)] if len(order) else []


def _promising(
    one: NDArray[np.intp],
    other: NDArray[np.intp],
    *,
    roots: NDArray[np.intp],
    numbers: NDArray[np.uint64],
    low_bytes: NDArray[np.uint8],
    threshold: float,
) -> NDArray[np.uint64]:
    """Pairs that are not yet in one group and whose estimated similarity is not far below the threshold."""
    apart = (roots[one] != roots[other]) & (numbers[one] == numbers[other])
    one, other = one[apart], other[apart]
    likely = np.zeros(len(one), dtype=bool)
    for start in range(0, len(one), _BLOCK):
        block = slice(start, start + _BLOCK)
        equal = (low_bytes[one[block]] == low_bytes[other[block]]).sum(axis=1, dtype=np.int32)
        likely[block] = equal / _HASHES >= threshold - _ESTIMATE_SLACK
    return np.stack([one[likely], other[likely]], axis=1).astype(np.uint64)


def _unite(
    pairs: NDArray[np.uint64], roots: NDArray[np.intp], shingles: Callable[[int], set[str]], threshold: float
) -> NDArray[np.uint64]:
    """Put pairs into one group that truly reach the threshold, and give those that do not as one number each."""
    parent: dict[int, int] = {}
    failed = []
    for one, other in pairs.tolist():
        mine, theirs = _find(parent, int(roots[one])), _find(parent, int(roots[other]))
        if mine == theirs:
            continue
        if _jaccard(shingles(one), shingles(other)) >= threshold:
            parent[max(mine, theirs)] = min(mine, theirs)
        else:
            failed.append(one * len(roots) + other)
    if parent:
        old = np.array(sorted(parent), dtype=np.intp)
        new = np.array([_find(parent, int(root)) for root in old], dtype=np.intp)
        place = np.minimum(np.searchsorted(old, roots), len(old) - 1)
        roots[:] = np.where(old[place] == roots, new[place], roots)
    return np.array(failed, dtype=np.uint64)


def _mixed(parts: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """One number of several; a clash of two different keys makes a pair that is checked in vain, no more."""
    mixed = np.zeros_like(parts[0])
    for part in parts:
        mixed = (mixed ^ part) * _MULTIPLIER
        mixed ^= mixed >> np.uint64(29)
    return mixed


def _find(parent: dict[int, int], row: int) -> int:
    while (up := parent.get(row, row)) != row:
        parent[row] = parent.get(up, up)
        row = up
    return row


def _digests(words: Sequence[tuple[str, ...]]) -> NDArray[np.uint32]:
    """The MinHashes of each text's shingles, all texts at once: a shingle is hashed as its characters' numbers."""
    spaced = [f" {' '.join(each)} ".ljust(_SHINGLE - 1).encode("utf-32-le", "surrogatepass") for each in words]
    characters = np.frombuffer(b"".join(spaced), dtype=np.uint32).astype(np.uint64)
    ends = np.cumsum([len(each) // 4 for each in spaced])
    hashes = np.zeros(max(0, len(characters) - _SHINGLE + 1), dtype=np.uint64)
    for place in range(_SHINGLE):
        hashes = (hashes ^ characters[place : place + len(hashes)]) * _MULTIPLIER
        hashes ^= hashes >> np.uint64(29)
    inside = np.ones(len(hashes), dtype=bool)  # what begins in one text ends in it
    inside[(ends[:-1, None] - np.arange(1, _SHINGLE)).ravel()] = False
    offsets = np.concatenate([[0], ends - (_SHINGLE - 1) * np.arange(1, len(ends) + 1)]).astype(np.uint64)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(hashes[inside], offsets, _HASHES, _SEED)
    return np.asarray(matrix.to_rows(), dtype=np.uint32).reshape(len(words), _HASHES)


def _tokens(text: str) -> tuple[str, ...]:
    return tuple(_TOKEN.findall(normalise(text))) or (text,)


def _blanked(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("0" if word[:1].isdigit() else word for word in words)


def _hash(words: Sequence[str], size: int = _SHORT) -> bytes:
    return hashlib.blake2b("\x1f".join(words).encode("utf-8", "surrogatepass"), digest_size=size).digest()


def _shingles(words: tuple[str, ...]) -> set[str]:
    text = f" {' '.join(words)} "
    return {text[start : start + _SHINGLE] for start in range(len(text) - _SHINGLE + 1)}


def _jaccard(one: set[str], other: set[str]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)
