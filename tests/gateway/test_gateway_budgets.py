"""Limits of keys: over calls at once, over processes, over kills and restarts of the database."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from contextlib import suppress
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, create_engine, select, text

from freehold.core.chat import Usage
from freehold.economics.prices import Price, price_of
from freehold.gateway.limits import budgets as budgets_module
from freehold.gateway.limits.budgets import Budgets, Reservation
from freehold.gateway.limits.estimate import Estimate
from freehold.gateway.limits.keys import NOBODY, Principal, Refusal
from freehold.state.database import open_state
from freehold.state.keys import create_key
from freehold.state.limits import Limit, parse_limit
from freehold.state.schema import LEASES, SPENDING
from freehold.state.spending import forget_old_windows

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKER = Path(__file__).with_name("budget_worker.py")
NOON = 1_795_435_200.0
FREE = Usage(input_tokens=0, output_tokens=0)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def principal_of(*limits: str, **scope: Any) -> Principal:  # Any: fields of Principal
    return Principal(key_id="key-1", name="desk", limits=tuple(map(parse_limit, limits)), **scope)


def estimate(tokens: int = 10, *, output: int | None = 0, price: Price | None = None) -> Estimate:
    return Estimate(body_bytes=tokens, most_output_tokens=output, price=price)


def spent(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        return {row.measure: row.spent for row in connection.execute(select(SPENDING))}


def leased(engine: Engine) -> int:
    with engine.connect() as connection:
        return sum(row.leased for row in connection.execute(select(SPENDING)))


async def reserved(budgets: Budgets, who: Principal, what: Estimate | None = None) -> Reservation:
    found = await budgets.reserve(who, "task", "model", what or estimate())
    assert isinstance(found, Reservation), found
    return found


async def refused(budgets: Budgets, who: Principal, what: Estimate | None = None, model: str = "model") -> Refusal:
    found = await budgets.reserve(who, "task", model, what or estimate())
    assert isinstance(found, Refusal)
    return found


def test_a_key_without_limits_and_nobody_pass_without_a_question(tmp_path: Path) -> None:
    async def walk() -> None:
        budgets = Budgets(create_engine(f"sqlite:///{tmp_path / 'no-tables.db'}"))
        for who in (NOBODY, Principal(key_id="key-1")):
            budgets.reconcile(await reserved(budgets, who), None, None)

    asyncio.run(walk())


def test_what_was_reserved_gives_way_to_what_was_used(state: Engine, clock: Clock) -> None:
    who = principal_of("requests/day=10", "tokens/day=1000", "usd/day=1")
    price = price_of("openai/gpt-5.4", date(2026, 11, 1), aliases={})
    assert price is not None

    async def walk() -> None:
        async with Budgets(state, clock=clock) as budgets:
            first = await reserved(budgets, who, estimate(400, output=100, price=price))
            budgets.reconcile(first, Usage(input_tokens=90, output_tokens=20), Decimal("0.000525"))
            budgets.reconcile(first, Usage(input_tokens=90, output_tokens=20), Decimal("0.000525"))  # counts once
            unknown = await reserved(budgets, who, estimate(400, output=100, price=price))
            budgets.reconcile(unknown, None, None)
            refused_upstream = await reserved(budgets, who, estimate(300, price=price))
            budgets.reconcile(refused_upstream, FREE, Decimal(0))
            never_sent = await reserved(budgets, who, estimate(300, price=price))
            budgets.release(never_sent)
            budgets.reconcile(never_sent, None, None)

    asyncio.run(walk())
    booked = spent(state)
    assert (booked["requests"], booked["tokens"]) == (3, 110 + 500)
    rates = price.rates_for(400)
    dearest = max(rates.input_usd_per_mtok, rates.cache_write_usd_per_mtok or Decimal(0))
    # 400 tokens in and 100 out, in billionths of a dollar: a dollar per million tokens is 1,000 a token
    reserved_units = (400 * dearest + 100 * (rates.output_usd_per_mtok or 0)) * 1000
    assert booked["usd"] == 525_000 + reserved_units
    assert leased(state) == 0


@pytest.mark.parametrize(
    ("limit", "code", "retry_after_s", "message"),
    [
        ("requests/minute=2", "rate_limit_exceeded", 60, "has used up its limit of 2 requests a minute"),
        ("requests/day=2", "insufficient_quota", 12 * 3600, "limit of 2 requests a day"),
        ("requests/month=2", "insufficient_quota", 7.5 * 86_400, "limit of 2 requests a month"),
        ("tokens/day=20", "insufficient_quota", 12 * 3600, "limit of 20 tokens a day"),
        ("usd/day=0.00000005", "insufficient_quota", 12 * 3600, "limit of 0.00000005 dollars a day"),
    ],
)
def test_over_a_limit_the_answer_says_when_to_come_back(
    state: Engine,
    limit: str,
    code: str,
    retry_after_s: float,
    message: str,
) -> None:
    clock = Clock()
    used = Usage(input_tokens=10, output_tokens=0)
    price = price_of("openai/gpt-5.4", date(2026, 11, 1), aliases={})
    what = estimate(1, price=price) if limit.startswith("usd") else estimate()

    async def walk() -> Refusal:
        async with Budgets(state, clock=clock) as budgets:
            for _ in range(2):
                budgets.reconcile(await reserved(budgets, principal_of(limit), what), used, Decimal("0.000000025"))
            return await refused(budgets, principal_of(limit), what)

    refusal = asyncio.run(walk())
    assert (refusal.status, refusal.code, refusal.retry_after_s) == (429, code, retry_after_s)
    assert message in refusal.message


def test_the_next_window_is_free_again(state: Engine, clock: Clock) -> None:
    who = principal_of("requests/minute=1")

    async def walk() -> None:
        async with Budgets(state, clock=clock) as budgets:
            for _ in range(3):
                budgets.reconcile(await reserved(budgets, who), FREE, None)
                await refused(budgets, who)
                clock.now += 60

    asyncio.run(walk())


def test_calls_under_way_that_hold_the_rest_are_worth_a_second_try(state: Engine, clock: Clock) -> None:
    who = principal_of("tokens/day=100")

    async def walk() -> None:
        async with Budgets(state, clock=clock) as budgets:
            first = await reserved(budgets, who, estimate(80))
            refusal = await refused(budgets, who, estimate(90))
            assert (refusal.status, refusal.retry_after_s) == (429, 1.0)
            assert "Calls under way hold the rest" in refusal.message
            budgets.reconcile(first, FREE, None)
            await reserved(budgets, who, estimate(90))

    asyncio.run(walk())


def test_a_call_larger_than_its_limit_is_told_so_and_not_to_come_back(state: Engine) -> None:
    async def walk() -> Refusal:
        async with Budgets(state) as budgets:
            return await refused(budgets, principal_of("tokens/day=100"), estimate(40, output=500))

    refusal = asyncio.run(walk())
    assert (refusal.status, refusal.code, refusal.retry_after_s) == (429, "request_too_large", None)
    assert "may use 510 tokens" in refusal.message
    assert "ask for less output with max_tokens" in refusal.message


def test_a_picture_of_many_bytes_is_let_in_where_its_tokens_may_fit(state: Engine) -> None:
    who = principal_of("tokens/day=10000")

    async def walk() -> None:
        async with Budgets(state) as budgets:
            picture = await reserved(budgets, who, estimate(24_000_000, output=100))
            assert (await refused(budgets, who)).retry_after_s == 1.0  # it holds all there is, until it is over
            budgets.reconcile(picture, Usage(input_tokens=900, output_tokens=50), None)
            await reserved(budgets, who, estimate(9_000))

    asyncio.run(walk())


def test_what_asks_no_model_needs_neither_tokens_nor_a_price(state: Engine) -> None:
    who = principal_of("tokens/day=10", "usd/day=1", "requests/day=5")

    async def walk() -> None:
        async with Budgets(state) as budgets:
            listing = await reserved(budgets, who, estimate(0, output=None))
            budgets.reconcile(listing, None, None)

    asyncio.run(walk())
    assert spent(state) == {"requests": 1}


def test_embeddings_have_no_output_to_count(state: Engine) -> None:
    who = principal_of("tokens/day=1000")

    async def walk() -> None:
        async with Budgets(state) as budgets:
            embedding = await reserved(budgets, who, estimate(400, output=0))
            budgets.reconcile(embedding, Usage(input_tokens=80), None)
            chat = await reserved(budgets, who, estimate(400, output=20))
            budgets.reconcile(chat, Usage(input_tokens=80), None)  # nobody counted its output

    asyncio.run(walk())
    assert spent(state) == {"tokens": 80 + 420}


def test_dollars_are_limited_for_models_with_a_price_alone(state: Engine) -> None:
    async def walk() -> Refusal:
        async with Budgets(state) as budgets:
            return await refused(budgets, principal_of("usd/month=5"), model="home-made")

    refusal = asyncio.run(walk())
    assert (refusal.status, refusal.code) == (403, "price_unknown")
    assert "nobody knows what the model 'home-made' costs" in refusal.message
    assert "[prices.alias]" in refusal.message


def test_outside_its_scope_a_key_is_refused_before_any_limit(state: Engine) -> None:
    who = principal_of("requests/day=1", tasks=("support_*",), models=("gpt-5*", "claude-?"))

    async def answer(task: str, model: str | None) -> Reservation | Refusal:
        async with Budgets(state) as budgets:
            return await budgets.reserve(who, task, model, estimate())

    for task, model, code in (
        ("sales", "gpt-5.4", "task_not_allowed"),
        ("support_intent", "gpt-4o", "model_not_allowed"),
        ("support_intent", "claude-10", "model_not_allowed"),
        ("support_intent", None, "model_not_allowed"),
    ):
        refusal = asyncio.run(answer(task, model))
        assert isinstance(refusal, Refusal)
        assert (refusal.status, refusal.code) == (403, code)
        assert "'desk' may not be used for" in refusal.message
    assert isinstance(asyncio.run(answer("support_intent", "claude-4")), Reservation)


def test_a_thousand_calls_at_once_stay_within_the_limit(state: Engine) -> None:
    who = principal_of("requests/day=300", "tokens/day=100000")

    async def walk() -> int:
        admitted = 0
        async with Budgets(state) as budgets:

            async def call() -> None:
                nonlocal admitted
                found = await budgets.reserve(who, "task", "model", estimate(10))
                if isinstance(found, Reservation):
                    admitted += 1
                    await asyncio.sleep(0)
                    budgets.reconcile(found, Usage(input_tokens=10, output_tokens=0), None)

            await asyncio.gather(*(call() for _ in range(1000)))
        return admitted

    assert asyncio.run(walk()) == 300
    assert spent(state) == {"requests": 300, "tokens": 3000}
    assert leased(state) == 0


def test_workers_in_threads_share_one_limit(state: Engine) -> None:
    who = principal_of("requests/day=400")
    admitted: list[int] = []

    async def walk() -> None:
        count = 0
        async with Budgets(state) as budgets:
            for _ in range(200):
                found = await budgets.reserve(who, "task", "model", estimate())
                if isinstance(found, Reservation):
                    count += 1
                    budgets.reconcile(found, FREE, None)
        admitted.append(count)

    threads = [threading.Thread(target=lambda: asyncio.run(walk())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Eight hundred calls want four hundred places. Slices that others hold may turn the last few away.
    assert 350 <= sum(admitted) <= 400
    assert spent(state) == {"requests": sum(admitted)}


def start(url: str, secret: str, calls: int, mode: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, str(WORKER), url, secret, str(calls), mode]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def finish(worker: subprocess.Popen[str]) -> dict[str, int]:
    out, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0
    counts: dict[str, int] = json.loads(out.splitlines()[-1])
    return counts


@pytest.fixture
def shared(state_url: str) -> Iterator[Engine]:
    engine = open_state(state_url)
    yield engine
    engine.dispose()


def test_workers_in_processes_share_one_limit(shared: Engine, state_url: str) -> None:
    limits = [Limit("requests", "month", 700), Limit("tokens", "month", 6_000)]
    _, secret = create_key(shared, "desk", limits=limits)

    workers = [start(state_url, secret, 400, f"worker {number}") for number in range(3)]
    counts = [finish(worker) for worker in workers]

    admitted, tokens = (sum(count[name] for count in counts) for name in ("admitted", "tokens"))
    assert sum(count["away"] for count in counts) == 0
    assert admitted <= 700
    assert tokens <= 6_000
    assert admitted > 650 or tokens > 5_500, "what is left must not be lost in slices"
    assert spent(shared) == {"requests": admitted, "tokens": tokens}
    assert leased(shared) == 0


def test_what_a_killed_worker_held_is_free_again_when_its_lease_is_over(shared: Engine, state_url: str) -> None:
    key, secret = create_key(shared, "desk", limits=[Limit("requests", "month", 100_000)])
    worker = start(state_url, secret, 0, "endless")
    assert worker.stdout is not None
    told = [json.loads(worker.stdout.readline()) for _ in range(20)]
    worker.kill()
    worker.wait()
    rest = worker.stdout.read().splitlines()
    worker.stdout.close()
    made = json.loads(rest[-1])["admitted"] if rest and rest[-1].endswith("}") else told[-1]["admitted"]
    held = leased(shared)
    assert held > 0
    assert made <= spent(shared)["requests"] + held  # at most its slice is untold

    async def use_all(clock: Clock) -> int:
        who = Principal(key_id=key.id, limits=key.limits)
        count = 0
        async with Budgets(shared, clock=clock) as budgets:
            while isinstance(found := await budgets.reserve(who, "t", "m", estimate()), Reservation):
                budgets.reconcile(found, FREE, None)
                count += 1
        return count

    late = Clock()
    with shared.connect() as connection:
        late.now = max(row.expires_at for row in connection.execute(select(LEASES))) + 1
    before = spent(shared)["requests"]
    assert asyncio.run(use_all(late)) == 100_000 - before
    assert spent(shared)["requests"] == 100_000


def test_the_database_away_closes_limited_keys_once_their_slices_are_used(tmp_path: Path, clock: Clock) -> None:
    engine = open_state(f"sqlite:///{tmp_path / 'state.db'}")
    ticks = Clock()
    who = principal_of("requests/day=1000")

    async def walk() -> None:
        async with Budgets(engine, clock=clock, ticks=ticks) as budgets:
            for _ in range(70):
                budgets.reconcile(await reserved(budgets, who), FREE, None)
            with engine.begin() as connection:
                connection.execute(text("alter table spending rename to gone"))
            answers = [await budgets.reserve(who, "task", "model", estimate()) for _ in range(200)]
            kept = [each for each in answers if isinstance(each, Reservation)]
            assert kept, "a slice lasts for a while"
            for each in kept:
                budgets.reconcile(each, FREE, None)
            assert [each.status for each in answers if isinstance(each, Refusal)] == [503] * (200 - len(kept))
            await budgets.report()
            with engine.begin() as connection:
                connection.execute(text("alter table gone rename to spending"))
            budgets.reconcile(await reserved(budgets, who), FREE, None)
            ticks.now += 20  # a lease that was not renewed in time is not spent from
            assert next(iter(budgets._purses.values())).current[0].free(ticks.now) == 0
            budgets.reconcile(await reserved(budgets, who), FREE, None)
            assert spent(engine)["requests"] <= 72 + len(kept)

    asyncio.run(walk())
    assert spent(engine)["requests"] > 72
    engine.dispose()


def test_connections_that_are_cut_are_made_anew(postgres_server: str, request: pytest.FixtureRequest) -> None:
    engine = create_engine(f"{postgres_server}/postgres")
    admin = create_engine(f"{postgres_server}/postgres", isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("create database cut"))
    engine = open_state(f"{postgres_server}/cut")
    who = principal_of("requests/day=1000")

    async def walk() -> None:
        async with Budgets(engine) as budgets:
            for _ in range(10):
                for _ in range(5):
                    budgets.reconcile(await reserved(budgets, who), FREE, None)
                with admin.connect() as connection:
                    cut = "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'cut'"
                    connection.execute(text(cut))
                await budgets.report()

    asyncio.run(walk())
    assert spent(engine) == {"requests": 50}
    engine.dispose()
    with admin.connect() as connection:
        connection.execute(text("drop database cut with (force)"))
    admin.dispose()


def test_reports_renew_return_and_forget(state: Engine, clock: Clock) -> None:
    who = principal_of("requests/minute=1000")

    async def walk() -> None:
        async with Budgets(state, clock=clock) as budgets:
            for _ in range(70):
                budgets.reconcile(await reserved(budgets, who), FREE, None)
            for _ in range(15):
                await budgets.report()
            assert not budgets._purses
            assert leased(state) == 0
            assert spent(state) == {"requests": 70}
            with state.connect() as connection:
                assert connection.execute(select(LEASES)).all() == []
            budgets.reconcile(await reserved(budgets, who), FREE, None)
            await budgets.report()
            assert spent(state) == {"requests": 71}

    asyncio.run(walk())
    forget_old_windows(state, at=NOON + 86_000)
    assert spent(state) == {"requests": 71}
    forget_old_windows(state, at=NOON + 86_500)
    assert spent(state) == {}


def test_many_keys_are_reported_in_batches_and_at_the_end(state: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets_module, "_BATCH", 4)
    limit = (parse_limit("requests/day=50"),)

    async def walk() -> None:
        async with Budgets(state) as budgets:
            for _ in range(2):
                for number in range(11):
                    who = Principal(key_id=f"key-{number}", limits=limit)
                    budgets.reconcile(await reserved(budgets, who), FREE, None)
                await budgets.report()
            last = asyncio.create_task(reserved(budgets, Principal(key_id="key-last", limits=limit)))
            await asyncio.sleep(0)  # its lease is under way when the worker ends
        budgets.release(await last)

    asyncio.run(walk())
    with state.connect() as connection:
        assert sorted(row.spent for row in connection.execute(select(SPENDING))) == [0, *[2] * 11]


def test_reporting_goes_on_by_itself(state: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets_module, "REPORT_S", 0.001)

    async def walk() -> None:
        async with Budgets(state) as budgets:
            budgets.reconcile(await reserved(budgets, principal_of("requests/day=10")), FREE, None)
            with suppress(TimeoutError):
                async with asyncio.timeout(5):
                    while spent(state) != {"requests": 1}:
                        await asyncio.sleep(0.002)
            assert spent(state) == {"requests": 1}

    asyncio.run(walk())
