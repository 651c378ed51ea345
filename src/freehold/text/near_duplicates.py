"""Groups texts that are the same message sent again or slightly reworded.

Similarity is the Jaccard index of the sets of four-character shingles: shared shingles over all shingles.
MinHash only proposes pairs; each is checked by the true index. Two rules keep rows apart that were written
from one template but say different things:

* numbers are content: texts whose numbers differ are never near-duplicates;
* more than a handful of different texts that hang together are a template, not a message that was sent again:
  among them only those stay together that are almost equal.

A million texts are grouped in memory for their signatures alone, about 600 bytes each: the texts may lie elsewhere.

Source: thresholds were chosen on 13,083 short customer queries, docs/decisions/0004-splits.md.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from dataclasses import dataclass
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
_SHINGLES_KEPT = 50_000
_BLOCK = 200_000
"""Pairs that are estimated at a time."""
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Signature:
    """What tells whether a text may be near to another one, without the text."""

    words: bytes
    """Hash of its words and numbers in order: texts of equal ones are copies."""
    numbers: bytes
    """Hash of the numbers in it."""
    template: bytes
    """Hash of its words with every number blanked: texts of equal ones differ in nothing else."""
    tokens: int
    digest: bytes
    """128 MinHashes of its shingles, four bytes each."""


def signatures(texts: Sequence[str]) -> list[Signature]:
    """The signature of each text."""
    tokens = [_tokens(text) for text in texts]
    digests = _digests([list(_shingles(words)) for words in tokens])
    return [
        Signature(_hash(words, 16), _hash(_numbers(words)), _hash(_blanked(words)), len(words), digest.tobytes())
        for words, digest in zip(tokens, digests, strict=True)
    ]


def group_near_duplicates(texts: Sequence[str], *, threshold: float = THRESHOLD) -> list[int]:
    """For each text, the index of the first text of its group."""
    return group_signatures(signatures(texts), texts.__getitem__, threshold=threshold)


def group_signatures(
    given: Sequence[Signature], text_of: Callable[[int], str], *, threshold: float = THRESHOLD
) -> list[int]:
    """For each text, the index of the first text of its group.

    Args:
        given: Of each text.
        text_of: Gives the text of an index; asked only for pairs that are likely to be near.
        threshold: Jaccard index from which on two texts are near.
    """
    first_of: dict[bytes, int] = {}
    exact = [first_of.setdefault(each.words, index) for index, each in enumerate(given)]
    root = list(range(len(given)))
    members = [index for index in first_of.values() if given[index].tokens >= MIN_TOKENS]
    for group in _link(members, given, text_of, threshold, _BANDS):
        parts = [group]
        if len(group) > TEMPLATE_SIZE:
            parts = _link(group, given, text_of, max(threshold, TEMPLATE_THRESHOLD), _TEMPLATE_BANDS)
        for part in parts:
            for index in part:
                root[index] = part[0]
    return [root[index] for index in exact]


def _link(
    members: list[int], given: Sequence[Signature], text_of: Callable[[int], str], threshold: float, bands: int
) -> list[list[int]]:
    """Connected groups (single linkage) of the members that reach the threshold, each in order.

    Groups of one are not told.
    """
    digests = np.frombuffer(b"".join(given[index].digest for index in members), dtype=np.uint32)
    digests = digests.reshape(len(members), _HASHES)
    numbers = np.frombuffer(b"".join(given[index].numbers for index in members), dtype=np.uint64)
    shingles = lru_cache(_SHINGLES_KEPT)(lambda row: _shingles(_tokens(text_of(members[row]))))
    low_bytes = digests.astype(np.uint8)  # a quarter of the memory to walk; one chance in 256 to err
    roots = np.arange(len(members))
    failed = np.empty(0, dtype=np.uint64)
    for band in range(bands):
        part = digests[:, band * (_HASHES // bands) : (band + 1) * (_HASHES // bands)]
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
            missed.append(_unite(pairs, roots, shingles, threshold))
        failed = np.unique(np.concatenate(missed))
    groups: defaultdict[int, list[int]] = defaultdict(list)
    sizes = np.bincount(roots, minlength=len(members))
    for row in np.flatnonzero(sizes[roots] > 1).tolist():
        groups[int(roots[row])].append(members[row])
    return list(groups.values())


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


def _digests(shingles: list[list[str]]) -> NDArray[np.uint32]:
    hashes = RMinHash.digests_from_token_sets(shingles, _HASHES, _SEED)
    return np.asarray(hashes, dtype=np.uint32).reshape(len(shingles), _HASHES)


def _tokens(text: str) -> tuple[str, ...]:
    return tuple(_TOKEN.findall(normalise(text))) or (text,)


def _numbers(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(word for word in words if word[:1].isdigit()))


def _blanked(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("0" if word[:1].isdigit() else word for word in words)


def _hash(words: tuple[str, ...], size: int = 8) -> bytes:
    return hashlib.blake2b("\x1f".join(words).encode("utf-8", "surrogatepass"), digest_size=size).digest()


def _shingles(words: tuple[str, ...]) -> set[str]:
    text = f" {' '.join(words)} "
    return {text[start : start + _SHINGLE] for start in range(len(text) - _SHINGLE + 1)}


def _jaccard(one: set[str], other: set[str]) -> float:
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)
