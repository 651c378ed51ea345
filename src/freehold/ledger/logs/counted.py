"""Tokens that cannot be: a part that is larger than its whole, a count below nothing or beyond all measure.

Formats that count cached tokens or reasoning beside the rest have added them before; what is still wrong here is wrong
in the log, and would make a cost that nobody was billed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.compute as pc

if TYPE_CHECKING:
    import pyarrow as pa

    from freehold.core.call import Call
    from freehold.ledger.logs.format import Volume

_MOST = 10**12
_MOST_OF_MANY = 2**53
_COUNTS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
_CACHED = "'cache_read_tokens' and 'cache_write_tokens' are parts of 'input_tokens' and are more than it"
_REASONED = "'reasoning_tokens' is a part of 'output_tokens' and is more than it"
_ABSURD = f"no call has fewer than 0 or more than {_MOST:,} tokens of a kind"


def fault_of(counted: Call | Volume, *, of_many: bool = False) -> str | None:
    """What is wrong with the tokens of a call, or of many; None: nothing."""
    most = _MOST_OF_MANY if of_many else _MOST
    given, made = counted.input_tokens, counted.output_tokens
    read, written, reasoned = counted.cache_read_tokens, counted.cache_write_tokens, counted.reasoning_tokens
    if any(one is not None and not 0 <= one <= most for one in (given, made, read, written, reasoned)):
        return _ABSURD
    if given is not None and (read or 0) + (written or 0) > given:
        return _CACHED
    if made is not None and reasoned is not None and reasoned > made:
        return _REASONED
    return None


def are_possible(rows: pa.Table) -> bool:
    """Whether `fault_of` has nothing to say of any of these calls, which have the ledger's columns."""
    given, made, read, written, reasoned = (rows.column(name) for name in _COUNTS)
    cached = pc.add(pc.fill_null(read, 0), pc.fill_null(written, 0))
    faults = [pc.greater(cached, given), pc.greater(reasoned, made)]
    for name in _COUNTS:
        column = rows.column(name)
        if column.null_count < len(rows):
            faults += [pc.less(column, 0), pc.greater(column, _MOST)]
    return not any(pc.any(fault).as_py() for fault in faults)
