"""Volumes and words of humans that wait on the disk until the file that they stand in has been read."""

from __future__ import annotations

import pickle
from typing import IO, TYPE_CHECKING, Any

from freehold.core.call import Call

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from freehold.ledger.logs.format import HumanWord, Volume


class Waiting:
    """What one file holds besides calls, in the order in which it came."""

    def __init__(self, folder: Path) -> None:
        """`folder` takes the files; they are gone when this is closed, or when the process dies."""
        self._folder = folder
        self._streams: dict[str, IO[bytes]] = {}
        self.volumes = 0
        """How many there are."""

    def put_volume(self, volume: Volume) -> None:
        """One more."""
        self.volumes += 1
        self._put("volumes", volume)

    def put_said(self, word: HumanWord, call_id: str, task: str, response: Mapping[str, Any] | None) -> None:
        """A word that came with its call, and what of the call those need who keep it."""
        self._put("said", (word, call_id, task, response))

    def put_word(self, word: HumanWord, line: int) -> None:
        """A word that came alone."""
        self._put("words", (line, word))

    def take_volumes(self) -> Iterator[Volume]:
        """All volumes."""
        yield from self._all("volumes")

    def said_with_calls(self, count: int) -> Iterator[list[tuple[HumanWord, Call]]]:
        """Words with their calls, so many at a time."""
        batch: list[tuple[HumanWord, Call]] = []
        for word, call_id, task, response in self._all("said"):
            batch.append((word, Call(id=call_id, task=task, response=response)))
            if len(batch) == count:
                yield batch
                batch = []
        if batch:
            yield batch

    def words_alone(self, count: int) -> Iterator[list[tuple[int, HumanWord]]]:
        """Lines and words, so many at a time."""
        batch: list[tuple[int, HumanWord]] = []
        for line, word in self._all("words"):
            batch.append((line, word))
            if len(batch) == count:
                yield batch
                batch = []
        if batch:
            yield batch

    def close(self) -> None:
        """Throw everything away."""
        for stream in self._streams.values():
            stream.close()

    def _put(self, kind: str, value: object) -> None:
        if kind not in self._streams:
            path = self._folder / f"{kind}.waiting"
            self._streams[kind] = path.open("w+b")
            path.unlink()
        pickle.dump(value, self._streams[kind], protocol=pickle.HIGHEST_PROTOCOL)

    def _all(self, kind: str) -> Iterator[Any]:  # Any: what was put there
        stream = self._streams.get(kind)
        if stream is None:
            return
        end = stream.tell()
        stream.seek(0)
        while stream.tell() < end:
            yield pickle.load(stream)  # noqa: S301  # written by this process into a file that nobody else can open
