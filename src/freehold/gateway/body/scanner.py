"""Finds members of a JSON object in its bytes, without decoding the rest.

A body is changed in two places at most, so what stands around them must not pass through a decoder and an encoder:
numbers would lose digits, keys their order and text its escapes. The scanner tells where the values of a few
top-level members begin and end. It takes the body in pieces of any size and keeps none of them.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Span = tuple[int, int]
"""First byte of a value and the byte after its last, counted from the beginning of the body; blanks included."""

_INSIDE_STRING = re.compile(rb'["\\]')
_AT_THE_TOP = re.compile(rb'["{}\[\],:]')
_DEEPER = re.compile(rb'["{}\[\]]')
_BLANK = b" \t\r\n"
_LONGEST_KEY = 256
"""Bytes of a key that are kept, escapes included; a longer one is none of those that are looked for."""


class MemberScanner:
    """Feeds on a JSON object and remembers where the values of some top-level members stand."""

    def __init__(self, names: Iterable[str]) -> None:
        """Look for `names`. A member that is there twice has two spans, in order."""
        self.spans: dict[str, list[Span]] = {}
        self._names = frozenset(names)
        self._offset = 0
        self._depth = 0
        self._in_string = False
        self._is_escaped = False
        self._has_begun = False
        self._is_over = False
        self._is_broken = False
        self._is_key_next = False
        self._key: bytearray | None = None
        self._name: str | None = None
        self._value_start = -1

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        position = 0
        size = len(chunk)
        while position < size and not self._is_broken:
            if self._in_string:
                position = self._read_string(chunk, position)
            elif self._depth == 0:
                position = self._read_outside(chunk, position)
            else:
                position = self._read_token(chunk, position)
        self._offset += size

    @property
    def is_object(self) -> bool:
        """One whole object was fed, and blanks around it at most. Only then the spans may be used."""
        return self._is_over and not self._is_broken

    def _read_outside(self, chunk: bytes, position: int) -> int:
        rest = chunk[position:].lstrip(_BLANK)
        if not rest:
            return len(chunk)
        if self._has_begun or rest[:1] != b"{":
            self._is_broken = True
            return len(chunk)
        self._has_begun = self._is_key_next = True
        self._depth = 1
        return len(chunk) - len(rest) + 1

    def _read_string(self, chunk: bytes, position: int) -> int:
        if self._is_escaped:
            self._is_escaped = False
            self._keep(chunk, position, position + 1)
            return position + 1
        found = _INSIDE_STRING.search(chunk, position)
        end = len(chunk) if found is None else found.start()
        self._keep(chunk, position, end)
        if found is None:
            return end
        if chunk[end] == 0x5C:  # a backslash hides the next byte
            self._keep(chunk, end, end + 1)
            self._is_escaped = True
        else:
            self._in_string = False
        return end + 1

    def _keep(self, chunk: bytes, start: int, end: int) -> None:
        if self._key is not None and len(self._key) <= _LONGEST_KEY:
            self._key += chunk[start : min(end, start + _LONGEST_KEY + 1)]

    def _read_token(self, chunk: bytes, position: int) -> int:
        found = (_AT_THE_TOP if self._depth == 1 else _DEEPER).search(chunk, position)
        if found is None:
            return len(chunk)
        at = found.start()
        match chunk[at]:
            case 0x22:  # "
                self._in_string = True
                if self._depth == 1 and self._is_key_next:
                    self._key = bytearray()
                    self._is_key_next = False
            case 0x7B | 0x5B:  # { [
                self._depth += 1
            case 0x7D | 0x5D:  # } ]
                self._close(at, is_brace=chunk[at] == 0x7D)
            case 0x3A:  # :
                self._begin_value(at)
            case _:  # ,
                self._end_value(at)
                self._is_key_next = True
        return at + 1

    def _close(self, at: int, *, is_brace: bool) -> None:
        if self._depth == 1:
            self._end_value(at)
            self._is_over = True
            self._is_broken = not is_brace
        self._depth -= 1

    def _begin_value(self, at: int) -> None:
        if self._key is None:
            self._is_broken = True
            return
        name = _decoded(bytes(self._key))
        self._key = None
        if name in self._names:
            self._name = name
            self._value_start = self._offset + at + 1

    def _end_value(self, at: int) -> None:
        if self._name is not None:
            self.spans.setdefault(self._name, []).append((self._value_start, self._offset + at))
            self._name = None


def _decoded(key: bytes) -> str | None:
    if len(key) > _LONGEST_KEY:
        return None
    try:
        name: str = json.loads(b'"' + key + b'"', strict=False) if b"\\" in key else key.decode()
    except ValueError:
        return None
    return name


def find_members(body: bytes, names: Iterable[str]) -> dict[str, list[Span]] | None:
    """Spans of the values of `names` among the top-level members; None if the body is no whole JSON object."""
    scanner = MemberScanner(names)
    scanner.feed(body)
    return scanner.spans if scanner.is_object else None


def with_values(body: bytes, edits: Mapping[Span, bytes]) -> bytes:
    """The body with these spans replaced. An empty span inserts; the bytes between stay as they are."""
    parts = []
    position = 0
    for (start, end), value in sorted(edits.items()):
        parts += [body[position:start], value]
        position = end
    parts.append(body[position:])
    return b"".join(parts)
