"""Audits calls that lie in no ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from freehold.audit.audit import audit
from freehold.audit.rows import Slice, Source
from freehold.ledger.columns import table_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from freehold.audit.audit import Audit
    from freehold.core.call import Call

_OF_SLICE = ("task", "since", "until", "held_out_calls", "corrected_calls")


def audit_of_calls(calls: Iterable[Call], **options: Any) -> Audit:  # Any: options of the audit and of its slice
    """The audit of these calls."""
    wanted = Slice(**{name: options.pop(name) for name in _OF_SLICE if name in options})
    return audit(Source(calls=table_of(list(calls))), wanted=wanted, **{"aliases": {}, **options})
