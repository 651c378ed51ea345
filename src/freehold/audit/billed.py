"""The ledger's calls as a provider would bill them: by hour, model and tier, each sum with its exact cost.

Whatever might explain a difference to an invoice can be asked of them: what they would cost under another tariff or
price, without failed calls, or with days that begin at another hour.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import duckdb

from freehold.core.chat import Usage
from freehold.economics.prices import cost_of_call
from freehold.ledger.publish import reading
from freehold.ledger.rollup import EDGES, least_input

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from decimal import Decimal
    from pathlib import Path

    import pyarrow as pa

    from freehold.audit.pricing import Pricing
    from freehold.economics.prices import Price
    from freehold.economics.rates import Rates

_DAY_S = 86_400
_OWN = "('own', 'canary')"
_FIELDS = (
    "provider", "served", "asked", "tier", "bucket", "hour", "is_error", "is_retry", "is_counted", "calls",
    "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Calls of one hour, model, tier and length of input, that all failed or not and were all retries or not."""

    day: date
    hour: int | None
    """None: sums of calls that are no longer there know the day alone."""
    provider: str
    model: str
    asked: str
    tier: str
    bucket: int
    is_error: bool
    is_retry: bool
    is_counted: bool
    """All needed counts are known."""
    calls: int
    usage: Usage

    def cost(self, price: Price | None) -> Decimal | None:
        """US dollars at a price; None: unknown. Exact: all calls of a cell have the same rates."""
        if price is None or not self.is_counted:
            return None
        rates = price.rates_for(least_input(self.bucket))
        flat = price if not price.tiers else _flat(price, rates)
        return cost_of_call(self.usage, flat)

    def moved(self, hours: int) -> date:
        """Its day, if days began so many hours later."""
        return self.day if self.hour is None else (self.moment - timedelta(hours=hours)).date()

    @property
    def moment(self) -> datetime:
        """Its hour, UTC."""
        return datetime(self.day.year, self.day.month, self.day.day, self.hour or 0)


def cells_of(calls: Path, retired: pa.Table, *, first: date, last: date, edges: Sequence[int] = EDGES) -> list[Cell]:
    """Sums of the rented calls of some days.

    Args:
        calls: Folder of the ledger's Parquet files.
        retired: Sums of rows that are no longer there, as `rollup.stored_sums` gives them.
        first: First day, UTC.
        last: Last day.
        edges: Lengths of input at which rates change.
    """
    found = _retired_cells(retired, first, last)
    with reading(calls):
        if not any(calls.glob("day=*/*.parquet")):
            return found
        pattern = str(calls / "day=*" / "*.parquet").replace("'", "''")
        cases = "".join(f" when input_tokens > {edge} then {edge}" for edge in sorted(edges, reverse=True))
        plain = "input_tokens - coalesce(cache_read_tokens, 0) - coalesce(cache_write_tokens, 0)"
        query = f"""
            select coalesce(provider, '') as provider, coalesce(model_served, model_requested, '') as served,
                coalesce(model_requested, '') as asked, coalesce(service_tier, '') as tier,
                case{cases} else 0 end as bucket, date_trunc('hour', started_at)::timestamp as hour,
                coalesce(error_type is not null or status >= 400, false) as is_error,
                parent_id is not null as is_retry,
                coalesce(output_tokens >= 0 and {plain} >= 0, false) as is_counted, count(*) as calls,
                coalesce(sum(input_tokens), 0)::bigint as input_tokens,
                coalesce(sum(cache_read_tokens), 0)::bigint as cache_read_tokens,
                coalesce(sum(cache_write_tokens), 0)::bigint as cache_write_tokens,
                coalesce(sum(output_tokens), 0)::bigint as output_tokens
            from read_parquet('{pattern}', union_by_name = true, hive_partitioning = false)
            where started_at >= ?::timestamptz and started_at < ?::timestamptz
                and (route is not null or output_tokens is not null) and coalesce(route, '') not in {_OWN}
            group by all order by all
        """  # noqa: S608 (numbers, names and a path of our own)
        with duckdb.connect(config={"threads": 2}) as connection:
            connection.execute("set timezone = 'UTC'")
            until = last + timedelta(days=1)
            for row in connection.execute(query, [f"{first} 00:00:00+00", f"{until} 00:00:00+00"]).fetchall():
                found.append(_cell(dict(zip(_FIELDS, row, strict=True))))
    return found


def volume_cells(batches: Iterable[pa.RecordBatch], *, first: date, last: date) -> list[Cell]:
    """Buckets of calls that are known by their sums alone, from `ledger.volumes`; undated ones are left out."""
    return [
        Cell(
            day=row["started_at"].date(),
            hour=row["started_at"].hour if (row["window_s"] or _DAY_S) < _DAY_S else None,
            provider=row["provider"] or "",
            model=row["model"] or "",
            asked=row["model"] or "",
            tier=row["service_tier"] or "",
            bucket=0,
            is_error=False,
            is_retry=False,
            is_counted=row["input_tokens"] is not None and row["output_tokens"] is not None,
            calls=row["calls"] or 0,
            usage=_usage({name: row[name] or 0 for name in _FIELDS[-4:]}),
        )
        for batch in batches
        for row in batch.to_pylist()
        if row["started_at"] is not None and first <= row["started_at"].date() <= last
    ]


def price_of_cell(cell: Cell, pricing: Pricing) -> Price | None:
    """The price of its model on its day at its tier, as the audit finds it."""
    return pricing.paid(cell.model, cell.asked, cell.day, cell.tier, cell.provider)


def catalogue_price(cell: Cell, pricing: Pricing, on: date) -> Price | None:
    """The catalogue's own price on a day, the user's rows left out."""
    return pricing.listed.paid(cell.model, cell.asked, on, "", cell.provider)


def _cell(row: Mapping[str, object]) -> Cell:
    hour = row["hour"]
    assert isinstance(hour, datetime)
    return Cell(
        day=hour.date(),
        hour=hour.hour,
        provider=str(row["provider"]),
        model=str(row["served"]),
        asked=str(row["asked"]),
        tier=str(row["tier"]),
        bucket=_int(row["bucket"]),
        is_error=bool(row["is_error"]),
        is_retry=bool(row["is_retry"]),
        is_counted=bool(row["is_counted"]),
        calls=_int(row["calls"]),
        usage=_usage(row),
    )


def _retired_cells(retired: pa.Table, first: date, last: date) -> list[Cell]:
    days = {(first + timedelta(days=step)).isoformat() for step in range((last - first).days + 1)}
    return [
        Cell(
            day=date.fromisoformat(row["day"]),
            hour=None,
            provider=row["provider"],
            model=row["model_served"] or row["model_requested"],
            asked=row["model_requested"],
            tier=row["service_tier"],
            bucket=row["bucket"],
            is_error=False,
            is_retry=False,
            is_counted=bool(row["is_counted"]),
            calls=row["calls"],
            usage=_usage(row),
        )
        for row in retired.to_pylist()
        if row["day"] in days and not row["is_own"] and (row["route"] or row["is_counted"])
    ]


def _usage(row: Mapping[str, object]) -> Usage:
    return Usage(
        input_tokens=_int(row["input_tokens"]),
        output_tokens=_int(row["output_tokens"]),
        cache_read_tokens=_int(row["cache_read_tokens"]),
        cache_write_tokens=_int(row["cache_write_tokens"]),
    )


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value


def _flat(price: Price, rates: Rates) -> Price:
    """The price with the rates of one length of input alone."""
    return replace(price, rates=rates, tiers=())
