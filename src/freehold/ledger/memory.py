"""Keeps a process small that ingests for months: what a batch needed goes back to the system after it.

Arrow's own allocator and the C library keep freed memory for the next batch. Beside a gateway that is the largest
process of all, and idle most of the time.
"""

from __future__ import annotations

import ctypes

import pyarrow as pa


def use_little() -> None:
    """Let Arrow take its memory from the C library, whose free pages can be given back."""
    pa.set_memory_pool(pa.system_memory_pool())


def give_back() -> None:
    """Give free pages back to the system, where the C library can (GNU's alone)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
