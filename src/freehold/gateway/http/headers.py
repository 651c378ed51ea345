"""Which headers go on to the provider, and which come back to the client.

Names are lower-case bytes, as the server hands them over.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Header = tuple[bytes, bytes]
Headers = list[Header]

_HOP_BY_HOP = frozenset((
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
    b"trailer", b"transfer-encoding", b"upgrade",
))  # fmt: skip
CREDENTIALS = frozenset((b"authorization", b"x-api-key", b"api-key"))
"""Where the OpenAI, Anthropic and Azure clients put a key."""
_NEVER_SENT = (
    _HOP_BY_HOP
    | CREDENTIALS
    # Lengths are counted anew. Cookies belong to the gateway's own name, addresses to its own network.
    | {b"host", b"content-length", b"expect", b"cookie", b"forwarded", b"via", b"x-real-ip", b"http2-settings"}
)
_PRIVATE_PREFIXES = (b"x-freehold-", b"x-forwarded-", b"cf-connecting-")
_NEVER_RETURNED = _HOP_BY_HOP | {b"set-cookie", b"alt-svc", b"strict-transport-security"}
_NOTHING: frozenset[bytes] = frozenset()
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,200}")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def is_header(name: str, value: str) -> bool:
    """The pair can stand in a header: no line break can be smuggled in by it."""
    return _NAME.fullmatch(name) is not None and _VALUE.fullmatch(value) is not None


def by_name(headers: Sequence[Header]) -> dict[bytes, bytes]:
    """The first value of each header."""
    return dict(reversed(headers))


def to_provider(headers: Sequence[Header], *, own: Sequence[Header], plain: bool) -> Headers:
    """Headers of the request to a provider.

    Args:
        headers: The client's.
        own: The provider's credential and its configured headers; they win over the client's.
        plain: Ask for an answer without compression, because it must be read and may be changed on its way.
    """
    kept_out = {name for name, _ in own} | _named_in_connection(headers)
    if plain:
        kept_out.add(b"accept-encoding")
    sent = [header for header in headers if _may_be_sent(header[0]) and header[0] not in kept_out]
    if plain:
        sent.append((b"accept-encoding", b"identity"))
    sent.extend(own)
    return sent


def to_client(headers: Sequence[Header], *, without: frozenset[bytes] = frozenset()) -> Headers:
    """Headers of the answer to the client; `without` names those that no longer hold for its body."""
    kept_out = _NEVER_RETURNED | without | _named_in_connection(headers)
    return [header for header in headers if header[0] not in kept_out]


@lru_cache(maxsize=1024)
def _may_be_sent(name: bytes) -> bool:
    return name not in _NEVER_SENT and not name.startswith(_PRIVATE_PREFIXES)


def _named_in_connection(headers: Sequence[Header]) -> frozenset[bytes] | set[bytes]:
    """Headers that are for this connection alone, because it says so."""
    values = [value for name, value in headers if name == b"connection"]
    if not values or values == [b"keep-alive"]:
        return _NOTHING
    return {token.strip().lower() for value in values for token in value.split(b",")} - {
        b"content-type",
        b"content-encoding",
    }


def request_id_of(named: Mapping[bytes, bytes]) -> str | None:
    """The client's own id of the request; None if it sent none, or one that cannot be repeated in a header.

    OpenAI's clients may send theirs as `x-client-request-id`.
    """
    value = named.get(b"x-request-id") or named.get(b"x-client-request-id")
    if value is None or _REQUEST_ID.fullmatch(value) is None:
        return None
    return value.decode("ascii")


def seconds_of(value: bytes | str | None) -> float | None:
    """A number of seconds in a header, such as Retry-After's; None for a date, a word or less than none."""
    try:
        seconds = float(value) if value is not None else -1.0
    except ValueError:
        return None
    return seconds if 0 <= seconds < 1e9 else None
