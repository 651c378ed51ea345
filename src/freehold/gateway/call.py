"""A client's request, read and admitted, on its way to an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from freehold.gateway.limit_headers import with_limits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping, Sequence

    from freehold.gateway.admission import Admitted
    from freehold.gateway.body import Body
    from freehold.gateway.headers import Header
    from freehold.gateway.surface import Surface

    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]  # Any: ASGI leaves values open


@dataclass(slots=True, kw_only=True)
class ClientCall:
    """What is known of a request, and how far its answer has come. The one mutable thing of a call."""

    method: str
    surface: Surface
    query: str
    headers: Sequence[Header]
    body: Body
    model: str | None
    """As the client names it, in the body or in the path."""
    request_id: str
    """The client's, or ours where it has none."""
    has_own_request_id: bool
    """The client sent it."""
    admitted: Admitted
    deadline: float | None
    """On the loop's clock; None: the client set none."""
    send: Send
    has_begun: bool = False
    """The answer's head has left."""
    has_left: bool = False
    """The client closed the connection."""
    is_over: bool = False
    """The answer has left, or never will; what the client does now changes nothing."""

    @property
    def is_repeatable(self) -> bool:
        """It may be made a second time though a provider may have served it already."""
        if self.method in {"GET", "HEAD"} or self.surface.is_repeatable:
            return True
        return any(name == b"idempotency-key" for name, _ in self.headers)

    async def begin(self, status: int, headers: list[Header]) -> None:
        """Send the head of the answer."""
        self.has_begun = True
        headers = with_limits(headers, self.admitted.limit_headers())
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, chunk: bytes, *, is_last: bool = False) -> None:
        """Send the next bytes of the answer; waits while the client is slow."""
        await self.send({"type": "http.response.body", "body": chunk, "more_body": not is_last})
