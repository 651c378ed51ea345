"""The body of a client's request: in memory while it is small, in a file without a name when it is not."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

from freehold.gateway.body.head import MEMBERS, NO_HEAD, Head, edits_of, head_of_spans, read_head
from freehold.gateway.body.scanner import MemberScanner, Span, find_members, with_values
from freehold.gateway.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

    from freehold.gateway.http.request import ClientRequest

IN_MEMORY_BYTES = 1024 * 1024
"""A larger body goes through a file."""
CHUNK_BYTES = 64 * 1024


class Body:
    """A whole request body, and what it says of itself."""

    __slots__ = ("_data", "_file", "_spans", "head", "size")

    def __init__(self, data: bytes, head: Head) -> None:
        """A body in memory."""
        self.head = head
        self.size = len(data)
        self._data = data
        self._file: BinaryIO | None = None
        self._spans: Mapping[str, list[Span]] | None = None

    @classmethod
    def in_file(cls, file: BinaryIO, size: int, head: Head, spans: Mapping[str, list[Span]] | None) -> Body:
        """A body that was written to `file`."""
        body = cls(b"", head)
        body._file, body.size, body._spans = file, size, spans
        return body

    @property
    def is_in_memory(self) -> bool:
        """It is one piece of bytes."""
        return self._file is None

    @property
    def data(self) -> bytes:
        """The bytes of a body in memory."""
        return self._data

    def edits(self, *, model: str | None, adds_usage: bool) -> dict[Span, bytes]:
        """What must be replaced for a provider: see `edits_of`."""
        return edits_of(
            self.head,
            self._members if model is not None else self._options_alone,
            self._read,
            model=model,
            adds_usage=adds_usage,
        )

    def edited(self, edits: Mapping[Span, bytes]) -> bytes:
        """A body in memory with its edits."""
        return with_values(self._data, edits) if edits else self._data

    def edited_size(self, edits: Mapping[Span, bytes]) -> int:
        """Bytes with the edits."""
        return self.size + sum(len(value) - (end - start) for (start, end), value in edits.items())

    def pieces(self, edits: Mapping[Span, bytes]) -> Iterator[tuple[bytes, bytes]]:
        """The body in order, as pairs of what the client sent and what the provider gets."""
        position = 0
        for (start, end), value in sorted(edits.items()):
            yield from ((piece, piece) for piece in self._chunks(position, start))
            yield self._read(start, end), value
            position = end
        yield from ((piece, piece) for piece in self._chunks(position, self.size))

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()

    def _members(self) -> Mapping[str, list[Span]] | None:
        return find_members(self._data, MEMBERS) if self._file is None else self._spans

    def _options_alone(self) -> Mapping[str, list[Span]] | None:
        """The members, where only `stream_options` matters: most bodies have none, and are not scanned."""
        may_have_some = b"stream_options" in self._data or b"\\u00" in self._data
        return self._members() if may_have_some or self._file is not None else {}

    def _chunks(self, start: int, end: int) -> Iterator[bytes]:
        for position in range(start, end, CHUNK_BYTES):
            yield self._read(position, min(position + CHUNK_BYTES, end))

    def _read(self, start: int, end: int) -> bytes:
        if self._file is None:
            return self._data[start:end]
        return os.pread(self._file.fileno(), end - start, start)


def body_at_hand(request: ClientRequest, *, limit: int) -> Body | None:
    """The body, if all of it has come already, as most have; None if it must be waited for.

    Raises:
        Refused: 413, it is too large; 400, it names two models.
    """
    if not request.is_read or request.waiting_bytes > IN_MEMORY_BYTES:
        return None
    if request.waiting_bytes > limit:
        raise _too_large(request.waiting_bytes, limit)
    data = request.take()
    return Body(data, read_head(data) if data else NO_HEAD)


async def read_body(request: ClientRequest, *, limit: int, silence_s: float, folder: Path | None) -> Body:
    """The whole body of a request.

    Args:
        request: Has been read up to its head at least.
        limit: Most bytes.
        silence_s: Longest time between two pieces.
        folder: Where a large body's file is made; None chooses the system's.

    Raises:
        Refused: 413, it is too large; 408, the client stalls; 400, it names two models.
    """
    declared = request.named.get(b"content-length")
    if declared is not None and int(declared) > limit:
        raise _too_large(int(declared), limit)
    parts, is_whole = bytearray(), False
    while not is_whole and len(parts) <= IN_MEMORY_BYTES:
        piece, is_whole = await _next(request, silence_s)
        parts += piece
    if len(parts) > limit:
        raise _too_large(len(parts), limit)
    if is_whole and len(parts) <= IN_MEMORY_BYTES:
        data = bytes(parts)
        return Body(data, read_head(data))
    return await _through_file(request, parts, is_whole=is_whole, limit=limit, silence_s=silence_s, folder=folder)


async def _through_file(
    request: ClientRequest, parts: bytearray, *, is_whole: bool, limit: int, silence_s: float, folder: Path | None
) -> Body:
    file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 (the body closes it)
    try:
        scanner = MemberScanner(MEMBERS)
        piece, size = bytes(parts), 0
        while True:
            size += len(piece)
            if size > limit:
                raise _too_large(size, limit)
            scanner.feed(piece)
            file.write(piece)
            if is_whole:
                break
            piece, is_whole = await _next(request, silence_s)
        spans = scanner.spans if scanner.is_object else None
        head = NO_HEAD if spans is None else head_of_spans(spans, lambda a, b: os.pread(file.fileno(), b - a, a))
    except BaseException:
        file.close()
        raise
    return Body.in_file(file, size, head, spans)


async def _next(request: ClientRequest, silence_s: float) -> tuple[bytes, bool]:
    try:
        return await request.read(silence_s)
    except TimeoutError:
        message = f"The request's body stopped for {silence_s:g} s."
        raise Refused(408, message, code="request_timeout") from None


def _too_large(size: int, limit: int) -> Refused:
    message = f"The body has {size} bytes or more; at most {limit} pass (gateway.max_body_mb)."
    return Refused(413, message, code="body_too_large")
