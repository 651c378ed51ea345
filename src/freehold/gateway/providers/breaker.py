"""A circuit breaker: a provider that fails again and again is left alone for a while."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_FAILURES = 5
"""In a row; with the last one the provider begins to rest."""
_FIRST_PAUSE_S = 2.0
_LONGEST_PAUSE_S = 60.0


class Breaker:
    """Counts failures in a row. After five the provider rests; then one call at a time tries whether it is back."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        note: Callable[[int, float], None] = lambda _failures, _rests_s: None,
    ) -> None:
        """`clock` tells seconds that never go back; `note` is told failures in a row and how long it rests (s)."""
        self._clock = clock
        self._note = note
        self._failures = 0
        self._pause_s = _FIRST_PAUSE_S
        self._closed_until = 0.0
        self._is_probed = False

    @property
    def wait_s(self) -> float:
        """Seconds until a call may be tried; 0 if one may be tried now."""
        if self._failures < MOST_FAILURES:
            return 0.0
        left = self._closed_until - self._clock()
        if left <= 0 and self._is_probed:
            return self._pause_s
        return max(0.0, left)

    def admit(self) -> bool:
        """A call is about to be made. False: not to this provider now."""
        if self._failures < MOST_FAILURES:
            return True
        if self.wait_s > 0:
            return False
        self._is_probed = True
        return True

    def succeeded(self) -> None:
        """The provider answered, be it with a refusal."""
        if self._failures:
            self._note(0, 0.0)
        self._failures = 0
        self._pause_s = _FIRST_PAUSE_S
        self._is_probed = False

    def failed(self) -> None:
        """The provider could not be reached, broke off, stalled, or answered that it is broken."""
        self._failures += 1
        if self._failures == MOST_FAILURES or self._is_probed:
            self._closed_until = self._clock() + self._pause_s
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        self._is_probed = False
        self._note(self._failures, max(0.0, self._closed_until - self._clock()))

    def let_go(self) -> None:
        """The call ended without telling anything of the provider: its client left."""
        self._is_probed = False
