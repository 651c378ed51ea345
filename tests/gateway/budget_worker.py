"""A worker in a process of its own: makes calls against the limits of one key, and prints what it was allowed.

python tests/gateway/budget_worker.py URL SECRET CALLS MODE
"""

from __future__ import annotations

import asyncio
import json
import random
import sys

from sqlalchemy import create_engine, event

from freehold.core.chat import Usage
from freehold.gateway.limits.budgets import Budgets, Reservation
from freehold.gateway.limits.estimate import Estimate
from freehold.gateway.limits.keys import KeyRing, Principal


async def work(url: str, secret: str, calls: int, *, seed: int, is_endless: bool) -> dict[str, int]:
    engine = create_engine(url, connect_args={"timeout": 30} if url.startswith("sqlite") else {})
    if url.startswith("sqlite"):
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
    choice = random.Random(seed)
    counts = {"admitted": 0, "refused": 0, "tokens": 0, "away": 0}
    ring = KeyRing(engine, is_open_without_keys=False)
    async with Budgets(engine) as budgets:

        async def call(number: int) -> None:
            principal = await ring.authenticate([(b"authorization", f"Bearer {secret}".encode())])
            assert isinstance(principal, Principal), principal
            estimate = Estimate(body_bytes=choice.randint(4, 40), most_output_tokens=choice.randint(1, 10), price=None)
            reserved = await budgets.reserve(principal, "task", "model", estimate)
            if not isinstance(reserved, Reservation):
                counts["refused" if reserved.status == 429 else "away"] += 1
                return
            for _ in range(choice.randint(0, 3)):
                await asyncio.sleep(0)  # the provider answers
            used = choice.randint(0, estimate.tokens()[0])
            counts["admitted"] += 1
            counts["tokens"] += used
            budgets.reconcile(reserved, Usage(input_tokens=used, output_tokens=0), None)
            if is_endless and number % 10 == 0:
                sys.stdout.write(json.dumps(counts) + "\n")
                sys.stdout.flush()

        number = 0
        while is_endless or number < calls:
            await asyncio.gather(*(call(number + step) for step in range(20)))
            number += 20
    ring.close()
    engine.dispose()
    return counts


if __name__ == "__main__":
    _, url, secret, calls, mode = sys.argv
    done = asyncio.run(work(url, secret, int(calls), seed=len(mode), is_endless=mode == "endless"))
    sys.stdout.write(json.dumps(done) + "\n")
