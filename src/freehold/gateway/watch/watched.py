"""A worker's writer that is looked at: what it records is shown on the board, and told to whoever else wants to know.

All that is told stands in the two records of an attempt, so content cannot be in it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from freehold.ledger.records import id_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from freehold.gateway.attempt import Writer
    from freehold.gateway.watch.board import Board, Shown
    from freehold.ledger.records import CloseRecord, OpenRecord

    Listener = Callable[[bytes, OpenRecord, CloseRecord], None]

_LOG = logging.getLogger(__name__)


class WatchedWriter:
    """Writes by another writer."""

    __slots__ = ("_board", "_listener", "_under_way", "_writer", "log_calls", "request_of", "response_of")

    def __init__(
        self, writer: Writer, board: Board, *, log_calls: bool = False, listener: Listener | None = None
    ) -> None:
        """Take who writes, and who looks on.

        Args:
            writer: Records attempts.
            board: Shows them.
            log_calls: A line of each attempt that is over goes to the log; may be changed.
            listener: Told of each attempt that is over, when it is on record. It must not wait.
        """
        self._writer = writer
        self._board = board
        self._listener = listener
        self._under_way: dict[bytes, tuple[OpenRecord, Shown]] = {}
        self.log_calls = log_calls
        # Bodies go straight to the writer.
        self.request_of = writer.request_of
        self.response_of = writer.response_of

    def opened(self, call_id: bytes, head: OpenRecord, body: bytes = b"") -> None:
        """As `Writer` says."""
        self._writer.opened(call_id, head, body)
        self._under_way[call_id] = head, self._board.opened(call_id, head)

    def closed(self, call_id: bytes, tail: CloseRecord, body: bytes = b"") -> None:
        """As `Writer` says."""
        self._writer.closed(call_id, tail, body)
        head, shown = self._under_way.pop(call_id)
        self._board.closed(shown, head, tail)
        if self._listener is not None:
            self._listener(call_id, head, tail)
        if self.log_calls:
            log_attempt(call_id, head, tail)

    @property
    def is_durable(self) -> bool:
        """As `Writer` says."""
        return self._writer.is_durable

    async def durable(self) -> None:
        """As `Writer` says."""
        await self._writer.durable()

    @property
    def room(self) -> bool:
        """As `Writer` says."""
        return self._writer.room

    async def wait_for_room(self) -> None:
        """As `Writer` says."""
        await self._writer.wait_for_room()


def log_attempt(call_id: bytes, head: OpenRecord, tail: CloseRecord) -> None:
    """One line of an attempt that is over."""
    _LOG.info(
        "call",
        extra={
            "request_id": head.request_id,
            "call_id": id_text(call_id),
            "parent_id": head.parent_id,
            "endpoint": head.endpoint,
            "task": head.task,
            "key_id": head.key_id,
            "model": head.model_requested,
            "model_served": tail.model_served,
            "provider": head.provider,
            "route": head.route,
            "stream": head.stream,
            "status": tail.status,
            "error_type": tail.error_type,
            "duration_ms": _rounded(tail.duration_ms),
            "ttft_ms": _rounded(tail.ttft_ms),
            "input_tokens": tail.input_tokens,
            "output_tokens": tail.output_tokens,
            "client_left": tail.client_closed is True,
        },
    )


def log_refusal(status: int, code: str | None, *, request_id: str, method: str, endpoint: str) -> None:
    """One line of a request that the gateway answered itself."""
    told = {"request_id": request_id, "method": method, "endpoint": endpoint, "status": status, "code": code}
    _LOG.info("refused", extra=told)


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 1)
