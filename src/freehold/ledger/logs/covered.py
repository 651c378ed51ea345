"""Which calls of a trace are counted by the volumes beside it: those of a client in its windows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import PurePath
from typing import TYPE_CHECKING

from freehold.ledger.logs.formats.windows import offset_s
from freehold.ledger.logs.raw_rows import RawRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from freehold.ledger.logs.raw_rows import Blank, Rejected

_WORDS = re.compile(r"[^\W_]+")


@dataclass(slots=True)
class Covered:
    """The clients of a folder's windows, and from when to when each has some."""

    _spans: dict[str, tuple[float, float]] = field(default_factory=dict)
    _ends: set[float] = field(default_factory=set)

    def add(self, rows: Iterable[RawRow | Rejected | Blank]) -> None:
        """Note the windows of one file."""
        for row in rows:
            if isinstance(row, RawRow) and (at := offset_s(row.values)) is not None:
                client = _client(row.values)
                first, last = self._spans.get(client, (at, at))
                self._spans[client] = min(first, at), max(last, at)
                self._ends.add(at)

    def holds(self, file: str, rows: Iterable[RawRow | Rejected | Blank]) -> bool:
        """Whether all calls of a trace are of clients that have windows, and fall into them.

        Rows that name no client are of the one that the file is named after (`requests_client2.jsonl`).
        """
        moments = sorted(self._ends)
        width = min((later - earlier for earlier, later in pairwise(moments)), default=0.0)
        of_file = self._named_by(file)
        for row in rows:
            at = offset_s(row.values) if isinstance(row, RawRow) else None
            if at is None or not isinstance(row, RawRow):
                continue
            span = self._spans.get(_client(row.values) or of_file)
            if span is None or at < span[0] or (width and at > span[1] + width):
                return False
        return True

    def _named_by(self, file: str) -> str:
        words = _WORDS.findall(PurePath(file).name.lower())
        told = {word.removeprefix("client") for word in words} | set(words)
        return next((client for client in self._spans if client and client.lower() in told), "")


def _client(values: Mapping[str, object]) -> str:
    value = values.get("client")
    return "" if value is None else str(value).strip()
