"""Text of a log in blocks of whole lines, as UTF-8, in bounded memory whatever the file holds."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from freehold.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_ROW_BYTES = 16_000_000
"""A longer row is rejected: it would be held in memory whole."""
_BLOCK_BYTES = 4 << 20
_PIECE_BYTES = 1 << 16
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BEGINNINGS = (
    (re.compile(rb"[\[{ \t\r\n]\0\0\0[^\0]\0\0\0"), "utf-32-le"),
    (re.compile(rb"\0\0\0[\[{ \t\r\n]\0\0\0[^\0]"), "utf-32-be"),
    (re.compile(rb"[\[{ \t\r\n]\0[^\0]\0"), "utf-16-le"),
    (re.compile(rb"\0[\[{ \t\r\n]\0[^\0]"), "utf-16-be"),
)
"""JSON without a byte order mark: its first two characters are ASCII, whatever follows (RFC 4627, section 3)."""

_LINE_END = re.compile(rb"\n\0|\0\n")


class Readable(Protocol):
    """Bytes from front to back."""

    def read(self, count: int) -> bytes:
        """The next bytes; none at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Block:
    """Some whole lines."""

    line: int
    """Of the first one, counted from 1."""
    data: bytes


@dataclass(frozen=True, slots=True)
class TooLong:
    """A line that was passed over."""

    line: int


def encoding_of(head: bytes) -> str | None:
    """How text is encoded, from its first bytes; None: as UTF-8, as far as they tell."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    for form, name in _BEGINNINGS:
        if form.match(head):
            return name
    line = _LINE_END.split(head[:256], maxsplit=1)[0]  # the names of columns are ASCII where nothing else is
    even, odd = line[0::2].count(0), line[1::2].count(0)
    half = max(1, len(line) // 2)
    if odd > half * 0.6 and even < half * 0.2:
        return "utf-16-le"
    if even > half * 0.6 and odd < half * 0.2:
        return "utf-16-be"
    return None


class Utf8:
    """A stream as UTF-8, whatever it is encoded in; a byte order mark is gone."""

    def __init__(self, name: str, stream: Readable, encoding: str | None = None) -> None:
        """`encoding` is what the user says; None: what the first bytes say.

        Bytes that should be UTF-8 already stay as they are: which of them are not is for each row to find out.
        """
        self._name = name
        self._stream = stream
        self._head = stream.read(512)
        found = encoding or encoding_of(self._head)
        if found in {None, "utf-8", "utf-8-sig"}:
            self._head = self._head.removeprefix(codecs.BOM_UTF8)
            self._decode: Callable[[bytes, bool], bytes] | None = None
        else:
            assert found is not None
            decoder = codecs.getincrementaldecoder(found)()
            self._decode = lambda data, final: decoder.decode(data, final).encode("utf-8", "replace")
        self._encoding = found
        self._is_over = False

    def read(self, count: int) -> bytes:
        """The next bytes; none at the end.

        Raises:
            InputError: bytes are not of the encoding that the file has.
        """
        while True:
            data, self._head = self._head or self._stream.read(count), b""
            if self._decode is None or self._is_over:
                return data
            self._is_over = not data
            try:
                text = self._decode(data, self._is_over)
            except UnicodeError as error:
                raise InputError(
                    f"{self._name}: not whole text in {self._encoding} ({error}). Nothing of it was imported."
                ) from error
            if text or self._is_over:
                return text


def blocks(stream: Readable) -> Iterator[Block | TooLong]:
    """The lines of a stream, many at a time."""
    waiting: list[bytes] = []
    size, line, is_skipping = 0, 1, False
    while piece := stream.read(_PIECE_BYTES if is_skipping else _BLOCK_BYTES):
        end = piece.rfind(b"\n") + 1
        if is_skipping:
            end = piece.find(b"\n") + 1
            if not end:
                continue
            piece, is_skipping, line = piece[end:], False, line + 1
            end = piece.rfind(b"\n") + 1
        if end:
            data = b"".join([*waiting, piece[:end]])
            yield Block(line, data)
            line += data.count(b"\n")
            waiting, size = [], 0
            piece = piece[end:]
        waiting.append(piece)
        size += len(piece)
        if size > MAX_ROW_BYTES:
            yield TooLong(line)
            waiting, size, is_skipping = [], 0, True
    if size:
        yield Block(line, b"".join(waiting))


def table_blocks(stream: Readable, delimiter: str) -> Iterator[Block | TooLong]:
    """The same, cut where no quotation mark is open: a cell of a table may hold line breaks.

    TooLong: a row goes on for so long, perhaps after a quotation mark that is never closed; nothing more is read.
    """
    part = re.escape(delimiter.encode())
    # Rows: anything but quotation marks, such as stand inside of a cell, and quoted cells, to the line's end.
    rows = re.compile(rb'(?:(?:[^"\n]++|(?<=[^\n' + part + rb'])"|"(?:[^"]++|"")*+")*+\n)*+')
    waiting, line = b"", 1
    while piece := stream.read(_BLOCK_BYTES):
        waiting += piece
        found = rows.match(waiting)
        end = 0 if found is None else found.end()
        if end:
            yield Block(line, waiting[:end])
            line += waiting.count(b"\n", 0, end)
            waiting = waiting[end:]
        if len(waiting) > MAX_ROW_BYTES:
            yield TooLong(line)
            return
    if waiting:
        yield Block(line, waiting)
