"""Sums of a log by task, hour, model, provider, tier and length of input, each with its exact cost.

Money is counted in whole units of a power of ten of a dollar that makes every rate a whole number, so sums are exact
in whatever order and along whatever slice they are added.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import pyarrow as pa

from freehold.audit.pricing import four_rates
from freehold.ledger.rollup import EDGES

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import date

    import duckdb

    from freehold.audit.pricing import Pricing

_PLAIN = "input_tokens - coalesce(cache_read_tokens, 0) - coalesce(cache_write_tokens, 0)"
_TELLS_HOUR = "coalesce(window_s, 0) <= 3600"
"""Of the calls of a day together nobody knows the hour."""
_RATES = ("plain", "read", "written", "output")


@dataclass(frozen=True, slots=True)
class Scale:
    """How many decimal places of a dollar one unit of cost stands for."""

    digits: int

    def usd(self, units: int | None) -> Decimal | None:
        """Dollars of so many units; None stays None."""
        return None if units is None else Decimal(int(units)).scaleb(-self.digits)


def build_cube(connection: duckdb.DuckDBPyConnection, pricing: Pricing, *, undated_as_of: date | None = None) -> Scale:
    """Make the table `cube` of the rows, and `rates`, with which any row can be priced (see `row_units`)."""
    edges = set(EDGES)
    _sum_rows(connection, edges)
    scale = _rate_table(connection, pricing, undated_as_of)
    lacking = pricing.edges() - edges
    if lacking:  # a user's own row may change at a length that nobody foresaw
        connection.execute("drop table summed")
        _sum_rows(connection, edges | lacking)
        scale = _rate_table(connection, pricing, undated_as_of)
    connection.execute(f"""
        create temp table cube as
        select s.*, {cost_units("s", "r")} as units
        from summed s left join rates r using (served, asked, provider, tier, day, bucket)
    """)  # noqa: S608 (names of our own)
    connection.execute("drop table summed")
    # Any row can be joined with its rates.
    connection.execute(f"""
        create temp view priced_rows as
        select *, coalesce(moment::date, date '0001-01-01') as day, {bucket_of(edges | lacking)} as bucket,
            {counted()} as is_counted, output_tokens is not null as tells_output
        from counted_rows
    """)  # noqa: S608
    _note_assumptions(connection, pricing, undated_as_of)
    return scale


def bucket_of(edges: Collection[int]) -> str:
    """SQL: the highest of the lengths that a call's mean input exceeds."""
    cases = "".join(
        f" when input_tokens > {edge}::hugeint * greatest(calls, 1) then {edge}" for edge in sorted(edges, reverse=True)
    )
    return f"(case{cases} else 0 end)::bigint" if cases else "0::bigint"


def cost_units(row: str, rates: str) -> str:
    """SQL: cost in units of a row or sum joined with its rates; null: unknown."""
    counts = {
        "plain": f"{row}.input_tokens - coalesce({row}.cache_read_tokens, 0) - coalesce({row}.cache_write_tokens, 0)",
        "read": f"coalesce({row}.cache_read_tokens, 0)",
        "written": f"coalesce({row}.cache_write_tokens, 0)",
        "output": f"coalesce({row}.output_tokens, 0)",
    }
    total = " + ".join(f"({count})::hugeint * coalesce({rates}.{name}, 0)" for name, count in counts.items())
    # A price without a rate for output is one of embeddings: an output that nobody counted is none there.
    output = (
        f"(({row}.tells_output and ({rates}.output is not null or {row}.output_tokens = 0)) "
        f"or (not {row}.tells_output and {rates}.output is null))"
    )
    known = f"{row}.is_counted and {rates}.plain is not null and {output}"
    return f"case when {known} then {total} end"


def counted() -> str:
    """SQL: the counts of a row's input are there, and none contradicts another, as tokens of no call would."""
    return f"(calls > 0 and not is_absurd and coalesce(output_tokens, 0) >= 0 and coalesce({_PLAIN} >= 0, false))"


def _sum_rows(connection: duckdb.DuckDBPyConnection, edges: Collection[int]) -> None:
    sums = ", ".join(
        f"sum({name}) as {name}"
        for name in ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
    )
    connection.execute(f"""
        create temp table summed as
        select task, case when {_TELLS_HOUR} then date_trunc('hour', moment) end as hour, moment::date as day,
            served, asked, provider, tier, standing, {bucket_of(edges)} as bucket, {counted()} as is_counted,
            output_tokens is not null as tells_output, is_error, is_retry, is_stream,
            sum(calls)::bigint as calls, {sums},
            coalesce(sum(calls) filter (input_tokens is not null), 0)::bigint as input_calls,
            coalesce(sum(calls) filter (output_tokens is not null), 0)::bigint as output_calls,
            coalesce(sum(input_tokens) filter (cache_read_tokens is not null), 0) as cacheable_tokens,
            count(cache_read_tokens) as cache_rows,
            coalesce(sum(calls) filter (is_corrected), 0)::bigint as corrected,
            coalesce(sum(calls) filter (is_absurd), 0)::bigint as absurd,
            coalesce(sum(calls) filter (window_s is not null), 0)::bigint as volume_calls
        from counted_rows
        group by all
    """)  # noqa: S608 (names and numbers of our own)


def _rate_table(connection: duckdb.DuckDBPyConnection, pricing: Pricing, undated_as_of: date | None) -> Scale:
    """One row per model, provider, tier, day and length that occurs, with rates as whole numbers."""
    names = ("served", "asked", "provider", "tier", "day", "bucket")
    keys = connection.execute(f"select distinct {', '.join(names)} from summed").fetchall()  # noqa: S608
    found: list[tuple[Decimal | None, ...]] = []
    for served, asked, provider, tier, day, bucket in keys:
        on = day or undated_as_of
        price = None if on is None else pricing.paid(served, asked, on, tier, provider)
        found.append((None,) * 4 if price is None else four_rates(price.rates_for(bucket + 1 if bucket else 0)))
    known = {rate for row in found for rate in row if rate is not None}
    digits = max((-int(rate.normalize().as_tuple().exponent) for rate in known), default=0)
    digits = max(0, digits)
    columns: dict[str, pa.Array] = {
        name: pa.array([key[place] for key in keys], _type_of(name)) for place, name in enumerate(names)
    }
    for place, name in enumerate(_RATES):
        rates = [row[place] for row in found]
        whole = [None if rate is None else int(rate.scaleb(digits)) for rate in rates]
        columns[name] = pa.array(whole, pa.int64())
    connection.register("rate_rows", pa.table(columns))
    connection.execute("create or replace temp table rates as select * from rate_rows")
    # Rows of an unknown day are joined by one that no row has.
    connection.execute("update rates set day = date '0001-01-01' where day is null")
    connection.execute("update summed set day = date '0001-01-01' where day is null")
    return Scale(digits + 6)  # a rate is per million tokens


def _type_of(name: str) -> pa.DataType:
    return {"day": pa.date32(), "bucket": pa.int64()}.get(name, pa.string())


def _note_assumptions(connection: duckdb.DuckDBPyConnection, pricing: Pricing, undated_as_of: date | None) -> None:
    """Count what was priced by an assumption."""
    found = connection.execute("""
        select served, asked, provider, tier, day, sum(calls) from cube
        where units is not null and standing = 'rented' and (tier <> '' or provider <> '' or year(day) = 1)
        group by all
    """).fetchall()
    for served, asked, provider, tier, day, calls in found:
        is_undated = day.year == 1
        pricing.undated += int(calls) if is_undated else 0
        price = pricing.paid(served, asked, (undated_as_of or day) if is_undated else day, tier, provider)
        if price is not None:
            pricing.note(price, tier, provider, int(calls))
