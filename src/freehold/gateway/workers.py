"""Several worker processes on one socket, each started again when it dies.

Workers are forked, so they share what was imported. A worker that dies takes its own calls along and nobody else's:
what it had recorded is in its segments. There is no health check by time-out: a busy worker is not a dead one.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType

_LOG = logging.getLogger(__name__)
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
HELD = frozenset((signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
_YOUNG_S = 1.0
"""A worker that dies younger than this is not started again at once."""
_PATIENCE_S = 5.0
"""Beyond the time to drain, before workers are killed."""
_FAILED = 1


class Workers:
    """The parent of the workers. It answers no calls itself."""

    def __init__(self, count: int, run: Callable[[str], int], *, drain_s: float) -> None:
        """Take what a worker does.

        Args:
            count: Workers.
            run: Does a worker's work, given its name, in the worker's process; returns its exit code.
            drain_s: Time that workers take to end when they are told to.
        """
        self._count = count
        self._run = run
        self._drain_s = drain_s
        self._pids: dict[int, tuple[int, float]] = {}
        """Process -> its number, and when it was started."""
        self._due: dict[int, float] = {}
        """Number of a worker that is missing -> when it is started again."""
        self._is_stopping = False
        self._is_failed = False

    def run(self) -> int:
        """Keep the workers running until SIGTERM or SIGINT; SIGHUP is passed on to each.

        Returns:
            The exit code: 0, or 1 if a worker could not even start.
        """
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        before = {number: signal.signal(number, _nothing) for number in _SIGNALS}
        wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        try:
            self._due = dict.fromkeys(range(self._count), 0.0)
            while self._due or self._pids:
                self._start_due(before, (reader, writer))
                select.select([reader], [], [], self._pause())
                self._heed(reader)
                self._reap()
            return _FAILED if self._is_failed else 0
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(reader)
            os.close(writer)

    def _pause(self) -> float | None:
        if self._is_stopping:
            return 0.2
        return max(0.0, min(self._due.values()) - time.monotonic()) if self._due else None

    def _start_due(self, handlers: Mapping[signal.Signals, object], pipe: tuple[int, int]) -> None:
        now = time.monotonic()
        for number in [number for number, at in self._due.items() if at <= now and not self._is_stopping]:
            del self._due[number]
            hold_signals()  # none may come to a worker that does not know yet what to do with it
            pid = os.fork()
            if pid == 0:
                self._become_worker(number, handlers, pipe)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
            self._pids[pid] = (number, now)

    def _become_worker(self, number: int, handlers: Mapping[signal.Signals, object], pipe: tuple[int, int]) -> None:
        code = _FAILED
        try:
            signal.set_wakeup_fd(-1)
            for name, handler in handlers.items():
                signal.signal(name, handler)  # type: ignore[arg-type]  # what signal.signal returned itself
            for descriptor in pipe:
                os.close(descriptor)
            code = self._run(f"w{number}")
        except Exception:
            _LOG.exception("worker %d failed", number)
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _heed(self, reader: int) -> None:
        """Do what the signals that have come ask for."""
        try:
            numbers = os.read(reader, 4096)
        except BlockingIOError:
            numbers = b""
        for number in numbers:
            if number in {signal.SIGTERM, signal.SIGINT}:
                self._stop()
            elif number == signal.SIGHUP:
                self._tell(signal.SIGHUP)
        if self._is_stopping and time.monotonic() > self._kill_at:
            self._tell(signal.SIGKILL)

    def _stop(self) -> None:
        if not self._is_stopping:
            self._is_stopping = True
            self._due.clear()
            self._kill_at = time.monotonic() + self._drain_s + _PATIENCE_S
        self._tell(signal.SIGTERM)

    def _tell(self, number: signal.Signals) -> None:
        for pid in self._pids:
            os.kill(pid, number)

    def _reap(self) -> None:
        while self._pids:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            number, started = self._pids.pop(pid, (-1, 0.0))
            if number < 0 or self._is_stopping:
                continue
            age_s = time.monotonic() - started
            code = os.waitstatus_to_exitcode(status)
            if code == 2:  # wrong settings: starting again would not help
                self._is_failed = True
                self._stop()
                continue
            _LOG.error("worker %d ended and is started again", number, extra={"exit_code": code})
            self._due[number] = time.monotonic() + (0.0 if age_s > _YOUNG_S else _YOUNG_S)


def hold_signals() -> None:
    """Let signals wait until `run_worker` heeds them: before that they would end the process, or be lost."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD)


def _nothing(number: int, frame: FrameType | None) -> None:
    """The pipe tells of the signal."""
