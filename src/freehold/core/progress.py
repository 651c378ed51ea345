"""How long work reports to whoever watches."""

from __future__ import annotations

from typing import Literal, Protocol

Unit = Literal["pieces", "bytes"]


class Progress(Protocol):
    """Receives the count of finished units; decides itself how to show it."""

    def start(self, what: str, total: int | None, *, unit: Unit = "pieces") -> None:
        """Begin a piece of work of `total` units (None: unknown)."""
        ...

    def update(self, done: int, note: str = "") -> None:
        """`done` further units are finished; `note` is a short live remark such as a loss."""
        ...

    def finish(self) -> None:
        """The piece of work that was started last is over."""
        ...


class Silent:
    """Progress that nobody watches."""

    def start(self, what: str, total: int | None, *, unit: Unit = "pieces") -> None:
        """Ignore the beginning."""

    def update(self, done: int, note: str = "") -> None:
        """Ignore the step."""

    def finish(self) -> None:
        """Ignore the end."""
