from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from hypothesis import given
from hypothesis import strategies as st

from freehold.gateway.http import outbox as outbox_module
from freehold.gateway.http.outbox import Outbox

if TYPE_CHECKING:
    import pytest


@dataclass(eq=False)
class Wire:
    """What left for one peer, and how much was on record when it did."""

    record: Book
    left: list[tuple[bytes, int]] = field(default_factory=list)
    closed_after: int | None = None

    def write(self, data: bytes) -> None:
        self.left.append((data, self.record.safe))

    def is_closing(self) -> bool:
        return self.closed_after is not None

    def close(self) -> None:
        self.closed_after = len(self.left)

    @property
    def text(self) -> bytes:
        return b"".join(data for data, _ in self.left)


@dataclass
class Book:
    """A record that takes what is promised, unless it is full."""

    promised: int = 0
    safe: int = 0
    is_full: bool = False
    commits: int = 0

    @property
    def has_promised(self) -> bool:
        return self.safe < self.promised

    def commit(self) -> bool:
        self.commits += 1
        if not self.is_full:
            self.safe = self.promised
        return not self.has_promised


def transport(wire: Wire) -> asyncio.Transport:
    return cast("asyncio.Transport", wire)


def test_what_one_turn_has_to_say_leaves_together_after_one_commit() -> None:
    book = Book()
    wires = [Wire(book) for _ in range(5)]

    async def turn() -> None:
        outbox = Outbox(book)
        for wire in wires:
            book.promised += 1
            outbox.put(transport(wire), b"a")
            outbox.put(transport(wire), b"b")
        assert not any(wire.left for wire in wires)
        await asyncio.sleep(0)

    asyncio.run(turn())
    assert [wire.left for wire in wires] == [[(b"ab", 5)]] * 5
    assert book.commits == 1


def test_nothing_of_a_call_leaves_while_its_record_cannot_be_made_and_all_of_it_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox_module, "_RETRY_EVERY_S", 0.001)
    book = Book(promised=1, is_full=True)
    whole, streamed, page = Wire(book), Wire(book), Wire(book)

    async def turns() -> None:
        outbox = Outbox(book)
        outbox.put(transport(whole), b"answer")
        outbox.end(transport(whole), whole.close)
        outbox.send(transport(streamed), b"first ")
        outbox.send(transport(streamed), b"last")
        outbox.tell(transport(page), b"503")
        outbox.tell(transport(streamed), b".")
        for _ in range(5):
            await asyncio.sleep(0.002)
        assert (whole.left, whole.closed_after, streamed.left) == ([], None, [])
        assert page.text == b"503"  # whoever asks how things stand is told
        book.is_full = False
        while not (whole.left and streamed.left):
            await asyncio.sleep(0.001)

    asyncio.run(turns())
    assert (whole.left, whole.closed_after) == ([(b"answer", 1)], 1)
    assert streamed.text == b"first last."


_STEPS = st.lists(
    st.tuples(st.sampled_from(["put", "send", "tell", "turn", "full", "free"]), st.integers(0, 2)), max_size=40
)


@given(_STEPS)
def test_bytes_keep_their_order_and_never_overtake_their_record(steps: list[tuple[str, int]]) -> None:
    book = Book()
    wires = [Wire(book) for _ in range(3)]
    said: list[list[tuple[bytes, int]]] = [[], [], []]

    async def turns() -> None:
        outbox = Outbox(book)
        for number, (what, peer) in enumerate(steps):
            data = b"%d," % number
            match what:
                case "put" | "send":
                    book.promised += 1
                    said[peer].append((data, book.promised))
                    (outbox.put if what == "put" else outbox.send)(transport(wires[peer]), data)
                case "tell":
                    said[peer].append((data, 0))
                    outbox.tell(transport(wires[peer]), data)
                case "turn":
                    await asyncio.sleep(0)
                case _:
                    book.is_full = what == "full"
        book.is_full = False
        while any(wire.text != b"".join(data for data, _ in words) for wire, words in zip(wires, said, strict=True)):
            await asyncio.sleep(0.001)

    with_patch = outbox_module._RETRY_EVERY_S
    outbox_module._RETRY_EVERY_S = 0.001
    try:
        asyncio.run(asyncio.wait_for(turns(), 10))
    finally:
        outbox_module._RETRY_EVERY_S = with_patch
    for wire, words in zip(wires, said, strict=True):
        needed = iter(words)
        for data, safe in wire.left:
            rest = data
            while rest:
                word, promised = next(needed)
                assert rest.startswith(word)
                assert promised <= safe
                rest = rest[len(word) :]
