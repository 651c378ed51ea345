"""Several workers on one PostgreSQL that is restarted while they work."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
import uuid
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, select, text

from freehold.core.chat import Usage
from freehold.gateway.limits.budgets import Budgets, Reservation
from freehold.gateway.limits.estimate import Estimate
from freehold.gateway.limits.keys import KeyRing, Principal
from freehold.state.database import open_state
from freehold.state.keys import create_key
from freehold.state.limits import parse_limit
from freehold.state.schema import SPENDING
from tests.gateway.conftest import rows_in
from tests.gateway.test_gateway_command import CHAT, ask, process, send, settings_of
from tests.gateway.upstream import answer, completion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine

    from tests.gateway.upstream import ScriptedUpstream

USED = Usage(input_tokens=5, output_tokens=0)


@pytest.fixture
def database(postgres_server: str) -> Iterator[str]:
    name = f"restart_{uuid.uuid4().hex[:8]}"
    admin = create_engine(f"{postgres_server}/postgres", isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"create database {name}"))
    admin.dispose()
    yield f"{postgres_server}/{name}"
    with admin.connect() as connection:
        connection.execute(text(f"drop database {name} with (force)"))
    admin.dispose()


def restart(engine: Engine) -> None:
    """Stop the server as a crash would, and start it again."""
    with engine.connect() as connection:
        folder = connection.execute(text("show data_directory")).scalar_one()
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    command = [*as_user, str(binaries[-1]), "-D", folder, "-s", "-w", "-m", "immediate", "restart"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/tmp")


def test_a_restart_of_postgresql_costs_no_booking_and_lets_nobody_beyond_the_limit(database: str) -> None:
    engine = open_state(database)
    limits = [parse_limit("tokens/month=4000"), parse_limit("requests/month=100000")]
    _, secret = create_key(engine, "desk", limits=limits)
    headers = [(b"authorization", f"Bearer {secret}".encode())]
    counts = {"admitted": 0, "away": 0, "full": 0, "after": 0}
    is_back = asyncio.Event()

    async def worker(own: Engine) -> None:
        ring = KeyRing(own, is_open_without_keys=False)
        async with Budgets(own) as budgets:
            while not (is_back.is_set() and (counts["full"] or counts["after"] > 200)):
                principal = await ring.authenticate(headers)
                assert isinstance(principal, Principal), "known keys stay known while the database is away"
                estimate = Estimate(body_bytes=10, most_output_tokens=0, price=None)
                found = await budgets.reserve(principal, "task", "model", estimate)
                await asyncio.sleep(0.001)  # the provider takes a while
                if isinstance(found, Reservation):
                    budgets.reconcile(found, USED, None)
                    counts["admitted"] += 1
                    counts["after"] += is_back.is_set()
                else:
                    counts["away" if found.status == 503 else "full"] += 1
        ring.close()
        own.dispose()

    async def restart_it() -> None:
        while counts["admitted"] < 60:
            await asyncio.sleep(0.001)
        await asyncio.to_thread(restart, engine)
        is_back.set()

    async def walk() -> None:
        engines = [create_engine(database) for _ in range(2)]
        await asyncio.gather(restart_it(), *(worker(own) for own in engines))

    asyncio.run(walk())
    engine.dispose()
    with engine.connect() as connection:
        booked = {row.measure: row.spent for row in connection.execute(select(SPENDING))}
    assert booked == {"tokens": 5 * counts["admitted"], "requests": counts["admitted"]}
    assert counts["after"] > 0 or counts["full"] > 0
    assert booked["tokens"] <= 4000
    engine.dispose()


def test_two_gateways_go_on_while_their_postgresql_is_restarted_and_every_answer_is_booked(
    database: str, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    upstream.scripts = [answer(completion())]
    engine = open_state(database)
    limits = [parse_limit("tokens/month=1000000"), parse_limit("requests/month=100000")]
    _, secret = create_key(engine, "desk", limits=limits)
    settings = settings_of(upstream, f'[state]\nurl = "{database}"\n')
    told: Counter[tuple[str, int]] = Counter()
    phase, is_over = ["before"], threading.Event()

    def ask_on(port: int) -> None:
        while not is_over.is_set():
            now = phase[0]
            told[now, send(port, CHAT, ask(1), authorization=f"Bearer {secret}")[0]] += 1

    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    with ExitStack() as stack:
        gateways = [stack.enter_context(process(folder, settings)) for folder in folders]
        threads = [threading.Thread(target=ask_on, args=(port,)) for _, port in gateways for _ in range(2)]
        for thread in threads:
            thread.start()
        _wait_for(lambda: told["before", 200] >= 60)
        phase[0] = "meanwhile"
        restart(engine)
        phase[0] = "after"
        _wait_for(lambda: told["after", 200] >= 60)
        is_over.set()
        for thread in threads:
            thread.join()
        for child, _ in gateways:
            child.terminate()
            assert child.wait(30) == 0
    engine.dispose()
    assert {status for _, status in told} <= {200, 503}
    answered = sum(count for (_, status), count in told.items() if status == 200)
    assert answered == len(upstream.seen)
    with engine.connect() as connection:
        booked = {row.measure: row.spent for row in connection.execute(select(SPENDING))}
    engine.dispose()
    assert booked == {"requests": answered, "tokens": 10 * answered}
    rows = [row for folder in folders for row in rows_in(folder / ".freehold" / "events" / "segments")]
    assert sum(row.close is not None and row.close.status == 200 for row in rows) == answered


def _wait_for(is_so: Callable[[], bool]) -> None:
    for _ in range(6000):
        if is_so():
            return
        threading.Event().wait(0.01)
    pytest.fail("it did not come to pass in a minute")
