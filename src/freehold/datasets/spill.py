"""Rows' texts on the disk while a dataset is built, so that a million of them need not lie in memory."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import msgspec

from freehold.core.chat import Message

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self


class Content(msgspec.Struct, frozen=True, array_like=True):
    """What a row says: everything of it that is long."""

    turns: tuple[tuple[str, str], ...]
    """(role, masked text)."""
    target: str
    rented_output: str | None
    own_output: str | None
    started_at: str | None

    @property
    def messages(self) -> tuple[Message, ...]:
        """The turns as messages."""
        return tuple(Message(role, text) for role, text in self.turns)


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where a row's content lies."""

    start: int
    length: int


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Content)


def encoded(content: Content) -> bytes:
    """A content as it lies on the disk."""
    return _ENCODER.encode(content)


class Spill:
    """A file without a name: it is gone with the process, however that ends."""

    def __init__(self, folder: Path) -> None:
        """`folder` exists; the file needs about as much space in it as the dataset will."""
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by __exit__)
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, content: bytes) -> Place:
        """Lay an encoded content down."""
        self._file.seek(self._end)
        self._file.write(content)
        place = Place(self._end, len(content))
        self._end += len(content)
        return place

    def get(self, place: Place) -> Content:
        """What lies there."""
        self._file.seek(place.start)
        return _DECODER.decode(self._file.read(place.length))
