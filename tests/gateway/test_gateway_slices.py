"""Slices of a budget: whatever workers do at once, a limit holds beyond the documented slack alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import Engine, Row, create_engine, func, select
from sqlalchemy.pool import StaticPool

from freehold.gateway.limits.slices import Ask, Purse, Slice, first_lacking, fits
from freehold.state.limits import Limit
from freehold.state.schema import LEASES, SPENDING
from freehold.state.spending import Claim, Lease, settle

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMIT = 1_000
LEASE_S = 15.0
USABLE_S = 10.0
MIDNIGHT = 1_795_392_000.0


def memory() -> Engine:
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    SPENDING.create(engine)
    LEASES.create(engine)
    return engine


@dataclass
class Worker:
    """What `Budgets` does, one step at a time."""

    engine: Engine
    limits: tuple[Limit, ...] = (Limit("tokens", "day", LIMIT),)
    purse: Purse = field(default_factory=lambda: Purse("key"))
    calls: list[tuple[Slice, int]] = field(default_factory=list)
    untold: tuple[list[tuple[Slice, Claim]], list[Lease]] | None = None

    def slice_at(self, now: float) -> Slice:
        return self.purse.turn_to(self.limits, now)[0]

    def settle(self, now: float) -> None:
        self.tell(now)
        self.hear(now)

    def tell(self, now: float) -> None:
        claims = self.purse.claims()
        self.untold = claims, settle(self.engine, [claim for _, claim in claims], at=now, lease_s=LEASE_S)

    def hear(self, now: float) -> None:
        assert self.untold is not None
        for (one, claim), lease in zip(*self.untold, strict=True):
            one.obey(claim, lease, usable_until=now + USABLE_S)
        self.untold = None

    def take(self, ask: Ask, now: float) -> bool:
        if first_lacking([ask], now) is not None:
            return False
        amount = min(ask.most, ask.slice.free(now))
        ask.slice.take(amount)
        self.calls.append((ask.slice, amount))
        return True

    def begin(self, least: int, most: int, now: float) -> bool:
        ask = Ask(self.slice_at(now), least, most)
        if not fits([ask], now) and self.untold is None:
            ask.slice.asked += most
            self.settle(now)
            ask.slice.asked -= most
        return self.take(ask, now)

    def end(self, share: float) -> int:
        one, amount = self.calls.pop(0)
        used = int(amount * share)
        one.give_back(amount, used)
        return used

    @property
    def reserved(self) -> int:
        return sum(amount for _, amount in self.calls)


class Budget(RuleBasedStateMachine):
    """Three workers share a limit; answers of the database come late, twice or never; workers die."""

    @initialize()
    def begin(self) -> None:
        self.now = MIDNIGHT + 10
        self.engine = memory()
        self.workers = [Worker(self.engine) for _ in range(3)]
        self.used = 0
        self.slack = 0

    def teardown(self) -> None:
        if not hasattr(self, "workers"):
            return
        for worker in self.workers:
            if worker.untold is not None:
                worker.hear(self.now)
            while worker.calls:
                self.used += worker.end(1.0)
            worker.purse.expect_nothing()
            worker.settle(self.now)
        self.limit_holds()
        with self.engine.connect() as connection:
            row = connection.execute(select(SPENDING)).mappings().one_or_none()
            held = connection.execute(select(func.coalesce(func.sum(LEASES.c.leased), 0))).scalar()
        if row is not None:
            assert row["leased"] == held
            assert self.used - self.slack <= row["spent"] <= self.used
        self.engine.dispose()

    workers_of_three = st.integers(0, 2)

    @rule(who=workers_of_three, least=st.integers(1, 60), more=st.sampled_from([0, 10, 100, 2 * LIMIT]))
    def call(self, who: int, least: int, more: int) -> None:
        self.workers[who].begin(least, least + more, self.now)

    @rule(who=workers_of_three, share=st.sampled_from([0.0, 0.01, 0.5, 1.0]))
    def answer(self, who: int, share: float) -> None:
        if self.workers[who].calls:
            self.used += self.workers[who].end(share)

    @rule(who=workers_of_three, times=st.integers(1, 20))
    def short_calls(self, who: int, times: int) -> None:
        """One after the other, as they come while a report is under way."""
        worker = self.workers[who]
        for _ in range(times):
            if not worker.calls and worker.begin(10, 10, self.now):
                self.used += worker.end(1.0)

    @rule(who=workers_of_three)
    def report_is_sent(self, who: int) -> None:
        worker = self.workers[who]
        if worker.untold is None:
            worker.slice_at(self.now)
            worker.tell(self.now)

    @rule(who=workers_of_three)
    def report_is_answered(self, who: int) -> None:
        if self.workers[who].untold is not None:
            self.workers[who].hear(self.now)

    @rule(who=workers_of_three)
    def report_is_sent_twice_as_the_first_answer_is_lost(self, who: int) -> None:
        worker = self.workers[who]
        if worker.untold is not None:
            claims = worker.untold[0]
            leases = settle(self.engine, [claim for _, claim in claims], at=self.now, lease_s=LEASE_S)
            worker.untold = claims, leases

    @rule(who=workers_of_three)
    def answer_is_lost(self, who: int) -> None:
        self.workers[who].untold = None

    @rule(seconds=st.floats(0.1, 4))
    def time_passes(self, seconds: float) -> None:
        for worker in self.workers:
            if worker.untold is not None:
                worker.hear(self.now)
            if worker.purse.current:
                worker.purse.claims_to_report(self.now, LEASE_S)
                worker.settle(self.now)
        self.now += seconds

    @rule(who=workers_of_three)
    def worker_dies(self, who: int) -> None:
        worker = self.workers[who]
        untold = sum(one.spent for one in worker.purse.current) - self.told_by(worker)
        self.slack += untold + worker.reserved
        assert untold + worker.reserved <= self.leased_to(worker)
        self.used += worker.reserved  # the provider answers to nobody, and bills it
        self.workers[who] = Worker(self.engine)

    def told_by(self, worker: Worker) -> int:
        return sum(lease.spent for lease in self.leases_of(worker))

    def leased_to(self, worker: Worker) -> int:
        return sum(lease.leased for lease in self.leases_of(worker))

    def leases_of(self, worker: Worker) -> Sequence[Row[Any]]:  # Any: columns
        holders = [one.holder for one in worker.purse.current]
        with self.engine.connect() as connection:
            return connection.execute(select(LEASES).where(LEASES.c.holder.in_(holders))).all()

    @precondition(lambda self: self.slack > 0)
    @rule()
    def leases_of_the_dead_expire(self) -> None:
        for _ in range(5):
            self.time_passes(4.0)

    @invariant()
    def limit_holds(self) -> None:
        if hasattr(self, "workers"):
            assert self.used + sum(worker.reserved for worker in self.workers) <= LIMIT + self.slack


Budget.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestBudget = Budget.TestCase


@pytest.fixture
def engine() -> Engine:
    return memory()


def test_a_lone_worker_can_use_the_whole_limit(engine: Engine) -> None:
    worker = Worker(engine)
    admitted = sum(worker.begin(1, 1, MIDNIGHT) for _ in range(LIMIT + 50))
    assert admitted == LIMIT


def test_workers_that_spend_in_turn_can_use_the_whole_limit(engine: Engine) -> None:
    workers = [Worker(engine) for _ in range(4)]
    admitted = 0
    for _ in range(LIMIT // 10):
        for worker in workers:
            admitted += worker.begin(10, 10, MIDNIGHT)
            if worker.calls:
                worker.end(1.0)
            worker.purse.claims_to_report(MIDNIGHT, 0)  # a report a call: what is not needed goes back
            worker.settle(MIDNIGHT)
    assert admitted == LIMIT // 10


def test_asking_is_rare_when_the_limit_is_far(engine: Engine) -> None:
    worker = Worker(engine, limits=(Limit("requests", "day", 1_000_000),))
    asked = 0
    for _ in range(10_000):
        ask = Ask(worker.slice_at(MIDNIGHT), 1, 1)
        asked += not fits([ask], MIDNIGHT)
        assert worker.begin(1, 1, MIDNIGHT)
        worker.end(1.0)
    assert asked < 20


def test_what_is_held_and_not_needed_goes_back(engine: Engine) -> None:
    worker, other = Worker(engine), Worker(engine)
    for _ in range(70):
        worker.begin(1, 1, MIDNIGHT)
        worker.end(1.0)
    assert worker.slice_at(MIDNIGHT).unspent > 0
    for _ in range(3):
        worker.purse.claims_to_report(MIDNIGHT, 0)
        worker.settle(MIDNIGHT)
    assert worker.slice_at(MIDNIGHT).unspent == 0
    assert other.begin(900, 900, MIDNIGHT)


def test_what_a_worker_wishes_for_calls_to_come_is_not_given_away_while_it_reports(engine: Engine) -> None:
    worker, other = Worker(engine), Worker(engine)
    for _ in range(10):
        assert worker.begin(20, 20, MIDNIGHT)
    while worker.calls:
        worker.end(0.0)  # it holds 200 or more, and expects calls that need as much
    held = worker.slice_at(MIDNIGHT)
    held.used_now = 200
    worker.tell(MIDNIGHT)
    assert other.begin(1, 2 * LIMIT, MIDNIGHT)
    assert worker.begin(200, 200, MIDNIGHT)  # from what it held when it told
    worker.hear(MIDNIGHT)
    assert worker.reserved + other.reserved <= LIMIT


def test_what_a_worker_gives_back_it_does_not_spend_while_it_reports(engine: Engine) -> None:
    worker, other = Worker(engine), Worker(engine)
    assert worker.begin(500, 500, MIDNIGHT)
    worker.end(0.0)
    worker.purse.expect_nothing()
    worker.tell(MIDNIGHT)
    assert other.begin(LIMIT, LIMIT, MIDNIGHT)
    assert not worker.begin(500, 500, MIDNIGHT)
    worker.hear(MIDNIGHT)
    assert not worker.begin(1, 1, MIDNIGHT)


def test_more_than_was_reserved_is_booked_and_paid_by_later_calls(engine: Engine) -> None:
    worker = Worker(engine)
    assert worker.begin(10, 2_000, MIDNIGHT)  # all that is left is reserved
    assert worker.reserved == LIMIT
    one, amount = worker.calls.pop()
    one.give_back(amount, 1_400)
    assert not worker.begin(1, 1, MIDNIGHT)
    assert one.spent_by_all == 1_400


def test_a_call_counts_in_the_window_in_which_it_began(engine: Engine) -> None:
    worker = Worker(engine, limits=(Limit("tokens", "minute", 100),))
    assert worker.begin(100, 100, MIDNIGHT + 59)
    assert worker.begin(100, 100, MIDNIGHT + 61)
    assert not worker.begin(1, 1, MIDNIGHT + 61)
    worker.end(0.5)
    worker.settle(MIDNIGHT + 62)
    assert not worker.begin(1, 1, MIDNIGHT + 62)
    assert worker.begin(1, 1, MIDNIGHT + 120)


def test_a_clock_that_goes_back_finds_its_old_window(engine: Engine) -> None:
    worker = Worker(engine, limits=(Limit("tokens", "minute", 100),))
    assert worker.begin(100, 100, MIDNIGHT + 30)
    assert worker.begin(60, 60, MIDNIGHT + 90)
    for now in (MIDNIGHT + 30, MIDNIGHT + 90):
        assert not worker.begin(50, 50, now)


def test_slices_of_windows_that_are_over_are_dropped_once_told(engine: Engine) -> None:
    worker = Worker(engine, limits=(Limit("tokens", "minute", 100),))
    worker.begin(10, 10, MIDNIGHT)
    first = worker.slice_at(MIDNIGHT)
    worker.slice_at(MIDNIGHT + 60)
    assert worker.purse.drop_settled() == []  # a call is under way
    worker.end(1.0)
    worker.settle(MIDNIGHT + 61)
    worker.purse.claims_to_report(MIDNIGHT + 61, 0)
    worker.settle(MIDNIGHT + 61)
    assert worker.purse.drop_settled() == [first.holder]
    assert not worker.purse.is_empty


def test_an_idle_purse_is_emptied(engine: Engine) -> None:
    worker = Worker(engine)
    worker.begin(10, 10, MIDNIGHT)
    worker.end(1.0)
    dropped: Sequence[str] = ()
    for _ in range(20):
        dropped = [*dropped, *worker.purse.drop_settled()]
        worker.purse.claims_to_report(MIDNIGHT, 0)
        worker.settle(MIDNIGHT)
    assert len(dropped) == 1
    assert worker.purse.is_empty
    assert worker.begin(LIMIT - 10, LIMIT - 10, MIDNIGHT)
    assert not worker.begin(1, 1, MIDNIGHT)
