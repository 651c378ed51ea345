"""Daily sums of calls and tokens, from which costs are derived without reading the calls.

Prices change with the length of a call's input, so sums are kept apart by it: a bucket per interval between two
lengths at which some provider's rates change, named by the lower one. Whoever needs another boundary sums the calls
themselves, by the same query. Tokens are summed apart for calls that can be priced and for those whose counts are
missing or contradict each other.
"""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING
from zlib import crc32

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

DIMENSIONS = (
    "day", "task", "provider", "model_served", "model_requested", "route", "service_tier", "is_own", "bucket",
    "is_counted",
)  # fmt: skip
"""What the sums are told apart by. '' stands for None."""
MEASURES = (
    "calls", "errors", "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens",
    "answered_ms", "answered_calls",
)  # fmt: skip

EDGES = (32_000, 32_768, 64_000, 128_000, 131_072, 200_000, 256_000, 262_144, 272_000, 400_000, 512_000, 1_000_000)
"""Input tokens above which some rates change: the thresholds of the price catalogue, and round ones beside them."""

OWN_ROUTES = ("own", "canary")

SUMS = pa.schema(
    [(name, pa.int64() if name in {"bucket", "is_own", "is_counted"} else pa.string()) for name in DIMENSIONS]
    + [(name, pa.int64()) for name in MEASURES]
)


def sums_query(source: str, edges: Sequence[int] = EDGES) -> str:
    """The sums of a source that has the ledger's columns and `day`, by all dimensions.

    Source: `economics.prices.cost_of_call` tells which counts can be priced.
    """
    cases = "".join(f" when input_tokens > {edge} then {edge}" for edge in sorted(edges, reverse=True))
    bucket = f"case{cases} else 0 end" if cases else "0"
    plain = "input_tokens - coalesce(cache_read_tokens, 0) - coalesce(cache_write_tokens, 0)"
    own = ", ".join(f"'{route}'" for route in OWN_ROUTES)
    return f"""
        select cast(day as varchar) as day, task, coalesce(provider, '') as provider,
            coalesce(model_served, '') as model_served, coalesce(model_requested, '') as model_requested,
            coalesce(route, '') as route, coalesce(service_tier, '') as service_tier,
            coalesce(route in ({own}), false)::bigint as is_own,
            ({bucket})::bigint as bucket,
            coalesce(output_tokens >= 0 and {plain} >= 0, false)::bigint as is_counted,
            count(*) as calls,
            count(*) filter (error_type is not null or status >= 400) as errors,
            {", ".join(f"coalesce(sum({name}), 0)::bigint as {name}" for name in MEASURES if name.endswith("_tokens"))},
            coalesce(sum(round(duration_ms)::bigint) filter (status < 400), 0)::bigint as answered_ms,
            count(duration_ms) filter (status < 400) as answered_calls
        from {source}
        group by all
    """  # noqa: S608 (names and numbers of our own)


def sums_of(connection: duckdb.DuckDBPyConnection, rows: pa.Table, day: str) -> pa.Table:
    """The sums of rows of one day."""
    connection.register("rows_of_day", rows)
    source = f"(select *, '{day}' as day from rows_of_day)"  # noqa: S608 (a date)
    found: pa.Table = connection.sql(sums_query(source)).to_arrow_table()
    connection.unregister("rows_of_day")
    return found


def add_sums(connection: sqlite3.Connection, sums: pa.Table, *, sign: int = 1, is_retired: bool = False) -> None:
    """Add sums to the rollup, or take them out of it again.

    The sums of a day are one piece in Arrow's format: read whole, they are priced a hundred times faster than rows.
    """
    sums = sums.cast(SUMS)
    for name in MEASURES if sign < 0 else ():
        place = SUMS.get_field_index(name)
        sums = sums.set_column(place, SUMS.field(name), pc.negate(sums.column(name)))
    for day in sums.column("day").unique().to_pylist():
        more = sums.filter(pc.equal(sums.column("day"), day))
        found = connection.execute(
            "select sums from rollup where day = ? and is_retired = ?", (day, is_retired)
        ).fetchone()
        together = more if found is None else _together([_unpacked(found[0]), more])
        if len(together):
            connection.execute("insert or replace into rollup values (?, ?, ?)", (day, is_retired, _packed(together)))
        else:
            connection.execute("delete from rollup where day = ? and is_retired = ?", (day, is_retired))


def replace_retired_sums(
    connection: sqlite3.Connection, change: Callable[[pa.Table], pa.Table], days: Collection[str] | None = None
) -> None:
    """Change the sums of removed rows, day by day; a change may leave lines out."""
    for day, packed in connection.execute("select day, sums from rollup where is_retired = 1").fetchall():
        if days is not None and day not in days:
            continue
        sums = _unpacked(packed)
        changed = _together([change(sums).select(SUMS.names).cast(SUMS)])
        if not len(changed):
            connection.execute("delete from rollup where is_retired = 1 and day = ?", (day,))
        elif not changed.equals(sums):
            connection.execute("update rollup set sums = ? where is_retired = 1 and day = ?", (_packed(changed), day))


def stored_sums(connection: sqlite3.Connection, *, removed: bool = True) -> pa.Table:
    """The rollup; with or without the sums of rows that retention has removed."""
    found = connection.execute("select sums from rollup where is_retired <= ? order by day", (removed,))
    return pa.concat_tables([SUMS.empty_table(), *(_unpacked(sums) for (sums,) in found)])


def retired_sums(connection: sqlite3.Connection) -> pa.Table:
    """The sums of rows that are no longer there."""
    found = connection.execute("select sums from rollup where is_retired = 1 order by day")
    return pa.concat_tables([SUMS.empty_table(), *(_unpacked(sums) for (sums,) in found)])


def sums_by_day(connection: sqlite3.Connection, known: Mapping[str, int]) -> dict[str, tuple[int, pa.Table]]:
    """The sums of days that have changed, removed rows included: day -> (mark, sums).

    Args:
        connection: Of the index.
        known: Day -> mark of what the caller has seen of it.
    """
    parts: dict[str, list[bytes]] = defaultdict(list)
    for day, sums in connection.execute("select day, sums from rollup order by day, is_retired"):
        parts[day].append(sums)
    marks = {day: crc32(b"".join(sums)) for day, sums in parts.items()}
    return {
        day: (marks[day], pa.concat_tables([_unpacked(one) for one in sums]))
        for day, sums in parts.items()
        if known.get(day) != marks[day]
    }


def _together(tables: list[pa.Table]) -> pa.Table:
    grouped = pa.concat_tables(tables).group_by(list(DIMENSIONS))
    found = grouped.aggregate([(name, "sum") for name in MEASURES])
    found = found.rename_columns([*DIMENSIONS, *MEASURES]).cast(SUMS)
    return found.filter(pc.not_equal(found.column("calls"), 0))


def _packed(sums: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, SUMS) as file:
        file.write_table(sums.combine_chunks())
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def _unpacked(packed: bytes) -> pa.Table:
    with pa.ipc.open_file(pa.BufferReader(packed)) as file:
        return file.read_all()


def least_input(bucket: int) -> int:
    """An input length that lies in a bucket, which is named by the edge that its calls exceed."""
    return bucket + 1 if bucket else 0


def sums_of_files(calls: Path, edges: Sequence[int] = EDGES) -> pa.Table:
    """The same sums from the Parquet files, kept apart at any lengths: for prices that the rollup does not foresee.

    Removed rows are not in them.
    """
    pattern = str(calls / "day=*" / "*.parquet").replace("'", "''")
    with duckdb.connect(config={"threads": min(4, os.cpu_count() or 1)}) as connection:
        connection.execute("set enable_progress_bar = false")  # it prints into the result
        options = "union_by_name = true, hive_partitioning = true, hive_types_autocast = false"
        source = f"read_parquet('{pattern}', {options})"
        found: pa.Table = connection.sql(sums_query(source, edges)).to_arrow_table()
    return found.cast(SUMS)
