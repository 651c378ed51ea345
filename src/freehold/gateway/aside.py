"""Requests that ask no model for anything pass like all others, but are no calls: the ledger has no rows of them.

A list of models, a file, a job, a count of tokens: nobody is billed for it as for a call, and whoever audits a task or
weighs owning against renting must not meet it there. They are counted in `/metrics`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from freehold.gateway.attempt import Writer
    from freehold.gateway.watch.metrics import Counters
    from freehold.ledger.records import CloseRecord, OpenRecord

UNRECORDED = "freehold_unrecorded_requests_total"
_KINDS = frozenset((
    "models", "files", "uploads", "batches", "fine_tuning", "vector_stores", "responses", "chat", "messages",
))  # fmt: skip
"""First words of paths that are told apart: clients choose paths, so there must be an end."""


class Aside:
    """Takes the place of a worker's writer for what is not recorded."""

    def __init__(self, writer: Writer, counters: Counters) -> None:
        """`writer` tells whether calls can be recorded: while they cannot, nothing passes."""
        self._writer = writer
        self._counters = counters
        self._kinds: dict[bytes, str] = {}

    def opened(self, call_id: bytes, head: OpenRecord, body: bytes = b"") -> None:
        """A request is about to be made."""
        del body
        self._kinds[call_id] = _kind_of(head.endpoint or "")

    def request_of(self, _call_id: bytes) -> Aside:
        """Nothing is kept."""
        return self

    def response_of(self, _call_id: bytes) -> Aside:
        """Nothing is kept."""
        return self

    def add(self, _piece: bytes) -> bool:
        """As the writer says."""
        return self._writer.room

    def closed(self, call_id: bytes, tail: CloseRecord, body: bytes = b"") -> None:
        """It is over, and counts."""
        del body
        status = tail.error_type or "unknown" if tail.status is None else str(tail.status)
        self._counters.add(UNRECORDED, (("endpoint", self._kinds.pop(call_id)), ("status", status)))

    @property
    def is_durable(self) -> bool:
        """There is nothing to wait for."""
        return True

    async def durable(self) -> None:
        """At once."""

    @property
    def room(self) -> bool:
        """As the writer says."""
        return self._writer.room

    async def wait_for_room(self) -> None:
        """As the writer says."""
        await self._writer.wait_for_room()


def _kind_of(endpoint: str) -> str:
    path = endpoint.removeprefix("/v1/")
    if path == "messages/count_tokens":
        return "count_tokens"
    first = path.partition("/")[0]
    return first if first in _KINDS else "other"
