"""Which endpoint of which API a path names."""

from __future__ import annotations

import re
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


class Surface:
    """An endpoint, as every provider's address is made from it. Nothing changes after it is made."""

    __slots__ = (
        "_asks_none", "deployment", "dialect", "endpoint", "hides_usage", "is_anthropic", "is_repeatable",
        "reads_model", "tail",
    )  # fmt: skip

    def __init__(self, tail: str, deployment: str | None = None) -> None:
        """What follows from the path after `/v1`, such as `/chat/completions`, and from Azure's name of the model."""
        self.tail = tail
        self.deployment = deployment
        """Azure's name of the model, which stands in the path."""
        self.endpoint = f"/v1{tail}"
        """As the ledger names it."""
        self.dialect: Dialect = _DIALECTS.get(tail, "other")
        """How its bodies are to be read."""
        self.reads_model = tail in _DIALECTS
        """The model stands in its body."""
        self.is_anthropic = tail.startswith("/messages")
        """It belongs to Anthropic's API: errors have another shape."""
        self._asks_none = _ASKS_NO_MODEL.fullmatch(tail) is not None
        self.is_repeatable = tail in _HAS_NO_EFFECT_BUT_COST
        """Asked twice, it does nothing else than asked once, but for the cost."""
        self.hides_usage = tail in _STREAMS_TELL_USAGE_IF_ASKED
        """Its streams tell their usage only to who asks for it."""

    def asks_model(self, method: str) -> bool:
        """A request of this method makes a model work: it is a call, and the ledger gets a row of it."""
        return method == "POST" and not self._asks_none


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
