"""Cuts a JSON document into the values inside of it, without ever holding the document.

A document may be an array of millions of rows, or an object that wraps such an array. Only brackets and strings are
looked at; each value is parsed by itself, so that a broken one costs one row.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from freehold.core.errors import InputError
from freehold.ledger.logs import text
from freehold.ledger.logs.shape import WRAPPERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from freehold.ledger.logs.text import Readable

_PIECE_BYTES = 1 << 20
_LONGEST_KEY = 100
# A string as far as it goes, and its end if it is there; or what changes the depth or parts two values.
_OUTSIDE = re.compile(rb'"(?:[^"\\]++|\\.)*+("?)|[{}\[\],]', re.DOTALL)
_INSIDE = re.compile(rb'(?:[^"\\]++|\\.)*+("?)', re.DOTALL)


def json_values(name: str, stream: Readable, *, depth: int) -> Iterator[bytes | None]:
    """The values at one depth of the documents of a stream; None stands for one that is too long.

    Args:
        name: Of the file, for messages.
        stream: UTF-8.
        depth: 0: the documents themselves, one after another. 1: the elements of an array. 2: the elements of each
            array that an object holds at its first level under one of the names of `WRAPPERS`.

    Raises:
        InputError: the stream ends inside of a document.
    """
    return _Cutter(name, stream, depth).values()


class _Cutter:
    def __init__(self, name: str, stream: Readable, depth: int) -> None:
        self._name = name
        self._stream = stream
        self._wanted = depth
        self._buffer = b""
        self._place = 0
        self._start: int | None = 0 if depth == 0 else None
        """Where the value begins that is being read."""
        self._is_long = False
        self._is_inside = False
        """Of a string that goes on in the next piece."""
        self._depth = 0
        self._key = b""

    def values(self) -> Iterator[bytes | None]:
        while self._more():
            yield from self._cut()
        if self._depth or self._is_inside:
            raise InputError(
                f"{self._name}: the file ends in the middle of its JSON, as half-written ones do. "
                "Nothing of it was imported: fetch it again."
            )
        rest = self._buffer[self._start or 0 :].strip() if self._wanted == 0 else b""
        if rest:
            yield rest

    def _more(self) -> bool:
        piece = self._stream.read(_PIECE_BYTES)
        start = self._place if self._start is None else self._start
        if self._start is not None and self._place - start > text.MAX_ROW_BYTES:
            self._is_long = True
            start = self._start = self._place
        self._buffer = self._buffer[start:] + piece
        self._place -= start
        self._start = None if self._start is None else 0
        return bool(piece)

    def _cut(self) -> Iterator[bytes | None]:
        buffer = self._buffer
        if self._is_inside and not self._leave_string():
            return
        for found in _OUTSIDE.finditer(buffer, self._place):
            first = buffer[found.start()]
            if first == 0x22:
                if self._depth == 1:
                    self._key = found[0]
                if not found[1]:
                    self._is_inside, self._place = True, found.end()
                    return
                continue
            if first == 0x2C:
                if self._depth == self._wanted and self._start is not None:
                    yield from self._taken(buffer, found.start())
                    self._start = found.end()
            elif first in b"{[":
                self._open(first, found.end())
            elif self._close():
                end = found.end() if self._wanted == 0 else found.start()
                yield from self._taken(buffer, end)
                self._start = found.end() if self._wanted == 0 else None
        self._place = len(buffer)

    def _open(self, bracket: int, after: int) -> None:
        self._depth += 1
        is_rows = self._depth < 2 or self._key.strip(b'"') in WRAPPERS
        if self._depth == self._wanted and bracket == 0x5B and is_rows:
            self._start = after

    def _close(self) -> bool:
        """Whether a value ends with the bracket that is closed."""
        if not self._depth:
            raise InputError(f"{self._name}: a bracket is closed that was never opened; this is no JSON.")
        ends = (self._depth == self._wanted and self._start is not None) or (self._wanted == 0 and self._depth == 1)
        self._depth -= 1
        return ends

    def _leave_string(self) -> bool:
        found = _INSIDE.match(self._buffer, self._place)
        assert found is not None
        if self._depth == 1 and len(self._key) < _LONGEST_KEY:
            self._key += found[0]
        self._place = found.end()
        self._is_inside = not found[1]
        return not self._is_inside

    def _taken(self, buffer: bytes, end: int) -> Iterator[bytes | None]:
        if self._is_long:
            self._is_long = False
            yield None
            return
        value = buffer[self._start : end].strip()
        if self._wanted == 0:
            value = value.lstrip(b", \t\r\n")
        if len(value) > text.MAX_ROW_BYTES:
            yield None
        elif value:
            yield value
