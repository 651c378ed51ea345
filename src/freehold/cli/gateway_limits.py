"""Limits of keys at the gateway: budgets and prices, loaded beside the first calls because few keys need them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from freehold.core.chat import Usage

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AsyncExitStack
    from datetime import date
    from pathlib import Path

    from sqlalchemy import Engine

    from freehold.economics.prices import Price
    from freehold.gateway.http.headers import Header
    from freehold.gateway.limits.budgets import Budgets, Reservation
    from freehold.gateway.limits.guard import Hold
    from freehold.gateway.limits.keys import Principal, Refusal
    from freehold.state.settings import Settings


class LateLimits:
    """Counts against limits as soon as a key that has some is seen."""

    def __init__(
        self, engine: Engine, stack: AsyncExitStack, find_price: Callable[[], Callable[[str], Price | None]]
    ) -> None:
        """Take where limits are kept, what closes with the worker, and what loads the prices."""
        self._engine = engine
        self._stack = stack
        self._find_price = find_price
        self._loading: asyncio.Task[Budgets] | None = None
        self._price_of: Callable[[str], Price | None] = lambda _: None

    async def hold(
        self, principal: Principal, task: str, model: str | None, *, body_bytes: int, most_output_tokens: int | None
    ) -> Hold | Refusal:
        """As `Limits` says."""
        if self._loading is None:
            self._loading = asyncio.create_task(self._load())
        budgets = await asyncio.shield(self._loading)
        from freehold.gateway.limits.estimate import Estimate
        from freehold.gateway.limits.keys import Refusal

        needs_price = any(limit.measure == "usd" for limit in principal.limits)
        price = self._price_of(model) if needs_price and model is not None else None
        estimate = Estimate(body_bytes=body_bytes, most_output_tokens=most_output_tokens, price=price)
        held = await budgets.reserve(principal, task, model, estimate)
        return held if isinstance(held, Refusal) else _Held(budgets, held, price)

    async def _load(self) -> Budgets:
        budgets = await asyncio.to_thread(_import_budgets)
        opened = await self._stack.enter_async_context(budgets(self._engine))
        self._price_of = await asyncio.to_thread(self._find_price)
        return opened


@dataclass(slots=True)
class _Held:
    budgets: Budgets
    reservation: Reservation
    price: Price | None

    def headers(self) -> tuple[Header, ...]:
        """As `Hold` says."""
        return self.budgets.headers(self.reservation)

    def settle(self, usage: Usage | None, *, is_sent: bool, may_cost: bool) -> None:
        """As `Hold` says. What a provider refused counts as a request, and for nothing else."""
        from freehold.economics.prices import cost_of_call

        if not may_cost:
            if is_sent:
                self.budgets.reconcile(self.reservation, Usage(input_tokens=0, output_tokens=0), Decimal(0))
            else:
                self.budgets.release(self.reservation)
            return
        if usage is not None and usage.output_tokens is None and not self.reservation.has_output:
            usage = replace(usage, output_tokens=0)  # an embedding writes nothing, and says nothing of it
        cost = None if self.price is None or usage is None else cost_of_call(usage, self.price)
        self.budgets.reconcile(self.reservation, usage, cost)


def _import_budgets() -> type[Budgets]:
    from freehold.gateway.limits.budgets import Budgets

    return Budgets


def price_finder(settings: Settings, folder: Path) -> Callable[[str], Price | None]:
    """Finds list prices of today, with the overrides of the settings.

    Raises:
        InputError: the file of overrides cannot be used.
    """
    from freehold.economics.overrides import parse_overrides
    from freehold.economics.prices import price_of

    name = settings.prices.overrides
    overrides = () if name is None else parse_overrides((folder / name).read_text(encoding="utf-8"), name)

    @lru_cache(maxsize=1024)
    def priced(model: str, day: date) -> Price | None:
        return price_of(model, day, aliases=settings.prices.alias, overrides=overrides)

    return lambda model: priced(model, datetime.now(UTC).date())
