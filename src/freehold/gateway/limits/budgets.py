"""Limits of keys that hold over all workers: reserve before the call, reconcile after it, no lock in between.

Each worker spends from slices that it leases (see `slices`), and asks the database only when a slice is used up.
Once a second it tells what was spent, renews its leases and gives back what it does not need.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from sqlalchemy.exc import SQLAlchemyError

from freehold.gateway.limits.estimate import tokens_used, usd_units
from freehold.gateway.limits.keys import Principal, Refusal, refusal_of_scope
from freehold.gateway.limits.limit_headers import limit_headers
from freehold.gateway.limits.over_limit import UNREACHABLE, exhausted, too_large, unpriced
from freehold.gateway.limits.slices import Ask, Purse, Slice, first_lacking, fits
from freehold.state.spending import Claim, forget_old_windows, forget_slices, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from decimal import Decimal

    from sqlalchemy import Engine

    from freehold.core.chat import Usage
    from freehold.gateway.http.headers import Header
    from freehold.gateway.limits.estimate import Estimate
    from freehold.state.spending import Lease

LEASE_S = 15.0
"""Seconds after which what a dead worker held is free again."""
REPORT_S = 1.0
"""Seconds between two reports of a worker."""

_USABLE_S = LEASE_S * 2 / 3
"""A worker stops spending from a lease before it ends: clocks of several machines may differ by the rest."""
_RENEW_BEFORE_S = LEASE_S / 3
_ASK_AGAIN_S = 0.2
_PATIENCE_S = 2.0
_LAST_WORD_S = 5.0
_BATCH = 100
_ROUNDS = 3
_FORGET_EVERY_S = 3_600.0


class Reservation:
    """What one call may use. It ends by `reconcile` or `release`, whichever comes first."""

    __slots__ = ("_is_open", "_parts", "has_output", "slices")

    def __init__(self, parts: tuple[tuple[Slice, int], ...] = (), *, has_output: bool = True) -> None:
        """Of each slice, the amount that is reserved; embeddings, for one, have no output to count."""
        self.has_output = has_output
        self.slices = tuple(one for one, _ in parts)
        """Of all limits of the key."""
        self._parts = parts
        self._is_open = True

    def close(self) -> tuple[tuple[Slice, int], ...]:
        """The parts, once; nothing the second time."""
        if not self._is_open:
            return ()
        self._is_open = False
        return self._parts


class Budgets:
    """What the keys may still use, as far as this worker is concerned. For one event loop."""

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        """Lease from `engine`; `clock` tells the time of day, `ticks` the time that passes, both in seconds."""
        self._engine = engine
        self._clock = clock
        self._ticks = ticks
        self._purses: dict[str, Purse] = {}
        self._settling: dict[str, asyncio.Task[bool]] = {}
        self._forget_at = 0.0
        self._reports: asyncio.Task[None] | None = None
        # Two threads: a report of many keys does not keep a call from its lease.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="budgets")

    async def __aenter__(self) -> Self:
        """Begin to report."""
        self._reports = asyncio.create_task(self._report_for_ever())
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Tell what was spent and give back the rest. Calls under way keep what they reserved until it expires."""
        if self._reports is not None:
            self._reports.cancel()
            with suppress(asyncio.CancelledError):
                await self._reports
        if self._settling:
            await asyncio.wait({*self._settling.values()}, timeout=_PATIENCE_S)
        for purse in self._purses.values():
            purse.expect_nothing()
        with suppress(TimeoutError):  # without the database the leases expire by themselves
            await asyncio.wait_for(self._settle_all([*self._purses.values()]), _LAST_WORD_S)
        self._threads.shutdown(wait=False)

    async def _settle_all(self, purses: Sequence[Purse]) -> None:
        for start in range(0, len(purses), _BATCH):
            await self._settle_batch([claim for one in purses[start : start + _BATCH] for claim in one.claims()])

    async def reserve(
        self, principal: Principal, task: str, model: str | None, estimate: Estimate
    ) -> Reservation | Refusal:
        """Room for one call within the key's scope and limits, or why there is none.

        A request without a body asks no model for anything; it needs to name none.

        Nothing is waited for while this worker's slices last.

        Returns:
            A reservation, to be reconciled or released exactly once, or a refusal: 403 outside the key's scope and
            for a model without a price where dollars are limited, 429 over a limit, 503 while the database is away.
        """
        refusal = refusal_of_scope(principal, task, model, needs_model=estimate.body_bytes > 0)
        if refusal is not None or not principal.limits or principal.key_id is None:
            return refusal or Reservation()
        purse = self._purses.get(principal.key_id)
        if purse is None:
            purse = self._purses[principal.key_id] = Purse(principal.key_id)
        asks = []
        for one in purse.turn_to(principal.limits, self._clock()):
            amounts = estimate.amounts(one.account.measure)
            if amounts is None:
                return unpriced(principal, model)
            if amounts[0] > one.account.limit:
                return self._refused(purse, too_large(principal, one, amounts[0]))
            asks.append(Ask(one, *amounts))
        has_output = estimate.most_output_tokens != 0
        now = self._ticks()
        if fits(asks, now):
            return Reservation(_taken(asks, now), has_output=has_output)
        refusal = await self._make_room(principal, purse, asks)
        if refusal is not None:
            return self._refused(purse, refusal)
        return Reservation(_taken(asks, self._ticks()), has_output=has_output)

    def _refused(self, purse: Purse, refusal: Refusal) -> Refusal:
        return replace(refusal, headers=limit_headers(purse.current, self._clock()))

    def headers(self, reservation: Reservation) -> tuple[Header, ...]:
        """What is left of the limits that a call is made under."""
        return limit_headers(reservation.slices, self._clock())

    def reconcile(self, reservation: Reservation, usage: Usage | None, cost_usd: Decimal | None) -> None:
        """Book what a call really used in place of what was reserved for it.

        Args:
            reservation: Of the call. Reconciled twice it counts once.
            usage: Tokens; what was not counted is charged as it was reserved.
            cost_usd: None: unknown, charged as it was reserved.
        """
        tokens = tokens_used(usage, has_output=reservation.has_output)
        for one, amount in reservation.close():
            match one.account.measure:
                case "requests":
                    used = amount
                case "tokens":
                    used = amount if tokens is None else tokens
                case "usd":
                    used = amount if cost_usd is None else usd_units(cost_usd)
            one.give_back(amount, max(0, used))

    def release(self, reservation: Reservation) -> None:
        """End the reservation of a call that was never forwarded: it counts for nothing."""
        for one, amount in reservation.close():
            one.give_back(amount, 0)

    async def _make_room(self, principal: Principal, purse: Purse, asks: Sequence[Ask]) -> Refusal | None:
        """Ask the database for larger slices; None if there is room now, at least for the least."""
        for ask in asks:
            ask.slice.asked += ask.most
        is_away = False
        try:
            for _ in range(_ROUNDS):
                if fits(asks, self._ticks()) or self._is_hopeless(asks):
                    break
                if not await self._settled(purse):
                    is_away = True
                    break
        finally:
            for ask in asks:
                ask.slice.asked -= ask.most
        lacking = first_lacking(asks, self._ticks())
        if lacking is None:
            return None
        return UNREACHABLE if is_away else exhausted(principal, lacking, self._clock())

    def _is_hopeless(self, asks: Sequence[Ask]) -> bool:
        """Some limit is known to be used up: by calls that are over, or for the moment."""
        now = self._ticks()
        return any(
            ask.slice.free(now) < ask.most
            and (ask.slice.known_spent >= ask.slice.account.limit or now < ask.slice.ask_again)
            for ask in asks
        )

    async def _settled(self, purse: Purse) -> bool:
        """Wait until the purse was settled once, by whoever asked; False if the database did not answer in time."""
        running = self._settling.get(purse.key_id)
        if running is None or running.done():
            running = self._begin_to_settle(purse.claims())
        done, _ = await asyncio.wait({running}, timeout=_PATIENCE_S)
        return bool(done) and running.result()

    def _begin_to_settle(self, claims: Sequence[tuple[Slice, Claim]]) -> asyncio.Task[bool]:
        """Settle beside the calls. Until it is done nothing else settles these keys: two answers would cross."""
        task = asyncio.create_task(self._settle_batch(claims))
        keys = {claim.account.key_id for _, claim in claims}
        self._settling.update(dict.fromkeys(keys, task))

        def forget(_: asyncio.Task[bool]) -> None:
            for key in keys:
                if self._settling.get(key) is task:
                    del self._settling[key]

        task.add_done_callback(forget)
        return task

    async def _settle_batch(self, claims: Sequence[tuple[Slice, Claim]]) -> bool:
        """Settle; False, with nothing changed here, if the database cannot be reached."""
        if not claims:
            return True
        usable_until = self._ticks() + _USABLE_S
        told = [claim for _, claim in claims]
        try:
            leases = await asyncio.get_running_loop().run_in_executor(self._threads, self._settle_twice, told)
        except SQLAlchemyError:
            return False
        now = self._ticks()
        for (one, claim), lease in zip(claims, leases, strict=True):
            one.obey(claim, lease, usable_until=usable_until)
            if lease.held < claim.needed:
                one.ask_again = now + _ASK_AGAIN_S
        return True

    def _settle_twice(self, claims: Sequence[Claim]) -> list[Lease]:
        """Settle; once more if the connection was cut. It cannot count twice, as claims tell totals."""
        try:
            return settle(self._engine, claims, at=self._clock(), lease_s=LEASE_S)
        except SQLAlchemyError:
            return settle(self._engine, claims, at=self._clock(), lease_s=LEASE_S)

    async def _report_for_ever(self) -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            await self.report()

    async def report(self) -> None:
        """Tell what was spent since the last report, renew leases and give back what is not needed."""
        batch: list[tuple[Slice, Claim]] = []
        over: list[str] = []
        for key_id, purse in list(self._purses.items()):
            if key_id in self._settling:
                continue  # a call is asking for more, and tells what was spent by the way
            over += purse.drop_settled()
            if purse.is_empty:
                del self._purses[key_id]
            batch += purse.claims_to_report(self._ticks(), _RENEW_BEFORE_S)
            if len(batch) >= _BATCH:
                await asyncio.wait({self._begin_to_settle(batch)})
                batch = []
        if batch:
            await asyncio.wait({self._begin_to_settle(batch)})
        await self._forget(over)

    async def _forget(self, holders: Sequence[str]) -> None:
        loop = asyncio.get_running_loop()
        with suppress(SQLAlchemyError):  # what stays is deleted with its window
            for start in range(0, len(holders), _BATCH):
                some = holders[start : start + _BATCH]
                await loop.run_in_executor(self._threads, forget_slices, self._engine, some)
            if self._clock() >= self._forget_at:
                self._forget_at = self._clock() + _FORGET_EVERY_S
                await loop.run_in_executor(self._threads, lambda: forget_old_windows(self._engine, at=self._clock()))


def _taken(asks: Sequence[Ask], now: float) -> tuple[tuple[Slice, int], ...]:
    parts = []
    for ask in asks:
        amount = min(ask.most, ask.slice.free(now))
        ask.slice.take(amount)
        parts.append((ask.slice, amount))
    return tuple(parts)
