"""Several worker processes on one socket, each started again when it dies, and companions that do other work.

Workers are forked, so they share what was imported. A worker that dies takes its own calls along and nobody else's:
what it had recorded is in its segments. There is no health check by time-out: a busy worker is not a dead one.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import select
import signal
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import FrameType

_LOG = logging.getLogger(__name__)
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
HELD = frozenset((signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
_YOUNG_S = 1.0
"""A worker that dies younger than this is not started again at once."""
_PATIENCE_S = 5.0
"""Beyond the time to drain, before workers are killed."""
_COMPANIONS_AFTER_S = 1.0
"""They start when the workers have: what they import takes longer than those do."""
_COMPANIONS_PATIENCE_S = 30.0
"""For their last work, after the last worker has ended."""
_FAILED = 1
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


@dataclass(frozen=True, slots=True)
class Companion:
    """A process beside the workers, which ends after the last of them."""

    name: str
    work: Callable[[Stop], None]
    """Works in a process of its own until it is told to stop."""
    after_s: float = _COMPANIONS_AFTER_S
    """Seconds after the workers; a gateway that is stopped before that does without it."""
    heeds_reload: bool = False
    """It is told to stop at a reload, and started again with what is new."""


class Workers:
    """The parent of the workers. It answers no calls itself."""

    def __init__(
        self,
        count: int,
        run: Callable[[str], int],
        *,
        drain_s: float,
        companions: Sequence[Companion] = (),
        reload: Callable[[], bool] = lambda: True,
    ) -> None:
        """Take what a worker does.

        Args:
            count: Workers.
            run: Does a worker's work, given its name, in the worker's process; returns its exit code.
            drain_s: Time that workers take to end when they are told to.
            companions: Work in processes of their own until the last worker ended.
            reload: Called at SIGHUP, in the parent; False: there is nothing that workers should know.
        """
        self._count = count
        self._run = run
        self._drain_s = drain_s
        self._companions = {-1 - index: companion for index, companion in enumerate(companions)}
        """By number: below 0, where workers have theirs from 0."""
        self._reload = reload
        self._pids: dict[int, tuple[int, float]] = {}
        """Process -> its number, and when it was started."""
        self._due: dict[int, float] = {}
        """Number of a worker that is missing -> when it is started again."""
        self._pipes: dict[int, int] = {}
        """Number of a companion -> what tells it to stop by being closed."""
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
        gc.collect()
        gc.freeze()  # what is shared stays shared: the collector would write into every object
        try:
            self._due = dict.fromkeys(range(self._count), 0.0)
            now = time.monotonic()
            self._due.update({number: now + one.after_s for number, one in self._companions.items()})
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
        now, parent = time.monotonic(), os.getpid()
        for number in [number for number, at in self._due.items() if at <= now and not self._is_stopping]:
            del self._due[number]
            hold_signals()  # none may come to a worker that does not know yet what to do with it
            told, tell = os.pipe() if number in self._companions else (None, None)
            pid = os.fork()
            if pid == 0:
                for descriptor in (*pipe, tell, *self._pipes.values()):
                    if descriptor is not None:
                        os.close(descriptor)
                self._become_child(number, handlers, parent, None if told is None else Stop(told))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
            self._pids[pid] = (number, now)
            if told is not None and tell is not None:
                os.close(told)
                self._pipes[number] = tell

    def _become_child(
        self, number: int, handlers: Mapping[signal.Signals, object], parent: int, stop: Stop | None
    ) -> None:
        code = _FAILED
        try:
            _die_with(parent)
            signal.set_wakeup_fd(-1)
            for name, handler in handlers.items():
                signal.signal(name, handler)  # type: ignore[arg-type]  # what signal.signal returned itself
            if stop is None:
                code = self._run(f"w{number}")
            else:
                self._companions[number].work(
                    stop
                )  # its signals stay held: a terminal sends them to all, but its end comes last
                code = 0
        except Exception:
            _LOG.exception("%s failed", self._name(number))
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _heed(self, reader: int) -> None:
        """Do what the signals that have come ask for."""
        try:
            numbers = os.read(reader, 4096)
        except BlockingIOError:
            numbers = b""
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            self._stop()
        elif signal.SIGHUP in numbers and not self._is_stopping and self._reload():
            self._tell(signal.SIGHUP)
            self._stop_companions([number for number, one in self._companions.items() if one.heeds_reload])
        if self._is_stopping and time.monotonic() > self._kill_at:
            self._tell(signal.SIGKILL)

    def _stop(self) -> None:
        if not self._is_stopping:
            self._is_stopping = True
            self._due.clear()
            self._kill_at = time.monotonic() + self._drain_s + _PATIENCE_S
        self._tell(signal.SIGTERM)

    def _tell(self, number: signal.Signals) -> None:
        are_alone = all(worker in self._companions for worker, _ in self._pids.values())
        for pid, (worker, _) in self._pids.items():
            if worker not in self._companions or (are_alone and number == signal.SIGKILL):
                os.kill(pid, number)

    def _stop_companions(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            pipe = self._pipes.pop(number, None)
            if pipe is not None:
                os.close(pipe)

    def _reap(self) -> None:
        while self._pids:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid not in self._pids:
                continue  # an errand of the start, not of ours
            number, started = self._pids.pop(pid)
            is_over = number in self._companions and number not in self._pipes
            self._stop_companions([number])
            if self._is_stopping:
                continue
            age_s = time.monotonic() - started
            code = os.waitstatus_to_exitcode(status)
            if code == 2:  # wrong settings: starting again would not help
                self._is_failed = True
                self._stop()
                continue
            if not is_over:
                _LOG.error("%s ended and is started again", self._name(number), extra={"exit_code": code})
            self._due[number] = time.monotonic() + (0.0 if age_s > _YOUNG_S else _YOUNG_S)
        if self._is_stopping and self._pipes and all(number in self._companions for number, _ in self._pids.values()):
            self._stop_companions(list(self._pipes))  # the last worker has ended
            self._kill_at = time.monotonic() + _COMPANIONS_PATIENCE_S

    def _name(self, number: int) -> str:
        return f"worker {number}" if number >= 0 else self._companions[number].name


class Stop:
    """Tells a child to stop: the other end of a pipe is closed."""

    def __init__(self, descriptor: int) -> None:
        """Take this end of the pipe."""
        self._descriptor = descriptor

    def fileno(self) -> int:
        """Becomes readable when it is time to stop."""
        return self._descriptor

    def wait(self, timeout_s: float) -> bool:
        """Wait so long at most; whether to stop."""
        return bool(select.select([self._descriptor], [], [], timeout_s)[0])


def hold_signals() -> None:
    """Let signals wait until `run_worker` heeds them: before that they would end the process, or be lost."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD)


def _die_with(parent: int) -> None:
    """Let the kernel end this process when its parent dies, as nobody else would: Linux alone can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(_FAILED)


def _nothing(number: int, frame: FrameType | None) -> None:
    """The pipe tells of the signal."""
