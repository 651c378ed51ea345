"""Names that follow from content: hashes and identifiers that are the same on every machine."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from datetime import datetime


def canonical_json(value: Any) -> str:  # Any: whatever json can write
    """JSON with sorted keys, no spaces and no NaN: equal values give equal text.

    Raises:
        ValueError: the value holds NaN or an infinity.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def content_hash(value: Any) -> str:  # Any: whatever json can write
    """SHA-256 of the canonical JSON, in hex."""
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()


def call_id(moment: datetime | None, content: str) -> str:
    """A UUIDv7 whose time is the call's and whose random bits are the hash of its content.

    The same call imported twice has the same id. Without a moment the time bits are zero.

    Source: RFC 9562, section 5.7.
    """
    milliseconds = 0 if moment is None else max(0, int(moment.timestamp() * 1000)) & ((1 << 48) - 1)
    digest = int.from_bytes(hashlib.sha256(content.encode("utf-8", "surrogatepass")).digest()[:10])
    rand_a = digest >> 68  # 12 bits
    rand_b = digest & ((1 << 62) - 1)
    return str(UUID(int=milliseconds << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b))
