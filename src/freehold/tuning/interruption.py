"""Ctrl-C and SIGTERM, heard where the state of a run is whole."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HEARD = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Whether someone asked this process to stop."""

    def __init__(self) -> None:
        """Nobody has."""
        self.signal: int | None = None

    @property
    def came(self) -> bool:
        """Whether a signal has come."""
        return self.signal is not None

    def end(self) -> None:
        """Stop, as whoever sent the signal expects.

        Raises:
            KeyboardInterrupt: it was Ctrl-C.
            SystemExit: with 143, it was SIGTERM or came to another process of the run.
        """
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + signal.SIGTERM)


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Let a signal wait for the end of a step, where the state is whole; a second one does not wait."""
    asked = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.getsignal(number) for number in HEARD}

    def ask(number: int, _frame: object) -> None:
        asked.signal = number
        signal.signal(number, before[signal.Signals(number)])

    for number in HEARD:
        signal.signal(number, ask)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
