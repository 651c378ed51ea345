"""A client's request, read and admitted, on its way to an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from freehold.gateway.body.body import Body
    from freehold.gateway.http.request import ClientRequest
    from freehold.gateway.limits.admission import Admitted
    from freehold.gateway.surface import Surface


class ClientCall(msgspec.Struct, kw_only=True, gc=True):
    """What is known of a request when it may pass."""

    client: ClientRequest
    """Takes the answer, and knows how far it has come."""
    method: str
    surface: Surface
    query: str
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

    @property
    def is_repeatable(self) -> bool:
        """It may be made a second time though a provider may have served it already."""
        if self.method in {"GET", "HEAD"} or self.surface.is_repeatable:
            return True
        return b"idempotency-key" in self.client.named
