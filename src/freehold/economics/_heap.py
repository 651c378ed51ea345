"""Calls that a replica decodes, the one that ends next on top: a binary heap of whole numbers in a row of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freehold.economics._compile import part
from freehold.economics._fleet import DECODING, ENDS_AT

if TYPE_CHECKING:
    from freehold.economics._fleet import Table


@part
def add_to_heap(call: int, replica: int, calls: Table, fleet: Table, heaps: Table) -> None:
    """One more call decodes."""
    place = fleet[replica, DECODING]
    fleet[replica, DECODING] += 1
    heaps[replica, place] = call
    _sift_up(place, replica, calls, heaps)


@part
def remove_from_heap(place: int, replica: int, calls: Table, fleet: Table, heaps: Table) -> None:
    """The call at a place decodes no more; the last one of the heap fills the gap."""
    fleet[replica, DECODING] -= 1
    size = fleet[replica, DECODING]
    moved = heaps[replica, size]
    while 2 * place + 1 < size:
        child = 2 * place + 1
        if child + 1 < size and calls[heaps[replica, child + 1], ENDS_AT] < calls[heaps[replica, child], ENDS_AT]:
            child += 1
        if calls[heaps[replica, child], ENDS_AT] >= calls[moved, ENDS_AT]:
            break
        heaps[replica, place] = heaps[replica, child]
        place = child
    heaps[replica, place] = moved
    _sift_up(place, replica, calls, heaps)


@part
def _sift_up(place: int, replica: int, calls: Table, heaps: Table) -> None:
    call = heaps[replica, place]
    while place > 0:
        parent = (place - 1) // 2
        if calls[heaps[replica, parent], ENDS_AT] <= calls[call, ENDS_AT]:
            break
        heaps[replica, place] = heaps[replica, parent]
        place = parent
    heaps[replica, place] = call
