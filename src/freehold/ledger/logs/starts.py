"""When a trace began whose times count from its start: as the user says, or as it was assumed the first time.

What was assumed is kept with a hash of how the trace begins. So the same trace again falls on the same moments, and
adds nothing.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_HEAD_BYTES = 1_024
_DAY = timedelta(days=1)


def anchor_of(head: bytes) -> str:
    """Hash of the first whole lines of a text: a file that has grown since has the same."""
    start = head[:_HEAD_BYTES]
    whole = start[: start.rfind(b"\n") + 1]
    return sha256(whole or start).hexdigest()[:16]


class Starts:
    """The starts of traces that were assumed in one workspace."""

    def __init__(self, path: Path, today: datetime) -> None:
        """`path` need not exist yet; `today` is any moment of the day on which an unknown trace ended."""
        self._path = path
        self._midnight = today.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)

    def of(self, anchor: str, last_s: float, *, is_dry: bool) -> datetime:
        """Midnight, UTC, so many whole days before today that the trace, whose last call is given, is over.

        Args:
            anchor: Of the trace.
            last_s: Of its last call, from its start.
            is_dry: What is assumed is not kept.
        """
        known = json.loads(self._path.read_text(encoding="utf-8")) if self._path.exists() else {}
        if anchor in known:
            return datetime.fromisoformat(known[anchor])
        start = self._midnight - _DAY * -(-last_s // _DAY.total_seconds())
        if not is_dry:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = self._path.with_suffix(".writing")
            unfinished.write_text(json.dumps(known | {anchor: start.isoformat()}, indent=1), encoding="utf-8")
            unfinished.replace(self._path)
        return start
