"""Volumes and words of humans that wait until the file that they stand in has been read."""

from __future__ import annotations

import pickle
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any, cast

from freehold.core.call import Call

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from freehold.ledger.logs.format import HumanWord, Volume

_IN_MEMORY_BYTES = 1 << 20
"""More of a kind waits on the disk."""


class Waiting:
    """What one file holds besides calls, in the order in which it came."""

    def __init__(self, folder: Path, file: str) -> None:
        """`folder` takes what is too much for memory, under no name: it is gone when the process dies.

        `file` is the name of the log.
        """
        self._folder = folder
        self.file = file
        self._streams: dict[str, IO[bytes]] = {}
        self.volumes = 0
        """How many there are."""
        self.words = 0
        """How many came without their calls."""

    @property
    def size(self) -> int:
        """How many bytes wait."""
        return sum(stream.tell() for stream in self._streams.values())

    def put_volume(self, volume: Volume) -> None:
        """One more."""
        self.volumes += 1
        self._put("volumes", volume)

    def put_said(self, word: HumanWord, call_id: str, task: str, response: Mapping[str, Any] | None) -> None:
        """A word that came with its call, and what of the call those need who keep it."""
        self._put("said", (word, call_id, task, response))

    def put_word(self, word: HumanWord, line: int) -> None:
        """A word that came alone."""
        self.words += 1
        self._put("words", (line, word))

    def all_volumes(self) -> Iterator[Volume]:
        """All volumes."""
        yield from self._all("volumes")

    def said_with_calls(self) -> Iterator[tuple[HumanWord, Call]]:
        """Words with their calls."""
        for word, call_id, task, response in self._all("said"):
            yield word, Call(id=call_id, task=task, response=response)

    def words_alone(self) -> Iterator[tuple[str, int, HumanWord]]:
        """File, line and word."""
        for line, word in self._all("words"):
            yield self.file, line, word

    def close(self) -> None:
        """Throw everything away."""
        for stream in self._streams.values():
            stream.close()

    def _put(self, kind: str, value: object) -> None:
        if kind not in self._streams:
            spooled = SpooledTemporaryFile(_IN_MEMORY_BYTES, dir=str(self._folder))  # noqa: SIM115  # see close
            self._streams[kind] = cast("IO[bytes]", spooled)
        pickle.dump(value, self._streams[kind], protocol=pickle.HIGHEST_PROTOCOL)

    def _all(self, kind: str) -> Iterator[Any]:  # Any: what was put there
        stream = self._streams.get(kind)
        if stream is None:
            return
        end = stream.seek(0, 2)
        stream.seek(0)
        while stream.tell() < end:
            yield pickle.load(stream)  # noqa: S301  # written by this process into a file that nobody else can open
