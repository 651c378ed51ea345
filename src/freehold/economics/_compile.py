"""Turns plain functions of numbers and arrays into machine code where numba is installed; elsewhere they stay.

Both ways compute the same whole numbers; without numba the same code runs about a hundred times slower.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    F = TypeVar("F", bound=Callable[..., Any])

try:
    import numba
    from numba.extending import register_jitable
except ImportError:
    numba = None


def part(function: F) -> F:
    """Mark a function that compiled code calls; called from Python it stays what it is."""
    if numba is None:
        return function
    marked: F = register_jitable(function)
    return marked


def compiled(function: F) -> F:
    """The function as machine code, kept on disk for the next process where a folder can be written to."""
    if numba is None:
        return function
    try:
        fast: F = numba.njit(cache=True)(function)
    except RuntimeError:  # no folder for the cache: it is compiled in each process
        fast = numba.njit(function)
    return fast


def version() -> str | None:
    """Version of numba; None: it is not installed."""
    return None if numba is None else str(numba.__version__)
