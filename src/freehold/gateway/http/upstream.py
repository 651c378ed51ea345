"""Asking a provider: the protocol that the gateway needs. `pool` implements it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from freehold.gateway.http.headers import Headers

FailureKind = Literal["connect_failed", "upstream_closed", "upstream_timeout", "upstream_protocol"]


class UpstreamFailure(Exception):
    """A provider did not answer, or not to the end."""

    def __init__(self, kind: FailureKind, *, is_unsent: bool = False, is_stale: bool = False) -> None:
        """Say what failed.

        Args:
            kind: As the ledger's `error_type` has it.
            is_unsent: The provider cannot have seen the request as a whole.
            is_stale: A connection that had waited since an earlier call closed without a byte of an answer.
        """
        super().__init__(kind)
        self.kind = kind
        self.is_unsent = is_unsent
        self.is_stale = is_stale


@dataclass(slots=True)
class Request:
    """What is sent to a provider."""

    method: str
    url: str
    headers: Headers
    body: bytes | AsyncIterator[bytes] | None
    timeout_s: float
    """From now to the last byte of the answer."""
    may_wait: bool = False
    """It may leave together with others, at the end of this turn of the event loop."""


class Answer(Protocol):
    """A provider's answer whose head has arrived."""

    @property
    def status(self) -> int:
        """HTTP status."""
        ...

    @property
    def headers(self) -> Headers:
        """In the order in which they came, names in lower case."""
        ...

    @property
    def named(self) -> dict[bytes, bytes]:
        """The first value of each header."""
        ...

    def whole(self) -> bytes | None:
        """The body, if all of it has come already; None: read it."""
        ...

    async def pump(self, take: Callable[[bytes], bool]) -> bool:
        """Hand over bytes as they come, without waking anybody in between.

        Args:
            take: Gets the next bytes of the body; False ends the pumping, and what it raises is raised here.

        Returns:
            Whether the body is at its end; if not, `take` wanted to pause.

        Raises:
            UpstreamFailure: as `read`.
        """
        ...

    async def read(self) -> bytes:
        """The next bytes of the body as they came, still compressed if they are; empty at its end.

        Raises:
            UpstreamFailure: the body breaks off, stalls, or is not HTTP.
        """
        ...

    def abort(self) -> None:
        """Close the connection, so that the provider stops. Nothing happens after the end of the body."""
        ...


class Upstream(Protocol):
    """Connections to one provider."""

    async def send(self, request: Request) -> Answer:
        """Send a request and wait for the head of the answer.

        Raises:
            UpstreamFailure: there is none.
        """
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...
