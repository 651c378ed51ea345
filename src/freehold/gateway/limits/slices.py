"""A worker's own part of a key's limits: spent from memory, without a lock and without asking anyone.

A slice is what this worker leases of one limit in one window. A purse holds the slices of one key. Both are plain
arithmetic: `budgets` asks the database and tells them what it said.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from freehold.state.spending import Account, Claim, window_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from freehold.state.limits import Limit
    from freehold.state.spending import Lease

_IDLE_REPORTS = 10
"""Reports without a call after which a key's slices are given back and forgotten."""


class Slice:
    """This worker's part of one limit in one window. Amounts are in the limit's unit."""

    __slots__ = (
        "account",
        "ask_again",
        "asked",
        "booked",
        "ends",
        "held",
        "holder",
        "reserved",
        "spent",
        "spent_by_all",
        "usable_until",
        "used_before",
        "used_now",
    )

    def __init__(self, account: Account, ends: float) -> None:
        """Hold nothing yet of an account whose window ends at `ends`, in seconds since 1970."""
        self.account = account
        self.holder = uuid.uuid4().hex
        self.ends = ends
        self.held = 0
        """Leased when `booked` was told."""
        self.booked = 0
        """Of `spent`, what the database knows."""
        self.spent = 0
        """By this worker in this window, all told."""
        self.reserved = 0
        """For calls under way."""
        self.asked = 0
        """By calls that wait for a larger slice."""
        self.spent_by_all = 0
        """By all workers when they were last heard of; it only grows."""
        self.usable_until = float("-inf")
        """When the lease must be renewed, in seconds of the clock that never goes back."""
        self.ask_again = float("-inf")
        """Until then the database will not have more than it had."""
        self.used_now = 0
        self.used_before = 0

    @property
    def known_spent(self) -> int:
        """By all workers, as far as this one knows: a lower bound."""
        return self.spent_by_all + self.spent - self.booked

    @property
    def unspent(self) -> int:
        """Of the lease, what is not spent; reserved or not. Below 0 when calls used more than was reserved."""
        return self.held - (self.spent - self.booked)

    def free(self, now: float) -> int:
        """What the next call may reserve."""
        return self.unspent - self.reserved if now < self.usable_until else 0

    def take(self, amount: int) -> None:
        """Reserve."""
        self.reserved += amount
        self.used_now += amount

    def give_back(self, amount: int, used: int) -> None:
        """A call that had reserved `amount` used `used`."""
        self.reserved -= amount
        self.spent += used
        self.used_now += used - amount

    def claim(self) -> Claim:
        """What to tell and to ask. From now on no more than that is spent, whatever the lease was before."""
        needed = self.reserved + self.asked
        wished = 2 * max(self.used_now, self.used_before)
        surplus = self.unspent - needed - wished
        if surplus > 0:
            self.held -= surplus
        return Claim(account=self.account, holder=self.holder, spent=self.spent, needed=needed, wished=wished)

    def obey(self, claim: Claim, lease: Lease, *, usable_until: float) -> None:
        """Spend from the new lease, which was given for what had been told in `claim`."""
        self.booked = claim.spent
        self.held = lease.held
        self.spent_by_all = lease.spent
        self.usable_until = usable_until

    def turn_page(self) -> None:
        """A report is over: what was used since the last one is what the next one is expected to need."""
        self.used_before, self.used_now = max(0, self.used_now), 0

    @property
    def is_settled(self) -> bool:
        """Nothing is held, under way or untold."""
        return not (self.held or self.reserved or self.asked or self.spent != self.booked)

    def wants_report(self, now: float, renew_before_s: float) -> bool:
        """There is something to tell, a lease to renew or a surplus to give back."""
        if self.spent != self.booked:
            return True
        needed = self.reserved + self.asked
        if needed and self.usable_until - now < renew_before_s:
            return True
        return self.unspent > needed + 2 * max(self.used_now, self.used_before)


@dataclass(frozen=True, slots=True)
class Ask:
    """What a call wants of one slice."""

    slice: Slice
    least: int
    """It is not made if less is left."""
    most: int
    """What is reserved for it where there is room."""


class Purse:
    """The slices of one key, those of windows that are over but have calls under way included."""

    __slots__ = ("_ends", "_idle", "_past", "current", "key_id", "limits")

    def __init__(self, key_id: str) -> None:
        """Hold no slice yet."""
        self.key_id = key_id
        self.limits: tuple[Limit, ...] = ()
        self.current: tuple[Slice, ...] = ()
        """One per limit, in their order."""
        self._past: list[Slice] = []
        self._ends = float("-inf")
        self._idle = 0

    def turn_to(self, limits: tuple[Limit, ...], at: float) -> tuple[Slice, ...]:
        """Slices of the windows that hold the moment `at`, in seconds since 1970."""
        self._idle = 0
        if at < self._ends and limits is self.limits:
            return self.current
        known = {_place(one.account): one for one in (*self.current, *self._past)}
        slices = []
        for limit in limits:
            window = window_of(limit.period, at)
            account = Account(self.key_id, limit.measure, limit.period, window.starts_at, limit.amount)
            one = known.pop(_place(account)) if _place(account) in known else Slice(account, window.ends)
            one.account = account
            slices.append(one)
        self._past = list(known.values())
        self.limits = limits
        self.current = tuple(slices)
        self._ends = min((one.ends for one in slices), default=float("inf"))
        return self.current

    def claims(self) -> list[tuple[Slice, Claim]]:
        """Of all slices that are not settled, and of those that calls wait for."""
        return [(one, one.claim()) for one in (*self.current, *self._past) if not one.is_settled]

    def claims_to_report(self, now: float, renew_before_s: float) -> list[tuple[Slice, Claim]]:
        """Of the slices that have something to tell; a new page is turned for all."""
        for one in self._past:
            one.used_now = one.used_before = 0  # no call will come
        told = [one for one in (*self.current, *self._past) if one.wants_report(now, renew_before_s)]
        self._idle = 0 if told else self._idle + 1
        claims = [(one, one.claim()) for one in told]
        for one in self.current:
            one.turn_page()
        return claims

    def drop_settled(self) -> list[str]:
        """Forget slices that no call will use; their holders' names. All, when no call came for a while."""
        is_idle = self._idle >= _IDLE_REPORTS and all(one.is_settled for one in (*self.current, *self._past))
        over = [one for one in self._past if one.is_settled] + (list(self.current) if is_idle else [])
        self._past = [one for one in self._past if not one.is_settled]
        if is_idle:
            self.current = ()
            self._ends = float("-inf")
        return [one.holder for one in over]

    def expect_nothing(self) -> None:
        """No call will come: the next claims give back all that is not reserved."""
        for one in (*self.current, *self._past):
            one.used_now = one.used_before = 0

    @property
    def is_empty(self) -> bool:
        """It holds no slice."""
        return not (self.current or self._past)


def _place(account: Account) -> tuple[str, str, str]:
    return account.measure, account.period, account.starts_at


def fits(asks: Iterable[Ask], now: float) -> bool:
    """There is room for the most that the call may use."""
    return all(ask.slice.free(now) >= ask.most for ask in asks)


def first_lacking(asks: Sequence[Ask], now: float) -> Ask | None:
    """The first limit that has not even room for the least; None if the call can be made."""
    return next((ask for ask in asks if ask.slice.free(now) < ask.least), None)
