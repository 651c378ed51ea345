"""Which endpoint of which API a path names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from freehold.gateway.refusal import Refused

if TYPE_CHECKING:
    from freehold.ledger.records import Dialect

_PATH = re.compile(r"/(?:v1|openai(?:/v1)?)(?=/|$)(?:/deployments/(?P<deployment>[^/]+))?(?P<tail>(?:/[^/]+)*)/?")
_ALLOWED = re.compile(r"[A-Za-z0-9/_.~:@!$&'()*+,;=%-]*")
_DIALECTS: dict[str, Dialect] = {
    "/chat/completions": "openai-chat",
    "/completions": "openai-completions",
    "/responses": "openai-responses",
    "/embeddings": "openai-embeddings",
    "/messages": "anthropic",
}
_HAS_NO_EFFECT_BUT_COST = frozenset(
    (*_DIALECTS, "/messages/count_tokens", "/moderations", "/rerank", "/responses/compact")
)
_ASKS_NO_MODEL = re.compile(
    r"/(?:models|files|uploads|batches|fine_tuning|assistants|vector_stores|containers|conversations|evals|organization)"
    r"(?:/.*)?|/messages/(?:count_tokens|batches(?:/.*)?)|/responses/(?:input_tokens|[^/]+/cancel)|/chat/completions/.+"
)
"""Things are kept, listed, counted or planned here; what a batch costs is billed when it runs."""
_STREAMS_TELL_USAGE_IF_ASKED = frozenset(("/chat/completions", "/completions"))
_MOST_REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class Surface:
    """An endpoint, as every provider's address is made from it."""

    tail: str
    """The path after `/v1`, such as `/chat/completions`."""
    deployment: str | None = None
    """Azure's name of the model, which stands in the path."""

    @property
    def endpoint(self) -> str:
        """As the ledger names it."""
        return f"/v1{self.tail}"

    @property
    def dialect(self) -> Dialect:
        """How its bodies are to be read."""
        return _DIALECTS.get(self.tail, "other")

    @property
    def is_anthropic(self) -> bool:
        """It belongs to Anthropic's API: errors have another shape."""
        return self.tail.startswith("/messages")

    @property
    def is_repeatable(self) -> bool:
        """Asked twice, it does nothing else than asked once, but for the cost."""
        return self.tail in _HAS_NO_EFFECT_BUT_COST

    def asks_model(self, method: str) -> bool:
        """A request of this method makes a model work: it is a call, and the ledger gets a row of it."""
        return method == "POST" and _ASKS_NO_MODEL.fullmatch(self.tail) is None

    @property
    def hides_usage(self) -> bool:
        """Its streams tell their usage only to who asks for it."""
        return self.tail in _STREAMS_TELL_USAGE_IF_ASKED


_known: dict[str, Surface] = {}


def surface_of(path: str) -> Surface:
    """The endpoint of a path, still percent-encoded.

    Raises:
        Refused: 404, no API that passes through here has it.
    """
    found = _known.get(path)
    if found is None:
        found = _parse(path)
        if len(_known) < _MOST_REMEMBERED:
            _known[path] = found
    return found


def _parse(path: str) -> Surface:
    match = _PATH.fullmatch(path)
    is_straight = all(unquote(part) not in {".", ".."} for part in path.split("/"))
    if match is None or not is_straight or not _ALLOWED.fullmatch(path) or re.search("%2f|%5c|%00", path, re.I):
        known = "/v1/… , /openai/deployments/MODEL/… , /ui, /healthz, /readyz and /metrics"
        raise Refused(404, f"{path[:200]!r} does not exist here; there are {known}.", code="unknown_path")
    deployment = match["deployment"]
    return Surface(match["tail"], None if deployment is None else unquote(deployment))
